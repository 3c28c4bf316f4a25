// SPDX-License-Identifier: GPL-2.0

//! A node: an engine and a shell around it that a random generator drives.

use std::collections::{BTreeMap, VecDeque};

use rdb_engine::activity_log::{LogSlot, LogStep};
use rdb_engine::admin::{Refusal, Request, Start};
use rdb_engine::bitmap::{BitmapPages, PageNote, pages_for};
use rdb_engine::effects::{Act, DiskOp, Effects, Millis, Notice, Outcome, Payload};
use rdb_engine::epoch::Epoch;
use rdb_engine::handler::HandlerEnd;
use rdb_engine::link::LinkFailure;
use rdb_engine::memory::Memory;
use rdb_engine::meta::{CreateOptions, Placement, Superblock, create};
use rdb_engine::peer_request::PeerRequest;
use rdb_engine::request::{AppIo, AppOp, AppRequest, Submit};
use rdb_engine::resource::{Resource, Tables};
use rdb_engine::slots::Entry;
use rdb_engine::volume::{AttachedDisk, DiskOptions, Volume};
use rdb_engine::wire::{Header, QueueLimits, Range, Socket, State};

use crate::disk::{Disk, Stamp};
use crate::rng::Rng;

/// The engine's memory on the host.
pub struct HostMemory;

impl Memory for HostMemory {
    type Words = Vec<u64>;
    type Table<T> = Vec<T>;
}

/// Sectors of the simulated device, metadata not included.
pub const SECTORS: u64 = 2048;

/// A packet with its payload, as it travels.
#[derive(Clone)]
pub struct Message {
    /// Header and body.
    pub bytes: Vec<u8>,
    /// One stamp a sector.
    pub payload: Vec<Stamp>,
}

/// A request of the application that is under way.
#[derive(Clone)]
pub struct AppWork {
    /// What was asked for.
    pub io: AppIo,
    /// What a write writes.
    pub stamp: Stamp,
    /// What a read found.
    pub found: Vec<Stamp>,
}

/// An operation on the lower disk that is under way.
enum Running {
    App(u32, bool),
    Peer(u32, DiskOp, Range, bool, bool),
}

/// What came out of a step, for the world.
pub enum Happened {
    /// A request of the application ended; what a read found.
    Completed(AppWork, Outcome, Vec<Stamp>),
}

struct Collector<'a> {
    outbox: &'a mut [VecDeque<(Vec<u8>, Payload)>; 2],
    acts: &'a mut VecDeque<Act>,
    app: &'a mut BTreeMap<u32, AppWork>,
    done: &'a mut VecDeque<(Act, AppWork)>,
    rng: &'a mut Rng,
}

impl Effects for Collector<'_> {
    fn send(&mut self, stream: Socket, bytes: &[u8], payload: Payload) {
        self.outbox[usize::from(stream == Socket::Meta)].push_back((bytes.to_vec(), payload));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::CompleteApp { slot, .. } | Act::CompleteAppRead { slot, .. } => {
                let work = self.app.remove(&slot).expect("a request completes once");
                self.done.push_back((act, work));
            }
            Act::Wake | Act::Rearm => (),
            act => self.acts.push_back(act),
        }
    }

    fn random(&mut self) -> u64 {
        self.rng.bits()
    }
}

/// The link as one node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not wanted.
    Closed,
    /// It looks for the peer.
    Wanted,
    /// Both streams stand.
    Up,
}

/// A simulated node.
pub struct Node {
    /// Name in the log.
    pub name: &'static str,
    /// The engine.
    pub engine: Resource<HostMemory>,
    /// The lower disk.
    pub disk: Disk,
    /// The connection.
    pub link: Link,
    /// `CloseLink` was asked for and not carried out yet.
    pub closing: bool,
    /// It runs.
    pub alive: bool,
    /// Packets that wait to be sent, by stream.
    pub outbox: [VecDeque<(Vec<u8>, Payload)>; 2],
    /// Packets that wait to be received, by stream.
    pub inbox: [VecDeque<Message>; 2],
    /// Requests of the application, by slot.
    pub app: BTreeMap<u32, AppWork>,
    /// The last request of the administrator and, once it is there, its answer.
    pub admin: Option<Option<Result<(), Refusal>>>,
    /// What happened.
    pub log: Vec<String>,
    acts: VecDeque<Act>,
    done: VecDeque<(Act, AppWork)>,
    running: Vec<Running>,
    buffers: BTreeMap<u32, Vec<Stamp>>,
    in_bitmap: Option<usize>,
}

