// SPDX-License-Identifier: GPL-2.0

//! Two engines with a perfect shell each, which does everything at once except what a test holds back.

use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use crate::activity_log::{LogSlot, LogStep};
use crate::admin::{Refusal, Request, Start};
use crate::bitmap::{pages_for, PageNote};
use crate::effects::{Act, AppSlot, Effects, Millis, Outcome, Payload, Socket, PACKET_MAX};
use crate::epoch::Epoch;
use crate::handler::{Handler, HandlerEnd};
use crate::link::{LinkFailure, LinkTerms, NetOptions};
use crate::memory::Memory;
use crate::meta::{create, CreateOptions, MetaFlags, Placement, Superblock};
use crate::request::{AppIo, AppOp, Submit};
use crate::resource::{Resource, Tables};
use crate::slots::Entry;
use crate::volume::{AttachedDisk, DiskOptions};
use crate::wire::{Agreed, Features, Header, Packet, QueueLimits, Range, State};

pub(super) struct Host;

impl Memory for Host {
    type Words = Vec<u64>;
    type Table<T> = Vec<T>;
}

const SECTORS: u64 = 2048;

#[derive(Default)]
struct Collected {
    acts: VecDeque<Act>,
    sent: [VecDeque<(Vec<u8>, Payload)>; 2],
    random: u64,
}

impl Effects for Collected {
    fn send(&mut self, stream: Socket, bytes: &[u8], payload: Payload) {
        self.sent[usize::from(stream == Socket::Meta)].push_back((bytes.to_vec(), payload));
    }

    fn act(&mut self, act: Act) {
        self.acts.push_back(act);
    }

    fn random(&mut self) -> u64 {
        self.random += 2;
        0x1000_0000_0000_0000 + self.random
    }
}

/// What a test holds back, or has go wrong.
#[derive(Clone, Copy, Default)]
pub(super) struct Wants {
    /// The lower disk answers no request for data.
    pub(super) hold_io: bool,
    /// The lower disk answers every request for data with an error.
    pub(super) fail_io: bool,
    /// The lower disk does nothing of what the application asks for, and says so.
    pub(super) refuse: bool,
    /// Flushes fail.
    pub(super) fail_flush: bool,
    /// The lower disk does not answer when metadata are written.
    pub(super) hold_metadata: bool,
}

pub(super) struct Node {
    pub(super) engine: Resource<Host>,
    pub(super) wants: Wants,
    /// Handlers that were called and have not ended.
    pub(super) handlers: Vec<Handler>,
    /// Requests that have ended.
    pub(super) done: Vec<(AppSlot, Outcome)>,
    /// How the request of the administrator ended.
    pub(super) admin: Option<Result<(), Refusal>>,
    fx: Collected,
    held: Vec<Act>,
    wanted: bool,
    up: bool,
}

impl Node {
    fn new(seed: u64) -> Self {
        let engine = Resource::new(Tables {
            app: (0..32).map(|_| Entry::default()).collect(),
            peer: (0..32).map(|_| Entry::default()).collect(),
            epochs: vec![Epoch::default(); 32],
            volumes: vec![None, None],
        });
        Self {
            engine,
            wants: Wants::default(),
            handlers: Vec::new(),
            done: Vec::new(),
            admin: None,
            fx: Collected {
                random: seed,
                ..Collected::default()
            },
            held: Vec::new(),
            wanted: false,
            up: false,
        }
    }

    /// A superblock of a node that had all data.
    pub(super) fn superblock() -> Superblock {
        let size = SECTORS + 512;
        let options = CreateOptions::default();
        let created = create(Placement::Internal, size, size, &options).expect("sizes fit");
        Superblock {
            la_size: SECTORS,
            current_uuid: 0x1234_5678_9abc_def0,
            flags: MetaFlags::NONE
                .with(MetaFlags::CONSISTENT, true)
                .with(MetaFlags::WAS_UP_TO_DATE, true),
            ..created.superblock
        }
    }

