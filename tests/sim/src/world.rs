// SPDX-License-Identifier: GPL-2.0

//! Two nodes, the network between them, an application, and the oracle.

use std::collections::BTreeMap;

use rdb_engine::admin::Request;
use rdb_engine::effects::{Millis, Outcome};
use rdb_engine::link::{LinkFailure, LinkTerms, NetOptions};
use rdb_engine::request::{AppIo, AppOp};
use rdb_engine::wire::{Agreed, ConnState, DiskState, Features, Range, ReplicationProtocol, Role};

use crate::disk::Stamp;
use crate::node::{AppWork, Happened, Link, Message, Node, SECTORS};
use crate::rng::Rng;

/// The first node.
pub const A: usize = 0;
/// The second node.
pub const B: usize = 1;

/// What a run does, and how wild it is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Replication protocol.
    pub protocol: ReplicationProtocol,
    /// Requests that the application keeps in flight.
    pub depth: usize,
    /// One out of so many steps cuts the link; 0 = never.
    pub cut_one_in: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            protocol: ReplicationProtocol::C,
            depth: 8,
            cut_one_in: 0,
        }
    }
}

/// What the outside knows of a sector.
#[derive(Clone, Default)]
struct Known {
    /// Last acknowledged write.
    acked: Stamp,
    /// Writes submitted and not acknowledged since then, or whose fate is unknown.
    maybe: Vec<Stamp>,
}

/// Everything.
pub struct World {
    /// Both nodes.
    pub nodes: [Node; 2],
    /// Virtual time.
    pub now: Millis,
    /// Source of everything that is random.
    pub rng: Rng,
    plan: Plan,
    known: Vec<Known>,
    stamp: Stamp,
    in_flight: BTreeMap<Stamp, AppIo>,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Steps taken.
    pub steps: u64,
    /// The network carries nothing.
    pub cut: bool,
    writing: bool,
    seed: u64,
}

