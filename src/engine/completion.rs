// SPDX-License-Identifier: GPL-2.0

//! How a request of the application ends: its parts, its epoch, and what a lost connection leaves of it (wire protocol,
//! sections 4.3 to 4.5).

use crate::effects::{Act, AppSlot, Effects, Millis, Outcome, VolumeIndex};
use crate::memory::Memory;
use crate::request::{AppOp, AppRequest, Part};
use crate::resource::Resource;
use crate::volume::Volume;
use crate::wire::{ConnState, DiskState};

impl<M: Memory> Resource<M> {
    /// The local TCP stack has the data of a write (protocol A).
    pub fn app_sent(&mut self, now: Millis, slot: AppSlot, fx: &mut dyn Effects) {
        self.now = now;
        self.remote_done(slot, true, fx);
    }

    /// The lower disk does not do what was asked for (discard, zeroes), and has done nothing.
    pub fn app_local_refused(&mut self, now: Millis, slot: AppSlot, fx: &mut dyn Effects) {
        self.now = now;
        if self.is_late_completion(slot, fx) {
            return;
        }
        let may_refuse =
            |request: &AppRequest| matches!(request.io.op, AppOp::Discard | AppOp::Zeroes { .. });
        let end = match self.app.get(slot).is_some_and(may_refuse) {
            true => Part::Refused,
            false => Part::Failed,
        };
        self.end_local_part(slot, end, fx);
    }

    /// The lower disk has finished with a request.
    pub fn app_local_done(&mut self, now: Millis, slot: AppSlot, ok: bool, fx: &mut dyn Effects) {
        self.now = now;
        if self.is_late_completion(slot, fx) {
            return;
        }
        let ok = ok || crate::mutants::is_active(17);
        self.end_local_part(slot, if ok { Part::Ok } else { Part::Failed }, fx);
    }

    fn end_local_part(&mut self, slot: AppSlot, end: Part, fx: &mut dyn Effects) {
        let Some(request) = self.app.get_mut(slot) else {
            return;
        };
        if request.local != Part::Pending {
            return;
        }
        request.local = end;
        request.alone &= end == Part::Ok;
        let (v, op, range) = (request.volume, request.io.op, request.io.range);
        self.local_part_ended(v);
        let failed = end == Part::Failed;
        if failed {
            if op != AppOp::Flush {
                self.vol_mut(v).map(|volume| volume.mark(&range));
            }
            let lacks = op != AppOp::Read;
            self.disk_failed(v, "an I/O error on the lower disk", lacks, fx);
        }
        if failed && op == AppOp::Read && self.peer_can_read(v) {
            self.read_from_peer(slot, fx);
        }
        self.settle(slot, fx);
        self.resume_held(v, fx);
        self.disk_operation_ended(v, fx);
    }

    /// The remote part of a request is finished.
    pub(crate) fn remote_done(&mut self, slot: AppSlot, ok: bool, fx: &mut dyn Effects) {
        let Some(request) = self.app.get_mut(slot) else {
            return;
        };
        if request.remote != Part::Pending {
            return;
        }
        request.remote = if ok { Part::Ok } else { Part::Failed };
        let (v, range, write) = (request.volume, request.io.range, request.is_write());
        let flush = request.io.op == AppOp::Flush;
        if let Some(volume) = self.vol_mut(v) {
            if !flush {
                volume.counters.peer_pending = volume.counters.peer_pending.saturating_sub(1);
            }
            if write && !ok && !crate::mutants::is_active(16) {
                volume.mark(&range);
            }
        }
        self.settle(slot, fx);
    }

    /// The peer has refused a write. That its disk is gone it says on the other stream: before that nothing on the own disk tells that
    /// only this node has the write, and it is not done.
    pub(crate) fn remote_refused(&mut self, v: VolumeIndex, slot: AppSlot, fx: &mut dyn Effects) {
        let unaware = |volume: &Volume<M>| {
            volume.state.conn >= ConnState::Connected && volume.state.pdsk == DiskState::UpToDate
        };
        match (self.vol(v).is_some_and(unaware), self.app.get_mut(slot)) {
            (true, Some(request)) if !request.disk_gone => request.refused = true,
            _ => self.remote_done(slot, false, fx),
        }
    }

