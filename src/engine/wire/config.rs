// SPDX-License-Identifier: GPL-2.0

//! Packets that describe a connection or a volume (sections 3.6 to 3.9).

use zerocopy::byteorder::{I32, U16, U32, U64};

use super::header::write;
use super::layout::{
    body, body_prefix, ProtocolRaw, QueueLimitsRaw, SizesRaw, SyncParamRaw, UuidsRaw,
};
use super::{AlgorithmName, Expected, WireError, MAX_CAPACITY_SECTORS};

wire_enum! {
    /// When a write counts as done (section 4.3).
    pub enum ReplicationProtocol {
        /// On the local disk and handed to the network.
        1 A;
        /// On the local disk and received by the peer.
        2 B;
        /// On both disks.
        3 C;
    }
}

wire_enum! {
    /// What to do after a split brain (sections 3.6 and 8.7).
    pub enum AfterSplitBrain {
        /// Stay apart.
        0 Disconnect;
        /// Discard the data of the node that became Primary last.
        1 DiscardYoungerPrimary;
        /// Discard the data of the node that became Primary first.
        2 DiscardOlderPrimary;
        /// Discard the data of the node that wrote nothing.
        3 DiscardZeroChanges;
        /// Discard the data of the node that wrote less.
        4 DiscardLeastChanges;
        /// Discard the own data.
        5 DiscardLocal;
        /// Discard the peer's data.
        6 DiscardRemote;
        /// As with no Primary, if that discards the Secondary's data.
        7 Consensus;
        /// Discard the data of the Secondary.
        8 DiscardSecondary;
        /// As with no Primary, demoting or else calling a handler.
        9 CallPrimaryLost;
        /// As with no Primary, even under a running Primary.
        10 ViolentlyAsZeroPrimaries;
    }
}

impl AfterSplitBrain {
    /// The policy as the other node must have it: local and remote change places.
    pub const fn mirrored(self) -> Self {
        match self {
            Self::DiscardLocal => Self::DiscardRemote,
            Self::DiscardRemote => Self::DiscardLocal,
            other => other,
        }
    }
}

flag_set! {
    /// `conn_flags` of `P_PROTOCOL`.
    pub struct ConnectFlags: u32 {
        /// The sender offers its data to be discarded.
        DISCARD_MY_DATA = 0x1;
        /// Do the handshake, report, and disconnect.
        DRY_RUN = 0x2;
    }
}

/// `P_PROTOCOL` and `P_PROTOCOL_UPDATE` (section 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Replication protocol.
    pub protocol: ReplicationProtocol,
    /// Policies for a split brain found with no, one and two Primaries.
    pub after_split_brain: [AfterSplitBrain; 3],
    /// Options of this connect.
    pub flags: ConnectFlags,
    /// Whether both nodes may be Primary.
    pub two_primaries: bool,
    /// Data-integrity algorithm.
    pub integrity: AlgorithmName,
}

impl Protocol {
    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let (raw, name): (&ProtocolRaw, _) = body_prefix(packet, bytes)?;
        let number = raw.protocol.get();
        let protocol = ReplicationProtocol::from_number(number).ok_or(WireError::new(
            packet,
            "protocol",
            u64::from(number),
            Expected::Between(1, 3),
        ))?;
        let policy = |field: &'static str, number: u32| {
            let expected = Expected::AtMost(10);
            AfterSplitBrain::from_number(number).ok_or(WireError::new(
                packet,
                field,
                u64::from(number),
                expected,
            ))
        };
        let [zero, one, two] = &raw.after_sb;
        Ok(Self {
            protocol,
            after_split_brain: [
                policy("after_sb_0p", zero.get())?,
                policy("after_sb_1p", one.get())?,
                policy("after_sb_2p", two.get())?,
            ],
            flags: ConnectFlags::from_bits(raw.conn_flags.get()),
            two_primaries: boolean(packet, "two_primaries", raw.two_primaries.get())?,
            integrity: AlgorithmName::from_terminated(packet, "integrity_alg", name)?,
        })
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let raw = ProtocolRaw {
            protocol: U32::new(self.protocol.number()),
            after_sb: self
                .after_split_brain
                .map(|policy| U32::new(policy.number())),
            conn_flags: U32::new(self.flags.bits()),
            two_primaries: U32::new(u32::from(self.two_primaries)),
        };
        let fixed = write(&raw, out)?;
        super::packet::append(out, fixed, self.integrity.with_nul())
    }
}

