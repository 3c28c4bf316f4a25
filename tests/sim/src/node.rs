// SPDX-License-Identifier: GPL-2.0

//! A node: an engine and a shell around it that a random generator drives.

use std::collections::VecDeque;
use std::rc::Rc;

use rdb_engine::admin::{Refusal, Request, Start};
use rdb_engine::effects::{Act, DiskOp, Millis, Outcome, Payload};
use rdb_engine::epoch::Epoch;
use rdb_engine::handler::HandlerEnd;
use rdb_engine::link::{LinkFailure, LinkTerms};
use rdb_engine::memory::Memory;
use rdb_engine::meta::EXTENT_SECTORS;
use rdb_engine::peer_request::PeerRequest;
use rdb_engine::request::{AppOp, AppRequest, Submit};
use rdb_engine::resource::{Resource, Tables};
use rdb_engine::slots::Entry;
use rdb_engine::volume::{DiskOptions, Volume};
use rdb_engine::wire::{Command, Header, Packet, Range, Socket, State};

use crate::area::{Area, Stamp};
use crate::disk::{Class, Disk};
use crate::metadata::{Interrupted, Metadata};
use crate::plan::created;
use crate::queues::{AppWork, Event, Queues};
use crate::rng::Rng;
use crate::trace::{Trace, say, violation};

/// The engine's memory on the host.
pub struct HostMemory;

impl Memory for HostMemory {
    type Words = Vec<u64>;
    type Table<T> = Vec<T>;
}

/// Requests of the application that the engine has room for.
const APP_SLOTS: usize = 64;

/// Requests of the peer that the engine has room for.
const PEER_SLOTS: usize = 48;

/// A packet with its payload, as it travels.
#[derive(Clone)]
pub struct Message {
    /// Header and body.
    pub bytes: Vec<u8>,
    /// What the payload says of the cells that it covers.
    pub payload: Vec<Stamp>,
}

/// A data operation on the lower disk that is under way.
pub(crate) enum Running {
    App {
        slot: u32,
        work: AppWork,
        /// If it succeeds the request is done.
        alone: bool,
    },
    Peer {
        slot: u32,
        op: DiskOp,
        range: Range,
        fua: bool,
        preflush: bool,
    },
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

/// What a node could do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Start a data operation on the disk, or the like.
    Task,
    /// Open the link.
    Work,
    /// One step of the disk worker.
    DiskWork,
    /// One step of an attach.
    Attach,
    /// A data operation on the disk ends.
    Disk,
    /// A handler ends.
    Handler,
    /// Send a packet on a stream.
    Send(usize),
    /// Receive a packet from a stream.
    Receive(usize),
}

/// What a node is made of.
#[derive(Clone)]
pub struct Make {
    /// Sectors of the lower disk, metadata included.
    pub sectors: u64,
    /// Where the application writes.
    pub area: Rc<Area>,
    /// Metadata on a device of their own.
    pub external: bool,
    /// Options of the disk.
    pub options: DiskOptions,
    /// Slots of the activity log; `None` = no log is kept.
    pub log_slots: Option<usize>,
    /// The log of the run.
    pub trace: Trace,
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
    /// It runs.
    pub alive: bool,
    /// Packets that wait to be received, by stream.
    pub inbox: [VecDeque<Message>; 2],
    /// The stream ends after what is in the inbox.
    pub ended: [bool; 2],
    /// What is sent on the stream is lost from now on.
    pub deaf: [bool; 2],
    /// A connection that stands, and that it has not heard of yet.
    pub offered: Option<u64>,
    /// Until then nothing arrives on the stream.
    pub stalled_until: [Millis; 2],
    /// Until then the disk does not answer.
    pub slow_until: Millis,
    /// Until then the node does not run.
    pub frozen_until: Millis,
    /// The last request of the administrator and, once it is there, its answer.
    pub admin: Option<Option<Result<(), Refusal>>>,
    /// The last request of the administrator.
    pub asked: Option<Request>,
    /// What the engine asked for.
    pub q: Queues,
    /// Options for the next attach.
    pub options: DiskOptions,
    /// Slots of the activity log, for the next attach; `None` = no log is kept.
    pub log_slots: Option<usize>,
    /// How often it has died.
    pub crashes: u64,
    pub(crate) trace: Trace,
    pub(crate) metadata: Metadata,
    pub(crate) running: Vec<Running>,
    make: Make,
    rng: Rng,
}

