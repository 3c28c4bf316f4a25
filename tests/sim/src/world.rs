// SPDX-License-Identifier: GPL-2.0

//! Two nodes, the application, and time.

use std::collections::BTreeMap;
use std::rc::Rc;

use rdb_engine::admin::Request;
use rdb_engine::effects::{Millis, Notice, Outcome};
use rdb_engine::meta::MetaFlags;
use rdb_engine::request::{AppIo, AppOp};
use rdb_engine::wire::{ConnState, DiskState, Range, Role, State};

use crate::area::{Area, Stamp};
use crate::chaos::Chaos;
use crate::network::Network;
use crate::node::{Choice, Link, Make, Node};
use crate::oracle::{Oracle, Remote, is_synced};
use crate::plan::Plan;
use crate::queues::{AppWork, Event};
use crate::rng::Rng;
use crate::tally::Tally;
use crate::trace::{Trace, say, violation};

/// The first node.
pub const A: usize = 0;
/// The second node.
pub const B: usize = 1;

/// Steps that a change which must come may take.
const PATIENCE: u64 = 400_000;

/// Whether a node in this state is the target of a resync.
pub(crate) fn is_target(conn: ConnState) -> bool {
    matches!(conn, ConnState::SyncTarget | ConnState::PausedSyncT)
}

/// A request of the application under way.
struct Flight {
    io: AppIo,
    /// The disks that may answer a read.
    views: Vec<usize>,
    /// The oracle's time when it was submitted.
    since: u64,
    /// The connection over which both disks were UpToDate then.
    connection: Option<u64>,
    /// The disk that was attached then, see [`crate::disk::Disk::attachments`].
    attachment: u64,
}

/// Everything.
pub struct World {
    /// Both nodes.
    pub nodes: [Node; 2],
    /// Virtual time.
    pub now: Millis,
    /// Decides what happens next.
    pub rng: Rng,
    /// What is between the nodes.
    pub net: Network,
    /// What the run is like.
    pub plan: Plan,
    /// The judge.
    pub oracle: Oracle,
    /// Counters.
    pub tally: Tally,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Steps taken.
    pub steps: u64,
    /// Both nodes have found that their data diverged, and nothing has resolved it yet.
    pub split_brain: bool,
    /// The nodes' data have nothing in common.
    pub unrelated: bool,
    /// The log.
    pub trace: Trace,
    pub(crate) chaos: Chaos,
    area: Rc<Area>,
    work_rng: Rng,
    stamp: Stamp,
    in_flight: [BTreeMap<Stamp, Flight>; 2],
    writing: bool,
    seed: u64,
}

impl World {
    /// Two nodes with fresh metadata, up and looking for each other. With `RDB_SIM_TRACE` in the environment a failure shows the
    /// last things that happened.
    pub fn new(seed: u64, plan: Plan) -> Self {
        let wanted = std::env::var_os("RDB_SIM_TRACE").is_some();
        let mut world = Self::down(seed, plan, Trace::new(wanted));
        for n in [A, B] {
            world.start(n);
        }
        world
    }

    /// Two nodes with fresh metadata, not started.
    pub fn down(seed: u64, plan: Plan, trace: Trace) -> Self {
        let mut layout_rng = Rng::fork(seed, 1);
        let area = Rc::new(Area::new(plan.usable(), plan.regions, &mut layout_rng));
        let make = Make {
            sectors: plan.sectors,
            area: area.clone(),
            external: plan.external,
            options: plan.disk,
            log_slots: plan.log_slots,
            trace: trace.clone(),
        };
        let mut nodes = [
            Node::new("A", &make, Rng::fork(seed, 2)),
            Node::new("B", &make, Rng::fork(seed, 3)),
        ];
        for (n, node) in (1..).zip(&mut nodes) {
            node.alive = false;
            // New disks differ, and in no sector is what a write would leave.
            node.disk.fill(n << 48);
        }
        Self {
            nodes,
            now: 1000,
            rng: Rng::fork(seed, 4),
            net: Network::default(),
            oracle: Oracle::new(area.clone(), plan.net.protocol),
            tally: Tally::default(),
            acknowledged: 0,
            steps: 0,
            split_brain: false,
            unrelated: false,
            trace,
            chaos: Chaos::new(seed),
            area,
            work_rng: Rng::fork(seed, 5),
            stamp: 0,
            in_flight: Default::default(),
            writing: false,
            seed,
            plan,
        }
    }

