// SPDX-License-Identifier: GPL-2.0

//! What the engine answers, as long as it has not been carried out: packets, acts, and the tables of bios and buffers that
//! both refer to. Protected by the lock of the resource; nothing here sleeps or allocates.

use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_engine::admin::Refusal;
use rdb_engine::effects::{
    queue_bound, Act, AppSlot, DiskOp, Effects, Millis, Outcome, Payload, PeerSlot, Range, Socket,
    VolumeIndex, PACKET_MAX,
};
use rdb_engine::handler::Handler;
use rdb_engine::link::LinkFailure;
use rdb_kapi::bio::{Bio, BioHold, Op};
use rdb_kapi::buf::IoBuf;
use rdb_kapi::crypto::random_u64;
use rdb_kapi::status::Status;

use super::backing::Backing;
use super::device::Device;
use super::handlers;
use super::log::say;
use super::memory::Table;
use super::resource::Engine;
use super::ring::Ring;
use super::signals::Signals;

/// Requests of the application under way, those that wait for a barrier acknowledgement included.
pub(crate) const APP_SLOTS: usize = 2048;
/// Requests of the peer under way.
pub(crate) const PEER_SLOTS: usize = 1024;
/// Volumes of a resource.
pub(crate) const VOLUMES: usize = 16;

/// Room for acts of the worker; the last [`WORK_RESERVE`] places are not for log lines and events.
const WORK: usize = 1024;
const WORK_RESERVE: usize = 256;
/// Every slot may have two acts waiting, volumes some.
const TASKS: usize = 2 * APP_SLOTS + 3 * PEER_SLOTS + 64 * VOLUMES;
/// Most jobs that one caller takes out of the lock at a time; bounds its stack.
pub(crate) const BATCH: usize = 8;

/// A packet that waits to be sent.
pub(crate) struct Queued {
    bytes: [u8; PACKET_MAX],
    len: u8,
    payload: Payload,
}

/// An act that any thread may carry out.
enum Task {
    Act(Act),
    Complete(Bio, Outcome),
    CompleteRead(Bio, PeerSlot),
}

/// An act with all that it needs, to be carried out without the lock.
pub(crate) enum Job {
    /// Give the request to the lower disk.
    Submit {
        slot: AppSlot,
        bio: BioHold,
        disk: Arc<Backing>,
    },
    /// Give the request to the lower disk for good.
    PassOn {
        slot: AppSlot,
        bio: Bio,
        disk: Arc<Backing>,
    },
    /// Give it to the lower disk by way of a buffer of our own.
    Copy {
        slot: AppSlot,
        bio: BioHold,
        disk: Arc<Backing>,
    },
    /// Complete the request.
    Complete { bio: Bio, status: Status },
    /// Complete the read request with what the peer sent.
    CompleteRead {
        bio: Bio,
        buf: Option<IoBuf>,
        peer: PeerSlot,
    },
    /// Work on the lower disk for the peer.
    Peer {
        slot: PeerSlot,
        disk: Arc<Backing>,
        op: DiskOp,
        range: Range,
        buf: Option<IoBuf>,
        fua: bool,
        preflush: bool,
    },
    /// Nothing to do but to report.
    Report(Report),
}

/// What the engine is told of a job at once.
#[derive(Clone, Copy)]
pub(crate) enum Report {
    /// The local part of a request failed before it began.
    AppFailed(AppSlot),
    /// The operation of the peer failed before it began.
    PeerFailed(PeerSlot),
    /// The buffer is free.
    Released(PeerSlot),
}

/// Jobs taken in one go.
pub(crate) type Batch = [Option<Job>; BATCH];

/// Who carries acts out, and what must not happen there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// A thread that gives buffers back: must not wait for buffers.
    NoBuffers,
    /// Any other thread.
    Thread,
}

/// A packet for the sender, with the memory of its payload.
pub(crate) enum Cargo {
    None,
    App {
        slot: AppSlot,
        bio: BioHold,
        report: bool,
    },
    Peer {
        slot: PeerSlot,
        buf: IoBuf,
    },
    Bitmap {
        volume: VolumeIndex,
    },
    /// The bytes were the last of the connection.
    Last,
}

/// See the module documentation.
pub(crate) struct Queues {
    app: Table<Option<Bio>>,
    peer: Table<Option<IoBuf>>,
    disks: Table<Option<Arc<Backing>>>,
    devices: Table<Option<Arc<Device>>>,
    data: Ring<Queued>,
    meta: Ring<Queued>,
    /// Packets are accepted: from `open_link` to `Act::CloseLink`.
    link_open: bool,
    /// `Act::CloseLink` came and no `Act::OpenLink` since: a link that is just being made is not wanted any more.
    link_unwanted: bool,
    overflow: bool,
    tasks: Ring<Task>,
    work: Ring<Act>,
    disk_work: Ring<Act>,
    /// Handlers to be run, by [`handlers::kind`].
    handlers: [Ring<(VolumeIndex, Handler)>; 2],
    /// How the last request of the administrator ended.
    pub(crate) admin_result: Option<Result<(), Refusal>>,
    signals: Arc<Signals>,
}

