// SPDX-License-Identifier: GPL-2.0

//! Life of a request of the peer: replicated writes, reads, and the block transfers of a resync (wire protocol, sections 4 and 5).
//!
//! Writes take effect in the order in which they arrive: one that overlaps a write in progress waits, and nothing more is read from
//! the data stream until it runs. A barrier stops the reading as well, until all writes before it are on stable storage.

use crate::activity_log::Hold;
use crate::effects::{Act, DiskOp, Effects, Millis, Payload, PeerSlot, VolumeIndex};
use crate::memory::Memory;
use crate::resource::Resource;
use crate::state::is_target;
use crate::volume::Volume;
use crate::wire::{
    Ack, BlockData, BlockId, BlockRequest, DataFlags, DiskState, Packet, Range, Socket,
};

/// What a slot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The receiver reads a payload into it.
    Reserved,
    /// A replicated write.
    Write,
    /// A read of the peer's application.
    Read,
    /// A read for a resync with this node as source.
    ResyncRead,
    /// A resync request of this node; the answer is pending.
    Requested,
    /// The answer is being written.
    ResyncWrite,
    /// Its buffer waits in the send queue.
    Sending,
    /// The shell drops its buffer.
    Releasing,
    /// It was answered, but a disk that was given up by force still has it.
    Abandoned,
}

/// A slot of the peer's requests.
pub struct PeerRequest {
    pub(crate) volume: VolumeIndex,
    pub(crate) kind: Kind,
    pub(crate) range: Range,
    pub(crate) block_id: BlockId,
    pub(crate) flags: DataFlags,
    pub(crate) op: DiskOp,
    /// Submitted to the lower disk.
    pub(crate) running: bool,
    /// A write that needs the activity log of this node.
    pub(crate) logged: bool,
    /// What it holds of the log.
    pub(crate) hold: Hold,
    /// Connection that it belongs to.
    pub(crate) generation: u32,
    /// Resync that it belongs to.
    pub(crate) round: u32,
    /// When the lower disk got it.
    pub(crate) since: Millis,
}

impl PeerRequest {
    pub(crate) fn new(kind: Kind, volume: VolumeIndex, range: Range, generation: u32) -> Self {
        Self {
            volume,
            kind,
            range,
            block_id: BlockId::SYNCER,
            flags: DataFlags::NONE,
            op: DiskOp::Read,
            running: false,
            logged: false,
            hold: Hold::default(),
            generation,
            round: 0,
            since: 0,
        }
    }

    /// Whether the lower disk has it, and its answer is waited for.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.running
            && matches!(
                self.kind,
                Kind::Write | Kind::ResyncWrite | Kind::Read | Kind::ResyncRead
            )
    }

    fn writes(&self) -> bool {
        matches!(self.kind, Kind::Write | Kind::ResyncWrite)
    }

    fn has_buffer(&self) -> bool {
        match self.kind {
            Kind::Requested | Kind::Releasing | Kind::Abandoned => false,
            Kind::Write => self.op == DiskOp::Write,
            _ => true,
        }
    }
}

/// Bytes of payload that may be in memory at a time.
const BUFFER_LIMIT: u64 = 16 << 20;

/// Slots that stay free for what a single packet may need.
const SPARE_SLOTS: u32 = 4;

impl<M: Memory> Resource<M> {
    /// Whether the next packet of the data stream may be read; if not, wait for `Act::Wake`.
    pub fn receiver_ready(&self) -> bool {
        let room = self.peer.available() > SPARE_SLOTS;
        if self.receiving.barrier.is_some() || self.keeps_peer_state() || !room {
            return false;
        }
        let mut buffered = 0u64;
        for (_, request) in self.peer.iter() {
            if request.writes() && !request.running {
                return false;
            }
            if request.has_buffer() {
                buffered = buffered.saturating_add(u64::from(request.range.bytes));
            }
        }
        buffered < BUFFER_LIMIT
    }

