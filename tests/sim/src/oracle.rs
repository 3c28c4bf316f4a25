// SPDX-License-Identifier: GPL-2.0

//! What the outside knows: which content each sector of each disk may have, given what the application was told.
//!
//! There is an expectation per node: what its disk must hold if it is used on its own. A write is in it from the moment when it may
//! reach the disk; an acknowledgement makes it binding, for the peer's disk as the replication protocol promises; a flush makes it binding
//! even after a loss of power. The end of a resync gives the target the expectations of its source.

use std::rc::Rc;

use rdb_engine::request::AppOp;
use rdb_engine::wire::{ConnState, DiskState, Range, ReplicationProtocol, Role, State};

use crate::area::{Area, Stamp};
use crate::node::{Node, at};
use crate::queues::AppWork;
use crate::trace::violation;
use crate::world::is_target;

/// How far the application may rely on a version of a sector; with the time since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Not at all: it may be there or not.
    None,
    /// It will be there once its epoch is acknowledged (protocol A).
    Sent(u64),
    /// It is in the memory of the node (protocol B).
    Received(u64),
    /// It is on the disk, perhaps in its cache.
    Written(u64),
}

impl Promise {
    fn since(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Sent(time) | Self::Received(time) | Self::Written(time) => Some(time),
        }
    }

    fn is_binding(self) -> bool {
        matches!(self, Self::Received(_) | Self::Written(_))
    }
}

/// A write that a sector may hold.
#[derive(Clone, Copy, Debug)]
struct Version {
    stamp: Stamp,
    content: Stamp,
    promise: Promise,
}

/// What is expected of a disk.
#[derive(Clone)]
struct Expectation {
    /// By cell: what is there for sure, even after a loss of power, unless one of the versions is.
    base: Vec<Stamp>,
    /// By cell: the last write that is in `base`.
    settled: Vec<Stamp>,
    /// By cell: later writes, oldest first.
    versions: Vec<Vec<Version>>,
    /// It misses a write that was acknowledged.
    lacks: bool,
    /// It misses one that was on its way when the connection was lost, and that the protocol promises to be on the other disk alone.
    lacks_until_failure: bool,
    /// It is said to be a mixture of old and new, and must not be used.
    garbage: bool,
    /// It is one: data came since then.
    mixed: bool,
    /// An operation on it failed and was passed on: it counts as worse than any other disk (metadata, section 5.6), even one that
    /// lacks writes.
    damaged: bool,
    /// The last write of the application that was sent to a disk, in what a source had when a resync began.
    last_write: Stamp,
    /// What the source had when the disk became the target of a resync.
    target_of: Option<Rc<Expectation>>,
}

impl Expectation {
    fn new(cells: usize) -> Self {
        Self {
            base: vec![0; cells],
            settled: vec![0; cells],
            versions: vec![Vec::new(); cells],
            lacks: false,
            lacks_until_failure: false,
            garbage: true,
            mixed: false,
            damaged: false,
            last_write: 0,
            target_of: None,
        }
    }

    fn allows(&self, cell: usize, found: Stamp) -> bool {
        let versions = &self.versions[cell];
        let from = versions.iter().rposition(|v| v.promise.is_binding());
        let recent = &versions[from.unwrap_or(0)..];
        (from.is_none() && self.base[cell] == found) || recent.iter().any(|v| v.content == found)
    }

    fn add(&mut self, cell: usize, stamp: Stamp, content: Stamp, promise: Promise) {
        let versions = &mut self.versions[cell];
        match versions.iter_mut().rev().find(|v| v.stamp == stamp) {
            Some(version) if promise == Promise::None => version.content = content,
            Some(version) => version.promise = promise,
            None => versions.push(Version {
                stamp,
                content,
                promise,
            }),
        }
    }

