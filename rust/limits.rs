// SPDX-License-Identifier: GPL-2.0

//! What requests a disk takes.

use crate::bdev::LowerDevice;
use crate::bindings;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

/// What requests a [`Disk`](crate::disk::Disk) takes; larger ones are split before they reach the
/// driver.
///
/// Whatever these say, the disk has a volatile write cache and FUA (flushes reach the driver),
/// wants pages not to be changed while they are written, and never gets requests that must not
/// wait.
#[derive(Copy, Clone)]
pub struct Limits<'a> {
    /// The device below, whose limits are the base.
    pub lower: Option<&'a LowerDevice>,
    /// Bytes, a power of two in 512..=4096; more if the lower device wants more.
    pub logical_block_size: u32,
    /// Bytes, a power of two; at least the logical block size.
    pub physical_block_size: u32,
    /// Largest read or write in bytes, a page to 1 MiB.
    pub max_io_bytes: u32,
    /// Largest discard in bytes; 0: the disk takes none.
    pub max_discard_bytes: u32,
    /// Bytes, the unit in which discards free something; 0 means the logical block size.
    pub discard_granularity: u32,
    /// Largest request to write zeroes in bytes; 0: the block layer writes zeroes as data.
    pub max_write_zeroes_bytes: u32,
}

impl Default for Limits<'_> {
    fn default() -> Self {
        Limits {
            lower: None,
            logical_block_size: 512,
            physical_block_size: 4096,
            max_io_bytes: 1 << 20,
            max_discard_bytes: 0,
            discard_granularity: 0,
            max_write_zeroes_bytes: 0,
        }
    }
}

impl Limits<'_> {
    /// As the block layer wants them.
    pub(crate) fn build(&self) -> Result<bindings::queue_limits> {
        let block = self.logical_block_size;
        let page = u32::try_from(PAGE_SIZE).map_err(|_| EINVAL)?;
        if !block.is_power_of_two()
            || !(512..=page).contains(&block)
            || !self.physical_block_size.is_power_of_two()
            || !(page..=1 << 20).contains(&self.max_io_bytes)
        {
            return Err(EINVAL);
        }
        let mut lim: bindings::queue_limits = pin_init::zeroed();
        // SAFETY: The limits are ours, the device is open, the prefix is a C string.
        unsafe {
            bindings::blk_set_stacking_limits(&mut lim);
            if let Some(lower) = self.lower {
                bindings::queue_limits_stack_bdev(
                    &mut lim,
                    lower.as_ptr(),
                    0,
                    c"rdb".as_char_ptr(),
                );
            }
        }
        lim.logical_block_size = lim.logical_block_size.max(block);
        lim.physical_block_size = lim
            .physical_block_size
            .max(self.physical_block_size)
            .max(lim.logical_block_size);
        lim.io_min = lim.io_min.max(lim.physical_block_size);
        lim.max_hw_sectors = lim.max_hw_sectors.min(self.max_io_bytes >> 9);
        lim.max_hw_discard_sectors = self.max_discard_bytes >> 9;
        lim.discard_granularity = self.discard_granularity.max(lim.logical_block_size);
        lim.discard_alignment = 0;
        lim.max_discard_segments = 1;
        lim.max_write_zeroes_sectors = self.max_write_zeroes_bytes >> 9;
        lim.features = (lim.features & bindings::BLK_FEAT_ROTATIONAL_BIT)
            | bindings::BLK_FEAT_WRITE_CACHE
            | bindings::BLK_FEAT_FUA
            | bindings::BLK_FEAT_STABLE_WRITES
            | bindings::BLK_FEAT_IO_STAT;
        Self::clear_unknown(&mut lim);
        Ok(lim)
    }

    /// What the driver does not do, whatever the lower device can.
    fn clear_unknown(lim: &mut bindings::queue_limits) {
        lim.max_secure_erase_sectors = 0;
        lim.max_hw_wzeroes_unmap_sectors = 0;
        lim.max_user_wzeroes_unmap_sectors = 0;
        lim.max_hw_zone_append_sectors = 0;
        lim.zone_write_granularity = 0;
        lim.max_open_zones = 0;
        lim.max_active_zones = 0;
        lim.atomic_write_hw_max = 0;
        lim.atomic_write_hw_boundary = 0;
        lim.atomic_write_hw_unit_min = 0;
        lim.atomic_write_hw_unit_max = 0;
        lim.max_write_streams = 0;
        lim.write_stream_granularity = 0;
    }
}