impl World {
    /// Two nodes with fresh metadata, up and looking for each other.
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut world = Self {
            nodes: [Node::new("A"), Node::new("B")],
            now: 1000,
            rng: Rng::new(seed),
            plan,
            known: vec![Known::default(); SECTORS as usize],
            stamp: 0,
            in_flight: BTreeMap::new(),
            acknowledged: 0,
            steps: 0,
            cut: false,
            writing: false,
            seed,
        };
        for n in [A, B] {
            world.start(n);
        }
        world
    }

    /// Attaches and connects a node, as `up` does.
    pub fn start(&mut self, n: usize) {
        let net = NetOptions {
            protocol: self.plan.protocol,
            ..NetOptions::default()
        };
        let node = &mut self.nodes[n];
        node.alive = true;
        node.bring_up(self.now, &mut self.rng);
        node.admin(self.now, Request::Connect(net), &mut self.rng);
        self.until(
            |world| world.nodes[n].admin == Some(Some(Ok(()))),
            "connect is taken",
        );
    }

    /// Both nodes with equal, up to date data; `primary` is Primary.
    pub fn synced(seed: u64, plan: Plan, primary: usize) -> Self {
        let mut world = Self::new(seed, plan);
        world.until(|w| w.all_connected(), "the nodes connect");
        let request = Request::Primary {
            volume: 0,
            force: true,
        };
        world.ask(primary, request);
        world.until(World::is_synced, "the initial resync ends");
        world
    }

    /// Runs a request of the administrator to its end, which must be success.
    pub fn ask(&mut self, n: usize, request: Request) {
        self.nodes[n].admin(self.now, request, &mut self.rng);
        self.until(
            |w| matches!(w.nodes[n].admin, Some(Some(_))),
            "the request ends",
        );
        let result = self.nodes[n].admin;
        assert_eq!(
            result,
            Some(Some(Ok(()))),
            "{request:?} on {} {}",
            n,
            self.report()
        );
    }

    fn all_connected(&self) -> bool {
        self.nodes
            .iter()
            .all(|node| node.state().conn == ConnState::Connected)
    }

    /// Connected, both UpToDate.
    pub fn is_synced(&self) -> bool {
        self.nodes.iter().all(|node| {
            let state = node.state();
            state.conn == ConnState::Connected
                && state.disk == DiskState::UpToDate
                && state.pdsk == DiskState::UpToDate
        })
    }

    /// Lets the application write, or stops it.
    pub fn set_writing(&mut self, on: bool) {
        self.writing = on;
    }

    /// Steps until `done`; a run that does not get there is a failure.
    pub fn until(&mut self, done: impl Fn(&Self) -> bool, what: &str) {
        let mut patience = 400_000;
        while !done(self) {
            self.step();
            patience -= 1;
            assert!(patience > 0, "never happened: {what}; {}", self.report());
        }
    }

    /// Takes `n` steps.
    pub fn run(&mut self, n: u64) {
        for _ in 0..n {
            self.step();
        }
    }

    /// Stops the application, and waits until everything in flight is settled and both disks are equal.
    pub fn converge(&mut self) {
        self.writing = false;
        self.cut = false;
        self.plan.cut_one_in = 0;
        self.until(|w| w.is_synced() && w.in_flight.is_empty(), "convergence");
        self.until(|w| w.nodes.iter().all(Node::is_idle), "quiet");
        assert!(
            self.nodes[A].disk.sectors == self.nodes[B].disk.sectors,
            "disks differ at {:?}; {}",
            self.first_difference(),
            self.report()
        );
        let generation = |n: usize| {
            self.nodes[n]
                .engine
                .volume(0)
                .map(|volume| volume.generation)
        };
        let (a, b) = (
            generation(A).expect("a volume"),
            generation(B).expect("a volume"),
        );
        assert_eq!(a.current & !1, b.current & !1, "{}", self.report());
        assert_eq!(a.bitmap, 0, "{}", self.report());
        assert_eq!(b.bitmap, 0, "{}", self.report());
        for n in [A, B] {
            assert_eq!(
                self.nodes[n]
                    .engine
                    .volume(0)
                    .map(|volume| volume.out_of_sync()),
                Some(0)
            );
        }
    }

    fn first_difference(&self) -> Option<(usize, Stamp, Stamp)> {
        let (a, b) = (&self.nodes[A].disk.sectors, &self.nodes[B].disk.sectors);
        (0..a.len())
            .find(|i| a[*i] != b[*i])
            .map(|i| (i, a[i], b[i]))
    }

    /// Kills a node.
    pub fn crash(&mut self, n: usize) {
        // What the application had in flight may or may not be there.
        if self.nodes[n].state().role == Role::Primary {
            self.in_flight.clear();
        }
        self.nodes[n].crash(&mut self.rng);
    }

    /// Makes `n` Primary after the other one has died, and checks every sector against what the application was told.
    pub fn take_over(&mut self, n: usize) {
        self.ask(
            n,
            Request::Primary {
                volume: 0,
                force: false,
            },
        );
        let report = self.report();
        for (i, known) in self.known.iter_mut().enumerate() {
            let found = self.nodes[n].disk.sectors[i];
            assert!(
                found == known.acked || known.maybe.contains(&found),
                "sector {i} has {found}, acknowledged was {}, possible {:?}; {report}",
                known.acked,
                known.maybe,
            );
            // From now on this is the truth.
            *known = Known {
                acked: found,
                maybe: Vec::new(),
            };
        }
    }

    fn primary(&self) -> Option<usize> {
        [A, B]
            .into_iter()
            .find(|&n| self.nodes[n].alive && self.nodes[n].state().role == Role::Primary)
    }

    /// One thing that could happen next happens.
    pub fn step(&mut self) {
        self.steps += 1;
        self.now += self.rng.below(2);
        self.connect_or_break();
        if self.writing && self.in_flight.len() < self.plan.depth && self.rng.one_in(3) {
            self.write_something();
        }
        if self.plan.cut_one_in > 0 && self.rng.one_in(self.plan.cut_one_in) {
            self.cut = !self.cut;
        }
        let mut choices = Vec::new();
        for n in [A, B] {
            let mut own = Vec::new();
            self.nodes[n].choices(&mut own);
            choices.extend(own.into_iter().map(|choice| (n, choice)));
        }
        if choices.is_empty() {
            self.now += 50;
        }
        if choices.is_empty() || self.rng.one_in(16) {
            self.ticks();
        }
        let Some(&(n, choice)) = choices.get(self.rng.below(choices.len() as u64) as usize) else {
            return;
        };
        let (mut wire, mut happened) = (Vec::new(), Vec::new());
        self.nodes[n].step(choice, self.now, &mut self.rng, &mut wire, &mut happened);
        for (stream, message) in wire {
            self.deliver(1 - n, stream, message);
        }
        for Happened::Completed(work, outcome, read) in happened {
            self.completed(&work, outcome, &read);
        }
    }

    fn deliver(&mut self, to: usize, stream: usize, message: Message) {
        let node = &mut self.nodes[to];
        if node.alive && node.link == Link::Up && !self.cut {
            node.inbox[stream].push_back(message);
        } else if self.cut {
            // Bytes are lost with the connection, never inside of it.
            self.nodes[1 - to].peer_gone(self.now, LinkFailure::BrokenPipe, &mut self.rng);
        }
    }

    fn ticks(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.alive) {
            if node
                .engine
                .next_deadline()
                .is_some_and(|deadline| deadline <= self.now)
            {
                node.tick(self.now, &mut self.rng);
            }
        }
    }

    fn connect_or_break(&mut self) {
        for n in [A, B] {
            if self.nodes[n].closing && self.rng.one_in(4) {
                self.nodes[n].close_link(self.now, &mut self.rng);
            }
            let peer_up =
                self.nodes[1 - n].alive && self.nodes[1 - n].link == Link::Up && !self.cut;
            let node = &mut self.nodes[n];
            let drained = node.inbox.iter().all(|stream| stream.is_empty());
            if node.alive
                && node.link == Link::Up
                && !node.closing
                && !peer_up
                && drained
                && self.rng.one_in(8)
            {
                node.peer_gone(self.now, LinkFailure::BrokenPipe, &mut self.rng);
            }
        }
        let ready = self.nodes.iter().all(|node| {
            node.alive
                && node.link == Link::Wanted
                && !node.closing
                && node.engine.connection() == ConnState::WFConnection
        });
        if ready && !self.cut {
            let agreed = Agreed {
                version: 101,
                features: Features::ALL,
                ..Agreed::NOTHING
            };
            let first = self.rng.one_in(2);
            for n in [A, B] {
                let terms = LinkTerms {
                    agreed,
                    resolve: first == (n == A),
                };
                self.nodes[n].link_up(self.now, terms, &mut self.rng);
            }
        }
    }

    fn write_something(&mut self) {
        let Some(primary) = self.primary() else {
            return;
        };
        let sectors = 1 + self.rng.below(24);
        let range = Range {
            sector: self.rng.below(SECTORS - sectors),
            bytes: sectors as u32 * 512,
        };
        let op = match self.rng.below(8) {
            0 => AppOp::Read,
            1 => AppOp::Flush,
            _ => AppOp::Write,
        };
        let range = if op == AppOp::Flush {
            Range {
                sector: 0,
                bytes: 0,
            }
        } else {
            range
        };
        // What a read finds beside a write to the same sectors is anybody's guess.
        let unclear = self.in_flight.values().any(|other| {
            other.range.overlaps(&range) && (op == AppOp::Read || other.op == AppOp::Read)
        });
        if unclear {
            return;
        }
        self.stamp += 1;
        let fua = op == AppOp::Write && self.rng.one_in(10);
        let io = AppIo {
            op,
            range,
            fua,
            preflush: fua && self.rng.one_in(2),
            sync: true,
        };
        let work = AppWork {
            io,
            stamp: self.stamp,
            found: Vec::new(),
        };
        match self.nodes[primary].submit(self.now, work, &mut self.rng) {
            Some(Ok(())) => {
                self.in_flight.insert(self.stamp, io);
                if op == AppOp::Write {
                    for sector in range.sector..range.end() {
                        self.known[sector as usize].maybe.push(self.stamp);
                    }
                }
            }
            Some(Err(outcome)) => assert_ne!(outcome, Outcome::Error, "refused; {}", self.report()),
            None => (),
        }
    }

    fn completed(&mut self, work: &AppWork, outcome: Outcome, read: &[Stamp]) {
        let known_io = self.in_flight.remove(&work.stamp).is_some();
        assert!(
            known_io,
            "a completion without a request; {}",
            self.report()
        );
        assert_eq!(outcome, Outcome::Ok, "{:?}; {}", work.io, self.report());
        let range = work.io.range;
        match work.io.op {
            AppOp::Write => {
                self.acknowledged += 1;
                for sector in range.sector..range.end() {
                    let known = &mut self.known[sector as usize];
                    // Overlapping writes are held back by the engine, so the order of completions is that of effects.
                    known.acked = work.stamp;
                    known
                        .maybe
                        .retain(|stamp| *stamp > work.stamp || self.in_flight.contains_key(stamp));
                }
            }
            AppOp::Read => {
                for (sector, stamp) in (range.sector..).zip(read) {
                    let known = &self.known[sector as usize];
                    let fits = *stamp == known.acked || known.maybe.contains(stamp);
                    assert!(fits, "read of sector {sector}: {stamp}; {}", self.report());
                }
            }
            _ => (),
        }
    }

    /// The seed and what both nodes went through, for messages of failures.
    pub fn report(&self) -> String {
        let mut text = format!("seed {} step {} time {}\n", self.seed, self.steps, self.now);
        for node in &self.nodes {
            let state = node.state();
            text += &format!(
                "{}: {}/{} {} {}/{} oos {:?}, link {:?}, idle {}\n",
                node.name,
                state.role,
                state.peer,
                state.conn,
                state.disk,
                state.pdsk,
                node.engine.volume(0).map(|volume| volume.out_of_sync()),
                node.link,
                node.is_idle(),
            );
            let skip = node.log.len().saturating_sub(40);
            for line in &node.log[skip..] {
                text += &format!("    {line}\n");
            }
        }
        text
    }
}
