// SPDX-License-Identifier: GPL-2.0

//! Checksum, slot and extent arithmetic, flags, recognition of content.

use std::string::ToString;
use std::vec;

use super::super::log::*;
use super::super::*;
use crate::wire::{ConnState, DiskState, Role, State};

#[test]
fn checksum_check_values() {
    assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    assert_eq!(!crc32c(!0, &[0; 32]), 0x8A91_36AA);
    let mut block = vec![0; BLOCK_LEN];
    encode_initialised(&mut block).unwrap();
    assert_eq!(block[8..12], 0x709C_C651_u32.to_be_bytes());
    block[8..12].fill(0);
    assert_eq!(!crc32c(!0, &block), 0xE865_87D8);
}

#[test]
fn encode_refuses_what_cannot_be_replayed() {
    let mut block = vec![0; BLOCK_LEN];
    let update = Update { slot: 3, extent: 1 };
    let encode = |block: &mut [u8], slots, updates: &[Update]| {
        Transaction::encode(block, 1, slots, 0, updates, |_| FREE_EXTENT)
    };
    encode(&mut block, 67, &[update; 64]).unwrap();
    assert!(encode(&mut block, 67, &[update; 65]).is_err());
    assert!(encode(&mut block, 3, &[update]).is_err());
    assert!(encode(&mut block[..4095], 67, &[update]).is_err());
    assert!(encode_initialised(&mut block[..4095]).is_err());
    assert!(Replay::new(&mut vec![0; MAX_SLOTS - 1]).is_err());
}

#[test]
fn a_slot_that_cannot_be_is_counted() {
    let mut block = vec![0; BLOCK_LEN];
    let updates = [
        Update {
            slot: 65534,
            extent: 9,
        },
        Update { slot: 0, extent: 8 },
    ];
    Transaction::encode(&mut block, 1, u16::MAX, 0, &updates, |_| FREE_EXTENT).unwrap();
    let mut slots = vec![0; MAX_SLOTS];
    let mut replay = Replay::new(&mut slots).unwrap();
    replay.add(&block);
    assert_eq!(replay.ignored(), 1);
    assert_eq!(replay.extents().collect::<vec::Vec<_>>(), [8]);
}

#[test]
fn a_context_frees_the_slots_that_it_knows() {
    let encoded = |slots, before: fn(u16) -> u32| {
        let mut block = vec![0; BLOCK_LEN];
        Transaction::encode(&mut block, 1, slots, 0, &[], before).unwrap();
        block
    };
    let filled = encoded(67, |slot| if slot == 5 { 9 } else { FREE_EXTENT });
    // A later window of all slots frees slot 5, a window that ends before it does not.
    for (slots, left) in [(67, 0), (5, 1)] {
        let mut table = vec![0; MAX_SLOTS];
        let mut replay = Replay::new(&mut table).unwrap();
        replay.add(&filled);
        replay.add(&encoded(slots, |_| FREE_EXTENT));
        assert_eq!(replay.extents().count(), left, "{slots}");
    }
}

#[test]
fn rings_without_a_transaction() {
    let mut good = vec![0; BLOCK_LEN];
    encode_initialised(&mut good).unwrap();
    let verdict = |bad: &[u32], flags| {
        let mut scan = LogScan::new(LogGeometry::DEFAULT);
        while let Some(position) = scan.next_position() {
            scan.add(if bad.contains(&position) { &[] } else { &good });
        }
        scan.add(&good);
        scan.verdict(flags)
    };
    let all: vec::Vec<u32> = (0..8).collect();
    let rows: [(&[u32], Verdict); 6] = [
        (&[], Verdict::NothingToDo),
        (&[0], Verdict::NothingToDo),
        (&[7], Verdict::PartlyDamaged),
        (&[0, 3], Verdict::PartlyDamaged),
        (&all[1..], Verdict::PartlyDamaged),
        (&all, Verdict::NoValidBlock),
    ];
    for (bad, expected) in rows {
        assert_eq!(verdict(bad, MetaFlags::PRIMARY_IND), expected, "{bad:?}");
        let of_secondary = match expected {
            Verdict::NothingToDo => Verdict::NothingToDo,
            _ => Verdict::Initialise,
        };
        assert_eq!(verdict(bad, MetaFlags::CONSISTENT), of_secondary, "{bad:?}");
    }
}

