// SPDX-License-Identifier: GPL-2.0

//! The activity log: which extents of 4 MiB may have been written to when the node died (section
//! 3).
//!
//! Writing: [`Transaction::encode`] makes a block, [`super::Layout::log_sector`] says where it
//! goes.
//!
//! Replay after a crash takes two passes over the ring, so that the caller needs no memory for all
//! of it:
//!
//! 1. feed every position to a [`LogScan`], in order, and ask for the [`Verdict`];
//! 2. if it says [`Verdict::Apply`], feed the positions that [`Apply::positions`] names to a
//!    [`Replay`]; then set all bits of its [`Replay::extents`] in the bitmap on disk, flush,
//!    initialise the ring ([`encode_initialised`] into every block), and write the superblock as
//!    [`Verdict::is_clean`] says.

mod replay;
mod transaction;

pub use replay::{Apply, LogScan, Replay, Verdict};
pub use transaction::{encode_initialised, LogBlock, Transaction, Update};

use super::BITS_PER_EXTENT;
use crate::bits::bits_of;

/// Most updates of one transaction.
pub const MAX_UPDATES: usize = 64;

/// Slots that the context of one transaction describes.
pub const CONTEXT_LEN: usize = 919;

/// Most slots of an activity log; slot numbers are below this.
pub const MAX_SLOTS: usize = 65534;

/// Fewest slots that an activity log is given.
pub const MIN_SLOTS: u32 = 67;

/// Slots by default.
pub const DEFAULT_SLOTS: u32 = 1237;

/// Extent number of a slot that has none.
pub const FREE_EXTENT: u32 = 0xFFFF_FFFF;

/// The bits of the bitmap that belong to `extent` of a volume of `capacity` sectors; `None` if the
/// extent lies behind the volume.
///
/// The last extent's bits are cut at the end of the volume.
pub fn extent_bits(extent: u32, capacity: u64) -> Option<core::ops::Range<u64>> {
    let first = u64::from(extent) * BITS_PER_EXTENT;
    let end = bits_of(capacity);
    (first < end).then(|| first..end.min(first + BITS_PER_EXTENT))
}
