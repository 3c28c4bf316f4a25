// SPDX-License-Identifier: GPL-2.0

//! Cut links, failing scripts, fencing, replays (specification, sections 10 to 12 and 16).

use super::world::{A, H, NAMES, World, seconds};
use crate::engine::types::{GroupSet, Input, Mirror, Request};
use crate::wire::{NodeStatus, Packet};
use std::time::Duration;

fn foreign_packet(world: &World, generation: u64, sequence: u64) -> Packet {
    Packet {
        source: NAMES[H].into(),
        generation,
        sequence,
        status: NodeStatus::Left,
        deadtime: world.settings[H].deadtime,
        resources: 0,
        reply_wanted: false,
        heard: Vec::new(),
        groups: Vec::new(),
    }
}

#[test]
fn a_cut_link_ends_with_one_owner() {
    for failback in [true, false] {
        let mut world = World::settled(failback);
        world.faults.cut = [true, true];
        assert!(world.run_until(seconds(30), |w| w.runs(A)));
        world.run_for(seconds(10));
        assert_eq!(
            [world.holdings(H), world.holdings(A)],
            ["all".replace("all", "local"), "all".into()]
        );
        world.take_calls();
        world.faults.cut = [false, false];
        world.run_for(seconds(30));
        let calls = world.take_calls();
        let of = |n: &str| {
            calls
                .iter()
                .filter(|c| c.starts_with(n))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("h"),
            ["h: F stop", "h: d stop", "h: d start", "h: F start"]
        );
        assert_eq!(of("a"), ["a: F stop", "a: d stop"]);
        let last_stop = calls.iter().rposition(|c| c.ends_with("stop"));
        assert!(
            last_stop < calls.iter().position(|c| c.ends_with("start")),
            "{calls:?}"
        );
        for node in [H, A] {
            assert!(world.logged(node, "returning after partition"));
            assert!(world.logged(node, "Both machines own our resources!"));
        }
        assert!(world.runs(H) && !world.runs(A));
    }
}

#[test]
fn a_link_that_works_one_way_ends_with_one_owner() {
    for deaf in [H, A] {
        let mut world = World::settled(true);
        world.faults.cut[1 - deaf] = true;
        world.run_for(seconds(60));
        assert!(
            world.runs(H) != world.runs(A),
            "deaf {deaf}: {:?}",
            world.logs
        );
        assert!(
            world.logged(1 - deaf, "does not hear this node"),
            "{:?}",
            world.logs
        );
        world.faults.cut = [false, false];
        world.run_for(seconds(60));
        assert!(world.runs(H) && !world.runs(A));
    }
}

#[test]
fn with_fencing_nothing_is_taken_before_it_worked() {
    let mut world = World::settled(true);
    for node in [H, A] {
        let mut settings = world.settings[node].clone();
        settings.fencing = true;
        world.settings[node] = settings.clone();
        world.input(node, Input::Reconfigure(settings));
    }
    world.faults.fence = Some(Err("no answer from the device".into()));
    world.crash(H);
    world.run_for(seconds(60));
    assert!(world.calls.is_empty() && world.logged(A, "STONITH of node hauptserver failed"));
    world.faults.fence = Some(Ok(()));
    assert!(world.run_until(seconds(10), |w| w.runs(A)));
    assert_eq!(world.fenced, [NAMES[H]]);
    assert_eq!(world.take_calls(), ["a: d start", "a: F start"]);
}

#[test]
fn fencing_makes_a_cut_link_safe() {
    let mut world = World::settled(true);
    for node in [H, A] {
        let mut settings = world.settings[node].clone();
        settings.fencing = true;
        world.settings[node] = settings.clone();
        world.input(node, Input::Reconfigure(settings));
    }
    world.faults.cut = [true, true];
    assert!(world.run_until(seconds(60), |w| w.runs(A)));
    assert_eq!(world.fenced, [NAMES[H]]);
    assert!(world.double.is_empty());
}

