// SPDX-License-Identifier: GPL-2.0

//! Why a device's metadata cannot be used or made.

use core::fmt;

/// What is wrong, with the values needed to say it to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaError {
    /// The block is shorter than 4096 bytes: an error of the caller, or the device ended.
    ShortBlock {
        /// Bytes found.
        len: usize,
    },
    /// There is no superblock of any known format.
    NotMetadata {
        /// The word at the place of the magic.
        magic: u32,
    },
    /// There are metadata of another DRBD format.
    OtherFormat {
        /// Its name: `v07` or `v09`.
        name: &'static str,
    },
    /// A field of the superblock has a value that it cannot have.
    Field {
        /// Name of the field as in the specification.
        field: &'static str,
        /// The value.
        value: i64,
        /// What was expected.
        expected: &'static str,
    },
    /// The metadata device is too small.
    DeviceTooSmall {
        /// Its sectors.
        sectors: u64,
        /// Sectors needed.
        needed: u64,
    },
    /// The device is larger than the format can describe.
    DeviceTooLarge {
        /// Its sectors.
        sectors: u64,
        /// The limit.
        limit: u64,
    },
    /// The activity log is smaller or larger than allowed, in blocks of 4 KiB.
    LogSize {
        /// Its blocks: stripes times stripe size.
        blocks: u64,
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// The bitmap on disk has too few bits for the volume.
    BitmapTooSmall {
        /// Bits that it has.
        bits: u64,
        /// Bits needed.
        needed: u64,
    },
    /// A transaction cannot be written as asked (more updates than fit, or a slot out of range).
    Transaction {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl MetaError {
    /// The result number of the administration interface (metadata.md appendix A).
    pub const fn code(&self) -> u16 {
        match self {
            Self::ShortBlock { .. } => 118,
            Self::DeviceTooSmall { .. } => 112,
            Self::NotMetadata { .. }
            | Self::OtherFormat { .. }
            | Self::Field { .. }
            | Self::DeviceTooLarge { .. }
            | Self::BitmapTooSmall { .. }
            | Self::Transaction { .. } => 119,
            Self::LogSize { blocks, max, .. } if *blocks > *max => 167,
            Self::LogSize { .. } => 168,
        }
    }
}

impl fmt::Display for MetaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ShortBlock { len } => {
                write!(f, "metadata block has {len} bytes, expected 4096")
            }
            Self::NotMetadata { magic } => {
                let expected = "expected 0x8374026b or 0x8374026c";
                write!(
                    f,
                    "no valid metadata found (magic {magic:#010x}, {expected})"
                )
            }
            Self::OtherFormat { name } => {
                write!(f, "metadata have format {name}, expected v08")
            }
            Self::Field {
                field,
                value,
                expected,
            } => {
                write!(f, "superblock: {field} is {value}, expected {expected}")
            }
            Self::DeviceTooSmall { sectors, needed } => {
                write!(
                    f,
                    "device has {sectors} sectors, metadata need at least {needed}"
                )
            }
            Self::DeviceTooLarge { sectors, limit } => {
                write!(
                    f,
                    "device has {sectors} sectors, metadata can describe at most {limit}"
                )
            }
            Self::LogSize { blocks, min, max } => {
                write!(
                    f,
                    "activity log has {blocks} blocks of 4 KiB, expected {min} to {max}"
                )
            }
            Self::BitmapTooSmall { bits, needed } => {
                write!(
                    f,
                    "bitmap on disk has {bits} bits, the volume needs {needed}"
                )
            }
            Self::Transaction { what } => write!(f, "activity log: {what}"),
        }
    }
}

impl core::error::Error for MetaError {}
