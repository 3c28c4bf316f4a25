// SPDX-License-Identifier: GPL-2.0

//! A resource: an engine, and around it all that carries its decisions out.
//!
//! # Locks
//!
//! In this order; a thread that holds one of them takes only later ones:
//!
//! 1. the open mutex of a disk (block layer),
//! 2. `registry` (which resources and minors exist),
//! 3. `Resource::admin_turn` (one request of the administrator at a time),
//! 4. `Resource::threads`, `Resource::session` (who joins which thread),
//! 5. `Resource::core` (the engine and its queues); short, nothing under it sleeps for I/O, memory or the network,
//! 6. `Stop::sockets` (which sockets to shut down), `Resource::link`; leaves, as are the spin locks and wait queues of
//!    [`Signals`].
//!
//! Interrupts take none of these: what a lower disk has done goes through a preallocated queue of [`Signals`].
//!
//! # Threads
//!
//! * the *completer* tells the engine what the disks have done and when time has passed, and carries out what follows;
//!   it never waits for I/O or for memory of the buffer pool;
//! * the *worker* opens and closes the link, writes the log lines, tells userspace, and resizes: one after the other;
//! * the *disk worker* does what waits for the lower disk: superblock, bitmap, flushes, closing;
//! * two threads run handlers (see `handlers`); nobody waits for them;
//! * while a link is wanted, the *receiver*; while it stands, two *senders* and the *meta receiver* (see `link`).

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::{new_mutex, Arc, Mutex};
use rdb_engine::activity_log::LogSlot;
use rdb_engine::admin::{Refusal, Request, Start};
use rdb_engine::bitmap::{pages_for, PageNote};
use rdb_engine::effects::{Millis, VolumeIndex};
use rdb_engine::meta::log::MIN_SLOTS;
use rdb_engine::request::{AppIo, Submit};
use rdb_engine::resource::Tables;
use rdb_engine::volume::AttachedDisk;
use rdb_engine::wire::{ConnState, DiskState};
use rdb_kapi::bio::Bio;
use rdb_kapi::buf::BufPool;
use rdb_kapi::thread::KThread;
use rdb_kapi::time::now_ms;

pub(crate) use super::backing::AttachRequest;
use super::backing::Backing;
use super::failure::{no_memory, Failure};
use super::handlers::Runners;
use super::link::{LinkConfig, Session};
use super::memory::{KernelMemory, Table};
use super::queues::{Batch, Context, Queues, APP_SLOTS, BATCH, PEER_SLOTS, VOLUMES};
use super::settings::Settings;
use super::signals::Signals;
use super::worker;

/// The engine over kernel memory.
pub(crate) type Engine = rdb_engine::resource::Resource<KernelMemory>;

/// Longest name of a resource in bytes.
pub(crate) const NAME_MAX: usize = 127;

/// Pages that the pool of a resource always has, in bytes: the largest request four times.
const POOL_RESERVE: usize = 4 << 20;

/// Longest time to wait for an attach to reach its end, in milliseconds.
const ATTACH_MS: u32 = 30_000;

/// Longest time to wait for the handshake of a connection.
const HANDSHAKE_MS: u32 = 5_000;

/// What the lock of a resource protects.
pub(crate) struct Core {
    engine: Engine,
    queues: Queues,
}

/// See the module documentation.
#[pin_data]
pub(crate) struct Resource {
    name: [u8; NAME_MAX + 1],
    name_len: usize,
    /// See [`Signals`].
    pub(crate) signals: Arc<Signals>,
    /// Memory for what the peer sends and asks for.
    pub(crate) pool: Arc<BufPool>,
    #[pin]
    core: Mutex<Core>,
    #[pin]
    admin_turn: Mutex<()>,
    #[pin]
    threads: Mutex<Threads>,
    /// The link, if one is wanted.
    #[pin]
    pub(crate) session: Mutex<Option<Session>>,
    /// How to find the peer. A leaf.
    #[pin]
    link: Mutex<Option<LinkConfig>>,
    /// This node could listen on the address of the connection before.
    pub(crate) listened: Atomic<bool>,
    /// Options as the administrator gave them.
    #[pin]
    pub(crate) settings: Settings,
}

