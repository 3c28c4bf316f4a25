// SPDX-License-Identifier: GPL-2.0

//! Life of a request of the application (wire protocol, sections 4.1 to 4.4; metadata, sections 5.4 and 5.5).
//!
//! A request has a local and a remote part. A write succeeds if one of them does. It completes to the application when both have
//! what the replication protocol demands, but is remembered until the peer has acknowledged its epoch: should the
//! connection be lost before, its blocks are out of sync.

use crate::activity_log::Hold;
use crate::effects::{Act, AppSlot, Effects, Millis, Outcome, Payload, VolumeIndex};
use crate::memory::Memory;
use crate::peer_request::Kind as PeerKind;
use crate::resource::Resource;
use crate::state::is_syncing;
use crate::volume::Volume;
use crate::wire::{
    BlockData, BlockId, BlockRequest, ConnState, DataFlags, DiskState, Features, Packet, Range,
    RangeWrite, ReplicationProtocol, Role, Socket,
};

/// What the application wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppOp {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Discard; contents are undefined afterwards.
    Discard,
    /// Write zeroes.
    Zeroes {
        /// Deallocation is permitted.
        unmap: bool,
    },
    /// Make everything that was completed before durable.
    Flush,
}

/// A request of the application.
#[derive(Clone, Copy, Debug)]
pub struct AppIo {
    /// What to do.
    pub op: AppOp,
    /// Where; at most 1 MiB for reads and writes, 128 MiB for the others; empty for a flush.
    pub range: Range,
    /// Durable on completion.
    pub fua: bool,
    /// Durability of what was completed before.
    pub preflush: bool,
    /// Somebody waits for it.
    pub sync: bool,
}

/// How a request was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submit {
    /// It has this slot; `CompleteApp` or `CompleteAppRead` follows.
    Accepted(AppSlot),
    /// Not now: wait for `Act::Wake`, then submit again.
    Busy,
    /// Done at once.
    Done(Outcome),
}

/// State of one part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Not asked for.
    None,
    Pending,
    Ok,
    Failed,
    /// The lower disk does not do what was asked for, and has done nothing.
    Refused,
    /// It begins when the other part has succeeded.
    Later,
}

/// A request in its slot.
pub struct AppRequest {
    pub(crate) volume: VolumeIndex,
    pub(crate) io: AppIo,
    pub(crate) local: Part,
    pub(crate) remote: Part,
    /// The epoch that it was sent in, until that is acknowledged.
    pub(crate) epoch: Option<u32>,
    /// Completed to the application.
    pub(crate) done: bool,
    /// The remote part ends when the peer's disk has it, and not before.
    pub(crate) until_written: bool,
    /// The peer has refused it, and has not said yet what became of its disk.
    pub(crate) refused: bool,
    /// The peer has said since it was sent that its disk is gone.
    pub(crate) disk_gone: bool,
    /// The peer said that the blocks are in sync now.
    pub(crate) in_sync: bool,
    /// Accepted, not started: it waits for the activity log, or for a transition to end.
    pub(crate) parked: bool,
    /// What it holds of the activity log.
    pub(crate) hold: Hold,
    /// The lower disk alone decides: the shell completes it.
    pub(crate) alone: bool,
    pub(crate) since: Millis,
    /// When its local part began.
    pub(crate) local_since: Millis,
    /// Its disk was given up by force, and still has it: the slot stays in use.
    pub(crate) abandoned: bool,
}

impl AppRequest {
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.io.op, AppOp::Read | AppOp::Flush)
    }
}

/// What becomes of a write on the wire (section 4.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Send,
    TellOutOfSync,
    Mark,
}

fn route<M: Memory>(volume: &Volume<M>) -> Route {
    use ConnState as C;
    let s = &volume.state;
    match s.conn {
        C::WFBitMapS | C::Ahead => Route::TellOutOfSync,
        conn if conn >= C::Connected && s.pdsk == DiskState::UpToDate => Route::Send,
        C::WFBitMapT | C::WFSyncUUID | C::VerifyS | C::VerifyT
            if s.pdsk >= DiskState::Inconsistent =>
        {
            Route::Send
        }
        conn if is_syncing(conn) && s.pdsk >= DiskState::Inconsistent => Route::Send,
        _ => Route::Mark,
    }
}