#[test]
fn an_operator_may_confirm_that_a_node_is_off() {
    let mut world = World::settled(true);
    let mut settings = world.settings[A].clone();
    settings.fencing = true;
    world.input(A, Input::Reconfigure(settings));
    world.faults.fence = None;
    let early = world
        .request(A, Request::ConfirmFenced(NAMES[H].into()))
        .unwrap_err();
    assert!(early.contains("does not wait"), "{early}");
    world.crash(H);
    world.run_for(seconds(60));
    assert!(world.calls.is_empty());
    let group = world.engines[A]
        .as_ref()
        .unwrap()
        .report(world.now)
        .groups
        .remove(0);
    assert_eq!(
        group.waiting.as_deref(),
        Some("node hauptserver must be reset first")
    );
    world
        .request(A, Request::ConfirmFenced(NAMES[H].into()))
        .unwrap();
    assert!(world.run_until(seconds(5), |w| w.runs(A)));
}

#[test]
fn a_failed_start_offers_the_group_to_the_other_node() {
    let mut world = World::new(true);
    world.faults.failing.insert("h Filesystem start".into());
    world.start(H);
    world.start(A);
    assert!(
        world.run_until(seconds(30), |w| w.runs(A)),
        "{:?}",
        world.logs
    );
    world.run_for(seconds(120));
    assert_eq!(
        world.take_calls(),
        [
            "h: d start",
            "h: F start",
            "h: F stop",
            "h: d stop",
            "a: d start",
            "a: F start"
        ],
        "and it does not bounce"
    );
    let report = world.engines[H].as_ref().unwrap().report(world.now);
    assert!(
        report.groups[0]
            .failed
            .as_deref()
            .unwrap()
            .contains("Filesystem"),
        "{report:?}"
    );
    // The operator repairs it.
    world.faults.failing.clear();
    world.request(H, Request::Cleanup(GroupSet::All)).unwrap();
    assert!(world.run_until(seconds(30), |w| w.runs(H)));
}

#[test]
fn a_start_that_fails_everywhere_is_not_tried_for_ever() {
    let mut world = World::new(true);
    world
        .faults
        .failing
        .extend(["h Filesystem start".into(), "a drbddisk start".into()]);
    world.start(H);
    world.start(A);
    world.run_for(seconds(300));
    let calls = world.take_calls();
    assert_eq!(
        calls.iter().filter(|c| c.ends_with("start")).count(),
        3,
        "{calls:?}"
    );
    assert!(!world.runs(H) && !world.runs(A));
    assert!(world.active.iter().all(|a| a.is_empty()));
}

#[test]
fn a_stop_that_keeps_failing_keeps_the_group_if_it_still_runs() {
    let mut world = World::settled(true);
    world.faults.failing.insert("h Filesystem stop".into());
    world.request(H, Request::Standby(GroupSet::All)).unwrap();
    world.run_for(seconds(60));
    assert_eq!(world.take_calls(), vec!["h: F stop"; 11]);
    assert!(
        !world.runs(A),
        "what could not be stopped is handed to nobody"
    );
    assert!(world.logged(H, "cannot be stopped"));
    assert_eq!(world.holdings(H), "local");
    world.faults.failing.clear();
    world.request(H, Request::Standby(GroupSet::All)).unwrap();
    assert!(world.run_until(seconds(30), |w| w.runs(A) || w.runs(H)));
    assert!(world.double.is_empty());
}

#[test]
fn a_stop_that_keeps_failing_goes_on_if_it_is_stopped() {
    let mut world = World::settled(true);
    world.faults.failing.insert("h Filesystem stop".into());
    world.request(H, Request::Standby(GroupSet::All)).unwrap();
    assert!(world.run_until(seconds(5), |w| !w.calls.is_empty()));
    // Somebody unmounts it by hand.
    world.active[H].remove("Filesystem::/dev/drbd0::/data::ext3");
    assert!(world.run_until(seconds(60), |w| w.runs(A)));
    let calls = world.take_calls();
    assert_eq!(calls[..11], vec!["h: F stop"; 11]);
    assert_eq!(calls[11..], ["h: d stop", "a: d start", "a: F start"]);
}

