// SPDX-License-Identifier: GPL-2.0

//! Replay of every golden activity log: those that the reference's driver left behind after a power
//! loss, and crafted ones.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use super::super::log::*;
use super::super::*;
use super::{vector, MIB_128};
use crate::bits::{bits_of, DiskBits, DiskBitsMut, Words, WordsMut};

/// A metadata area read from a file, of an internal device.
struct Area {
    bytes: Vec<u8>,
    /// Byte of the device at which the file begins.
    start: u64,
    superblock: Superblock,
    layout: Layout,
}

impl Area {
    fn read(name: &str, device_bytes: u64, start: u64) -> Self {
        let bytes = vector(name);
        let sectors = device_bytes / 512;
        let at = Placement::Internal.superblock_sector(sectors).unwrap() * 512 - start;
        let superblock = Superblock::decode(&bytes[at as usize..]).expect(name);
        let layout = superblock.layout(Placement::Internal, sectors).expect(name);
        Self {
            bytes,
            start,
            superblock,
            layout,
        }
    }

    fn at(&self, sector: u64) -> usize {
        (sector * 512 - self.start) as usize
    }

    fn log_block(&self, number: u32) -> &[u8] {
        let at = self.at(self.layout.log_sector(number));
        &self.bytes[at..at + BLOCK_LEN]
    }

    fn verdict(&self) -> Verdict {
        let mut scan = LogScan::new(self.layout.geometry);
        while let Some(position) = scan.next_position() {
            scan.add(self.log_block(position));
        }
        scan.verdict(self.superblock.flags)
    }

    fn extents(&self, apply: &Apply) -> BTreeSet<u32> {
        let mut slots = vec![7; MAX_SLOTS];
        let mut replay = Replay::new(&mut slots).unwrap();
        for position in apply.positions() {
            replay.add(self.log_block(position));
        }
        replay.extents().collect()
    }

    /// What apply-al does to the area.
    fn apply(&mut self) -> Verdict {
        let verdict = self.verdict();
        if let Verdict::Apply(apply) = verdict {
            let extents = self.extents(&apply);
            let bitmap = self.at(self.layout.bitmap);
            let bytes = &mut self.bytes[bitmap..bitmap + self.layout.bitmap_sectors as usize * 512];
            for extent in extents {
                if let Some(bits) = extent_bits(extent, self.superblock.la_size) {
                    // The tool sets the padding behind the last block too.
                    let bits = bits.start..bits.start + BITS_PER_EXTENT;
                    DiskBitsMut::new(bytes, u64::MAX).set(bits);
                }
            }
        }
        if verdict.is_clean() {
            if verdict != Verdict::NothingToDo {
                for block in 0..self.layout.geometry.blocks() {
                    let at = self.at(self.layout.log_block_sector(block));
                    encode_initialised(&mut self.bytes[at..at + BLOCK_LEN]).unwrap();
                }
            }
            self.superblock.clean = true;
            self.superblock.flags = self.superblock.flags | MetaFlags::AL_CLEAN;
            let at = self.at(self.layout.superblock);
            self.superblock.encode(&mut self.bytes[at..]).unwrap();
        }
        verdict
    }

    fn bitmap(&self) -> DiskBits<'_> {
        let at = self.at(self.layout.bitmap);
        let bytes = &self.bytes[at..at + self.layout.bitmap_sectors as usize * 512];
        DiskBits::new(bytes, bits_of(self.superblock.la_size))
    }

    /// Extents of which a bit is set.
    fn marked_extents(&self) -> Vec<u32> {
        let bitmap = self.bitmap();
        let extents = bitmap.bits().div_ceil(BITS_PER_EXTENT);
        (0..extents)
            .filter(|extent| {
                bitmap.count(extent * BITS_PER_EXTENT..(extent + 1) * BITS_PER_EXTENT) > 0
            })
            .map(|extent| extent as u32)
            .collect()
    }
}

