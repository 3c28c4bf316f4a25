// SPDX-License-Identifier: GPL-2.0

//! The operator: brings back what died, and resolves what only a person can.

use rdb_engine::admin::Request;
use rdb_engine::wire::{ConnState, DiskState, Role, State};

use crate::trace::{say, violation};
use crate::world::{A, B, World};

/// Steps in which everything must be mended.
const HEALING: u64 = 150_000;

/// How often the operator waits before he takes nodes for stuck.
const STUCK: u32 = 100;

impl World {
    /// Does one thing that brings both nodes nearer to normal operation, if there is one.
    pub fn repair(&mut self) {
        if self.is_synced() {
            self.split_brain = false;
            self.unrelated = false;
            self.chaos.victim = None;
            self.chaos.in_the_way = None;
            self.chaos.two_primaries = false;
            self.chaos.best_of_bad = None;
            self.chaos.stuck = 0;
        }
        let first = self.rng.below(2) as usize;
        for n in [first, 1 - first] {
            if self.repair_node(n) {
                return;
            }
        }
        self.repair_pair();
        if self.is_writing() {
            self.promote_one();
        }
    }

    /// The application must run somewhere: where the data are the newest, nearly always.
    fn promote_one(&mut self) {
        let usable = |n: usize| {
            let node = &self.nodes[n];
            node.alive && node.state().role != Role::Primary && !node.admin_busy()
        };
        let in_use = self
            .nodes
            .iter()
            .any(|node| node.state().role == Role::Primary);
        let candidates: Vec<usize> = [A, B].into_iter().filter(|&n| usable(n)).collect();
        if in_use || candidates.is_empty() {
            return;
        }
        let n = self.rng.pick(&candidates);
        let good = self.nodes[n].state().disk == DiskState::UpToDate && !self.oracle.lacks(n);
        if good || self.rng.one_in(40) {
            let (volume, force) = (0, false);
            self.command(n, Request::Primary { volume, force });
        }
    }

    fn repair_node(&mut self, n: usize) -> bool {
        if !self.nodes[n].alive {
            say!(self.trace, self.nodes[n].name, "operator: power on");
            self.power_on(n);
            return true;
        }
        let node = &mut self.nodes[n];
        if node.admin_busy() || self.now < node.frozen_until {
            return false;
        }
        let volume = 0;
        let state = node.state();
        if self.chaos.in_the_way == Some(n) {
            self.chaos.in_the_way = None;
            if state.role == Role::Primary {
                return self.command(n, Request::Secondary { volume });
            }
        }
        let unconnected = state.conn < ConnState::WFReportParams;
        if self.chaos.best_of_bad == Some(n) && state.disk == DiskState::Inconsistent {
            // A Primary is one already, and forcing it would change nothing.
            if state.role == Role::Primary {
                return self.command(n, Request::Secondary { volume });
            }
            if unconnected
                || (state.conn == ConnState::Connected && state.pdsk < DiskState::UpToDate)
            {
                self.chaos.best_of_bad = None;
                let force = true;
                return self.command(n, Request::Primary { volume, force });
            }
        }
        if state.disk == DiskState::Diskless {
            // The peer has refused this disk, or it has refused the peer's, and would again: what is to be done needs it attached alone.
            let refused = self.split_brain || self.unrelated || self.chaos.is_unwilling();
            if refused && !unconnected {
                // A Primary lives on the peer's data, and does not part with them for the asking.
                let force = state.role == Role::Primary;
                return self.command(n, Request::Disconnect { force });
            }
            if self.unrelated && self.chaos.victim == Some(n) {
                self.unrelated = false;
                self.nodes[n].create_metadata();
                self.oracle.formatted(n);
            }
            if state.conn == ConnState::StandAlone && !refused && self.rng.one_in(2) {
                return self.reconnect(n);
            }
            let node = &mut self.nodes[n];
            node.disk.repair();
            return node.begin_attach();
        }
        if state.user_isp {
            return self.command(n, Request::ResumeSync { volume });
        }
        if state.is_suspended() {
            return self.command(n, Request::ResumeIo { volume });
        }
        if state.conn == ConnState::StandAlone {
            let other = self.nodes[1 - n].state();
            let both = state.role == Role::Primary && other.role == Role::Primary;
            // Two Primaries do not meet; the one without good data is the one to give in.
            if both && state.disk < other.disk {
                return self.command(n, Request::Secondary { volume });
            }
            return self.reconnect(n);
        }
        false
    }

    fn reconnect(&mut self, n: usize) -> bool {
        let volume = 0;
        let mut net = self.plan.net_of(n);
        if self.split_brain || self.unrelated {
            let roles = [A, B].map(|n| self.nodes[n].state().role);
            let lacking = usize::from(self.oracle.lacks(B));
            let victim = *self.chaos.victim.get_or_insert(match roles {
                [Role::Primary, other] if other != Role::Primary => B,
                [other, Role::Primary] if other != Role::Primary => A,
                _ => lacking,
            });
            if victim == n {
                if roles[n] == Role::Primary {
                    return self.command(n, Request::Secondary { volume });
                }
                if self.unrelated {
                    let force = true;
                    return self.command(n, Request::Detach { volume, force });
                }
                net.discard_my_data = true;
            }
        }
        self.command(n, Request::Connect(net))
    }

    /// Connected, but nothing moves any more.
    fn repair_pair(&mut self) {
        let states = [A, B].map(|n| self.nodes[n].state());
        let connected = states.iter().all(|s| s.conn == ConnState::Connected);
        if !connected || self.is_synced() || self.nodes.iter().any(|node| node.admin_busy()) {
            self.chaos.stuck = 0;
            return;
        }
        self.chaos.stuck += 1;
        if self.chaos.stuck < STUCK {
            return;
        }
        self.chaos.stuck = 0;
        if states.iter().all(|s| s.disk < DiskState::UpToDate) {
            let better = match states.map(|s| (s.role, s.disk)) {
                [(Role::Primary, _), _] => A,
                [_, (Role::Primary, _)] => B,
                [(_, a), (_, b)] if a >= b => A,
                _ => B,
            };
            self.chaos.best_of_bad = Some(better);
        } else {
            // A resync that could not copy some blocks is tried again.
            let lives_on = |s: &State| s.role == Role::Primary && s.disk < DiskState::UpToDate;
            let force = states.iter().any(lives_on);
            self.command(A, Request::Disconnect { force });
        }
    }

    /// Ends all faults, and demands that both nodes come to the same, good data in bounded time.
    pub fn heal(&mut self) {
        say!(self.trace, "", "=== all faults are over");
        self.set_writing(false);
        self.net.cut = false;
        for node in &mut self.nodes {
            node.frozen_until = 0;
            node.slow_until = 0;
            node.stalled_until = [0; 2];
            node.disk.repair();
        }
        let end = self.steps + HEALING;
        while !(self.is_synced() && self.is_quiet()) {
            if self.steps % 50 == 0 {
                self.repair();
            }
            self.step();
            if self.steps >= end {
                violation!("no convergence in {HEALING} steps; {}", self.report());
            }
        }
        self.oracle.compare(&self.nodes);
        let current = |n: usize| {
            let volume = self.nodes[n].engine.volume(0);
            volume.map(|volume| volume.generation.current & !1)
        };
        assert_eq!(
            current(A),
            current(B),
            "both disks hold the same generation; {}",
            self.report()
        );
    }
}
