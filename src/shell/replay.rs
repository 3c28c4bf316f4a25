// SPDX-License-Identifier: GPL-2.0

//! The bitmap that an attach begins with: what the disk says, and what a crash adds to it (metadata.md, sections 3.8 and 5.2).

use kernel::prelude::*;
use rdb_engine::bits::{bits_of, words_of};
use rdb_engine::meta::log::{extent_bits, Apply, LogScan, Replay, Verdict, FREE_EXTENT, MAX_SLOTS};
use rdb_engine::meta::{MetaFlags, Superblock};
use rdb_kapi::buf::PageBuf;

use super::backing::{Backing, Path};
use super::failure::Failure;
use super::log::say;
use super::memory::Table;
use super::resource::Resource;

/// Why there is no bitmap.
pub(crate) enum Trouble {
    /// No memory for so many words.
    Memory,
    /// The metadata cannot be read.
    Read(Error),
}

impl Trouble {
    /// The message for the administrator.
    pub(crate) fn of(self, path: Path<'_>) -> Failure {
        match self {
            Self::Memory => Failure::new(
                140,
                format_args!("not enough memory for the bitmap of {path}"),
            ),
            Self::Read(error) => Failure::new(
                118,
                format_args!("{path}: reading the metadata failed: {error:?}"),
            ),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

/// Reads the bitmap and marks what a crash makes uncertain. What was found is on the disk then, and the ring of the activity log as
/// new. Sleeps.
pub(crate) fn bitmap(
    resource: &Resource,
    backing: &Backing,
    superblock: &Superblock,
) -> Result<Table<u64>, Trouble> {
    let count =
        usize::try_from(words_of(bits_of(backing.usable()))).map_err(|_| Trouble::Memory)?;
    let mut words = Table::zeroed(count).map_err(|_| Trouble::Memory)?;
    let flags = superblock.flags;
    let crashed = flags.contains(MetaFlags::PRIMARY_IND);
    let logged = !flags.contains(MetaFlags::AL_DISABLED);
    let verdict = scan(backing, superblock)?;
    if flags.contains(MetaFlags::FULL_SYNC) || (crashed && !logged) {
        // The engine writes the bitmap: the flag stays until it is there.
        words.fill(u64::MAX);
        if verdict != Verdict::NothingToDo {
            backing.initialise_log()?;
        }
        return Ok(words);
    }
    backing.read_bitmap(resource, &mut words)?;
    match verdict {
        Verdict::NothingToDo => (),
        Verdict::Initialise => backing.initialise_log()?,
        Verdict::Apply(apply) => {
            replay(backing, superblock, apply, &mut words)?;
            backing.write_replayed(resource, &words)?;
        }
        Verdict::NoValidBlock | Verdict::PartlyDamaged => {
            // What the log says is lost: everything may differ.
            say!(pr_warn: "{}: the activity log is damaged: all blocks count as out of sync", backing.meta_name());
            words.fill(u64::MAX);
            backing.write_replayed(resource, &words)?;
        }
    }
    Ok(words)
}

fn scan(backing: &Backing, superblock: &Superblock) -> Result<Verdict, Trouble> {
    let mut page = PageBuf::new().map_err(|_| Trouble::Memory)?;
    let mut scan = LogScan::new(superblock.geometry);
    while let Some(position) = scan.next_position() {
        backing.read_log_block(superblock.geometry.block_of(position), &mut page)?;
        scan.add(page.as_ref());
    }
    Ok(scan.verdict(superblock.flags))
}

fn replay(
    backing: &Backing,
    superblock: &Superblock,
    apply: Apply,
    words: &mut [u64],
) -> Result<(), Trouble> {
    let mut page = PageBuf::new().map_err(|_| Trouble::Memory)?;
    let mut slots = Table::<u32>::new(MAX_SLOTS).map_err(|_| Trouble::Memory)?;
    slots.fill(FREE_EXTENT);
    let mut table = Replay::new(&mut slots).map_err(|_| Trouble::Memory)?;
    for position in apply.positions() {
        backing.read_log_block(superblock.geometry.block_of(position), &mut page)?;
        table.add(page.as_ref());
    }
    let mut extents = 0u32;
    for extent in table.extents() {
        if let Some(bits) = extent_bits(extent, backing.usable()) {
            mark(words, bits);
            extents = extents.saturating_add(1);
        }
    }
    say!(pr_info: "{}: {} extents of the activity log marked out of sync", backing.meta_name(), extents);
    Ok(())
}

/// Sets the bits of an extent, which fill whole words: the engine masks what is behind the end.
fn mark(words: &mut [u64], bits: core::ops::Range<u64>) {
    let first = usize::try_from(bits.start / 64).unwrap_or(usize::MAX);
    let end = usize::try_from(bits.end.div_ceil(64))
        .unwrap_or(usize::MAX)
        .min(words.len());
    if let Some(words) = words.get_mut(first..end) {
        words.fill(u64::MAX);
    }
}
