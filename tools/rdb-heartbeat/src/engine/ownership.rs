// SPDX-License-Identifier: GPL-2.0

//! Who owns what: the decisions that follow each event (specification, sections 8 to 11).

use super::Engine;
use super::group::{Group, Phase};
use super::peer::Peer;
use super::types::{Effect, Level, Mirror};
use crate::config::values::show;
use crate::wire::{GroupFlags, GroupState, NodeStatus};
use std::time::Duration;

/// How long what the mirror said counts.
const READINESS_AGE: Duration = Duration::from_secs(2);

/// The node that should run a group nobody runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Designated {
    Own,
    Other,
    Nobody,
}

impl Engine {
    /// Draws every conclusion that the present state allows.
    pub(super) fn evaluate(&mut self, now: Duration) {
        if self.exited {
            return;
        }
        self.find_dead(now);
        self.find_dead_links(now);
        self.communication_up();
        self.fence(now);
        for at in 0..self.groups.len() {
            self.step(now, at);
        }
        self.run_scripts(now);
        self.takeover_complete();
        self.leave(now);
    }

    /// Moves one group as far as it goes without a script.
    fn step(&mut self, now: Duration, at: usize) {
        self.expire(now, at);
        let wanted = match self.groups[at].phase {
            Phase::Stopped | Phase::Claiming { .. } => self.should_claim(now, at),
            _ => false,
        };
        match self.groups[at].phase {
            Phase::Stopped if wanted => {
                self.groups[at].phase = Phase::Claiming { sequence: None };
                self.changed = true;
                self.grant(at);
            }
            Phase::Claiming { .. } if !wanted => {
                self.groups[at].phase = Phase::Stopped;
                self.changed = true;
            }
            Phase::Claiming { .. } => self.grant(at),
            Phase::Leftover => self.leftover(at),
            Phase::Running | Phase::Starting { busy: false, .. } => self.release_if_due(at),
            Phase::Stuck { .. } if self.status == NodeStatus::Shutdown => {
                self.groups[at].stop();
                self.changed = true;
            }
            _ => {}
        }
    }

    fn expire(&mut self, now: Duration, at: usize) {
        let group = &mut self.groups[at];
        let key = group.key().to_owned();
        if group
            .blocked
            .as_ref()
            .is_some_and(|(until, _)| now >= *until)
        {
            group.blocked = None;
        }
        if group.offered.is_some_and(|until| now >= until) {
            group.offered = None;
            self.changed = true;
            let text = format!("standby of {key} given up: the other node did not agree in time");
            self.log(Level::Warn, text);
        }
        let group = &mut self.groups[at];
        let releasing = self
            .peers
            .iter()
            .any(|p| p.state(&key) == GroupState::Stopping);
        if group
            .demanded
            .is_some_and(|until| now >= until && !releasing)
        {
            let trouble = group.readiness.as_ref().and_then(|(_, m)| m.trouble());
            let why = match trouble {
                Some(why) => format!("the mirror here is not ready: {why}"),
                None => "the other node did not give it up in time".to_owned(),
            };
            group.demanded = None;
            self.restart_claim(at);
            self.log(Level::Warn, format!("takeover of {key} given up: {why}"));
        } else if group.demanded.is_some_and(|until| now >= until) {
            // The other node is at it: its scripts may take long.
            group.demanded = Some(now + Duration::from_secs(1));
        }
    }

    /// The flags of a claim decide who wins, so a claim whose flags change is a new claim.
    pub(super) fn restart_claim(&mut self, at: usize) {
        if let Phase::Claiming { sequence } = &mut self.groups[at].phase {
            *sequence = None;
        }
        self.changed = true;
    }

    fn should_claim(&mut self, now: Duration, at: usize) -> bool {
        let group = &self.groups[at];
        let unsettled = |p: &Peer| !p.alive() && !p.free();
        if self.status != NodeStatus::Active
            || group.failed.is_some()
            || self.peers.iter().any(unsettled)
        {
            return false;
        }
        if group.blocked.is_some() {
            return false;
        }
        let key = group.key();
        let Some(holder) = self.peers.iter().find(|p| p.holds(key)) else {
            return group.demanded.is_some()
                || self.designated(group) == Designated::Own && self.met_mirror(now, at);
        };
        let (state, flags) = (holder.state(key), holder.flags(key));
        // What moved it to let go is done with, and no longer in its flags.
        if state == GroupState::Stopping && matches!(group.phase, Phase::Claiming { .. }) {
            return true;
        }
        let failback = self.settings.auto_failback
            && group.settings.preferred == self.settings.own
            && !group.yielded
            && holder.status == NodeStatus::Active;
        state == GroupState::Running
            && (flags.offered || group.demanded.is_some() || failback)
            && self.mirror(now, at) == Some(Mirror::Ready)
    }

