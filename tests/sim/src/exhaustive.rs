// SPDX-License-Identifier: GPL-2.0

//! Every short sequence of operations, with a crash at each point.
//!
//! An operation is begun when the one before it has ended, as far as it can end. A crash at a point of an earlier operation was tried with
//! the shorter sequence that ends there, so only the last operation of a sequence is cut short: at every step that the two nodes
//! take in it, for a loss of power of A, of B, and of both. Sequences in which an operation changes nothing (attaching an attached
//! disk, healing what is not cut, …) are those without it and are not tried. After each run both nodes must come back to equal data.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdb_engine::admin::Request;
use rdb_engine::request::AppOp;
use rdb_engine::wire::{DiskState, Range, Role};

use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::{A, B, World};

/// An operation, and the node that it is done on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The application writes.
    Write,
    /// The application flushes.
    Flush,
    /// The lower disk of a node is detached.
    Detach(usize),
    /// The lower disk of a node is attached.
    Attach(usize),
    /// A node loses its power, and comes back.
    Crash(usize),
    /// The network is cut.
    Cut,
    /// The network is mended.
    Heal,
    /// A node becomes Primary.
    Promote(usize),
    /// A node becomes Secondary.
    Demote(usize),
}

/// All operations.
pub const OPS: [Op; 14] = [
    Op::Write,
    Op::Flush,
    Op::Detach(A),
    Op::Detach(B),
    Op::Attach(A),
    Op::Attach(B),
    Op::Crash(A),
    Op::Crash(B),
    Op::Cut,
    Op::Heal,
    Op::Promote(A),
    Op::Promote(B),
    Op::Demote(A),
    Op::Demote(B),
];

/// Steps that an operation may take; what has not ended by then goes on beside the next one.
const LIMIT: u64 = 400;

/// Where a sequence begins, in the trace.
const BEGIN: &str = "=== the sequence begins";

/// Whose power is lost.
const VICTIMS: [&[usize]; 3] = [&[A], &[B], &[A, B]];

/// How much was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Sequences.
    pub sequences: u64,
    /// Runs with a crash, and those to the end without one.
    pub runs: u64,
}

/// A run that failed.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The sequence.
    pub sequence: Vec<Op>,
    /// The step of the last operation, and whose power was lost; `None` = no crash.
    pub crash: Option<(u64, usize)>,
    /// What is wrong.
    pub what: String,
}

fn plan() -> Plan {
    Plan {
        regions: 4,
        hot: 2,
        log_slots: Some(2),
        depth: 2,
        ..Plan::default()
    }
}

fn ready(trace: Trace) -> World {
    let mut world = World::down(1, plan(), trace);
    for n in [A, B] {
        world.start(n);
    }
    world.make_primary(A);
    world.run(200);
    crate::trace::say!(world.trace, "", "{BEGIN}");
    world
}

fn primary(world: &World) -> Option<usize> {
    [A, B]
        .into_iter()
        .find(|&n| world.nodes[n].state().role == Role::Primary)
}

/// Begins an operation; false if it would change nothing.
fn begin(world: &mut World, op: Op, count: u64) -> bool {
    let volume = 0;
    let force = false;
    match op {
        Op::Write => primary(world).is_some_and(|n| {
            let range = Range {
                sector: [0, 8190, 5, 16_380][(count % 4) as usize],
                bytes: 4096,
            };
            world.submit(n, AppOp::Write, range)
        }),
        Op::Flush => primary(world).is_some_and(|n| {
            let range = Range {
                sector: 0,
                bytes: 0,
            };
            world.submit(n, AppOp::Flush, range)
        }),
        Op::Detach(n) => {
            let attached = world.nodes[n].state().disk > DiskState::Failed;
            let free = !world.nodes[n].admin_busy();
            attached && free && world.command(n, Request::Detach { volume, force })
        }
        Op::Attach(n) => {
            let none = world.nodes[n].state().disk == DiskState::Diskless;
            none && !world.nodes[n].admin_busy() && world.nodes[n].begin_attach()
        }
        Op::Crash(n) => {
            world.kill(n, true);
            world.power_on(n);
            world.nodes[n].begin_attach();
            true
        }
        Op::Cut => !std::mem::replace(&mut world.net.cut, true),
        Op::Heal => std::mem::replace(&mut world.net.cut, false),
        Op::Promote(n) => {
            let other = world.nodes[n].state().role != Role::Primary;
            let free = !world.nodes[n].admin_busy();
            other && free && world.command(n, Request::Primary { volume, force })
        }
        Op::Demote(n) => {
            let is = world.nodes[n].state().role == Role::Primary;
            let free = !world.nodes[n].admin_busy();
            is && free && world.command(n, Request::Secondary { volume })
        }
    }
}

