// SPDX-License-Identifier: GPL-2.0

//! Runs the handlers that the engine asks for (administration, section 10).
//!
//! Two threads of a resource do that, one after the other each: one for `fence-peer`, which I/O may be waiting for, and
//! `unfence-peer`, which must not overtake it, and one for all others, so that none of these can keep it from being called. They hold no lock while a program runs, and no other thread waits for
//! them, except who takes the resource down: that kills the programs first.

use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use rdb_engine::effects::VolumeIndex;
use rdb_engine::handler::{Handler, HandlerEnd};
use rdb_kapi::thread::{KThread, Options, ThreadContext};
use rdb_kapi::usermode::{End, Program, Runner};

use super::events;
use super::log::say;
use super::queues::Context;
use super::resource::Resource;

/// Handlers that may wait to be run, of each kind.
pub(crate) const WAITING: usize = 64;

/// Which of the two threads runs a handler.
pub(crate) fn kind(handler: Handler) -> usize {
    usize::from(!handler.of_resource())
}

/// The threads, and where their programs run.
#[derive(Default)]
pub(crate) struct Runners {
    programs: [Option<Arc<Program>>; 2],
    threads: [Option<KThread>; 2],
}

impl Runners {
    /// Starts the threads. Sleeps.
    pub(crate) fn start(resource: &Arc<Resource>) -> Result<Self> {
        let mut runners = Self::default();
        let names = [c"rdb_fence", c"rdb_handler"];
        for (kind, name) in names.iter().enumerate() {
            let (program, mut runner) = Program::new()?;
            let resource = resource.clone();
            let thread = KThread::spawn(name, Options::default(), move |thread| {
                work(&resource, thread, kind, &mut runner);
            })?;
            if let (Some(place), Some(other)) = (
                runners.programs.get_mut(kind),
                runners.threads.get_mut(kind),
            ) {
                *place = Some(program);
                *other = Some(thread);
            }
        }
        Ok(runners)
    }
}

impl Drop for Runners {
    fn drop(&mut self) {
        for program in self.programs.iter().flatten() {
            program.kill();
        }
    }
}

fn work(resource: &Arc<Resource>, thread: &ThreadContext, kind: usize, runner: &mut Runner) {
    let Some(bell) = resource.signals.handlers.get(kind) else {
        return;
    };
    loop {
        let called = bell.wait_in(thread);
        while let Some((volume, handler)) = resource.queues(|queues| queues.next_handler(kind)) {
            let end = run(resource, volume, handler, runner);
            resource.with(Context::Thread, |engine, queues, now| {
                engine.handler_done(now, volume, handler, end, queues);
            });
        }
        if !called && thread.should_stop() {
            break;
        }
    }
}

fn run(
    resource: &Resource,
    volume: VolumeIndex,
    handler: Handler,
    runner: &mut Runner,
) -> HandlerEnd {
    let about = resource.inspect(|engine| {
        engine
            .volume(volume)
            .map(|volume| (volume.number, volume.minor))
    });
    let name = handler.name();
    say!(pr_info: "{}: helper command: {}", resource.name(), name);
    events::helper_called(resource, about, name);
    let end = match call(resource, about, handler, runner) {
        Ok(end) => end,
        Err(error) => End::NotRun(error),
    };
    let (code, outcome) = match end {
        End::Exited(code) => {
            say!(pr_info: "{}: helper command: {} exit code {}", resource.name(), name, code);
            (i32::from(code), HandlerEnd::Exited(code))
        }
        End::Signal(signal) => {
            say!(pr_warn: "{}: helper command: {} ended by signal {}", resource.name(), name, signal);
            (-EINTR_CODE, HandlerEnd::Broken)
        }
        End::NotRun(error) => {
            say!(pr_warn: "{}: helper command: {} cannot be run: {:?}", resource.name(), name, error);
            (error.to_errno(), HandlerEnd::Broken)
        }
    };
    events::helper_ended(resource, about, name, code);
    outcome
}

/// What an event says of a handler that was killed.
const EINTR_CODE: i32 = 4;

fn call(
    resource: &Resource,
    about: Option<(u16, u32)>,
    handler: Handler,
    runner: &mut Runner,
) -> Result<End> {
    let name = text(format_args!("{}", handler.name()))?;
    let object = match about {
        Some((_, minor)) if !handler.of_resource() => text(format_args!("minor-{minor}"))?,
        _ => text(format_args!("{}", resource.name()))?,
    };
    let words = [&*name, &*object];
    let basis = [
        c"HOME=/",
        c"TERM=linux",
        c"PATH=/sbin:/usr/sbin:/bin:/usr/bin",
    ];
    let peer = resource
        .settings
        .with(|values| values.connection.as_ref().map(|known| known.peer.ip()));
    let Some(peer) = peer else {
        return Ok(runner.run(&words, &basis));
    };
    let family = if peer.is_ipv4() { "ipv4" } else { "ipv6" };
    let of_peer = [
        text(format_args!("DRBD_PEER_AF={family}"))?,
        text(format_args!("RDB_PEER_AF={family}"))?,
        text(format_args!("DRBD_PEER_ADDRESS={peer}"))?,
        text(format_args!("RDB_PEER_ADDRESS={peer}"))?,
    ];
    let [home, term, path] = basis;
    let [family, own_family, address, own_address] = &of_peer;
    let environment = [home, term, path, family, own_family, address, own_address];
    Ok(runner.run(&words, &environment))
}

fn text(args: core::fmt::Arguments<'_>) -> Result<CString> {
    CString::try_from_fmt(args)
}
