// SPDX-License-Identifier: GPL-2.0

//! The boundary between decisions and effects.
//!
//! The shell calls methods of [`Resource`](crate::resource::Resource) (the inputs) under the resource's lock. The engine
//! answers through [`Effects`]: packets are queued at once, in order; everything else is an [`Act`] that the shell carries out
//! after it has dropped the lock, in any order. Nothing here blocks, allocates or sleeps.
//!
//! # Contract of the shell
//!
//! - `send` may only append to a queue. The queue of a stream is sent in order by one thread. A queue never overflows if it
//!   has room for [`queue_bound`] packets.
//! - Every [`Act`] is carried out exactly once, soon, and reported back by the input that its documentation names.
//! - Acts may be carried out by whichever thread made the call; two acts have no order between them.

use crate::meeting::Settlement;
pub use crate::wire::{Range, Socket, State};

/// Index of a volume inside its resource.
pub type VolumeIndex = usize;

/// Index of an application request slot, see [`crate::request`].
pub type AppSlot = u32;

/// Index of a peer request slot, see [`crate::peer_request`].
pub type PeerSlot = u32;

/// Milliseconds of a monotonic clock with an arbitrary origin.
pub type Millis = u64;

/// What the sender puts on the wire after the bytes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing.
    None,
    /// The data pages of an application write. With `report` the shell calls
    /// [`Resource::app_sent`](crate::resource::Resource::app_sent) once the local TCP stack has them (protocol A).
    App {
        /// Whose pages.
        slot: AppSlot,
        /// Whether the engine wants to know that they are sent.
        report: bool,
    },
    /// The buffer of a peer request (answers to read and resync requests). The shell calls
    /// [`Resource::peer_sent`](crate::resource::Resource::peer_sent) when it is sent; the slot is free then.
    Peer {
        /// Whose buffer.
        slot: PeerSlot,
    },
    /// Nothing; but this is the last packet of the connection. The shell calls
    /// [`Resource::last_sent`](crate::resource::Resource::last_sent) when it is sent.
    Last,
    /// The packet itself is empty (`bytes` has length 0): the sender calls
    /// [`Resource::bitmap_packet`](crate::resource::Resource::bitmap_packet) until it returns `None` and sends each packet
    /// that it gets, with nothing in between.
    Bitmap {
        /// Whose bitmap.
        volume: VolumeIndex,
    },
}

/// An operation on the lower disk on behalf of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Read into the slot's buffer; the shell allocates it (`bytes` long).
    Read,
    /// Write the slot's buffer.
    Write,
    /// Discard; contents afterwards are undefined.
    Discard,
    /// Write zeroes; `unmap` permits to deallocate.
    Zeroes {
        /// Deallocation is permitted.
        unmap: bool,
    },
}

/// How a request of the application ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Success.
    Ok,
    /// I/O error: neither disk has it.
    Error,
    /// The peer, or the lower disk, does not know the operation.
    Unsupported,
}

