// SPDX-License-Identifier: GPL-2.0

//! Two engines with shells that do everything at once and in order: for tests of what is decided, not of when. The simulator is the
//! place for the latter.

#![allow(dead_code, reason = "every test uses its own part")]

use std::collections::{BTreeMap, VecDeque};

use rdb_engine::activity_log::{LogSlot, LogStep};
use rdb_engine::admin::{Refusal, Request, Start};
use rdb_engine::bitmap::{pages_for, BitmapPages, PageNote};
use rdb_engine::effects::{Act, DiskOp, Effects, Notice, Outcome, Payload};
use rdb_engine::epoch::Epoch;
use rdb_engine::generation::Generation;
use rdb_engine::handler::{Handler, HandlerEnd};
use rdb_engine::link::{LinkFailure, LinkTerms, NetOptions};
use rdb_engine::memory::Memory;
use rdb_engine::meta::{create, CreateOptions, MetaFlags, Placement, Superblock};
use rdb_engine::peer_request::PeerRequest;
use rdb_engine::request::{AppIo, AppOp, AppRequest, Submit};
use rdb_engine::resource::{Resource, Tables};
use rdb_engine::slots::Entry;
use rdb_engine::volume::{AttachedDisk, DiskOptions, Volume};
use rdb_engine::wire::{
    Agreed, ConnState, DiskState, Features, Header, QueueLimits, Range, Role, Socket, State,
};

/// The engine's memory on the host.
pub struct HostMemory;

impl Memory for HostMemory {
    type Words = Vec<u64>;
    type Table<T> = Vec<T>;
}

/// The first node.
pub const A: usize = 0;
/// The second node.
pub const B: usize = 1;

/// Sectors of the device: three extents of the activity log.
pub const SECTORS: u64 = 3 * 8192;

#[derive(Default)]
struct Collector {
    outbox: [VecDeque<(Vec<u8>, Payload)>; 2],
    acts: VecDeque<Act>,
    seed: u64,
}

impl Effects for Collector {
    fn send(&mut self, stream: Socket, bytes: &[u8], payload: Payload) {
        self.outbox[usize::from(stream == Socket::Meta)].push_back((bytes.to_vec(), payload));
    }

    fn act(&mut self, act: Act) {
        self.acts.push_back(act);
    }

    fn random(&mut self) -> u64 {
        // Any sequence without repetitions will do.
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.seed
    }
}

/// What is on stable storage.
#[derive(Clone)]
pub struct Disk {
    /// One number a sector.
    pub sectors: Vec<u64>,
    /// The superblock.
    pub superblock: Superblock,
    /// The bitmap.
    pub bitmap: Vec<u64>,
    /// Superblocks that were written, oldest first.
    pub superblocks: Vec<Superblock>,
}

/// A node.
pub struct Node {
    /// The engine.
    pub engine: Resource<HostMemory>,
    /// The lower disk.
    pub disk: Disk,
    /// What the engine found worth telling.
    pub notices: Vec<Notice>,
    /// States that the volume went through.
    pub states: Vec<State>,
    /// Answer to the last request of the administrator.
    pub admin: Option<Result<(), Refusal>>,
    /// The options of the disk at the next attach.
    pub options: DiskOptions,
    /// Blocks that this node was sent in a resync.
    pub resynced: u64,
    /// Handlers that were run.
    pub handlers: Vec<Handler>,
    fx: Collector,
    inbox: [VecDeque<(Vec<u8>, Vec<u64>)>; 2],
    app: BTreeMap<u32, (AppIo, u64)>,
    buffers: BTreeMap<u32, Vec<u64>>,
    wants_link: bool,
    up: bool,
    closing: bool,
    /// The sender does nothing.
    pub mute: bool,
}

fn engine() -> Resource<HostMemory> {
    Resource::new(Tables {
        app: (0..64).map(|_| Entry::<AppRequest>::default()).collect(),
        peer: (0..48).map(|_| Entry::<PeerRequest>::default()).collect(),
        epochs: vec![Epoch::default(); 64],
        volumes: (0..2).map(|_| None::<Volume<HostMemory>>).collect(),
    })
}

