// SPDX-License-Identifier: GPL-2.0

//! create-md byte for byte, and every superblock that the reference wrote in the life cycles.

use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use super::super::log::{encode_initialised, LogBlock, Transaction, Update, FREE_EXTENT};
use super::super::*;
use super::{text_vector, vector, MIB_128};
use crate::wire::DiskState;

/// One row of the README's table of create-md runs.
struct CreateCase {
    name: &'static str,
    device_bytes: u64,
    placement: Placement,
    stripes: u32,
    stripe_kib: u32,
    peer_max_bio_size: u32,
    superblock_byte: u64,
    log_byte: u64,
    md_size: u32,
    al_offset: i32,
    bm_offset: i32,
    usable: u64,
}

#[rustfmt::skip]
const CREATED: [CreateCase; 12] = [
    case("int128m", MIB_128, Placement::Internal, 1, 32, 0, 134213632, 134180864, 80, -64, -72, 262064),
    case("int1g", 1 << 30, Placement::Internal, 1, 32, 0, 1073737728, 1073704960, 136, -64, -128, 2097016),
    case("int1t", 1 << 40, Placement::Internal, 1, 32, 0, 1099511623680, 1099511590912, 65608, -64, -65600, 2147418040),
    case("intodd", 1000000000, Placement::Internal, 1, 32, 0, 999993344, 999960576, 136, -64, -128, 1952984),
    case("int128m-odd", 134221312, Placement::Internal, 1, 32, 0, 134213632, 134180864, 88, -64, -80, 262056),
    case("int128m-2x16k", MIB_128, Placement::Internal, 2, 16, 0, 134213632, 134180864, 80, -64, -72, 262064),
    case("int128m-4x16k", MIB_128, Placement::Internal, 4, 16, 0, 134213632, 134148096, 144, -128, -136, 262000),
    case("int128m-1x1m", MIB_128, Placement::Internal, 1, 1024, 0, 134213632, 133165056, 2064, -2048, -2056, 260080),
    case("ext4m", 4194304, Placement::Flexible, 1, 32, 0, 0, 4096, 8192, 8, 72, 266076160),
    case("ext4m-7x64k", 4194304, Placement::Flexible, 7, 64, 0, 0, 4096, 8192, 8, 904, 238813184),
    case("idx0", 268435456, Placement::Indexed(0), 1, 32, 0, 0, 4096, 262144, 8, 72, 8587575296),
    case("idx1", 268435456, Placement::Indexed(1), 1, 32, 131072, 134217728, 134221824, 262144, 8, 72, 8587575296),
];

#[allow(clippy::too_many_arguments)]
const fn case(
    name: &'static str,
    device_bytes: u64,
    placement: Placement,
    stripes: u32,
    stripe_kib: u32,
    peer_max_bio_size: u32,
    superblock_byte: u64,
    log_byte: u64,
    md_size: u32,
    al_offset: i32,
    bm_offset: i32,
    usable: u64,
) -> CreateCase {
    CreateCase {
        name,
        device_bytes,
        placement,
        stripes,
        stripe_kib,
        peer_max_bio_size,
        superblock_byte,
        log_byte,
        md_size,
        al_offset,
        bm_offset,
        usable,
    }
}

fn created(case: &CreateCase) -> Created {
    let options = CreateOptions {
        geometry: LogGeometry::from_create_options(case.stripes, case.stripe_kib).expect(case.name),
        peer_max_bio_size: case.peer_max_bio_size,
        ..CreateOptions::default()
    };
    create(case.placement, case.device_bytes / 512, u64::MAX, &options).expect(case.name)
}

#[test]
fn placement_is_the_tools() {
    for case in &CREATED {
        let Created { layout, superblock } = created(case);
        let name = case.name;
        assert_eq!(layout.superblock * 512, case.superblock_byte, "{name}");
        assert_eq!(layout.log * 512, case.log_byte, "{name}");
        assert_eq!(layout.md_size, case.md_size, "{name}");
        assert_eq!(layout.al_offset(), case.al_offset, "{name}");
        assert_eq!(layout.bm_offset(), case.bm_offset, "{name}");
        assert_eq!(layout.usable(u64::MAX), case.usable, "{name}");
        let sectors = case.device_bytes / 512;
        assert_eq!(
            superblock.layout(case.placement, sectors),
            Ok(layout),
            "{name}"
        );
        assert!(
            superblock.has_computed_layout(case.placement, sectors),
            "{name}"
        );
    }
}

