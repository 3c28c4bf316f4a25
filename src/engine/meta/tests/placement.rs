// SPDX-License-Identifier: GPL-2.0

//! The tables of section 1, and the checks of section 2.4 one by one.

use super::super::*;

/// Rows of the worked examples: sectors, md_size, superblock byte, log byte, bitmap byte, bm_offset, usable.
#[rustfmt::skip]
const INTERNAL: [(u64, u32, u64, u64, u64, i32, u64); 11] = [
    (262143, 80, 134209536, 134176768, 134172672, -72, 262056),
    (262144, 80, 134213632, 134180864, 134176768, -72, 262064),
    (262145, 88, 134213632, 134180864, 134172672, -80, 262056),
    (262151, 88, 134213632, 134180864, 134172672, -80, 262056),
    (262168, 88, 134225920, 134193152, 134184960, -80, 262080),
    (1953125, 136, 999993344, 999960576, 999927808, -128, 1952984),
    (2097152, 136, 1073737728, 1073704960, 1073672192, -128, 2097016),
    (2097153, 144, 1073737728, 1073704960, 1073668096, -136, 2097008),
    (2147483648, 65608, 1099511623680, 1099511590912, 1099478036480, -65600, 2147418040),
    (10737418247, 327760, 5497558134784, 5497558102016, 5497390325760, -327752, 10737090480),
    (2199023255552, 67108936, 1125899906838528, 1125899906805760, 1125865547067392, -67108928, 2198956146616),
];

#[test]
fn internal_examples() {
    for (sectors, md_size, superblock, log, bitmap, bm_offset, usable) in INTERNAL {
        let layout = Layout::compute(Placement::Internal, sectors, LogGeometry::DEFAULT).unwrap();
        assert_eq!(layout.md_size, md_size, "{sectors}");
        assert_eq!(layout.superblock * 512, superblock, "{sectors}");
        assert_eq!(layout.log * 512, log, "{sectors}");
        assert_eq!(layout.bitmap * 512, bitmap, "{sectors}");
        assert_eq!(layout.bm_offset(), bm_offset, "{sectors}");
        assert_eq!(layout.usable(0), usable, "{sectors}");
        layout.check_bitmap(usable).unwrap();
    }
}

#[test]
fn external_examples() {
    let flexible = |sectors| {
        Layout::compute(Placement::Flexible, sectors, LogGeometry::DEFAULT)
            .unwrap()
            .usable(u64::MAX)
    };
    assert_eq!(flexible(8192), 266_076_160);
    assert_eq!(flexible(2048), 64_749_568);
    let small = Layout::compute(Placement::Flexible, 8192, LogGeometry::DEFAULT).unwrap();
    assert_eq!(small.usable(1001), 1001);
}

#[test]
fn limits_of_devices() {
    let compute = |placement, sectors| Layout::compute(placement, sectors, LogGeometry::DEFAULT);
    let too_large = compute(Placement::Internal, MAX_DEVICE_SECTORS + 1);
    assert!(
        matches!(too_large, Err(MetaError::DeviceTooLarge { .. })),
        "{too_large:?}"
    );
    compute(Placement::Flexible, MAX_DEVICE_SECTORS).unwrap();
    for sectors in 0..88 {
        let layout = compute(Placement::Internal, sectors);
        assert!(
            matches!(layout, Err(MetaError::DeviceTooSmall { .. })),
            "{sectors}: {layout:?}"
        );
    }
    for sectors in 0..=72 {
        let layout = compute(Placement::Flexible, sectors);
        assert!(
            matches!(layout, Err(MetaError::DeviceTooSmall { .. })),
            "{sectors}: {layout:?}"
        );
    }
    assert!(compute(Placement::Indexed(1), 524_287).is_err());
    compute(Placement::Indexed(1), 524_288).unwrap();
    let far = compute(Placement::Indexed(u32::MAX), MAX_DEVICE_SECTORS);
    assert!(
        matches!(far, Err(MetaError::DeviceTooSmall { .. })),
        "{far:?}"
    );
}

#[test]
fn limits_of_the_log() {
    assert_eq!(LogGeometry::DEFAULT.max_slots(), 6433);
    assert_eq!(LogGeometry::new(1, 16).unwrap().max_slots(), 13785);
    assert_eq!(LogGeometry::new(1, 72).unwrap().max_slots(), 65249);
    assert_eq!(LogGeometry::new(1, 73).unwrap().max_slots(), 65534);
    assert!(LogGeometry::new(1, 7).is_err());
    assert!(LogGeometry::new(0, 8).is_err());
    assert!(LogGeometry::new(1, 4_194_304).is_ok());
    assert!(LogGeometry::new(1, 4_194_305).is_err());
    assert!(LogGeometry::new(u32::MAX, u32::MAX).is_err());
    assert_eq!(
        LogGeometry::from_create_options(1, 33),
        Ok(LogGeometry::DEFAULT)
    );
    assert!(LogGeometry::from_create_options(1, 31).is_err());
    assert!(LogGeometry::from_create_options(1, 32768).is_ok());
    assert!(LogGeometry::from_create_options(1, 32772).is_err());
}