impl Node {
    fn new(seed: u64) -> Self {
        let size = SECTORS + 512;
        let created =
            create(Placement::Internal, size, size, &CreateOptions::default()).expect("it fits");
        Self {
            engine: engine(),
            disk: Disk {
                sectors: vec![0; SECTORS as usize],
                superblock: created.superblock,
                bitmap: vec![0; 512],
                superblocks: Vec::new(),
            },
            notices: Vec::new(),
            states: Vec::new(),
            admin: None,
            options: DiskOptions::default(),
            resynced: 0,
            handlers: Vec::new(),
            fx: Collector {
                seed,
                ..Collector::default()
            },
            inbox: Default::default(),
            app: BTreeMap::new(),
            buffers: BTreeMap::new(),
            wants_link: false,
            up: false,
            closing: false,
            mute: false,
        }
    }

    /// The volume.
    pub fn volume(&self) -> &Volume<HostMemory> {
        self.engine.volume(0).expect("a volume")
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.engine.volume(0).map_or(State::INITIAL, |v| v.state)
    }

    /// Its identifiers.
    pub fn generation(&self) -> Generation {
        self.volume().generation
    }

    /// Rows of the decision table that were decided by.
    pub fn rows(&self) -> Vec<&'static str> {
        let row = |notice: &Notice| match notice {
            Notice::Handshake { settled, .. } => Some(settled.decision.row),
            _ => None,
        };
        self.notices.iter().filter_map(row).collect()
    }

    /// Whether a handler was asked for.
    pub fn called(&self, handler: Handler) -> bool {
        self.handlers.contains(&handler)
    }

    /// Whether a split brain was found and not resolved.
    pub fn saw_split_brain(&self) -> bool {
        let unresolved = |notice: &Notice| {
            matches!(
                notice,
                Notice::SplitBrain {
                    resolved: false,
                    ..
                }
            )
        };
        self.notices.iter().any(unresolved)
    }
}

/// Two nodes and the network between them.
pub struct Pair {
    /// The nodes.
    pub nodes: [Node; 2],
    /// The time.
    pub now: u64,
    /// No connection can be made, and what is sent is lost.
    pub cut: bool,
    /// Who accepts the meta stream.
    pub resolve: usize,
    /// What happens after so many packets were received.
    pub fuse: Option<(u32, Fault)>,
    /// How often both streams stood.
    pub links: u32,
    stamp: u64,
}