#[test]
fn bits_of_an_extent() {
    assert_eq!(extent_bits(0, 262_064), Some(0..1024));
    assert_eq!(extent_bits(31, 262_064), Some(31 * 1024..32758));
    assert_eq!(extent_bits(31, 262_144), Some(31 * 1024..32768));
    assert_eq!(extent_bits(32, 262_144), None);
    assert_eq!(extent_bits(0, 0), None);
    assert_eq!(
        extent_bits(u32::MAX, u64::MAX).map(|bits| bits.end - bits.start),
        Some(1024)
    );
}

#[test]
fn flags_follow_the_state() {
    let connected = State {
        role: Role::Primary,
        peer: Role::Secondary,
        conn: ConnState::Connected,
        disk: DiskState::UpToDate,
        pdsk: DiskState::UpToDate,
        ..State::INITIAL
    };
    // Rows of section 7.2, run L1.
    let after = |state: &State| MetaFlags::AL_CLEAN.after_change(state, false);
    let running = after(&connected);
    assert_eq!(
        running.to_string(),
        "CONSISTENT|PRIMARY_IND|CONNECTED_IND|WAS_UP_TO_DATE"
    );
    let alone = State {
        conn: ConnState::StandAlone,
        pdsk: DiskState::DUnknown,
        ..connected
    };
    assert_eq!(after(&alone).bits(), 0x13);
    let source = State {
        conn: ConnState::SyncSource,
        pdsk: DiskState::Inconsistent,
        ..connected
    };
    assert_eq!(after(&source).bits(), 0x37);
    let target = State {
        role: Role::Secondary,
        peer: Role::Primary,
        conn: ConnState::SyncTarget,
        disk: DiskState::Inconsistent,
        ..connected
    };
    assert_eq!(after(&target).bits(), 0x04);
    let serves = State {
        pdsk: DiskState::Diskless,
        disk: DiskState::UpToDate,
        ..target
    };
    assert_eq!(after(&serves).bits(), 0x17);
    // A Primary peer with a disk of its own, however bad, is not served by this node alone.
    let helps = State {
        conn: ConnState::SyncSource,
        pdsk: DiskState::Inconsistent,
        disk: DiskState::UpToDate,
        ..target
    };
    assert_eq!(after(&helps).bits(), 0x35);
    let failed = State {
        disk: DiskState::Failed,
        ..connected
    };
    assert_eq!(after(&failed), MetaFlags::AL_CLEAN);
    let kept = MetaFlags::FULL_SYNC | MetaFlags::AL_DISABLED;
    assert!(kept
        .after_change(&connected, true)
        .contains(kept | MetaFlags::CRASHED_PRIMARY));
}

#[test]
fn initial_disk_states() {
    let consistent = MetaFlags::CONSISTENT;
    let current = consistent | MetaFlags::WAS_UP_TO_DATE;
    let outdated_peer = current | MetaFlags::PEER_OUT_DATED;
    let rows = [
        (
            MetaFlags::NONE,
            false,
            DiskState::Inconsistent,
            DiskState::DUnknown,
        ),
        (
            MetaFlags::PEER_OUT_DATED,
            false,
            DiskState::Inconsistent,
            DiskState::Outdated,
        ),
        (consistent, false, DiskState::Outdated, DiskState::DUnknown),
        (current, false, DiskState::UpToDate, DiskState::DUnknown),
        (current, true, DiskState::Consistent, DiskState::DUnknown),
        (
            outdated_peer,
            true,
            DiskState::UpToDate,
            DiskState::Outdated,
        ),
    ];
    for (flags, fencing, disk, peer) in rows {
        assert_eq!(
            flags.initial_disk_states(fencing),
            (disk, peer),
            "{flags} {fencing}"
        );
    }
}

