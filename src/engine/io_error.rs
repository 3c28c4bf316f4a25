// SPDX-License-Identifier: GPL-2.0

//! Errors of the lower disk: the policies of `on-io-error` (metadata, section 5.6), and a disk that is given up by force
//! (sections 5.3 and 5.8).
//!
//! A disk that is given up by force ends its requests with an error at once, although the lower device still has them. Their
//! slots, and with them the memory of the shell, stay in use until the device really gives them back: a late completion finds what
//! it belongs to, and nothing else. So the disk is closed only then, and stays Failed until.

use crate::effects::{Act, AppSlot, Effects, Millis, Notice, VolumeIndex};
use crate::handler::Handler;
use crate::memory::Memory;
use crate::peer_request::PeerRequest;
use crate::request::{AppOp, AppRequest, Part};
use crate::resource::Resource;
use crate::state::is_or_becomes_source;
use crate::volume::{OnIoError, Volume};
use crate::wire::{ConnState, DiskState, Role, State};

/// What failure handling remembers of a volume.
#[derive(Default)]
pub(crate) struct Trouble {
    /// The helper `local-io-error` runs: the peer is told, and the disk closed, when it has ended.
    pub(crate) helper: bool,
    /// An error was passed on while this node was the source of a resync, whose disk counts as good until that is over.
    pub(crate) passed_on: bool,
    /// The disk was given up by force: nothing waits for it.
    pub(crate) abandoned: bool,
    /// When the disk was attached.
    pub(crate) attached: Millis,
    /// A new current UUID is due as soon as I/O is not suspended any more.
    pub(crate) mint: bool,
    /// The peer is to be Outdated when the connection is gone: it agreed to that.
    pub(crate) outdate_peer: bool,
    /// A flush for the peer's epoch is under way, since then.
    pub(crate) flushing: Option<Millis>,
    /// Flushes under way that nobody waits for any more.
    pub(crate) stale_flushes: u32,
    /// Which metadata are being written, and since when (see `disk_timeout`).
    pub(crate) metadata: Option<(u64, Millis)>,
    /// Parts of the metadata that were taken to be written.
    pub(crate) metadata_steps: u64,
    /// When the ages of the requests were looked at last.
    pub(crate) checked: Millis,
}

impl<M: Memory> Resource<M> {
    /// The lower disk reported an error for data; `lacks`: it does not have what it was given.
    pub(crate) fn disk_failed(
        &mut self,
        v: VolumeIndex,
        what: &'static str,
        lacks: bool,
        fx: &mut dyn Effects,
    ) {
        let Some((policy, state)) = self.error_policy(v) else {
            return;
        };
        if state.disk <= DiskState::Failed {
            return;
        }
        // A source is UpToDate (wire protocol, section 7.7), or it is none. One that lacks a write would copy what was there before to the
        // target, perhaps over the only good copy.
        if policy != OnIoError::PassOn || (lacks && is_or_becomes_source(state.conn)) {
            return self.give_up_disk(v, what, fx);
        }
        fx.act(Act::Notice(Notice::DiskFailed { volume: v, what }));
        if state.disk > DiskState::Inconsistent {
            if let Some(volume) = self.vol_mut(v) {
                volume.trouble.passed_on = true;
            }
            self.lower_after_error(v, what, fx);
        }
    }

    /// A disk with an error that was passed on counts as Inconsistent, as soon as this node is no source any more.
    pub(crate) fn lower_after_error(
        &mut self,
        v: VolumeIndex,
        what: &'static str,
        fx: &mut dyn Effects,
    ) {
        let lowers = |volume: &&mut Volume<M>| {
            let state = &volume.state;
            volume.trouble.passed_on
                && state.disk > DiskState::Inconsistent
                && !is_or_becomes_source(state.conn)
        };
        if let Some(volume) = self.vol_mut(v).filter(lowers) {
            volume.trouble.passed_on = false;
            let disk = DiskState::Inconsistent;
            let state = State {
                disk,
                ..volume.state
            };
            self.change(v, state, what, fx);
        }
    }

    /// Gives the lower disk up: an error for metadata, whatever the policy says, or for data where it says so.
    pub(crate) fn give_up_disk(
        &mut self,
        v: VolumeIndex,
        what: &'static str,
        fx: &mut dyn Effects,
    ) {
        let Some((policy, state)) = self.error_policy(v) else {
            return;
        };
        if state.disk <= DiskState::Failed {
            return;
        }
        let helper = policy == OnIoError::CallLocalIoError;
        if let Some(volume) = self.vol_mut(v) {
            volume.trouble.helper = helper;
        }
        fx.act(Act::Notice(Notice::DiskFailed { volume: v, what }));
        let disk = DiskState::Failed;
        self.change(v, State { disk, ..state }, what, fx);
        if helper {
            self.call_handler(v, Handler::LocalIoError, fx);
        }
    }