macro_rules! feed {
    ($node:expr, $rng:expr, |$engine:ident, $fx:ident| $call:expr) => {{
        let Node {
            engine: $engine,
            outbox,
            acts,
            app,
            done,
            ..
        } = &mut *$node;
        let mut collector = Collector {
            outbox,
            acts,
            app,
            done,
            rng: $rng,
        };
        let $fx: &mut dyn Effects = &mut collector;
        $call
    }};
}

fn engine() -> Resource<HostMemory> {
    let table = |n: usize| (0..n).map(|_| Entry::<AppRequest>::default()).collect();
    let peer = |n: usize| (0..n).map(|_| Entry::<PeerRequest>::default()).collect();
    Resource::new(Tables {
        app: table(64),
        peer: peer(48),
        epochs: vec![Epoch::default(); 64],
        volumes: (0..2).map(|_| None::<Volume<HostMemory>>).collect(),
    })
}

impl Node {
    /// A node with a disk that has fresh metadata, not attached.
    pub fn new(name: &'static str) -> Self {
        let size = SECTORS + 512;
        let created =
            create(Placement::Internal, size, size, &CreateOptions::default()).expect("sizes fit");
        let superblock: Superblock = created.superblock;
        let disk = Disk::new(SECTORS, superblock, SECTORS.div_ceil(512) as usize);
        Self {
            name,
            engine: engine(),
            disk,
            link: Link::Closed,
            closing: false,
            alive: true,
            outbox: Default::default(),
            inbox: Default::default(),
            app: BTreeMap::new(),
            admin: None,
            log: Vec::new(),
            acts: VecDeque::new(),
            done: VecDeque::new(),
            running: Vec::new(),
            buffers: BTreeMap::new(),
            in_bitmap: None,
        }
    }

    /// Adds the volume and attaches the disk, as `up` does before `connect`.
    pub fn bring_up(&mut self, now: Millis, rng: &mut Rng) {
        let superblock = self.disk.superblock;
        self.disk.replay_log();
        let bitmap = self.disk.bitmap.clone();
        let limits = QueueLimits {
            physical_block_size: 512,
            logical_block_size: 512,
            alignment_offset: 0,
            io_min: 512,
            io_opt: 0,
            discard_enabled: false,
        };
        let attached = AttachedDisk {
            superblock,
            usable_sectors: SECTORS,
            pages: vec![PageNote::default(); pages_for(bitmap.len())],
            bitmap,
            log: Some(vec![LogSlot::default(); 67]),
            options: DiskOptions::default(),
            limits,
        };
        feed!(self, rng, |engine, fx| {
            let v = engine.add_volume(0, 0, fx).expect("room for a volume");
            engine.attach(now, v, attached, fx).expect("the disk fits");
        });
    }

    /// The node dies, and what was not flushed with it.
    pub fn crash(&mut self, rng: &mut Rng) {
        let mut disk = self.disk.clone();
        disk.lose_power(rng);
        let log = std::mem::take(&mut self.log);
        *self = Self {
            disk,
            log,
            alive: false,
            ..Self::new(self.name)
        };
        self.log.push("--- crash".into());
    }

    /// State of its volume.
    pub fn state(&self) -> State {
        self.engine
            .volume(0)
            .map_or(State::INITIAL, |volume| volume.state)
    }

    /// Begins a request of the administrator.
    pub fn admin(&mut self, now: Millis, request: Request, rng: &mut Rng) {
        self.log.push(format!("{now} admin {request:?}"));
        let start = feed!(self, rng, |engine, fx| engine.admin(now, request, fx));
        self.admin = Some(match start {
            Start::Done(result) => Some(result),
            Start::Pending => None,
        });
    }

