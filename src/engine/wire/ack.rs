// SPDX-License-Identifier: GPL-2.0

//! Answers on the meta socket, and barriers (sections 2.4, 4.4, 4.5, 6.2).

use zerocopy::byteorder::{U32, U64};

use super::header::write;
use super::layout::{body, AckRaw, BarrierRaw};
use super::{BlockId, Expected, Range, WireError};

/// An acknowledgement or a negative reply.
///
/// The range is the peer's word only. For a request that is still known, use the remembered range:
/// a reference without a disk sends a wrong size for discards (section 4.4), so neither size nor
/// end is judged here. Where the range itself counts (resync, or a request no longer known), use
/// [`Ack::range_within`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// First sector of the request.
    pub sector: u64,
    /// Echo of the request's identifier.
    pub block_id: BlockId,
    /// Bytes of the request.
    pub blksize: u32,
    /// Sequence number of the volume (section 4.9).
    pub seq_num: u32,
}

impl Ack {
    /// The acknowledged range, if it is whole sectors, not empty, not above
    /// [`super::MAX_TRIM_BYTES`] and within a volume of `capacity` sectors.
    pub fn range_within(&self, capacity: u64) -> Option<Range> {
        let range = Range {
            sector: self.sector,
            bytes: self.blksize,
        };
        let sane = super::block::is_request_size(self.blksize, super::MAX_TRIM_BYTES)
            && range.check_capacity("ack", capacity).is_ok();
        sane.then_some(range)
    }

    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let raw: &AckRaw = body(packet, bytes)?;
        Ok(Self {
            sector: raw.sector.get(),
            block_id: BlockId(raw.block_id),
            blksize: raw.blksize.get(),
            seq_num: raw.seq_num.get(),
        })
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let raw = AckRaw {
            sector: U64::new(self.sector),
            block_id: self.block_id.0,
            blksize: U32::new(self.blksize),
            seq_num: U32::new(self.seq_num),
        };
        write(&raw, out)
    }
}

/// `P_OV_RESULT`: outcome of verifying one block (section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyResult {
    /// First sector of the block.
    pub sector: u64,
    /// Bytes of the block.
    pub blksize: u32,
    /// Whether both nodes have the same data.
    pub in_sync: bool,
    /// Sequence number of the volume.
    pub seq_num: u32,
}

const IN_SYNC: u64 = 4711;
const OUT_OF_SYNC: u64 = 4712;

impl VerifyResult {
    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let ack = Ack::decode(packet, bytes)?;
        let in_sync = match ack.block_id.to_u64() {
            IN_SYNC => true,
            OUT_OF_SYNC => false,
            other => {
                let expected = Expected::Between(IN_SYNC, OUT_OF_SYNC);
                return Err(WireError::new(packet, "block_id", other, expected));
            }
        };
        Ok(Self {
            sector: ack.sector,
            blksize: ack.blksize,
            in_sync,
            seq_num: ack.seq_num,
        })
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let result = if self.in_sync { IN_SYNC } else { OUT_OF_SYNC };
        Ack {
            sector: self.sector,
            block_id: BlockId::from_u64(result),
            blksize: self.blksize,
            seq_num: self.seq_num,
        }
        .encode(out)
    }

    /// The range as an [`Ack`] would give it.
    pub fn range_within(&self, capacity: u64) -> Option<Range> {
        let Self {
            sector,
            blksize,
            seq_num,
            ..
        } = *self;
        Ack {
            sector,
            block_id: BlockId::SYNCER,
            blksize,
            seq_num,
        }
        .range_within(capacity)
    }
}

/// The number of an epoch as its sender wrote it: opaque to the other node, which echoes the four
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BarrierNumber(pub [u8; 4]);

impl BarrierNumber {
    /// A number of the own choice.
    pub const fn from_u32(number: u32) -> Self {
        Self(number.to_be_bytes())
    }

    /// The number given to [`BarrierNumber::from_u32`]; of a peer's barrier, just some number.
    pub const fn to_u32(self) -> u32 {
        u32::from_be_bytes(self.0)
    }

    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let raw: &BarrierRaw = body(packet, bytes)?;
        Ok(Self(raw.barrier))
    }

    pub(super) fn encode(self, out: &mut [u8]) -> Result<usize, WireError> {
        write(
            &BarrierRaw {
                barrier: self.0,
                set_size: U32::ZERO,
            },
            out,
        )
    }
}

/// `P_BARRIER_ACK`: all writes of an epoch are done (section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierAck {
    /// Echo of the epoch's number.
    pub barrier: BarrierNumber,
    /// Writes that the receiver counted in the epoch, over all volumes.
    pub set_size: u32,
}

impl BarrierAck {
    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let raw: &BarrierRaw = body(packet, bytes)?;
        Ok(Self {
            barrier: BarrierNumber(raw.barrier),
            set_size: raw.set_size.get(),
        })
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let raw = BarrierRaw {
            barrier: self.barrier.0,
            set_size: U32::new(self.set_size),
        };
        write(&raw, out)
    }
}
