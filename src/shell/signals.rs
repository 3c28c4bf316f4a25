// SPDX-License-Identifier: GPL-2.0

//! What wakes whom in a resource, and how interrupts hand over what the lower disks have done.

use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed, Release};
use kernel::sync::barrier::smp_mb;
use rdb_engine::effects::{AppSlot, PeerSlot};

use rdb_kapi::bio::Bio;
use rdb_kapi::buf::IoBuf;
use rdb_kapi::lower::LowerDone;
use rdb_kapi::queue::CompletionQueue;
use rdb_kapi::status::Status;
use rdb_kapi::thread::ThreadContext;

use super::bell::{Bell, Bells, Changes};
use super::log::say;
use super::queues::{APP_SLOTS, PEER_SLOTS};

/// Set in the cookie of operations of the peer; the lowest 32 bits are the slot.
const PEER: u64 = 1 << 32;
/// Set for requests that were given away to the disk: the application has its answer already.
const PASSED_ON: u64 = 1 << 33;
/// Set for those that read: nothing waits for their end.
const READ: u64 = 1 << 34;

/// So many ends of requests may lie there unseen.
const UNSEEN: usize = 256;

/// How long at most, in milliseconds: so often the completer looks by itself while there are any.
const UNSEEN_MS: u32 = 4;

/// An operation that a lower disk has ended.
pub(crate) struct Done {
    /// Whose it was.
    pub(crate) whose: Whose,
    /// How it ended.
    pub(crate) status: Status,
    /// The buffer of an operation of the peer.
    pub(crate) buf: Option<IoBuf>,
    /// A request that was given away to the disk and comes back.
    pub(crate) bio: Option<Bio>,
}

/// Who an operation belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Whose {
    App(AppSlot),
    Peer(PeerSlot),
}

/// The wake-ups of a resource. Everything here may be called in any context.
#[pin_data]
pub(crate) struct Signals {
    /// Something changed that submitters or the receiver may wait for.
    #[pin]
    pub(crate) changed: Changes,
    /// A request of the administrator ended.
    #[pin]
    pub(crate) admin: Changes,
    /// Acts for the worker.
    #[pin]
    pub(crate) worker: Bell,
    /// Acts for the disk worker.
    #[pin]
    pub(crate) disk_worker: Bell,
    /// Handlers to be run, by [`kind`](super::handlers::kind).
    #[pin]
    pub(crate) handlers: Bells,
    /// Packets for the data stream.
    #[pin]
    pub(crate) data: Bell,
    /// Packets for the meta stream.
    #[pin]
    pub(crate) meta: Bell,
    #[pin]
    done: CompletionQueue<Done>,
    completer_called: Atomic<bool>,
    /// The completer looks soon without being called.
    completer_looks: Atomic<bool>,
    /// Submitters that wait for other requests to end.
    submitters: Atomic<u32>,
    /// The engine has somebody who waits for requests to end.
    engine_waits: Atomic<bool>,
    /// There is a peer: what it does may depend on writes here.
    connected: Atomic<bool>,
}

