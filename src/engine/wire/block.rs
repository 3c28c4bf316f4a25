// SPDX-License-Identifier: GPL-2.0

//! Packets about block ranges on the data socket: writes, replies, requests (sections 2.4, 4.2,
//! 4.7, 4.10, 5.4).

use zerocopy::byteorder::{U32, U64};

use super::header::write;
use super::layout::{body, body_prefix, DataRaw, DescRaw, RequestRaw, TrimRaw};
use super::{
    Expected, WireError, MAX_CAPACITY_SECTORS, MAX_DIGEST_LEN, MAX_REQUEST_BYTES, MAX_TRIM_BYTES,
    SECTOR_SIZE,
};

flag_set! {
    /// `dp_flags` of a write (section 4.2). The obsolete bits are not named and so dropped.
    pub struct DataFlags: u32 {
        /// Somebody waits for the write.
        RW_SYNC = 0x2;
        /// The sender is in a resync state; an ack may say that the blocks are in sync.
        MAY_SET_IN_SYNC = 0x4;
        /// Data must be on stable storage before completion.
        FUA = 0x10;
        /// Flush the device cache before this write.
        FLUSH = 0x20;
        /// `P_TRIM`: discard; in `P_ZEROES`: unmapping is permitted.
        DISCARD = 0x40;
        /// Send `P_RECV_ACK`.
        SEND_RECEIVE_ACK = 0x80;
        /// Send `P_WRITE_ACK` or `P_RS_WRITE_ACK` when on disk.
        SEND_WRITE_ACK = 0x100;
        /// Write-same; not used by this implementation.
        WSAME = 0x200;
        /// Write zeroes.
        ZEROES = 0x400;
    }
}

/// The eight bytes that identify a request to its sender. The other node stores and echoes them bit
/// for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockId(pub [u8; 8]);

impl BlockId {
    /// The reserved value of everything that belongs to a resync or verify.
    pub const SYNCER: Self = Self([0xFF; 8]);

    /// An identifier made of a number of the own choice. All ones is [`BlockId::SYNCER`] and must
    /// not be chosen.
    pub const fn from_u64(token: u64) -> Self {
        Self(token.to_be_bytes())
    }

    /// The number given to [`BlockId::from_u64`]; of a peer's identifier, just some number.
    pub const fn to_u64(self) -> u64 {
        u64::from_be_bytes(self.0)
    }
}

/// A range of a volume. When it comes out of a decoder it is not empty, whole sectors, within the
/// packet's largest size, and ends at or below [`MAX_CAPACITY_SECTORS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First sector.
    pub sector: u64,
    /// Length in bytes.
    pub bytes: u32,
}

impl Range {
    /// Length in sectors.
    pub const fn sectors(&self) -> u64 {
        (self.bytes / SECTOR_SIZE) as u64
    }

    /// The sector behind the last one.
    pub const fn end(&self) -> u64 {
        self.sector.saturating_add(self.sectors())
    }

    /// Whether the two ranges share a sector.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.sector < other.end() && other.sector < self.end()
    }

    fn checked(
        packet: &'static str,
        sector: u64,
        bytes: u32,
        most: u32,
    ) -> Result<Self, WireError> {
        if !is_request_size(bytes, most) {
            let expected = Expected::MultipleUpTo(u64::from(SECTOR_SIZE), u64::from(most));
            return Err(WireError::new(packet, "size", u64::from(bytes), expected));
        }
        let range = Self { sector, bytes };
        range.check_capacity(packet, MAX_CAPACITY_SECTORS)?;
        Ok(range)
    }

    /// Whether the range lies within a volume of `capacity` sectors.
    pub(super) fn check_capacity(
        &self,
        packet: &'static str,
        capacity: u64,
    ) -> Result<(), WireError> {
        match self.sector.checked_add(self.sectors()) {
            Some(end) if end <= capacity => Ok(()),
            _ => {
                let expected = Expected::Text("a range that ends within the volume");
                Err(WireError::new(packet, "sector", self.sector, expected))
            }
        }
    }
}

/// Whether `bytes` is a positive multiple of the sector size up to `most`.
pub(super) const fn is_request_size(bytes: u32, most: u32) -> bool {
    bytes != 0 && bytes <= most && bytes % SECTOR_SIZE == 0
}