#[test]
fn striped_ring_positions() {
    let four = LogGeometry::new(4, 4).unwrap();
    let blocks = [0, 1, 2, 3, 4].map(|number| four.block_of(number));
    assert_eq!(blocks, [0, 4, 8, 12, 1]);
    for geometry in [four, LogGeometry::DEFAULT, LogGeometry::new(7, 16).unwrap()] {
        let mut seen = std::vec![false; geometry.blocks() as usize];
        for number in 0..geometry.blocks() {
            let block = geometry.block_of(number) as usize;
            assert!(!seen[block], "{geometry:?} {number}");
            seen[block] = true;
        }
    }
}

fn good() -> Superblock {
    create(Placement::Internal, 262_144, 0, &CreateOptions::default())
        .unwrap()
        .superblock
}

fn good_flexible() -> Superblock {
    create(Placement::Flexible, 8192, 0, &CreateOptions::default())
        .unwrap()
        .superblock
}

/// A name, and how to spoil a good superblock.
type Spoil = (&'static str, fn(&mut Superblock));

#[test]
fn each_check_at_attach_refuses() {
    let internal: [Spoil; 7] = [
        ("al_offset positive", |s| s.al_offset = 64),
        ("al_offset wrong", |s| s.al_offset = -72),
        ("bm_offset behind the log", |s| s.bm_offset = -56),
        ("bm_offset odd", |s| {
            s.bm_offset = -73;
            s.md_size = 81;
        }),
        ("md_size not that of bm_offset", |s| s.md_size = 88),
        ("area before the device", |s| {
            s.bm_offset = i32::MIN;
            s.md_size = (1 << 31) + 8;
        }),
        ("bitmap too small for the size", |s| s.la_size = 262_145),
    ];
    for (what, spoil) in internal {
        let mut superblock = good();
        superblock.layout(Placement::Internal, 262_144).expect(what);
        spoil(&mut superblock);
        assert!(
            superblock.layout(Placement::Internal, 262_144).is_err(),
            "{what}"
        );
    }
    let flexible: [Spoil; 5] = [
        ("al_offset negative", |s| s.al_offset = -64),
        ("al_offset wrong", |s| s.al_offset = 16),
        ("bm_offset inside the log", |s| s.bm_offset = 64),
        ("area larger than the device", |s| s.md_size = 8200),
        ("no room for a bitmap", |s| s.md_size = 72),
    ];
    for (what, spoil) in flexible {
        let mut superblock = good_flexible();
        superblock.layout(Placement::Flexible, 8192).expect(what);
        spoil(&mut superblock);
        assert!(
            superblock.layout(Placement::Flexible, 8192).is_err(),
            "{what}"
        );
    }
    assert!(good_flexible()
        .layout(Placement::Indexed(0), 262_144)
        .is_err());
    assert!(good().layout(Placement::Flexible, 262_144).is_err());
    // The device has grown: the parts are where the superblock says, but no longer where they would
    // be put.
    assert!(!good().has_computed_layout(Placement::Internal, 262_152));
}

#[test]
fn foreign_and_damaged_superblocks() {
    let mut block = std::vec![0; BLOCK_LEN];
    good().encode(&mut block).unwrap();
    let with = |offset: usize, value: u32| {
        let mut block = block.clone();
        block[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
        Superblock::decode(&block)
    };
    assert_eq!(
        with(60, 0x8374_026A),
        Err(MetaError::OtherFormat { name: "v07" })
    );
    assert_eq!(
        with(60, 0x8374_026D),
        Err(MetaError::OtherFormat { name: "v09" })
    );
    assert_eq!(with(60, 0), Err(MetaError::NotMetadata { magic: 0 }));
    assert!(with(60, 0x8374_026C).is_ok_and(|superblock| superblock.needs_log_replay()));
    assert!(with(56, 0).is_ok_and(|superblock| superblock.needs_log_replay()));
    assert!(with(80, 8192).is_err(), "bytes per bit");
    assert!(with(88, 0).is_err(), "one of the log's dimensions zero");
    assert!(with(92, 7).is_err(), "log too small");
    assert!(with(92, u32::MAX).is_err(), "log too large");
    assert_eq!(
        with(56, 0x8000_0080).map(|superblock| superblock.unnamed_flags),
        Ok(0x8000_0000)
    );
    block[88..96].fill(0);
    let of_83 = Superblock::decode(&block).unwrap();
    assert_eq!(of_83.geometry, LogGeometry::DEFAULT);
    assert_eq!(
        Superblock::decode(&block[..4095]),
        Err(MetaError::ShortBlock { len: 4095 })
    );
    assert_eq!(
        Superblock::decode(&[]),
        Err(MetaError::ShortBlock { len: 0 })
    );
}

#[test]
fn create_refuses() {
    let options = CreateOptions::default();
    let small = create(Placement::Internal, 135, 0, &options);
    assert_eq!(
        small,
        Err(MetaError::DeviceTooSmall {
            sectors: 135,
            needed: 136
        })
    );
    create(Placement::Internal, 136, 0, &options).unwrap();
    let wide = CreateOptions {
        geometry: LogGeometry::new(2, 8).unwrap(),
        ..options
    };
    assert!(create(Placement::Indexed(0), 262_144, 0, &wide).is_err());
    let bio = CreateOptions {
        peer_max_bio_size: (1 << 20) + 1,
        ..options
    };
    assert!(create(Placement::Internal, 262_144, 0, &bio).is_err());
    let large = CreateOptions {
        effective_size: 262_065,
        ..options
    };
    assert!(create(Placement::Internal, 262_144, 0, &large).is_err());
}
