// SPDX-License-Identifier: GPL-2.0

//! The decisions of rdb-heartbeat: who is alive, who runs what.
//!
//! [`Engine::handle`] takes what has happened and the time, and returns what is to be done. It has no
//! clock, no socket and no thread; so two engines can be run against each other in virtual time.
//!
//! # How two nodes agree
//!
//! Every packet carries the whole state of its sender and names the last packet of the other node
//! that the sender acted upon. A node that wants a group first says so (*claiming*). It starts the
//! group only after a packet of the other node which
//!
//! 1. was sent after the claim was acted upon, and
//! 2. shows that the other node holds nothing of the group, and
//! 3. does not claim the group with a better right (`ownership.rs`).
//!
//! Of two nodes that claim at the same time, both know the same two claims, so one of them yields. A
//! node that has acted upon a claim does not start the group afterwards without the consent of the
//! claimer. Lost and repeated packets only delay this. Silence is different: a node that is dead, and
//! fenced if a device is configured, is not asked. Without fencing a cut link therefore leads to two
//! owners (specification, section 11); when the link is back, both stop, and the preferred node starts.
//!
//! The sequence of heartbeat 3.0.6 (ask_resources, standby messages "me", "other", "done") is not
//! used: it needs retransmission and timeouts for each step, and its state is spread over messages.

pub mod admin;
pub mod group;
mod hearing;
mod membership;
mod ownership;
pub mod peer;
pub mod report;
#[cfg(test)]
mod tests;
pub mod types;

use crate::config::values::show;
use crate::wire::{GroupReport, GroupState, Heard, NodeStatus, Packet};
use group::{Group, Phase, Progress};
use peer::{Fence, Liveness, Peer};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{Effect, Input, Level, Outcome, Settings};

/// Pause between two tries of the fencing device.
pub const FENCE_PAUSE: Duration = Duration::from_secs(5);
/// How long a node that ends waits until its farewell was heard.
pub const FAREWELL: Duration = Duration::from_secs(3);
/// Pause between two farewells.
const FAREWELL_PAUSE: Duration = Duration::from_millis(200);
/// At most one message about bad packets from one address in this time.
const BAD_PACKET_PAUSE: Duration = Duration::from_secs(60);
/// How many addresses of bad packets are told apart.
const BAD_SENDERS_MAX: usize = 64;

/// The state machine of one node.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: Settings,
    generation: u64,
    sequence: u64,
    status: NodeStatus,
    resources: u32,
    peers: Vec<Peer>,
    groups: Vec<Group>,
    next_heartbeat: Duration,
    /// The state that others see has changed: send now, and ask for an answer.
    changed: bool,
    /// A peer has asked for an answer.
    answer: bool,
    /// When the daemon ends at last, once it has left, and with which packet it said so.
    farewell: Option<(Duration, u64)>,
    exited: bool,
    /// A takeover after a death whose end is to be logged.
    taking_over_from: Option<String>,
    bad_senders: BTreeMap<String, Duration>,
    /// Number of the last attempt to fence.
    fence_attempt: u64,
    effects: Vec<Effect>,
    /// Time of the last input.
    now: Duration,
}

impl Engine {
    /// An engine that starts at `now`. `generation` is higher than at any earlier start of this
    /// node; `known` are the remembered generations of the others.
    pub fn new(
        settings: Settings,
        generation: u64,
        known: &BTreeMap<String, u64>,
        now: Duration,
    ) -> Self {
        let others = settings.nodes.iter().filter(|n| **n != settings.own);
        let peers = others
            .map(|n| {
                Peer::new(
                    n,
                    known.get(n).copied().unwrap_or(0),
                    settings.deadtime,
                    now,
                )
            })
            .collect();
        let groups: Vec<_> = settings.groups.iter().cloned().map(Group::new).collect();
        let lines: Vec<_> = groups.iter().map(Group::describe).collect();
        let mut engine = Self {
            generation,
            sequence: 0,
            status: NodeStatus::Up,
            resources: crc32fast::hash(lines.join("\n").as_bytes()),
            peers,
            groups,
            next_heartbeat: now,
            changed: false,
            answer: false,
            farewell: None,
            exited: false,
            taking_over_from: None,
            bad_senders: BTreeMap::new(),
            fence_attempt: 0,
            effects: Vec::new(),
            now,
            settings,
        };
        for group in 0..engine.groups.len() {
            engine.effects.push(Effect::Probe { group });
        }
        engine
    }

