// SPDX-License-Identifier: GPL-2.0

//! What a device seems to hold besides our metadata (section 8.5, step 2).

use core::fmt;

/// Bytes from the start of the device that [`recognise`] wants to see.
pub const PROBE_LEN: usize = 68 * 1024;

/// Something found on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// What it is.
    pub kind: Kind,
    /// Bytes of the device that it uses; `None` if that is not known from the start of the device,
    /// then assume all of it.
    pub bytes: Option<u64>,
}

/// What is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Swap space.
    Swap,
    /// A physical volume of LVM2. Its size is known to LVM's own tool only.
    Lvm,
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// JFS.
    Jfs,
    /// reiserfs.
    Reiserfs,
    /// btrfs.
    Btrfs,
    /// An encrypted LUKS volume.
    Luks,
    /// Bytes that are not zero, of no known kind.
    Unknown,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Swap => "swap space",
            Self::Lvm => "an LVM2 physical volume",
            Self::Ext => "an ext2/ext3/ext4 file system",
            Self::Xfs => "an XFS file system",
            Self::Jfs => "a JFS file system",
            Self::Reiserfs => "a reiserfs file system",
            Self::Btrfs => "a btrfs file system",
            Self::Luks => "an encrypted LUKS volume",
            Self::Unknown => "unknown data",
        })
    }
}

/// Looks at the first bytes of a device ([`PROBE_LEN`], or all if it is smaller). `None` means that
/// all are zero.
pub fn recognise(start: &[u8]) -> Option<Content> {
    if start.iter().all(|&byte| byte == 0) {
        return None;
    }
    let known = swap(start)
        .or_else(|| lvm(start))
        .or_else(|| ext(start))
        .or_else(|| xfs(start))
        .or_else(|| jfs(start))
        .or_else(|| reiserfs(start))
        .or_else(|| btrfs(start))
        .or_else(|| luks(start));
    Some(known.unwrap_or(Content {
        kind: Kind::Unknown,
        bytes: None,
    }))
}

fn swap(start: &[u8]) -> Option<Content> {
    let page_ends = [4096, 8192];
    let signatures: [&[u8]; 2] = [b"SWAP-SPACE", b"SWAPSPACE2"];
    let found = page_ends.iter().any(|end| {
        signatures
            .iter()
            .any(|signature| has(start, end - signature.len(), signature))
    });
    found.then_some(Content {
        kind: Kind::Swap,
        bytes: None,
    })
}

fn lvm(start: &[u8]) -> Option<Content> {
    has(start, 0x218, b"LVM2").then_some(Content {
        kind: Kind::Lvm,
        bytes: None,
    })
}

fn ext(start: &[u8]) -> Option<Content> {
    if u16::from_le_bytes(at(start, 0x438)?) != 0xEF53 {
        return None;
    }
    let low = u64::from(u32::from_le_bytes(at(start, 0x404)?));
    // Above 2^32 blocks the upper half counts too; without the feature the field may hold anything.
    let has_high = u32::from_le_bytes(at(start, 0x460)?) & EXT_64BIT != 0;
    let high = match has_high {
        true => u64::from(u32::from_le_bytes(at(start, 0x550)?)),
        false => 0,
    };
    let blocks = low | (high << 32);
    let bytes = match u32::from_le_bytes(at(start, 0x418)?) {
        shift @ 0..=6 => blocks.checked_mul(1024 << shift),
        _ => None,
    };
    Some(Content {
        kind: Kind::Ext,
        bytes,
    })
}

fn xfs(start: &[u8]) -> Option<Content> {
    if u32::from_be_bytes(at(start, 0)?) != 0x5846_5342 {
        return None;
    }
    let blocks = u64::from_be_bytes(at(start, 8)?);
    let block_size = u64::from(u32::from_be_bytes(at(start, 4)?));
    Some(Content {
        kind: Kind::Xfs,
        bytes: blocks.checked_mul(block_size),
    })
}

fn jfs(start: &[u8]) -> Option<Content> {
    if !has(start, 0x8000, b"JFS1") {
        return None;
    }
    let blocks = u64::from_le_bytes(at(start, 0x8008)?);
    let block_size = u64::from(u32::from_le_bytes(at(start, 0x8018)?));
    Some(Content {
        kind: Kind::Jfs,
        bytes: blocks.checked_mul(block_size),
    })
}

fn reiserfs(start: &[u8]) -> Option<Content> {
    if !has(start, 0x1_0034, b"ReIsErFs") && !has(start, 0x1_0034, b"ReIsEr2Fs") {
        return None;
    }
    let blocks = u64::from(u32::from_le_bytes(at(start, 0x1_0000)?));
    let block_size = u64::from(u16::from_le_bytes(at(start, 0x1_002C)?));
    Some(Content {
        kind: Kind::Reiserfs,
        bytes: blocks.checked_mul(block_size),
    })
}

fn btrfs(start: &[u8]) -> Option<Content> {
    if !has(start, 0x1_0040, b"_BHRfS_M") {
        return None;
    }
    // Of all its devices together: at least what it uses of this one.
    let bytes = u64::from_le_bytes(at(start, 0x1_0070)?);
    Some(Content {
        kind: Kind::Btrfs,
        bytes: Some(bytes),
    })
}

fn luks(start: &[u8]) -> Option<Content> {
    has(start, 0, b"LUKS\xBA\xBE").then_some(Content {
        kind: Kind::Luks,
        bytes: None,
    })
}

/// Incompatible feature of ext4: block numbers have 64 bits.
const EXT_64BIT: u32 = 0x80;

fn has(start: &[u8], offset: usize, signature: &[u8]) -> bool {
    start
        .get(offset..)
        .is_some_and(|rest| rest.starts_with(signature))
}

fn at<const N: usize>(start: &[u8], offset: usize) -> Option<[u8; N]> {
    start.get(offset..)?.first_chunk().copied()
}