    /// `found` is what the application goes on with. What came before may be there again after a loss of power.
    fn settle(&mut self, cell: usize, found: Stamp, now: u64) {
        let versions = &mut self.versions[cell];
        match versions.iter().rposition(|v| v.content == found) {
            Some(at) => {
                versions.truncate(at + 1);
                versions[at].promise = Promise::Written(now);
            }
            None => versions.clear(),
        }
    }

    /// What the target of a resync that is complete must hold: what its source had when it began, and the writes since then, which the
    /// target got beside the resync. What the source promises of those says nothing of the target.
    fn synced_from(&self, source: &Self) -> Self {
        let Some(begin) = &self.target_of else {
            return source.clone();
        };
        let versions = (0..self.base.len())
            .map(|cell| self.versions_after_resync(cell, source, begin))
            .collect();
        Self {
            base: begin.base.clone(),
            settled: begin.settled.clone(),
            versions,
            target_of: None,
            ..source.clone()
        }
    }

    fn versions_after_resync(&self, cell: usize, source: &Self, begin: &Self) -> Vec<Version> {
        let hardened = Version {
            stamp: source.settled[cell],
            content: source.base[cell],
            promise: Promise::Written(0),
        };
        let since = begin.last_write;
        let own = self.versions[cell].iter().filter(|v| v.stamp > since);
        let copied = source.versions[cell].iter().chain([&hardened]);
        // The source's disk may have got later what it had sent long before, or have lost it.
        let mut all: Vec<Version> = own
            .chain(copied.filter(|v| v.stamp > begin.settled[cell]))
            .chain(&begin.versions[cell])
            .copied()
            .collect();
        // Stable: of several with a number, the one that says most of the target is the first.
        all.sort_by_key(|v| v.stamp);
        all.dedup_by_key(|v| v.stamp);
        all
    }
}

/// What became of a write on the peer when it was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// The peer was sent it over a connection that stands, and has a disk.
    Has,
    /// It does not have it, or may have lost it.
    Not,
}

/// The judge of a run.
pub struct Oracle {
    nodes: [Expectation; 2],
    area: Rc<Area>,
    protocol: ReplicationProtocol,
    clock: u64,
    /// The last write that was sent to a disk.
    last_write: Stamp,
    /// An administrator has done something that may cost acknowledged writes, by rights.
    pub forked: bool,
    /// The two disks have been equal once, and no metadata were made anew since then.
    pub related: bool,
    /// Something happened since the last comparison of both disks.
    changed: bool,
}

