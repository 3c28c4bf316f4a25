// SPDX-License-Identifier: GPL-2.0

//! The metadata on disk ("v08"): where they lie and what their bytes mean.
//!
//! Pure functions and types over blocks of 4096 bytes that the caller reads and writes; nothing
//! here allocates.
//!
//! * [`Layout`]: where superblock, activity log and bitmap lie on a device, for each [`Placement`].
//! * [`Superblock`]: the 96 bytes that say what the disk is; [`MetaFlags`].
//! * [`log`]: transaction blocks of the activity log, and its replay after a crash.
//! * [`create`]: what an empty disk gets; the caller writes it in the order that [`Created`]
//!   documents.
//! * [`probe`]: what else a device seems to hold.
//!
//! The bitmap itself is [`crate::bits`] over little-endian words ([`crate::bits::DiskBits`]).
//!
//! To attach, read the block at [`Placement::superblock_sector`], decode it with
//! [`Superblock::decode`], and ask [`Superblock::layout`] where the rest is. If
//! [`Superblock::needs_log_replay`], replay the log first ([`log::LogScan`]).
//!
//! Specification: `metadata.md`. Errors carry the number of the administration interface
//! ([`MetaError::code`]).

mod checksum;
mod create;
mod error;
mod layout;
pub mod log;
pub mod probe;
mod superblock;

#[cfg(test)]
mod tests;

pub use checksum::crc32c;
pub use create::{create, CreateOptions, Created};
pub use error::MetaError;
pub use layout::{Layout, LogGeometry, Placement};
pub use superblock::{MetaFlags, Superblock};

/// Bytes of a metadata block: superblock, transaction, bitmap page.
pub const BLOCK_LEN: usize = 4096;

/// Sectors of a metadata block.
pub const BLOCK_SECTORS: u64 = 8;

/// Sectors of an activity-log extent (4 MiB).
pub const EXTENT_SECTORS: u64 = 8192;

/// Bits of the bitmap that an activity-log extent has.
pub const BITS_PER_EXTENT: u64 = 1024;

/// Sectors of the fixed area of an indexed placement (128 MiB).
pub const INDEXED_AREA_SECTORS: u64 = 262_144;

/// Largest device, in sectors: 1 PiB (section 1.3).
pub const MAX_DEVICE_SECTORS: u64 = 1 << 41;

/// Smallest metadata device that can be attached, in sectors, unless indexed (section 1.3).
pub const MIN_ATTACH_SECTORS: u64 = 2048;

/// Smallest device that [`create`] formats, in bytes (section 1.3).
pub const MIN_CREATE_BYTES: u64 = 69_632;

/// Value of `al_nr_extents` in a superblock that [`create`] made.
pub const CREATED_LOG_SLOTS: u32 = 257;