impl Queues {
    /// Empty queues. May sleep.
    pub(crate) fn new(signals: Arc<Signals>) -> Result<Self> {
        let packets = queue_bound(APP_SLOTS, PEER_SLOTS, VOLUMES);
        Ok(Self {
            app: Table::new(APP_SLOTS)?,
            peer: Table::new(PEER_SLOTS)?,
            disks: Table::new(VOLUMES)?,
            devices: Table::new(VOLUMES)?,
            data: Ring::new(packets)?,
            meta: Ring::new(packets)?,
            link_open: false,
            link_unwanted: false,
            overflow: false,
            tasks: Ring::new(TASKS)?,
            work: Ring::new(WORK)?,
            disk_work: Ring::new(APP_SLOTS + PEER_SLOTS + 64 * VOLUMES)?,
            handlers: [Ring::new(handlers::WAITING)?, Ring::new(handlers::WAITING)?],
            admin_result: None,
            signals,
        })
    }

    /// Keeps the bio of an accepted request.
    pub(crate) fn park(&mut self, slot: AppSlot, bio: Bio) {
        if let Some(place) = entry(&mut self.app, slot) {
            *place = Some(bio);
        }
    }

    /// Keeps the buffer of a peer request.
    pub(crate) fn keep(&mut self, slot: PeerSlot, buf: Option<IoBuf>) {
        if let Some(place) = entry(&mut self.peer, slot) {
            *place = buf;
        }
    }

    /// The disk of a volume.
    pub(crate) fn disk(&self, v: VolumeIndex) -> Option<Arc<Backing>> {
        self.disks.get(v)?.clone()
    }

    /// Sets the disk of a volume; gives the old one back, to be dropped without the lock.
    pub(crate) fn set_disk(
        &mut self,
        v: VolumeIndex,
        disk: Option<Arc<Backing>>,
    ) -> Option<Arc<Backing>> {
        match self.disks.get_mut(v) {
            Some(place) => core::mem::replace(place, disk),
            None => disk,
        }
    }

    /// The block device of a volume.
    pub(crate) fn device(&self, v: VolumeIndex) -> Option<Arc<Device>> {
        self.devices.get(v)?.clone()
    }

    /// Sets the block device of a volume; gives the old one back, to be dropped without the lock.
    pub(crate) fn set_device(
        &mut self,
        v: VolumeIndex,
        device: Option<Arc<Device>>,
    ) -> Option<Arc<Device>> {
        match self.devices.get_mut(v) {
            Some(place) => core::mem::replace(place, device),
            None => device,
        }
    }

    /// From now on packets are queued. False if the link is not wanted any more.
    pub(crate) fn open_link(&mut self) -> bool {
        if self.link_unwanted {
            return false;
        }
        self.data.clear();
        self.meta.clear();
        self.link_open = true;
        true
    }

    /// Whether packets are accepted.
    pub(crate) fn is_link_open(&self) -> bool {
        self.link_open
    }

    /// Drops what waits to be sent and takes nothing more.
    pub(crate) fn close_link(&mut self) {
        self.link_open = false;
        self.data.clear();
        self.meta.clear();
    }

    /// An act for the worker.
    pub(crate) fn next_work(&mut self) -> Option<Act> {
        self.work.pop()
    }

    /// Whether there is any.
    pub(crate) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// An act for the disk worker.
    pub(crate) fn next_disk_work(&mut self) -> Option<Act> {
        self.disk_work.pop()
    }

    /// A handler to be run.
    pub(crate) fn next_handler(&mut self, kind: usize) -> Option<(VolumeIndex, Handler)> {
        self.handlers.get_mut(kind)?.pop()
    }

    /// Takes packets of a stream: as many as fit into `batch`, up to the first that has a payload. Returns the number of
    /// bytes, the payload, and whether there are more; `None` if the payload of a packet is gone, which is a dead link.
    pub(crate) fn next_packets(
        &mut self,
        stream: Socket,
        batch: &mut [u8],
    ) -> Option<(usize, Cargo, bool)> {
        let mut filled = 0usize;
        let mut cargo = Cargo::None;
        let ring = match stream {
            Socket::Data => &mut self.data,
            Socket::Meta => &mut self.meta,
        };
        while let Some(packet) = ring.front() {
            let len = usize::from(packet.len);
            let end = filled.saturating_add(len);
            let (Some(room), Some(bytes)) = (batch.get_mut(filled..end), packet.bytes.get(..len))
            else {
                break;
            };
            room.copy_from_slice(bytes);
            filled = end;
            let payload = packet.payload;
            let _ = ring.pop();
            cargo = match payload {
                Payload::None => continue,
                Payload::App { slot, report } => {
                    let bio = entry(&mut self.app, slot)?.as_ref()?.hold();
                    Cargo::App { slot, bio, report }
                }
                Payload::Peer { slot } => Cargo::Peer {
                    slot,
                    buf: entry(&mut self.peer, slot)?.take()?,
                },
                Payload::Bitmap { volume } => Cargo::Bitmap { volume },
                Payload::Last => Cargo::Last,
            };
            break;
        }
        Some((filled, cargo, !ring.is_empty()))
    }