    /// Submits a request of the application. `None`: it must wait.
    pub fn submit(
        &mut self,
        now: Millis,
        work: AppWork,
        rng: &mut Rng,
    ) -> Option<Result<(), Outcome>> {
        match feed!(self, rng, |engine, fx| engine.submit(now, 0, work.io, fx)) {
            Submit::Accepted(slot) => {
                assert!(self.app.insert(slot, work).is_none(), "a slot is used once");
                Some(Ok(()))
            }
            Submit::Busy => None,
            Submit::Done(outcome) => Some(Err(outcome)),
        }
    }

    /// Everything that this node could do next, as numbers for [`Node::step`].
    pub fn choices(&self, out: &mut Vec<u32>) {
        if !self.alive {
            return;
        }
        let mut can = |choice: u32, yes: bool| {
            if yes {
                out.push(choice);
            }
        };
        can(0, !self.acts.is_empty());
        can(1, !self.running.is_empty());
        can(
            2,
            !self.outbox[0].is_empty() && self.link == Link::Up && !self.closing,
        );
        can(
            3,
            !self.outbox[1].is_empty() && self.link == Link::Up && !self.closing,
        );
        can(
            4,
            !self.inbox[0].is_empty()
                && self.link == Link::Up
                && !self.closing
                && self.engine.receiver_ready(),
        );
        can(
            5,
            !self.inbox[1].is_empty() && self.link == Link::Up && !self.closing,
        );
        can(6, !self.done.is_empty());
    }

    /// Does one thing of [`Node::choices`]. Messages for the peer go to `wire`.
    pub fn step(
        &mut self,
        choice: u32,
        now: Millis,
        rng: &mut Rng,
        wire: &mut Vec<(usize, Message)>,
        happened: &mut Vec<Happened>,
    ) {
        match choice {
            0 => self.act(now, rng),
            1 => self.complete_io(now, rng),
            2 => self.send(0, now, rng, wire),
            3 => self.send(1, now, rng, wire),
            4 => self.receive(0, now, rng),
            5 => self.receive(1, now, rng),
            _ => self.complete_app(now, rng, happened),
        }
    }

    fn act(&mut self, now: Millis, rng: &mut Rng) {
        let Some(act) = self.acts.pop_front() else {
            return;
        };
        match act {
            Act::SubmitApp { slot, alone, .. } => self.running.push(Running::App(slot, alone)),
            Act::SubmitPeer {
                slot,
                op,
                range,
                fua,
                preflush,
                ..
            } => {
                self.running
                    .push(Running::Peer(slot, op, range, fua, preflush));
            }
            Act::ReleasePeer { slot } => {
                self.buffers.remove(&slot);
                feed!(self, rng, |engine, fx| engine.peer_released(now, slot, fx));
            }
            Act::FlushDisk { volume } => {
                self.disk.flush();
                feed!(self, rng, |engine, fx| engine
                    .flush_done(now, volume, true, fx));
            }
            Act::WriteSuperblock { volume } => {
                if let Some((number, superblock)) = self.engine.superblock(volume) {
                    self.disk.flush();
                    self.disk.superblock = superblock;
                    feed!(self, rng, |engine, fx| engine
                        .superblock_done(now, volume, number, true, fx));
                }
            }
            Act::WriteBitmap { volume } => {
                while let Some(pages) = self.engine.next_bitmap_pages(volume, 0, 1) {
                    self.write_pages(volume, pages);
                }
                feed!(self, rng, |engine, fx| engine
                    .bitmap_written(now, volume, true, fx));
            }
            Act::WriteLog { volume } => {
                let mut block = vec![0; 4096];
                loop {
                    match self.engine.log_step(volume, &mut block) {
                        LogStep::Pages(pages) => self.write_pages(volume, pages),
                        LogStep::Block { number } => {
                            self.disk.flush();
                            self.disk.write_log(number, block);
                            break;
                        }
                        LogStep::Nothing => return,
                    }
                }
                feed!(self, rng, |engine, fx| engine
                    .log_written(now, volume, true, fx));
            }
            Act::CloseDisk { volume } => {
                feed!(self, rng, |engine, fx| engine.disk_closed(now, volume, fx))
            }
            Act::OpenLink { .. } => self.link = Link::Wanted,
            Act::CloseLink => self.closing = true,
            Act::AdminDone(result) => self.admin = Some(Some(result)),
            Act::StateChanged { old, new, why, .. } => {
                self.log
                    .push(format!("{now} {} -> {} ({why})", show(&old), show(&new)));
            }
            Act::Notice(notice) => self.notice(now, notice),
            Act::RunHandler { volume, handler } => {
                feed!(self, rng, |engine, fx| engine.handler_done(
                    now,
                    volume,
                    handler,
                    HandlerEnd::Exited(0),
                    fx
                ));
            }
            Act::SetCapacity { .. } | Act::Wake | Act::Rearm => (),
            Act::CompleteApp { .. } | Act::CompleteAppRead { .. } => unreachable!("taken in act()"),
        }
    }