impl Signals {
    /// Silence. May sleep.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            changed <- Changes::new(),
            admin <- Changes::new(),
            worker <- Bell::new(),
            disk_worker <- Bell::new(),
            handlers <- Bells::new(),
            data <- Bell::new(),
            meta <- Bell::new(),
            // A slot has one operation on the lower disk at a time.
            done <- CompletionQueue::new(APP_SLOTS + PEER_SLOTS),
            completer_called: Atomic::new(false),
            completer_looks: Atomic::new(false),
            submitters: Atomic::new(0),
            engine_waits: Atomic::new(false),
            connected: Atomic::new(false),
        })
    }

    /// The cookie of an operation.
    pub(crate) fn cookie(whose: Whose) -> u64 {
        match whose {
            Whose::App(slot) => u64::from(slot),
            Whose::Peer(slot) => PEER | u64::from(slot),
        }
    }

    /// The cookie of a request that is given away to the disk.
    pub(crate) fn passed_on(slot: AppSlot, reads: bool) -> u64 {
        let kind = if reads { PASSED_ON | READ } else { PASSED_ON };
        kind | u64::from(slot)
    }

    /// Notes whether anybody is in a hurry to know that a request has ended. Under the lock of the resource, when the engine may
    /// have changed its mind.
    pub(crate) fn note_hurry(&self, engine_waits: bool, connected: bool) {
        let changed = |note: &Atomic<bool>, now: bool| {
            // Whoever ends a request looks here after he has put it into the queue.
            note.load(Relaxed) != now && note.xchg(now, Full) != now && now
        };
        let hurry = changed(&self.engine_waits, engine_waits);
        if changed(&self.connected, connected) || hurry {
            // There may be ends of requests that nobody was told of.
            self.call_completer();
        }
    }

    /// Begins (`true`) or ends a wait of a submitter for other requests.
    pub(crate) fn submitter_waits(&self, waits: bool) {
        if waits {
            self.submitters.fetch_add(1, Full);
        } else {
            self.submitters.fetch_sub(1, Full);
        }
    }

    /// Whether the end of a request that the application knows of already can be told later, when somebody submits another one
    /// or the completer looks by itself.
    fn may_wait(&self, cookie: u64, unseen: usize) -> bool {
        let calm = !self.engine_waits.load(Relaxed) && self.submitters.load(Relaxed) == 0;
        let free = cookie & READ != 0 || !self.connected.load(Relaxed);
        self.completer_looks.load(Relaxed) && calm && free && unseen < UNSEEN
    }

    /// Calls the completer although no disk is done: acts are left over, or the next deadline moved.
    pub(crate) fn call_completer(&self) {
        self.completer_called.store(true, Release);
        self.done.wake();
    }

    /// What a disk has done.
    pub(crate) fn next_done(&self) -> Option<Done> {
        self.done.pop()
    }

    /// Puts the completer to sleep until a disk is done, it is called, its thread shall end, or `ms` have passed. `busy`: it found
    /// something to do since the last time.
    pub(crate) fn wait_done(&self, thread: &ThreadContext, ms: Option<u32>, busy: bool) {
        let called = || self.completer_called.load(Acquire) || thread.should_stop();
        // Who ends a request looks here after he has put it into the queue, so one of the two sees the other.
        self.completer_looks.xchg(busy, Full);
        if busy {
            let ms = ms.map_or(UNSEEN_MS, |ms| ms.min(UNSEEN_MS));
            self.done.waiters().wait_idle_timeout(called, ms);
        } else {
            let ready = || !self.done.is_empty() || called();
            match ms {
                Some(0) => (),
                Some(ms) => {
                    self.done.waiters().wait_idle_timeout(ready, ms);
                }
                None => self.done.waiters().wait_idle(ready),
            }
        }
        self.completer_called.xchg(false, Full);
    }
}

impl LowerDone for Signals {
    fn lower_done(&self, cookie: u64, status: Status, buf: Option<IoBuf>) {
        self.push(cookie, status, buf, None);
    }

    fn passed_on_failed(&self, cookie: u64, status: Status, request: Bio) {
        self.push(cookie, status, None, Some(request));
    }
}

impl Signals {
    fn push(&self, cookie: u64, status: Status, buf: Option<IoBuf>, bio: Option<Bio>) {
        // The mask leaves 32 bits.
        let slot = (cookie & u64::from(u32::MAX)) as u32;
        let whose = if cookie & PEER == 0 {
            Whose::App(slot)
        } else {
            Whose::Peer(slot)
        };
        let done = Done {
            whose,
            status,
            buf,
            bio,
        };
        let pushed = self.done.push_quietly(done);
        // See `wait_done` and `note_hurry`.
        smp_mb(Full);
        let may_wait = cookie & PASSED_ON != 0
            && status.is_ok()
            && self.may_wait(cookie, *pushed.as_ref().unwrap_or(&UNSEEN));
        if !may_wait {
            self.call_completer();
        }
        if pushed.is_err() {
            say!(pr_err: "the queue of finished disk operations is full");
        }
    }
}
