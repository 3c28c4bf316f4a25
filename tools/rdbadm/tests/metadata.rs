// SPDX-License-Identifier: GPL-2.0

//! Metadata commands against the golden files of drbdmeta and of the kernel (`tests/vectors/metadata`).

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rdb_engine::meta::{CreateOptions, LogGeometry, MetaFlags, Placement, Superblock};
use rdbadm::meta::{self, Create, Device, GenerationInfo, Place, Use};
use tempfile::TempDir;

fn vector(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/metadata");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A sparse file that stands for a device.
struct Disk {
    _folder: TempDir,
    path: PathBuf,
    file: File,
    placement: Placement,
}

impl Disk {
    fn new(bytes: u64, placement: Placement) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disk");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("a file");
        file.set_len(bytes).expect("its size");
        Self {
            _folder: folder,
            path,
            file,
            placement,
        }
    }

    fn with(bytes: u64, placement: Placement, offset: u64, name: &str) -> Self {
        let disk = Self::new(bytes, placement);
        disk.file
            .write_all_at(&vector(name), offset)
            .expect("write");
        disk
    }

    fn open(&self) -> Device {
        let path = self.path.to_string_lossy().into_owned();
        let place = Place {
            disk: path.clone(),
            meta_disk: path,
            placement: self.placement,
        };
        Device::open(&place, Use::Write, true).expect("the file opens")
    }

    fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).expect("read");
        bytes
    }

    /// Compares with a golden file.
    fn same(&self, offset: u64, name: &str) {
        let wanted = vector(name);
        let found = self.bytes(offset, wanted.len());
        if let Some(at) = wanted
            .iter()
            .zip(&found)
            .position(|(wanted, found)| wanted != found)
        {
            panic!(
                "{name}: byte {at} is {:#x}, expected {:#x}",
                found[at], wanted[at]
            );
        }
    }
}

fn create(
    disk: &Disk,
    options: CreateOptions,
    force: bool,
    empty_only: bool,
) -> rdbadm::failure::Outcome<bool> {
    let how = Create {
        object: "r0/0",
        resource: "r0",
        force,
        ignore_sanity_checks: false,
        empty_only,
        ask: &|_| false,
        options,
    };
    meta::create(&mut disk.open(), &how)
}

