// SPDX-License-Identifier: GPL-2.0

//! What wakes whom in a resource, and how interrupts hand over what the lower disks have done.

use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full, Release};
use rdb_engine::effects::{AppSlot, PeerSlot};

use rdb_kapi::buf::IoBuf;
use rdb_kapi::lower::LowerDone;
use rdb_kapi::queue::CompletionQueue;
use rdb_kapi::status::Status;
use rdb_kapi::thread::ThreadContext;

use super::bell::{Bell, Changes};
use super::log::say;
use super::queues::{APP_SLOTS, PEER_SLOTS};

/// Set in the cookie of operations of the peer; the rest is the slot.
const PEER: u64 = 1 << 32;

/// An operation that a lower disk has ended.
pub(crate) struct Done {
    /// Whose it was.
    pub(crate) whose: Whose,
    /// How it ended.
    pub(crate) status: Status,
    /// The buffer of an operation of the peer.
    pub(crate) buf: Option<IoBuf>,
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
    /// Packets for the data stream.
    #[pin]
    pub(crate) data: Bell,
    /// Packets for the meta stream.
    #[pin]
    pub(crate) meta: Bell,
    #[pin]
    done: CompletionQueue<Done>,
    completer_called: Atomic<bool>,
}

impl Signals {
    /// Silence. May sleep.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            changed <- Changes::new(),
            admin <- Changes::new(),
            worker <- Bell::new(),
            disk_worker <- Bell::new(),
            data <- Bell::new(),
            meta <- Bell::new(),
            // A slot has one operation on the lower disk at a time.
            done <- CompletionQueue::new(APP_SLOTS + PEER_SLOTS),
            completer_called: Atomic::new(false),
        })
    }

    /// The cookie of an operation.
    pub(crate) fn cookie(whose: Whose) -> u64 {
        match whose {
            Whose::App(slot) => u64::from(slot),
            Whose::Peer(slot) => PEER | u64::from(slot),
        }
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

    /// Puts the completer to sleep until a disk is done, it is called, its thread shall end, or `ms` have passed.
    pub(crate) fn wait_done(&self, thread: &ThreadContext, ms: Option<u32>) {
        let ready =
            || !self.done.is_empty() || self.completer_called.load(Acquire) || thread.should_stop();
        match ms {
            Some(0) => (),
            Some(ms) => {
                self.done.waiters().wait_idle_timeout(ready, ms);
            }
            None => self.done.waiters().wait_idle(ready),
        }
        self.completer_called.xchg(false, Full);
    }
}

impl LowerDone for Signals {
    fn lower_done(&self, cookie: u64, status: Status, buf: Option<IoBuf>) {
        // The mask leaves 32 bits.
        let slot = (cookie & u64::from(u32::MAX)) as u32;
        let whose = if cookie & PEER == 0 {
            Whose::App(slot)
        } else {
            Whose::Peer(slot)
        };
        if self.done.push(Done { whose, status, buf }).is_err() {
            say!(pr_err: "the queue of finished disk operations is full");
        }
    }
}
