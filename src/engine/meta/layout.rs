// SPDX-License-Identifier: GPL-2.0

//! Where the parts of the metadata lie on a device (section 1). All units are sectors of 512 bytes.

use super::{MetaError, BLOCK_SECTORS, INDEXED_AREA_SECTORS, MAX_DEVICE_SECTORS};
use crate::bits::bits_of;

/// Bits that a sector of bitmap holds.
const BITS_PER_BITMAP_SECTOR: u64 = 4096;

/// Sectors of data that a sector of bitmap describes.
const DATA_PER_BITMAP_SECTOR: u64 = BITS_PER_BITMAP_SECTOR * 8;

/// Most sectors that flexible metadata may describe.
const MAX_FLEXIBLE_SECTORS: u64 = 1 << 51;

/// Where metadata are kept (section 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// At the end of the data device.
    Internal,
    /// On a device of their own, which they may fill.
    Flexible,
    /// In one of several fixed areas of 128 MiB on a device of their own.
    Indexed(u32),
}

impl Placement {
    /// The placement with the index value of the administration interface: -3 or -1 internal, -2
    /// flexible, from 0 on an area of 128 MiB.
    pub fn from_index(index: i32) -> Option<Self> {
        match index {
            -3 | -1 => Some(Self::Internal),
            -2 => Some(Self::Flexible),
            index => u32::try_from(index).ok().map(Self::Indexed),
        }
    }

    /// The value for [`Placement::from_index`].
    pub fn to_index(self) -> i32 {
        match self {
            Self::Internal => -3,
            Self::Flexible => -2,
            Self::Indexed(index) => i32::try_from(index).unwrap_or(i32::MAX),
        }
    }

    /// Sector of the superblock on a metadata device of `sectors`.
    ///
    /// # Errors
    ///
    /// [`MetaError::DeviceTooSmall`] if there is no such block.
    pub fn superblock_sector(self, sectors: u64) -> Result<u64, MetaError> {
        let sector = match self {
            Self::Internal => {
                (sectors / BLOCK_SECTORS * BLOCK_SECTORS).saturating_sub(BLOCK_SECTORS)
            }
            Self::Flexible => 0,
            Self::Indexed(index) => u64::from(index) * INDEXED_AREA_SECTORS,
        };
        let needed = sector + BLOCK_SECTORS;
        if sectors < needed {
            return Err(MetaError::DeviceTooSmall { sectors, needed });
        }
        Ok(sector)
    }
}

/// Form of the activity log: stripes of blocks of 4 KiB (section 1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogGeometry {
    stripes: u32,
    stripe_blocks: u32,
}

impl LogGeometry {
    /// One stripe of 32 KiB.
    pub const DEFAULT: Self = Self {
        stripes: 1,
        stripe_blocks: 8,
    };

    /// Fewest blocks.
    pub const MIN_BLOCKS: u64 = 8;

    /// Most blocks that can be attached (16 GiB).
    pub const MAX_BLOCKS: u64 = 4_194_304;

    /// Most blocks that create-md makes (32 MiB).
    pub const MAX_CREATE_BLOCKS: u64 = 8192;

    /// `stripes` stripes of `stripe_blocks` blocks of 4 KiB.
    ///
    /// # Errors
    ///
    /// [`MetaError::LogSize`] unless the product is from [`Self::MIN_BLOCKS`] to
    /// [`Self::MAX_BLOCKS`].
    pub fn new(stripes: u32, stripe_blocks: u32) -> Result<Self, MetaError> {
        let blocks = u64::from(stripes).saturating_mul(u64::from(stripe_blocks));
        let (min, max) = (Self::MIN_BLOCKS, Self::MAX_BLOCKS);
        if blocks < min || blocks > max {
            return Err(MetaError::LogSize { blocks, min, max });
        }
        Ok(Self {
            stripes,
            stripe_blocks,
        })
    }

    /// Number of stripes.
    pub const fn stripes(self) -> u32 {
        self.stripes
    }

