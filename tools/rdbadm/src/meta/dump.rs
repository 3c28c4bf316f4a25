// SPDX-License-Identifier: GPL-2.0

//! dump-md: the metadata as text (metadata.md, section 8.7).

use std::fmt::Write as _;

use rdb_engine::bits::bits_of;
use rdb_engine::meta::{BLOCK_LEN, Superblock};

use super::{Device, read};
use crate::failure::{Failure, Outcome, exit};

/// Words of 64 bits in a line.
const LINE: usize = 4;
/// Shortest run that is written as one.
const RUN: usize = 8;
/// Words between remarks on the position.
const MARK: usize = 32;
/// KiB of data that one word of bitmap stands for.
const WORD_KIB: usize = 256;

/// The whole text. `header` lines come first, as comments. Unclean metadata are refused unless `force`d; their text cannot be read
/// back by accident.
pub fn dump(device: &mut Device, object: &str, header: &[String], force: bool) -> Outcome<String> {
    let superblock = read(device, object)?;
    let layout = device.layout(&superblock)?;
    let unclean = superblock.needs_log_replay();
    if unclean && !force {
        let text = format!(
            "{object}: the activity log was not applied; run first: rdbadm apply-al {object}"
        );
        return Err(Failure::new(exit::NO_META, text));
    }
    let mut out = String::new();
    for line in header {
        let _ = writeln!(out, "# {line}");
    }
    out.push_str("#\n\nversion \"v08\";\n\n");
    if unclean {
        out.push_str("This_is_an_unclean_meta_data_dump._Don't_trust_the_bitmap.\n");
        out.push_str("# You should \"apply-al\" first, if you plan to restore this.\n\n");
    }
    let byte = |sector: u64| sector * 512;
    let _ = writeln!(out, "# md_size_sect {}", superblock.md_size);
    let _ = writeln!(out, "# md_offset {}", byte(layout.superblock));
    let _ = writeln!(out, "# al_offset {}", byte(layout.log));
    let _ = writeln!(out, "# bm_offset {}", byte(layout.bitmap));
    fields(&mut out, &superblock);
    let bytes = bits_of(superblock.la_size).div_ceil(64) * 8;
    let bytes = bytes
        .next_multiple_of(BLOCK_LEN as u64)
        .min(layout.bitmap_sectors * 512);
    let mut bitmap = vec![0; usize::try_from(bytes).unwrap_or_default()];
    device.read(layout.bitmap, &mut bitmap)?;
    let words: Vec<u64> = bitmap
        .chunks_exact(8)
        .filter_map(|chunk| Some(u64::from_le_bytes(*chunk.first_chunk()?)))
        .collect();
    let _ = write!(out, "# bm-bytes {bytes};\nbm {{\n");
    bitmap_text(&mut out, &words);
    let set: u64 = words.iter().map(|word| u64::from(word.count_ones())).sum();
    let _ = write!(out, "}}\n# bits-set {set};\n");
    Ok(out)
}

fn fields(out: &mut String, superblock: &Superblock) {
    let [younger, older] = superblock.history_uuids;
    let uuids = [
        superblock.current_uuid,
        superblock.bitmap_uuid,
        younger,
        older,
    ];
    let uuids: Vec<String> = uuids.iter().map(|uuid| format!("0x{uuid:016X};")).collect();
    let flags = superblock.flags.bits() | superblock.unnamed_flags;
    let _ = write!(
        out,
        "\nuuid {{\n    {}\n    flags 0x{flags:08X};\n}}\n",
        uuids.join(" ")
    );
    let _ = writeln!(out, "# al-extents {};", superblock.al_nr_extents);
    let _ = writeln!(out, "la-size-sect {};", superblock.la_size);
    let _ = writeln!(out, "bm-byte-per-bit 4096;");
    let _ = writeln!(out, "device-uuid 0x{:016X};", superblock.device_uuid);
    let _ = writeln!(
        out,
        "la-peer-max-bio-size {};",
        superblock.la_peer_max_bio_size
    );
    let _ = writeln!(out, "al-stripes {};", superblock.geometry.stripes());
    let _ = writeln!(
        out,
        "al-stripe-size-4k {};",
        superblock.geometry.stripe_blocks()
    );
}

/// Four words in a line; long runs of equal words as one.
fn bitmap_text(out: &mut String, words: &[u64]) {
    let mut at = 0;
    while at < words.len() {
        if at % MARK == 0 {
            let _ = writeln!(out, "   # at {}kB", at * WORD_KIB);
        }
        let word = words[at];
        let equal = words[at..].iter().take_while(|next| **next == word).count();
        let halves_agree = word >> 32 == word & 0xFFFF_FFFF;
        if halves_agree && equal >= RUN {
            let run = equal / LINE * LINE;
            let _ = writeln!(out, "    {run} times 0x{word:016X};");
            at += run;
            continue;
        }
        let line = &words[at..(at + LINE).min(words.len())];
        let line: Vec<String> = line.iter().map(|word| format!("0x{word:016X};")).collect();
        let _ = writeln!(out, "    {}", line.join(" "));
        at += LINE;
    }
}
