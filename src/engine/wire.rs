// SPDX-License-Identifier: GPL-2.0

//! The network protocol: what the bytes between two nodes mean.
//!
//! Bytes become types at one door. The receiver of a socket
//!
//! 1. reads [`HeaderFormat::len`] bytes and decodes a [`Header`];
//! 2. asks [`Header::frame`] whether a packet of that command and length may arrive on this socket.
//!    The answer, a [`Frame`], splits what follows into a *body* (structures, names, digests: at
//!    most [`MAX_BODY_LEN`] bytes, so a fixed buffer is enough) and a *payload* (block data, which
//!    stay in the pages that the shell reads them into);
//! 3. reads the body and decodes it with [`Frame::decode`] into a [`Packet`], whose fields are in
//!    range;
//! 4. for a packet of a volume, calls [`Packet::check_capacity`] with the size of that volume.
//!
//! Senders build a [`Packet`] and [`Packet::encode`] it into their own buffer; nothing here
//! allocates.
//!
//! Specification: `wire-protocol.md`. The floor is protocol version 100 ([`OWN_VERSIONS`]), as its
//! section 3.4 advises: what only older peers need (other parameter layouts, smaller requests) is
//! not implemented, the headers of older versions are, because the handshake begins with them.

mod ack;
mod bitmap;
mod block;
mod catalogue;
mod command;
mod config;
mod error;
mod handshake;
mod header;
mod layout;
mod name;
mod packet;
mod run_length;
mod state;
mod state_change;

#[cfg(test)]
mod tests;

pub use ack::{Ack, BarrierAck, BarrierNumber, VerifyResult};
pub use bitmap::{BitmapReceiver, BitmapSender, CompressedBitmap};
pub use block::{BlockData, BlockId, BlockRequest, DataFlags, DigestRequest, Range, RangeWrite};
pub use command::{Command, Scope, Socket};
pub use config::{
    AfterSplitBrain, ConnectFlags, Protocol, QueueLimits, ReplicationProtocol, ResizeFlags, Sizes,
    SyncParam, UuidFlags, Uuids,
};
pub use error::{Expected, WireError};
pub use handshake::{Agreed, ConnectionFeatures, Features, VersionRange, OWN_VERSIONS};
pub use header::{Frame, Header, HeaderFormat};
pub use name::AlgorithmName;
pub use packet::Packet;
pub use run_length::{RunDecoder, RunEncoder};
pub use state::{ConnState, DiskState, Role, State};
pub use state_change::{ReturnCode, StateChange};

/// Bytes of a sector, in every field that counts sectors (section 0).
pub const SECTOR_SIZE: u32 = 512;

/// Most bytes of one write, read or resync request (section 2.3).
pub const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// Most bytes of one discard or write-zeroes request (section 2.3).
pub const MAX_TRIM_BYTES: u32 = 128 << 20;

/// Most bytes that a sender puts into one `P_TRIM` when the agreed features lack `WSAME` (section
/// 2.3).
pub const MAX_TRIM_BYTES_WITHOUT_WSAME: u32 = 4 << 20;

/// Largest volume, in sectors, that any size field may name (section 10.3).
pub const MAX_CAPACITY_SECTORS: u64 = 1 << 51;

/// Highest volume number (section 0).
pub const MAX_VOLUME: u16 = 65534;

/// Most bytes of a bitmap packet after its header, plain or compressed: a 4096-byte buffer holds
/// both (section 2.3).
pub const BITMAP_CHUNK_LEN: usize = 4096 - 16;

/// Longest digest of any hash that a packet may carry, in bytes (`sha512`).
pub const MAX_DIGEST_LEN: usize = 64;

/// Most bytes between a header and its block data; a receive buffer of this size takes any packet's
/// body.
pub const MAX_BODY_LEN: usize = BITMAP_CHUNK_LEN;

/// Bytes of an authentication challenge as sent (section 3.5).
pub const CHALLENGE_LEN: usize = 64;

/// Current UUID of metadata that have never seen data (section 8.1).
pub const UUID_JUST_CREATED: u64 = 4;

/// Added to the bitmap UUID to form the UUID of a resync (section 8.3).
pub const UUID_SYNC_OFFSET: u64 = 0x0001_0000_0000_0000;

/// A block of the bitmap, in sectors: what one bit stands for (section 0).
pub const BITMAP_BLOCK_SECTORS: u64 = 8;
