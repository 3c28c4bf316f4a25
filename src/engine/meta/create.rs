// SPDX-License-Identifier: GPL-2.0

//! What a disk gets that shall carry a volume for the first time (section 8.5, step 3).

use super::{
    Layout, LogGeometry, MetaError, MetaFlags, Placement, Superblock, CREATED_LOG_SLOTS,
    MIN_CREATE_BYTES,
};
use crate::wire::{MAX_REQUEST_BYTES, SECTOR_SIZE, UUID_JUST_CREATED};

/// Choices of the administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateOptions {
    /// Form of the activity log; [`LogGeometry::from_create_options`] makes it from the options of
    /// the command.
    pub geometry: LogGeometry,
    /// Initial `la_peer_max_bio_size` in bytes, at most 1 MiB; 0 by default.
    pub peer_max_bio_size: u32,
    /// Initial `la_size_sect`; 0 by default.
    pub effective_size: u64,
    /// Identity of the metadata. The reference's drbdmeta leaves 0; its admin tool then writes a
    /// random number.
    pub device_uuid: u64,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            geometry: LogGeometry::DEFAULT,
            peer_max_bio_size: 0,
            effective_size: 0,
            device_uuid: 0,
        }
    }
}

impl LogGeometry {
    /// The form that the options `--al-stripes` and `--al-stripe-size-kB` of create-md name. The
    /// size is cut to whole blocks of 4 KiB.
    ///
    /// # Errors
    ///
    /// [`MetaError::LogSize`] unless the log has 8 to 8192 blocks.
    pub fn from_create_options(stripes: u32, stripe_size_kib: u32) -> Result<Self, MetaError> {
        let blocks = u64::from(stripes).saturating_mul(u64::from(stripe_size_kib / 4));
        let (min, max) = (Self::MIN_BLOCKS, Self::MAX_CREATE_BLOCKS);
        if blocks < min || blocks > max {
            return Err(MetaError::LogSize { blocks, min, max });
        }
        Self::new(stripes, stripe_size_kib / 4)
    }
}

/// New metadata. The caller writes, in this order and with a flush before the last step:
///
/// 1. [`super::log::encode_initialised`] into each of the `layout.geometry.blocks()` blocks from
///    sector `layout.log` on;
/// 2. zeroes into the `layout.bitmap_sectors` sectors from `layout.bitmap` on;
/// 3. `superblock.encode` into the block at sector `layout.superblock`.
///
/// A crash before the last step leaves a disk without metadata, never one with half of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Where the parts go.
    pub layout: Layout,
    /// The superblock.
    pub superblock: Superblock,
}

/// New metadata for a metadata device of `sectors`. `data_sectors`, the size of the data device,
/// counts for external metadata only: it bounds `effective_size`.
///
/// Whether the device holds something else is not looked at: see [`super::probe`].
///
/// # Errors
///
/// A device that is too small or too large for the layout, a log size that the placement does not
/// allow, or an option out of its range.
pub fn create(
    placement: Placement,
    sectors: u64,
    data_sectors: u64,
    options: &CreateOptions,
) -> Result<Created, MetaError> {
    let needed = MIN_CREATE_BYTES / u64::from(SECTOR_SIZE);
    if sectors < needed {
        return Err(MetaError::DeviceTooSmall { sectors, needed });
    }
    if options.peer_max_bio_size > MAX_REQUEST_BYTES {
        return Err(MetaError::Field {
            field: "la_peer_max_bio_size",
            value: i64::from(options.peer_max_bio_size),
            expected: "at most 1048576",
        });
    }
    let layout = Layout::compute(placement, sectors, options.geometry)?;
    if options.effective_size > layout.usable(data_sectors) {
        return Err(MetaError::Field {
            field: "la_size_sect",
            value: i64::try_from(options.effective_size).unwrap_or(i64::MAX),
            expected: "at most the usable size",
        });
    }
    let superblock = Superblock {
        la_size: options.effective_size,
        current_uuid: UUID_JUST_CREATED,
        bitmap_uuid: 0,
        history_uuids: [0; 2],
        device_uuid: options.device_uuid,
        flags: MetaFlags::AL_CLEAN,
        unnamed_flags: 0,
        clean: true,
        md_size: layout.md_size,
        al_offset: layout.al_offset(),
        al_nr_extents: CREATED_LOG_SLOTS,
        bm_offset: layout.bm_offset(),
        la_peer_max_bio_size: options.peer_max_bio_size,
        geometry: options.geometry,
    };
    Ok(Created { layout, superblock })
}
