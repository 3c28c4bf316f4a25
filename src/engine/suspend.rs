// SPDX-License-Identifier: GPL-2.0

//! Suspended I/O: by the administrator, for lack of data, and while the peer is being fenced (wire protocol, section 7.7, rule 6;
//! administration, section 4.10).
//!
//! New requests wait outside. Those under way when data or peer were lost are kept: they neither complete nor fail until it is
//! clear what they may rely on. Then a write that the own disk has completes, with its blocks marked for the next resync, and
//! what nobody has is done again. The reference sends such writes again instead; marked blocks come to the same, and also when the
//! peer was restarted and has lost what it had not flushed.

use crate::effects::{Act, AppSlot, Effects, VolumeIndex};
use crate::fencing::Fencing;
use crate::io_error::is_without_data;
use crate::memory::Memory;
use crate::request::{AppOp, AppRequest, Part};
use crate::resource::Resource;
use crate::volume::{Announcement, Volume};
use crate::wire::{ConnState as C, DiskState as D, Role, State};

impl<M: Memory> Resource<M> {
    /// Tells what becomes of requests when no data are left: they wait (`true`), or fail.
    pub fn set_no_data_suspends(&mut self, suspend: bool) {
        self.no_data_suspends = suspend;
    }

    /// Adds to a new state what holds I/O, and takes away what does not any more.
    pub(crate) fn hold_or_thaw(&self, old: &State, mut new: State) -> State {
        if !is_without_data(&new) {
            new.susp_nod = false;
        } else if self.no_data_suspends && !is_without_data(old) {
            new.susp_nod = true;
        }
        let primary = new.role == Role::Primary;
        let lost = old.conn >= C::Connected && new.conn < C::Connected && new.pdsk > D::Outdated;
        if !primary || new.conn >= C::Connected || new.pdsk <= D::Outdated {
            new.susp_fen = false;
        } else if lost && self.fencing() == Fencing::ResourceAndStonith {
            new.susp_fen = true;
        }
        new
    }

    /// Whether the end of a request has to wait; `ok` is how it would end.
    pub(crate) fn is_kept(volume: &Volume<M>, request: &AppRequest, ok: bool) -> bool {
        let frozen = volume.state.susp_nod || volume.state.susp_fen;
        match request.io.op {
            AppOp::Read => frozen && !ok,
            // Without the new current UUID nothing would tell that the peer does not have it.
            _ => frozen || volume.trouble.mint,
        }
    }

    /// Lets I/O go on if a change of state has ended the last reason to hold it.
    pub(crate) fn thaw(&mut self, v: VolumeIndex, old: &State, fx: &mut dyn Effects) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let state = volume.state;
        if !old.is_suspended() || state.is_suspended() {
            return;
        }
        let mint = core::mem::take(&mut volume.trouble.mint)
            && volume.generation.bitmap == 0
            && state.disk == D::UpToDate;
        if mint {
            self.mint(v, fx);
            if state.conn >= C::Connected {
                self.announce(v, Announcement::Uuids, fx);
            }
        }
        let mut at = self.app.first();
        while let Some(slot) = at {
            at = self.app.after(slot);
            let idle = |request: &AppRequest| {
                request.volume == v
                    && !request.done
                    && !request.parked
                    && request.local != Part::Pending
                    && request.remote != Part::Pending
            };
            let Some(request) = self.app.get(slot).filter(|request| idle(request)) else {
                continue;
            };
            if request.local != Part::Ok && request.remote != Part::Ok {
                self.do_again(slot, fx);
            }
            self.settle(slot, fx);
        }
        self.resume_parked(fx);
        fx.act(Act::Wake);
    }

    /// The peer, or its disk, is back before the new current UUID was due: it is needed only if there are blocks that the peer does not have.
    pub(crate) fn mint_before_handshake(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        // Otherwise it stays due until the nodes have met: I/O may go on before.
        if volume.trouble.mint && volume.out_of_sync() > 0 {
            volume.trouble.mint = false;
            self.mint(v, fx);
        }
    }

    /// The peer, which was lost while I/O is suspended, has the same data as this node: no new current UUID is due.
    pub(crate) fn met_before_mint(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let met = |volume: &&mut Volume<M>| {
            volume.state.conn >= C::Connected && volume.state.pdsk >= D::Inconsistent
        };
        if let Some(volume) = self.vol_mut(v).filter(met) {
            if core::mem::take(&mut volume.trouble.mint) {
                self.settle_all(fx);
            }
        }
    }

    /// Begins a request anew whose parts have all failed.
    fn do_again(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let Some(request) = self.app.get_mut(slot).filter(|request| !request.abandoned) else {
            return;
        };
        request.local = Part::None;
        request.remote = Part::None;
        request.epoch = None;
        request.in_sync = false;
        self.start_again(slot, fx);
    }

    fn start_again(&mut self, slot: AppSlot, fx: &mut dyn Effects) {
        let Some((v, io)) = self
            .app
            .get(slot)
            .map(|request| (request.volume, request.io))
        else {
            return;
        };
        let has_disk = self.vol(v).is_some_and(Volume::has_disk);
        match io.op {
            AppOp::Read if self.vol(v).is_some_and(|volume| volume.can_read(&io.range)) => {
                self.submit_local(slot, fx)
            }
            AppOp::Read if self.peer_can_read(v) => self.read_from_peer(slot, fx),
            AppOp::Read => (),
            AppOp::Flush if has_disk => self.submit_local(slot, fx),
            AppOp::Flush => (),
            _ => self.park_again(v, slot),
        }
    }

    /// A write is admitted like a new one: the disk may be another one by now, and so may be its activity log.
    fn park_again(&mut self, v: VolumeIndex, slot: AppSlot) {
        if let Some(request) = self.app.get_mut(slot) {
            request.parked = true;
        }
        if let Some(volume) = self.vol_mut(v) {
            volume.parked += 1;
        }
    }

    /// Whether requests of the application wait for something else than the disk or the peer.
    pub(crate) fn app_is_held(&self, v: VolumeIndex) -> bool {
        self.app.iter().any(|(_, request)| {
            request.volume == v
                && !request.done
                && request.local != Part::Pending
                && request.remote != Part::Pending
        })
    }

    /// Whether requests of the application are under way, on the disk or on the wire.
    pub(crate) fn app_in_flight(&self, v: VolumeIndex) -> bool {
        self.app.iter().any(|(_, request)| {
            request.volume == v
                && (request.local == Part::Pending
                    || request.remote == Part::Pending
                    || request.epoch.is_some())
        })
    }
}