    /// Blocks of 4 KiB of one stripe.
    pub const fn stripe_blocks(self) -> u32 {
        self.stripe_blocks
    }

    /// Blocks of the ring: at least 8.
    pub const fn blocks(self) -> u32 {
        // At most MAX_BLOCKS, by construction.
        self.stripes.saturating_mul(self.stripe_blocks)
    }

    /// Sectors of the ring.
    pub const fn sectors(self) -> u64 {
        self.blocks() as u64 * BLOCK_SECTORS
    }

    /// The block of the ring that transaction `number` is written to: consecutive numbers go to
    /// consecutive stripes (section 3.3).
    pub const fn block_of(self, number: u32) -> u32 {
        let position = match number.checked_rem(self.blocks()) {
            Some(position) => position,
            None => 0,
        };
        match (
            position.checked_rem(self.stripes),
            position.checked_div(self.stripes),
        ) {
            (Some(stripe), Some(within)) => stripe
                .saturating_mul(self.stripe_blocks)
                .saturating_add(within),
            _ => 0,
        }
    }

    /// Most slots that a log of this size can serve (section 3.1).
    pub const fn max_slots(self) -> u32 {
        let blocks = self.blocks();
        if blocks > 72 {
            65534
        } else {
            blocks
                .saturating_sub(1)
                .saturating_mul(super::log::CONTEXT_LEN as u32)
        }
    }
}

/// Where superblock, activity log and bitmap lie on the metadata device. Absolute sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Kind of the metadata.
    pub placement: Placement,
    /// The superblock's block.
    pub superblock: u64,
    /// First sector of the activity log.
    pub log: u64,
    /// Form of the activity log.
    pub geometry: LogGeometry,
    /// First sector of the bitmap area.
    pub bitmap: u64,
    /// Sectors of the bitmap area. Not a multiple of 8 only on a flexible device of odd size: its
    /// last page is short.
    pub bitmap_sectors: u64,
    /// Sectors of the whole metadata area, as the superblock notes it.
    pub md_size: u32,
}

impl Layout {
    /// The layout that a metadata device of `sectors` gets (section 1.2).
    ///
    /// # Errors
    ///
    /// A device that is too small for it, or larger than [`MAX_DEVICE_SECTORS`]; with
    /// [`Placement::Indexed`] a log other than the default one, which the reference would
    /// refuse to attach.
    pub fn compute(
        placement: Placement,
        sectors: u64,
        geometry: LogGeometry,
    ) -> Result<Self, MetaError> {
        if sectors > MAX_DEVICE_SECTORS {
            return Err(MetaError::DeviceTooLarge {
                sectors,
                limit: MAX_DEVICE_SECTORS,
            });
        }
        let superblock = placement.superblock_sector(sectors)?;
        let layout = match placement {
            Placement::Internal => Self::internal(sectors, superblock, geometry)?,
            Placement::Flexible => {
                // The field has 32 bits; a larger device is used up to there, far more than 1 PiB
                // needs.
                let size = u32::try_from(sectors).unwrap_or(u32::MAX - 7);
                Self::external(placement, superblock, size, geometry)?
            }
            Placement::Indexed(_) => {
                if geometry != LogGeometry::DEFAULT {
                    return Err(MetaError::Field {
                        field: "al_stripes * al_stripe_size_4k",
                        value: i64::from(geometry.blocks()),
                        expected: "one stripe of 8 blocks with indexed metadata",
                    });
                }
                let needed = superblock + INDEXED_AREA_SECTORS;
                if sectors < needed {
                    return Err(MetaError::DeviceTooSmall { sectors, needed });
                }
                Self::external(placement, superblock, INDEXED_AREA_SECTORS as u32, geometry)?
            }
        };
        Ok(layout)
    }