impl Oracle {
    /// Nothing was written yet.
    pub fn new(area: Rc<Area>, protocol: ReplicationProtocol) -> Self {
        let cells = area.cells();
        Self {
            nodes: [Expectation::new(cells), Expectation::new(cells)],
            area,
            protocol,
            clock: 0,
            last_write: 0,
            forked: false,
            related: false,
            changed: true,
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.changed = true;
        self.clock
    }

    /// The time, to be handed to [`Oracle::flushed`].
    pub fn time(&mut self) -> u64 {
        self.tick()
    }

    /// A write may reach the disk of `n` from now on.
    pub fn may_reach(&mut self, n: usize, work: &AppWork) {
        self.tick();
        self.last_write = self.last_write.max(work.stamp);
        for cell in self.area.span(&work.io.range) {
            self.nodes[n].add(cell, work.stamp, work.content(), Promise::None);
        }
    }

    /// The application was told that a write of node `p` is done.
    pub fn acknowledged(&mut self, p: usize, work: &AppWork, remote: Remote) {
        let now = self.tick();
        let local = work.local == Some(true);
        let peer = match self.protocol {
            ReplicationProtocol::C => Promise::Written(now),
            ReplicationProtocol::B => Promise::Received(now),
            ReplicationProtocol::A => Promise::Sent(now),
        };
        for cell in self.area.span(&work.io.range) {
            if local {
                self.nodes[p].add(cell, work.stamp, work.content(), Promise::Written(now));
            }
            if remote == Remote::Has {
                self.nodes[1 - p].add(cell, work.stamp, work.content(), peer);
            }
        }
        self.nodes[p].lacks |= !local;
        if remote == Remote::Not {
            let on_its_way = work.sent_over.is_some() && self.protocol != ReplicationProtocol::C;
            match on_its_way {
                true => self.nodes[1 - p].lacks_until_failure = true,
                false => self.nodes[1 - p].lacks = true,
            }
        }
        if work.io.fua {
            if local {
                self.make_durable(p, &work.io.range, now);
            }
            if remote == Remote::Has && self.protocol == ReplicationProtocol::C {
                self.make_durable(1 - p, &work.io.range, now);
            }
        }
    }

    fn make_durable(&mut self, n: usize, range: &Range, until: u64) {
        for cell in self.area.span(range) {
            self.harden(n, cell, until);
        }
    }

    fn harden(&mut self, n: usize, cell: usize, until: u64) {
        let node = &mut self.nodes[n];
        let done = |v: &Version| v.promise.since().is_some_and(|since| since <= until);
        if let Some(i) = node.versions[cell].iter().rposition(done) {
            let version = node.versions[cell][i];
            node.base[cell] = version.content;
            node.settled[cell] = version.stamp;
            let hardened: Vec<Version> = node.versions[cell].drain(..=i).collect();
            // A block may have been copied to a target while it held any of them.
            if let Some(begin) = &mut self.nodes[1 - n].target_of {
                Rc::make_mut(begin).versions[cell].extend(hardened);
            }
        }
    }

    /// A flush of the application that was submitted at the time `since` is done on the disk of `n`.
    pub fn flushed(&mut self, n: usize, since: u64) {
        for cell in 0..self.area.cells() {
            if !self.nodes[n].versions[cell].is_empty() {
                self.harden(n, cell, since);
            }
        }
    }

    /// A read of node `p` found this; the disk of `view` is the one that counts.
    pub fn read(&self, views: &[usize], work: &AppWork) {
        for (i, cell) in self.area.span(&work.io.range).enumerate() {
            let Some(&found) = work.found.get(i) else {
                violation!("read #{} ended without data", work.stamp);
            };
            let fits = |view: &usize| {
                let node = &self.nodes[*view];
                node.garbage || node.allows(cell, found)
            };
            if !views.iter().any(fits) {
                let expected = self.describe(views[0], cell);
                violation!(
                    "read #{} of sector {} found {found}, expected {expected}",
                    work.stamp,
                    self.area.sector(cell),
                );
            }
        }
    }

    /// Node `n` died.
    pub fn crashed(&mut self, n: usize, power: bool) {
        self.tick();
        for version in self.nodes[n].versions.iter_mut().flatten() {
            if power || !matches!(version.promise, Promise::Written(_)) {
                version.promise = Promise::None;
            }
        }
    }

    /// Data of the peer may reach the disk of `n` from now on.
    pub fn peer_writes(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.mixed |= node.garbage;
    }

    /// The lower disk of a node is attached; `consistent` is what its superblock says. A target that died before it was sent anything
    /// may still have its old data, and no need to note anything else.
    pub fn attaches(&mut self, n: usize, consistent: bool) {
        if consistent && self.nodes[n].mixed {
            violation!("node {n} is a mixture of old and new, but its superblock does not say so");
        }
        self.nodes[n].garbage = !consistent;
        self.tick();
    }

    /// New metadata were made on a disk.
    pub fn formatted(&mut self, n: usize) {
        self.nodes[n].garbage = true;
        self.nodes[n].mixed = false;
        self.nodes[n].lacks = true;
        self.related = false;
    }

    /// The state of the volume on node `n` changed.
    pub fn state_changed(&mut self, n: usize, old: &State, new: &State, why: &str, node: &Node) {
        self.tick();
        if is_target(new.conn) && !is_target(old.conn) {
            self.resync_begins(n);
        }
        // An operation that failed leaves what was there before; whether that was noted on the disk is another question.
        let failed = why.contains("error") || why.contains("failed");
        if new.disk == DiskState::Inconsistent && old.disk != new.disk {
            self.nodes[n].garbage |= !failed;
            self.nodes[n].damaged |= failed;
        }
        let damaged = self.nodes[n].damaged;
        if new.disk == DiskState::UpToDate {
            self.nodes[n].damaged = false;
        }
        if new.disk == DiskState::Failed {
            self.nodes[1 - n].lacks_until_failure = false;
        }
        let gone = new.disk == DiskState::Failed || new.conn < ConnState::Connected;
        if gone && (old.disk != new.disk || old.conn != new.conn) {
            self.forget_sent(n);
        }
        let by_force = damaged && why == "promoted by the administrator";
        if new.disk == DiskState::UpToDate && (self.nodes[n].garbage || by_force) {
            match why {
                "resync finished" => self.resync_done(n),
                "promoted by the administrator" | "the initial resync is skipped" => {
                    self.adopt(n, node);
                }
                why => violation!(
                    "{}: an inconsistent disk became UpToDate without a resync ({why})",
                    node.name
                ),
            }
        }
        if new.role == Role::Primary && old.role != Role::Primary {
            self.forked |= self.lacks(n);
            if new.disk == DiskState::UpToDate {
                self.promoted(n, node);
            }
        }
    }

    /// What was only sent to this node, or only in its memory, may never reach its disk; the sender knows.
    fn forget_sent(&mut self, n: usize) {
        for version in self.nodes[n].versions.iter_mut().flatten() {
            if matches!(version.promise, Promise::Sent(_)) {
                version.promise = Promise::None;
            }
        }
    }

    fn resync_begins(&mut self, target: usize) {
        let source = 1 - target;
        let loses = self.lacks(source) && !self.lacks(target);
        let spoilt = self.nodes[target].garbage || self.nodes[target].damaged;
        if loses && !self.forked && !spoilt {
            violation!(
                "node {target} becomes sync target, but has acknowledged writes that its source does not have"
            );
        }
        self.nodes[target].garbage = true;
        let begin = Expectation {
            last_write: self.last_write,
            target_of: None,
            ..self.nodes[source].clone()
        };
        self.nodes[target].target_of = Some(Rc::new(begin));
    }

    fn resync_done(&mut self, target: usize) {
        if self.nodes[1 - target].garbage {
            violation!("node {target} was synced from an inconsistent source");
        }
        self.nodes[target] = self.nodes[target].synced_from(&self.nodes[1 - target]);
    }

    /// Somebody declares whatever is on this disk to be good.
    fn adopt(&mut self, n: usize, node: &Node) {
        let expectation = &mut self.nodes[n];
        expectation.base.copy_from_slice(&node.disk.cells);
        expectation.versions.iter_mut().for_each(Vec::clear);
        expectation.garbage = false;
        expectation.mixed = false;
        self.forked = true;
    }

    /// Node `n` is Primary now: the application finds what is there, and goes on with that.
    fn promoted(&mut self, n: usize, node: &Node) {
        let now = self.tick();
        for cell in 0..self.area.cells() {
            let found = node.disk.cells[cell];
            if !self.nodes[n].allows(cell, found) {
                violation!(
                    "{} is promoted, and sector {} holds {found}, expected {}",
                    node.name,
                    self.area.sector(cell),
                    self.describe(n, cell),
                );
            }
            self.nodes[n].settle(cell, found, now);
        }
    }

    /// Nothing is in flight: compares both disks with each other, and with what is expected.
    pub fn compare(&mut self, nodes: &[Node; 2]) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let up_to_date = nodes.iter().all(|node| is_synced(&node.state()));
        let attached = nodes.iter().all(|node| {
            let disk = node.state().disk;
            disk >= DiskState::Inconsistent && disk != DiskState::Negotiating
        });
        if up_to_date {
            self.compare_synced(nodes);
        } else if attached && self.related {
            self.compare_marked(nodes);
        }
    }

