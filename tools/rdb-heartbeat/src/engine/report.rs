// SPDX-License-Identifier: GPL-2.0

//! The state of a node for people and programs: `rdb-heartbeat status [--json]`.

use super::Engine;
use super::group::{Group, Phase};
use super::peer::{Fence, Peer};
use crate::wire::{GroupState, NodeStatus};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What one node knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of this node.
    pub node: String,
    /// `up`, `active`, `shutdown` or `left`.
    pub status: String,
    /// Generation: grows with each start.
    pub generation: u64,
    /// Groups return to their preferred node.
    pub auto_failback: bool,
    /// `none`, `local`, `foreign`, `all` or `transition` (specification, section 8).
    pub holdings: String,
    /// The other nodes.
    pub peers: Vec<PeerReport>,
    /// The groups, in file order.
    pub groups: Vec<GroupReport>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Its name.
    pub node: String,
    /// `init`, `up`, `active`, `shutdown` or `dead`.
    pub state: String,
    /// Milliseconds since it was heard; none if it never was.
    pub heard_ms_ago: Option<u64>,
    /// Its deadtime in milliseconds.
    pub deadtime_ms: u64,
    /// `not-needed`, `due`, `running` or `done`.
    pub fencing: String,
    /// The media on which it was heard.
    pub links: Vec<LinkReport>,
}

/// A medium to another node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkReport {
    /// Its name.
    pub name: String,
    /// Heard on it within the deadtime.
    pub up: bool,
}

/// A resource group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupReport {
    /// Its first resource.
    pub key: String,
    /// The node that runs it if both can.
    pub preferred: String,
    /// Its resources in start order.
    pub resources: Vec<String>,
    /// State on this node.
    pub state: String,
    /// State on the other node as it reports it; none if it is not alive.
    pub peer_state: Option<String>,
    /// Offered to the other node, or asked of it.
    pub pending: bool,
    /// Node that holds it, as far as known here.
    pub holder: Option<String>,
    /// Why it failed here.
    pub failed: Option<String>,
    /// Why its start waits.
    pub waiting: Option<String>,
    /// Given away on request: not claimed back.
    pub yielded: bool,
}

impl GroupReport {
    /// True if nothing moves on either node.
    pub fn settled(&self) -> bool {
        let still = |state: &str| matches!(state, "stopped" | "running" | "stuck");
        !self.pending && still(&self.state) && self.peer_state.as_deref().is_none_or(still)
    }
}

impl Engine {
    /// The state at time `now`.
    pub fn report(&self, now: Duration) -> Report {
        let status = match self.status {
            NodeStatus::Up => "up",
            NodeStatus::Active => "active",
            NodeStatus::Shutdown => "shutdown",
            NodeStatus::Left => "left",
        };
        Report {
            node: self.settings.own.clone(),
            status: status.into(),
            generation: self.generation,
            auto_failback: self.settings.auto_failback,
            holdings: self.holdings().into(),
            peers: self.peers.iter().map(|p| peer_report(p, now)).collect(),
            groups: self.groups.iter().map(|g| self.group_report(g)).collect(),
        }
    }

    /// The word of `cl_status rscstatus`. A node for which no group was made holds its `local`
    /// ones, as there is none that it lacks.
    fn holdings(&self) -> &'static str {
        if self.status == NodeStatus::Up || self.groups.iter().any(Group::in_flux) {
            return "transition";
        }
        let own = |g: &&Group| g.settings.preferred == self.settings.own;
        let foreign = |g: &&Group| g.settings.preferred != self.settings.own;
        let local_all = self.groups.iter().filter(own).all(|g| g.state().holds());
        let foreign_any = self.groups.iter().any(|g| foreign(&g));
        let foreign_all = foreign_any
            && self
                .groups
                .iter()
                .filter(foreign)
                .all(|g| g.state().holds());
        match (local_all, foreign_all) {
            (true, true) => "all",
            (true, false) => "local",
            (false, true) => "foreign",
            (false, false) => "none",
        }
    }

    fn group_report(&self, group: &Group) -> GroupReport {
        let key = group.key().to_owned();
        let other = || {
            self.peers
                .iter()
                .find(|p| p.holds(&key))
                .map(|p| p.name.clone())
        };
        let holder = if group.state().holds() {
            Some(self.settings.own.clone())
        } else {
            other()
        };
        let mirror = group
            .readiness
            .as_ref()
            .and_then(|(_, mirror)| mirror.trouble());
        let waits = holder.is_some() || group.waits_since.is_some();
        let waiting = match (&group.phase, &group.blocked, mirror) {
            (Phase::Stopped, Some((_, why)), _) => Some(why.clone()),
            (Phase::Stopped, None, Some(why)) if waits => Some(why.to_owned()),
            (Phase::Stopped, _, _) => self.waits_for_fencing(),
            _ => None,
        };
        GroupReport {
            preferred: group.settings.preferred.clone(),
            resources: group.settings.resources.clone(),
            state: GroupState::name(group.state()).into(),
            failed: group.failed.clone(),
            yielded: group.yielded,
            pending: group.offered.is_some() || group.demanded.is_some(),
            peer_state: self
                .peers
                .iter()
                .find(|p| p.alive())
                .map(|p| GroupState::name(p.state(&key)).into()),
            key,
            holder,
            waiting,
        }
    }

    fn waits_for_fencing(&self) -> Option<String> {
        let waits = |p: &&Peer| matches!(p.fence, Fence::Due(_) | Fence::Running(_));
        let peer = self.peers.iter().find(waits)?;
        Some(format!("node {} must be reset first", peer.name))
    }
}

fn peer_report(peer: &Peer, now: Duration) -> PeerReport {
    let heard = |ago: Duration| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    PeerReport {
        node: peer.name.clone(),
        state: peer.state_name().into(),
        heard_ms_ago: (peer.sequence > 0).then(|| heard(now.saturating_sub(peer.heard_at))),
        deadtime_ms: heard(peer.deadtime),
        fencing: match peer.fence {
            Fence::NotNeeded => "not-needed",
            Fence::Due(_) => "due",
            Fence::Running(_) => "running",
            Fence::Done => "done",
        }
        .into(),
        links: peer
            .links
            .iter()
            .map(|(name, link)| LinkReport {
                name: name.clone(),
                up: link.up,
            })
            .collect(),
    }
}
