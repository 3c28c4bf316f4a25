// SPDX-License-Identifier: GPL-2.0

//! Random runs: faults with safety checked after every step, then healing and convergence.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::plan::Plan;
use crate::tally::Tally;
use crate::trace::Trace;
use crate::world::{A, World};

/// What a run is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The seed.
    pub seed: u64,
    /// Steps with faults, if other than the plan's.
    pub steps: Option<u64>,
    /// Faults and commands that are carried out; `None` = all.
    pub keep: Option<BTreeSet<u64>>,
}

impl Recipe {
    /// The whole run of a seed.
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            steps: None,
            keep: None,
        }
    }
}

/// How a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What is wrong.
    pub what: String,
    /// Steps taken until then.
    pub steps: u64,
    /// Faults and commands that were carried out.
    pub done: Vec<u64>,
}

impl Failure {
    /// The beginning of the message without its numbers: two failures of the same kind have probably the same cause.
    fn kind(&self) -> String {
        let words = self.what.chars().filter(|c| !c.is_ascii_digit());
        words.take(40).collect()
    }
}

/// Plays a run. The counters come back in any case.
pub fn play(recipe: &Recipe, trace: &Trace) -> (Tally, Result<(), Failure>) {
    let mut plan = Plan::random(recipe.seed);
    plan.steps = recipe.steps.unwrap_or(plan.steps);
    let mut world = World::down(recipe.seed, plan, trace.clone());
    world.chaos.keep.clone_from(&recipe.keep);
    let ended = catch_unwind(AssertUnwindSafe(|| two_phases(&mut world)));
    world.tally.runs = 1;
    world.tally.steps = world.steps;
    let result = ended.map_err(|panic| Failure {
        what: message(&*panic),
        steps: world.steps,
        done: world.chaos.done.clone(),
    });
    (world.tally, result)
}

fn two_phases(world: &mut World) {
    for n in [0, 1] {
        world.start(n);
    }
    world.make_primary(A);
    world.set_writing(true);
    let end = world.steps + world.plan.steps;
    while world.steps < end {
        world.chaos_step();
    }
    world.heal();
}

pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Makes a failing run smaller, as long as it fails: fewer steps, fewer faults and commands. `tries` bounds the work.
pub fn shrink(recipe: &Recipe, failure: Failure, mut tries: u32) -> (Recipe, Failure) {
    let quiet = Trace::new(false);
    let mut best = Recipe {
        keep: Some(failure.done.iter().copied().collect()),
        ..recipe.clone()
    };
    let mut kept = failure;
    let kind = kept.kind();
    let attempt = |candidate: &Recipe, tries: &mut u32| {
        *tries = tries.checked_sub(1)?;
        let failure = play(candidate, &quiet).1.err()?;
        (failure.kind() == kind).then_some(failure)
    };
    // Nothing after the failure matters.
    let shorter = Recipe {
        steps: Some(kept.steps.min(best.steps.unwrap_or(u64::MAX))),
        ..best.clone()
    };
    if let Some(failure) = attempt(&shorter, &mut tries) {
        (best, kept) = (shorter, failure);
    }
    let mut piece = best.keep.as_ref().map_or(0, BTreeSet::len).div_ceil(2);
    while piece > 0 && tries > 0 {
        let mut smaller = false;
        let all: Vec<u64> = best.keep.iter().flatten().copied().collect();
        for chunk in all.chunks(piece) {
            let mut candidate = best.clone();
            if let Some(keep) = &mut candidate.keep {
                keep.retain(|number| !chunk.contains(number));
            }
            if let Some(failure) = attempt(&candidate, &mut tries) {
                candidate.steps = candidate.steps.map(|steps| steps.min(failure.steps));
                (best, kept) = (candidate, failure);
                smaller = true;
            }
        }
        if !smaller || piece == 1 {
            piece /= 2;
        }
    }
    (best, kept)
}
