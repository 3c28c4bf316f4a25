// SPDX-License-Identifier: GPL-2.0

//! Who takes part: death, fencing, the begin and the end of this node (specification, sections 7 and
//! 12).

use super::group::Phase;
use super::peer::{Fence, Liveness, Peer};
use super::types::{Effect, Level};
use super::{Engine, FENCE_PAUSE};
use crate::config::values::show;
use crate::wire::NodeStatus;
use std::time::Duration;

impl Engine {
    pub(super) fn find_dead(&mut self, now: Duration) {
        let up = self.status != NodeStatus::Up;
        for at in 0..self.peers.len() {
            let peer = &self.peers[at];
            if peer
                .deadline(up, self.settings.initdead)
                .is_some_and(|deadline| now >= deadline)
            {
                self.dies(now, at);
            }
            let (peer, deadtime) = (&mut self.peers[at], self.settings.deadtime);
            if peer.alive() && !peer.deaf_logged && now > peer.acknowledged_at + deadtime * 2 {
                peer.deaf_logged = true;
                let text = format!(
                    "node {} is heard, but does not hear this node: check the media, \
                     authkeys and packet filters",
                    peer.name
                );
                self.log(Level::Error, text);
            }
        }
    }

    fn dies(&mut self, now: Duration, at: usize) {
        let fencing = self.settings.fencing;
        let peer = &mut self.peers[at];
        let (name, silent) = (peer.name.clone(), show(now.saturating_sub(peer.heard_at)));
        let never = peer.liveness == Liveness::Init;
        let may_hold = peer.may_hold();
        peer.liveness = Liveness::Dead;
        peer.fence = match fencing && may_hold && !self.groups.is_empty() {
            true => Fence::Due(now),
            false => Fence::NotNeeded,
        };
        let why = if never {
            "never heard since the start"
        } else {
            "nothing heard"
        };
        self.log(
            Level::Warn,
            format!("node {name}: is dead ({why}, {silent})"),
        );
        if may_hold && !fencing && !self.groups.is_empty() {
            let text = format!(
                "No STONITH device configured: shared disks are not protected \
                 against node {name}"
            );
            self.log(Level::Warn, text);
        }
        self.after_loss(&name, may_hold);
    }

    /// A node has said that it is gone.
    pub(super) fn left(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        peer.liveness = Liveness::Dead;
        let stuck = peer.groups.values().any(|(state, _)| state.holds());
        let name = peer.name.clone();
        if stuck && self.settings.fencing {
            peer.fence = Fence::Due(Duration::ZERO);
        }
        for link in peer.links.values_mut() {
            link.up = false;
        }
        self.log(
            Level::Info,
            format!("node {name}: has stopped its rdb-heartbeat cleanly"),
        );
        self.after_loss(&name, true);
    }

    /// The other node is gone: what failed here before gets one new chance, as nobody else is left.
    fn after_loss(&mut self, name: &str, may_hold: bool) {
        self.changed = true;
        if may_hold && self.status == NodeStatus::Active {
            self.taking_over_from = Some(name.to_owned());
            self.log(
                Level::Info,
                format!("Resources being acquired from {name}."),
            );
        }
        for at in 0..self.groups.len() {
            let group = &mut self.groups[at];
            group.offered = None;
            if let Some(why) = group.failed.take() {
                let text = format!(
                    "resource group {} failed here ({why}), but node {name} is gone: \
                     trying once more",
                    group.key()
                );
                self.log(Level::Warn, text);
            }
        }
    }

    pub(super) fn find_dead_links(&mut self, now: Duration) {
        let mut lost = Vec::new();
        for peer in &mut self.peers {
            for (name, link) in &mut peer.links {
                if link.up && now >= link.heard_at + peer.deadtime {
                    link.up = false;
                    lost.push(format!("Link {}:{name} dead.", peer.name));
                }
            }
        }
        for text in lost {
            self.log(Level::Warn, text);
        }
    }

    pub(super) fn communication_up(&mut self) {
        let waiting = self.peers.iter().any(|p| p.liveness == Liveness::Init)
            || self.groups.iter().any(|g| g.phase == Phase::Probing);
        if self.status == NodeStatus::Up && !waiting {
            self.status = NodeStatus::Active;
            self.changed = true;
            self.log(
                Level::Info,
                "Comm_now_up(): every node is heard or dead; resource work begins",
            );
            if let Some(peer) = self.peers.iter().find(|p| p.liveness == Liveness::Dead) {
                self.taking_over_from = Some(peer.name.clone());
            }
        }
    }

    pub(super) fn fence(&mut self, now: Duration) {
        for at in 0..self.peers.len() {
            let Fence::Due(due) = self.peers[at].fence else {
                continue;
            };
            let taking_part = self.status == NodeStatus::Active;
            if self.peers[at].liveness == Liveness::Dead && now >= due && taking_part {
                self.fence_attempt += 1;
                let attempt = self.fence_attempt;
                self.peers[at].fence = Fence::Running(attempt);
                let node = self.peers[at].name.clone();
                let text = format!(
                    "Resetting node {node} with the STONITH device before its \
                     resources are taken"
                );
                self.log(Level::Warn, text);
                self.effects.push(Effect::Fence { node, attempt });
            }
        }
    }

    pub(super) fn fenced(
        &mut self,
        now: Duration,
        node: &str,
        attempt: u64,
        result: Result<(), String>,
    ) {
        let Some(at) = self.peers.iter().position(|p| p.name == node) else {
            return;
        };
        // The answer to an attempt before the node came back says nothing of its death now.
        if self.peers[at].fence != Fence::Running(attempt) {
            return;
        }
        match result {
            Ok(()) => {
                self.peers[at].fence = Fence::Done;
                self.log(
                    Level::Info,
                    format!("node {node}: was reset by the STONITH device"),
                );
            }
            Err(why) => {
                self.peers[at].fence = Fence::Due(now + FENCE_PAUSE);
                let text = format!(
                    "STONITH of node {node} failed: {why}; nothing is taken over \
                     until it succeeds, trying again in {}",
                    show(FENCE_PAUSE)
                );
                self.log(Level::Critical, text);
            }
        }
    }

    pub(super) fn takeover_complete(&mut self) {
        if self.status != NodeStatus::Active {
            return;
        }
        let settled = self.peers.iter().all(|p| p.alive() || p.free());
        if !settled
            || self
                .groups
                .iter()
                .any(|g| g.in_flux() || g.blocked.is_some())
        {
            return;
        }
        if let Some(name) = self.taking_over_from.take() {
            let text = format!("mach_down takeover complete for node {name}.");
            self.log(Level::Info, text);
        }
    }

    /// Ends the daemon once everything is given up and the others know.
    pub(super) fn leave(&mut self, now: Duration) {
        let stopped = self.groups.iter().all(|g| g.phase == Phase::Stopped);
        if self.status == NodeStatus::Shutdown && stopped {
            self.status = NodeStatus::Left;
            self.changed = true;
            self.log(
                Level::Info,
                "Heartbeat shutdown complete: all resources given up",
            );
        }
        let Some((end, sequence)) = self.farewell else {
            return;
        };
        let heard = |p: &Peer| !p.alive() || p.acknowledged >= Some(sequence);
        if now >= end || self.peers.iter().all(heard) {
            self.exit(true);
        }
    }
}