    /// Calls the engine for what went wrong in the queues themselves.
    pub(crate) fn settle(&mut self, engine: &mut Engine, now: Millis) {
        if core::mem::take(&mut self.overflow) {
            say!(pr_err: "a send queue is full: dropping the connection");
            engine.link_lost(now, LinkFailure::NetworkFailure, self);
        }
    }

    /// Takes out what may be done inside `submit_bio`: to give the own request to the disk, and nothing else. There, waiting
    /// for other requests would never end, because their bios may be parked in this very task. The rest is left to the
    /// completer.
    pub(crate) fn own_job(&mut self, own: Option<AppSlot>) -> Option<Job> {
        // To submit it is the last that the engine asks for.
        let next = match (self.tasks.back(), own) {
            (Some(Task::Act(Act::SubmitApp { slot, .. })), Some(own)) if *slot == own => {
                self.tasks.pop_back()
            }
            _ => None,
        };
        if !self.tasks.is_empty() {
            self.signals.call_completer();
        }
        self.job(next?, Context::NoBuffers)
    }

    /// Takes acts out that `context` may carry out.
    pub(crate) fn batch(&mut self, context: Context) -> Batch {
        let mut batch = Batch::default();
        let mut taken = 0usize;
        while !self.tasks.is_empty() {
            let Some(place) = batch.get_mut(taken) else {
                break;
            };
            let Some(task) = self.tasks.pop() else {
                break;
            };
            if let Some(job) = self.job(task, context) {
                *place = Some(job);
                taken = taken.saturating_add(1);
            }
        }
        batch
    }

    /// Copies what the lower disk has read to where the application wants it. False if it has no place there.
    pub(crate) fn fill(&mut self, slot: AppSlot, buf: &IoBuf) -> bool {
        match entry(&mut self.app, slot) {
            Some(Some(bio)) if bio.op() == Op::Read => bio.copy_from_buf(buf).is_ok(),
            _ => true,
        }
    }

    /// The job of an operation that was left to the disk worker.
    pub(crate) fn disk_job(&mut self, act: Act) -> Option<Job> {
        self.job(Task::Act(act), Context::Thread)
    }

    fn job(&mut self, task: Task, context: Context) -> Option<Job> {
        Some(match task {
            Task::Complete(bio, outcome) => Job::Complete {
                bio,
                status: status_of(outcome),
            },
            Task::CompleteRead(bio, peer) => Job::CompleteRead {
                bio,
                buf: entry(&mut self.peer, peer).and_then(Option::take),
                peer,
            },
            Task::Act(Act::SubmitApp {
                slot,
                volume,
                alone: true,
            }) => match self.disk(volume) {
                Some(disk) => match entry(&mut self.app, slot).and_then(Option::take) {
                    Some(bio) => Job::PassOn { slot, bio, disk },
                    None => Job::Report(Report::AppFailed(slot)),
                },
                None => Job::Report(Report::AppFailed(slot)),
            },
            Task::Act(act @ Act::SubmitApp { slot, volume, .. }) => {
                let disk = self.disk(volume);
                let copies = disk.as_ref().is_some_and(|disk| disk.copies());
                if copies && context == Context::NoBuffers {
                    self.give_disk_work(act);
                    return None;
                }
                let bio = entry(&mut self.app, slot)
                    .and_then(|bio| bio.as_ref())
                    .map(Bio::hold);
                match (bio, disk) {
                    (Some(bio), Some(disk)) if copies && has_data(&bio) => {
                        Job::Copy { slot, bio, disk }
                    }
                    (Some(bio), Some(disk)) => Job::Submit { slot, bio, disk },
                    _ => Job::Report(Report::AppFailed(slot)),
                }
            }
            Task::Act(
                act @ Act::SubmitPeer {
                    slot,
                    volume,
                    op,
                    range,
                    fua,
                    preflush,
                },
            ) => {
                if op == DiskOp::Read && context == Context::NoBuffers {
                    self.give_disk_work(act);
                    return None;
                }
                match self.disk(volume) {
                    Some(disk) => {
                        let buf = entry(&mut self.peer, slot).and_then(Option::take);
                        Job::Peer {
                            slot,
                            disk,
                            op,
                            range,
                            buf,
                            fua,
                            preflush,
                        }
                    }
                    None => Job::Report(Report::PeerFailed(slot)),
                }
            }
            Task::Act(Act::ReleasePeer { slot }) => {
                self.keep(slot, None);
                Job::Report(Report::Released(slot))
            }
            Task::Act(_) => return None,
        })
    }