    /// What the mirror below the group says, not longer ago than it counts; `None` while it is being
    /// asked. Taking a group from a node that runs it well is never urgent, so that waits until the
    /// data here are current.
    fn mirror(&mut self, now: Duration, at: usize) -> Option<Mirror> {
        let group = &mut self.groups[at];
        if let Some((when, mirror)) = &group.readiness {
            // While the question is open again a claim stays as it is.
            let claiming = matches!(group.phase, Phase::Claiming { .. });
            if now < *when + READINESS_AGE || claiming && group.asking {
                return Some(mirror.clone());
            }
        }
        let before = group.readiness.as_ref().map(|(_, mirror)| mirror.clone());
        if !std::mem::replace(&mut group.asking, true) {
            self.effects.push(Effect::CheckReady { group: at });
        }
        before.filter(|_| matches!(self.groups[at].phase, Phase::Claiming { .. }))
    }

    /// True if a group that nobody holds may start as far as its mirror is concerned. After a start
    /// of both nodes the mirrors need a moment to connect, and only then it shows whose data are
    /// newer: a group that started before would go on with the old ones. If they do not connect in
    /// the time that a booting node is given, the service goes first.
    fn met_mirror(&mut self, now: Duration, at: usize) -> bool {
        let partner =
            |p: &Peer| p.alive() && matches!(p.status, NodeStatus::Up | NodeStatus::Active);
        if !self.peers.iter().any(partner) {
            return true;
        }
        match self.mirror(now, at) {
            None => false,
            Some(Mirror::Apart(_)) => {
                let since = *self.groups[at].waits_since.get_or_insert(now);
                now >= since + self.settings.initdead
            }
            Some(Mirror::Ready | Mirror::Old(_)) => true,
        }
    }

    pub(super) fn readiness(&mut self, now: Duration, at: usize, mirror: Mirror) {
        let Some(group) = self.groups.get_mut(at) else {
            return;
        };
        group.asking = false;
        let before = group.readiness.replace((now, mirror.clone()));
        let key = group.key().to_owned();
        let Some(why) = mirror.trouble() else {
            return;
        };
        if before.is_some_and(|(_, old)| old == mirror) {
            return;
        }
        let held = self.peers.iter().any(|p| p.holds(&key));
        let text = match mirror {
            _ if held => format!("resource group {key} stays on the other node: {why}"),
            Mirror::Apart(_) => {
                let limit = show(self.settings.initdead);
                format!("resource group {key} waits, at most {limit}: {why}")
            }
            _ => return,
        };
        self.log(Level::Info, text);
    }

    fn designated(&self, group: &Group) -> Designated {
        let own_able = self.status == NodeStatus::Active && group.failed.is_none();
        let other = self.peers.iter().find(|p| p.able(group.key()));
        match (own_able, other) {
            (false, None) => Designated::Nobody,
            (true, None) => Designated::Own,
            (false, Some(_)) => Designated::Other,
            (true, Some(other)) => match self.wins(group.flags(), group, other) {
                true => Designated::Own,
                false => Designated::Other,
            },
        }
    }

    /// Which of two nodes that both want a group gets it. Both compute the same from the same flags.
    fn wins(&self, own: GroupFlags, group: &Group, other: &Peer) -> bool {
        let theirs = other.flags(group.key());
        if own.demanded != theirs.demanded {
            return own.demanded;
        }
        if own.yielded != theirs.yielded {
            return theirs.yielded;
        }
        group.settings.preferred == self.settings.own
    }

    /// Starts a claimed group if every other node has agreed or is gone.
    fn grant(&mut self, at: usize) {
        let group = &self.groups[at];
        let Phase::Claiming { sequence } = group.phase else {
            return;
        };
        let agrees = |peer: &Peer| {
            if peer.free() {
                return true;
            }
            let acted = sequence.is_some_and(|claim| peer.acknowledged >= Some(claim));
            let rival = peer.state(group.key()) == GroupState::Claiming;
            peer.alive()
                && acted
                && !peer.holds(group.key())
                && (!rival || self.wins(group.flags(), group, peer))
        };
        if !self.peers.iter().all(agrees) {
            return;
        }
        let text = format!("Acquiring resource group: {}", group.describe());
        self.groups[at].start();
        self.changed = true;
        self.log(Level::Info, text);
    }