#[test]
fn a_second_stop_request_ends_at_once_and_the_other_node_waits_its_deadtime() {
    let mut world = World::settled(true);
    world.faults.failing.insert("h Filesystem stop".into());
    world.input(H, Input::Terminate);
    world.run_for(seconds(60));
    assert_eq!(
        world.exits[H], None,
        "it does not leave while it holds something"
    );
    assert!(!world.runs(A));
    world.input(H, Input::Terminate);
    assert_eq!(world.exits[H], Some(false));
}

#[test]
fn a_start_waits_while_the_mirror_is_in_use_and_goes_on_afterwards() {
    let mut world = World::settled(true);
    world.faults.blocked.insert("a drbddisk".into());
    world.kill_daemon(H);
    world.run_for(seconds(40));
    let calls = world.take_calls();
    assert!(
        calls.iter().all(|c| c.starts_with("a: d")) && calls.len() > 4,
        "{calls:?}"
    );
    assert!(world.double.is_empty());
    world.active[H].clear();
    world.faults.blocked.clear();
    assert!(world.run_until(seconds(20), |w| w.runs(A)));
}

#[test]
fn failback_waits_until_the_mirror_is_current() {
    let mut world = World::settled(true);
    world.crash(H);
    assert!(world.run_until(seconds(60), |w| w.runs(A)));
    world.take_calls();
    world
        .faults
        .mirror
        .insert(H, Mirror::Old("r0 is SyncTarget".into()));
    world.start(H);
    world.run_for(seconds(60));
    assert!(world.runs(A) && world.take_calls().is_empty());
    assert!(world.logged(H, "stays on the other node: r0 is SyncTarget"));
    world.faults.mirror.clear();
    assert!(world.run_until(seconds(20), |w| w.runs(H)));
}

#[test]
fn a_standby_to_a_node_with_old_data_is_given_up() {
    let mut world = World::settled(true);
    world
        .faults
        .mirror
        .insert(A, Mirror::Apart("r0 is not connected".into()));
    world.request(H, Request::Standby(GroupSet::All)).unwrap();
    world.run_for(seconds(30));
    assert!(world.runs(H) && world.take_calls().is_empty());
    assert!(world.logged(H, "standby of drbddisk::r0 given up"));
}

#[test]
fn the_own_stall_is_not_held_against_the_other() {
    let mut world = World::settled(true);
    // The process of `a` does not run for a minute, its packets wait.
    let mut frozen = world.engines[A].take().unwrap();
    world.faults.cut[A] = true;
    world.run_for(seconds(60));
    let effects = frozen.handle(world.now, Input::Timer);
    assert!(
        format!("{effects:?}").contains("did not run for"),
        "{effects:?}"
    );
    assert!(!format!("{effects:?}").contains("is dead"), "{effects:?}");
}

#[test]
fn replays_and_strangers_are_dropped() {
    let mut world = World::settled(true);
    let from = || "192.168.1.66:700".to_owned();
    let link = || "eth1".to_owned();
    // An old farewell of `h`: lower generation, or a sequence number that was seen.
    for (generation, sequence) in [(0, 999), (1, 1)] {
        let packet = foreign_packet(&world, generation, sequence);
        world.input(
            A,
            Input::Packet {
                link: link(),
                from: from(),
                packet,
            },
        );
    }
    let mut stranger = foreign_packet(&world, 9, 9);
    stranger.source = "fremder".into();
    for _ in 0..100 {
        let packet = stranger.clone();
        world.input(
            A,
            Input::Packet {
                link: link(),
                from: from(),
                packet,
            },
        );
        let reason = "signature with key 1 is wrong".to_owned();
        world.input(
            A,
            Input::BadPacket {
                link: link(),
                from: from(),
                reason,
            },
        );
    }
    world.run_for(seconds(5));
    assert!(world.runs(H) && world.take_calls().is_empty());
    let count = |text: &str| {
        world
            .logs
            .iter()
            .filter(|(.., line)| line.contains(text))
            .count()
    };
    assert_eq!(
        count("fremder"),
        1,
        "a flood of bad packets does not flood the log"
    );
    assert_eq!(count("192.168.1.66:700 on eth1 dropped: signature"), 1);
    assert_eq!(count("a replay"), 1);
}

