// SPDX-License-Identifier: GPL-2.0

//! Tells once a second how far every resync is, and lets those wait that go after others (`resync-after`).

use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full, Release};
use kernel::sync::Arc;
use rdb_engine::netlink::attr;
use rdb_kapi::global::Global;
use rdb_kapi::new_wait_queue;
use rdb_kapi::thread::{KThread, Options, ThreadContext};
use rdb_kapi::time;
use rdb_kapi::wait::WaitQueue;

use super::queues::Context;
use super::resource::Resource;
use super::status::{self, VolumeStatus};
use super::{events, registry};

/// Pause between two reports, in milliseconds.
const PERIOD_MS: u32 = 1000;

/// Most volumes that follow each other with `resync-after`.
const LONGEST_ROW: u32 = 256;

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
        // Taken back first: what is called for from now on is looked at in the next round.
        shared.called.xchg(false, Full);
        put_in_order();
        let busy = report();
        let wanted = || thread.should_stop() || shared.called.load(Acquire);
        if busy {
            shared.queue.wait_idle_timeout(wanted, PERIOD_MS);
        } else {
            shared.queue.wait_idle(wanted);
        }
    }
}

/// Lets the resync of every volume wait, or go on, as that of the volume which it is to follow demands.
fn put_in_order() {
    let mut from = 0;
    while let Some((minor, res, index)) = registry::next_minor(from) {
        from = minor.saturating_add(1);
        let Some((number, waiting)) = res.inspect(|engine| {
            engine
                .volume(index)
                .map(|volume| (volume.number, volume.state.aftr_isp))
        }) else {
            continue;
        };
        let leader = leader_of(&res, number).filter(|leader| !leads_back(*leader, minor));
        let waits = leader.is_some_and(goes_first);
        if waits != waiting {
            res.with(Context::NoBuffers, |engine, queues, now| {
                engine.resync_waits(now, index, waits, queues);
            });
        }
    }
}

/// Minor number of the volume that a volume's resync is to follow.
fn leader_of(res: &Resource, number: u16) -> Option<u32> {
    res.settings.with(|values| {
        let disk = values.disk(number)?;
        u32::try_from(disk.options.number(attr::RESYNC_AFTER)).ok()
    })
}

/// Whether the volumes that follow each other lead from `leader` to `minor`: all of them would wait for ever.
fn leads_back(leader: u32, minor: u32) -> bool {
    let mut at = leader;
    for _ in 0..LONGEST_ROW {
        if at == minor {
            return true;
        }
        let next = registry::by_minor(at).and_then(|(res, index)| {
            let number = res.inspect(|engine| Some(engine.volume(index)?.number))?;
            leader_of(&res, number)
        });
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    true
}

/// Whether the volume with this minor number resyncs, or would if it were not paused.
fn goes_first(minor: u32) -> bool {
    let Some((res, index)) = registry::by_minor(minor) else {
        return false;
    };
    res.inspect(|engine| {
        engine.volume(index).is_some_and(|volume| {
            status::is_syncing(volume.state.conn) || volume.state.is_sync_paused()
        })
    })
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
