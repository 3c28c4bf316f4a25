// SPDX-License-Identifier: GPL-2.0

//! The superblock (section 2).

use zerocopy::byteorder::{BigEndian, I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    Layout, LogGeometry, MetaError, Placement, BLOCK_LEN, BLOCK_SECTORS, INDEXED_AREA_SECTORS,
};
use crate::wire::{ConnState, DiskState, Role, State};

const MAGIC_V07: u32 = 0x8374_026A;
const MAGIC_CLEAN: u32 = 0x8374_026B;
const MAGIC_UNCLEAN: u32 = 0x8374_026C;
const MAGIC_V09: u32 = 0x8374_026D;

const BYTES_PER_BIT: u32 = 4096;

flag_set! {
    /// What the node knew when it last wrote the superblock (section 2.3).
    pub struct MetaFlags: u32 {
        /// The disk was better than Inconsistent.
        CONSISTENT = 0x001;
        /// The node was Primary, or the only one with a disk for a Primary peer.
        PRIMARY_IND = 0x002;
        /// The node was connected.
        CONNECTED_IND = 0x004;
        /// Setting all bits of the bitmap has begun and is not finished.
        FULL_SYNC = 0x008;
        /// The disk was better than Outdated.
        WAS_UP_TO_DATE = 0x010;
        /// The peer's disk was known to be Inconsistent or Outdated.
        PEER_OUT_DATED = 0x020;
        /// The node was found to have crashed as Primary, and the peer has not been brought up
        /// to date.
        CRASHED_PRIMARY = 0x040;
        /// The activity log has been applied and initialised.
        AL_CLEAN = 0x080;
        /// The activity log is not being written.
        AL_DISABLED = 0x100;
    }
}

impl MetaFlags {
    /// The flags after a state change to `state`; `crashed_primary` is the mark kept since the
    /// attach. Changes that leave the disk below Inconsistent change no flag.
    pub fn after_change(self, state: &State, crashed_primary: bool) -> Self {
        if state.disk < DiskState::Inconsistent {
            return self;
        }
        let serves_diskless_primary =
            state.peer == Role::Primary && state.pdsk < DiskState::Inconsistent;
        let peer_outdated = (DiskState::Inconsistent..=DiskState::Outdated).contains(&state.pdsk);
        self.with(Self::CONSISTENT, state.disk > DiskState::Inconsistent)
            .with(
                Self::PRIMARY_IND,
                state.role == Role::Primary || serves_diskless_primary,
            )
            .with(Self::CONNECTED_IND, state.conn > ConnState::WFReportParams)
            .with(Self::WAS_UP_TO_DATE, state.disk > DiskState::Outdated)
            .with(Self::PEER_OUT_DATED, peer_outdated)
            .with(Self::CRASHED_PRIMARY, crashed_primary)
            .without(Self::AL_CLEAN)
    }

    /// State of own and peer's disk that an attach begins with (section 5.2); `fencing` is whether
    /// the policy is other than dont-care.
    pub fn initial_disk_states(self, fencing: bool) -> (DiskState, DiskState) {
        let peer_outdated = self.contains(Self::PEER_OUT_DATED);
        let own = if !self.contains(Self::CONSISTENT) {
            DiskState::Inconsistent
        } else if !self.contains(Self::WAS_UP_TO_DATE) {
            DiskState::Outdated
        } else if peer_outdated || !fencing {
            DiskState::UpToDate
        } else {
            DiskState::Consistent
        };
        let peer = if peer_outdated {
            DiskState::Outdated
        } else {
            DiskState::DUnknown
        };
        (own, peer)
    }
}