#[test]
fn crashed_primaries_become_what_the_tool_makes_of_them() {
    // Name, device size, start of the file, bits that the driver counts afterwards.
    let cases = [
        ("k-crash128m", MIB_128, 134_176_768, 5110),
        ("k-evict512m", 4 * MIB_128, 536_817_664, 68605),
        ("k-crash-2x16k", MIB_128, 134_176_768, 11264),
    ];
    for (name, size, start, bits) in cases {
        let mut area = Area::read(&std::format!("{name}.md.bin"), size, start);
        assert!(area.superblock.needs_log_replay(), "{name}");
        let verdict = area.apply();
        assert!(matches!(verdict, Verdict::Apply(_)), "{name}: {verdict:?}");
        assert_eq!(area.bitmap().count_all(), bits, "{name}");
        assert!(
            area.bytes == vector(&std::format!("{name}.applied.md.bin")),
            "{name}: bytes"
        );
    }
}

#[test]
fn applying_twice_is_harmless() {
    let mut area = Area::read("k-crash128m.applied.md.bin", MIB_128, 134_176_768);
    assert!(!area.superblock.needs_log_replay());
    assert_eq!(area.apply(), Verdict::NothingToDo);
    assert!(area.bytes == vector("k-crash128m.applied.md.bin"));
}