impl<M: Memory> Resource<M> {
    /// Takes a request of the application. The caller may sleep, and keeps the bio in its table under the returned slot.
    pub fn submit(
        &mut self,
        now: Millis,
        v: VolumeIndex,
        io: AppIo,
        fx: &mut dyn Effects,
    ) -> Submit {
        self.now = now;
        let Some(volume) = self.vol(v) else {
            return Submit::Done(Outcome::Error);
        };
        if self.must_wait(volume, &io) {
            return Submit::Busy;
        }
        if volume.state.role != Role::Primary || io.range.end() > volume.capacity {
            return Submit::Done(Outcome::Error);
        }
        match io.op {
            AppOp::Read => self.submit_read(v, io, fx),
            AppOp::Flush => self.submit_flush(v, io, fx),
            _ => self.submit_write(v, io, fx),
        }
    }

    fn must_wait(&self, volume: &Volume<M>, io: &AppIo) -> bool {
        self.app.available() == 0 || self.is_in_transition(volume, io)
    }

    /// Whether nobody knows yet where a request has to go.
    pub(crate) fn is_in_transition(&self, volume: &Volume<M>, io: &AppIo) -> bool {
        let state = &volume.state;
        let unsettled = matches!(state.disk, DiskState::Attaching | DiskState::Negotiating)
            || matches!(state.conn, ConnState::WFBitMapT | ConnState::WFSyncUUID)
            || state.is_suspended();
        let write = io.op != AppOp::Read;
        unsettled || self.link.is_closing() || (write && volume.waits_for_metadata())
    }

    fn submit_read(&mut self, v: VolumeIndex, io: AppIo, fx: &mut dyn Effects) -> Submit {
        let Some(volume) = self.vol(v) else {
            return Submit::Done(Outcome::Error);
        };
        let local = volume.can_read(&io.range);
        let remote = !local
            && volume.state.conn >= ConnState::Connected
            && volume.state.pdsk == DiskState::UpToDate;
        if !local && !remote {
            return Submit::Done(Outcome::Error);
        }
        match self.take_slot(v, io) {
            Some(slot) if local => {
                self.submit_local(slot, fx);
                Submit::Accepted(slot)
            }
            Some(slot) => {
                self.read_from_peer(slot, fx);
                Submit::Accepted(slot)
            }
            None => Submit::Busy,
        }
    }

    fn submit_flush(&mut self, v: VolumeIndex, io: AppIo, fx: &mut dyn Effects) -> Submit {
        self.close_epoch(fx);
        let local = self.vol(v).is_some_and(Volume::has_disk);
        let remote = self.sending.awaits_ack();
        if !local && !remote {
            return Submit::Done(Outcome::Ok);
        }
        let last_closed = self.sending.current.wrapping_sub(1);
        let Some(slot) = self.take_slot(v, io) else {
            return Submit::Busy;
        };
        if remote {
            if let Some(request) = self.app.get_mut(slot) {
                request.remote = Part::Pending;
                request.epoch = Some(last_closed);
            }
        }
        if local {
            self.submit_local(slot, fx);
        }
        Submit::Accepted(slot)
    }

    fn submit_write(&mut self, v: VolumeIndex, io: AppIo, fx: &mut dyn Effects) -> Submit {
        let Some(volume) = self.vol(v) else {
            return Submit::Done(Outcome::Error);
        };
        if let Err(outcome) = self.plan(volume, io.op) {
            return Submit::Done(outcome);
        }
        if self.collides(v, &io.range) {
            return Submit::Busy;
        }
        if volume.parked == 0 {
            self.begin_line(v);
        }
        let Some(slot) = self.take_slot(v, io) else {
            return Submit::Busy;
        };
        let mut hold = Hold::default();
        let admitted = self.admit(v, &mut hold, &io.range, fx);
        if let Some(request) = self.app.get_mut(slot) {
            request.hold = hold;
            request.parked = !admitted;
        }
        match admitted {
            true => self.start_write(slot, fx),
            false => {
                if let Some(volume) = self.vol_mut(v) {
                    volume.parked += 1;
                }
            }
        }
        Submit::Accepted(slot)
    }

    /// Where a write goes: to the peer, and to the lower disk.
    fn plan(&self, volume: &Volume<M>, op: AppOp) -> Result<(Route, bool), Outcome> {
        let route = route(volume);
        let data_reachable = volume.state.disk == DiskState::UpToDate
            || (route == Route::Send && volume.state.pdsk == DiskState::UpToDate);
        if !data_reachable {
            return Err(Outcome::Error);
        }
        let features = self.link.agreed.features;
        let unknown_to_peer = route == Route::Send
            && match op {
                AppOp::Discard => !features.contains(Features::TRIM),
                AppOp::Zeroes { .. } => !features.contains(Features::WZEROES),
                _ => false,
            };
        match unknown_to_peer {
            true => Err(Outcome::Unsupported),
            false => Ok((route, volume.has_disk())),
        }
    }