/// A decoded superblock. Sizes in sectors unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Last agreed size of the exported device; 0 = never agreed.
    pub la_size: u64,
    /// Current data generation; bit 0 is not part of the identity.
    pub current_uuid: u64,
    /// The generation that the bitmap is relative to; 0 for none.
    pub bitmap_uuid: u64,
    /// Older generations, the younger first.
    pub history_uuids: [u64; 2],
    /// Random identity of these metadata.
    pub device_uuid: u64,
    /// What the node knew.
    pub flags: MetaFlags,
    /// The bits of the flags field that have no name, to be written back as they were.
    pub unnamed_flags: u32,
    /// Whether the magic says that the activity log has been applied. The reference's driver never
    /// writes this.
    pub clean: bool,
    /// Whole metadata area.
    pub md_size: u32,
    /// Activity log, relative to the superblock.
    pub al_offset: i32,
    /// Slots of the activity log in use when last written.
    pub al_nr_extents: u32,
    /// Bitmap, relative to the superblock.
    pub bm_offset: i32,
    /// Largest request, in bytes, that the peer last announced.
    pub la_peer_max_bio_size: u32,
    /// Form of the activity log.
    pub geometry: LogGeometry,
}

impl Superblock {
    /// Decodes a superblock: checks 3 to 5 of section 2.4.
    ///
    /// An unclean one is not an error here: see [`Superblock::needs_log_replay`].
    ///
    /// # Errors
    ///
    /// Fewer than 4096 bytes, no magic of this format, or an impossible value in
    /// `bm_bytes_per_bit`, `al_stripes` or `al_stripe_size_4k`.
    pub fn decode(block: &[u8]) -> Result<Self, MetaError> {
        let (raw, rest) =
            Raw::ref_from_prefix(block).map_err(|_| MetaError::ShortBlock { len: block.len() })?;
        if rest.len() < BLOCK_LEN - size_of::<Raw>() {
            return Err(MetaError::ShortBlock { len: block.len() });
        }
        let clean = match raw.magic.get() {
            MAGIC_CLEAN => true,
            MAGIC_UNCLEAN => false,
            MAGIC_V07 => return Err(MetaError::OtherFormat { name: "v07" }),
            MAGIC_V09 => return Err(MetaError::OtherFormat { name: "v09" }),
            magic => return Err(MetaError::NotMetadata { magic }),
        };
        let bytes_per_bit = raw.bm_bytes_per_bit.get();
        if bytes_per_bit != BYTES_PER_BIT {
            return Err(field("bm_bytes_per_bit", i64::from(bytes_per_bit), "4096"));
        }
        let flags = raw.flags.get();
        let named = MetaFlags::from_bits(flags);
        let [current, bitmap, younger, older] = &raw.uuid;
        Ok(Self {
            la_size: raw.la_size_sect.get(),
            current_uuid: current.get(),
            bitmap_uuid: bitmap.get(),
            history_uuids: [younger.get(), older.get()],
            device_uuid: raw.device_uuid.get(),
            flags: named,
            unnamed_flags: flags & !named.bits() & !MetaFlags::ALL.bits(),
            clean,
            md_size: raw.md_size_sect.get(),
            al_offset: raw.al_offset.get(),
            al_nr_extents: raw.al_nr_extents.get(),
            bm_offset: raw.bm_offset.get(),
            la_peer_max_bio_size: raw.la_peer_max_bio_size.get(),
            geometry: geometry(raw.al_stripes.get(), raw.al_stripe_size_4k.get())?,
        })
    }