    fn compare_synced(&mut self, nodes: &[Node; 2]) {
        let now = self.tick();
        self.changed = false;
        let primary = (0..2).find(|&n| nodes[n].state().role == Role::Primary);
        let judge = primary.or_else(|| (0..2).find(|&n| !self.lacks(n)));
        for cell in 0..self.area.cells() {
            let [a, b] = [0, 1].map(|n: usize| nodes[n].disk.cells[cell]);
            if a != b {
                violation!(
                    "connected, both UpToDate and idle, but sector {} differs: A has {a}, B has {b}; expected {} and {}",
                    self.area.sector(cell),
                    self.describe(0, cell),
                    self.describe(1, cell),
                );
            }
            if judge.is_some_and(|judge| !self.nodes[judge].allows(cell, a)) {
                violation!(
                    "both disks have {a} in sector {}, expected {} and {}",
                    self.area.sector(cell),
                    self.describe(0, cell),
                    self.describe(1, cell),
                );
            }
            for node in &mut self.nodes {
                node.settle(cell, a, now);
            }
        }
        for node in &mut self.nodes {
            node.lacks = false;
            node.lacks_until_failure = false;
            node.garbage = false;
            node.mixed = false;
        }
        self.forked = false;
        self.related = true;
    }

    /// Where the disks differ, one of the nodes knows.
    fn compare_marked(&self, nodes: &[Node; 2]) {
        for cell in 0..self.area.cells() {
            let [a, b] = [0, 1].map(|n: usize| nodes[n].disk.cells[cell]);
            if a == b {
                continue;
            }
            let sector = self.area.sector(cell);
            let bit = sector / 8;
            let marked = nodes.iter().any(|node| {
                let words = node.engine.bitmap_words(0).unwrap_or_default();
                words
                    .get((bit / 64) as usize)
                    .is_some_and(|word| word >> (bit % 64) & 1 == 1)
            });
            if !marked {
                violation!(
                    "idle, and sector {sector} differs: A has {a}, B has {b}, but neither node has its bit set; expected {} and {}",
                    self.describe(0, cell),
                    self.describe(1, cell),
                );
            }
        }
    }