    fn error_policy(&self, v: VolumeIndex) -> Option<(OnIoError, State)> {
        let volume = self.vol(v)?;
        Some((volume.disk.as_ref()?.options.on_io_error, volume.state))
    }

    /// The helper has ended, or is not waited for any more.
    pub(crate) fn local_io_error_handled(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        if core::mem::take(&mut volume.trouble.helper) {
            self.tell_waiting(v, fx);
            self.disk_operation_ended(v, fx);
        }
    }

    /// A Primary that has lost its last usable data has its handler called.
    pub(crate) fn call_if_degraded(
        &mut self,
        v: VolumeIndex,
        old: &State,
        new: &State,
        fx: &mut dyn Effects,
    ) {
        if is_without_data(new) && old.role == Role::Primary && !is_without_data(old) {
            self.call_handler(v, Handler::PrimaryDegraded, fx);
        }
    }

    /// Gives the disk up by force: whatever it has not answered has failed.
    pub(crate) fn abandon_disk(
        &mut self,
        v: VolumeIndex,
        what: &'static str,
        fx: &mut dyn Effects,
    ) {
        let Some(volume) = self.vol_mut(v).filter(|volume| volume.disk.is_some()) else {
            return;
        };
        volume.trouble.abandoned = true;
        self.give_up_disk(v, what, fx);
        self.abandon_app(v, fx);
        self.abandon_peer(v, fx);
        self.abandon_flush(v, fx);
        self.tell_waiting(v, fx);
        self.settle_all(fx);
        self.admin_metadata_written(fx);
        self.disk_operation_ended(v, fx);
        fx.act(Act::Wake);
    }

    fn abandon_app(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let mut at = self.app.first();
        while let Some(slot) = at {
            at = self.app.after(slot);
            // Who waits for the disk alone goes on doing so: his memory is the disk's until it answers.
            let pending = |request: &&mut AppRequest| {
                request.volume == v && request.local == Part::Pending && !request.alone
            };
            let Some(request) = self.app.get_mut(slot).filter(pending) else {
                continue;
            };
            request.local = Part::Failed;
            request.abandoned = true;
            let (op, range) = (request.io.op, request.io.range);
            if op != AppOp::Flush {
                self.vol_mut(v).map(|volume| volume.mark(&range));
            }
            if op == AppOp::Read && self.peer_can_read(v) {
                self.read_from_peer(slot, fx);
            }
            self.settle(slot, fx);
        }
        self.resume_held(v, fx);
    }

    fn abandon_peer(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let mut at = self.peer.first();
        while let Some(slot) = at {
            at = self.peer.after(slot);
            let is_on_disk = |request: &PeerRequest| request.volume == v && request.is_on_disk();
            if self.peer.get(slot).is_some_and(is_on_disk) {
                self.peer_request_ended(slot, false, true, fx);
            }
        }
    }

    /// A late completion of the application's request on an abandoned disk. False if it is not late.
    pub(crate) fn is_late_completion(&mut self, slot: AppSlot, fx: &mut dyn Effects) -> bool {
        let Some(request) = self.app.get_mut(slot).filter(|request| request.abandoned) else {
            return false;
        };
        request.abandoned = false;
        let v = request.volume;
        self.local_part_ended(v);
        self.settle(slot, fx);
        self.disk_operation_ended(v, fx);
        true
    }

    /// Whether what the lower disk has read for a request is still of use.
    pub fn wants_local_data(&self, slot: AppSlot) -> bool {
        self.app
            .get(slot)
            .is_some_and(|request| request.local == Part::Pending && !request.abandoned)
    }

    /// Counts an operation on the lower disk out.
    pub(crate) fn local_part_ended(&mut self, v: VolumeIndex) {
        if let Some(volume) = self.vol_mut(v) {
            volume.local_io = volume.local_io.saturating_sub(1);
            volume.counters.local_pending = volume.counters.local_pending.saturating_sub(1);
        }
    }

    /// Whether the peer can answer a read of the application now.
    pub(crate) fn peer_can_read(&self, v: VolumeIndex) -> bool {
        !self.link.is_closing()
            && self.vol(v).is_some_and(|volume| {
                volume.state.conn >= ConnState::Connected
                    && volume.state.pdsk == DiskState::UpToDate
            })
    }
}

/// A Primary that has no usable data, here or there.
pub(crate) fn is_without_data(s: &State) -> bool {
    s.role == Role::Primary && s.disk < DiskState::UpToDate && s.pdsk < DiskState::UpToDate
}