    fn internal(sectors: u64, superblock: u64, geometry: LogGeometry) -> Result<Self, MetaError> {
        let bitmap_sectors = sectors.div_ceil(BITS_PER_BITMAP_SECTOR * 8 * 8) * 8;
        let before = geometry.sectors() + bitmap_sectors;
        // At least one block of data must be left.
        match superblock.checked_sub(before) {
            Some(bitmap) if bitmap > 0 => Ok(Self {
                placement: Placement::Internal,
                superblock,
                log: superblock - geometry.sectors(),
                geometry,
                bitmap,
                bitmap_sectors,
                md_size: u32::try_from(before + BLOCK_SECTORS).unwrap_or(u32::MAX),
            }),
            _ => {
                let needed = before + 2 * BLOCK_SECTORS;
                Err(MetaError::DeviceTooSmall { sectors, needed })
            }
        }
    }

    fn external(
        placement: Placement,
        superblock: u64,
        md_size: u32,
        geometry: LogGeometry,
    ) -> Result<Self, MetaError> {
        let before = BLOCK_SECTORS + geometry.sectors();
        match u64::from(md_size).checked_sub(before) {
            Some(bitmap_sectors) if bitmap_sectors > 0 => Ok(Self {
                placement,
                superblock,
                log: superblock + BLOCK_SECTORS,
                geometry,
                bitmap: superblock + before,
                bitmap_sectors,
                md_size,
            }),
            _ => {
                let needed = before + BLOCK_SECTORS;
                Err(MetaError::DeviceTooSmall {
                    sectors: u64::from(md_size),
                    needed,
                })
            }
        }
    }

    /// Start of the log relative to the superblock, as the superblock notes it.
    pub fn al_offset(&self) -> i32 {
        relative(self.log, self.superblock)
    }

    /// Start of the bitmap relative to the superblock, as the superblock notes it.
    pub fn bm_offset(&self) -> i32 {
        relative(self.bitmap, self.superblock)
    }

    /// First sector of the whole area.
    pub fn start(&self) -> u64 {
        self.superblock.min(self.bitmap)
    }

    /// Sector of the transaction block that `number` is written to.
    pub const fn log_sector(&self, number: u32) -> u64 {
        self.log_block_sector(self.geometry.block_of(number))
    }

    /// Sector of block `block` of the ring.
    pub const fn log_block_sector(&self, block: u32) -> u64 {
        self.log.saturating_add(block as u64 * BLOCK_SECTORS)
    }

    /// Sector of page `page` (4096 bytes) of the bitmap.
    pub const fn bitmap_page_sector(&self, page: u64) -> u64 {
        self.bitmap
            .saturating_add(page.saturating_mul(BLOCK_SECTORS))
    }

    /// Bits that the bitmap area holds.
    pub const fn bitmap_bits(&self) -> u64 {
        self.bitmap_sectors.saturating_mul(BITS_PER_BITMAP_SECTOR)
    }

    /// Most sectors that can be exported with this layout; `data_sectors` is the size of the data
    /// device and does not count for internal metadata.
    pub fn usable(&self, data_sectors: u64) -> u64 {
        match self.placement {
            Placement::Internal => self.bitmap,
            Placement::Flexible | Placement::Indexed(_) => data_sectors
                .min(self.bitmap_sectors.saturating_mul(DATA_PER_BITMAP_SECTOR))
                .min(MAX_FLEXIBLE_SECTORS),
        }
    }

    /// Whether the bitmap area has a bit for every block of a volume of `capacity` sectors.
    ///
    /// # Errors
    ///
    /// [`MetaError::BitmapTooSmall`].
    pub fn check_bitmap(&self, capacity: u64) -> Result<(), MetaError> {
        let (bits, needed) = (self.bitmap_bits(), bits_of(capacity));
        if needed > bits {
            return Err(MetaError::BitmapTooSmall { bits, needed });
        }
        Ok(())
    }
}

/// The distance between two sectors of an area whose size has 32 bits.
fn relative(sector: u64, superblock: u64) -> i32 {
    // Sector numbers are below 2^52, so the difference is exact.
    let distance = (sector as i64).wrapping_sub(superblock as i64);
    i32::try_from(distance).unwrap_or(if distance < 0 { i32::MIN } else { i32::MAX })
}