#[test]
fn created_blocks_are_the_tools() {
    let mut initialised = vec![0xAA; BLOCK_LEN];
    encode_initialised(&mut initialised).unwrap();
    for case in &CREATED {
        let Created { layout, superblock } = created(case);
        let mut block = vec![0xAA; BLOCK_LEN];
        superblock.encode(&mut block).unwrap();
        match case.name {
            // These two are whole metadata areas.
            "int128m" | "ext4m" => {
                let start = layout.start() * 512;
                let area = vector(&format!("{}.md.bin", case.name));
                let mut expected = vec![0; area.len()];
                let mut put = |sector: u64, block: &[u8]| {
                    let at = (sector * 512 - start) as usize;
                    expected[at..at + BLOCK_LEN].copy_from_slice(block);
                };
                put(layout.superblock, &block);
                for index in 0..layout.geometry.blocks() {
                    put(layout.log_block_sector(index), &initialised);
                }
                assert!(area == expected, "{}", case.name);
            }
            "idx1" => assert!(block == vector("idx1.sb.bin"), "idx1"),
            name => {
                assert!(
                    block == vector(&format!("{name}.sb.bin")),
                    "{name}: superblock"
                );
                assert!(
                    initialised == vector(&format!("{name}.al0.bin")),
                    "{name}: log"
                );
            }
        }
    }
}

#[test]
fn superblocks_of_the_tool_decode_and_encode_to_the_same_bytes() {
    for case in &CREATED {
        let file = match case.name {
            "int128m" | "ext4m" => continue,
            name => format!("{name}.sb.bin"),
        };
        let bytes = vector(&file);
        let superblock = Superblock::decode(&bytes).expect(&file);
        assert_eq!(superblock, created(case).superblock, "{file}");
        assert!(!superblock.needs_log_replay(), "{file}");
        let mut again = vec![0xAA; BLOCK_LEN];
        superblock.encode(&mut again).unwrap();
        assert!(again == bytes, "{file}");
    }
}

/// A block that begins with the 96 bytes given in hexadecimal.
fn block_of_hex(hex: &str) -> Vec<u8> {
    let mut block: Vec<u8> = (0..hex.len() / 2)
        .map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).expect("hex digits"))
        .collect();
    assert_eq!(block.len(), 96);
    block.resize(BLOCK_LEN, 0);
    block
}

#[test]
fn superblocks_of_the_driver_decode_to_the_noted_fields() {
    let table = text_vector("k-lifecycle.tsv");
    let mut rows = 0;
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[run, stage, node, la_size, current, bitmap, ref rest @ ..] = &columns[..] else {
            panic!("columns of {line}");
        };
        let &[younger, older, flags, magic, slots, bio, _, hex] = rest else {
            panic!("columns of {line}");
        };
        let row = format!("{run} {stage} {node}");
        let block = block_of_hex(hex);
        let superblock = Superblock::decode(&block).expect(&row);
        let uuid = |text: &str| u64::from_str_radix(text, 16).expect(&row);
        let number = |text: &str| u32::from_str_radix(&text[2..], 16).expect(&row);
        assert_eq!(superblock.la_size, la_size.parse::<u64>().unwrap(), "{row}");
        assert_eq!(superblock.current_uuid, uuid(current), "{row}");
        assert_eq!(superblock.bitmap_uuid, uuid(bitmap), "{row}");
        assert_eq!(
            superblock.history_uuids,
            [uuid(younger), uuid(older)],
            "{row}"
        );
        assert_eq!(superblock.flags.bits(), number(flags), "{row}");
        assert_eq!(superblock.unnamed_flags, 0, "{row}");
        assert_eq!(superblock.clean, number(magic) == 0x8374_026B, "{row}");
        assert_eq!(
            superblock.al_nr_extents,
            slots.parse::<u32>().unwrap(),
            "{row}"
        );
        assert_eq!(
            superblock.la_peer_max_bio_size,
            bio.parse::<u32>().unwrap(),
            "{row}"
        );
        let mut again = vec![0xAA; BLOCK_LEN];
        superblock.encode(&mut again).unwrap();
        assert!(again == block, "{row}");
        rows += 1;
    }
    assert_eq!(rows, 139);
}

