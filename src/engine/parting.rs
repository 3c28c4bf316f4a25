// SPDX-License-Identifier: GPL-2.0

//! How a connection ends when the handshake finds that the two nodes do not fit together (wire protocol, sections 8.4 and 10.1).
//!
//! Each node decides for itself, from what the other one has said. So the first to decide sends all that it has to say, and gives the
//! other one time to decide, too, before it closes the streams; else a split brain would be known to one of them only, and the other
//! one would wait for a peer that does not come back.

use crate::effects::Act;
use crate::effects::{Effects, Millis, Payload};
use crate::memory::Memory;
use crate::resource::Resource;
use crate::volume::Volume;
use crate::wire::{ConnState, Socket};

/// The end of a connection whose handshake came to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parting {
    until: Millis,
    /// The last thing that the peer needs to decide alike is queued.
    queued: bool,
    /// It is sent.
    told: bool,
}

impl Parting {
    pub(crate) fn until(&self) -> Millis {
        self.until
    }

    pub(crate) fn told(&self) -> bool {
        self.told
    }
}

impl<M: Memory> Resource<M> {
    /// Ends the connection after a handshake that came to nothing. The peer decides for itself, as soon as it has this node's
    /// identifiers and state: they must not be lost to the closing of the streams, or only one of the two learns of a split brain.
    pub(crate) fn part(&mut self, fx: &mut dyn Effects) {
        if self.link.parting.is_some() {
            return;
        }
        let patience = self.net.unwrap_or_default().ping_timeout_ms;
        self.link.parting = Some(Parting {
            until: self.now.saturating_add(Millis::from(patience)),
            queued: false,
            told: false,
        });
        self.tell_before_parting(fx);
        fx.act(Act::Rearm);
    }

    /// Queues the end of what the peer is told, when nothing of it waits for metadata any more.
    pub(crate) fn tell_before_parting(&mut self, fx: &mut dyn Effects) {
        let waiting = |volume: &Volume<M>| !volume.announcements.is_empty();
        if self.volumes.iter().flatten().any(waiting) || !self.link.can_send() {
            return;
        }
        if let Some(parting) = self.link.parting.as_mut().filter(|parting| !parting.queued) {
            parting.queued = true;
            fx.send(Socket::Data, &[], Payload::Last);
        }
    }

    /// The last packet of the connection is sent.
    pub fn last_sent(&mut self, now: Millis, fx: &mut dyn Effects) {
        self.now = now;
        match &mut self.link.parting {
            Some(parting) => parting.told = true,
            None => self.end_link(ConnState::TearDown, true, fx),
        }
    }

    /// The peer had its time.
    pub(crate) fn parting_tick(&mut self, fx: &mut dyn Effects) {
        let now = self.now;
        let over = |parting: Parting| now >= parting.until;
        if self.link.can_send() && self.link.parting.is_some_and(over) {
            self.end_link(ConnState::Disconnecting, false, fx);
        }
    }
}