    /// The peer has said what became of the disk that refused writes.
    pub(crate) fn end_refused(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let mut at = self.app.first();
        while let Some(slot) = at {
            at = self.app.after(slot);
            let refused = |request: &AppRequest| request.volume == v && request.refused;
            if self.app.get(slot).is_some_and(refused) {
                self.remote_done(slot, false, fx);
            }
        }
    }

    /// Completes a request whose parts are finished, and frees its slot when nothing needs it any more.
    pub(crate) fn settle(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let Some(request) = self.app.get(slot) else {
            return;
        };
        let (v, io, done) = (request.volume, request.io, request.done);
        let (local, remote) = (request.local, request.remote);
        let write = request.is_write();
        let (epoch, in_sync) = (request.epoch, request.in_sync);
        if local == Part::Pending || remote == Part::Pending || request.parked {
            return;
        }
        if remote == Part::Later && local != Part::Refused {
            return self.start_remote_late(slot, fx);
        }
        let safe = local == Part::Ok && self.vol(v).is_some_and(Volume::counts_own_writes);
        // Under protocol A and B the remote part may end before the peer's disk has the write. Without the own disk, only that counts.
        let only_copy = write && !safe && !request.until_written;
        if let (true, false, Some(epoch)) = (only_copy, done, epoch) {
            if epoch == self.sending.current {
                self.close_epoch(fx);
            }
            return;
        }
        // Whether a lost connection may be survived depends on what is in the superblock.
        if !done && write && self.vol(v).is_some_and(Volume::waits_for_metadata) {
            return;
        }
        let ok = match io.op {
            AppOp::Flush => local != Part::Failed || remote == Part::Ok,
            _ if write => safe || remote == Part::Ok,
            _ => local == Part::Ok || remote == Part::Ok,
        };
        let kept = |volume: &Volume<M>| Self::is_kept(volume, request, ok);
        if !done && self.vol(v).is_some_and(kept) {
            return;
        }
        let (abandoned, alone) = (request.abandoned, request.alone);
        if !done {
            if write && in_sync && local == Part::Ok {
                self.vol_mut(v).map(|volume| volume.unmark(&io.range));
            }
            if write && local == Part::Failed {
                if let Some(volume) = self.vol_mut(v) {
                    volume.mark(&io.range);
                    volume.remote_only |= remote == Part::Ok;
                }
            }
            let outcome = match (ok, local) {
                (true, _) => Outcome::Ok,
                (false, Part::Refused) => Outcome::Unsupported,
                (false, _) => Outcome::Error,
            };
            if let Some(request) = self.app.get_mut(slot) {
                request.done = true;
            }
            if let Some(volume) = self.vol_mut(v) {
                volume.counters.app_pending = volume.counters.app_pending.saturating_sub(1);
            }
            if !alone {
                fx.act(Act::CompleteApp { slot, outcome });
            }
            // What the application does next may depend on this write.
            if write && epoch == Some(self.sending.current) {
                self.close_epoch(fx);
            }
            fx.act(Act::Wake);
        }
        let remembered = self
            .app
            .get(slot)
            .is_some_and(|request| write && request.epoch.is_some());
        if !remembered && !abandoned {
            self.forget(slot, fx);
        }
    }

    /// Frees the slot of a request that is finished everywhere.
    fn forget(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let Some(mut request) = self.app.remove(slot) else {
            return;
        };
        self.dismiss(request.volume, &mut request.hold, &request.io.range);
        let refused = self
            .vol_mut(request.volume)
            .and_then(Volume::log_in_use)
            .is_some_and(|log| log.has_refused());
        if refused {
            self.resume_parked(fx);
        }
        self.idle_check(fx);
    }

    /// Ends a request that was accepted and cannot be carried out.
    pub(crate) fn refuse(&mut self, slot: AppSlot, outcome: Outcome, fx: &mut dyn Effects) {
        let Some(request) = self.app.get_mut(slot) else {
            return;
        };
        request.done = true;
        let v = request.volume;
        if let Some(volume) = self.vol_mut(v) {
            volume.counters.app_pending = volume.counters.app_pending.saturating_sub(1);
        }
        fx.act(Act::CompleteApp { slot, outcome });
        self.forget(slot, fx);
        self.resume_held(v, fx);
        fx.act(Act::Wake);
    }