    /// Attaches and connects a node, as `up` does, and waits until that is done.
    pub fn start(&mut self, n: usize) {
        self.power_on(n);
        assert!(self.nodes[n].begin_attach(), "the disk can be read");
        self.until(|w| !w.nodes[n].metadata.is_attaching(), "attach ends");
        self.request(n, Request::Connect(self.plan.net_of(n)));
        self.until(
            |world| world.nodes[n].admin == Some(Some(Ok(()))),
            "connect is taken",
        );
    }

    /// Starts a node, with neither disk nor connection.
    pub fn power_on(&mut self, n: usize) {
        self.nodes[n].alive = true;
        self.nodes[n].add_volume();
        self.see_events(n);
    }

    /// Both nodes with equal, up to date data; `primary` is Primary.
    pub fn synced(seed: u64, plan: Plan, primary: usize) -> Self {
        let mut world = Self::new(seed, plan);
        world.make_primary(primary);
        world
    }

    /// Waits until the nodes are connected for the first time, and makes one of them Primary by force.
    pub fn make_primary(&mut self, primary: usize) {
        self.until(|w| w.all_connected(), "the nodes connect");
        let request = Request::Primary {
            volume: 0,
            force: true,
        };
        self.ask(primary, request);
        self.until(World::is_synced, "the initial resync ends");
    }

    /// Begins a request of the administrator.
    pub fn request(&mut self, n: usize, request: Request) {
        self.nodes[n].admin(self.now, request);
        self.see_events(n);
        let done = self.nodes[n].admin == Some(Some(Ok(())));
        self.check_suspended(n, done);
    }

    /// Runs a request of the administrator to its end, which must be success.
    pub fn ask(&mut self, n: usize, request: Request) {
        self.request(n, request);
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
        self.nodes.iter().all(|node| is_synced(&node.state()))
    }

    /// Lets the application write, or stops it.
    pub fn set_writing(&mut self, on: bool) {
        self.writing = on;
    }

    /// Whether the application runs.
    pub fn is_writing(&self) -> bool {
        self.writing
    }

    /// Requests of the application that have not ended.
    pub fn in_flight(&self, n: usize) -> usize {
        self.in_flight[n].len()
    }

    /// Steps until `done`; a run that does not get there is a failure.
    pub fn until(&mut self, done: impl Fn(&Self) -> bool, what: &str) {
        let mut patience = PATIENCE;
        while !done(self) {
            self.step();
            patience -= 1;
            if patience == 0 {
                violation!("never happened: {what}; {}", self.report());
            }
        }
    }

    /// Takes `n` steps.
    pub fn run(&mut self, n: u64) {
        for _ in 0..n {
            self.step();
        }
    }

    /// Nothing is under way anywhere.
    pub fn is_quiet(&self) -> bool {
        self.in_flight.iter().all(BTreeMap::is_empty) && self.nodes.iter().all(Node::is_idle)
    }