    /// Sends a write on its way. Its extents are active.
    pub(crate) fn start_write(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let Some(request) = self.app.get(slot) else {
            return;
        };
        let (v, io) = (request.volume, request.io);
        let Some(volume) = self.vol(v) else { return };
        let (route, local) = match self.plan(volume, io.op) {
            Ok(plan) => plan,
            // While it was parked, the last good copy went away.
            Err(outcome) => return self.refuse(slot, outcome, fx),
        };
        if let Some(volume) = self.vol_mut(v) {
            volume.remote_only |= !local;
        }
        // Whether a disk can discard or zero it says only when it is asked. The peer must not have done it then.
        if local && route == Route::Send && io.op != AppOp::Write {
            if let Some(request) = self.app.get_mut(slot) {
                request.remote = Part::Later;
            }
            return self.submit_local(slot, fx);
        }
        self.start_remote(slot, route, fx);
        if local {
            self.submit_local(slot, fx);
        }
    }

    /// The remote part of a write whose local part is finished.
    pub(crate) fn start_remote_late(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let Some(request) = self.app.get_mut(slot) else {
            return;
        };
        request.remote = Part::None;
        let v = request.volume;
        if let Some(route) = self.vol(v).map(route) {
            self.start_remote(slot, route, fx);
        }
        self.settle(slot, fx);
    }

    /// The remote part of a write: tells the peer, or remembers what it does not have.
    fn start_remote(&mut self, slot: AppSlot, route: Route, fx: &mut dyn Effects) {
        let Some(request) = self.app.get(slot) else {
            return;
        };
        let (v, io) = (request.volume, request.io);
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let send = route == Route::Send;
        let replicating = core::mem::replace(&mut volume.replicating, send);
        if io.preflush || replicating != send {
            self.close_epoch(fx);
        }
        match route {
            Route::Send => self.send_write(slot, fx),
            Route::Mark => {
                self.vol_mut(v).map(|volume| volume.mark(&io.range));
            }
            Route::TellOutOfSync if crate::mutants::is_active(1) => (),
            Route::TellOutOfSync => {
                let newly = self.vol_mut(v).map_or(0, |volume| volume.mark(&io.range));
                if newly > 0 {
                    self.close_epoch(fx);
                    self.send(
                        Some(v),
                        Socket::Data,
                        &Packet::OutOfSync(io.range),
                        Payload::None,
                        fx,
                    );
                }
            }
        }
    }

    /// Whether a write must wait for another one to the same blocks: two writes in flight could take effect in one order
    /// here and in the other one at the peer, and a resync must not bring old data over new ones (section 5.10).
    fn collides(&self, v: VolumeIndex, range: &Range) -> bool {
        self.app_is_writing(v, range)
            || self.peer.iter().any(|(_, other)| {
                other.volume == v
                    && matches!(
                        other.kind,
                        PeerKind::ResyncRead | PeerKind::ResyncWrite | PeerKind::Requested
                    )
                    && other.range.overlaps(range)
            })
    }

    /// Whether a write of the application to these blocks is not completed on both nodes: a target must not ask for them, because
    /// the source may answer with what it had before.
    pub(crate) fn app_is_writing(&self, v: VolumeIndex, range: &Range) -> bool {
        self.app.iter().any(|(_, other)| {
            other.volume == v && other.is_write() && !other.done && other.io.range.overlaps(range)
        })
    }

    /// Whether a write of the application to these blocks is accepted and not completed locally.
    pub(crate) fn app_writes_to(&self, v: VolumeIndex, range: &Range) -> bool {
        self.app.iter().any(|(_, other)| {
            other.volume == v
                && other.is_write()
                && (other.parked || other.local == Part::Pending)
                && other.io.range.overlaps(range)
        })
    }

    fn take_slot(&mut self, v: VolumeIndex, io: AppIo) -> Option<AppSlot> {
        let request = AppRequest {
            volume: v,
            io,
            local: Part::None,
            remote: Part::None,
            epoch: None,
            done: false,
            until_written: false,
            refused: false,
            disk_gone: false,
            in_sync: false,
            parked: false,
            hold: Hold::default(),
            alone: false,
            since: self.now,
            local_since: self.now,
            abandoned: false,
        };
        let slot = self.app.insert(request)?;
        if let Some(volume) = self.vol_mut(v) {
            volume.counters.app_pending += 1;
        }
        Some(slot)
    }

