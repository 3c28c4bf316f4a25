// SPDX-License-Identifier: GPL-2.0

//! Waking threads: flags and counters with their wait queues, usable from every context.

use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full, Release};
use rdb_kapi::new_wait_queue;
use rdb_kapi::thread::ThreadContext;
use rdb_kapi::wait::WaitQueue;

/// Somebody has work for a thread.
#[pin_data]
pub(crate) struct Bell {
    rung: Atomic<bool>,
    #[pin]
    queue: WaitQueue,
}

impl Bell {
    /// A silent bell.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { rung: Atomic::new(false), queue <- new_wait_queue!("rdb::bell") })
    }

    /// Calls the thread. Any context.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Release);
        self.queue.wake_all();
    }

    /// Wakes the thread without a reason, for it to look whether it should stop. Any context.
    pub(crate) fn nudge(&self) {
        self.queue.wake_all();
    }

    /// Waits for a ring, or until `stop` is true; takes the ring. False: `stop` is true and nobody rang.
    pub(crate) fn wait(&self, mut stop: impl FnMut() -> bool) -> bool {
        self.queue.wait_idle(|| self.rung.load(Acquire) || stop());
        self.rung.xchg(false, Full)
    }

    /// Forgets a ring.
    pub(crate) fn hush(&self) {
        self.rung.xchg(false, Full);
    }

    /// Waits for a ring, `ms` milliseconds at most; does not take it.
    pub(crate) fn wait_timeout(&self, ms: u32) {
        self.queue.wait_idle_timeout(|| self.rung.load(Acquire), ms);
    }

    /// As [`Bell::wait`] for a thread that ends when it is told to.
    pub(crate) fn wait_in(&self, thread: &ThreadContext) -> bool {
        self.wait(|| thread.should_stop())
    }
}

/// Two bells.
#[pin_data]
pub(crate) struct Bells {
    #[pin]
    first: Bell,
    #[pin]
    second: Bell,
}

impl Bells {
    /// Silent ones.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { first <- Bell::new(), second <- Bell::new() })
    }

    /// One of them, by number.
    pub(crate) fn get(&self, number: usize) -> Option<&Bell> {
        match number {
            0 => Some(&self.first),
            1 => Some(&self.second),
            _ => None,
        }
    }
}

/// Counts events for those who wait for the next one.
#[pin_data]
pub(crate) struct Changes {
    count: Atomic<u64>,
    #[pin]
    queue: WaitQueue,
}

impl Changes {
    /// Nothing happened yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { count: Atomic::new(0), queue <- new_wait_queue!("rdb::changes") })
    }

    /// How often something happened. Take it before looking at what may change, then wait for another value.
    pub(crate) fn seen(&self) -> u64 {
        self.count.load(Acquire)
    }

    /// Something happened. Any context.
    pub(crate) fn bump(&self) {
        self.count.fetch_add(1, Full);
        self.queue.wake_all();
    }

    /// Waits until something happened since `seen`. That may be long: I/O can be suspended.
    pub(crate) fn wait(&self, seen: u64) {
        self.queue.wait_idle(|| self.count.load(Acquire) != seen);
    }

    /// Waits until something happened since `seen`, or `stop` is true.
    pub(crate) fn wait_unless(&self, seen: u64, mut stop: impl FnMut() -> bool) {
        self.queue
            .wait_idle(|| self.count.load(Acquire) != seen || stop());
    }

    /// As [`Changes::wait`], at most `ms` milliseconds; false if they passed.
    pub(crate) fn wait_timeout(&self, seen: u64, ms: u32) -> bool {
        self.queue
            .wait_timeout(|| self.count.load(Acquire) != seen, ms)
    }

    /// As [`Changes::wait`], ends with an error when a signal arrives.
    pub(crate) fn wait_interruptible(&self, seen: u64) -> Result {
        self.queue
            .wait_interruptible(|| self.count.load(Acquire) != seen)
    }
}