    /// Writes the superblock into `block`, all 4096 bytes of it: what is not used becomes zero.
    ///
    /// # Errors
    ///
    /// [`MetaError::ShortBlock`].
    pub fn encode(&self, block: &mut [u8]) -> Result<(), MetaError> {
        let len = block.len();
        let block = block
            .get_mut(..BLOCK_LEN)
            .ok_or(MetaError::ShortBlock { len })?;
        block.fill(0);
        let [younger, older] = self.history_uuids;
        let raw = Raw {
            la_size_sect: U64::new(self.la_size),
            uuid: [self.current_uuid, self.bitmap_uuid, younger, older].map(U64::new),
            device_uuid: U64::new(self.device_uuid),
            reserved: U64::ZERO,
            flags: U32::new(self.flags.bits() | (self.unnamed_flags & !MetaFlags::ALL.bits())),
            magic: U32::new(if self.clean {
                MAGIC_CLEAN
            } else {
                MAGIC_UNCLEAN
            }),
            md_size_sect: U32::new(self.md_size),
            al_offset: I32::new(self.al_offset),
            al_nr_extents: U32::new(self.al_nr_extents),
            bm_offset: I32::new(self.bm_offset),
            bm_bytes_per_bit: U32::new(BYTES_PER_BIT),
            la_peer_max_bio_size: U32::new(self.la_peer_max_bio_size),
            al_stripes: U32::new(self.geometry.stripes()),
            al_stripe_size_4k: U32::new(self.geometry.stripe_blocks()),
        };
        raw.write_to_prefix(block)
            .map_err(|_| MetaError::ShortBlock { len })
    }

    /// Whether the activity log must be looked at before the bitmap may be trusted. The reference's
    /// driver refuses such a disk with error 165 (section 2.4, check 2).
    pub const fn needs_log_replay(&self) -> bool {
        !self.clean || !self.flags.contains(MetaFlags::AL_CLEAN)
    }

    /// Where the metadata say that their parts are, on a device of `sectors`: checks 6 to 11 of
    /// section 2.4.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub fn layout(&self, placement: Placement, sectors: u64) -> Result<Layout, MetaError> {
        let superblock = placement.superblock_sector(sectors)?;
        let log_sectors = self.geometry.sectors();
        let al_offset = i64::from(self.al_offset);
        let bm_offset = i64::from(self.bm_offset);
        let internal = placement == Placement::Internal;
        let bitmap_sectors = if internal {
            self.check_before_superblock()?;
            self.check_internal_log(log_sectors)?;
            al_offset - bm_offset
        } else {
            self.check_behind_superblock(log_sectors)?;
            i64::from(self.md_size) - bm_offset
        };
        if let Placement::Indexed(_) = placement {
            self.check_indexed()?;
        }
        if bm_offset % 8 != 0 {
            return Err(field("bm_offset", bm_offset, "a multiple of 8"));
        }
        let at = |offset: i64| superblock.checked_add_signed(offset);
        let size = u64::from(self.md_size);
        let start = if internal {
            at(bm_offset)
        } else {
            Some(superblock)
        };
        let fits = start
            .and_then(|start| start.checked_add(size))
            .is_some_and(|end| end <= sectors);
        let (Some(log), Some(bitmap), true) = (at(al_offset), at(bm_offset), fits) else {
            return Err(field(
                "md_size_sect",
                i64::from(self.md_size),
                "an area within the device",
            ));
        };
        let layout = Layout {
            placement,
            superblock,
            log,
            geometry: self.geometry,
            bitmap,
            bitmap_sectors: u64::try_from(bitmap_sectors).unwrap_or(0),
            md_size: self.md_size,
        };
        layout.check_bitmap(self.la_size)?;
        Ok(layout)
    }

    /// Whether the parts are where [`Layout::compute`] would put them on a device of `sectors`
    /// today: the stricter test of the tool (section 8.3). If not, an internal device has
    /// changed its size.
    pub fn has_computed_layout(&self, placement: Placement, sectors: u64) -> bool {
        match Layout::compute(placement, sectors, self.geometry) {
            Ok(layout) => {
                let same_size = placement != Placement::Internal || self.md_size == layout.md_size;
                same_size
                    && self.al_offset == layout.al_offset()
                    && self.bm_offset == layout.bm_offset()
            }
            Err(_) => false,
        }
    }

    /// Notes where the parts are.
    pub fn set_layout(&mut self, layout: &Layout) {
        self.md_size = layout.md_size;
        self.al_offset = layout.al_offset();
        self.bm_offset = layout.bm_offset();
        self.geometry = layout.geometry;
    }

    fn check_before_superblock(&self) -> Result<(), MetaError> {
        if self.al_offset >= 0 {
            return Err(field(
                "al_offset",
                i64::from(self.al_offset),
                "negative with internal metadata",
            ));
        }
        if self.bm_offset > self.al_offset {
            return Err(field(
                "bm_offset",
                i64::from(self.bm_offset),
                "not above al_offset",
            ));
        }
        Ok(())
    }

    fn check_internal_log(&self, log_sectors: u64) -> Result<(), MetaError> {
        if u64::from(self.al_offset.unsigned_abs()) != log_sectors {
            return Err(field(
                "al_offset",
                i64::from(self.al_offset),
                "the size of the log, negative",
            ));
        }
        let before = u64::from(self.bm_offset.unsigned_abs()).checked_add(BLOCK_SECTORS);
        if before != Some(u64::from(self.md_size)) {
            return Err(field(
                "md_size_sect",
                i64::from(self.md_size),
                "8 more than -bm_offset",
            ));
        }
        Ok(())
    }

    fn check_behind_superblock(&self, log_sectors: u64) -> Result<(), MetaError> {
        if self.al_offset != 8 {
            return Err(field(
                "al_offset",
                i64::from(self.al_offset),
                "8 with external metadata",
            ));
        }
        let bitmap = u64::try_from(self.bm_offset).unwrap_or(0);
        // A gap before the bitmap would make the log that follows from the offsets larger than it
        // is.
        if bitmap != BLOCK_SECTORS + log_sectors {
            return Err(field(
                "bm_offset",
                i64::from(self.bm_offset),
                "8 more than the size of the log",
            ));
        }
        if bitmap >= u64::from(self.md_size) {
            return Err(field(
                "md_size_sect",
                i64::from(self.md_size),
                "more than bm_offset",
            ));
        }
        Ok(())
    }

    fn check_indexed(&self) -> Result<(), MetaError> {
        if u64::from(self.md_size) != INDEXED_AREA_SECTORS {
            return Err(field(
                "md_size_sect",
                i64::from(self.md_size),
                "262144 with indexed metadata",
            ));
        }
        if self.geometry != LogGeometry::DEFAULT {
            let stripes = i64::from(self.geometry.stripes());
            return Err(field(
                "al_stripes",
                stripes,
                "one stripe of 8 blocks with indexed metadata",
            ));
        }
        Ok(())
    }
}

