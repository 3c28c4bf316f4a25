// SPDX-License-Identifier: GPL-2.0

//! apply-al: after a crash, marks in the bitmap what may have been written to (metadata.md, section 3.8).

use rdb_engine::bits::{DiskBitsMut, WordsMut};
use rdb_engine::meta::log::{self, Apply, LogScan, MAX_SLOTS, Replay, Verdict};
use rdb_engine::meta::{BLOCK_LEN, Layout, MetaFlags};

use super::create::write_ring;
use super::{Device, read};
use crate::failure::{Failure, Outcome, exit};

/// Bits in a page of bitmap.
const PAGE_BITS: u64 = 32768;

/// What apply-al did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Blocks of 4 KiB that are out of sync now and were not before.
    pub bits: u64,
    /// Entries that lie behind the end of the volume or in no slot, and were left out.
    pub ignored: u64,
}

/// Applies the activity log, unless that was done already.
pub fn apply_log(device: &mut Device, object: &str) -> Outcome<Applied> {
    let mut superblock = read(device, object)?;
    let mut applied = Applied {
        bits: 0,
        ignored: 0,
    };
    if !superblock.needs_log_replay() {
        return Ok(applied);
    }
    let layout = device.layout(&superblock)?;
    let mut block = [0; BLOCK_LEN];
    let mut scan = LogScan::new(layout.geometry);
    while let Some(position) = scan.next_position() {
        device.read(layout.log_sector(position), &mut block)?;
        scan.add(&block);
    }
    let verdict = scan.verdict(superblock.flags);
    match verdict {
        Verdict::NothingToDo => {}
        Verdict::Initialise => write_ring(device, &layout)?,
        Verdict::Apply(which) => {
            applied = replay(device, &layout, &which, superblock.la_size)?;
            device.flush()?;
            write_ring(device, &layout)?;
        }
        Verdict::NoValidBlock | Verdict::PartlyDamaged => {
            let text = format!(
                "{object}: the activity log on {} is damaged: it is not known what was written last.\n    Take the data from the peer instead: rdbadm invalidate {object}",
                device.path()
            );
            return Err(Failure::new(exit::USAGE, text));
        }
    }
    superblock.clean = verdict.is_clean();
    superblock.flags = superblock
        .flags
        .with(MetaFlags::AL_CLEAN, verdict.is_clean());
    device.write_superblock(&superblock)?;
    Ok(applied)
}

fn replay(device: &Device, layout: &Layout, which: &Apply, capacity: u64) -> Outcome<Applied> {
    let mut slots = vec![0; MAX_SLOTS];
    let mut replay =
        Replay::new(&mut slots).map_err(|error| Failure::new(exit::REFUSED, error.to_string()))?;
    let mut block = [0; BLOCK_LEN];
    for position in which.positions() {
        device.read(layout.log_sector(position), &mut block)?;
        replay.add(&block);
    }
    let mut applied = Applied {
        bits: 0,
        ignored: replay.ignored().into(),
    };
    let mut extents: Vec<u32> = replay.extents().collect();
    extents.sort_unstable();
    extents.dedup();
    for extent in extents {
        match log::extent_bits(extent, capacity) {
            Some(bits) => applied.bits += set(device, layout, bits)?,
            None => applied.ignored += 1,
        }
    }
    Ok(applied)
}

/// Sets bits of one extent, which lies in one page.
fn set(device: &Device, layout: &Layout, bits: std::ops::Range<u64>) -> Outcome<u64> {
    let page = bits.start / PAGE_BITS;
    let sector = layout.bitmap_page_sector(page);
    let end = layout.bitmap + layout.bitmap_sectors;
    // The last page of a flexible device may be short.
    let length = end
        .saturating_sub(sector)
        .saturating_mul(512)
        .min(BLOCK_LEN as u64);
    let mut block = vec![0; usize::try_from(length).unwrap_or_default()];
    device.read(sector, &mut block)?;
    let first = page * PAGE_BITS;
    let changed = DiskBitsMut::new(&mut block, PAGE_BITS).set(bits.start - first..bits.end - first);
    device.write(sector, &block)?;
    Ok(changed)
}
