// SPDX-License-Identifier: GPL-2.0

//! A short part of what `make sim` and `make sim-exhaustive` do at length.

use rdb_sim::Trace;
use rdb_sim::exhaustive::{explore, retrace};
use rdb_sim::run::{Recipe, play};

#[test]
fn sequences_of_two_operations_with_a_crash_at_each_point() {
    let (extent, failed) = explore(2, 1, &|_, _| ());
    if let Some(broken) = failed.first() {
        panic!("{broken:?}\n{}", retrace(broken, 200));
    }
    assert!(extent.sequences > 50 && extent.runs > 2000, "{extent:?}");
}

#[test]
fn random_runs_end_with_equal_data() {
    for seed in 0..5 {
        let (tally, result) = play(&Recipe::of(seed), &Trace::new(false));
        assert!(result.is_ok(), "make sim SEED={seed}: {result:?}");
        assert!(tally.submitted > 0, "seed {seed} wrote nothing");
    }
}

/// A failing run can be played again: the same seed gives the same steps.
#[test]
fn a_seed_is_a_run() {
    let play = |seed| {
        let trace = Trace::new(true);
        let (tally, _) = play(&Recipe::of(seed), &trace);
        (tally.steps, tally.acknowledged, trace.tail(100))
    };
    assert_eq!(play(3), play(3));
    assert_ne!(play(3).2, play(4).2);
}