    /// The peer has completed all writes of an epoch.
    pub(crate) fn epoch_done(&mut self, number: u32, fx: &mut dyn Effects) {
        let mut at = self.app.first();
        while let Some(slot) = at {
            at = self.app.after(slot);
            let Some(request) = self.app.get_mut(slot) else {
                continue;
            };
            let Some(epoch) = request.epoch else { continue };
            // Epochs are acknowledged in order; a flush waits for all that were closed before it.
            if (number.wrapping_sub(epoch) as i32) < 0 {
                continue;
            }
            request.epoch = None;
            match request.io.op {
                AppOp::Flush => self.remote_done(slot, true, fx),
                _ => self.settle(slot, fx),
            }
        }
        fx.act(Act::Wake);
    }

    /// Settles every request after something that held them back is over.
    pub(crate) fn settle_all(&mut self, fx: &mut dyn Effects) {
        let mut at = self.app.first();
        while let Some(slot) = at {
            at = self.app.after(slot);
            self.settle(slot, fx);
        }
    }

    /// Ends the remote part of every request: the connection is gone. Blocks of writes whose fate at the peer is unknown are
    /// marked.
    pub(crate) fn forget_remote_parts(&mut self, fx: &mut dyn Effects) {
        if crate::mutants::is_active(35) {
            return;
        }
        let mut at = self.app.first();
        while let Some(slot) = at {
            at = self.app.after(slot);
            let Some(request) = self.app.get_mut(slot) else {
                continue;
            };
            let (v, io) = (request.volume, request.io);
            let was_sent = request.epoch.take().is_some();
            // Said of a disk that may have lost it since: the mark below must stay.
            request.in_sync = false;
            // It was on its way.
            if was_sent && !request.until_written && request.remote == Part::Ok {
                request.remote = Part::Failed;
            }
            let pending = request.remote == Part::Pending;
            let write = request.is_write();
            if write && (was_sent || pending) && !crate::mutants::is_active(25) {
                self.vol_mut(v).map(|volume| volume.mark(&io.range));
            }
            if pending && io.op == AppOp::Read {
                self.reread_locally(slot, v, fx);
            } else if pending {
                // A flush has nothing to wait for any more: the local disk is what counts now.
                self.remote_done(slot, io.op == AppOp::Flush, fx);
            }
            self.settle(slot, fx);
        }
    }

    /// The peer's disk goes. What it refuses of the writes that were sent to it before, it says on the other stream, and perhaps after
    /// its next disk has got the bitmap: blocks that are marked so late are not copied. So all of them are marked now.
    pub(crate) fn mark_unacknowledged(&mut self, v: VolumeIndex) {
        let mut at = self.app.first();
        while let Some(slot) = at {
            at = self.app.after(slot);
            let sent = |request: &&mut AppRequest| {
                let unclear = request.remote == Part::Pending || request.epoch.is_some();
                request.volume == v && request.is_write() && unclear
            };
            if let Some(request) = self.app.get_mut(slot).filter(sent) {
                request.disk_gone = true;
                let range = request.io.range;
                self.vol_mut(v).map(|volume| volume.mark(&range));
            }
        }
    }

    fn reread_locally(&mut self, slot: AppSlot, v: VolumeIndex, fx: &mut dyn Effects) {
        let usable = self
            .vol(v)
            .is_some_and(|volume| volume.state.disk == DiskState::UpToDate);
        let untried = self
            .app
            .get(slot)
            .is_some_and(|request| request.local == Part::None);
        self.remote_done_quietly(slot);
        if usable && untried {
            self.submit_local(slot, fx);
        }
    }

    fn remote_done_quietly(&mut self, slot: AppSlot) {
        let Some(request) = self.app.get_mut(slot) else {
            return;
        };
        request.remote = Part::Failed;
        let v = request.volume;
        if let Some(volume) = self.vol_mut(v) {
            volume.counters.peer_pending = volume.counters.peer_pending.saturating_sub(1);
        }
    }
}