    fn describe(&self, n: usize, cell: usize) -> String {
        let node = &self.nodes[n];
        let versions: Vec<String> = node.versions[cell]
            .iter()
            .map(|v| format!("{}{:?}", v.content, v.promise))
            .collect();
        let mut text = format!("{} then [{}]", node.base[cell], versions.join(" "));
        if node.garbage {
            text.push_str(" (inconsistent)");
        }
        if self.lacks(n) {
            text.push_str(" (stale)");
        }
        text
    }

    /// Under protocol C an acknowledged write is on the peer's disk already.
    pub fn check_remote(&self, work: &AppWork, peer: &Node) {
        if self.protocol != ReplicationProtocol::C || work.io.op != AppOp::Write {
            return;
        }
        for cell in self.area.span(&work.io.range) {
            let found = peer.disk.cells[cell];
            if found != work.stamp {
                violation!(
                    "write #{} at {} is acknowledged, but sector {} on {} has {found}",
                    work.stamp,
                    at(&work.io.range),
                    self.area.sector(cell),
                    peer.name,
                );
            }
        }
    }

    /// Whether an acknowledged write is missing on the disk of `n`.
    pub fn lacks(&self, n: usize) -> bool {
        self.nodes[n].lacks || self.nodes[n].lacks_until_failure
    }
}

/// Connected, both UpToDate, as one node sees it.
pub fn is_synced(state: &State) -> bool {
    state.conn == ConnState::Connected
        && state.disk == DiskState::UpToDate
        && state.pdsk == DiskState::UpToDate
}
