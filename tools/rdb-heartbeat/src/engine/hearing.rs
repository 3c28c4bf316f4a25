// SPDX-License-Identifier: GPL-2.0

//! What is made of packets: who was heard, on which link, with what news (specification, sections 7
//! and 16).

use super::group::Phase;
use super::peer::{Fence, Link, Liveness, Novelty, Peer};
use super::types::{Effect, Level};
use super::{BAD_PACKET_PAUSE, BAD_SENDERS_MAX, Engine};
use crate::wire::{NodeStatus, Packet};
use std::time::Duration;

impl Engine {
    pub(super) fn packet(&mut self, now: Duration, link: &str, from: &str, packet: Packet) {
        if packet.source == self.settings.own {
            // Broadcast and multicast bring own packets back.
            if packet.generation != self.generation {
                let reason = format!("sent by another node with our own name `{}`", packet.source);
                self.bad_packet(now, link, from, &reason);
            }
            return;
        }
        let Some(at) = self.peers.iter().position(|p| p.name == packet.source) else {
            let reason = format!("from node `{}`, which ha.cf does not list", packet.source);
            return self.bad_packet(now, link, from, &reason);
        };
        let novelty = self.peers[at].novelty(&packet);
        if novelty == Novelty::Replay {
            let reason = format!(
                "of node {}, but from a generation that has ended (a replay, or \
                 its clock and state file went back)",
                packet.source
            );
            return self.bad_packet(now, link, from, &reason);
        }
        self.link_heard(now, at, link, novelty, packet.sequence);
        if novelty != Novelty::Duplicate {
            self.news(now, at, novelty, packet);
        }
    }

    fn link_heard(&mut self, now: Duration, at: usize, link: &str, novelty: Novelty, seq: u64) {
        let peer = &mut self.peers[at];
        if novelty == Novelty::NewGeneration {
            for link in peer.links.values_mut() {
                link.sequence = 0;
            }
        }
        let new = Link {
            up: false,
            heard_at: now,
            sequence: 0,
        };
        let entry = peer.links.entry(link.to_owned()).or_insert(new);
        if seq <= entry.sequence {
            return;
        }
        (entry.sequence, entry.heard_at) = (seq, now);
        if !std::mem::replace(&mut entry.up, true) {
            let text = format!("Link {}:{link} up.", peer.name);
            self.log(Level::Info, text);
        }
    }

    /// A packet that was not seen before.
    fn news(&mut self, now: Duration, at: usize, novelty: Novelty, packet: Packet) {
        let before = self.peers[at].clone();
        let name = before.name.clone();
        if before.liveness == Liveness::Dead
            && novelty == Novelty::Next
            && before.status == NodeStatus::Left
        {
            // It repeats its farewell until it is answered.
            self.peers[at].sequence = packet.sequence;
            self.answer |= packet.reply_wanted;
            return;
        }
        let returning = before.liveness == Liveness::Dead && novelty == Novelty::Next;
        self.log_arrival(now, &before, novelty, returning);
        let own = (&self.settings.own, self.generation);
        let heard = packet.heard.iter().find(|h| (&h.node, h.generation) == own);
        let heard = heard.map(|h| h.sequence);
        let peer = &mut self.peers[at];
        if novelty == Novelty::NewGeneration {
            self.effects.push(Effect::RememberGeneration {
                node: name.clone(),
                generation: packet.generation,
            });
            (peer.acknowledged, peer.acknowledged_at, peer.deaf_logged) = (None, now, false);
        }
        if heard > peer.acknowledged {
            (peer.acknowledged, peer.acknowledged_at, peer.deaf_logged) = (heard, now, false);
        }
        if before.liveness != Liveness::Alive {
            peer.acknowledged_at = now;
        }
        peer.liveness = Liveness::Alive;
        peer.fence = Fence::NotNeeded;
        peer.generation = packet.generation;
        peer.sequence = packet.sequence;
        peer.status = packet.status;
        peer.deadtime = packet.deadtime;
        peer.heard_at = now;
        peer.resources = packet.resources;
        peer.groups = packet
            .groups
            .into_iter()
            .map(|g| (g.key, (g.state, g.flags)))
            .collect();
        self.answer |= packet.reply_wanted;
        let (status, resources) = (packet.status, packet.resources);
        if before.liveness != Liveness::Alive || before.status != status {
            let word = self.peers[at].state_name();
            self.log(
                Level::Info,
                format!("Status update for node {name}: status {word}"),
            );
        }
        if resources != self.resources && before.resources != resources {
            let text = format!(
                "haresources differs between {name} and this node: the groups, \
                 their order and their resources must be the same on both"
            );
            self.log(Level::Error, text);
        }
        if returning {
            self.both_own(at);
        }
        if status == NodeStatus::Left {
            self.left(at);
        }
    }

    fn log_arrival(&mut self, now: Duration, peer: &Peer, novelty: Novelty, returning: bool) {
        let (name, gap) = (&peer.name, now.saturating_sub(peer.heard_at));
        if returning {
            let text = format!("Cluster node {name} returning after partition.");
            self.log(Level::Critical, text);
        } else if peer.liveness == Liveness::Alive && novelty == Novelty::NewGeneration {
            self.log(
                Level::Warn,
                format!("node {name}: has restarted its rdb-heartbeat"),
            );
        }
        if peer.liveness == Liveness::Alive && gap > self.settings.warntime {
            let text = format!(
                "Late heartbeat: Node {name}: interval {} ms",
                gap.as_millis()
            );
            self.log(Level::Warn, text);
        }
    }

    /// After a cut link: whatever both nodes hold is stopped on both.
    fn both_own(&mut self, at: usize) {
        let peer = &self.peers[at];
        let mut any = false;
        for group in self.groups.iter_mut() {
            let active = matches!(group.phase, Phase::Starting { .. } | Phase::Running);
            if active && peer.holds(&group.settings.key) {
                group.conflict = true;
                any = true;
            }
        }
        if any {
            let text = format!(
                "Both machines own our resources! {} and {} each took the other for \
                 dead; both stop them, then the preferred node starts them",
                self.settings.own, peer.name
            );
            self.log(Level::Critical, text);
        }
    }

    pub(super) fn bad_packet(&mut self, now: Duration, link: &str, from: &str, reason: &str) {
        if !self.settings.log_badpack {
            return;
        }
        let key = format!("{from} {link} {reason:.40}");
        let known = self.bad_senders.get(&key);
        if known.is_some_and(|at| now < *at + BAD_PACKET_PAUSE) {
            return;
        }
        self.bad_senders
            .retain(|_, at| now < *at + BAD_PACKET_PAUSE);
        if self.bad_senders.len() < BAD_SENDERS_MAX {
            self.bad_senders.insert(key, now);
            let text = format!("packet from {from} on {link} dropped: {reason}");
            self.log(Level::Error, text);
        }
    }
}
