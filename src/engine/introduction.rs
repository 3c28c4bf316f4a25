// SPDX-License-Identifier: GPL-2.0

//! What a node says of a volume when two nodes meet, and that it stands by that (wire protocol, sections 3.1, 3.10 and 8.4).
//!
//! Each node decides on what the other one has told. They come to mirrored results only if each takes its own side, too, as it has told
//! it, and not as it has become since. So a node decides when it has told its side, and not before: that may have to wait for its
//! metadata. If its data have become others after that, the nodes meet again.

use crate::effects::{Act, Effects, Notice, Payload, VolumeIndex};
use crate::generation::{Generation, IDENTITY};
use crate::link::LinkFailure;
use crate::memory::Memory;
use crate::resource::Resource;
use crate::resync::sync_param;
use crate::volume::{Announcement, Volume};
use crate::wire::{ConnState as C, DiskState as D, Packet, Role, Socket, State};

/// What one node brings to a meeting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) generation: Generation,
    pub(crate) crashed_primary: bool,
    /// Set bits of the bitmap.
    pub(crate) dirty: u64,
    pub(crate) discard_my_data: bool,
    pub(crate) role: Role,
    /// While the disk is Negotiating, the state that it would have.
    pub(crate) disk: D,
}

impl Side {
    pub(crate) const NOTHING: Self = Self {
        generation: Generation {
            current: 0,
            bitmap: 0,
            history: [0, 0],
        },
        crashed_primary: false,
        dirty: 0,
        discard_my_data: false,
        role: Role::Secondary,
        disk: D::Diskless,
    };

    /// Whether the data are still those of which `told` was said.
    fn has_the_data_of(&self, told: &Self) -> bool {
        let (now, then) = (&self.generation, &told.generation);
        self.disk == told.disk
            && now.current & IDENTITY == then.current & IDENTITY
            && now.bitmap == then.bitmap
            && now.history == then.history
    }
}

impl<M: Memory> Volume<M> {
    /// This node's side as it is.
    fn side(&self) -> Side {
        Side {
            generation: self.generation,
            crashed_primary: self.crashed_primary,
            dirty: self.out_of_sync(),
            discard_my_data: self.discard_my_data,
            role: self.state.role,
            disk: self.own_disk(&self.state),
        }
    }

    fn own_disk(&self, state: &State) -> D {
        match state.disk {
            D::Negotiating => self.after_attach,
            disk => disk,
        }
    }

    /// This node's side in a meeting now: what the peer has been told at the beginning of the connection or of the attach. In any other
    /// one, the peer is told the side that was decided on.
    pub(crate) fn side_in_meeting(&self) -> Side {
        let bound = self.state.conn == C::WFReportParams || self.state.disk == D::Negotiating;
        match bound {
            true => self.told,
            false => self.side(),
        }
    }

    /// The peer is told these identifiers now.
    pub(crate) fn tells_uuids(&mut self) {
        self.told = Side {
            role: self.told.role,
            disk: self.told.disk,
            ..self.side()
        };
    }

    /// The peer is told this state now.
    pub(crate) fn tells_state(&mut self, state: &State) {
        self.told.role = state.role;
        self.told.disk = self.own_disk(state);
    }

    /// Something of what this node decides on has not been told yet.
    fn is_still_to_tell(&self) -> bool {
        match self.state.conn {
            C::WFReportParams => !self.introduced,
            _ => self.state.disk == D::Negotiating && !self.announcements.is_empty(),
        }
    }

    /// The state that the peer is told first.
    pub(crate) fn introduction(&mut self) -> State {
        self.introduced = true;
        State {
            conn: C::WFConnection,
            ..self.state
        }
    }
}

impl<M: Memory> Resource<M> {
    /// Sends the handshake packets of a volume (section 3.1, step 8).
    pub(crate) fn introduce_volume(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let discard = self.net.is_some_and(|net| net.discard_my_data);
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.sent_seq = 0;
        volume.peer_generation = None;
        volume.is_answered = true;
        volume.introduced = false;
        volume.early_state = None;
        volume.announcements.clear();
        volume.discard_my_data = discard;
        volume.counters.sent = 0;
        volume.counters.received = 0;
        let state = volume.state;
        let packet = Packet::SyncParam(sync_param(volume));
        self.send(Some(v), Socket::Data, &packet, Payload::None, fx);
        for what in [
            Announcement::Sizes,
            Announcement::Uuids,
            Announcement::Introduction,
        ] {
            self.announce(v, what, fx);
        }
        if self.link.conn == C::WFReportParams {
            let conn = C::WFReportParams;
            self.change(v, State { conn, ..state }, "volume added", fx);
        }
    }

    /// Whether a state of the peer must wait until this node has told its own side; it is kept, and nothing more is read from the data
    /// stream.
    pub(crate) fn waits_for_introduction(&mut self, v: VolumeIndex, state: &State) -> bool {
        let waits = self.vol(v).is_some_and(Volume::is_still_to_tell);
        if let Some(volume) = self.vol_mut(v).filter(|_| waits) {
            volume.early_state = Some(*state);
        }
        waits
    }

    /// Whether a state of the peer is kept until this node has told its own side.
    pub(crate) fn keeps_peer_state(&self) -> bool {
        let keeps = |volume: &Volume<M>| volume.early_state.is_some();
        self.volumes.iter().flatten().any(keeps)
    }

    /// The peer's state that came too early, if its time has come.
    pub(crate) fn meet_early_state(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let early = self
            .vol_mut(v)
            .filter(|volume| !volume.is_still_to_tell())
            .and_then(|volume| volume.early_state.take());
        if let Some(state) = early {
            self.state_received(v, &state, fx);
            fx.act(Act::Wake);
        }
    }

    /// Whether this node is no more what it has told of itself, so that the peer decides on something that is no more true. The
    /// connection ends, and the next one begins with what is.
    pub(crate) fn breaks_its_word(&mut self, v: VolumeIndex, fx: &mut dyn Effects) -> bool {
        let broken = self.vol(v).is_some_and(|volume| {
            volume.state.conn == C::WFReportParams && !volume.side().has_the_data_of(&volume.told)
        });
        if broken {
            fx.act(Act::Notice(Notice::Peer(
                "the data have changed since the peer was told of them: the nodes meet again",
            )));
            self.fail_link(LinkFailure::NetworkFailure, fx);
        }
        broken
    }
}