fn engine() -> Resource<HostMemory> {
    let table = |n: usize| (0..n).map(|_| Entry::<AppRequest>::default()).collect();
    let peer = |n: usize| (0..n).map(|_| Entry::<PeerRequest>::default()).collect();
    Resource::new(Tables {
        app: table(APP_SLOTS),
        peer: peer(PEER_SLOTS),
        epochs: vec![Epoch::default(); APP_SLOTS],
        volumes: (0..2).map(|_| None::<Volume<HostMemory>>).collect(),
    })
}

impl Node {
    /// A node with a disk that has fresh metadata, not attached.
    pub fn new(name: &'static str, make: &Make, mut rng: Rng) -> Self {
        let disk = Disk::new(&created(make.sectors), make.area.cells(), make.external);
        let q = Queues::new(APP_SLOTS, PEER_SLOTS, Rng::new(rng.bits()));
        Self {
            name,
            engine: engine(),
            disk,
            link: Link::Closed,
            alive: true,
            inbox: Default::default(),
            ended: [false; 2],
            deaf: [false; 2],
            offered: None,
            stalled_until: [0; 2],
            slow_until: 0,
            frozen_until: 0,
            admin: None,
            asked: None,
            q,
            options: make.options,
            log_slots: make.log_slots,
            crashes: 0,
            trace: make.trace.clone(),
            metadata: Metadata::default(),
            running: Vec::new(),
            make: make.clone(),
            rng,
        }
    }

    /// Adds the diskless volume, as the first step of `up`.
    pub fn add_volume(&mut self) {
        if self.engine.volume(0).is_none() {
            self.engine
                .add_volume(0, 0, &mut self.q)
                .expect("room for a volume");
        }
    }

    /// Makes new metadata on a disk that is not attached.
    pub fn create_metadata(&mut self) {
        self.disk.format(&created(self.make.sectors));
    }

    /// The node dies. With `power` the disk's cache dies with it.
    pub fn crash(&mut self, power: bool, rng: &mut Rng) -> Vec<Interrupted> {
        let mut met = self.metadata.crash(&mut self.disk, rng);
        for running in std::mem::take(&mut self.running) {
            met.extend(self.interrupt(running, rng));
        }
        if power {
            self.disk.lose_power(rng);
        }
        say!(
            self.trace,
            self.name,
            "--- crash, power lost: {power}, met {met:?}"
        );
        self.engine = engine();
        self.q = Queues::new(APP_SLOTS, PEER_SLOTS, Rng::new(self.rng.bits()));
        self.link = Link::Closed;
        self.alive = false;
        self.inbox.iter_mut().for_each(VecDeque::clear);
        self.ended = [false; 2];
        self.deaf = [false; 2];
        self.offered = None;
        self.stalled_until = [0; 2];
        self.admin = None;
        self.asked = None;
        self.frozen_until = 0;
        self.crashes += 1;
        met
    }

    fn interrupt(&mut self, running: Running, rng: &mut Rng) -> Option<Interrupted> {
        let (range, stamps) = match running {
            Running::App { work, .. } if work.io.op != AppOp::Read => {
                let at = self.make.area.span(&work.io.range);
                (work.io.range, vec![work.content(); at.len()])
            }
            Running::Peer {
                slot, op, range, ..
            } if op != DiskOp::Read => {
                let at = self.make.area.span(&range);
                let zeroes = vec![0; at.len()];
                let data = self.q.buffers[slot as usize].take();
                (range, data.unwrap_or(zeroes))
            }
            _ => return None,
        };
        let at = self.make.area.span(&range);
        self.disk.tear(at, &stamps, rng);
        Some(Interrupted {
            class: Class::Write,
            torn: range.sectors() > 1,
        })
    }