/// `P_DATA`, `P_DATA_REPLY`, `P_RS_DATA_REPLY`: the block data follow as payload of `range.bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockData<'a> {
    /// Where the data belong.
    pub range: Range,
    /// Echo of the request in replies, the sender's choice in writes.
    pub block_id: BlockId,
    /// Sequence number of the volume (section 4.9); 0 in replies.
    pub seq_num: u32,
    /// What the write asks for; none in replies.
    pub flags: DataFlags,
    /// Data-integrity digest of the payload; empty if none is agreed.
    pub digest: &'a [u8],
}

impl<'a> BlockData<'a> {
    /// A reply, which carries neither number nor flags.
    pub const fn reply(range: Range, block_id: BlockId, digest: &'a [u8]) -> Self {
        Self {
            range,
            block_id,
            seq_num: 0,
            flags: DataFlags::NONE,
            digest,
        }
    }

    pub(super) fn decode(
        packet: &'static str,
        bytes: &'a [u8],
        payload_len: u32,
    ) -> Result<Self, WireError> {
        let (raw, digest): (&DataRaw, _) = body_prefix(packet, bytes)?;
        let flags = DataFlags::from_bits(raw.dp_flags.get());
        if flags.intersects(NOT_A_WRITE) {
            let expected = Expected::Text("no DISCARD, WSAME or ZEROES with block data");
            return Err(WireError::new(
                packet,
                "dp_flags",
                u64::from(flags.bits()),
                expected,
            ));
        }
        Ok(Self {
            range: Range::checked(packet, raw.sector.get(), payload_len, MAX_REQUEST_BYTES)?,
            block_id: BlockId(raw.block_id),
            seq_num: raw.seq_num.get(),
            flags,
            digest,
        })
    }

    pub(super) fn encode(&self, packet: &'static str, out: &mut [u8]) -> Result<usize, WireError> {
        Range::checked(
            packet,
            self.range.sector,
            self.range.bytes,
            MAX_REQUEST_BYTES,
        )?;
        let raw = DataRaw {
            sector: U64::new(self.range.sector),
            block_id: self.block_id.0,
            seq_num: U32::new(self.seq_num),
            dp_flags: U32::new(self.flags.bits()),
        };
        write_with_digest(packet, &raw, self.digest, out)
    }
}

/// `P_TRIM` and `P_ZEROES`: a write without data (section 4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeWrite {
    /// What to discard or to zero.
    pub range: Range,
    /// The sender's choice, to be echoed.
    pub block_id: BlockId,
    /// Sequence number of the volume (section 4.9).
    pub seq_num: u32,
    /// What the write asks for. Contains `DISCARD` in `P_TRIM` and `ZEROES` in `P_ZEROES`.
    pub flags: DataFlags,
}

impl RangeWrite {
    /// `needed` is the flag without which the packet makes no sense.
    pub(super) fn decode(
        packet: &'static str,
        bytes: &[u8],
        needed: DataFlags,
    ) -> Result<Self, WireError> {
        let raw: &TrimRaw = body(packet, bytes)?;
        let flags = DataFlags::from_bits(raw.data.dp_flags.get());
        check_flag(packet, flags, needed)?;
        Ok(Self {
            range: Range::checked(
                packet,
                raw.data.sector.get(),
                raw.size.get(),
                MAX_TRIM_BYTES,
            )?,
            block_id: BlockId(raw.data.block_id),
            seq_num: raw.data.seq_num.get(),
            flags,
        })
    }

    pub(super) fn encode(
        &self,
        packet: &'static str,
        needed: DataFlags,
        out: &mut [u8],
    ) -> Result<usize, WireError> {
        check_flag(packet, self.flags, needed)?;
        Range::checked(packet, self.range.sector, self.range.bytes, MAX_TRIM_BYTES)?;
        let data = DataRaw {
            sector: U64::new(self.range.sector),
            block_id: self.block_id.0,
            seq_num: U32::new(self.seq_num),
            dp_flags: U32::new(self.flags.bits()),
        };
        write(
            &TrimRaw {
                data,
                size: U32::new(self.range.bytes),
            },
            out,
        )
    }
}

