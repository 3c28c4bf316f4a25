// SPDX-License-Identifier: GPL-2.0

//! Fencing: what a Primary, or a node that is about to become one, does about a peer that it has lost (wire protocol, sections 7.5,
//! 7.8 and 9.3; administration, section 10).
//!
//! The handler `fence-peer` runs at most once at a time. Its answer counts only for the outage that it was called for: if the
//! nodes have met meanwhile, whatever it did is history.

use crate::effects::{Effects, VolumeIndex};
use crate::handler::{Handler, HandlerEnd};
use crate::memory::Memory;
use crate::resource::Resource;
use crate::volume::Volume;
use crate::wire::{ConnState as C, DiskState as D, Role, State, StateChange};

/// The option `fencing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fencing {
    /// Nothing.
    #[default]
    DontCare,
    /// Have the peer's data outdated.
    ResourceOnly,
    /// The same, and hold all I/O until that has happened.
    ResourceAndStonith,
}

/// What the handler is doing.
#[derive(Default)]
pub(crate) struct Fence {
    running: bool,
    /// It has to be called (again).
    wanted: bool,
    /// How often the nodes have met.
    meetings: u32,
    /// `meetings` when it was called.
    called_at: u32,
    /// Its answer, for the request of the administrator that waits for it.
    pub(crate) answer: Option<HandlerEnd>,
    /// What the peer was asked for in order to disconnect.
    pub(crate) asked: Option<StateChange>,
}

impl<M: Memory> Resource<M> {
    /// The strictest policy of any disk.
    pub(crate) fn fencing(&self) -> Fencing {
        self.volumes
            .iter()
            .flatten()
            .filter_map(|volume| volume.disk.as_ref())
            .map(|disk| disk.options.fencing)
            .max()
            .unwrap_or_default()
    }

    /// Takes note of a peer that is lost, or met again.
    pub(crate) fn watch_peer(&mut self, old: &State, new: &State) {
        let (was, is) = (old.conn >= C::Connected, new.conn >= C::Connected);
        if !was && is {
            self.fence.meetings = self.fence.meetings.wrapping_add(1);
            self.fence.wanted = false;
        }
        if was && !is && new.role == Role::Primary && new.pdsk > D::Outdated {
            self.fence.wanted |= self.fencing() > Fencing::DontCare;
        }
    }

    /// Calls the handler if the peer was lost, or I/O waits for an answer that was not usable.
    pub(crate) fn fence_if_wanted(&mut self, fx: &mut dyn Effects) {
        let frozen = |volume: &Volume<M>| volume.state.susp_fen;
        if self.fence.wanted || self.volumes.iter().flatten().any(frozen) {
            self.call_fence(fx);
        }
    }

    /// Calls the handler; if it runs for an earlier outage, when that call has ended.
    pub(crate) fn call_fence(&mut self, fx: &mut dyn Effects) {
        let fence = &mut self.fence;
        if fence.running {
            fence.wanted = fence.called_at != fence.meetings;
            return;
        }
        fence.running = true;
        fence.wanted = false;
        fence.called_at = fence.meetings;
        // The handler is about the resource: any volume names it.
        let volume = self.volumes().next().unwrap_or(0);
        self.call_handler(volume, Handler::FencePeer, fx);
    }

    /// The handler has ended.
    pub(crate) fn fence_done(&mut self, end: HandlerEnd, fx: &mut dyn Effects) {
        self.fence.running = false;
        let meeting = self
            .volumes
            .iter()
            .flatten()
            .any(|volume| volume.state.conn >= C::WFReportParams);
        let timely = !meeting && self.fence.called_at == self.fence.meetings;
        if timely {
            self.for_each_volume(|this, v| this.take_answer(v, end, fx));
        }
        self.fence.answer = Some(end);
        if !meeting && core::mem::take(&mut self.fence.wanted) {
            self.call_fence(fx);
        }
        self.admin_fenced(fx);
    }

    fn take_answer(&mut self, v: VolumeIndex, end: HandlerEnd, fx: &mut dyn Effects) {
        let HandlerEnd::Exited(code) = end else {
            return;
        };
        let Some(old) = self.vol(v).map(|volume| volume.state) else {
            return;
        };
        let mut new = old;
        match code {
            3 => new.pdsk = old.pdsk.min(D::Inconsistent),
            4 | 7 => new.pdsk = old.pdsk.min(D::Outdated),
            5 if old.disk == D::UpToDate => new.pdsk = old.pdsk.min(D::Outdated),
            6 if old.role != Role::Primary && old.disk > D::Outdated => new.disk = D::Outdated,
            _ => return,
        }
        self.change(v, new, "the fence-peer handler", fx);
    }

    /// Whether a Primary may not go on, or be made, without fencing the peer.
    pub(crate) fn must_fence(&self, v: VolumeIndex) -> bool {
        self.fencing() > Fencing::DontCare
            && self.vol(v).is_some_and(|volume| {
                volume.state.conn < C::Connected && volume.state.pdsk > D::Outdated
            })
    }

    /// Whether a disconnect would leave a Primary alone with a peer that may go on.
    pub(crate) fn disconnect_needs_outdated_peer(&self) -> bool {
        let primary = |volume: &Volume<M>| volume.primary() && volume.state.pdsk > D::Outdated;
        self.fencing() > Fencing::DontCare && self.volumes.iter().flatten().any(primary)
    }

    /// The peer agreed to disconnect: notes what becomes of the disks when the connection is gone.
    pub(crate) fn note_outdated(&mut self, change: &StateChange) {
        for volume in self.volumes.iter_mut().flatten() {
            if change.pdsk == Some(D::Outdated) && volume.state.pdsk > D::Outdated {
                volume.trouble.outdate_peer = true;
            }
            if change.disk == Some(D::Outdated)
                && volume.state.disk > D::Outdated
                && !volume.primary()
            {
                volume.outdate_when_lost = true;
            }
        }
    }
}