    /// State of its volume.
    pub fn state(&self) -> State {
        self.engine
            .volume(0)
            .map_or(State::INITIAL, |volume| volume.state)
    }

    /// Begins a request of the administrator.
    pub fn admin(&mut self, now: Millis, request: Request) {
        let start = self.engine.admin(now, request, &mut self.q);
        say!(self.trace, self.name, "# {} -> {start:?}", brief(&request));
        self.asked = Some(request);
        self.admin = Some(match start {
            Start::Done(result) => Some(result),
            Start::Pending => None,
        });
    }

    /// A request of the administrator is under way.
    pub fn admin_busy(&self) -> bool {
        self.admin == Some(None) || self.metadata.is_attaching()
    }

    /// Submits a request of the application. `None`: it must wait.
    pub fn submit(&mut self, now: Millis, work: AppWork) -> Option<Result<(), Outcome>> {
        match self.engine.submit(now, 0, work.io, &mut self.q) {
            Submit::Accepted(slot) => {
                let free = self.q.app[slot as usize].replace(work).is_none();
                assert!(free, "a slot is used once");
                Some(Ok(()))
            }
            Submit::Busy => None,
            Submit::Done(outcome) => Some(Err(outcome)),
        }
    }

    /// Everything that this node could do next.
    pub fn choices(&self, now: Millis, n: usize, out: &mut Vec<(usize, Choice)>) {
        if !self.alive || now < self.frozen_until {
            return;
        }
        let mut can = |choice: Choice, yes: bool| {
            if yes {
                out.push((n, choice));
            }
        };
        let disk = now >= self.slow_until;
        can(Choice::Task, !self.q.tasks.is_empty());
        can(Choice::Work, !self.q.work.is_empty());
        can(Choice::DiskWork, disk && self.has_disk_work());
        can(Choice::Attach, disk && self.metadata.is_attaching());
        can(Choice::Handler, !self.q.handlers.is_empty());
        can(Choice::Disk, disk && !self.running.is_empty());
        if self.link != Link::Up || self.q.closing {
            return;
        }
        for stream in 0..2 {
            can(Choice::Send(stream), !self.q.outbox[stream].is_empty());
            let arrived = !self.inbox[stream].is_empty() && now >= self.stalled_until[stream];
            can(
                Choice::Receive(stream),
                arrived && (stream == 1 || self.engine.receiver_ready()),
            );
        }
    }

    /// Does one thing of [`Node::choices`]. A message for the peer comes back.
    pub fn step(&mut self, choice: Choice, now: Millis, rng: &mut Rng) -> Option<Message> {
        match choice {
            Choice::Task => self.task(now, rng),
            Choice::Work => {
                self.q.work.pop_front();
                self.link = Link::Wanted;
            }
            Choice::DiskWork => self.disk_work(now, rng),
            Choice::Attach => self.attach_work(now, rng),
            Choice::Disk => self.complete_io(now, rng),
            Choice::Handler => self.end_handler(now, rng),
            Choice::Send(stream) => return self.send(stream, now),
            Choice::Receive(stream) => self.receive(stream, now),
        }
        None
    }

