// SPDX-License-Identifier: GPL-2.0

//! What the engine of a node has asked for and what is not done yet: the part of the shell that the engine writes to.

use std::collections::VecDeque;

use rdb_engine::admin::Refusal;
use rdb_engine::effects::{Act, DiskOp, Effects, Notice, Outcome, Payload};
use rdb_engine::meeting::Settlement;
use rdb_engine::request::{AppIo, AppOp};
use rdb_engine::wire::{Command, DiskState, Header, HeaderFormat, Socket, State};

use crate::area::Stamp;
use crate::rng::Rng;

/// A request of the application that is under way.
#[derive(Clone, Debug)]
pub struct AppWork {
    /// What was asked for.
    pub io: AppIo,
    /// Its number, and what a write writes.
    pub stamp: Stamp,
    /// What a read found.
    pub found: Vec<Stamp>,
    /// The connection over which the data were sent.
    pub sent_over: Option<u64>,
    /// How it ended on the lower disk.
    pub local: Option<bool>,
}

impl AppWork {
    /// What the sectors hold when it is done.
    pub fn content(&self) -> Stamp {
        match self.io.op {
            AppOp::Write => self.stamp,
            _ => 0,
        }
    }
}

/// How a node decided in a handshake, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// What it decided.
    pub settled: Settlement,
    /// How many states it had told the peer over this connection. The last one is what the peer knows of it.
    pub said: u64,
    /// How many states of the peer it had heard over this connection.
    pub heard: u64,
    /// It was attaching its disk.
    pub negotiating: bool,
}

/// Something that the world has to know at once.
#[derive(Debug)]
pub enum Event {
    /// The state of the volume changed.
    State {
        /// Before.
        old: State,
        /// After.
        new: State,
        /// Why.
        why: &'static str,
    },
    /// A notable condition.
    Notice(Notice),
    /// Data of the peer may reach the own disk from now on.
    PeerWrites,
    /// A handshake was decided.
    Verdict(Verdict),
    /// A request of the application ended.
    Completed(AppWork, Outcome),
    /// A write may reach a disk from now on: the own one (`true`), or the peer's.
    MayReach(bool, AppWork),
    /// The request of the administrator ended.
    Admin(Result<(), Refusal>),
    /// The lower disk was taken, or not.
    Attached(Result<(), Refusal>),
}

/// The queues of a node.
pub struct Queues {
    /// Packets that wait to be sent, by stream.
    pub outbox: [VecDeque<(Vec<u8>, Payload)>; 2],
    /// Packets are accepted.
    pub link_open: bool,
    /// `CloseLink` was asked for and not carried out yet.
    pub closing: bool,
    /// Number of the connection.
    pub connection: u64,
    /// States that were told over it.
    pub said: u64,
    /// States that were heard over it.
    pub heard: u64,
    /// State of the own disk.
    disk: DiskState,
    /// Requests of the application, by slot.
    pub app: Vec<Option<AppWork>>,
    /// Buffers of the peer's requests, by slot.
    pub buffers: Vec<Option<Vec<Stamp>>>,
    /// Data I/O to start, and the like: in no order.
    pub tasks: Vec<Act>,
    /// What the disk worker does, in order.
    pub disk_work: VecDeque<Act>,
    /// Handlers that run.
    pub handlers: Vec<Act>,
    /// What the worker does, in order.
    pub work: VecDeque<Act>,
    /// What the world has not seen yet.
    pub events: Vec<Event>,
    rng: Rng,
}

impl Queues {
    /// Empty queues for tables of this many requests.
    pub fn new(app: usize, peer: usize, rng: Rng) -> Self {
        Self {
            outbox: Default::default(),
            link_open: false,
            closing: false,
            connection: 0,
            said: 0,
            heard: 0,
            disk: DiskState::Diskless,
            app: vec![None; app],
            buffers: vec![None; peer],
            tasks: Vec::new(),
            disk_work: VecDeque::new(),
            handlers: Vec::new(),
            work: VecDeque::new(),
            events: Vec::new(),
            rng,
        }
    }

    /// A new connection stands.
    pub fn opened(&mut self, connection: u64) {
        self.link_open = true;
        self.connection = connection;
        self.said = 0;
        self.heard = 0;
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty()
            && self.disk_work.is_empty()
            && self.handlers.is_empty()
            && self.work.is_empty()
            && self.app.iter().all(Option::is_none)
            && self.outbox.iter().all(VecDeque::is_empty)
    }

    /// Takes a request out that has ended.
    pub fn take(&mut self, slot: u32) -> AppWork {
        self.app[slot as usize]
            .take()
            .expect("a request completes exactly once")
    }
}

impl Effects for Queues {
    fn send(&mut self, stream: Socket, bytes: &[u8], payload: Payload) {
        if !self.link_open {
            return;
        }
        self.said += u64::from(is_state(bytes));
        self.outbox[usize::from(stream == Socket::Meta)].push_back((bytes.to_vec(), payload));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::CompleteApp { slot, outcome } => {
                let work = self.take(slot);
                self.events.push(Event::Completed(work, outcome));
            }
            Act::CompleteAppRead { slot, peer } => {
                let mut work = self.take(slot);
                work.found = self.buffers[peer as usize]
                    .take()
                    .expect("an answer has its data");
                self.events.push(Event::Completed(work, Outcome::Ok));
                self.tasks.push(Act::ReleasePeer { slot: peer });
            }
            Act::StateChanged { old, new, why, .. } => {
                self.disk = new.disk;
                self.events.push(Event::State { old, new, why });
            }
            Act::Notice(notice) => {
                self.events.push(Event::Notice(notice));
                if let Notice::Handshake { settled, .. } = notice {
                    self.events.push(Event::Verdict(Verdict {
                        settled,
                        said: self.said,
                        heard: self.heard,
                        negotiating: self.disk == DiskState::Negotiating,
                    }));
                }
            }
            Act::AdminDone(result) => self.events.push(Event::Admin(result)),
            Act::CloseLink => {
                self.link_open = false;
                self.closing = true;
                self.outbox.iter_mut().for_each(VecDeque::clear);
            }
            Act::OpenLink { .. } => self.work.push_back(act),
            Act::RunHandler { .. } => self.handlers.push(act),
            Act::SubmitApp { .. } | Act::SubmitPeer { .. } | Act::ReleasePeer { .. } => {
                if let Act::SubmitPeer { op, .. } = act {
                    if op != DiskOp::Read {
                        self.events.push(Event::PeerWrites);
                    }
                }
                self.tasks.push(act);
            }
            Act::FlushDisk { .. }
            | Act::WriteSuperblock { .. }
            | Act::WriteBitmap { .. }
            | Act::WriteLog { .. }
            | Act::CloseDisk { .. } => self.disk_work.push_back(act),
            Act::Wake | Act::Rearm | Act::SetCapacity { .. } => (),
        }
    }

    fn random(&mut self) -> u64 {
        self.rng.bits()
    }
}

/// Whether a packet tells the state of a volume.
fn is_state(bytes: &[u8]) -> bool {
    Header::decode(HeaderFormat::P100, bytes).is_ok_and(|header| header.command == Command::State)
}