/// A request for data or for a digest (sections 4.10, 5.4, 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRequest {
    /// What is asked for.
    pub range: Range,
    /// The sender's choice in `P_DATA_REQUEST`, [`BlockId::SYNCER`] in all others.
    pub block_id: BlockId,
}

impl BlockRequest {
    /// A request on behalf of a resync or verify.
    pub const fn syncer(range: Range) -> Self {
        Self {
            range,
            block_id: BlockId::SYNCER,
        }
    }

    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        Self::from_raw(packet, body(packet, bytes)?)
    }

    fn from_raw(packet: &'static str, raw: &RequestRaw) -> Result<Self, WireError> {
        Ok(Self {
            range: Range::checked(
                packet,
                raw.sector.get(),
                raw.blksize.get(),
                MAX_REQUEST_BYTES,
            )?,
            block_id: BlockId(raw.block_id),
        })
    }

    pub(super) fn encode(&self, packet: &'static str, out: &mut [u8]) -> Result<usize, WireError> {
        write(&self.to_raw(packet)?, out)
    }

    fn to_raw(self, packet: &'static str) -> Result<RequestRaw, WireError> {
        let Range { sector, bytes } = self.range;
        Range::checked(packet, sector, bytes, MAX_REQUEST_BYTES)?;
        Ok(RequestRaw {
            sector: U64::new(sector),
            block_id: self.block_id.0,
            blksize: U32::new(bytes),
            pad: U32::ZERO,
        })
    }
}

/// `P_OV_REPLY` and `P_CSUM_RS_REQUEST`: a range and a digest of the sender's data in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestRequest<'a> {
    /// The range.
    pub request: BlockRequest,
    /// Digest with the verify or checksum algorithm.
    pub digest: &'a [u8],
}

impl<'a> DigestRequest<'a> {
    pub(super) fn decode(packet: &'static str, bytes: &'a [u8]) -> Result<Self, WireError> {
        let (raw, digest) = body_prefix(packet, bytes)?;
        Ok(Self {
            request: BlockRequest::from_raw(packet, raw)?,
            digest,
        })
    }

    pub(super) fn encode(&self, packet: &'static str, out: &mut [u8]) -> Result<usize, WireError> {
        write_with_digest(packet, &self.request.to_raw(packet)?, self.digest, out)
    }
}

/// Range of `P_OUT_OF_SYNC` and `P_RS_DEALLOCATED`.
pub(super) fn decode_desc(packet: &'static str, bytes: &[u8]) -> Result<Range, WireError> {
    let raw: &DescRaw = body(packet, bytes)?;
    Range::checked(packet, raw.sector.get(), raw.blksize.get(), MAX_TRIM_BYTES)
}

pub(super) fn encode_desc(
    packet: &'static str,
    range: &Range,
    out: &mut [u8],
) -> Result<usize, WireError> {
    Range::checked(packet, range.sector, range.bytes, MAX_TRIM_BYTES)?;
    let raw = DescRaw {
        sector: U64::new(range.sector),
        blksize: U32::new(range.bytes),
        pad: U32::ZERO,
    };
    write(&raw, out)
}

const NOT_A_WRITE: DataFlags = DataFlags::DISCARD
    .union(DataFlags::WSAME)
    .union(DataFlags::ZEROES);

fn check_flag(packet: &'static str, flags: DataFlags, needed: DataFlags) -> Result<(), WireError> {
    if flags.contains(needed) {
        return Ok(());
    }
    let expected = Expected::Text("the flag that belongs to the packet (DISCARD or ZEROES)");
    Err(WireError::new(
        packet,
        "dp_flags",
        u64::from(flags.bits()),
        expected,
    ))
}

fn write_with_digest<T>(
    packet: &'static str,
    raw: &T,
    digest: &[u8],
    out: &mut [u8],
) -> Result<usize, WireError>
where
    T: zerocopy::IntoBytes + zerocopy::Immutable,
{
    if digest.len() > MAX_DIGEST_LEN {
        let expected = Expected::AtMost(MAX_DIGEST_LEN as u64);
        return Err(WireError::new(
            packet,
            "digest",
            digest.len() as u64,
            expected,
        ));
    }
    let fixed = write(raw, out)?;
    super::packet::append(out, fixed, digest)
}
