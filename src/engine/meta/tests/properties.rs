// SPDX-License-Identifier: GPL-2.0

//! What holds for every input: no panic, and what was written is read back.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::log::*;
use super::super::*;

fn any_geometry() -> impl Strategy<Value = LogGeometry> {
    (1_u32..6, 8_u32..20).prop_map(|(stripes, blocks)| LogGeometry::new(stripes, blocks).unwrap())
}

fn any_superblock() -> impl Strategy<Value = Superblock> {
    let numbers = (any::<[u64; 6]>(), any::<[u32; 3]>(), any::<[i32; 2]>());
    (numbers, any::<u32>(), any::<bool>(), any_geometry()).prop_map(
        |((longs, words, offsets), flags, clean, geometry)| Superblock {
            la_size: longs[0],
            current_uuid: longs[1],
            bitmap_uuid: longs[2],
            history_uuids: [longs[3], longs[4]],
            device_uuid: longs[5],
            flags: MetaFlags::from_bits(flags),
            unnamed_flags: flags & !MetaFlags::ALL.bits(),
            clean,
            md_size: words[0],
            al_offset: offsets[0],
            al_nr_extents: words[1],
            bm_offset: offsets[1],
            la_peer_max_bio_size: words[2],
            geometry,
        },
    )
}

proptest! {
    #[test]
    fn superblock_round_trip(superblock in any_superblock()) {
        let mut block = vec![0xAA; BLOCK_LEN];
        superblock.encode(&mut block).unwrap();
        prop_assert_eq!(Superblock::decode(&block), Ok(superblock));
    }

    #[test]
    fn arbitrary_superblocks_never_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 96),
        magic in 0x8374_0268_u32..0x8374_026F,
        plausible: bool,
        sectors in 0..=MAX_DEVICE_SECTORS,
        index in -4_i32..300,
    ) {
        bytes[60..64].copy_from_slice(&magic.to_be_bytes());
        if plausible {
            bytes[80..96].copy_from_slice(&[0, 0, 16, 0, 0, 0, 16, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
        }
        bytes.resize(BLOCK_LEN, 0);
        let placement = Placement::from_index(index);
        if let (Ok(superblock), Some(placement)) = (Superblock::decode(&bytes), placement) {
            let _ = superblock.has_computed_layout(placement, sectors);
            if let Ok(layout) = superblock.layout(placement, sectors) {
                check_layout(&layout, sectors)?;
            }
        }
    }

    #[test]
    fn offsets_from_the_disk_give_layouts_within_the_device(
        al_offset in prop_oneof![Just(-64), Just(8), any::<i32>()],
        bm_offset in prop_oneof![-100_000..100_000, any::<i32>()],
        md_size in prop_oneof![0_u32..200_000, any::<u32>()],
        exact: bool,
        la_size in 0_u64..1 << 40,
        sectors in 0_u64..1 << 32,
        index in -3_i32..4,
    ) {
        let mut superblock = any_valid();
        superblock.al_offset = al_offset;
        superblock.bm_offset = bm_offset;
        superblock.md_size = if exact { bm_offset.unsigned_abs().wrapping_add(8) } else { md_size };
        superblock.la_size = la_size;
        if let Some(placement) = Placement::from_index(index) {
            if let Ok(layout) = superblock.layout(placement, sectors) {
                check_layout(&layout, sectors)?;
                prop_assert!(layout.check_bitmap(la_size).is_ok());
            }
        }
    }

    #[test]
    fn computed_layouts_are_sound(
        sectors in prop_oneof![
            0_u64..5000,
            260_000_u64..270_000,
            0..=MAX_DEVICE_SECTORS,
            Just(MAX_DEVICE_SECTORS),
        ],
        geometry in any_geometry(),
        index in -3_i32..300,
        data in any::<u64>(),
    ) {
        let Some(placement) = Placement::from_index(index) else { return Ok(()) };
        let Ok(layout) = Layout::compute(placement, sectors, geometry) else { return Ok(()) };
        check_layout(&layout, sectors)?;
        // Whatever can be exported has its bits, and the superblock leads back to the same layout.
        let usable = layout.usable(data);
        prop_assert!(layout.check_bitmap(usable).is_ok());
        let mut superblock = any_valid();
        superblock.set_layout(&layout);
        superblock.la_size = usable;
        prop_assert_eq!(superblock.layout(placement, sectors), Ok(layout));
        prop_assert!(superblock.has_computed_layout(placement, sectors));
    }

    #[test]
    fn bitmap_size_has_two_formulas(sectors in 0..=MAX_DEVICE_SECTORS) {
        // The other formula of section 1.2.
        let up = |value: u64, unit: u64| value.div_ceil(unit) * unit;
        let other = up(up(sectors.div_ceil(8), 64) / 8, 4096) / 512;
        if let Ok(layout) = Layout::compute(Placement::Internal, sectors, LogGeometry::DEFAULT) {
            prop_assert_eq!(layout.bitmap_sectors, other);
        }
    }

    #[test]
    fn transaction_round_trip(
        number: u32,
        slots in 1_u16..,
        start: u16,
        updates in proptest::collection::vec((any::<u16>(), any::<u32>()), 0..=64),
        seed: u32,
    ) {
        let updates: Vec<Update> = updates
            .into_iter()
            .map(|(slot, extent)| Update { slot: slot % slots, extent })
            .collect();
        let before = |slot: u16| seed.wrapping_mul(u32::from(slot) + 1);
        let mut block = vec![0xAA; BLOCK_LEN];
        Transaction::encode(&mut block, number, slots, start, &updates, before).unwrap();
        let Some(LogBlock::Update(transaction)) = LogBlock::decode(&block) else {
            return Err(TestCaseError::fail("not valid"));
        };
        prop_assert_eq!(transaction.number(), number);
        prop_assert_eq!(transaction.slots(), slots);
        prop_assert_eq!(transaction.updates().collect::<Vec<_>>(), updates);
        let end = u32::from(slots).min(u32::from(start) + CONTEXT_LEN as u32);
        let expected: Vec<(u32, u32)> =
            (u32::from(start)..end).map(|slot| (slot, before(slot as u16))).collect();
        prop_assert_eq!(transaction.context().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_changed_bit_is_noticed(at in 0_usize..BLOCK_LEN * 8, number: u32) {
        let mut block = vec![0; BLOCK_LEN];
        Transaction::encode(&mut block, number, 67, 0, &[], u32::from).unwrap();
        prop_assert!(LogBlock::decode(&block).is_some());
        block[at / 8] ^= 1 << (at % 8);
        prop_assert!(LogBlock::decode(&block).is_none());
    }

    #[test]
    fn sealed_garbage_never_panics(
        head in proptest::collection::vec(any::<u8>(), 420),
        fill: u8,
        primary: bool,
    ) {
        let mut block = vec![fill; BLOCK_LEN];
        block[..420].copy_from_slice(&head);
        block[..4].copy_from_slice(&0x69CB_65A2_u32.to_be_bytes());
        block[8..12].fill(0);
        let sum = crc32c(0, &block);
        block[8..12].copy_from_slice(&sum.to_be_bytes());
        let mut scan = LogScan::new(LogGeometry::DEFAULT);
        while scan.next_position().is_some() {
            scan.add(&block);
        }
        let verdict = scan.verdict(MetaFlags::PRIMARY_IND.with(MetaFlags::PRIMARY_IND, primary));
        let mut slots = vec![0; MAX_SLOTS];
        let mut replay = Replay::new(&mut slots).unwrap();
        if let Verdict::Apply(apply) = verdict {
            prop_assert!(primary);
            for position in apply.positions() {
                prop_assert!(position < 8);
                replay.add(&block);
            }
        }
        for extent in replay.extents() {
            let _ = extent_bits(extent, u64::MAX);
        }
    }

    #[test]
    fn replay_finds_what_a_log_recorded(
        first: u32,
        geometry in any_geometry(),
        writes in proptest::collection::vec((0_u16..67, 0_u32..1000), 1..200),
    ) {
        let mut ring = vec![0; geometry.blocks() as usize * BLOCK_LEN];
        for block in ring.chunks_exact_mut(BLOCK_LEN) {
            encode_initialised(block).unwrap();
        }
        let mut table = [FREE_EXTENT; 67];
        // A ring whose length is no power of two has a seam at the counter's wrap (appendix D):
        // stay off it.
        let first = if geometry.blocks().is_power_of_two() { first } else { first / 2 };
        let numbers = (0_u32..).map(|count| first.wrapping_add(count));
        for (number, &(slot, extent)) in numbers.zip(&writes) {
            let at = geometry.block_of(number) as usize * BLOCK_LEN;
            let block = &mut ring[at..at + BLOCK_LEN];
            let before = table;
            let before = |slot| before[usize::from(slot)];
            let updates = [Update { slot, extent }];
            Transaction::encode(block, number, 67, 0, &updates, before).unwrap();
            table[usize::from(slot)] = extent;
        }
        let block = |position| {
            let at = geometry.block_of(position) as usize * BLOCK_LEN;
            &ring[at..at + BLOCK_LEN]
        };
        let mut scan = LogScan::new(geometry);
        while let Some(position) = scan.next_position() {
            scan.add(block(position));
        }
        let Verdict::Apply(apply) = scan.verdict(MetaFlags::PRIMARY_IND) else {
            return Err(TestCaseError::fail("no transaction found"));
        };
        let mut slots = vec![0; MAX_SLOTS];
        let mut replay = Replay::new(&mut slots).unwrap();
        apply.positions().for_each(|position| replay.add(block(position)));
        prop_assert_eq!(&slots[..67], &table[..]);
        prop_assert!(slots[67..].iter().all(|&extent| extent == FREE_EXTENT));
    }

    #[test]
    fn recognise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = probe::recognise(&bytes);
    }
}

fn any_valid() -> Superblock {
    create(Placement::Internal, 262_144, 0, &CreateOptions::default())
        .unwrap()
        .superblock
}

/// Parts do not overlap and lie within the device.
fn check_layout(layout: &Layout, sectors: u64) -> Result<(), TestCaseError> {
    let log_end = layout.log + layout.geometry.sectors();
    let bitmap_end = layout.bitmap + layout.bitmap_sectors;
    let superblock_end = layout.superblock + BLOCK_SECTORS;
    prop_assert!(layout.bitmap_sectors > 0);
    if layout.placement == Placement::Internal {
        prop_assert_eq!(bitmap_end, layout.log);
        prop_assert_eq!(log_end, layout.superblock);
        prop_assert!(superblock_end <= sectors);
    } else {
        prop_assert_eq!(superblock_end, layout.log);
        prop_assert_eq!(log_end, layout.bitmap);
        prop_assert!(bitmap_end <= sectors);
    }
    prop_assert_eq!(
        layout.start() + u64::from(layout.md_size),
        superblock_end.max(bitmap_end)
    );
    Ok(())
}