    /// Acts upon `input` at time `now`, which never goes back.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        self.forgive_own_stall(now);
        self.now = now;
        match input {
            Input::Timer => {}
            Input::Packet { link, from, packet } => self.packet(now, &link, &from, packet),
            Input::BadPacket { link, from, reason } => self.bad_packet(now, &link, &from, &reason),
            Input::Probed { group, running } => self.probed(group, &running),
            Input::ResourceDone { group, outcome } => self.resource_done(now, group, outcome),
            Input::Readiness { group, mirror } => self.readiness(now, group, mirror),
            Input::Fenced {
                node,
                attempt,
                result,
            } => self.fenced(now, &node, attempt, result),
            Input::Request { id, request } => self.request(now, id, request),
            Input::Terminate => self.terminate(),
            Input::Reconfigure(settings) => self.reconfigure(settings),
        }
        self.evaluate(now);
        self.transmit(now);
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Timer`] is due if nothing else happens.
    pub fn wakeup(&self) -> Duration {
        let up = self.status != NodeStatus::Up;
        let peers = self.peers.iter().flat_map(|p| {
            let fence = match p.fence {
                Fence::Due(at) => Some(at),
                _ => None,
            };
            let links = p
                .links
                .values()
                .filter(|l| l.up)
                .map(|l| l.heard_at + p.deadtime);
            links
                .chain(p.deadline(up, self.settings.initdead))
                .chain(fence)
        });
        let groups = self.groups.iter().filter_map(Group::wakeup);
        let farewell = self.farewell.map(|(end, _)| end);
        // What was due at the last input and is still there waits for an event, not for the time.
        let all = peers
            .chain(groups)
            .chain(farewell)
            .filter(|at| *at > self.now);
        all.chain([self.next_heartbeat])
            .min()
            .unwrap_or(self.next_heartbeat)
    }

    fn log(&mut self, level: Level, text: impl Into<String>) {
        self.effects.push(Effect::Log {
            level,
            text: text.into(),
        });
    }

    /// If this process did not run for a while, nobody could be heard: that time is not held
    /// against the others. Their packets are still waiting to be read.
    fn forgive_own_stall(&mut self, now: Duration) {
        let stall = now.saturating_sub(self.wakeup());
        if stall > self.settings.keepalive {
            for peer in self
                .peers
                .iter_mut()
                .filter(|p| p.liveness != Liveness::Dead)
            {
                peer.heard_at += stall;
                peer.acknowledged_at += stall;
                for link in peer.links.values_mut() {
                    link.heard_at += stall;
                }
            }
            let text = format!(
                "this daemon did not run for {}: the machine is overloaded or was suspended; not \
                 counted against the other nodes",
                show(stall)
            );
            self.log(Level::Warn, text);
        }
    }

    fn probed(&mut self, at: usize, running: &[String]) {
        let Some(group) = self.groups.get_mut(at) else {
            return;
        };
        if group.phase != Phase::Probing {
            return;
        }
        group.phase = if running.is_empty() {
            Phase::Stopped
        } else {
            Phase::Leftover
        };
        self.changed = true;
        if !running.is_empty() {
            let text = format!(
                "resource group {} is already active here ({}): rdb-heartbeat did \
                 not start it",
                group.key(),
                running.join(", ")
            );
            self.log(Level::Warn, text);
        }
    }

    fn resource_done(&mut self, now: Duration, at: usize, outcome: Outcome) {
        let Some(group) = self.groups.get_mut(at) else {
            return;
        };
        let (was, progress) = (group.state(), group.finished(outcome, now));
        let (key, resource) = (group.key().to_owned(), |at| group.resource(at).to_owned());
        let own = &self.settings.own;
        let (level, text) = match progress {
            Progress::Quiet => return,
            Progress::Started => (Level::Info, format!("resource group {key} runs on {own}")),
            Progress::Stopped => (
                Level::Info,
                format!("resource group {key} released by {own}"),
            ),
            Progress::StartFailed(at, why) => (
                Level::Critical,
                format!(
                    "start of {} failed on {own}: {why}; giving up resource group {key}, the \
                     other node may have it",
                    resource(at)
                ),
            ),
            Progress::StartBlocked(at, why) => (
                Level::Warn,
                format!(
                    "start of {} must wait on {own}: {why}; trying again",
                    resource(at)
                ),
            ),
            Progress::StopRetried(at, why) => (
                Level::Error,
                format!("stop of {} failed on {own}: {why}", resource(at)),
            ),
            Progress::StopDoubtful(at) => (
                Level::Error,
                format!(
                    "stop of {} kept failing, but its status says stopped: going on",
                    resource(at)
                ),
            ),
            Progress::Stuck(at) => (
                Level::Critical,
                format!(
                    "{} cannot be stopped on {own}: resource group {key} stays here and is \
                     handed to nobody; stop it by hand, then `rdb-heartbeat standby`",
                    resource(at)
                ),
            ),
        };
        self.changed |= was != self.groups[at].state() || level > Level::Info;
        self.log(level, text);
    }

    fn terminate(&mut self) {
        if self.status == NodeStatus::Shutdown || self.status == NodeStatus::Left {
            self.log(
                Level::Error,
                "second request to stop: ending at once, resources stay as they are",
            );
            self.exit(false);
            return;
        }
        self.log(
            Level::Info,
            "Heartbeat shutdown in progress: giving up all resources",
        );
        self.status = NodeStatus::Shutdown;
        self.changed = true;
    }

    fn exit(&mut self, clean: bool) {
        if !std::mem::replace(&mut self.exited, true) {
            self.effects.push(Effect::Exit { clean });
        }
    }

    fn reconfigure(&mut self, settings: Settings) {
        if settings.nodes != self.settings.nodes || settings.groups != self.settings.groups {
            self.log(
                Level::Error,
                "nodes or resource groups changed: restart rdb-heartbeat",
            );
            return;
        }
        self.settings = settings;
        self.changed = true;
    }

    /// Sends a packet if one is due.
    fn transmit(&mut self, now: Duration) {
        if self.exited {
            return;
        }
        let due = now >= self.next_heartbeat;
        if !(due || self.changed || self.answer) {
            return;
        }
        self.sequence += 1;
        for group in &mut self.groups {
            if let Phase::Claiming {
                sequence: sequence @ None,
            } = &mut group.phase
            {
                *sequence = Some(self.sequence);
            }
        }
        if self.status == NodeStatus::Left && self.farewell.is_none() {
            self.farewell = Some((now + FAREWELL, self.sequence));
        }
        let packet = self.own_packet();
        self.effects.push(Effect::Send(packet));
        (self.changed, self.answer) = (false, false);
        let pause = match self.status {
            NodeStatus::Left => FAREWELL_PAUSE.min(self.settings.keepalive),
            _ => self.settings.keepalive,
        };
        self.next_heartbeat = now + pause;
    }

    fn own_packet(&self) -> Packet {
        let report = |g: &Group| {
            let (state, flags) = (g.state(), g.flags());
            GroupReport {
                key: g.key().to_owned(),
                state,
                flags,
            }
        };
        let heard = |p: &Peer| Heard {
            node: p.name.clone(),
            generation: p.generation,
            sequence: p.sequence,
        };
        Packet {
            source: self.settings.own.clone(),
            generation: self.generation,
            sequence: self.sequence,
            status: self.status,
            deadtime: self.settings.deadtime,
            resources: self.resources,
            // An answer to every packet would make two nodes answer each other for ever.
            reply_wanted: self.changed || self.status == NodeStatus::Left,
            heard: self
                .peers
                .iter()
                .filter(|p| p.sequence > 0)
                .map(heard)
                .collect(),
            groups: self.groups.iter().map(report).collect(),
        }
    }

    /// The state of a group on this node, for tests and reports.
    pub fn group_state(&self, at: usize) -> Option<GroupState> {
        self.groups.get(at).map(Group::state)
    }
}