    fn end_handler(&mut self, now: Millis, rng: &mut Rng) {
        let pick = rng.below(self.q.handlers.len() as u64) as usize;
        let Act::RunHandler { volume, handler } = self.q.handlers[pick] else {
            return;
        };
        // It takes its time.
        if !rng.one_in(8) {
            return;
        }
        self.q.handlers.swap_remove(pick);
        // The peer could not be reached, or nothing that means anything: only what is true may be said.
        let end = rng.pick(&[
            HandlerEnd::Exited(5),
            HandlerEnd::Exited(0),
            HandlerEnd::Exited(77),
            HandlerEnd::Broken,
        ]);
        say!(
            self.trace,
            self.name,
            "handler {} ends: {end:?}",
            handler.name()
        );
        self.engine
            .handler_done(now, volume, handler, end, &mut self.q);
    }

    fn task(&mut self, now: Millis, rng: &mut Rng) {
        let pick = rng.below(self.q.tasks.len() as u64) as usize;
        match self.q.tasks.swap_remove(pick) {
            Act::SubmitApp { slot, alone, .. } => {
                let Some(work) = self.q.app[slot as usize].clone() else {
                    // It was completed without the disk, which was given up.
                    return self.engine.app_local_done(now, slot, false, &mut self.q);
                };
                self.check_log(&work);
                if matches!(work.io.op, AppOp::Write) {
                    self.q.events.push(Event::MayReach(true, work.clone()));
                }
                say!(self.trace, self.name, "disk <- {}", show(&work));
                self.running.push(Running::App { slot, work, alone });
            }
            Act::SubmitPeer {
                slot,
                op,
                range,
                fua,
                preflush,
                ..
            } => {
                say!(self.trace, self.name, "disk <- peer {op:?} {}", at(&range));
                self.running.push(Running::Peer {
                    slot,
                    op,
                    range,
                    fua,
                    preflush,
                });
            }
            Act::ReleasePeer { slot } => {
                self.q.buffers[slot as usize] = None;
                self.engine.peer_released(now, slot, &mut self.q);
            }
            act => unreachable!("{act:?} is no task"),
        }
    }

    /// No data write is issued before a crash would mark its extents.
    fn check_log(&mut self, work: &AppWork) {
        if matches!(work.io.op, AppOp::Read | AppOp::Flush) {
            return;
        }
        let range = work.io.range;
        let extents = range.sector / EXTENT_SECTORS..range.end().div_ceil(EXTENT_SECTORS);
        for extent in extents {
            if !self.disk.would_mark(extent as u32) {
                violation!(
                    "{}: write {} at {} is issued, but extent {extent} is not in the log on stable storage",
                    self.name,
                    work.stamp,
                    at(&range),
                );
            }
        }
    }

    fn complete_io(&mut self, now: Millis, rng: &mut Rng) {
        let pick = rng.below(self.running.len() as u64) as usize;
        match self.running.swap_remove(pick) {
            Running::App { slot, work, alone } => {
                self.complete_app_io(now, slot, &work, alone, rng);
            }
            Running::Peer {
                slot,
                op,
                range,
                fua,
                preflush,
            } => {
                let span = self.make.area.span(&range);
                let mut ok = !preflush || self.flush();
                if op == DiskOp::Read {
                    ok = self.disk.succeeds(Class::Read);
                    if ok {
                        self.q.buffers[slot as usize] = Some(self.disk.cells[span].to_vec());
                    }
                } else if ok {
                    let zeroes = vec![0; span.len()];
                    let data = match op {
                        DiskOp::Write => self.q.buffers[slot as usize]
                            .clone()
                            .expect("a write has its data"),
                        _ => zeroes,
                    };
                    ok = self.write(span, &data, fua, rng);
                }
                say!(
                    self.trace,
                    self.name,
                    "disk -> peer {op:?} {} {ok}",
                    at(&range)
                );
                self.engine.peer_disk_done(now, slot, ok, &mut self.q);
            }
        }
    }

