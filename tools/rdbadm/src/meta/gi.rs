// SPDX-License-Identifier: GPL-2.0

//! Data generation and flags: get-gi, show-gi, dstate, outdate, invalidate (metadata.md, section 8.6).

use std::fmt::Write as _;

use rdb_engine::meta::{MetaFlags, Superblock};

use super::{Device, read};
use crate::failure::{Failure, Outcome, exit};

/// Data generation and flags, from disk or from the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationInfo {
    /// Current, bitmap, history, history.
    pub uuids: [u64; 4],
    /// Flags, numbered as on disk.
    pub flags: u32,
    /// On disk: whether the activity log was applied, last agreed size in sectors, last request size of the peer.
    pub on_disk: Option<(bool, u64, u32)>,
}

/// The seven flags of get-gi, in their order, with the words of the legend.
const FLAGS: [(MetaFlags, &str); 7] = [
    (MetaFlags::CONSISTENT, "Data consistency flag"),
    (
        MetaFlags::WAS_UP_TO_DATE,
        "Data was/is currently up-to-date",
    ),
    (MetaFlags::PRIMARY_IND, "Node was/is currently primary"),
    (MetaFlags::CONNECTED_IND, "Node was/is currently connected"),
    (
        MetaFlags::FULL_SYNC,
        "Node was setting all bits in the bitmap",
    ),
    (
        MetaFlags::PEER_OUT_DATED,
        "The peer's disk was outdated or inconsistent",
    ),
    (
        MetaFlags::CRASHED_PRIMARY,
        "This node was a crashed primary and has not seen its peer since",
    ),
];

/// Width of `CUR:BM:H0:H1:` in front of the flags.
const UUIDS_WIDTH: usize = 4 * 17;

impl GenerationInfo {
    /// From a superblock.
    pub fn from_superblock(superblock: &Superblock) -> Self {
        let [younger, older] = superblock.history_uuids;
        Self {
            uuids: [
                superblock.current_uuid,
                superblock.bitmap_uuid,
                younger,
                older,
            ],
            flags: superblock.flags.bits(),
            on_disk: Some((
                !superblock.needs_log_replay(),
                superblock.la_size,
                superblock.la_peer_max_bio_size,
            )),
        }
    }

    fn has(&self, flag: MetaFlags) -> bool {
        self.flags & flag.bits() != 0
    }

    /// The line of get-gi.
    pub fn line(&self) -> String {
        let uuids = self.uuids.iter().map(|uuid| format!("{uuid:016X}:"));
        let flags = FLAGS
            .iter()
            .map(|(flag, _)| u8::from(self.has(*flag)).to_string());
        uuids.collect::<String>() + &flags.collect::<Vec<_>>().join(":")
    }

    /// The text of show-gi: the line between its legends, and the flags in words.
    pub fn show(&self) -> String {
        let mut out = String::from("\n");
        let legends = [
            (7, "Current data generation UUID"),
            (23, "Bitmap's base data generation UUID"),
            (41, "younger history UUID"),
            (59, "older history UUID"),
        ];
        for (index, (column, legend)) in legends.iter().enumerate() {
            let bars = legends[..index].iter().map(|(column, _)| *column);
            let _ = writeln!(out, "{}+--<  {legend}  >-", columns(bars, *column));
        }
        let all = legends.map(|(column, _)| column);
        let _ = writeln!(
            out,
            "{}V",
            columns_with(all[..3].iter().copied(), all[3], 'V')
        );
        let _ = writeln!(out, "{}", self.line());
        let places: Vec<usize> = (0..FLAGS.len())
            .map(|index| UUIDS_WIDTH + 2 * index)
            .collect();
        let _ = writeln!(
            out,
            "{}^",
            columns_with(places[..6].iter().copied(), places[6], '^')
        );
        for (index, (_, legend)) in FLAGS.iter().enumerate() {
            let text = format!("-<  {legend}  >--");
            let bars: String = " |".repeat(FLAGS.len() - 1 - index);
            let _ = writeln!(out, "{text:>width$}+{bars}", width = places[index]);
        }
        let _ = write!(out, "\nflags: {}\n", self.words());
        if let Some((clean, size, bio)) = self.on_disk {
            let state = if clean { "clean" } else { "needs apply-al" };
            let _ = writeln!(out, "meta-data: {state}");
            match size {
                0 => out.push_str("zero size device -- never seen peer yet?\n"),
                _ => {
                    let _ = writeln!(out, "last agreed size: {} KB ({size} sectors)", size / 2);
                    let _ = writeln!(out, "last agreed max bio size: {bio} Byte");
                }
            }
        }
        out
    }

    fn words(&self) -> String {
        let mut words = Vec::new();
        if self.has(MetaFlags::CRASHED_PRIMARY) {
            words.push("crashed");
        }
        let pick = |flag, yes, no| if self.has(flag) { yes } else { no };
        words.push(pick(MetaFlags::PRIMARY_IND, "Primary", "Secondary"));
        words.push(pick(MetaFlags::CONNECTED_IND, "Connected", "StandAlone"));
        words.push(
            match (
                self.has(MetaFlags::CONSISTENT),
                self.has(MetaFlags::WAS_UP_TO_DATE),
            ) {
                (true, true) => "UpToDate",
                (true, false) => "Outdated",
                (false, _) => "Inconsistent",
            },
        );
        if self.has(MetaFlags::FULL_SYNC) {
            words.push("need full sync");
        }
        if self.has(MetaFlags::PEER_OUT_DATED) {
            words.push("peer Outdated");
        }
        // "crashed Primary" is one remark.
        words.join(", ").replacen("crashed, ", "crashed ", 1)
    }
}

fn columns(bars: impl Iterator<Item = usize>, end: usize) -> String {
    columns_with(bars, end, '|')
}

/// Blanks up to `end`, with `sign` in some columns.
fn columns_with(bars: impl Iterator<Item = usize>, end: usize, sign: char) -> String {
    let mut line: Vec<char> = vec![' '; end];
    for column in bars {
        line[column] = sign;
    }
    line.into_iter().collect()
}

/// State of the disk that the flags tell, in one word.
pub fn disk_state(superblock: &Superblock) -> &'static str {
    let flags = superblock.flags;
    if !flags.contains(MetaFlags::CONSISTENT) {
        "Inconsistent"
    } else if !flags.contains(MetaFlags::WAS_UP_TO_DATE) {
        "Outdated"
    } else if flags.contains(MetaFlags::PEER_OUT_DATED) {
        "UpToDate"
    } else {
        "Consistent"
    }
}

/// Marks the data as outdated.
pub fn outdate(device: &mut Device, object: &str) -> Outcome {
    let mut superblock = read(device, object)?;
    if !superblock.flags.contains(MetaFlags::CONSISTENT) {
        let text =
            format!("{object}: the disk is Inconsistent, so it is no better than outdated anyway");
        return Err(Failure::new(exit::TIMEOUT, text));
    }
    superblock.flags = superblock.flags.without(MetaFlags::WAS_UP_TO_DATE);
    device.write_superblock(&superblock)
}

/// Marks the data as useless; the next attach sets all bits.
pub fn invalidate(device: &mut Device, object: &str) -> Outcome {
    let mut superblock = read(device, object)?;
    superblock.flags = superblock
        .flags
        .without(MetaFlags::CONSISTENT)
        .without(MetaFlags::WAS_UP_TO_DATE)
        .with(MetaFlags::FULL_SYNC, true);
    device.write_superblock(&superblock)
}
