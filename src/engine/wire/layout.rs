// SPDX-License-Identifier: GPL-2.0

//! The fixed structures of section 2.4, byte for byte.

use zerocopy::byteorder::{BigEndian, I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Agreed, Expected, Features, WireError};

/// DATA: `P_DATA`, `P_DATA_REPLY`, `P_RS_DATA_REPLY`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DataRaw {
    pub(super) sector: U64<BigEndian>,
    pub(super) block_id: [u8; 8],
    pub(super) seq_num: U32<BigEndian>,
    pub(super) dp_flags: U32<BigEndian>,
}

/// TRIM: `P_TRIM`, `P_ZEROES`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct TrimRaw {
    pub(super) data: DataRaw,
    pub(super) size: U32<BigEndian>,
}

/// ACK: everything of the meta socket that answers a request.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AckRaw {
    pub(super) sector: U64<BigEndian>,
    pub(super) block_id: [u8; 8],
    pub(super) blksize: U32<BigEndian>,
    pub(super) seq_num: U32<BigEndian>,
}

/// REQ: read, resync and verify requests.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RequestRaw {
    pub(super) sector: U64<BigEndian>,
    pub(super) block_id: [u8; 8],
    pub(super) blksize: U32<BigEndian>,
    pub(super) pad: U32<BigEndian>,
}

/// DESC: `P_OUT_OF_SYNC`, `P_RS_DEALLOCATED`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DescRaw {
    pub(super) sector: U64<BigEndian>,
    pub(super) blksize: U32<BigEndian>,
    pub(super) pad: U32<BigEndian>,
}

/// `P_BARRIER` and `P_BARRIER_ACK`; the second word of `P_BARRIER` is a pad.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BarrierRaw {
    pub(super) barrier: [u8; 4],
    pub(super) set_size: U32<BigEndian>,
}

/// `P_STATE_CHG_REQ`, `P_CONN_ST_CHG_REQ`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StateChangeRaw {
    pub(super) mask: U32<BigEndian>,
    pub(super) val: U32<BigEndian>,
}

/// `P_STATE`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StateRaw {
    pub(super) state: U32<BigEndian>,
}

/// `P_STATE_CHG_REPLY`, `P_CONN_ST_CHG_REPLY`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ReplyRaw {
    pub(super) retcode: I32<BigEndian>,
}

/// `P_SYNC_UUID`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SyncUuidRaw {
    pub(super) uuid: U64<BigEndian>,
}

/// `P_UUIDS` (section 3.9).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct UuidsRaw {
    pub(super) current: U64<BigEndian>,
    pub(super) bitmap: U64<BigEndian>,
    pub(super) history: [U64<BigEndian>; 2],
    pub(super) dirty_bits: U64<BigEndian>,
    pub(super) flags: U64<BigEndian>,
}

/// `P_SIZES` without its extension (section 3.8).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SizesRaw {
    pub(super) d_size: U64<BigEndian>,
    pub(super) u_size: U64<BigEndian>,
    pub(super) c_size: U64<BigEndian>,
    pub(super) max_bio_size: U32<BigEndian>,
    pub(super) queue_order_type: U16<BigEndian>,
    pub(super) dds_flags: U16<BigEndian>,
}

/// The extension of `P_SIZES`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct QueueLimitsRaw {
    pub(super) physical_block_size: U32<BigEndian>,
    pub(super) logical_block_size: U32<BigEndian>,
    pub(super) alignment_offset: I32<BigEndian>,
    pub(super) io_min: U32<BigEndian>,
    pub(super) io_opt: U32<BigEndian>,
    pub(super) discard_enabled: u8,
    pub(super) discard_zeroes_data: u8,
    pub(super) write_same_capable: u8,
    pub(super) pad: u8,
}

/// `P_PROTOCOL` and `P_PROTOCOL_UPDATE` without the name (section 3.6).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ProtocolRaw {
    pub(super) protocol: U32<BigEndian>,
    pub(super) after_sb: [U32<BigEndian>; 3],
    pub(super) conn_flags: U32<BigEndian>,
    pub(super) two_primaries: U32<BigEndian>,
}

/// `P_SYNC_PARAM89` from version 95 on (section 3.7).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SyncParamRaw {
    pub(super) resync_rate: U32<BigEndian>,
    pub(super) verify_alg: [u8; 64],
    pub(super) csums_alg: [u8; 64],
    pub(super) c_plan_ahead: U32<BigEndian>,
    pub(super) c_delay_target: U32<BigEndian>,
    pub(super) c_fill_target: U32<BigEndian>,
    pub(super) c_max_rate: U32<BigEndian>,
}

/// Bytes of `P_SIZES` under the agreed features.
pub(super) const fn sizes_len(agreed: &Agreed) -> u32 {
    if agreed.features.contains(Features::WSAME) {
        56
    } else {
        32
    }
}

/// The body as one fixed structure.
pub(super) fn body<'a, T>(packet: &'static str, bytes: &'a [u8]) -> Result<&'a T, WireError>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    T::ref_from_bytes(bytes).map_err(|_| bad_body::<T>(packet, bytes))
}

/// The body as a fixed structure and what follows it.
pub(super) fn body_prefix<'a, T>(
    packet: &'static str,
    bytes: &'a [u8],
) -> Result<(&'a T, &'a [u8]), WireError>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    T::ref_from_prefix(bytes).map_err(|_| bad_body::<T>(packet, bytes))
}

fn bad_body<T>(packet: &'static str, bytes: &[u8]) -> WireError {
    let expected = Expected::Exactly(size_of::<T>() as u64);
    WireError::new(packet, "body", bytes.len() as u64, expected)
}