    pub(crate) fn submit_local(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let now = self.now;
        let may_be_abandoned = self.app.get(slot).is_some_and(|request| {
            self.vol(request.volume)
                .and_then(|volume| volume.disk.as_ref())
                .is_some_and(|disk| disk.options.disk_timeout_ms > 0)
        });
        let Some(request) = self.app.get_mut(slot) else {
            return;
        };
        request.alone = request.remote == Part::None && !may_be_abandoned;
        let alone = request.alone;
        request.local = Part::Pending;
        request.local_since = now;
        let (v, range, write) = (request.volume, request.io.range, request.is_write());
        if let Some(volume) = self.vol_mut(v) {
            volume.local_io += 1;
            volume.counters.local_pending += 1;
            match write {
                true => volume.counters.written += range.sectors(),
                false => volume.counters.read += range.sectors(),
            }
        }
        fx.act(Act::SubmitApp {
            slot,
            volume: v,
            alone,
        });
    }

    pub(crate) fn read_from_peer(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let token = self.app.token(slot);
        let Some(request) = self.app.get_mut(slot) else {
            return;
        };
        request.remote = Part::Pending;
        let (v, range) = (request.volume, request.io.range);
        if let Some(volume) = self.vol_mut(v) {
            volume.counters.peer_pending += 1;
        }
        self.close_epoch(fx);
        let packet = Packet::DataRequest(BlockRequest {
            range,
            block_id: BlockId::from_u64(token),
        });
        self.send(Some(v), Socket::Data, &packet, Payload::None, fx);
    }

    fn send_write(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let token = self.app.token(slot);
        let epoch = self.sending.add_write();
        let (protocol, now) = (self.protocol(), self.now);
        let Some(request) = self.app.get_mut(slot) else {
            return;
        };
        // The peer's time for an answer begins here, however long the write was parked.
        request.since = now;
        request.remote = Part::Pending;
        request.refused = false;
        request.disk_gone = false;
        request.epoch = Some(epoch);
        let (v, io) = (request.volume, request.io);
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.counters.sent += io.range.sectors();
        volume.counters.peer_pending += 1;
        let seq_num = volume.next_seq();
        let may_set_in_sync = is_syncing(volume.state.conn);
        // A write that is on no disk here is done when it is on the peer's: the promise of A and B is one durable copy.
        let only_copy = !volume.counts_own_writes();
        let until_written = match protocol {
            // Nobody reports that a packet without data was sent, so its acknowledgement is waited for.
            ReplicationProtocol::A => only_copy || io.op != AppOp::Write,
            ReplicationProtocol::B => only_copy,
            ReplicationProtocol::C => true,
        };
        let report = protocol == ReplicationProtocol::A && !until_written;
        if let Some(request) = self.app.get_mut(slot) {
            request.until_written = until_written;
        }
        let flags = DataFlags::NONE
            .with(DataFlags::RW_SYNC, io.sync)
            .with(DataFlags::FUA, io.fua)
            .with(DataFlags::FLUSH, io.preflush)
            .with(DataFlags::MAY_SET_IN_SYNC, may_set_in_sync)
            .with(DataFlags::SEND_WRITE_ACK, until_written || may_set_in_sync)
            .with(
                DataFlags::SEND_RECEIVE_ACK,
                protocol == ReplicationProtocol::B && !until_written,
            );
        let (range, block_id) = (io.range, BlockId::from_u64(token));
        let (packet, payload) = match io.op {
            AppOp::Discard => {
                let flags = flags | DataFlags::DISCARD;
                (
                    Packet::Trim(RangeWrite {
                        range,
                        block_id,
                        seq_num,
                        flags,
                    }),
                    Payload::None,
                )
            }
            AppOp::Zeroes { unmap } => {
                let flags = (flags | DataFlags::ZEROES).with(DataFlags::DISCARD, unmap);
                (
                    Packet::Zeroes(RangeWrite {
                        range,
                        block_id,
                        seq_num,
                        flags,
                    }),
                    Payload::None,
                )
            }
            _ => {
                let data = BlockData {
                    range,
                    block_id,
                    seq_num,
                    flags,
                    digest: &[],
                };
                (Packet::Data(data), Payload::App { slot, report })
            }
        };
        self.send(Some(v), Socket::Data, &packet, payload, fx);
        if self.sending.open_writes() >= self.max_epoch_size() {
            self.close_epoch(fx);
        }
    }

    /// Closes the open write epoch, unless it is empty.
    pub(crate) fn close_epoch(&mut self, fx: &mut dyn Effects) {
        if let Some(barrier) = self.sending.close() {
            self.send(
                None,
                Socket::Data,
                &Packet::Barrier(barrier),
                Payload::None,
                fx,
            );
        }
    }
}