/// Something that happens at a bad time.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The connection breaks.
    Break,
    /// A node dies.
    Crash(usize),
    /// Somebody asks for something.
    Ask(usize, Request),
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl Pair {
    /// Two nodes with fresh metadata, attached, not connected.
    pub fn new() -> Self {
        let mut pair = Self {
            nodes: [Node::new(1), Node::new(2)],
            now: 1000,
            cut: false,
            resolve: A,
            fuse: None,
            links: 0,
            stamp: 0,
        };
        for n in [A, B] {
            pair.bring_up(n);
        }
        pair
    }

    /// A split brain: both were Primary on their own, `a` wrote one block, `b` two; nobody is Primary now.
    pub fn split() -> Self {
        let mut pair = Self::synced();
        pair.secondary(A);
        pair.disconnect();
        for (n, blocks) in [(A, 1), (B, 2)] {
            pair.primary(n);
            for block in 0..blocks {
                pair.write(n, 100 * (n as u64 + 1) + block);
            }
            pair.secondary(n);
        }
        for node in &mut pair.nodes {
            node.notices.clear();
            node.handlers.clear();
            node.resynced = 0;
        }
        pair
    }

    /// Both Connected and UpToDate, `a` Primary.
    pub fn synced() -> Self {
        let mut pair = Self::new();
        pair.connect();
        pair.force_primary(A);
        pair.wait_synced();
        pair
    }

    /// Adds the volume and attaches the disk.
    pub fn bring_up(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.engine
            .add_volume(0, 0, &mut node.fx)
            .expect("room for a volume");
        self.attach(n);
    }

    /// Attaches the disk.
    pub fn attach(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        let bitmap = node.disk.bitmap.clone();
        let attached = AttachedDisk {
            superblock: node.disk.superblock,
            usable_sectors: SECTORS,
            pages: vec![PageNote::default(); pages_for(bitmap.len())],
            bitmap,
            log: Some(vec![LogSlot::default(); 67]),
            options: node.options,
            limits: QueueLimits {
                physical_block_size: 512,
                logical_block_size: 512,
                alignment_offset: 0,
                io_min: 512,
                io_opt: 0,
                discard_enabled: false,
            },
        };
        node.engine
            .attach(now, 0, attached, &mut node.fx)
            .expect("the disk fits");
        self.pump();
    }

    /// Asks for something; panics if it is refused.
    pub fn ask(&mut self, n: usize, request: Request) {
        let answer = self.try_ask(n, request);
        assert_eq!(answer, Ok(()), "{request:?}; {}", self.report());
    }

    /// Asks for something.
    pub fn try_ask(&mut self, n: usize, request: Request) -> Result<(), Refusal> {
        self.begin(n, request);
        for _ in 0..200 {
            self.pump();
            if let Some(answer) = self.nodes[n].admin.take() {
                return answer;
            }
            self.pass(100);
        }
        panic!("no answer to {request:?}; {}", self.report());
    }

    /// Begins a request.
    pub fn begin(&mut self, n: usize, request: Request) {
        let now = self.now;
        let node = &mut self.nodes[n];
        node.admin = match node.engine.admin(now, request, &mut node.fx) {
            Start::Done(result) => Some(result),
            Start::Pending => None,
        };
    }

    /// Another resync goes first on this node, or does no more.
    pub fn resync_waits(&mut self, n: usize, waits: bool) {
        let now = self.now;
        let node = &mut self.nodes[n];
        node.engine.resync_waits(now, 0, waits, &mut node.fx);
        self.pump();
    }

    /// Connects both nodes.
    pub fn connect(&mut self) {
        self.connect_with(NetOptions::default(), NetOptions::default());
    }

    /// Connects both nodes with options.
    pub fn connect_with(&mut self, a: NetOptions, b: NetOptions) {
        for (n, net) in [(A, a), (B, b)] {
            if self.nodes[n].state().conn == ConnState::StandAlone {
                self.begin(n, Request::Connect(net));
            }
        }
        self.pump();
    }

    /// Disconnects both nodes.
    pub fn disconnect(&mut self) {
        for n in [A, B] {
            self.ask(n, Request::Disconnect { force: false });
        }
    }

    /// Promotes.
    pub fn primary(&mut self, n: usize) {
        self.ask(
            n,
            Request::Primary {
                volume: 0,
                force: false,
            },
        );
    }

    /// Promotes by force.
    pub fn force_primary(&mut self, n: usize) {
        self.ask(
            n,
            Request::Primary {
                volume: 0,
                force: true,
            },
        );
    }

    /// Demotes.
    pub fn secondary(&mut self, n: usize) {
        self.ask(n, Request::Secondary { volume: 0 });
    }

    /// The node dies; what it has written stays.
    pub fn crash(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let mut disk = node.disk.clone();
        // The activity log is not kept here: the device is three extents, all of them hot.
        if disk.superblock.flags.contains(MetaFlags::PRIMARY_IND) {
            let bits = (SECTORS / 8) as usize;
            disk.bitmap[..bits / 64].fill(!0);
        }
        let (options, seed) = (node.options, node.fx.seed);
        let was_up = node.up;
        *node = Node {
            disk,
            options,
            ..Node::new(seed.wrapping_add(77))
        };
        if was_up {
            self.lose(1 - n);
        }
        self.pump();
    }

    /// Both die at once.
    pub fn crash_both(&mut self) {
        for node in &mut self.nodes {
            node.up = false;
        }
        self.crash(A);
        self.crash(B);
    }

    /// The connection breaks.
    pub fn break_link(&mut self) {
        for n in [A, B] {
            self.lose(n);
        }
        self.pump();
    }

    fn lose(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        if node.up && !node.closing {
            node.engine
                .link_lost(now, LinkFailure::BrokenPipe, &mut node.fx);
        }
    }

    /// Writes a block of 4 KiB and waits until the application has the answer.
    pub fn write(&mut self, n: usize, block: u64) -> Outcome {
        let slot = self.begin_write(n, block);
        self.pump();
        self.finish_write(n, slot)
    }

    /// Submits a write.
    pub fn begin_write(&mut self, n: usize, block: u64) -> u32 {
        self.stamp += 1;
        let io = AppIo {
            op: AppOp::Write,
            range: Range {
                sector: block * 8,
                bytes: 4096,
            },
            fua: false,
            preflush: false,
            sync: true,
        };
        let (now, stamp) = (self.now, self.stamp);
        for _ in 0..100 {
            let node = &mut self.nodes[n];
            match node.engine.submit(now, 0, io, &mut node.fx) {
                Submit::Accepted(slot) => {
                    node.app.insert(slot, (io, stamp));
                    return slot;
                }
                Submit::Done(outcome) => panic!("{outcome:?}; {}", self.report()),
                Submit::Busy => self.pump(),
            }
        }
        panic!("always busy; {}", self.report());
    }

    fn finish_write(&mut self, n: usize, slot: u32) -> Outcome {
        for _ in 0..100 {
            if !self.nodes[n].app.contains_key(&slot) {
                return Outcome::Ok;
            }
            self.pass(100);
        }
        panic!("a write does not end; {}", self.report());
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        for n in [A, B] {
            let now = self.now;
            let node = &mut self.nodes[n];
            if node.engine.next_deadline().is_some_and(|time| time <= now) {
                node.engine.tick(now, &mut node.fx);
            }
        }
        self.pump();
    }

    /// Waits for a condition.
    pub fn wait(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..5000 {
            self.pump();
            if done(self) {
                return;
            }
            self.pass(100);
        }
        panic!("never happened: {what}; {}", self.report());
    }

    /// Waits until both have dropped the connection for good.
    pub fn wait_alone(&mut self) {
        self.wait("both StandAlone", |pair| {
            let alone = |node: &Node| node.state().conn == ConnState::StandAlone;
            pair.nodes.iter().all(alone)
        });
    }

    /// Waits until both nodes are Connected and UpToDate, and checks that their disks are equal.
    pub fn wait_synced(&mut self) {
        self.wait("both UpToDate", |pair| {
            pair.nodes.iter().all(|node| {
                let s = node.state();
                (s.conn, s.disk, s.pdsk)
                    == (
                        ConnState::Connected,
                        DiskState::UpToDate,
                        DiskState::UpToDate,
                    )
            })
        });
        assert!(
            self.nodes[A].disk.sectors == self.nodes[B].disk.sectors,
            "disks differ; {}",
            self.report()
        );
        for node in &self.nodes {
            assert_eq!(node.volume().out_of_sync(), 0, "{}", self.report());
        }
    }

    /// Does everything that can be done without time passing.
    pub fn pump(&mut self) {
        for _ in 0..1_000_000 {
            let mut busy = false;
            for n in [A, B] {
                let received = !busy && self.receive(n);
                busy |= received || self.act(n) || self.transfer(n);
                if received {
                    self.burn();
                }
            }
            let ready = |node: &Node| node.wants_link && !node.up && !node.closing;
            if !busy && !self.cut && self.nodes.iter().all(ready) {
                self.link_up();
                busy = true;
            }
            if !busy {
                return;
            }
        }
        panic!("endless; {}", self.report());
    }

    fn burn(&mut self) {
        match &mut self.fuse {
            Some((0, fault)) => {
                let fault = *fault;
                self.fuse = None;
                match fault {
                    Fault::Break => {
                        for n in [A, B] {
                            self.nodes[n].inbox = Default::default();
                            self.lose(n);
                        }
                    }
                    Fault::Crash(n) => self.crash(n),
                    Fault::Ask(n, request) => self.begin(n, request),
                }
            }
            Some((left, _)) => *left -= 1,
            None => (),
        }
    }

    fn link_up(&mut self) {
        let now = self.now;
        self.links += 1;
        for n in [A, B] {
            let resolve = self.resolve == n;
            let node = &mut self.nodes[n];
            (node.up, node.wants_link) = (true, false);
            let terms = LinkTerms {
                agreed: Agreed {
                    version: 101,
                    features: Features::ALL,
                    ..Agreed::NOTHING
                },
                resolve,
            };
            node.engine.link_up(now, terms, &mut node.fx);
        }
    }

    fn act(&mut self, n: usize) -> bool {
        let now = self.now;
        let node = &mut self.nodes[n];
        let Some(act) = node.fx.acts.pop_front() else {
            return false;
        };
        let (engine, fx) = (&mut node.engine, &mut node.fx);
        match act {
            Act::SubmitApp { slot, alone, .. } => {
                let (io, stamp) = node.app[&slot];
                if io.op == AppOp::Write {
                    let at = io.range.sector as usize..io.range.end() as usize;
                    node.disk.sectors[at].fill(stamp);
                }
                if alone {
                    node.app.remove(&slot).expect("a request completes once");
                }
                engine.app_local_done(now, slot, true, fx);
            }
            Act::CompleteApp { slot, .. } => {
                node.app.remove(&slot).expect("a request completes once");
            }
            Act::CompleteAppRead { slot, peer } => {
                node.app.remove(&slot).expect("a request completes once");
                node.buffers.remove(&peer);
                engine.peer_released(now, peer, fx);
            }
            Act::SubmitPeer {
                slot, op, range, ..
            } => {
                let at = range.sector as usize..range.end() as usize;
                match op {
                    DiskOp::Read => {
                        node.buffers.insert(slot, node.disk.sectors[at].to_vec());
                    }
                    DiskOp::Write => {
                        node.disk.sectors[at].copy_from_slice(&node.buffers[&slot]);
                    }
                    DiskOp::Discard | DiskOp::Zeroes { .. } => node.disk.sectors[at].fill(0),
                }
                engine.peer_disk_done(now, slot, true, fx);
            }
            Act::ReleasePeer { slot } => {
                node.buffers.remove(&slot);
                engine.peer_released(now, slot, fx);
            }
            Act::FlushDisk { volume } => engine.flush_done(now, volume, true, fx),
            Act::WriteSuperblock { volume } => {
                if let Some((number, superblock)) = engine.superblock(volume) {
                    node.disk.superblock = superblock;
                    node.disk.superblocks.push(superblock);
                    engine.superblock_done(now, volume, number, true, fx);
                }
            }
            Act::WriteBitmap { volume } => {
                while let Some(pages) = engine.next_bitmap_pages(volume, 0, 1) {
                    write_pages(engine, &mut node.disk, volume, pages);
                }
                engine.bitmap_written(now, volume, true, fx);
            }
            Act::WriteLog { volume } => {
                let mut block = vec![0; 4096];
                loop {
                    match engine.log_step(volume, 64, &mut block) {
                        LogStep::Pages(pages) => write_pages(engine, &mut node.disk, volume, pages),
                        LogStep::Block { .. } => break,
                        LogStep::Nothing => return true,
                    }
                }
                engine.log_written(now, volume, true, fx);
            }
            Act::CloseDisk { volume } => engine.disk_closed(now, volume, fx),
            Act::OpenLink { .. } => node.wants_link = true,
            Act::CloseLink => {
                (node.up, node.wants_link, node.closing) = (false, false, false);
                for stream in 0..2 {
                    fx.outbox[stream].clear();
                    node.inbox[stream].clear();
                }
                engine.link_closed(now, fx);
                // What was sent before the end arrives before the end.
                let peer = &self.nodes[1 - n];
                if peer.up {
                    while self.receive(1 - n) {}
                    self.lose(1 - n);
                }
            }
            Act::AdminDone(result) => node.admin = Some(result),
            Act::StateChanged { new, .. } => node.states.push(new),
            Act::Notice(notice) => node.notices.push(notice),
            Act::RunHandler { volume, handler } => {
                node.handlers.push(handler);
                engine.handler_done(now, volume, handler, HandlerEnd::Exited(0), fx);
            }
            Act::SetCapacity { .. } | Act::Wake | Act::Rearm => (),
        }
        true
    }

    fn transfer(&mut self, n: usize) -> bool {
        let now = self.now;
        let (first, second) = self.nodes.split_at_mut(1);
        let (node, peer) = match n {
            A => (&mut first[0], &mut second[0]),
            _ => (&mut second[0], &mut first[0]),
        };
        if !node.up || node.mute {
            return false;
        }
        let mut busy = false;
        for stream in 0..2 {
            while let Some((bytes, payload)) = node.fx.outbox[stream].pop_front() {
                busy = true;
                let mut deliver = |bytes: Vec<u8>, data: Vec<u64>| {
                    if peer.up && !self.cut {
                        peer.inbox[stream].push_back((bytes, data));
                    }
                };
                match payload {
                    Payload::None => deliver(bytes, Vec::new()),
                    Payload::App { slot, report } => {
                        let (io, stamp) = node.app[&slot];
                        deliver(bytes, vec![stamp; io.range.sectors() as usize]);
                        if report {
                            node.engine.app_sent(now, slot, &mut node.fx);
                        }
                    }
                    Payload::Peer { slot } => {
                        deliver(bytes, node.buffers[&slot].clone());
                        node.engine.peer_sent(now, slot, &mut node.fx);
                    }
                    Payload::Bitmap { volume } => {
                        let mut packet = vec![0; 4096];
                        while let Some(len) = node.engine.bitmap_packet(volume, &mut packet) {
                            deliver(packet[..len].to_vec(), Vec::new());
                        }
                    }
                    Payload::Last => {
                        if !bytes.is_empty() {
                            deliver(bytes, Vec::new());
                        }
                        node.engine.last_sent(now, &mut node.fx);
                    }
                }
            }
        }
        busy
    }

    fn receive(&mut self, n: usize) -> bool {
        let now = self.now;
        let node = &mut self.nodes[n];
        // Answers first, as they come on a stream of their own.
        for stream in [1, 0] {
            if !node.up || stream == 0 && !node.engine.receiver_ready() {
                continue;
            }
            let Some((bytes, payload)) = node.inbox[stream].pop_front() else {
                continue;
            };
            let agreed = *node.engine.agreed();
            let format = agreed.header_format();
            let socket = [Socket::Data, Socket::Meta][stream];
            let header = Header::decode(format, &bytes).expect("a good header");
            let frame = header.frame(socket, &agreed).expect("a good frame");
            let packet = frame
                .decode(&bytes[format.len()..], &agreed)
                .expect("a good packet");
            if matches!(packet, rdb_engine::wire::Packet::RsDataReply(_)) {
                node.resynced += payload.len() as u64 / 8;
            }
            let slot = (frame.payload_len > 0).then(|| {
                let slot = node
                    .engine
                    .reserve_peer(frame.payload_len)
                    .expect("the receiver was ready");
                node.buffers.insert(slot, payload);
                slot
            });
            node.engine
                .packet(now, socket, &header, &packet, slot, &mut node.fx);
            return true;
        }
        false
    }

    /// What both nodes are and went through.
    pub fn report(&self) -> String {
        let mut text = format!("time {}\n", self.now);
        for (name, node) in ["a", "b"].into_iter().zip(&self.nodes) {
            text += &format!("{name}: {}\n", show(&node.state()));
            if let Some(volume) = node.engine.volume(0) {
                text += &format!(
                    "    {:x?} oos {}\n",
                    volume.generation,
                    volume.out_of_sync()
                );
            }
            for state in node.states.iter().rev().take(12).rev() {
                text += &format!("    {}\n", show(state));
            }
            for notice in node.notices.iter().rev().take(8).rev() {
                text += &format!("    {notice:?}\n");
            }
        }
        text
    }
}

fn write_pages(engine: &Resource<HostMemory>, disk: &mut Disk, volume: usize, pages: BitmapPages) {
    let words = engine.bitmap_words(volume).unwrap_or_default();
    let span = pages.words();
    let span = span.start..span.end.min(words.len());
    disk.bitmap[span.clone()].copy_from_slice(&words[span]);
}

fn show(s: &State) -> String {
    format!("{}/{} {} {}/{}", s.role, s.peer, s.conn, s.disk, s.pdsk)
}

/// Whether a node is Primary.
pub fn is_primary(node: &Node) -> bool {
    node.state().role == Role::Primary
}