    /// A slot for a payload of `bytes` bytes that the receiver is about to read; `None` if all are in use.
    pub fn reserve_peer(&mut self, bytes: u32) -> Option<PeerSlot> {
        let range = Range { sector: 0, bytes };
        self.peer.insert(PeerRequest::new(
            Kind::Reserved,
            usize::MAX,
            range,
            self.link.generation,
        ))
    }

    /// Sends an acknowledgement on the meta socket.
    pub(crate) fn acknowledge(
        &mut self,
        v: VolumeIndex,
        kind: fn(Ack) -> Packet<'static>,
        range: Range,
        block_id: BlockId,
        fx: &mut dyn Effects,
    ) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let seq_num = volume.next_seq();
        let ack = Ack {
            sector: range.sector,
            block_id,
            blksize: range.bytes,
            seq_num,
        };
        self.send(Some(v), Socket::Meta, &kind(ack), Payload::None, fx);
    }

    /// `P_DATA_REQUEST`: a read of the peer's application.
    pub(crate) fn read_received(
        &mut self,
        v: VolumeIndex,
        request: &BlockRequest,
        fx: &mut dyn Effects,
    ) {
        match self.serve(v, Kind::Read, request.range, request.block_id) {
            Some(slot) => self.run_or_hold(slot, fx),
            None => self.acknowledge(v, Packet::NegDreply, request.range, request.block_id, fx),
        }
    }

    /// `P_RS_DATA_REQUEST` and its relatives: a block transfer with this node as source.
    pub(crate) fn resync_read_received(
        &mut self,
        v: VolumeIndex,
        range: Range,
        fx: &mut dyn Effects,
    ) {
        match self.serve(v, Kind::ResyncRead, range, BlockId::SYNCER) {
            Some(slot) => self.run_or_hold(slot, fx),
            None => self.refuse_resync_read(v, range, fx),
        }
    }

    /// This node cannot read a block of the resync. The target counts it as failed, too: with the same count both see the same
    /// end.
    fn refuse_resync_read(&mut self, v: VolumeIndex, range: Range, fx: &mut dyn Effects) {
        self.acknowledge(v, Packet::NegRsDreply, range, BlockId::SYNCER, fx);
        self.resync_acknowledged(v, range, false);
    }

    fn serve(
        &mut self,
        v: VolumeIndex,
        kind: Kind,
        range: Range,
        block_id: BlockId,
    ) -> Option<PeerSlot> {
        if self.vol(v)?.state.disk != DiskState::UpToDate {
            return None;
        }
        let generation = self.link.generation;
        let slot = self.peer.insert(PeerRequest {
            block_id,
            ..PeerRequest::new(kind, v, range, generation)
        })?;
        self.vol_mut(v)?.counters.unacked += 1;
        Some(slot)
    }

    /// A resync request that this node is about to send.
    pub(crate) fn remember_resync_request(&mut self, v: VolumeIndex, range: Range) -> bool {
        let generation = self.link.generation;
        let round = self.vol(v).map_or(0, |volume| volume.resync_round);
        let request = PeerRequest {
            round,
            ..PeerRequest::new(Kind::Requested, v, range, generation)
        };
        self.peer.available() > 2 * SPARE_SLOTS && self.peer.insert(request).is_some()
    }

    /// The outstanding resync request for exactly this range, which is forgotten: whether the resync for which it was made still
    /// runs. `None` if there is none.
    pub(crate) fn take_resync_request(&mut self, v: VolumeIndex, range: Range) -> Option<bool> {
        let slot = self
            .peer
            .iter()
            .find(|(_, r)| r.kind == Kind::Requested && r.volume == v && r.range == range)
            .map(|(slot, _)| slot)?;
        let request = self.peer.remove(slot)?;
        Some(self.is_in_resync(v, request.round))
    }

    /// Whether this resync runs, with this node as target.
    pub(crate) fn is_in_resync(&self, v: VolumeIndex, round: u32) -> bool {
        self.vol(v)
            .is_some_and(|volume| volume.resync_round == round && is_target(volume.state.conn))
    }

    /// Bytes of resync requests of this node: unanswered, and being written.
    pub(crate) fn resync_under_way(&self, v: VolumeIndex) -> (u64, u64) {
        let bytes = |kind: Kind| {
            self.peer
                .iter()
                .filter(|(_, r)| r.volume == v && r.kind == kind)
                .map(|(_, r)| u64::from(r.range.bytes))
                .sum()
        };
        (bytes(Kind::Requested), bytes(Kind::ResyncWrite))
    }

    /// Whether resync requests of this node are unanswered or being written.
    pub(crate) fn resync_in_flight(&self, v: VolumeIndex) -> bool {
        self.peer
            .iter()
            .any(|(_, r)| r.volume == v && matches!(r.kind, Kind::Requested | Kind::ResyncWrite))
    }

    /// Whether writes of the peer, of this connection or an earlier one, are not completed on the lower disk.
    pub(crate) fn peer_writes_to_disk(&self, v: VolumeIndex) -> bool {
        self.peer.iter().any(|(_, r)| r.volume == v && r.writes())
    }

    /// The data of a resync request have arrived in `slot`.
    pub(crate) fn write_resync_data(
        &mut self,
        v: VolumeIndex,
        range: Range,
        slot: PeerSlot,
        fx: &mut dyn Effects,
    ) {
        let generation = self.link.generation;
        let round = self.vol(v).map_or(0, |volume| volume.resync_round);
        if let Some(request) = self.peer.get_mut(slot) {
            *request = PeerRequest {
                op: DiskOp::Write,
                round,
                ..PeerRequest::new(Kind::ResyncWrite, v, range, generation)
            };
        }
        self.run_or_hold(slot, fx);
    }

    /// Gives a slot without further use back.
    pub(crate) fn release(&mut self, slot: PeerSlot, fx: &mut dyn Effects) {
        let Some(request) = self.peer.get_mut(slot) else {
            return;
        };
        request.kind = Kind::Releasing;
        request.running = true;
        let (v, range) = (request.volume, request.range);
        let mut hold = core::mem::take(&mut request.hold);
        fx.act(Act::ReleasePeer { slot });
        self.dismiss(v, &mut hold, &range);
    }

    /// The shell has dropped the buffer of a slot.
    pub fn peer_released(&mut self, now: Millis, slot: PeerSlot, fx: &mut dyn Effects) {
        self.now = now;
        if let Some(request) = self.peer.remove(slot) {
            fx.act(Act::Wake);
            self.resync_fill(request.volume, fx);
        }
    }

    /// The buffer of a slot is sent.
    pub fn peer_sent(&mut self, now: Millis, slot: PeerSlot, fx: &mut dyn Effects) {
        self.now = now;
        if self
            .peer
            .get(slot)
            .is_some_and(|request| request.kind == Kind::Sending)
        {
            self.release(slot, fx);
        }
    }

    pub(crate) fn run_or_hold(&mut self, slot: PeerSlot, fx: &mut dyn Effects) {
        let Some(request) = self.peer.get(slot) else {
            return;
        };
        if request.running || self.is_held_back(slot, request) {
            return;
        }
        let has_disk = self.vol(request.volume).is_some_and(Volume::has_disk);
        if request.writes() && !has_disk {
            // Given up while the write was held back.
            return self.peer_request_ended(slot, false, false, fx);
        }
        if !self.admit_peer(slot, fx) {
            return;
        }
        let Some(request) = self.peer.get(slot) else {
            return;
        };
        let (v, op, range, flags) = (request.volume, request.op, request.range, request.flags);
        let block_id = request.block_id;
        let now = self.now;
        let resync = matches!(request.kind, Kind::ResyncRead | Kind::ResyncWrite);
        if let Some(request) = self.peer.get_mut(slot) {
            request.running = true;
            request.since = now;
        }
        if let Some(volume) = self.vol_mut(v) {
            volume.local_io += 1;
            volume.counters.local_pending += 1;
            match op {
                DiskOp::Read => volume.counters.read += range.sectors(),
                _ => volume.counters.written += range.sectors(),
            }
            if resync {
                volume.resync.own_io += range.sectors();
            }
        }
        let (fua, preflush) = (
            flags.contains(DataFlags::FUA),
            flags.contains(DataFlags::FLUSH),
        );
        fx.act(Act::SubmitPeer {
            slot,
            volume: v,
            op,
            range,
            fua,
            preflush,
        });
        // Not sooner: what is held back goes with the connection.
        if flags.contains(DataFlags::SEND_RECEIVE_ACK) {
            self.acknowledge(v, Packet::RecvAck, range, block_id, fx);
        }
    }

    fn is_held_back(&self, slot: PeerSlot, request: &PeerRequest) -> bool {
        let (v, range) = (request.volume, request.range);
        let peer_writes = || {
            self.peer.iter().any(|(other, r)| {
                other != slot
                    && r.volume == v
                    && r.running
                    && r.writes()
                    && r.range.overlaps(&range)
            })
        };
        match request.kind {
            // A Primary that is the target has sent its write before it asked for the block.
            Kind::ResyncRead => self.app_writes_to(v, &range) || peer_writes(),
            Kind::Write | Kind::ResyncWrite if crate::mutants::is_active(19) => false,
            Kind::Write | Kind::ResyncWrite => peer_writes() || self.is_not_noted_inconsistent(v),
            _ => false,
        }
    }

    /// The disk becomes a mixture of old and new with the first write of the peer, and does not say so yet.
    fn is_not_noted_inconsistent(&self, v: VolumeIndex) -> bool {
        self.vol(v).is_some_and(|volume| {
            volume.state.disk == DiskState::Inconsistent && volume.waits_for_metadata()
        })
    }

    /// Starts what waited for other requests to the same blocks, for the activity log, or for the superblock.
    pub(crate) fn resume_held(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let mut at = self.peer.first();
        while let Some(slot) = at {
            at = self.peer.after(slot);
            let waiting = self.peer.get(slot).is_some_and(|r| {
                r.volume == v
                    && !r.running
                    && matches!(r.kind, Kind::Write | Kind::ResyncWrite | Kind::ResyncRead)
            });
            if waiting {
                self.run_or_hold(slot, fx);
                fx.act(Act::Wake);
            }
        }
    }

    /// The lower disk has finished with a request of the peer.
    pub fn peer_disk_done(&mut self, now: Millis, slot: PeerSlot, ok: bool, fx: &mut dyn Effects) {
        self.now = now;
        let Some(request) = self.peer.get(slot) else {
            return;
        };
        let (v, kind) = (request.volume, request.kind);
        self.local_part_ended(v);
        if kind == Kind::Abandoned {
            self.release(slot, fx);
        } else {
            self.peer_request_ended(slot, ok, false, fx);
        }
        self.disk_operation_ended(v, fx);
        fx.act(Act::Wake);
    }

    /// Answers a request of the peer. `abandoned`: although the lower disk still has it.
    pub(crate) fn peer_request_ended(
        &mut self,
        slot: PeerSlot,
        ok: bool,
        abandoned: bool,
        fx: &mut dyn Effects,
    ) {
        let Some(request) = self.peer.get(slot) else {
            return;
        };
        let (v, kind, range) = (request.volume, request.kind, request.range);
        let (block_id, flags, op) = (request.block_id, request.flags, request.op);
        let round = request.round;
        let current = request.generation == self.link.generation && self.link.can_send();
        if let Some(volume) = self.vol_mut(v) {
            volume.counters.unacked = volume.counters.unacked.saturating_sub(1);
        }
        if !ok {
            self.vol_mut(v).map(|volume| volume.mark(&range));
        }
        match kind {
            Kind::Write => {
                self.let_go(slot, abandoned, fx);
                if current {
                    self.acknowledge_write(v, range, block_id, flags, ok, fx);
                }
            }
            Kind::ResyncWrite => {
                self.let_go(slot, abandoned, fx);
                if current {
                    let in_resync = self.is_in_resync(v, round);
                    self.resync_written(v, range, ok, in_resync, fx);
                }
            }
            Kind::Read | Kind::ResyncRead => {
                self.read_done(slot, ok && current, current, abandoned, fx);
            }
            _ => (),
        }
        if !ok {
            let what = match op {
                DiskOp::Read => "a read for the peer failed on the lower disk",
                _ => "a write of the peer failed on the lower disk",
            };
            self.disk_failed(v, what, op != DiskOp::Read, fx);
        }
        if kind == Kind::Write && current {
            self.receiving.active = self.receiving.active.saturating_sub(1);
            self.finish_epoch(fx);
        }
        self.resume_held(v, fx);
        self.resync_fill(v, fx);
    }

    fn let_go(&mut self, slot: PeerSlot, abandoned: bool, fx: &mut dyn Effects) {
        match self.peer.get_mut(slot) {
            Some(request) if abandoned => request.kind = Kind::Abandoned,
            _ => self.release(slot, fx),
        }
    }

    fn read_done(
        &mut self,
        slot: PeerSlot,
        send: bool,
        current: bool,
        abandoned: bool,
        fx: &mut dyn Effects,
    ) {
        let Some(request) = self.peer.get_mut(slot) else {
            return;
        };
        let (v, range, block_id) = (request.volume, request.range, request.block_id);
        let resync = request.kind == Kind::ResyncRead;
        if !send {
            self.let_go(slot, abandoned, fx);
            match (current, resync) {
                (true, true) => self.refuse_resync_read(v, range, fx),
                (true, false) => self.acknowledge(v, Packet::NegDreply, range, block_id, fx),
                (false, _) => (),
            }
            return;
        }
        request.kind = Kind::Sending;
        if let Some(volume) = self.vol_mut(v) {
            volume.counters.sent += range.sectors();
        }
        let data = BlockData::reply(range, block_id, &[]);
        let packet = if resync {
            Packet::RsDataReply(data)
        } else {
            Packet::DataReply(data)
        };
        self.send(Some(v), Socket::Data, &packet, Payload::Peer { slot }, fx);
        fx.act(Act::Wake);
    }

    /// Gives up what belonged to a connection that is gone. Writes that run are left to finish.
    pub(crate) fn forget_peer_requests(&mut self, fx: &mut dyn Effects) {
        if crate::mutants::is_active(33) {
            return;
        }
        let mut at = self.peer.first();
        while let Some(slot) = at {
            at = self.peer.after(slot);
            let Some(request) = self.peer.get(slot) else {
                continue;
            };
            match request.kind {
                Kind::Requested => {
                    let v = request.volume;
                    self.peer.remove(slot);
                    if let Some(volume) = self.vol_mut(v) {
                        let pending = volume.counters.peer_pending;
                        volume.counters.peer_pending = pending.saturating_sub(1);
                    }
                }
                Kind::Sending | Kind::Reserved => self.release(slot, fx),
                Kind::Releasing | Kind::Abandoned => (),
                _ if request.running => (),
                _ => self.release(slot, fx),
            }
        }
        self.for_each_volume(|this, v| {
            if let Some(volume) = this.vol_mut(v) {
                volume.counters.unacked = 0;
            }
        });
    }
}

impl PeerRequest {
    /// The buffer goes to a request of the application, whose data it holds.
    pub(crate) fn hand_over(&mut self, volume: VolumeIndex) {
        self.volume = volume;
        self.kind = Kind::Releasing;
        self.running = true;
    }
}