/// What a crafted log must lead to.
enum Expected {
    Applied(&'static [u32]),
    Initialised,
    Untouched,
    Refused(Verdict),
}

#[test]
fn crafted_logs() {
    use Expected::{Applied, Initialised, Refused, Untouched};
    let cases = [
        ("c-wrap", Applied(&[7, 8, 9, 10])),
        ("c-torn-newest", Applied(&[1, 2])),
        ("c-bad-middle", Applied(&[1, 2, 3, 4])),
        ("c-multi", Applied(&[2, 3, 9, 12, 13])),
        ("c-secondary", Initialised),
        ("c-magic08-noclean", Applied(&[2, 3, 9, 12, 13])),
        ("c-last-extent", Applied(&[0, 31])),
        ("c-beyond", Applied(&[4])),
        ("c-init-bad0", Untouched),
        ("c-init-bad3", Refused(Verdict::PartlyDamaged)),
        ("c-allbad", Refused(Verdict::NoValidBlock)),
        ("c-allbad-secondary", Initialised),
    ];
    for (name, expected) in cases {
        let mut area = Area::read(&std::format!("{name}.md.bin"), MIB_128, 134_176_768);
        let before = area.bytes.clone();
        let verdict = area.apply();
        let ring = area.at(area.layout.log)..area.at(area.layout.superblock);
        let (extents, ring_kept): (&[u32], bool) = match expected {
            Applied(extents) => {
                assert!(matches!(verdict, Verdict::Apply(_)), "{name}: {verdict:?}");
                (extents, false)
            }
            Initialised => {
                assert_eq!(verdict, Verdict::Initialise, "{name}");
                (&[], false)
            }
            Untouched => {
                assert_eq!(verdict, Verdict::NothingToDo, "{name}");
                (&[], true)
            }
            Refused(refusal) => {
                assert_eq!(verdict, refusal, "{name}");
                assert!(area.bytes == before, "{name}: bytes changed");
                continue;
            }
        };
        assert_eq!(area.marked_extents(), extents, "{name}");
        for &extent in extents {
            let bits = extent_bits(extent, area.superblock.la_size).expect(name);
            assert_eq!(
                area.bitmap().count(bits.clone()),
                bits.end - bits.start,
                "{name} {extent}"
            );
        }
        assert!(!area.superblock.needs_log_replay(), "{name}");
        assert_eq!(
            area.bytes[ring.clone()] == before[ring.clone()],
            ring_kept,
            "{name}"
        );
        if !ring_kept {
            let mut block = vec![0; BLOCK_LEN];
            encode_initialised(&mut block).unwrap();
            assert!(
                area.bytes[ring]
                    .chunks(BLOCK_LEN)
                    .all(|found| found == block),
                "{name}"
            );
        }
    }
}

#[test]
fn first_attach_of_the_driver() {
    let area = Area::read("k-attach1.md.bin", MIB_128, 134_176_768);
    assert_eq!(area.superblock.al_nr_extents, 1237);
    assert_eq!(area.bitmap().count_all(), 32758);
    for number in 0..8 {
        let Some(LogBlock::Update(transaction)) = LogBlock::decode(area.log_block(number)) else {
            panic!("block {number}");
        };
        assert_eq!(transaction.number(), number);
        assert_eq!(transaction.slots(), 1237);
        assert_eq!(
            transaction.context_start(),
            if number % 2 == 0 { 0 } else { 919 }
        );
        assert_eq!(transaction.updates().count(), 0);
        // Written again from its fields, the block is the driver's, byte for byte.
        let mut again = vec![0xAA; BLOCK_LEN];
        let start = transaction.context_start();
        Transaction::encode(&mut again, number, 1237, start, &[], |_| FREE_EXTENT).unwrap();
        assert!(again == area.log_block(number), "block {number}");
    }
}

#[test]
fn transactions_of_the_driver_encode_to_the_same_bytes() {
    let cases = [
        ("k-crash128m", MIB_128, 134_176_768),
        ("k-evict512m", 4 * MIB_128, 536_817_664),
        ("k-crash-2x16k", MIB_128, 134_176_768),
    ];
    for (name, size, start) in cases {
        let area = Area::read(&std::format!("{name}.md.bin"), size, start);
        for position in 0..area.layout.geometry.blocks() {
            let block = area.log_block(position);
            let Some(LogBlock::Update(transaction)) = LogBlock::decode(block) else {
                panic!("{name} {position}");
            };
            let slots = transaction.slots();
            let mut table = vec![FREE_EXTENT; usize::from(slots)];
            for (slot, extent) in transaction.context() {
                table[slot as usize] = extent;
            }
            let updates: Vec<Update> = transaction.updates().collect();
            let mut again = vec![0xAA; BLOCK_LEN];
            Transaction::encode(
                &mut again,
                transaction.number(),
                slots,
                transaction.context_start(),
                &updates,
                |slot| table[usize::from(slot)],
            )
            .unwrap();
            assert!(again == block, "{name} {position}");
            assert_eq!(
                transaction.number() % area.layout.geometry.blocks(),
                position,
                "{name}"
            );
        }
    }
}

#[test]
fn updates_of_the_driver() {
    let area = Area::read("k-crash128m.md.bin", MIB_128, 134_176_768);
    let expected = [
        (8, 126, 0),
        (9, 125, 5),
        (10, 124, 1),
        (11, 123, 30),
        (12, 122, 31),
    ];
    for (number, slot, extent) in expected {
        let Some(LogBlock::Update(transaction)) = LogBlock::decode(area.log_block(number)) else {
            panic!("transaction {number}");
        };
        assert_eq!(transaction.number(), number);
        assert_eq!(
            transaction.updates().collect::<Vec<_>>(),
            [Update { slot, extent }]
        );
    }
}

#[test]
fn bit_order_of_a_restored_dump() {
    let area = Area::read("bitorder.md.bin", MIB_128, 134_176_768);
    assert_eq!(area.superblock.flags.bits(), 0x91);
    assert_eq!(area.superblock.device_uuid, 0x0123_4567_89AB_CDEF);
    let bitmap = area.bitmap();
    assert_eq!(bitmap.bits(), 32758);
    assert_eq!(bitmap.count_all(), 12696);
    let words = [
        0x1,
        0x8000_0000_0000_0000,
        0xFFFF_FFFF,
        0xFFFF_FFFF_0000_0000,
        0x0123_4567_89AB_CDEF,
    ];
    assert_eq!([0, 1, 2, 3, 4].map(|index| bitmap.word(index)), words);
    assert!(bitmap.is_set(0) && bitmap.is_set(127) && !bitmap.is_set(126));
    assert_eq!(bitmap.find(1, u64::MAX, true), Some(127));
}