    /// Stops the application, and waits until everything in flight is settled and both disks are equal.
    pub fn converge(&mut self) {
        self.writing = false;
        self.net.cut = false;
        self.plan.cut_one_in = 0;
        self.until(World::is_synced, "convergence");
        self.until(|w| w.is_quiet() && w.is_synced(), "quiet");
        self.oracle.compare(&self.nodes);
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
                Some(0),
                "{}",
                self.report()
            );
        }
    }

    /// Kills a node, and what its disk's cache holds.
    pub fn crash(&mut self, n: usize) {
        self.kill(n, true);
    }

    /// Kills a node; with `power` its disk's cache dies with it.
    pub fn kill(&mut self, n: usize, power: bool) {
        self.in_flight[n].clear();
        let unflushed = self.nodes[n].disk.unflushed();
        let met = self.nodes[n].crash(power, &mut self.rng);
        self.tally.crashes += 1;
        self.chaos
            .count_crash(&mut self.tally, &met, power && unflushed > 0);
        self.oracle.crashed(n, power);
    }

    /// Makes `n` Primary after the other one has died; every sector is checked against what the application was told.
    pub fn take_over(&mut self, n: usize) {
        let request = Request::Primary {
            volume: 0,
            force: false,
        };
        self.ask(n, request);
    }

    /// One thing that could happen next happens.
    pub fn step(&mut self) {
        self.steps += 1;
        self.now += self.rng.below(2);
        self.trace.set_time(self.now, self.steps);
        self.network();
        for n in [A, B] {
            let room = self.in_flight[n].len() < self.plan.depth;
            if self.writing && room && self.rng.one_in(3) {
                self.write_something(n);
            }
        }
        if self.rng.one_in(self.plan.cut_one_in) {
            self.net.cut = !self.net.cut;
        }
        let mut choices = Vec::with_capacity(16);
        for n in [A, B] {
            self.nodes[n].choices(self.now, n, &mut choices);
        }
        if choices.is_empty() {
            self.nothing_to_do();
        }
        if choices.is_empty() || self.rng.one_in(16) {
            self.ticks();
        }
        if !choices.is_empty() {
            let (n, choice) = self.rng.pick(&choices);
            self.take(n, choice);
        }
    }

    fn take(&mut self, n: usize, choice: Choice) {
        if let Some(message) = self.nodes[n].step(choice, self.now, &mut self.rng) {
            self.see_events(n);
            let Choice::Send(stream) = choice else {
                unreachable!("only a send has a message");
            };
            self.deliver(1 - n, stream, message);
        }
        self.see_events(n);
    }

    fn nothing_to_do(&mut self) {
        self.now += 50;
        let links_settled = self.link_is_intact()
            || self
                .nodes
                .iter()
                .all(|node| node.link != Link::Up && node.offered.is_none() && !node.q.closing);
        let alive = self.nodes.iter().all(|node| node.alive);
        if alive && links_settled && self.is_quiet() {
            self.oracle.compare(&self.nodes);
        }
    }

    fn ticks(&mut self) {
        for n in [A, B] {
            let node = &mut self.nodes[n];
            let due = node.next_deadline().is_some_and(|time| time <= self.now);
            if due && self.now >= node.frozen_until {
                node.tick(self.now);
                self.see_events(n);
            }
        }
    }

    fn write_something(&mut self, n: usize) {
        let node = &self.nodes[n];
        let state = node.state();
        let leaving = node.admin_busy() && matches!(node.asked, Some(Request::Secondary { .. }));
        if !node.alive || state.role != Role::Primary || self.now < node.frozen_until || leaving {
            return;
        }
        let op = match self.work_rng.below(16) {
            0 | 1 => AppOp::Read,
            2 => AppOp::Flush,
            3 if self.work_rng.one_in(4) => AppOp::Zeroes { unmap: false },
            _ => AppOp::Write,
        };
        let range = match op {
            AppOp::Flush => Range {
                sector: 0,
                bytes: 0,
            },
            _ => self.area.random_range(self.plan.hot, &mut self.work_rng),
        };
        self.submit(n, op, range);
    }

    /// Submits a request of the application; true if it was accepted.
    pub fn submit(&mut self, n: usize, op: AppOp, range: Range) -> bool {
        // What a read finds beside a write to the same sectors is anybody's guess.
        let unclear = self.in_flight[n].values().any(|other| {
            other.io.range.overlaps(&range) && (op == AppOp::Read || other.io.op == AppOp::Read)
        });
        if unclear {
            return false;
        }
        self.stamp += 1;
        let stamp = self.stamp;
        let fua = op == AppOp::Write && self.work_rng.one_in(10);
        let io = AppIo {
            op,
            range,
            fua,
            preflush: fua && self.work_rng.one_in(2),
            sync: true,
        };
        let work = AppWork {
            io,
            stamp,
            found: Vec::new(),
            sent_over: None,
            local: None,
        };
        let state = self.nodes[n].state();
        let flight = Flight {
            io,
            views: vec![view(n, &state)],
            since: self.oracle.time(),
            connection: self.replicated_over(n),
            attachment: self.nodes[n].disk.attachments,
        };
        if matches!(op, AppOp::Zeroes { .. }) {
            // They carry no data that could be followed.
            self.oracle.may_reach(A, &work);
            self.oracle.may_reach(B, &work);
        }
        let taken = self.nodes[n].submit(self.now, work);
        match taken {
            Some(Ok(())) => {
                say!(
                    self.trace,
                    self.nodes[n].name,
                    "app {op:?} {} #{stamp}",
                    crate::node::at(&range)
                );
                self.in_flight[n].insert(stamp, flight);
                if op == AppOp::Write {
                    self.tally.submitted += 1;
                }
            }
            Some(Err(outcome)) => self.check_error(n, &io, outcome),
            None => (),
        }
        self.see_events(n);
        matches!(taken, Some(Ok(())))
    }

    /// An error is right only where no good disk can be reached.
    fn check_error(&self, n: usize, io: &AppIo, outcome: Outcome) {
        let node = &self.nodes[n];
        let good = node.state().disk == DiskState::UpToDate && !node.disk.has_failed;
        if outcome == Outcome::Error && good {
            violation!("{}: {io:?} failed, although the disk is good", node.name);
        }
    }

    /// The connection, if both disks are UpToDate over one.
    fn replicated_over(&self, n: usize) -> Option<u64> {
        (self.link_is_intact() && is_synced(&self.nodes[n].state()))
            .then_some(self.nodes[n].q.connection)
    }

    fn completed(&mut self, n: usize, work: &AppWork, outcome: Outcome) {
        let Some(mut flight) = self.in_flight[n].remove(&work.stamp) else {
            violation!("request #{} ended, but none was under way", work.stamp);
        };
        say!(
            self.trace,
            self.nodes[n].name,
            "app done #{} {outcome:?}",
            work.stamp
        );
        if outcome != Outcome::Ok {
            // What was begun without a good disk, or with one that is gone, may end so.
            if flight.views[0] == n && flight.attachment == self.nodes[n].disk.attachments {
                self.check_error(n, &work.io, outcome);
            }
            return;
        }
        match work.io.op {
            AppOp::Read => {
                flight.views.push(view(n, &self.nodes[n].state()));
                // A Primary that has lost both good copies still reads what it has caught up with; nobody promises more. Nor does
                // anybody before it has met the peer, which may have been made Primary meanwhile.
                let met = self.nodes[n].state().conn >= ConnState::Connected;
                let settled = met && self.link_is_intact() && !self.oracle.forked;
                let alone = !settled && flight.views.contains(&(1 - n));
                if !alone {
                    self.oracle.read(&flight.views, work);
                }
            }
            AppOp::Flush => self.flush_completed(n, &flight, work),
            _ => self.write_completed(n, &flight, work),
        }
    }

    fn flush_completed(&mut self, n: usize, flight: &Flight, work: &AppWork) {
        if work.local == Some(true) {
            self.oracle.flushed(n, flight.since);
        }
        // The peer has acknowledged all epochs that were closed before.
        let connection = self.replicated_over(n);
        if connection.is_some() && connection == flight.connection && self.plan.disk.disk_flushes {
            self.oracle.flushed(1 - n, flight.since);
        }
    }

    fn write_completed(&mut self, n: usize, flight: &Flight, work: &AppWork) {
        self.acknowledged += 1;
        self.tally.acknowledged += 1;
        let (node, peer) = (&self.nodes[n], &self.nodes[1 - n]);
        let state = node.state();
        let over = work.sent_over;
        let has = self.link_is_intact()
            && over == Some(node.q.connection)
            && peer_gets(&state)
            && peer.state().disk >= DiskState::Inconsistent
            && !peer.disk.has_failed;
        if has && flight.connection == over && is_synced(&state) && is_synced(&peer.state()) {
            self.oracle.check_remote(work, peer);
        }
        // The peer may be said to lose its disk, and not have lost it yet.
        let written = || {
            let mut cells = self.area.span(&work.io.range);
            over.is_some() && cells.all(|cell| peer.disk.cells[cell] == work.content())
        };
        let remote = match has || written() {
            true => Remote::Has,
            false => Remote::Not,
        };
        if remote == Remote::Not || work.local != Some(true) {
            say!(
                self.trace,
                node.name,
                "  #{} is on one disk: own {:?}, peer's {remote:?}",
                work.stamp,
                work.local
            );
        }
        self.oracle.acknowledged(n, work, remote);
    }

    /// Looks at what the engine of a node has said since the last time.
    pub(crate) fn see_events(&mut self, n: usize) {
        while let Some(event) = self.nodes[n].next_event() {
            match event {
                Event::State { old, new, why } => self.state_changed(n, &old, &new, why),
                Event::Notice(notice) => self.notice(n, notice),
                Event::PeerWrites => self.oracle.peer_writes(n),
                Event::Verdict(verdict) => self.compare_verdicts(n, verdict),
                Event::Completed(work, outcome) => self.completed(n, &work, outcome),
                Event::MayReach(node, work) => {
                    self.oracle.may_reach(if node { n } else { 1 - n }, &work);
                }
                Event::Admin(result) => {
                    say!(self.trace, self.nodes[n].name, "# -> {result:?}");
                    self.nodes[n].admin = Some(Some(result));
                    self.check_suspended(n, result.is_ok());
                }
                Event::Attached(result) => {
                    // A Primary without a disk, and the newest data nowhere: somebody must give up.
                    let alone = self.nodes[n].state().conn == ConnState::StandAlone;
                    if alone && result.is_err_and(|refusal| refusal.code == 150) {
                        self.chaos.in_the_way = Some(n);
                    }
                }
            }
        }
    }

    /// Whether somebody wants the connection to end, or it would not work the next time either.
    fn may_stay_alone(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let asked = matches!(node.asked, Some(Request::Disconnect { .. }));
        (asked && node.admin_busy())
            || self.split_brain
            || self.unrelated
            || self.chaos.two_primaries
            || self.chaos.is_unwilling()
    }

    /// When suspend-io returns, nothing is in flight.
    fn check_suspended(&self, n: usize, ok: bool) {
        let suspended = matches!(self.nodes[n].asked, Some(Request::SuspendIo { .. }));
        if ok && suspended && self.nodes[n].has_app_io() {
            violation!(
                "{}: suspend-io returns while I/O is in flight",
                self.nodes[n].name
            );
        }
    }

    fn state_changed(&mut self, n: usize, old: &State, new: &State, why: &'static str) {
        say!(self.trace, self.nodes[n].name, "= {} ({why})", show(new));
        if new.conn == ConnState::ProtocolError && old.conn != new.conn {
            violation!("{}: the peer broke the protocol", self.nodes[n].name);
        }
        let lost = matches!(
            old.conn,
            ConnState::Timeout | ConnState::BrokenPipe | ConnState::NetworkFailure
        );
        if lost && new.conn == ConnState::StandAlone && !self.may_stay_alone(n) {
            violation!(
                "{}: the connection was lost, and is not tried again",
                self.nodes[n].name
            );
        }
        if new.disk == DiskState::Attaching && old.disk != new.disk {
            let flags = self.nodes[n].disk.superblock().flags;
            self.oracle
                .attaches(n, flags.contains(MetaFlags::CONSISTENT));
        }
        self.oracle.state_changed(n, old, new, why, &self.nodes[n]);
        self.chaos.meet_state(&mut self.tally, old, new);
    }

    fn notice(&mut self, n: usize, notice: Notice) {
        say!(self.trace, self.nodes[n].name, "! {notice:?}");
        match notice {
            Notice::Handshake { settled, .. } => {
                self.tally.rule(settled.decision.row, settled.step);
                self.oracle.forked |= settled.is_split_brain();
            }
            Notice::SplitBrain { resolved, .. } => self.split_brain |= !resolved,
            Notice::Peer(
                "this node should be sync target, but it is Primary"
                | "the peer's data are not those that this diskless Primary has used",
            ) => {
                self.chaos.in_the_way = Some(n);
            }
            Notice::Peer("the other node is Primary, and two Primaries are not allowed") => {
                self.chaos.two_primaries = true;
            }
            Notice::Peer("this node should be sync source, but its disk is Inconsistent") => {
                self.chaos.best_of_bad = Some(n);
            }
            Notice::UnrelatedData { .. } => self.unrelated = true,
            Notice::BadPacket { packet, what } => {
                violation!("{}: bad packet {packet}: {what}", self.nodes[n].name)
            }
            _ => (),
        }
    }

    /// The seed and what both nodes went through, for messages of failures.
    pub fn report(&self) -> String {
        let mut text = format!("seed {} step {} time {}\n", self.seed, self.steps, self.now);
        for node in &self.nodes {
            text += &format!(
                "{}: {} oos {:?}, link {:?}, alive {}, idle {}, admin {:?}\n",
                node.name,
                show(&node.state()),
                node.engine.volume(0).map(|volume| volume.out_of_sync()),
                node.link,
                node.alive,
                node.is_idle(),
                node.admin,
            );
            for work in node.q.app.iter().flatten() {
                text += &format!("  unfinished: {work:?}\n");
            }
        }
        text + &self.trace.tail(80)
    }
}

/// Whose disk answers a read of node `n`.
fn view(n: usize, state: &State) -> usize {
    match state.disk {
        DiskState::UpToDate => n,
        _ => 1 - n,
    }
}

/// Whether a write that is sent in this state is on the peer's disk when it is acknowledged.
fn peer_gets(state: &State) -> bool {
    use ConnState as C;
    state.conn >= C::Connected
        && (state.pdsk == DiskState::UpToDate
            || matches!(state.conn, C::SyncSource | C::PausedSyncS))
}

/// A state for the log.
pub fn show(state: &State) -> String {
    format!(
        "{}/{} {} {}/{}{}{}",
        state.role,
        state.peer,
        state.conn,
        state.disk,
        state.pdsk,
        if state.is_suspended() {
            " suspended"
        } else {
            ""
        },
        if state.is_sync_paused() {
            " paused"
        } else {
            ""
        },
    )
}