/// The threads that live as long as the resource.
#[derive(Default)]
pub(crate) struct Threads {
    pub(crate) completer: Option<KThread>,
    pub(crate) worker: Option<KThread>,
    pub(crate) disk_worker: Option<KThread>,
    pub(crate) handlers: Option<Runners>,
}

impl Resource {
    /// A resource without volumes, with its threads running; end it by [`Resource::retire`]. Sleeps.
    ///
    /// # Errors
    ///
    /// A name that is too long (126), no memory (122).
    pub(crate) fn new(name: &str) -> Result<Arc<Self>, Failure> {
        let mut bytes = [0; NAME_MAX + 1];
        match bytes.get_mut(..name.len()) {
            Some(room) if name.len() <= NAME_MAX => room.copy_from_slice(name.as_bytes()),
            _ => {
                return Err(Failure::new(
                    126,
                    format_args!("a resource name has at most {NAME_MAX} bytes"),
                ))
            }
        }
        let name_len = name.len();
        let resource = Self::allocate(bytes, name_len).map_err(|_| no_memory())?;
        match worker::start(&resource) {
            Ok(threads) => {
                *resource.threads.lock() = threads;
                Ok(resource)
            }
            Err(_) => Err(no_memory()),
        }
    }

    fn allocate(name: [u8; NAME_MAX + 1], name_len: usize) -> Result<Arc<Self>> {
        let signals = Arc::pin_init(Signals::new(), GFP_KERNEL)?;
        let queues = Queues::new(signals.clone())?;
        let engine = Engine::new(Tables {
            app: Table::new(APP_SLOTS)?,
            peer: Table::new(PEER_SLOTS)?,
            epochs: Table::new(APP_SLOTS)?,
            volumes: Table::new(VOLUMES)?,
        });
        let pool = BufPool::new(POOL_RESERVE)?;
        Arc::pin_init(
            try_pin_init!(Self {
                name,
                name_len,
                signals,
                pool,
                core <- new_mutex!(Core { engine, queues }, "rdb::core"),
                admin_turn <- new_mutex!((), "rdb::admin_turn"),
                threads <- new_mutex!(Threads::default(), "rdb::threads"),
                session <- new_mutex!(None, "rdb::session"),
                link <- new_mutex!(None, "rdb::link"),
                listened: Atomic::new(false),
                settings <- Settings::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Ends the threads. The resource has no volumes and no link any more. Sleeps; not from a thread of the resource.
    pub(crate) fn retire(&self) {
        let threads = core::mem::take(&mut *self.threads.lock());
        // Handlers tell the engine how they ended.
        drop(threads.handlers);
        // The worker first: it may still have log lines, and a link to close.
        drop(threads.worker);
        drop(threads.disk_worker);
        drop(threads.completer);
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        core::str::from_utf8(self.name.get(..self.name_len).unwrap_or_default()).unwrap_or_default()
    }

    /// Looks at the engine under the lock. `f` must not sleep or take locks.
    pub(crate) fn inspect<R>(&self, f: impl FnOnce(&Engine) -> R) -> R {
        f(&self.core.lock().engine)
    }

    /// Looks at or changes the queues under the lock. `f` must not sleep or take locks.
    pub(crate) fn queues<R>(&self, f: impl FnOnce(&mut Queues) -> R) -> R {
        f(&mut self.core.lock().queues)
    }

    /// Calls the engine under the lock, then carries out what it asks for, as far as `context` permits. Sleeps.
    pub(crate) fn with<R>(
        &self,
        context: Context,
        f: impl FnOnce(&mut Engine, &mut Queues, Millis) -> R,
    ) -> R {
        let (result, mut batch) = self.locked(context, f);
        while batch.iter().any(Option::is_some) {
            let reports = self.carry_out(&mut batch);
            ((), batch) = self.locked(context, |engine, queues, now| {
                for report in reports.into_iter().flatten() {
                    worker::report(engine, queues, now, report);
                }
            });
        }
        result
    }

    fn locked<R>(
        &self,
        context: Context,
        f: impl FnOnce(&mut Engine, &mut Queues, Millis) -> R,
    ) -> (R, Batch) {
        let now = now_ms();
        let mut guard = self.core.lock();
        let Core { engine, queues } = &mut *guard;
        let result = f(engine, queues, now);
        queues.settle(engine, now);
        self.note_hurry(engine);
        (result, queues.batch(context))
    }

    fn note_hurry(&self, engine: &Engine) {
        let connected = engine.connection() >= ConnState::WFReportParams;
        self.signals.note_hurry(engine.awaits_requests(), connected);
    }

    /// Takes a request from `submit_bio`. `Err` gives the bio back, with what is to be done with it.
    pub(crate) fn submit(&self, v: VolumeIndex, io: AppIo, bio: Bio) -> Result<(), (Bio, Submit)> {
        let (result, job) = {
            let now = now_ms();
            let mut guard = self.core.lock();
            let Core { engine, queues } = &mut *guard;
            // Ends of earlier requests may have been left for this occasion.
            for _ in 0..BATCH {
                let Some(done) = self.signals.next_done() else {
                    break;
                };
                worker::disk_done(engine, queues, now, done);
            }
            let submitted = engine.submit(now, v, io, queues);
            let (own, result) = match submitted {
                Submit::Accepted(slot) => {
                    queues.park(slot, bio);
                    (Some(slot), Ok(()))
                }
                _ => (None, Err((bio, submitted))),
            };
            queues.settle(engine, now);
            self.note_hurry(engine);
            (result, queues.own_job(own))
        };
        if let Some(report) = job.and_then(|job| self.do_job(job)) {
            // The disk went away under the request: the completer carries out what follows.
            let mut guard = self.core.lock();
            let Core { engine, queues } = &mut *guard;
            worker::report(engine, queues, now_ms(), report);
            drop(guard);
            self.signals.call_completer();
        }
        result
    }

    /// Carries out a request of the administrator and waits for its end. Sleeps.
    ///
    /// # Errors
    ///
    /// What the engine says; 129 if a signal arrived first.
    pub(crate) fn admin(&self, request: Request) -> Result<(), Failure> {
        self.admin_with(|_| Ok(request))
    }

    /// As [`Resource::admin`], for the volume with this minor number: which one that is must not change between the
    /// look and the request, or the request would reach a volume that took the place of the one that was meant. Sleeps.
    ///
    /// # Errors
    ///
    /// 127 there is no such volume; and those of [`Resource::admin`].
    pub(crate) fn admin_of(
        &self,
        minor: u32,
        request: impl FnOnce(VolumeIndex) -> Request,
    ) -> Result<(), Failure> {
        self.admin_with(|engine| {
            let has = |v: &VolumeIndex| engine.volume(*v).is_some_and(|v| v.minor == minor);
            let Some(volume) = engine.volumes().find(has) else {
                return Err(Failure::new(
                    127,
                    format_args!("/dev/rdb{minor} is not configured"),
                ));
            };
            Ok(request(volume))
        })
    }

    fn admin_with(
        &self,
        request: impl FnOnce(&Engine) -> Result<Request, Failure>,
    ) -> Result<(), Failure> {
        let _turn = self.admin_turn.lock();
        let start = self.with(Context::Thread, |engine, queues, now| {
            queues.admin_result = None;
            let request = request(engine)?;
            Ok::<_, Failure>(engine.admin(now, request, queues))
        })?;
        if let Start::Done(result) = start {
            return Ok(result?);
        }
        loop {
            let seen = self.signals.admin.seen();
            if let Some(result) = self.admin_result() {
                return Ok(result?);
            }
            if self.signals.admin.wait_interruptible(seen).is_err() {
                self.with(Context::Thread, |engine, _, _| engine.admin_abort());
                return match self.admin_result() {
                    Some(result) => Ok(result?),
                    None => Err(Failure::new(129, format_args!("interrupted"))),
                };
            }
        }
    }

    fn admin_result(&self) -> Option<Result<(), Refusal>> {
        self.queues(|queues| queues.admin_result)
    }

    /// Looks for the peer from now on. Sleeps.
    ///
    /// # Errors
    ///
    /// What the engine says (125: connected already).
    pub(crate) fn connect(&self, link: LinkConfig) -> Result<(), Failure> {
        let net = link.net;
        let old = self.link.lock().replace(link);
        let listened = self.listened.xchg(false, Relaxed);
        let result = self.admin(Request::Connect(net));
        if result.is_err() {
            self.listened.store(listened, Relaxed);
            *self.link.lock() = old;
        }
        result
    }

    /// Changes the options of the connection; what concerns sockets counts from the next one on. Sleeps.
    pub(crate) fn set_net(&self, link: LinkConfig) -> Result<(), Failure> {
        let net = link.net;
        *self.link.lock() = Some(link);
        self.admin(Request::SetNet(net))
    }

    /// How to find the peer.
    pub(crate) fn link_config(&self) -> Option<LinkConfig> {
        self.link.lock().clone()
    }

    /// Attaches a lower disk to a volume, and waits until its state is known. Sleeps.
    ///
    /// # Errors
    ///
    /// The messages of metadata.md, section 5.2.
    pub(crate) fn attach(&self, v: VolumeIndex, request: AttachRequest<'_>) -> Result<(), Failure> {
        let _turn = self.admin_turn.lock();
        let disk_state = |engine: &Engine| engine.volume(v).map(|volume| volume.state.disk);
        match self.inspect(disk_state) {
            None => return Err(Failure::new(127, format_args!("no such volume"))),
            Some(DiskState::Diskless) => (),
            Some(_) => {
                return Err(Failure::new(
                    124,
                    format_args!("the volume has a disk already"),
                ))
            }
        }
        let Some(device) = self.queues(|queues| queues.device(v)) else {
            return Err(Failure::new(127, format_args!("no such volume")));
        };
        // The handshake of a connection takes the disk as it is.
        self.wait_until(HANDSHAKE_MS, |engine| {
            engine.connection() != ConnState::WFReportParams || connected(engine, v)
        });
        let found = Backing::open(self, &request)?;
        let backing = found.backing;
        let pages =
            Table::<PageNote>::new(pages_for(found.words.len())).map_err(|_| no_memory())?;
        let log = match request.log_slots {
            Some(slots) => {
                // At most MAX_SLOTS.
                let slots = slots.clamp(MIN_SLOTS, backing.max_log_slots()) as usize;
                Some(Table::<LogSlot>::new(slots).map_err(|_| no_memory())?)
            }
            None => None,
        };
        if let Err(error) = device.link(&backing) {
            return Err(Failure::new(
                104,
                format_args!("the limits of the disk do not fit: {error:?}"),
            ));
        }
        let disk = AttachedDisk {
            superblock: found.superblock,
            usable_sectors: backing.usable(),
            bitmap: found.words,
            pages,
            log,
            options: request.options,
            limits: backing.limits(),
        };
        let result = self.with(Context::Thread, |engine, queues, now| {
            queues.set_disk(v, Some(backing.clone()));
            let result = engine.attach(now, v, disk, queues);
            if result.is_err() {
                queues.set_disk(v, None);
            }
            result
        });
        if let Err(refusal) = result {
            device.unlink(&backing);
            return Err(refusal.into());
        }
        self.wait_until(ATTACH_MS, |engine| {
            disk_state(engine) != Some(DiskState::Attaching)
        });
        Ok(())
    }

    /// Waits until `f` is true of the engine; looks again whenever something changed, for at most `ms` milliseconds.
    pub(crate) fn wait_until(&self, ms: u32, mut f: impl FnMut(&Engine) -> bool) -> bool {
        let end = now_ms().saturating_add(u64::from(ms));
        loop {
            let seen = self.signals.changed.seen();
            if self.inspect(&mut f) {
                return true;
            }
            let left = end.saturating_sub(now_ms());
            // Bounded by `ms`.
            if left == 0 || !self.signals.changed.wait_timeout(seen, left as u32) {
                return self.inspect(&mut f);
            }
        }
    }

    /// How often the device of a volume is open: for reading only, for writing.
    pub(crate) fn opens(&self, v: VolumeIndex) -> (u32, u32) {
        let device = self.queues(|queues| queues.device(v));
        device.map_or((0, 0), |device| device.opens())
    }
}

/// Whether the handshake of the volume is over.
fn connected(engine: &Engine, v: VolumeIndex) -> bool {
    engine
        .volume(v)
        .is_some_and(|volume| volume.state.conn != ConnState::WFReportParams)
}