/// The line that get-gi prints.
fn get_gi(superblock: &Superblock) -> String {
    let flag = |flag| u8::from(superblock.flags.contains(flag));
    format!(
        "{:016X}:{:016X}:{:016X}:{:016X}:{}:{}:{}:{}:{}:{}:{}",
        superblock.current_uuid,
        superblock.bitmap_uuid,
        superblock.history_uuids[0],
        superblock.history_uuids[1],
        flag(MetaFlags::CONSISTENT),
        flag(MetaFlags::WAS_UP_TO_DATE),
        flag(MetaFlags::PRIMARY_IND),
        flag(MetaFlags::CONNECTED_IND),
        flag(MetaFlags::FULL_SYNC),
        flag(MetaFlags::PEER_OUT_DATED),
        flag(MetaFlags::CRASHED_PRIMARY),
    )
}

#[test]
fn flag_commands_of_the_tool() {
    let table = text_vector("gi.steps.tsv");
    let mut rows = 0;
    for line in table.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let value = |key: &str| {
            let column = columns.iter().find_map(|column| column.strip_prefix(key));
            column.unwrap_or_else(|| panic!("{key} in {line}"))
        };
        let superblock = Superblock::decode(&block_of_hex(value("sb96="))).expect(line);
        assert_eq!(get_gi(&superblock), value("get-gi="), "{line}");
        // The tool's word supposes fencing.
        let (disk, _) = superblock.flags.initial_disk_states(true);
        assert_eq!(disk.name(), value("dstate="), "{line}");
        rows += 1;
    }
    assert!(rows >= 5, "{rows} rows");
    assert!(DiskState::from_name("UpToDate").is_some());
}

/// A transaction, taken apart and made again.
fn again(transaction: &Transaction<'_>) -> Vec<u8> {
    let updates: Vec<Update> = transaction.updates().collect();
    let window: Vec<(u32, u32)> = transaction.context().collect();
    let mut block = vec![0xAA; BLOCK_LEN];
    Transaction::encode(
        &mut block,
        transaction.number(),
        transaction.slots(),
        transaction.context_start(),
        &updates,
        |slot| {
            let known = window.iter().find(|entry| entry.0 == u32::from(slot));
            known.map_or(FREE_EXTENT, |entry| entry.1)
        },
    )
    .expect("it was valid");
    block
}

/// Every binary file there is, without exception: each superblock and each valid block of a log is decoded, and encoded to the same
/// bytes; what stands nowhere in them is the bitmap, which is words as they are.
#[test]
fn every_file_encodes_to_the_same_bytes() {
    let (mut superblocks, mut transactions, mut initialised) = (0, 0, 0);
    let mut files = 0;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/metadata");
    for entry in std::fs::read_dir(folder).expect("the golden files") {
        let name = entry.expect("a file").file_name();
        let name = name.to_str().expect("a plain name");
        if !name.ends_with(".bin") {
            continue;
        }
        files += 1;
        let bytes = vector(name);
        let mut valid = 0;
        for (index, block) in bytes.chunks_exact(BLOCK_LEN).enumerate() {
            let mut copy = vec![0xAA; BLOCK_LEN];
            if let Ok(superblock) = Superblock::decode(block) {
                superblock.encode(&mut copy).expect("a block");
                superblocks += 1;
            } else {
                match LogBlock::decode(block) {
                    Some(LogBlock::Update(transaction)) => {
                        copy = again(&transaction);
                        transactions += 1;
                    }
                    Some(LogBlock::Initialised) => {
                        encode_initialised(&mut copy).expect("a block");
                        initialised += 1;
                    }
                    // The bitmap; or a block of the log that was damaged on purpose.
                    None => continue,
                }
            }
            assert!(copy == block, "{name}: block {index}");
            valid += 1;
        }
        assert!(valid > 0, "{name} holds nothing that is known");
        assert_eq!(bytes.len() % BLOCK_LEN, 0, "{name}");
    }
    assert_eq!(files, 41, "a new file is one more to be counted here");
    assert_eq!((superblocks, transactions, initialised), (32, 53, 112));
}