/// Size of the device, kind, form of the log, request size of the peer, and what lies where.
type Row<'a> = (u64, Placement, LogGeometry, u32, &'a [(u64, &'a str)]);

#[test]
fn created_metadata_are_those_of_drbdmeta() {
    let log = |stripes, size| meta::geometry(stripes, size).expect("a valid log");
    let standard = log(1, 32);
    let internal = Placement::Internal;
    let flexible = Placement::Flexible;
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (134_217_728, internal, standard, 0, &[(134_176_768, "int128m.md.bin")]),
        (1_073_741_824, internal, standard, 0, &[(1_073_737_728, "int1g.sb.bin"), (1_073_704_960, "int1g.al0.bin")]),
        (1 << 40, internal, standard, 0, &[(1_099_511_623_680, "int1t.sb.bin"), (1_099_511_590_912, "int1t.al0.bin")]),
        (1_000_000_000, internal, standard, 0, &[(999_993_344, "intodd.sb.bin"), (999_960_576, "intodd.al0.bin")]),
        (134_221_312, internal, standard, 0, &[(134_213_632, "int128m-odd.sb.bin"), (134_180_864, "int128m-odd.al0.bin")]),
        (134_217_728, internal, log(2, 16), 0, &[(134_213_632, "int128m-2x16k.sb.bin"), (134_180_864, "int128m-2x16k.al0.bin")]),
        (134_217_728, internal, log(4, 16), 0, &[(134_213_632, "int128m-4x16k.sb.bin"), (134_148_096, "int128m-4x16k.al0.bin")]),
        (134_217_728, internal, log(1, 1024), 0, &[(134_213_632, "int128m-1x1m.sb.bin"), (133_165_056, "int128m-1x1m.al0.bin")]),
        (4_194_304, flexible, standard, 0, &[(0, "ext4m.md.bin")]),
        (4_194_304, flexible, log(7, 64), 0, &[(0, "ext4m-7x64k.sb.bin"), (4096, "ext4m-7x64k.al0.bin")]),
        (268_435_456, Placement::Indexed(0), standard, 0, &[(0, "idx0.sb.bin"), (4096, "idx0.al0.bin")]),
        (268_435_456, Placement::Indexed(1), standard, 131_072, &[(134_217_728, "idx1.sb.bin")]),
    ];
    for (bytes, placement, geometry, peer_max_bio_size, parts) in rows {
        let disk = Disk::new(*bytes, *placement);
        let options = CreateOptions {
            geometry: *geometry,
            peer_max_bio_size: *peer_max_bio_size,
            ..CreateOptions::default()
        };
        assert_eq!(
            create(&disk, options, false, false),
            Ok(true),
            "{}",
            parts[0].1
        );
        for (offset, name) in *parts {
            disk.same(*offset, name);
        }
    }
}

#[test]
fn create_clears_what_was_there() {
    let disk = Disk::new(134_217_728, Placement::Internal);
    disk.file
        .write_all_at(&[0xA5; 40960], 134_176_768)
        .expect("write");
    assert_eq!(
        create(&disk, CreateOptions::default(), true, false),
        Ok(true)
    );
    disk.same(134_176_768, "int128m.md.bin");
}

#[test]
fn nothing_is_destroyed_without_a_yes() {
    let size = 134_217_728;
    // Metadata that are there.
    let disk = Disk::with(size, Placement::Internal, 134_176_768, "k-attach1.md.bin");
    assert_eq!(
        create(&disk, CreateOptions::default(), false, false),
        Ok(false)
    );
    assert_eq!(
        create(&disk, CreateOptions::default(), false, true).map_err(|it| it.code),
        Err(40)
    );
    disk.same(134_176_768, "k-attach1.md.bin");
    // Unknown data.
    let disk = Disk::new(size, Placement::Internal);
    disk.file.write_all_at(b"something", 1000).expect("write");
    assert_eq!(
        create(&disk, CreateOptions::default(), false, false),
        Ok(false)
    );
    assert_eq!(
        create(&disk, CreateOptions::default(), false, true).map_err(|it| it.code),
        Err(40)
    );
    assert_eq!(disk.bytes(134_213_632, 4096), [0; 4096]);
    assert_eq!(
        create(&disk, CreateOptions::default(), true, false),
        Ok(true)
    );
    assert_eq!(disk.bytes(1000, 9), b"something");
}

/// The superblock of an ext file system of so many blocks of 4 KiB.
fn ext(disk: &Disk, blocks: u32) {
    disk.file
        .write_all_at(&blocks.to_le_bytes(), 0x404)
        .expect("write");
    disk.file
        .write_all_at(&2_u32.to_le_bytes(), 0x418)
        .expect("write");
    disk.file
        .write_all_at(&0xEF53_u16.to_le_bytes(), 0x438)
        .expect("write");
}

#[test]
fn a_file_system_that_would_lose_its_end_is_refused_even_with_force() {
    let disk = Disk::new(134_217_728, Placement::Internal);
    ext(&disk, 32768);
    let failure =
        create(&disk, CreateOptions::default(), true, false).expect_err("it must be refused");
    assert_eq!(failure.code, 40);
    assert!(
        failure
            .text
            .contains("an ext2/ext3/ext4 file system of 131072 KiB"),
        "{failure}"
    );
    assert!(
        failure.text.contains("only 131032 KiB are left"),
        "{failure}"
    );
    assert_eq!(disk.bytes(134_213_632, 4096), [0; 4096]);
    // One that fits is kept.
    ext(&disk, 1000);
    assert_eq!(
        create(&disk, CreateOptions::default(), false, false),
        Ok(false)
    );
    assert_eq!(
        create(&disk, CreateOptions::default(), true, false),
        Ok(true)
    );
    // On a device for metadata alone nothing fits.
    let disk = Disk::new(4_194_304, Placement::Flexible);
    ext(&disk, 10);
    assert_eq!(
        create(&disk, CreateOptions::default(), true, false).map_err(|it| it.code),
        Err(40)
    );
}

#[test]
fn too_small_devices_are_named() {
    let disk = Disk::new(65536, Placement::Internal);
    let failure = create(&disk, CreateOptions::default(), true, false).expect_err("too small");
    assert!(failure.text.contains("128 sectors"), "{failure}");
}

/// Set bits of the bitmap of a 128 MiB disk without its padding.
fn bits(disk: &Disk, offset: u64, blocks: usize) -> Vec<usize> {
    let bytes = disk.bytes(offset, 16384);
    (0..blocks)
        .filter(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1)
        .collect()
}

fn superblock(disk: &Disk) -> Superblock {
    disk.open().superblock().expect("readable").expect("valid")
}

#[test]
fn applied_logs_are_those_of_drbdmeta() {
    let rows = [
        (
            134_217_728_u64,
            134_176_768_u64,
            "k-crash128m",
            32758_usize,
            5110,
        ),
        (134_217_728, 134_176_768, "k-crash-2x16k", 32758, 11264),
        (536_870_912, 536_817_664, "k-evict512m", 131_059, 68605),
    ];
    for (size, offset, name, blocks, count) in rows {
        let disk = Disk::with(size, Placement::Internal, offset, &format!("{name}.md.bin"));
        meta::apply_log(&mut disk.open(), "r0/0").expect("it can be applied");
        let wanted = Disk::with(
            size,
            Placement::Internal,
            offset,
            &format!("{name}.applied.md.bin"),
        );
        assert_eq!(superblock(&disk), superblock(&wanted), "{name}");
        let found = bits(&disk, offset, blocks);
        // Not assert_eq: thousands of numbers would be printed.
        assert!(
            found == bits(&wanted, offset, blocks),
            "{name}: other bits are set"
        );
        assert_eq!(found.len(), count, "{name}");
        // Ring and superblock are the last 36 KiB.
        let end = (size / 4096 - 9) * 4096;
        assert_eq!(disk.bytes(end, 36864), wanted.bytes(end, 36864), "{name}");
        // A second time there is nothing to do.
        let before = disk.bytes(offset, 40960);
        meta::apply_log(&mut disk.open(), "r0/0").expect("nothing to do");
        assert!(before == disk.bytes(offset, 40960), "{name}");
    }
}

#[test]
fn crafted_logs() {
    let rows: &[(&str, &[usize], Option<u32>)] = &[
        ("c-wrap", &[7, 8, 9, 10], Some(0x93)),
        ("c-torn-newest", &[1, 2], Some(0x93)),
        ("c-bad-middle", &[1, 2, 3, 4], Some(0x93)),
        ("c-multi", &[2, 3, 9, 12, 13], Some(0x93)),
        ("c-secondary", &[], Some(0x91)),
        ("c-magic08-noclean", &[2, 3, 9, 12, 13], Some(0x93)),
        ("c-last-extent", &[0, 31], Some(0x93)),
        ("c-beyond", &[4], Some(0x93)),
        ("c-init-bad0", &[], Some(0x93)),
        ("c-init-bad3", &[], None),
        ("c-allbad", &[], None),
        ("c-allbad-secondary", &[], Some(0x91)),
    ];
    for (name, extents, flags) in rows {
        let file = format!("{name}.md.bin");
        let disk = Disk::with(134_217_728, Placement::Internal, 134_176_768, &file);
        let result = meta::apply_log(&mut disk.open(), "r0/0");
        let wanted: Vec<usize> = extents
            .iter()
            .flat_map(|extent| extent * 1024..((extent + 1) * 1024).min(32758))
            .collect();
        assert_eq!(bits(&disk, 134_176_768, 32758), wanted, "{name}");
        match flags {
            Some(flags) => {
                assert!(result.is_ok(), "{name}: {result:?}");
                let found = superblock(&disk);
                assert!(found.clean, "{name}");
                assert_eq!(found.flags.bits(), *flags, "{name}");
            }
            None => {
                assert_eq!(result.map_err(|failure| failure.code), Err(1), "{name}");
                disk.same(134_176_768, &file);
            }
        }
    }
}

#[test]
fn generation_commands_step_by_step() {
    let disk = Disk::with(
        134_217_728,
        Placement::Internal,
        134_176_768,
        "int128m.md.bin",
    );
    let steps = String::from_utf8(vector("gi.steps.tsv")).expect("text");
    let mut seen = 0;
    for step in steps.lines() {
        let fields: Vec<&str> = step.split('\t').collect();
        let field = |name: &str| {
            fields
                .iter()
                .find_map(|field| field.strip_prefix(name))
                .expect(name)
        };
        let code = match fields[0].split(' ').next() {
            Some("outdate") => {
                meta::outdate(&mut disk.open(), "r0/0").map_or_else(|it| it.code, |()| 0)
            }
            Some("invalidate") => {
                meta::invalidate(&mut disk.open(), "r0/0").map_or_else(|it| it.code, |()| 0)
            }
            // Other commands are taken over from their result.
            _ => {
                let text = field("sb96=");
                let bytes: Vec<u8> = (0..96)
                    .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex"))
                    .collect();
                disk.file.write_all_at(&bytes, 134_213_632).expect("write");
                0
            }
        };
        assert_eq!(code.to_string(), field("rc="), "{step}");
        let found = superblock(&disk);
        assert_eq!(
            GenerationInfo::from_superblock(&found).line(),
            field("get-gi="),
            "{step}"
        );
        assert_eq!(meta::disk_state(&found), field("dstate="), "{step}");
        let hex: String = disk
            .bytes(134_213_632, 96)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, field("sb96="), "{step}");
        seen += 1;
    }
    assert!(seen >= 8);
    let shown = GenerationInfo::from_superblock(&superblock(&disk)).show();
    let reference = String::from_utf8(vector("gi.show-gi.txt")).expect("text");
    for line in reference
        .lines()
        .filter(|line| line.contains(':') && !line.contains("-<"))
    {
        assert!(shown.contains(line), "{line:?} is missing in:\n{shown}");
    }
}