    fn write_pages(&mut self, volume: usize, pages: BitmapPages) {
        if pages.flush_data {
            self.disk.flush();
        }
        let words = self.engine.bitmap_words(volume).unwrap_or_default();
        let span = pages.words();
        let span = span.start..span.end.min(words.len());
        self.disk.bitmap[span.clone()].copy_from_slice(&words[span]);
    }

    fn notice(&mut self, now: Millis, notice: Notice) {
        self.log.push(format!("{now} {notice:?}"));
    }

    /// Carries `CloseLink` out.
    pub fn close_link(&mut self, now: Millis, rng: &mut Rng) {
        self.closing = false;
        self.link = Link::Closed;
        self.in_bitmap = None;
        for stream in 0..2 {
            self.outbox[stream].clear();
            self.inbox[stream].clear();
        }
        feed!(self, rng, |engine, fx| engine.link_closed(now, fx));
    }

    /// The peer's end is gone.
    pub fn peer_gone(&mut self, now: Millis, failure: LinkFailure, rng: &mut Rng) {
        feed!(self, rng, |engine, fx| engine.link_lost(now, failure, fx));
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Millis, rng: &mut Rng) {
        feed!(self, rng, |engine, fx| engine.tick(now, fx));
    }

    /// Both streams to the peer stand.
    pub fn link_up(&mut self, now: Millis, terms: rdb_engine::link::LinkTerms, rng: &mut Rng) {
        self.link = Link::Up;
        feed!(self, rng, |engine, fx| engine.link_up(now, terms, fx));
    }

    fn complete_io(&mut self, now: Millis, rng: &mut Rng) {
        let pick = rng.below(self.running.len() as u64) as usize;
        match self.running.swap_remove(pick) {
            Running::App(slot, alone) => {
                let work = self
                    .app
                    .get(&slot)
                    .expect("a running request is in the table")
                    .clone();
                let io = work.io;
                match io.op {
                    AppOp::Write => {
                        if io.preflush {
                            self.disk.flush();
                        }
                        let stamps = vec![work.stamp; io.range.sectors() as usize];
                        self.disk.write(io.range.sector, &stamps, io.fua);
                    }
                    AppOp::Flush => self.disk.flush(),
                    AppOp::Read => {
                        let at = io.range.sector as usize..io.range.end() as usize;
                        let found = self.disk.sectors[at].to_vec();
                        self.app.get_mut(&slot).expect("as above").found = found;
                    }
                    _ => (),
                }
                if alone {
                    let work = self.app.remove(&slot).expect("as above");
                    let outcome = Outcome::Ok;
                    self.done
                        .push_back((Act::CompleteApp { slot, outcome }, work));
                }
                feed!(self, rng, |engine, fx| engine
                    .app_local_done(now, slot, true, fx));
            }
            Running::Peer(slot, op, range, fua, preflush) => {
                let at = range.sector as usize..range.end() as usize;
                match op {
                    DiskOp::Read => {
                        self.buffers.insert(slot, self.disk.sectors[at].to_vec());
                    }
                    DiskOp::Write => {
                        if preflush {
                            self.disk.flush();
                        }
                        let stamps = self
                            .buffers
                            .get(&slot)
                            .expect("a write has its data")
                            .clone();
                        self.disk.write(range.sector, &stamps, fua);
                    }
                    DiskOp::Discard | DiskOp::Zeroes { .. } => {
                        self.disk.write(range.sector, &vec![0; at.len()], false);
                    }
                }
                feed!(self, rng, |engine, fx| engine
                    .peer_disk_done(now, slot, true, fx));
            }
        }
    }

