// SPDX-License-Identifier: GPL-2.0

//! Priorities: heartbeats go first, scripts run like any other program.

use super::process::spawn;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use std::sync::mpsc::{Sender, channel};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Starts a job in a new thread of normal priority: children inherit the priority of the thread
/// that starts them, and that of the main thread is real-time.
#[derive(Clone)]
pub struct Jobs(Sender<Box<dyn FnOnce() + Send>>);

impl Jobs {
    /// Starts the thread that starts the others.
    ///
    /// # Errors
    ///
    /// The system has no room for another thread.
    pub fn new() -> std::io::Result<Self> {
        let (sender, jobs) = channel::<Box<dyn FnOnce() + Send>>();
        spawn("jobs", move || {
            for job in jobs {
                if let Err(error) = spawn("job", job) {
                    log::error!("no thread for a job: {error}");
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Runs `job` in a thread of its own.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        // The receiver lives as long as the process.
        let _ = self.0.send(Box::new(job));
    }
}

/// Locks the memory and gives the calling thread, and those it will start, real-time priority.
/// Without that heartbeats may come late under load; so a failure is only logged.
pub fn realtime() {
    // With a limit, memory could no longer be had for scripts once it is reached.
    let unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    let flags = match unlimited {
        true => MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE,
        false => MlockAllFlags::MCL_CURRENT,
    };
    if let Err(error) = mlockall(flags) {
        log::warn!("memory cannot be locked: {error}");
    }
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let lowest = ThreadPriority::try_from(1u8).unwrap_or(ThreadPriority::Min);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), lowest, policy) {
        log::warn!("no real-time priority: {error}");
    }
}