    /// A group that ran when the daemon started: kept if nobody else has it.
    fn leftover(&mut self, at: usize) {
        let group = &self.groups[at];
        let key = group.key().to_owned();
        let states: Vec<_> = self
            .peers
            .iter()
            .filter(|p| p.alive())
            .map(|p| p.state(&key))
            .collect();
        let owner = states
            .iter()
            .any(|s| matches!(s, GroupState::Running | GroupState::Starting));
        let rival = states.contains(&GroupState::Leftover);
        let preferred = group.settings.preferred == self.settings.own;
        let stop = self.status == NodeStatus::Shutdown || owner || (rival && !preferred);
        if stop {
            self.release(
                at,
                "it was active before the start, and the other node has it",
            );
            return;
        }
        let settled = self.peers.iter().all(|p| p.alive() || p.free());
        let wait = states.iter().any(|s| s.holds());
        if self.status == NodeStatus::Active && settled && !wait {
            let text = format!(
                "Acquiring resource group: {} (it is active here already)",
                self.groups[at].describe()
            );
            self.groups[at].start();
            self.changed = true;
            self.log(Level::Info, text);
        }
    }

    fn release_if_due(&mut self, at: usize) {
        let group = &self.groups[at];
        let key = group.key().to_owned();
        if self.status == NodeStatus::Shutdown {
            return self.release(at, "this node shuts down");
        }
        if group.conflict {
            return self.release(at, "it ran on both nodes");
        }
        let owns = |p: &&Peer| {
            p.alive() && matches!(p.state(&key), GroupState::Running | GroupState::Starting)
        };
        if let Some(peer) = self.peers.iter().find(owns) {
            let text = format!(
                "Both machines own our resources! {key} runs on {} and on {}",
                self.settings.own, peer.name
            );
            self.log(Level::Critical, text);
            return self.release(at, "it ran on both nodes");
        }
        if group.phase != Phase::Running {
            return;
        }
        let claims = |p: &&Peer| p.alive() && p.state(&key) == GroupState::Claiming;
        let Some(peer) = self.peers.iter().find(claims) else {
            return;
        };
        let name = peer.name.clone();
        let demanded = peer.flags(&key).demanded;
        if group.offered.is_some() || demanded {
            let why = if demanded {
                format!("an operator asked for it on {name}")
            } else {
                format!("standby: {name} agreed to take it")
            };
            self.groups[at].yielded = true;
            self.release(at, &why);
        } else if self.settings.auto_failback && group.settings.preferred == name {
            self.release(
                at,
                &format!("auto_failback: its preferred node {name} is back"),
            );
        }
    }

    pub(super) fn release(&mut self, at: usize, why: &str) {
        let text = format!(
            "Releasing resource group: {} ({why})",
            self.groups[at].describe()
        );
        if self.groups[at].stop() {
            self.changed = true;
            self.log(Level::Info, text);
        }
    }

    /// One group starts and one stops at a time: groups start in file order and stop in reverse.
    fn run_scripts(&mut self, now: Duration) {
        let starting = |g: &Group| matches!(g.phase, Phase::Starting { .. });
        let begun = |g: &Group| match g.phase {
            Phase::Starting { next, busy } => busy || next > 0,
            Phase::Stopping {
                left, busy, tries, ..
            } => busy || tries > 0 || left < g.settings.resources.len(),
            _ => false,
        };
        let stopping = |g: &Group| matches!(g.phase, Phase::Stopping { .. });
        let groups = &self.groups;
        let start = groups.iter().position(|g| starting(g) && begun(g));
        let start = start.or_else(|| groups.iter().position(starting));
        let stop = groups.iter().rposition(|g| stopping(g) && begun(g));
        let stop = stop.or_else(|| groups.iter().rposition(stopping));
        for group in [start, stop].into_iter().flatten() {
            if let Some((resource, action)) = self.groups[group].next_script(now) {
                self.effects.push(Effect::Run {
                    group,
                    resource,
                    action,
                });
            }
        }
    }
}