/// Steps until the operation has ended, or `until`. Returns how many steps it took.
fn finish(world: &mut World, until: u64) -> u64 {
    let begun = world.steps;
    while world.steps - begun < until {
        let busy = world.nodes.iter().any(crate::Node::admin_busy);
        let stand_alone = (0..2).find(|&n| {
            let node = &world.nodes[n];
            !node.admin_busy() && node.engine.net_options().is_none()
        });
        if let Some(n) = stand_alone {
            let net = world.plan.net_of(n);
            world.command(n, Request::Connect(net));
        }
        if !busy && stand_alone.is_none() && world.is_quiet() {
            break;
        }
        world.step();
    }
    world.steps - begun
}

/// Plays a sequence, perhaps with a crash in its last operation. `None` if an operation changes nothing; else the steps that the
/// last one took.
fn play(sequence: &[Op], crash: Option<(u64, usize)>, trace: Trace) -> Result<Option<u64>, String> {
    let run = || {
        let mut world = ready(trace);
        let mut took = 0;
        for (i, op) in sequence.iter().enumerate() {
            if !begin(&mut world, *op, i as u64) {
                return None;
            }
            let last = i + 1 == sequence.len();
            took = match crash.filter(|_| last) {
                Some((at, victims)) => {
                    world.run(at);
                    for &n in VICTIMS[victims] {
                        world.kill(n, true);
                    }
                    at
                }
                None => finish(&mut world, LIMIT),
            };
        }
        world.heal();
        Some(took)
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| crate::run::message(&*panic))
}

/// Plays a run that failed once more, and says what happened in it.
pub fn retrace(broken: &Broken, lines: usize) -> String {
    let trace = Trace::new(true);
    let _ = play(&broken.sequence, broken.crash, trace.clone());
    // Pings follow for ever.
    trace.after(BEGIN, lines)
}

/// What is left to try, and what came of the rest.
#[derive(Default)]
struct Search {
    /// Sequences, the next one last.
    left: Vec<Vec<Op>>,
    /// Threads that may find more.
    busy: usize,
    extent: Extent,
    broken: Vec<Broken>,
}

/// Tries one sequence: to its end, and with a crash at each point of its last operation. False if longer ones need not be tried.
fn examine(sequence: &[Op], extent: &mut Extent, broken: &mut Vec<Broken>) -> bool {
    let quiet = || Trace::new(false);
    let mut note = |crash, what| {
        broken.push(Broken {
            sequence: sequence.to_vec(),
            crash,
            what,
        });
    };
    let steps = match play(sequence, None, quiet()) {
        Ok(None) => return false,
        Ok(Some(steps)) => steps,
        Err(what) => {
            note(None, what);
            0
        }
    };
    extent.sequences += 1;
    extent.runs += 1;
    for at in 0..steps {
        for victims in 0..VICTIMS.len() {
            let crash = Some((at, victims));
            if let Err(what) = play(sequence, crash, quiet()) {
                note(crash, what);
            }
            extent.runs += 1;
        }
    }
    true
}

/// Tries every sequence of up to `longest` operations, in `jobs` threads. A run that fails does not end the search: all of them
/// come back.
pub fn explore(
    longest: usize,
    jobs: usize,
    progress: &(dyn Fn(&Extent, usize) + Sync),
) -> (Extent, Vec<Broken>) {
    let search = Mutex::new(Search {
        left: OPS.iter().rev().map(|op| vec![*op]).collect(),
        ..Search::default()
    });
    let lock = || search.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let mut now = lock();
            let Some(sequence) = now.left.pop() else {
                if now.busy == 0 {
                    return;
                }
                drop(now);
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            now.busy += 1;
            drop(now);
            let (mut extent, mut broken) = (Extent::default(), Vec::new());
            let go_on = examine(&sequence, &mut extent, &mut broken);
            let mut now = lock();
            now.busy -= 1;
            now.extent.sequences += extent.sequences;
            now.extent.runs += extent.runs;
            now.broken.append(&mut broken);
            if go_on && sequence.len() < longest {
                for op in OPS.iter().rev() {
                    now.left.push([&sequence[..], &[*op]].concat());
                }
            }
            progress(&now.extent, now.broken.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let search = search.into_inner().unwrap_or_else(PoisonError::into_inner);
    (search.extent, search.broken)
}
