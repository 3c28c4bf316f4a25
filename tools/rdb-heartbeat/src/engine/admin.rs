// SPDX-License-Identifier: GPL-2.0

//! Requests of operators (specification, section 9: standby; section 10: failed groups).

use super::Engine;
use super::group::{Group, Phase};
use super::peer::{Fence, Liveness};
use super::types::{Effect, GroupSet, Level, Request};
use crate::wire::{GroupState, NodeStatus};
use std::time::Duration;

/// How long a standby or takeover waits for the other node to begin.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);

impl Engine {
    pub(super) fn request(&mut self, now: Duration, id: u64, request: Request) {
        let result = match request {
            Request::Standby(set) => self.standby(now, &set),
            Request::Takeover(set) => self.takeover(now, &set),
            Request::Cleanup(set) => self.cleanup(&set),
            Request::ConfirmFenced(node) => self.confirm_fenced(&node),
        };
        self.effects.push(Effect::Reply { id, result });
    }

    /// The groups of `set`, as indices.
    fn select(&self, set: &GroupSet) -> Result<Vec<usize>, String> {
        let own = &self.settings.own;
        let fits = |g: &Group| match set {
            GroupSet::All => true,
            GroupSet::Local => g.settings.preferred == *own,
            GroupSet::Foreign => g.settings.preferred != *own,
            GroupSet::One(key) => g.key() == key,
        };
        let found: Vec<_> = (0..self.groups.len())
            .filter(|at| fits(&self.groups[*at]))
            .collect();
        match set {
            GroupSet::One(key) if found.is_empty() => {
                let known: Vec<_> = self.groups.iter().map(Group::key).collect();
                Err(format!(
                    "no resource group `{key}`; there are: {}",
                    known.join(", ")
                ))
            }
            _ => Ok(found),
        }
    }

    fn refuse_in_flux(&self) -> Result<(), String> {
        if self.status != NodeStatus::Active {
            return Err(format!("node {} is not active", self.settings.own));
        }
        if let Some(group) = self.groups.iter().find(|g| g.in_flux()) {
            return Err(format!("resource group {} is being moved", group.key()));
        }
        for peer in self.peers.iter().filter(|p| p.alive()) {
            let moving = |s: &GroupState| {
                !matches!(
                    s,
                    GroupState::Stopped | GroupState::Running | GroupState::Stuck
                )
            };
            if let Some((key, _)) = peer.groups.iter().find(|(_, (state, _))| moving(state)) {
                return Err(format!(
                    "resource group {key} is being moved on node {}",
                    peer.name
                ));
            }
        }
        Ok(())
    }

    fn standby(&mut self, now: Duration, set: &GroupSet) -> Result<String, String> {
        let selected = self.select(set)?;
        self.refuse_in_flux()?;
        let (stuck, held): (Vec<_>, Vec<_>) = selected
            .into_iter()
            .filter(|at| self.groups[*at].state().holds())
            .partition(|at| matches!(self.groups[*at].phase, Phase::Stuck { .. }));
        if stuck.is_empty() && held.is_empty() {
            return Ok(format!(
                "node {} runs none of these groups",
                self.settings.own
            ));
        }
        for at in held.iter().chain(&stuck) {
            let key = self.groups[*at].key();
            if !self
                .peers
                .iter()
                .any(|p| p.status == NodeStatus::Active && p.able(key))
            {
                return Err(match self.peers.first() {
                    None => "there is no other node".to_owned(),
                    Some(p) if p.flags(key).failed => {
                        format!(
                            "{key} failed on node {}; see `rdb-heartbeat cleanup`",
                            p.name
                        )
                    }
                    Some(p) => format!("node {} is {}, not active", p.name, p.state_name()),
                });
            }
        }
        let count = held.len() + stuck.len();
        for at in stuck {
            self.release(at, "an operator asked for another try");
        }
        for at in held {
            self.groups[at].offered = Some(now + ANSWER_TIME);
        }
        self.changed = true;
        let own = &self.settings.own;
        let text =
            format!("standby: node {own} offers {count} resource group(s) to the other node");
        self.log(Level::Info, text.clone());
        Ok(text)
    }

    fn takeover(&mut self, now: Duration, set: &GroupSet) -> Result<String, String> {
        let selected = self.select(set)?;
        self.refuse_in_flux()?;
        let wanted: Vec<_> = selected
            .into_iter()
            .filter(|at| !self.groups[*at].state().holds())
            .collect();
        if wanted.is_empty() {
            return Ok(format!(
                "node {} runs these groups already",
                self.settings.own
            ));
        }
        for at in &wanted {
            let group = &mut self.groups[*at];
            group.failed = None;
            group.blocked = None;
            group.demanded = Some(now + ANSWER_TIME);
            // What the mirror said some time ago is no reason to refuse an operator now.
            group.readiness = None;
        }
        self.changed = true;
        let own = &self.settings.own;
        let text = format!(
            "takeover: node {own} asks for {} resource group(s)",
            wanted.len()
        );
        self.log(Level::Info, text.clone());
        Ok(text)
    }

    fn cleanup(&mut self, set: &GroupSet) -> Result<String, String> {
        let mut cleaned = Vec::new();
        for at in self.select(set)? {
            let group = &mut self.groups[at];
            if group.failed.take().is_some() {
                cleaned.push(group.key().to_owned());
            }
        }
        if cleaned.is_empty() {
            return Ok("no group has failed here".to_owned());
        }
        self.changed = true;
        let text = format!("failure forgotten: {}", cleaned.join(", "));
        self.log(Level::Info, text.clone());
        Ok(text)
    }

    fn confirm_fenced(&mut self, node: &str) -> Result<String, String> {
        let Some(at) = self.peers.iter().position(|p| p.name == node) else {
            let known: Vec<_> = self.peers.iter().map(|p| p.name.as_str()).collect();
            return Err(format!(
                "no other node `{node}`; there are: {}",
                known.join(", ")
            ));
        };
        let waits = matches!(self.peers[at].fence, Fence::Due(_) | Fence::Running(_));
        if self.peers[at].liveness != Liveness::Dead || !waits {
            return Err(format!("node {node} does not wait to be reset"));
        }
        self.peers[at].fence = Fence::Done;
        let text = format!("node {node}: an operator confirms that it was reset");
        self.log(Level::Warn, text.clone());
        Ok(text)
    }
}