    fn complete_app_io(
        &mut self,
        now: Millis,
        slot: u32,
        work: &AppWork,
        alone: bool,
        rng: &mut Rng,
    ) {
        let io = work.io;
        let span = self.make.area.span(&io.range);
        let mut found = Vec::new();
        if matches!(io.op, AppOp::Zeroes { .. }) && rng.one_in(12) {
            say!(self.trace, self.name, "disk -> {} refused", show(work));
            return self.engine.app_local_refused(now, slot, &mut self.q);
        }
        let ok = match io.op {
            AppOp::Read => {
                found = self.disk.cells[span].to_vec();
                self.disk.succeeds(Class::Read)
            }
            AppOp::Flush => self.flush(),
            _ => {
                let stamps = vec![work.content(); span.len()];
                (!io.preflush || self.flush()) && self.write(span, &stamps, io.fua, rng)
            }
        };
        say!(self.trace, self.name, "disk -> {} {ok}", show(work));
        let place = self.q.app[slot as usize].as_mut();
        if let Some(place) = place.filter(|place| place.stamp == work.stamp) {
            place.local = Some(ok);
            if ok {
                place.found = found;
            }
            if ok && alone {
                let done = self.q.take(slot);
                self.q.events.push(Event::Completed(done, Outcome::Ok));
            }
        }
        // Also of a request that was completed without the disk: until now the slot is the disk's.
        self.engine.app_local_done(now, slot, ok, &mut self.q);
    }

    fn flush(&mut self) -> bool {
        let ok = self.disk.succeeds(Class::Flush);
        if ok {
            self.disk.flush_data();
        }
        ok
    }

    fn write(
        &mut self,
        at: std::ops::Range<usize>,
        stamps: &[Stamp],
        fua: bool,
        rng: &mut Rng,
    ) -> bool {
        let ok = self.disk.succeeds(Class::Write);
        match ok {
            true => self.disk.write(at, stamps, fua),
            false => self.disk.tear(at, stamps, rng),
        }
        ok
    }

    /// Carries `CloseLink` out.
    pub fn close_link(&mut self, now: Millis) {
        self.q.closing = false;
        self.link = Link::Closed;
        self.inbox.iter_mut().for_each(VecDeque::clear);
        self.ended = [false; 2];
        self.deaf = [false; 2];
        self.engine.link_closed(now, &mut self.q);
    }

    /// A stream has ended, or the peer's end is gone.
    pub fn peer_gone(&mut self, now: Millis, failure: LinkFailure) {
        self.engine.link_lost(now, failure, &mut self.q);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Millis) {
        self.engine.tick(now, &mut self.q);
    }

    /// Both streams to the peer stand.
    pub fn link_up(&mut self, now: Millis, connection: u64, terms: LinkTerms) {
        self.link = Link::Up;
        self.q.opened(connection);
        self.engine.link_up(now, terms, &mut self.q);
    }

    fn send(&mut self, stream: usize, now: Millis) -> Option<Message> {
        let (bytes, payload) = self.q.outbox[stream].front().cloned()?;
        if let Payload::Bitmap { volume } = payload {
            let mut packet = vec![0; 4096];
            let Some(len) = self.engine.bitmap_packet(volume, &mut packet) else {
                self.q.outbox[stream].pop_front();
                return None;
            };
            packet.truncate(len);
            return Some(Message {
                bytes: packet,
                payload: Vec::new(),
            });
        }
        self.q.outbox[stream].pop_front();
        let data = match payload {
            Payload::App { slot, .. } => {
                let connection = self.q.connection;
                let work = self.q.app[slot as usize]
                    .as_mut()
                    .expect("a write stays until it is sent");
                work.sent_over = Some(connection);
                self.q.events.push(Event::MayReach(false, work.clone()));
                let work = self.q.app[slot as usize].as_ref()?;
                vec![work.stamp; self.make.area.span(&work.io.range).len()]
            }
            Payload::Peer { slot } => self.q.buffers[slot as usize]
                .clone()
                .expect("an answer has its data"),
            Payload::None => {
                self.note_zeroes_sent(&bytes);
                Vec::new()
            }
            _ => Vec::new(),
        };
        match payload {
            Payload::Peer { slot } => self.engine.peer_sent(now, slot, &mut self.q),
            Payload::App { slot, report: true } => {
                self.engine.app_sent(now, slot, &mut self.q);
            }
            Payload::Last => self.engine.last_sent(now, &mut self.q),
            _ => (),
        }
        // The end of a connection may have no packet of its own.
        (!bytes.is_empty()).then_some(Message {
            bytes,
            payload: data,
        })
    }

