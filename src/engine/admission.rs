// SPDX-License-Identifier: GPL-2.0

//! When an accepted write may run: not before its extents are in the activity log on stable storage (metadata, section 3.5).
//!
//! A write of the application that cannot run yet is *parked*: it has its slot, holds the references that it could get, and is
//! started by the engine. The order of arrival decides who gets a slot of the log next, so that a request with many extents is not
//! passed for ever by small ones. All that wait when a transaction begins are served by it.

use crate::activity_log::{Access, ActivityLog, Hold, LogStep};
use crate::effects::{Act, AppSlot, Effects, Millis, PeerSlot, VolumeIndex};
use crate::memory::Memory;
use crate::peer_request::Kind;
use crate::resource::Resource;
use crate::volume::Volume;
use crate::wire::{DiskState, Range};

impl<M: Memory> Resource<M> {
    /// References for a write of the application. True: it may run.
    pub(crate) fn admit(
        &mut self,
        v: VolumeIndex,
        hold: &mut Hold,
        range: &Range,
        fx: &mut dyn Effects,
    ) -> bool {
        let Some(log) = self.vol_mut(v).and_then(Volume::log_in_use) else {
            return true;
        };
        let granted = log.acquire(hold, range) == Access::Granted;
        self.write_log(v, fx);
        granted
    }

    /// Gives the references of a write back.
    pub(crate) fn dismiss(&mut self, v: VolumeIndex, hold: &mut Hold, range: &Range) {
        let disk = self.vol_mut(v).and_then(|volume| volume.disk.as_mut());
        if let Some(log) = disk.and_then(|disk| disk.log.as_mut()) {
            log.give_back(hold, range);
        }
    }

    /// Whether a write of the peer needs the log of this node: while the peer has no disk, this one is the only copy.
    pub(crate) fn peer_write_is_logged(&self, v: VolumeIndex) -> bool {
        self.vol(v)
            .is_some_and(|volume| volume.has_disk() && volume.state.pdsk < DiskState::Inconsistent)
    }

    /// References for a write of the peer. True: it may run.
    pub(crate) fn admit_peer(&mut self, slot: PeerSlot, fx: &mut dyn Effects) -> bool {
        let Some(request) = self.peer.get(slot) else {
            return true;
        };
        if request.kind != Kind::Write || !request.logged {
            return true;
        }
        let (v, range, mut hold) = (request.volume, request.range, request.hold);
        // Nothing more is read from the peer while one waits, so there is no line.
        self.begin_line(v);
        let granted = self.admit(v, &mut hold, &range, fx);
        if let Some(request) = self.peer.get_mut(slot) {
            request.hold = hold;
        }
        granted
    }

    /// The next step of writing a transaction, see [`LogStep`]. `block` has 4096 bytes; at most `max` pages are wanted at once.
    pub fn log_step(&mut self, v: VolumeIndex, max: u32, block: &mut [u8]) -> LogStep {
        let Some(disk) = self.vol_mut(v).and_then(|volume| volume.disk.as_mut()) else {
            return LogStep::Nothing;
        };
        let (bitmap, Some(log)) = (&mut disk.bitmap, disk.log.as_mut()) else {
            return LogStep::Nothing;
        };
        log.step(|extent| bitmap.take_around(extent, max), block)
            .unwrap_or(LogStep::Nothing)
    }

    /// The transaction is on stable storage, or could not be written.
    pub fn log_written(&mut self, now: Millis, v: VolumeIndex, ok: bool, fx: &mut dyn Effects) {
        self.now = now;
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.counters.activity_log += 1;
        let Some(disk) = &mut volume.disk else { return };
        let Some(log) = &mut disk.log else { return };
        if ok {
            log.commit();
        } else {
            log.abort();
            disk.bitmap.touch_all();
            self.give_up_disk(v, "the activity log cannot be written", fx);
        }
        self.resume_parked(fx);
        self.resume_held(v, fx);
        self.write_log(v, fx);
        self.disk_operation_ended(v, fx);
        fx.act(Act::Wake);
    }

    /// Has the changes of the log written that nobody writes yet.
    fn write_log(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        if let Some(log) = self.vol_mut(v).and_then(Volume::log_in_use) {
            if log.start_writing() {
                fx.act(Act::WriteLog { volume: v });
            }
        }
    }

    /// Whether anybody waits for requests of the application to end: a request of the administrator, or a parked write.
    pub fn awaits_requests(&self) -> bool {
        let parked = |volume: &Volume<M>| volume.parked > 0;
        self.admin.is_some() || self.volumes.iter().flatten().any(parked)
    }

    /// Whoever asks the log next is the first in line.
    pub(crate) fn begin_line(&mut self, v: VolumeIndex) {
        if let Some(log) = self.vol_mut(v).and_then(Volume::log_in_use) {
            log.begin_line();
        }
    }

    /// Starts the parked writes that may run now.
    pub(crate) fn resume_parked(&mut self, fx: &mut dyn Effects) {
        if self.resuming != Resuming::No {
            // What ends while others are started may let more of them run: another round, not a deeper one.
            self.resuming = Resuming::Again;
            return;
        }
        loop {
            self.resuming = Resuming::Once;
            self.for_each_volume(|this, v| {
                if this.vol(v).is_some_and(|volume| volume.parked > 0) {
                    this.resume_parked_of(v, fx);
                }
            });
            if self.resuming == Resuming::Once {
                break;
            }
        }
        self.resuming = Resuming::No;
    }

    fn resume_parked_of(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        self.begin_line(v);
        let mut at = self.app.first();
        while let Some(slot) = at {
            let parked = self
                .app
                .get(slot)
                .is_some_and(|request| request.volume == v && request.parked);
            at = self.app.after(slot);
            if parked {
                self.resume_one(slot, fx);
            }
        }
    }

    fn resume_one(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let Some(request) = self.app.get(slot) else {
            return;
        };
        let (v, io, mut hold) = (request.volume, request.io, request.hold);
        let admitted = self.admit(v, &mut hold, &io.range, fx);
        let ready = admitted
            && self
                .vol(v)
                .is_some_and(|volume| !self.is_in_transition(volume, &io));
        if let Some(request) = self.app.get_mut(slot) {
            request.hold = hold;
            request.parked = !ready;
        }
        if ready {
            if let Some(volume) = self.vol_mut(v) {
                volume.parked = volume.parked.saturating_sub(1);
            }
            self.start_write(slot, fx);
        }
    }
}

/// Whether parked writes are being started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Resuming {
    #[default]
    No,
    Once,
    /// And once more after that.
    Again,
}

impl<M: Memory> Volume<M> {
    /// The activity log, if there is one and writes go to the disk.
    pub(crate) fn log_in_use(&mut self) -> Option<&mut ActivityLog<M>> {
        match self.has_disk() {
            true => self.disk.as_mut()?.log.as_mut(),
            false => None,
        }
    }
}
