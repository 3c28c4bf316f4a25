// SPDX-License-Identifier: GPL-2.0

//! Anything at any time. While packets get through (some are lost, all are delayed) and every crash
//! takes the resources with it, no group may ever run on two nodes; and when the world calms down,
//! the group runs on exactly one.

use super::world::{A, H, World, seconds};
use crate::engine::types::{GroupSet, Input, Mirror, Request};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Crash(usize),
    KillDaemon(usize),
    Start(usize),
    Terminate(usize),
    Standby(usize),
    Takeover(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 0usize..2;
    let step = prop_oneof![
        1 => node().prop_map(Step::Crash),
        1 => node().prop_map(Step::KillDaemon),
        3 => node().prop_map(Step::Start),
        1 => node().prop_map(Step::Terminate),
        1 => node().prop_map(Step::Standby),
        1 => node().prop_map(Step::Takeover),
        4 => (1u64..3000).prop_map(Step::Wait),
        2 => (3000u64..30_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

fn play(world: &mut World, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Crash(n) => world.crash(n),
            // A daemon that stays away would let the other node take what still runs: that is the
            // case that only the mirror or a fencing device can prevent. So it comes back soon.
            Step::KillDaemon(n) if world.engines[n].is_some() => {
                world.kill_daemon(n);
                world.run_for(Duration::from_millis(700));
                world.start(n);
            }
            Step::Start(n) if world.engines[n].is_none() => world.start(n),
            Step::Terminate(n) => {
                // Once: a second one means to leave the resources as they are.
                let report = world.engines[n]
                    .as_ref()
                    .map(|e| e.report(world.now).status);
                if matches!(report.as_deref(), Some("up" | "active")) {
                    world.input(n, Input::Terminate);
                }
            }
            Step::Standby(n) if world.engines[n].is_some() => {
                let _ = world.request(n, Request::Standby(GroupSet::All));
            }
            Step::Takeover(n) if world.engines[n].is_some() => {
                let _ = world.request(n, Request::Takeover(GroupSet::All));
            }
            Step::Wait(ms) => world.run_for(Duration::from_millis(ms)),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn never_two_owners_and_at_last_one(
        steps in steps(),
        failback in any::<bool>(),
        lose_one_in in prop::sample::select(vec![0u64, 2, 3, 10]),
        delay_ms in 1u64..400,
        script_ms in 1u64..5000,
        mirror in prop::sample::select(vec![
            Mirror::Ready, Mirror::Old("old".into()), Mirror::Apart("apart".into())]),
        lagging in 0usize..2,
        seed in any::<u64>(),
    ) {
        let mut world = World::new(failback);
        world.seed(seed);
        world.faults.mirror.insert(lagging, mirror);
        // Twenty lost heartbeats in a row at one in two: once in a million.
        for settings in &mut world.settings {
            settings.deadtime = seconds(20);
            settings.initdead = seconds(20);
        }
        world.faults.lose_one_in = lose_one_in;
        world.faults.delay_ms = delay_ms;
        world.faults.script_ms = script_ms;
        play(&mut world, steps);
        prop_assert!(world.double.is_empty(), "two owners at {:?}: {:#?}", world.double, world.logs);
        world.faults.lose_one_in = 0;
        world.faults.mirror.clear();
        world.run_for(seconds(100));
        for node in [H, A] {
            if world.engines[node].is_none() {
                world.start(node);
            }
        }
        world.run_for(seconds(100));
        prop_assert!(world.double.is_empty(), "two owners at {:?}: {:#?}", world.double, world.logs);
        prop_assert!(world.runs(H) != world.runs(A), "no single owner: {:#?}", world.logs);
        if world.settings[H].auto_failback && world.runs(A) {
            let report = world.engines[H].as_ref().map(|e| e.report(world.now).groups[0].yielded);
            prop_assert_eq!(report, Some(true), "not failed back: {:#?}", world.logs);
        }
    }

    #[test]
    fn after_any_partition_one_owner_is_left(
        cuts in prop::collection::vec((any::<[bool; 2]>(), 100u64..30_000), 1..8),
        failback in any::<bool>(),
        script_ms in 1u64..3000,
        seed in any::<u64>(),
    ) {
        let mut world = World::settled(failback);
        world.seed(seed);
        world.faults.script_ms = script_ms;
        world.faults.delay_ms = 50;
        for (cut, ms) in cuts {
            world.faults.cut = cut;
            world.run_for(Duration::from_millis(ms));
        }
        world.faults.cut = [false, false];
        world.run_for(seconds(90));
        prop_assert!(world.runs(H) != world.runs(A), "no single owner: {:#?}", world.logs);
        let idle = if world.runs(H) { A } else { H };
        prop_assert!(world.active[idle].is_empty(), "leftovers: {:?}", world.active);
    }

    #[test]
    fn with_fencing_a_cut_link_never_leads_to_two_owners(
        cuts in prop::collection::vec((any::<[bool; 2]>(), 100u64..30_000), 1..8),
        failback in any::<bool>(),
        script_ms in 1u64..3000,
        seed in any::<u64>(),
    ) {
        let mut world = World::new(failback);
        world.seed(seed);
        for settings in &mut world.settings {
            settings.fencing = true;
        }
        world.start(H);
        world.start(A);
        world.run_for(seconds(10));
        world.faults.script_ms = script_ms;
        for (cut, ms) in cuts {
            world.faults.cut = cut;
            world.run_for(Duration::from_millis(ms));
            for node in [H, A] {
                // A node that was reset boots again.
                if world.engines[node].is_none() {
                    world.start(node);
                }
            }
        }
        prop_assert!(world.double.is_empty(), "two owners at {:?}: {:#?}", world.double, world.logs);
    }
}