    pub(super) fn attach(&mut self, now: Millis, superblock: Superblock, options: DiskOptions) {
        let words = vec![0; 512];
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
            pages: vec![PageNote::default(); pages_for(words.len())],
            bitmap: words,
            log: Some(vec![LogSlot::default(); 67]),
            options,
            limits,
        };
        self.engine
            .attach(now, 0, attached, &mut self.fx)
            .expect("the disk fits");
    }

    pub(super) fn state(&self) -> State {
        self.engine.volume(0).expect("the volume is there").state
    }

    /// The superblock as the engine would write it.
    pub(super) fn written(&mut self) -> Superblock {
        self.engine.superblock(0).expect("there is a disk").1
    }

    fn data_io(&mut self, act: Act, now: Millis) {
        if self.wants.hold_io {
            return self.held.push(act);
        }
        let ok = !self.wants.fail_io;
        match act {
            Act::SubmitApp { slot, .. } if self.wants.refuse => {
                self.engine.app_local_refused(now, slot, &mut self.fx);
            }
            Act::SubmitApp { slot, alone, .. } => {
                if alone && ok {
                    self.done.push((slot, Outcome::Ok));
                }
                self.engine.app_local_done(now, slot, ok, &mut self.fx);
            }
            Act::SubmitPeer { slot, .. } => self.engine.peer_disk_done(now, slot, ok, &mut self.fx),
            Act::FlushDisk { volume } => {
                let ok = ok && !self.wants.fail_flush;
                self.engine.flush_done(now, volume, ok, &mut self.fx);
            }
            _ => (),
        }
    }

    fn metadata(&mut self, act: Act, now: Millis) {
        if self.wants.hold_metadata {
            return self.held.push(act);
        }
        let (engine, fx) = (&mut self.engine, &mut self.fx);
        match act {
            Act::WriteSuperblock { volume } => {
                if let Some((number, _)) = engine.superblock(volume) {
                    engine.superblock_done(now, volume, number, true, fx);
                }
            }
            Act::WriteBitmap { volume } => {
                let mut from = 0;
                while let Some(pages) = engine.next_bitmap_pages(volume, from, 8) {
                    from = pages.first + pages.count;
                }
                engine.bitmap_written(now, volume, true, fx);
            }
            Act::WriteLog { volume } => {
                let mut block = vec![0; 4096];
                while let LogStep::Pages(_) = engine.log_step(volume, 64, &mut block) {}
                engine.log_written(now, volume, true, fx);
            }
            _ => (),
        }
    }

    fn act(&mut self, act: Act, now: Millis) {
        match act {
            Act::SubmitApp { .. } | Act::SubmitPeer { .. } | Act::FlushDisk { .. } => {
                self.data_io(act, now)
            }
            Act::WriteSuperblock { .. } | Act::WriteBitmap { .. } | Act::WriteLog { .. } => {
                self.metadata(act, now)
            }
            Act::ReleasePeer { slot } => self.engine.peer_released(now, slot, &mut self.fx),
            Act::CloseDisk { volume } => self.engine.disk_closed(now, volume, &mut self.fx),
            Act::CompleteApp { slot, outcome } => self.done.push((slot, outcome)),
            Act::CompleteAppRead { slot, peer } => {
                self.done.push((slot, Outcome::Ok));
                self.engine.peer_released(now, peer, &mut self.fx);
            }
            Act::OpenLink { .. } => self.wanted = true,
            Act::CloseLink => {
                self.up = false;
                self.wanted = false;
                self.fx.sent = Default::default();
                self.engine.link_closed(now, &mut self.fx);
            }
            Act::RunHandler { handler, .. } => self.handlers.push(handler),
            Act::AdminDone(result) => self.admin = Some(result),
            _ => (),
        }
    }

    /// A packet of the data stream arrives.
    pub(super) fn hears(&mut self, now: Millis, packet: &Packet<'_>) {
        let mut bytes = [0; PACKET_MAX];
        let format = self.engine.agreed().header_format();
        let len = packet
            .encode(format, 0, &mut bytes)
            .expect("a small packet");
        self.receive(0, &bytes[..len], now);
    }

    fn receive(&mut self, stream: usize, bytes: &[u8], now: Millis) {
        let agreed = *self.engine.agreed();
        let format = agreed.header_format();
        let socket = [Socket::Data, Socket::Meta][stream];
        let header = Header::decode(format, bytes).expect("a good header");
        let frame = header.frame(socket, &agreed).expect("a good frame");
        let packet = frame
            .decode(&bytes[format.len()..], &agreed)
            .expect("a good packet");
        let slot = (frame.payload_len > 0)
            .then(|| self.engine.reserve_peer(frame.payload_len))
            .flatten();
        self.engine
            .packet(now, socket, &header, &packet, slot, &mut self.fx);
    }

    /// The next packet of a stream.
    fn send(&mut self, stream: usize, now: Millis) -> Option<Vec<u8>> {
        loop {
            let (bytes, payload) = self.fx.sent[stream].front().cloned()?;
            if let Payload::Bitmap { volume } = payload {
                let mut packet = vec![0; 4096];
                if let Some(len) = self.engine.bitmap_packet(volume, &mut packet) {
                    packet.truncate(len);
                    return Some(packet);
                }
                self.fx.sent[stream].pop_front();
                continue;
            }
            self.fx.sent[stream].pop_front();
            match payload {
                Payload::Peer { slot } => self.engine.peer_sent(now, slot, &mut self.fx),
                Payload::App { slot, report: true } => {
                    self.engine.app_sent(now, slot, &mut self.fx);
                }
                Payload::Last => self.engine.last_sent(now, &mut self.fx),
                _ => (),
            }
            return Some(bytes);
        }
    }

    /// The lower disk answers what it was asked before.
    pub(super) fn answer_held(&mut self, now: Millis) {
        for act in core::mem::take(&mut self.held) {
            self.act(act, now);
        }
    }

    /// A handler that was called ends.
    pub(super) fn end_handler(&mut self, now: Millis, handler: Handler, end: HandlerEnd) {
        let at = self.handlers.iter().position(|called| *called == handler);
        self.handlers.remove(at.expect("it was called"));
        self.engine.handler_done(now, 0, handler, end, &mut self.fx);
    }

    pub(super) fn ask(&mut self, now: Millis, request: Request) {
        self.admin = None;
        if let Start::Done(result) = self.engine.admin(now, request, &mut self.fx) {
            self.admin = Some(result);
        }
    }

    /// A request of 4 KiB.
    pub(super) fn submit(&mut self, now: Millis, op: AppOp, sector: u64) -> Submit {
        let bytes = if op == AppOp::Flush { 0 } else { 4096 };
        let io = AppIo {
            op,
            range: Range { sector, bytes },
            fua: false,
            preflush: op == AppOp::Flush,
            sync: false,
        };
        self.engine.submit(now, 0, io, &mut self.fx)
    }

    pub(super) fn write(&mut self, now: Millis, sector: u64) -> AppSlot {
        match self.submit(now, AppOp::Write, sector) {
            Submit::Accepted(slot) => slot,
            other => panic!("a write was not taken: {other:?}"),
        }
    }

    pub(super) fn outcome(&self, slot: AppSlot) -> Option<Outcome> {
        let found = self.done.iter().rev().find(|(done, _)| *done == slot);
        found.map(|(_, outcome)| *outcome)
    }
}