#[test]
fn content_of_a_device() {
    use probe::{recognise, Content, Kind, PROBE_LEN};
    let blank = vec![0; PROBE_LEN];
    assert_eq!(recognise(&blank), None);
    assert_eq!(recognise(&[]), None);
    let with = |parts: &[(usize, &[u8])]| {
        let mut start = blank.clone();
        for (offset, bytes) in parts {
            start[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        recognise(&start)
    };
    let found = |kind, bytes| Some(Content { kind, bytes });
    assert_eq!(with(&[(4086, b"SWAPSPACE2")]), found(Kind::Swap, None));
    assert_eq!(with(&[(8182, b"SWAP-SPACE")]), found(Kind::Swap, None));
    assert_eq!(with(&[(0x218, b"LVM2 001")]), found(Kind::Lvm, None));
    let ext: [(usize, &[u8]); 3] = [
        (0x438, &[0x53, 0xEF]),
        (0x404, &[0, 1, 0, 0]),
        (0x418, &[2]),
    ];
    assert_eq!(with(&ext), found(Kind::Ext, Some(256 * 4096)));
    let big: [(usize, &[u8]); 5] = [
        (0x438, &[0x53, 0xEF]),
        (0x404, &[5]),
        (0x418, &[6]),
        (0x460, &[0x80]),
        (0x550, &[1]),
    ];
    assert_eq!(with(&big), found(Kind::Ext, Some(((1 << 32) + 5) * 65536)));
    assert_eq!(with(&big[..3]), found(Kind::Ext, Some(5 * 65536)));
    assert_eq!(
        with(&[(0, b"LUKS\xBA\xBE\x00\x02")]),
        found(Kind::Luks, None)
    );
    let odd: [(usize, &[u8]); 3] = [(0x438, &[0x53, 0xEF]), (0x404, &[5]), (0x418, &[54])];
    assert_eq!(with(&odd), found(Kind::Ext, None));
    let btrfs: [(usize, &[u8]); 2] = [(0x1_0040, b"_BHRfS_M"), (0x1_0070, &[0, 0, 16])];
    assert_eq!(with(&btrfs), found(Kind::Btrfs, Some(1 << 20)));
    let xfs: [(usize, &[u8]); 3] = [(0, b"XFSB"), (6, &[0x10, 0]), (14, &[1, 0])];
    assert_eq!(with(&xfs), found(Kind::Xfs, Some(256 * 4096)));
    let jfs: [(usize, &[u8]); 3] = [(0x8000, b"JFS1"), (0x8008, &[0, 1]), (0x8018, &[0, 0x10])];
    assert_eq!(with(&jfs), found(Kind::Jfs, Some(256 * 4096)));
    let reiserfs: [(usize, &[u8]); 3] = [
        (0x1_0034, b"ReIsEr2Fs"),
        (0x1_0000, &[0, 1]),
        (0x1_002C, &[0, 0x10]),
    ];
    assert_eq!(with(&reiserfs), found(Kind::Reiserfs, Some(256 * 4096)));
    assert_eq!(with(&[(0x500, &[1])]), found(Kind::Unknown, None));
    assert_eq!(recognise(&[1]), found(Kind::Unknown, None));
    let huge: [(usize, &[u8]); 2] = [(0, b"XFSB"), (4, &[0xFF; 12])];
    assert_eq!(with(&huge), found(Kind::Xfs, None));
}

#[test]
fn errors_say_what_and_why() {
    let error = create(Placement::Internal, 100, 0, &CreateOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "device has 100 sectors, metadata need at least 136"
    );
    assert_eq!(error.code(), 112);
    assert_eq!(LogGeometry::new(1, 7).unwrap_err().code(), 168);
    assert_eq!(
        LogGeometry::from_create_options(1, 40000)
            .unwrap_err()
            .code(),
        167
    );
    assert_eq!(Superblock::decode(&[0; BLOCK_LEN]).unwrap_err().code(), 119);
}