    /// A packet that zeroes blocks has no payload; the request that it belongs to is known by its range.
    fn note_zeroes_sent(&mut self, bytes: &[u8]) {
        let agreed = *self.engine.agreed();
        let format = agreed.header_format();
        let header = Header::decode(format, bytes).expect("the engine sends good headers");
        if header.command != Command::Zeroes {
            return;
        }
        let frame = header.frame(Socket::Data, &agreed).expect("good frames");
        let body = &bytes[format.len()..];
        let Ok(Packet::Zeroes(zeroes)) = frame.decode(body, &agreed) else {
            unreachable!("the command says what it is");
        };
        let same = |work: &&mut AppWork| {
            matches!(work.io.op, AppOp::Zeroes { .. }) && work.io.range == zeroes.range
        };
        let work = self.q.app.iter_mut().flatten().find(same);
        work.expect("it waits for its acknowledgement").sent_over = Some(self.q.connection);
    }

    fn receive(&mut self, stream: usize, now: Millis) {
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
            let slot = self
                .engine
                .reserve_peer(frame.payload_len)
                .expect("the receiver was ready");
            self.q.buffers[slot as usize] = Some(message.payload);
            slot
        });
        say!(self.trace, self.name, "{}", packet_name(&packet));
        self.engine.heard(now);
        self.q.heard += u64::from(header.command == Command::State);
        self.engine
            .packet(now, socket, &header, &packet, slot, &mut self.q);
    }

    /// A request of the application is on the disk. What a disk still has that was given up by force has ended.
    pub fn has_app_io(&self) -> bool {
        let pending = |slot: u32, stamp: Stamp| {
            let work = self.q.app[slot as usize].as_ref();
            work.is_some_and(|work| work.stamp == stamp)
        };
        let app = |running: &Running| match running {
            Running::App { slot, work, .. } => pending(*slot, work.stamp),
            Running::Peer { .. } => false,
        };
        self.running.iter().any(app)
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.q.is_idle()
            && self.running.is_empty()
            && self.metadata.is_idle()
            && self.inbox.iter().all(VecDeque::is_empty)
    }

    /// The sooner of the times when it wants to be called; `None` while it does not run.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.alive.then(|| self.engine.next_deadline()).flatten()
    }

    /// Takes the next thing that the world has not seen.
    pub fn next_event(&mut self) -> Option<Event> {
        (!self.q.events.is_empty()).then(|| self.q.events.remove(0))
    }
}

/// A range of sectors for the log.
pub fn at(range: &Range) -> String {
    format!("{}+{}", range.sector, range.sectors())
}

fn show(work: &AppWork) -> String {
    format!("{:?} {} #{}", work.io.op, at(&work.io.range), work.stamp)
}

fn packet_name(packet: &rdb_engine::wire::Packet<'_>) -> String {
    let mut text = format!("<- {packet:?}");
    if text.len() > 140 {
        text.truncate(
            (0..=140)
                .rev()
                .find(|i| text.is_char_boundary(*i))
                .unwrap_or(0),
        );
        text.push('…');
    }
    text
}

/// A request of the administrator for the log.
pub fn brief(request: &Request) -> String {
    match request {
        Request::Connect(net) => format!(
            "Connect {:?}{}",
            net.protocol,
            if net.discard_my_data {
                " --discard-my-data"
            } else {
                ""
            }
        ),
        other => format!("{other:?}"),
    }
}