/// Two nodes with the same data; the first is Primary.
pub(super) struct Pair {
    pub(super) now: Millis,
    pub(super) a: Node,
    pub(super) b: Node,
    pub(super) cut: bool,
}

impl Pair {
    pub(super) fn new(options: DiskOptions) -> Self {
        Self::with(options, NetOptions::default())
    }

    pub(super) fn with(options: DiskOptions, net: NetOptions) -> Self {
        let mut pair = Self {
            now: 1000,
            a: Node::new(0x1000),
            b: Node::new(0x2000),
            cut: false,
        };
        for node in [&mut pair.a, &mut pair.b] {
            node.engine
                .add_volume(0, 0, &mut node.fx)
                .expect("room for a volume");
            node.attach(1000, Node::superblock(), options);
            node.ask(1000, Request::Connect(net));
        }
        pair.settle();
        pair.a.ask(
            pair.now,
            Request::Primary {
                volume: 0,
                force: false,
            },
        );
        pair.settle();
        assert_eq!(pair.a.admin, Some(Ok(())));
        assert_eq!(pair.a.state().pdsk, crate::wire::DiskState::UpToDate);
        pair
    }

    /// Everything that can happen without time happens.
    pub(super) fn settle(&mut self) {
        let now = self.now;
        for _ in 0..10_000 {
            let Self { a, b, cut, .. } = self;
            if let Some(act) = a.fx.acts.pop_front() {
                a.act(act, now);
            } else if let Some(act) = b.fx.acts.pop_front() {
                b.act(act, now);
            } else if a.up != b.up && (!a.wanted || !b.wanted || a.up || b.up) {
                // Both ends of a connection go.
                let left = if a.up { &mut *a } else { &mut *b };
                left.engine
                    .link_lost(now, LinkFailure::BrokenPipe, &mut left.fx);
            } else if a.wanted && b.wanted && !a.up && !*cut {
                let agreed = Agreed {
                    version: 101,
                    features: Features::ALL,
                    ..Agreed::NOTHING
                };
                for (node, resolve) in [(&mut *a, true), (&mut *b, false)] {
                    node.up = true;
                    node.engine
                        .link_up(now, LinkTerms { agreed, resolve }, &mut node.fx);
                }
            } else if !a.up || !Self::carry(a, b, now) && !Self::carry(b, a, now) {
                return;
            }
        }
        panic!("the nodes do not come to rest");
    }

    fn carry(from: &mut Node, to: &mut Node, now: Millis) -> bool {
        for stream in [1, 0] {
            if stream == 0 && !to.engine.receiver_ready() {
                continue;
            }
            if let Some(bytes) = from.send(stream, now) {
                if to.up {
                    to.receive(stream, &bytes, now);
                }
                return true;
            }
        }
        false
    }

    /// The connection breaks, and cannot be made again.
    pub(super) fn break_link(&mut self) {
        self.cut = true;
        for node in [&mut self.a, &mut self.b] {
            node.engine
                .link_lost(self.now, LinkFailure::NetworkFailure, &mut node.fx);
        }
        self.settle();
    }

    pub(super) fn restore_link(&mut self) {
        self.cut = false;
        self.settle();
    }

    /// Lets time pass, in small steps.
    pub(super) fn pass(&mut self, ms: Millis) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 20;
            for node in [&mut self.a, &mut self.b] {
                let due = node.engine.next_deadline();
                if due.is_some_and(|due| due <= self.now) {
                    node.engine.tick(self.now, &mut node.fx);
                }
            }
            self.settle();
        }
    }
}