#[test]
fn a_late_heartbeat_is_logged_with_its_interval() {
    let mut world = World::settled(true);
    world.faults.cut = [true, true];
    world.run_for(Duration::from_millis(4500));
    world.faults.cut = [false, false];
    world.run_for(seconds(3));
    assert!(
        world.logged(A, "Late heartbeat: Node hauptserver: interval "),
        "{:?}",
        world.logs
    );
    assert!(world.runs(H) && !world.logged(A, "is dead"));
}

#[test]
fn a_late_answer_of_the_fencing_device_does_not_count_for_the_next_death() {
    let mut world = World::settled(true);
    let mut settings = world.settings[A].clone();
    settings.fencing = true;
    world.input(A, Input::Reconfigure(settings));
    // The device does not answer; the link comes back, and then the node really dies.
    world.faults.fence = None;
    world.faults.cut = [true, true];
    world.run_for(seconds(10));
    world.faults.cut = [false, false];
    world.run_for(seconds(5));
    world.crash(H);
    world.run_for(seconds(10));
    let answer = |attempt| Input::Fenced {
        node: NAMES[H].into(),
        attempt,
        result: Ok(()),
    };
    world.input(A, answer(1));
    world.run_for(seconds(10));
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    world.input(A, answer(2));
    assert!(world.run_until(seconds(5), |w| w.runs(A)));
}

#[test]
fn a_node_is_dead_after_the_deadtime_that_it_told() {
    let mut world = World::new(true);
    world.settings[H].deadtime = seconds(20);
    world.settings[H].initdead = seconds(20);
    world.start(H);
    world.start(A);
    assert!(world.run_until(seconds(10), |w| w.runs(H)));
    world.crash(H);
    world.run_for(seconds(18));
    assert!(!world.logged(A, "is dead"));
    assert!(world.run_until(seconds(5), |w| w.logged(A, "node hauptserver: is dead")));
}

#[test]
fn at_a_common_start_the_mirror_may_connect_first() {
    let mut world = World::new(true);
    for node in [H, A] {
        world
            .faults
            .mirror
            .insert(node, Mirror::Apart("r0 is not connected".into()));
    }
    world.start(H);
    world.start(A);
    world.run_for(seconds(9));
    assert!(world.take_calls().is_empty());
    assert!(
        world.logged(H, "waits, at most 12 s: r0 is not connected"),
        "{:?}",
        world.logs
    );
    let report = world.engines[H].as_ref().unwrap().report(world.now);
    assert_eq!(
        report.groups[0].waiting.as_deref(),
        Some("r0 is not connected")
    );
    // It has connected, and the other node's data are newer: the mirror brings them.
    world
        .faults
        .mirror
        .insert(H, Mirror::Old("r0 is SyncTarget".into()));
    assert!(world.run_until(seconds(10), |w| w.runs(H)));
}

#[test]
fn a_mirror_that_does_not_connect_does_not_keep_the_service_down() {
    let mut world = World::new(true);
    world
        .faults
        .mirror
        .insert(H, Mirror::Apart("r0 is not connected".into()));
    world.start(H);
    world.start(A);
    assert!(
        world.run_until(seconds(30), |w| w.runs(H)),
        "{:?}",
        world.logs
    );
    assert!(world.now > seconds(12));
    assert!(world.double.is_empty());
}
