// SPDX-License-Identifier: GPL-2.0

//! Handlers: programs of the administrator that the module runs when something happens (administration, section 10).
//!
//! The engine asks for one by `Act::RunHandler` and goes on; the shell runs it without a lock and gives the exit code back by
//! [`Resource::handler_done`]. A handler may never end, or end long after what it was called for is over.

use crate::effects::{Act, Effects, Millis, VolumeIndex};
use crate::fencing::Fencing;
use crate::memory::Memory;
use crate::resource::Resource;
use crate::state::{is_source, is_target};
use crate::wire::{ConnState, DiskState, State};

/// A handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// Make sure that the peer does not go on alone.
    FencePeer,
    /// The peer is in sync again.
    UnfencePeer,
    /// This node is about to become the target of a resync.
    BeforeResyncTarget,
    /// This node was the target of a resync, which is complete.
    AfterResyncTarget,
    /// A split brain that no policy resolves.
    SplitBrain,
    /// A split brain, before any policy.
    InitialSplitBrain,
    /// The data of this Primary lost against the peer's.
    PrimaryLostAfterSplitBrain,
    /// This Primary has no usable data any more.
    PrimaryDegraded,
    /// The lower disk failed.
    LocalIoError,
}

impl Handler {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FencePeer => "fence-peer",
            Self::UnfencePeer => "unfence-peer",
            Self::BeforeResyncTarget => "before-resync-target",
            Self::AfterResyncTarget => "after-resync-target",
            Self::SplitBrain => "split-brain",
            Self::InitialSplitBrain => "initial-split-brain",
            Self::PrimaryLostAfterSplitBrain => "pri-lost-after-sb",
            Self::PrimaryDegraded => "pri-on-incon-degr",
            Self::LocalIoError => "local-io-error",
        }
    }

    /// Whether it is about the whole resource, not about one volume.
    pub const fn of_resource(self) -> bool {
        matches!(self, Self::FencePeer | Self::UnfencePeer)
    }
}

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerEnd {
    /// With this exit code.
    Exited(u8),
    /// By a signal, or it could not be started.
    Broken,
}

impl<M: Memory> Resource<M> {
    /// Has a handler run about a volume.
    pub(crate) fn call_handler(&self, v: VolumeIndex, handler: Handler, fx: &mut dyn Effects) {
        fx.act(Act::RunHandler { volume: v, handler });
    }

    /// Calls what is to be called at the end of a complete resync.
    pub(crate) fn call_after_resync(
        &mut self,
        v: VolumeIndex,
        old: &State,
        new: &State,
        fx: &mut dyn Effects,
    ) {
        let in_sync = |s: &State| {
            s.conn == ConnState::Connected
                && s.disk == DiskState::UpToDate
                && s.pdsk == DiskState::UpToDate
        };
        if !in_sync(new) {
            return;
        }
        if is_target(old.conn) {
            self.call_handler(v, Handler::AfterResyncTarget, fx);
        }
        let all = self
            .volumes
            .iter()
            .flatten()
            .all(|volume| in_sync(&volume.state));
        if is_source(old.conn) && all && self.fencing() > Fencing::DontCare {
            self.call_handler(v, Handler::UnfencePeer, fx);
        }
    }

    /// A handler has ended. `v` is what `Act::RunHandler` named.
    pub fn handler_done(
        &mut self,
        now: Millis,
        v: VolumeIndex,
        handler: Handler,
        end: HandlerEnd,
        fx: &mut dyn Effects,
    ) {
        self.now = now;
        match handler {
            Handler::FencePeer => self.fence_done(end, fx),
            Handler::LocalIoError => self.local_io_error_handled(v, fx),
            _ => (),
        }
    }
}