fn geometry(stripes: u32, stripe_blocks: u32) -> Result<LogGeometry, MetaError> {
    match (stripes, stripe_blocks) {
        (0, 0) => Ok(LogGeometry::DEFAULT),
        (stripes, stripe_blocks) => LogGeometry::new(stripes, stripe_blocks).map_err(|_| {
            let blocks = u64::from(stripes).saturating_mul(u64::from(stripe_blocks));
            let blocks = i64::try_from(blocks).unwrap_or(i64::MAX);
            field("al_stripes * al_stripe_size_4k", blocks, "8 to 4194304")
        }),
    }
}

const fn field(field: &'static str, value: i64, expected: &'static str) -> MetaError {
    MetaError::Field {
        field,
        value,
        expected,
    }
}

/// The used part (section 2.1).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    la_size_sect: U64<BigEndian>,
    uuid: [U64<BigEndian>; 4],
    device_uuid: U64<BigEndian>,
    reserved: U64<BigEndian>,
    flags: U32<BigEndian>,
    magic: U32<BigEndian>,
    md_size_sect: U32<BigEndian>,
    al_offset: I32<BigEndian>,
    al_nr_extents: U32<BigEndian>,
    bm_offset: I32<BigEndian>,
    bm_bytes_per_bit: U32<BigEndian>,
    la_peer_max_bio_size: U32<BigEndian>,
    al_stripes: U32<BigEndian>,
    al_stripe_size_4k: U32<BigEndian>,
}
