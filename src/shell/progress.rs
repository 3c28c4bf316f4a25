// SPDX-License-Identifier: GPL-2.0

//! Tells once a second how far every resync is.

use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full, Release};
use kernel::sync::Arc;
use rdb_kapi::global::Global;
use rdb_kapi::new_wait_queue;
use rdb_kapi::thread::{KThread, Options, ThreadContext};
use rdb_kapi::time;
use rdb_kapi::wait::WaitQueue;

use super::status::VolumeStatus;
use super::{events, registry};

/// Pause between two reports, in milliseconds.
const PERIOD_MS: u32 = 1000;

static SHARED: Global<Shared> = Global::new();

#[pin_data]
struct Shared {
    #[pin]
    queue: WaitQueue,
    called: Atomic<bool>,
}

/// A resync has begun. Does not sleep.
pub(crate) fn call() {
    if let Some(shared) = SHARED.get() {
        shared.called.store(true, Release);
        shared.queue.wake_all();
    }
}

/// The thread that reports, while this lives. It sleeps as long as no resync runs.
pub(crate) struct Reporter {
    _thread: KThread,
}

impl Reporter {
    /// Starts the thread. May sleep.
    pub(crate) fn start() -> Result<Self> {
        let shared = Arc::pin_init(
            pin_init!(Shared { queue <- new_wait_queue!("rdb::progress"), called: Atomic::new(false) }),
            GFP_KERNEL,
        )?;
        SHARED.set(shared.clone())?;
        let thread = KThread::spawn(c"rdb_progress", Options::default(), move |thread| {
            run(&shared, thread)
        });
        match thread {
            Ok(thread) => Ok(Self { _thread: thread }),
            Err(error) => {
                drop(SHARED.clear());
                Err(error)
            }
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        drop(SHARED.clear());
    }
}

fn run(shared: &Shared, thread: &ThreadContext) {
    while !thread.should_stop() {
        if report() {
            shared
                .queue
                .wait_idle_timeout(|| thread.should_stop(), PERIOD_MS);
        } else {
            shared
                .queue
                .wait_idle(|| thread.should_stop() || shared.called.load(Acquire));
            shared.called.xchg(false, Full);
        }
    }
}

/// Reports on every resync; false if there is none.
fn report() -> bool {
    let mut any = false;
    let mut from = 0;
    while let Some((minor, res, index)) = registry::next_minor(from) {
        from = minor.saturating_add(1);
        let now = time::now_ms();
        let status = res.inspect(|engine| VolumeStatus::take(engine, index, now));
        if let Some(status) = status.filter(|status| status.progress.is_some()) {
            any = true;
            events::progress(&res, &status);
        }
    }
    any
}