/// `P_SYNC_PARAM89` (section 3.7). A receiver may take over the rates after clamping them; nothing
/// depends on them for safety, so no value is refused here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncParam {
    /// KiB/s.
    pub resync_rate: u32,
    /// Verify algorithm.
    pub verify: AlgorithmName,
    /// Checksum algorithm for resync.
    pub checksum: AlgorithmName,
    /// Tenths of a second.
    pub plan_ahead: u32,
    /// Tenths of a second.
    pub delay_target: u32,
    /// Sectors.
    pub fill_target: u32,
    /// KiB/s.
    pub max_rate: u32,
}

impl SyncParam {
    /// The defaults, which a diskless node sends.
    pub const DEFAULT: Self = Self {
        resync_rate: 250,
        verify: AlgorithmName::NONE,
        checksum: AlgorithmName::NONE,
        plan_ahead: 20,
        delay_target: 10,
        fill_target: 100,
        max_rate: 102_400,
    };

    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let raw: &SyncParamRaw = body(packet, bytes)?;
        Ok(Self {
            resync_rate: raw.resync_rate.get(),
            verify: AlgorithmName::from_field(packet, "verify_alg", &raw.verify_alg)?,
            checksum: AlgorithmName::from_field(packet, "csums_alg", &raw.csums_alg)?,
            plan_ahead: raw.c_plan_ahead.get(),
            delay_target: raw.c_delay_target.get(),
            fill_target: raw.c_fill_target.get(),
            max_rate: raw.c_max_rate.get(),
        })
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let raw = SyncParamRaw {
            resync_rate: U32::new(self.resync_rate),
            verify_alg: self.verify.field(),
            csums_alg: self.checksum.field(),
            c_plan_ahead: U32::new(self.plan_ahead),
            c_delay_target: U32::new(self.delay_target),
            c_fill_target: U32::new(self.fill_target),
            c_max_rate: U32::new(self.max_rate),
        };
        write(&raw, out)
    }
}

flag_set! {
    /// `dds_flags` of `P_SIZES`.
    pub struct ResizeFlags: u16 {
        /// The administrator insists.
        FORCED = 0x1;
        /// New space need not be resynced.
        NO_RESYNC = 0x2;
    }
}

/// Queue limits of the sender's disk, for information (section 3.8). All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Physical block size.
    pub physical_block_size: u32,
    /// Logical block size.
    pub logical_block_size: u32,
    /// Distance of the first physical block from the start.
    pub alignment_offset: i32,
    /// Preferred smallest request.
    pub io_min: u32,
    /// Preferred request; 0 for none.
    pub io_opt: u32,
    /// Whether discards are passed on.
    pub discard_enabled: bool,
}

/// `P_SIZES` (section 3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Usable sectors of the sender's disk; 0 without one.
    pub disk_sectors: u64,
    /// Sectors that the administrator configured; 0 for none.
    pub user_sectors: u64,
    /// Exported sectors at present; 0 for none yet, or to ask for the peer's sizes.
    pub current_sectors: u64,
    /// Largest request in bytes that the sender's disk takes; at least 4096 when it was received,
    /// because nobody relies on a smaller one.
    pub max_bio_size: u32,
    /// Options of a resize.
    pub flags: ResizeFlags,
    /// Sent and expected if and only if the agreed features have `WSAME`.
    pub limits: Option<QueueLimits>,
}