    fn give_task(&mut self, task: Task) {
        // The ring has room for two acts of every slot; what would not fit is a request that never ends, so say it.
        if self.tasks.push(task).is_err() {
            say!(pr_err: "the queue of acts is full");
            self.overflow = true;
        }
    }

    fn give_work(&mut self, act: Act) {
        let event = matches!(act, Act::StateChanged { .. } | Act::Notice(_));
        if event && self.work.len() >= WORK - WORK_RESERVE {
            kernel::pr_warn_once!("too many events: some are dropped\n");
            return;
        }
        if self.work.push(act).is_err() {
            say!(pr_err: "the queue of the worker is full");
        }
        self.signals.worker.ring();
    }

    fn give_handler(&mut self, volume: VolumeIndex, handler: Handler) {
        let kind = handlers::kind(handler);
        let ring = self.handlers.get_mut(kind);
        if ring.is_none_or(|ring| ring.push((volume, handler)).is_err()) {
            say!(pr_err: "too many handlers wait: {} is not called", handler.name());
            return self.give_work(Act::RunHandler { volume, handler });
        }
        if let Some(bell) = self.signals.handlers.get(kind) {
            bell.ring();
        }
    }

    fn give_disk_work(&mut self, act: Act) {
        if self.disk_work.push(act).is_err() {
            say!(pr_err: "the queue of the disk worker is full");
        }
        self.signals.disk_worker.ring();
    }
}

impl Effects for Queues {
    fn send(&mut self, stream: Socket, bytes: &[u8], payload: Payload) {
        if !self.link_open {
            return;
        }
        let mut packet = Queued {
            bytes: [0; PACKET_MAX],
            len: 0,
            payload,
        };
        let room = packet.bytes.get_mut(..bytes.len());
        let (Some(room), Ok(len)) = (room, u8::try_from(bytes.len())) else {
            self.overflow = true;
            return;
        };
        room.copy_from_slice(bytes);
        packet.len = len;
        let (ring, bell) = match stream {
            Socket::Data => (&mut self.data, &self.signals.data),
            Socket::Meta => (&mut self.meta, &self.signals.meta),
        };
        if ring.push(packet).is_err() {
            self.overflow = true;
        }
        bell.ring();
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Wake => self.signals.changed.bump(),
            Act::Rearm => self.signals.call_completer(),
            Act::CompleteApp { slot, outcome } => {
                if let Some(bio) = entry(&mut self.app, slot).and_then(Option::take) {
                    self.give_task(Task::Complete(bio, outcome));
                }
            }
            Act::CompleteAppRead { slot, peer } => {
                match entry(&mut self.app, slot).and_then(Option::take) {
                    Some(bio) => self.give_task(Task::CompleteRead(bio, peer)),
                    None => self.give_task(Task::Act(Act::ReleasePeer { slot: peer })),
                }
            }
            Act::SubmitApp { .. } | Act::SubmitPeer { .. } | Act::ReleasePeer { .. } => {
                self.give_task(Task::Act(act));
            }
            Act::FlushDisk { .. }
            | Act::WriteSuperblock { .. }
            | Act::WriteBitmap { .. }
            | Act::WriteLog { .. }
            | Act::CloseDisk { .. } => self.give_disk_work(act),
            Act::RunHandler { volume, handler } => self.give_handler(volume, handler),
            Act::CloseLink => {
                // At once: slots that wait to be sent may be used for something else as soon as the lock is dropped.
                self.close_link();
                self.link_unwanted = true;
                self.give_work(act);
            }
            Act::OpenLink { .. } => {
                self.link_unwanted = false;
                self.give_work(act);
            }
            Act::SetCapacity { .. }
            | Act::StateChanged { .. }
            | Act::Notice(_)
            | Act::AdminDone(_) => self.give_work(act),
        }
    }

    fn random(&mut self) -> u64 {
        random_u64()
    }
}

fn has_data(bio: &Bio) -> bool {
    matches!(bio.op(), Op::Read | Op::Write) && !bio.is_empty()
}

/// How the block layer calls an outcome.
pub(crate) fn status_of(outcome: Outcome) -> Status {
    match outcome {
        Outcome::Ok => Status::OK,
        Outcome::Error => Status::IOERR,
        Outcome::Unsupported => Status::NOTSUPP,
    }
}

fn entry<T>(table: &mut Table<Option<T>>, slot: u32) -> Option<&mut Option<T>> {
    table.get_mut(usize::try_from(slot).ok()?)
}