/// Something to be done outside the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Submit the request (a clone of its bio) to the lower disk. Ends with `app_local_done`.
    SubmitApp {
        /// The request.
        slot: AppSlot,
        /// Its volume.
        volume: VolumeIndex,
        /// If the disk succeeds, so does the request, whatever else happens: the shell completes it at once, as soon as
        /// the engine may be told, and `CompleteApp` does not come. After a failure it comes as always.
        alone: bool,
    },
    /// Complete the application's bio. The slot may be used again as soon as the lock is dropped: the shell takes the bio
    /// out of its table *inside* [`Effects::act`] and completes it later.
    CompleteApp {
        /// The request.
        slot: AppSlot,
        /// Its outcome.
        outcome: Outcome,
    },
    /// Copy the peer slot's buffer into the application's bio and complete it. The bio is taken out of its table inside
    /// [`Effects::act`], as above. Ends with `peer_released(peer)`.
    CompleteAppRead {
        /// The request.
        slot: AppSlot,
        /// The peer slot that holds the data.
        peer: PeerSlot,
    },
    /// Run an operation of the peer on the lower disk. Ends with `peer_disk_done`.
    SubmitPeer {
        /// The request.
        slot: PeerSlot,
        /// Its volume.
        volume: VolumeIndex,
        /// What to do.
        op: DiskOp,
        /// Where.
        range: Range,
        /// Durable on completion.
        fua: bool,
        /// Flush the cache of the disk first.
        preflush: bool,
    },
    /// Drop the buffer of the slot. Ends with `peer_released`.
    ReleasePeer {
        /// The request.
        slot: PeerSlot,
    },
    /// Flush the cache of the lower disk. Ends with `flush_done`, or `flush_unsupported`.
    FlushDisk {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Write the superblock: the shell takes it by `superblock` under the lock, flushes the data device if the metadata are
    /// on another one, writes it with flush and FUA, and reports `superblock_done` with the number that it got.
    WriteSuperblock {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Write the changed pages of the bitmap, as `next_bitmap_pages` names them. Ends with `bitmap_written`. They are durable
    /// after the next superblock or log write.
    WriteBitmap {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Write a transaction of the activity log: carry out what `log_step` says, until it gave the block; ends with
    /// `log_written`. Superblocks, bitmaps and transactions of a volume are written in the order of their acts, one at a time.
    WriteLog {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Run a program of the administrator, without a lock and without anybody waiting for it. Ends with `handler_done`.
    RunHandler {
        /// The volume that it is about; any volume for one about the resource.
        volume: VolumeIndex,
        /// Which one.
        handler: crate::handler::Handler,
    },
    /// Close the lower disk. Ends with `disk_closed`.
    CloseDisk {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Start to connect, after `pause_ms`: listen and dial until both streams stand and features and authentication are
    /// exchanged, then call `link_up`; or until `CloseLink`.
    OpenLink {
        /// Pause before the first attempt, in milliseconds.
        pause_ms: u32,
    },
    /// Shut both streams down, stop sending, drop what is queued, then call `link_closed`.
    CloseLink,
    /// The exported size of the volume changed.
    SetCapacity {
        /// The volume.
        volume: VolumeIndex,
        /// New size in sectors.
        sectors: u64,
    },
    /// The state of a volume changed: log it and tell userspace.
    StateChanged {
        /// The volume.
        volume: VolumeIndex,
        /// Before.
        old: State,
        /// After.
        new: State,
        /// Why, for the log.
        why: &'static str,
    },
    /// A notable condition of the whole resource, for the log and for userspace.
    Notice(Notice),
    /// The pending admin request ended.
    AdminDone(Result<(), crate::admin::Refusal>),
    /// Those who wait (submitters, the receiver) should look again.
    Wake,
    /// `next_deadline` may have moved to an earlier time.
    Rearm,
}

/// Notable conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Two nodes have met, and this is what becomes of their data.
    Handshake {
        /// The volume.
        volume: VolumeIndex,
        /// Which row of the decision table, which step, which verdict.
        settled: Settlement,
    },
    /// Both nodes changed data on their own since they last met.
    SplitBrain {
        /// The volume.
        volume: VolumeIndex,
        /// Whether a policy resolved it.
        resolved: bool,
    },
    /// The policy after a split brain takes the peer's data, but this node is Primary and its device in use.
    PrimaryLost {
        /// The volume.
        volume: VolumeIndex,
    },
    /// The nodes hold data sets that have nothing in common.
    UnrelatedData {
        /// The volume.
        volume: VolumeIndex,
    },
    /// The configuration of the peer does not fit; names the option.
    ConfigMismatch(&'static str),
    /// A resync begins; `bits` blocks of 4 KiB.
    SyncStarted {
        /// The volume.
        volume: VolumeIndex,
        /// Blocks to copy.
        bits: u64,
        /// This node is the source.
        source: bool,
    },
    /// A resync ended.
    SyncDone {
        /// The volume.
        volume: VolumeIndex,
        /// Blocks that failed.
        failed: u64,
        /// How long it took.
        took_ms: u64,
        /// Blocks that were copied.
        copied: u64,
    },
    /// The lower disk failed and is given up.
    DiskFailed {
        /// The volume.
        volume: VolumeIndex,
        /// What failed.
        what: &'static str,
    },
    /// The peer sent a packet that it must not send (now); the connection ends.
    BadPacket {
        /// Name of the packet.
        packet: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The peer's request was refused or its packet ignored, for the log.
    Peer(&'static str),
}

/// Where the engine puts its answers. See the module documentation for the contract.
pub trait Effects {
    /// Append a packet to the queue of a stream.
    fn send(&mut self, stream: Socket, bytes: &[u8], payload: Payload);

    /// Append an act.
    fn act(&mut self, act: Act);

    /// 64 random bits, for generation identifiers.
    fn random(&mut self) -> u64;
}

/// Longest packet that `send` gets: header and body.
pub const PACKET_MAX: usize = 176;

/// Upper bound of the number of packets that wait in one stream's queue, given the sizes of the two slot tables and the number
/// of volumes.
pub const fn queue_bound(app_slots: usize, peer_slots: usize, volumes: usize) -> usize {
    // A write brings itself, a barrier and an out-of-sync note; a peer request an acknowledgement, a reply or a
    // request of its own and a barrier acknowledgement; a volume some handshake, state and role packets.
    app_slots * 3 + peer_slots * 3 + volumes * 32 + 64
}