#[test]
fn dumps_are_those_of_drbdmeta() {
    let internal = Placement::Internal;
    let at = 134_176_768;
    let flexible = Placement::Flexible;
    let indexed = Placement::Indexed;
    let mib_128 = 134_217_728_u64;
    #[rustfmt::skip]
    let rows = [
        (mib_128, internal, at, "int128m.md.bin", "int128m"),
        (1_073_741_824, internal, 1_073_737_728, "int1g.sb.bin", "int1g"),
        (1_000_000_000, internal, 999_993_344, "intodd.sb.bin", "intodd"),
        (134_221_312, internal, 134_213_632, "int128m-odd.sb.bin", "int128m-odd"),
        (mib_128, internal, 134_213_632, "int128m-2x16k.sb.bin", "int128m-2x16k"),
        (mib_128, internal, 134_213_632, "int128m-4x16k.sb.bin", "int128m-4x16k"),
        (mib_128, internal, 134_213_632, "int128m-1x1m.sb.bin", "int128m-1x1m"),
        (mib_128, internal, at, "bitorder.md.bin", "bitorder"),
        (mib_128, internal, at, "k-attach1.md.bin", "k-attach1"),
        (mib_128, internal, at, "k-crash128m.md.bin", "k-crash128m"),
        (mib_128, internal, at, "k-crash128m.applied.md.bin", "k-crash128m.applied"),
        (mib_128, internal, at, "k-crash-2x16k.md.bin", "k-crash-2x16k"),
        (mib_128, internal, at, "k-crash-2x16k.applied.md.bin", "k-crash-2x16k.applied"),
        (536_870_912, internal, 536_817_664, "k-evict512m.md.bin", "k-evict512m"),
        (536_870_912, internal, 536_817_664, "k-evict512m.applied.md.bin", "k-evict512m.applied"),
        (4_194_304, flexible, 0, "ext4m.md.bin", "ext4m"),
        (4_194_304, flexible, 0, "ext4m-7x64k.sb.bin", "ext4m-7x64k"),
        (268_435_456, indexed(0), 0, "idx0.sb.bin", "idx0"),
        (268_435_456, indexed(1), 134_217_728, "idx1.sb.bin", "idx1"),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/metadata");
    let there = fs::read_dir(folder).expect("the golden files");
    let there = there.filter(|entry| {
        let name = entry.as_ref().expect("a file").file_name();
        name.to_string_lossy().ends_with(".dump.txt")
    });
    assert_eq!(rows.len(), there.count(), "every dump is compared");
    for (size, placement, offset, image, text) in rows {
        let disk = Disk::with(size, placement, offset, image);
        let dump = meta::dump(&mut disk.open(), "r0/0", &[], true).expect("a dump");
        let text = format!("{text}.dump.txt");
        let reference = String::from_utf8(vector(&text)).expect("text");
        // The three lines of the header tell date and host.
        let wanted: Vec<&str> = reference.lines().skip(3).collect();
        assert_eq!(dump.lines().collect::<Vec<_>>(), wanted, "{text}");
    }
}

#[test]
fn an_unclean_log_is_not_dumped_unasked() {
    let disk = Disk::with(
        134_217_728,
        Placement::Internal,
        134_176_768,
        "k-crash128m.md.bin",
    );
    let failure = meta::dump(&mut disk.open(), "r0/0", &[], false).expect_err("it must be refused");
    assert_eq!(failure.code, 255);
    assert!(failure.text.contains("rdbadm apply-al r0/0"));
    assert!(!superblock(&disk).flags.contains(MetaFlags::AL_CLEAN));
}