impl Sizes {
    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let (raw, rest): (&SizesRaw, _) = body_prefix(packet, bytes)?;
        let sectors = |field: &'static str, value: u64| {
            if value > MAX_CAPACITY_SECTORS {
                let expected = Expected::AtMost(MAX_CAPACITY_SECTORS);
                return Err(WireError::new(packet, field, value, expected));
            }
            Ok(value)
        };
        Ok(Self {
            disk_sectors: sectors("d_size", raw.d_size.get())?,
            user_sectors: sectors("u_size", raw.u_size.get())?,
            current_sectors: sectors("c_size", raw.c_size.get())?,
            max_bio_size: raw.max_bio_size.get().max(MIN_BIO_SIZE),
            flags: ResizeFlags::from_bits(raw.dds_flags.get()),
            limits: if rest.is_empty() {
                None
            } else {
                Some(QueueLimits::decode(packet, rest)?)
            },
        })
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let raw = SizesRaw {
            d_size: U64::new(self.disk_sectors),
            u_size: U64::new(self.user_sectors),
            c_size: U64::new(self.current_sectors),
            max_bio_size: U32::new(self.max_bio_size),
            queue_order_type: U16::ZERO,
            dds_flags: U16::new(self.flags.bits()),
        };
        let fixed = write(&raw, out)?;
        match &self.limits {
            None => Ok(fixed),
            Some(limits) => Ok(fixed + limits.encode(out.get_mut(fixed..).unwrap_or_default())?),
        }
    }
}

impl QueueLimits {
    fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let raw: &QueueLimitsRaw = body(packet, bytes)?;
        Ok(Self {
            physical_block_size: raw.physical_block_size.get(),
            logical_block_size: raw.logical_block_size.get(),
            alignment_offset: raw.alignment_offset.get(),
            io_min: raw.io_min.get(),
            io_opt: raw.io_opt.get(),
            discard_enabled: raw.discard_enabled != 0,
        })
    }

    fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let raw = QueueLimitsRaw {
            physical_block_size: U32::new(self.physical_block_size),
            logical_block_size: U32::new(self.logical_block_size),
            alignment_offset: I32::new(self.alignment_offset),
            io_min: U32::new(self.io_min),
            io_opt: U32::new(self.io_opt),
            discard_enabled: u8::from(self.discard_enabled),
            discard_zeroes_data: 0,
            // Older builds of the reference act on a 1 (section 3.8).
            write_same_capable: 0,
            pad: 0,
        };
        write(&raw, out)
    }
}

flag_set! {
    /// `flags` of `P_UUIDS`.
    pub struct UuidFlags: u64 {
        /// The sender's data may be discarded.
        DISCARD_MY_DATA = 0x1;
        /// The sender was Primary when it crashed.
        CRASHED_PRIMARY = 0x2;
        /// While attaching: the sender's disk would be Inconsistent.
        INCONSISTENT = 0x4;
        /// The initial sync is to be skipped.
        SKIP_INITIAL_SYNC = 0x8;
    }
}

/// `P_UUIDS` (section 3.9): data generations of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuids {
    /// Current; lowest bit set on a Primary.
    pub current: u64,
    /// The generation that the bitmap is relative to; 0 for none.
    pub bitmap: u64,
    /// Older generations, the newer one first.
    pub history: [u64; 2],
    /// Set bits of the sender's bitmap.
    pub dirty_bits: u64,
    /// Conditions.
    pub flags: UuidFlags,
}

impl Uuids {
    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let raw: &UuidsRaw = body(packet, bytes)?;
        Ok(Self {
            current: raw.current.get(),
            bitmap: raw.bitmap.get(),
            history: raw.history.map(U64::get),
            dirty_bits: raw.dirty_bits.get(),
            flags: UuidFlags::from_bits(raw.flags.get()),
        })
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let raw = UuidsRaw {
            current: U64::new(self.current),
            bitmap: U64::new(self.bitmap),
            history: self.history.map(U64::new),
            dirty_bits: U64::new(self.dirty_bits),
            flags: U64::new(self.flags.bits()),
        };
        write(&raw, out)
    }
}

/// Smallest value of `max_bio_size` that is believed.
const MIN_BIO_SIZE: u32 = 4096;

fn boolean(packet: &'static str, field: &'static str, value: u32) -> Result<bool, WireError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::new(
            packet,
            field,
            u64::from(value),
            Expected::AtMost(1),
        )),
    }
}