    fn send(
        &mut self,
        stream: usize,
        now: Millis,
        rng: &mut Rng,
        wire: &mut Vec<(usize, Message)>,
    ) {
        let Some((bytes, payload)) = self.outbox[stream].front().cloned() else {
            return;
        };
        if let Payload::Bitmap { volume } = payload {
            let mut packet = vec![0; 4096];
            match self.engine.bitmap_packet(volume, &mut packet) {
                Some(len) => {
                    packet.truncate(len);
                    wire.push((
                        stream,
                        Message {
                            bytes: packet,
                            payload: Vec::new(),
                        },
                    ));
                    return;
                }
                None => {
                    self.outbox[stream].pop_front();
                    return;
                }
            }
        }
        self.outbox[stream].pop_front();
        let data = match payload {
            Payload::App { slot, .. } => {
                let work = self.app.get(&slot).expect("a write stays until it is sent");
                vec![work.stamp; work.io.range.sectors() as usize]
            }
            Payload::Peer { slot } => self
                .buffers
                .get(&slot)
                .expect("a reply has its data")
                .clone(),
            _ => Vec::new(),
        };
        wire.push((
            stream,
            Message {
                bytes,
                payload: data,
            },
        ));
        match payload {
            Payload::Peer { slot } => {
                feed!(self, rng, |engine, fx| engine.peer_sent(now, slot, fx))
            }
            Payload::App { slot, report: true } => {
                feed!(self, rng, |engine, fx| engine.app_sent(now, slot, fx));
            }
            _ => (),
        }
    }

    fn receive(&mut self, stream: usize, now: Millis, rng: &mut Rng) {
        let Some(message) = self.inbox[stream].pop_front() else {
            return;
        };
        let socket = [Socket::Data, Socket::Meta][stream];
        let agreed = *self.engine.agreed();
        let format = agreed.header_format();
        let header = Header::decode(format, &message.bytes).expect("the engine sends good headers");
        let frame = header.frame(socket, &agreed).expect("good frames");
        let body = &message.bytes[format.len()..];
        let packet = frame.decode(body, &agreed).expect("good packets");
        let slot = (frame.payload_len > 0).then(|| {
            assert_eq!(
                frame.payload_len as usize,
                message.payload.len() * 512,
                "{header:?}"
            );
            let slot = self
                .engine
                .reserve_peer(frame.payload_len)
                .expect("the receiver was ready");
            self.buffers.insert(slot, message.payload.clone());
            slot
        });
        feed!(self, rng, |engine, fx| engine
            .packet(now, socket, &header, &packet, slot, fx));
    }

    fn complete_app(&mut self, now: Millis, rng: &mut Rng, happened: &mut Vec<Happened>) {
        let Some((act, work)) = self.done.pop_front() else {
            return;
        };
        match act {
            Act::CompleteApp { outcome, .. } => {
                let read = work.found.clone();
                happened.push(Happened::Completed(work, outcome, read));
            }
            Act::CompleteAppRead { peer, .. } => {
                let data = self.buffers.remove(&peer).expect("a read has its data");
                feed!(self, rng, |engine, fx| engine.peer_released(now, peer, fx));
                happened.push(Happened::Completed(work, Outcome::Ok, data));
            }
            _ => (),
        }
    }

    /// Requests and work that are not finished.
    pub fn is_idle(&self) -> bool {
        self.acts.is_empty()
            && self.running.is_empty()
            && self.done.is_empty()
            && self.app.is_empty()
            && self.outbox.iter().all(VecDeque::is_empty)
            && self.inbox.iter().all(VecDeque::is_empty)
    }
}

fn show(state: &State) -> String {
    format!(
        "{}/{} {} {}/{}",
        state.role, state.peer, state.conn, state.disk, state.pdsk
    )
}
