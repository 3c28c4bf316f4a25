// SPDX-License-Identifier: GPL-2.0

//! What is known of another node: alive or dead, its links, its groups (specification, sections 7
//! and 12).

use crate::wire::{GroupFlags, GroupState, NodeStatus, Packet};
use std::collections::BTreeMap;
use std::time::Duration;

/// Whether a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Never heard since the start.
    Init,
    /// Heard within its deadtime.
    Alive,
    /// Silent for its deadtime, or gone after a clean stop.
    Dead,
}

/// How far the fencing of a dead node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Nothing to fence.
    NotNeeded,
    /// To be tried at this time.
    Due(Duration),
    /// The device works on it, in the attempt with this number.
    Running(u64),
    /// The node is off.
    Done,
}

/// One medium on which a node is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Heard within the node's deadtime.
    pub up: bool,
    /// When it was heard last.
    pub heard_at: Duration,
    /// Highest sequence number on this link.
    pub sequence: u64,
}

/// A node other than this one.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Whether it takes part.
    pub liveness: Liveness,
    /// What it last said of itself.
    pub status: NodeStatus,
    /// Its generation; with a lower one a packet is a replay.
    pub generation: u64,
    /// Sequence number of its last packet.
    pub sequence: u64,
    /// The silence after which it wants to count as dead.
    pub deadtime: Duration,
    /// When it was heard last; the start of this node before that.
    pub heard_at: Duration,
    /// Sequence number of our last packet that it acted upon, if it was of this generation.
    pub acknowledged: Option<u64>,
    /// When `acknowledged` last grew.
    pub acknowledged_at: Duration,
    /// True once it was logged that it does not hear us.
    pub deaf_logged: bool,
    /// What it says of its groups.
    pub groups: BTreeMap<String, (GroupState, GroupFlags)>,
    /// Checksum of its resource groups.
    pub resources: u32,
    /// By name of the medium.
    pub links: BTreeMap<String, Link>,
    /// Whether its resources are safe to take after its death.
    pub fence: Fence,
}

/// What a packet is, seen against those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// Already known from another link, or repeated.
    Duplicate,
    /// Of a generation that has ended.
    Replay,
    /// The next one of the known generation.
    Next,
    /// The first one of a new generation: the node has started anew.
    NewGeneration,
}

impl Peer {
    /// A node that was not heard yet; `generation` is the one remembered from an earlier run.
    pub fn new(name: &str, generation: u64, deadtime: Duration, now: Duration) -> Self {
        Self {
            name: name.to_owned(),
            liveness: Liveness::Init,
            status: NodeStatus::Up,
            generation,
            sequence: 0,
            deadtime,
            heard_at: now,
            acknowledged: None,
            acknowledged_at: now,
            deaf_logged: false,
            groups: BTreeMap::new(),
            resources: 0,
            links: BTreeMap::new(),
            fence: Fence::NotNeeded,
        }
    }

    /// Compares a packet with those before it.
    pub fn novelty(&self, packet: &Packet) -> Novelty {
        if packet.generation > self.generation {
            Novelty::NewGeneration
        } else if packet.generation < self.generation {
            Novelty::Replay
        } else if packet.sequence > self.sequence {
            Novelty::Next
        } else {
            Novelty::Duplicate
        }
    }

    /// True if it may be given or asked for resources.
    pub fn alive(&self) -> bool {
        self.liveness == Liveness::Alive
    }

    /// True if its death is settled: whatever it held may be taken.
    pub fn free(&self) -> bool {
        self.liveness == Liveness::Dead && matches!(self.fence, Fence::NotNeeded | Fence::Done)
    }

    /// Its state in the group `key`. A node that does not list a group does not hold it.
    pub fn state(&self, key: &str) -> GroupState {
        self.groups
            .get(key)
            .map_or(GroupState::Stopped, |(state, _)| *state)
    }

    /// Its flags in the group `key`.
    pub fn flags(&self, key: &str) -> GroupFlags {
        self.groups
            .get(key)
            .map(|(_, flags)| *flags)
            .unwrap_or_default()
    }

    /// True if it is alive and something of the group may be active on it.
    pub fn holds(&self, key: &str) -> bool {
        self.alive() && self.state(key).holds()
    }

    /// True if it can run the group, or will be able to once its start is over.
    pub fn able(&self, key: &str) -> bool {
        self.alive()
            && matches!(self.status, NodeStatus::Up | NodeStatus::Active)
            && self.groups.get(key).is_some_and(|(_, flags)| !flags.failed)
    }

    /// When it counts as dead if nothing more is heard.
    pub fn deadline(&self, communication_up: bool, initdead: Duration) -> Option<Duration> {
        match self.liveness {
            Liveness::Dead => None,
            Liveness::Init => Some(self.heard_at + initdead),
            Liveness::Alive if communication_up => Some(self.heard_at + self.deadtime),
            Liveness::Alive => Some(self.heard_at + self.deadtime.max(initdead)),
        }
    }

    /// True if it may hold resources that nobody saw it give up.
    pub fn may_hold(&self) -> bool {
        match self.liveness {
            Liveness::Init => true,
            _ => self
                .groups
                .values()
                .any(|(state, _)| *state != GroupState::Stopped),
        }
    }

    /// The word for its state in `status` and `cl_status nodestatus`.
    pub fn state_name(&self) -> &'static str {
        match (self.liveness, self.status) {
            (Liveness::Init, _) => "init",
            (Liveness::Dead, _) => "dead",
            (_, NodeStatus::Up) => "up",
            (_, NodeStatus::Active) => "active",
            (_, NodeStatus::Shutdown) => "shutdown",
            (_, NodeStatus::Left) => "left",
        }
    }
}
