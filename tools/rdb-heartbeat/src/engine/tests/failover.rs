// SPDX-License-Identifier: GPL-2.0

//! The scenarios that were run with heartbeat 3.0.6 (specification, section 9, and the vectors'
//! table): the same order of script calls, the same holdings. Times are ours, and not longer.

use super::world::{A, H, NAMES, World, seconds};
use crate::engine::types::{GroupSet, GroupSettings, Input, Request};
use crate::wire::GroupState;

fn holdings(world: &World) -> [String; 2] {
    [world.holdings(H), world.holdings(A)]
}

#[test]
fn both_start_and_the_preferred_node_takes_the_group() {
    for failback in [true, false] {
        let world = World::settled(failback);
        assert_eq!(holdings(&world), ["local", "local"]);
        assert!(world.double.is_empty());
    }
}

#[test]
fn both_start_in_the_other_order() {
    let mut world = World::new(true);
    world.start(A);
    world.run_for(seconds(5));
    world.start(H);
    world.run_for(seconds(5));
    assert_eq!(world.take_calls(), ["h: d start", "h: F start"]);
}

#[test]
fn a_crash_leads_to_a_takeover_after_deadtime() {
    let mut world = World::settled(true);
    let crash = world.now;
    world.crash(H);
    assert!(world.run_until(seconds(60), |w| w.runs(A)));
    let first = world.calls[0].0 - crash;
    assert!(first > seconds(4) && first < seconds(9), "{first:?}");
    assert_eq!(world.take_calls(), ["a: d start", "a: F start"]);
    assert_eq!(world.holdings(A), "all");
    for text in [
        "node hauptserver: is dead",
        "No STONITH device configured",
        "Resources being acquired from hauptserver",
        "Acquiring resource group: hauptserver drbddisk::r0 Filesystem::/dev/drbd0::/data::ext3",
        "mach_down takeover complete",
        "Link hauptserver:eth1 dead",
    ] {
        assert!(world.logged(A, text), "{text}: {:?}", world.logs);
    }
}

#[test]
fn the_dead_node_returns_and_takes_its_group_back() {
    let mut world = World::settled(true);
    world.crash(H);
    assert!(world.run_until(seconds(60), |w| w.runs(A)));
    world.take_calls();
    world.start(H);
    assert!(world.run_until(seconds(60), |w| w.runs(H)));
    world.run_for(seconds(5));
    assert_eq!(
        world.take_calls(),
        ["a: F stop", "a: d stop", "h: d start", "h: F start"]
    );
    assert_eq!(holdings(&world), ["local", "local"]);
    assert!(world.double.is_empty());
    assert!(world.logged(A, "auto_failback: its preferred node hauptserver is back"));
}

#[test]
fn without_auto_failback_the_group_stays() {
    let mut world = World::settled(false);
    world.crash(H);
    assert!(world.run_until(seconds(60), |w| w.runs(A)));
    world.start(H);
    world.run_for(seconds(60));
    assert_eq!(world.take_calls(), ["a: d start", "a: F start"]);
    assert_eq!(holdings(&world), ["none", "all"]);
    // hb_standby foreign on a
    world
        .request(A, Request::Standby(GroupSet::Foreign))
        .unwrap();
    assert!(world.run_until(seconds(30), |w| w.runs(H)));
    assert_eq!(
        world.take_calls(),
        ["a: F stop", "a: d stop", "h: d start", "h: F start"]
    );
    world.run_for(seconds(3));
    assert_eq!(holdings(&world), ["local", "local"]);
}

#[test]
fn a_clean_stop_hands_over_without_deadtime() {
    let mut world = World::settled(true);
    let stop = world.now;
    world.input(H, Input::Terminate);
    assert!(world.run_until(seconds(60), |w| w.runs(A)));
    assert!(world.now - stop < seconds(2));
    assert_eq!(
        world.take_calls(),
        ["h: F stop", "h: d stop", "a: d start", "a: F start"]
    );
    assert!(world.run_until(seconds(5), |w| w.exits[H] == Some(true)));
    world.run_for(seconds(30));
    assert_eq!(world.holdings(A), "all");
    assert!(world.take_calls().is_empty() && world.double.is_empty());
}

#[test]
fn a_clean_stop_needs_no_fencing() {
    let mut world = World::settled(true);
    for node in [H, A] {
        let mut settings = world.settings[node].clone();
        settings.fencing = true;
        world.input(node, Input::Reconfigure(settings));
    }
    world.input(H, Input::Terminate);
    assert!(world.run_until(seconds(60), |w| w.runs(A)));
    assert!(world.fenced.is_empty());
}

#[test]
fn a_clean_stop_is_noticed_even_if_most_packets_are_lost() {
    let mut world = World::settled(true);
    world.faults.lose_one_in = 2;
    world.input(H, Input::Terminate);
    assert!(world.run_until(seconds(60), |w| w.runs(A) && w.exits[H].is_some()));
    assert!(world.double.is_empty());
}

#[test]
fn both_stop_and_both_end() {
    let mut world = World::settled(true);
    world.input(H, Input::Terminate);
    world.input(A, Input::Terminate);
    assert!(world.run_until(seconds(30), |w| w.exits == [Some(true), Some(true)]));
    assert_eq!(world.take_calls(), ["h: F stop", "h: d stop"]);
    assert!(world.active.iter().all(|a| a.is_empty()));
}

#[test]
fn standby_gives_the_group_away_and_it_stays_away() {
    let mut world = World::settled(true);
    world.request(H, Request::Standby(GroupSet::All)).unwrap();
    assert!(world.run_until(seconds(30), |w| w.runs(A)));
    world.run_for(seconds(60));
    assert_eq!(
        world.take_calls(),
        ["h: F stop", "h: d stop", "a: d start", "a: F start"]
    );
    assert_eq!(holdings(&world), ["none", "all"]);
    // hb_takeover local on h
    world
        .request(H, Request::Takeover(GroupSet::Local))
        .unwrap();
    assert!(world.run_until(seconds(30), |w| w.runs(H)));
    world.run_for(seconds(60));
    assert_eq!(
        world.take_calls(),
        ["a: F stop", "a: d stop", "h: d start", "h: F start"]
    );
    assert_eq!(holdings(&world), ["local", "local"]);
    assert!(world.double.is_empty());
}

#[test]
fn the_other_node_may_take_over_on_request_in_spite_of_auto_failback() {
    let mut world = World::settled(true);
    world
        .request(A, Request::Takeover(GroupSet::Foreign))
        .unwrap();
    assert!(world.run_until(seconds(30), |w| w.runs(A)));
    world.run_for(seconds(60));
    assert_eq!(holdings(&world), ["none", "all"]);
    world.crash(A);
    assert!(
        world.run_until(seconds(30), |w| w.runs(H)),
        "what was yielded is taken in need"
    );
}

#[test]
fn a_standby_is_refused_while_things_move_or_nobody_is_there() {
    let mut world = World::settled(true);
    world.request(H, Request::Standby(GroupSet::All)).unwrap();
    let error = world
        .request(H, Request::Standby(GroupSet::All))
        .unwrap_err();
    assert!(error.contains("is being moved"), "{error}");
    world.run_for(seconds(20));
    world.crash(H);
    world.run_for(seconds(20));
    let error = world
        .request(A, Request::Standby(GroupSet::All))
        .unwrap_err();
    assert!(error.contains("node hauptserver is dead"), "{error}");
    let error = world
        .request(A, Request::Standby(GroupSet::One("x".into())))
        .unwrap_err();
    assert!(error.contains("no resource group `x`"), "{error}");
}

#[test]
fn the_giver_dies_during_a_standby_and_the_taker_during_a_standby() {
    for victim in [H, A] {
        let mut world = World::settled(true);
        world.request(H, Request::Standby(GroupSet::All)).unwrap();
        assert!(world.run_until(seconds(5), |w| !w.runs(H)));
        world.crash(victim);
        assert!(
            world.run_until(seconds(60), |w| w.runs(1 - victim)),
            "{:?}",
            world.logs
        );
    }
}

#[test]
fn alone_it_takes_all_groups_in_file_order_after_initdead() {
    let group = |key: &str, node: usize| GroupSettings {
        key: key.into(),
        preferred: NAMES[node].into(),
        resources: vec![key.into(), format!("{key}2")],
    };
    let mut world = World::with(false, vec![group("p", H), group("q", A), group("r", H)]);
    world.start(A);
    world.run_for(seconds(11));
    assert!(world.calls.is_empty());
    assert!(world.run_until(seconds(5), |w| w.state(A, 2) == Some(GroupState::Running)));
    let starts = ["p", "p", "q", "q", "r", "r"].map(|g| format!("a: {g} start"));
    assert_eq!(world.take_calls(), starts);
    assert_eq!(world.holdings(A), "all");
    // A late node takes nothing, as auto_failback is off.
    world.start(H);
    world.run_for(seconds(60));
    assert!(world.take_calls().is_empty());
    assert_eq!(holdings(&world), ["none", "all"]);
    // And a clean stop goes from right to left.
    world.input(A, Input::Terminate);
    world.run_for(seconds(30));
    let stops: Vec<_> = world
        .take_calls()
        .into_iter()
        .filter(|c| c.starts_with("a:"))
        .collect();
    assert_eq!(
        stops,
        ["r", "r", "q", "q", "p", "p"].map(|g| format!("a: {g} stop"))
    );
    assert_eq!(world.holdings(H), "all");
}

#[test]
fn each_node_takes_its_own_group_at_a_common_start() {
    let group = |key: &str, node: usize| GroupSettings {
        key: key.into(),
        preferred: NAMES[node].into(),
        resources: vec![key.into()],
    };
    let mut world = World::with(true, vec![group("p", H), group("q", A)]);
    world.start(H);
    world.start(A);
    world.run_for(seconds(10));
    assert_eq!(holdings(&world), ["local", "local"]);
    let mut calls = world.take_calls();
    calls.sort();
    assert_eq!(calls, ["a: q start", "h: p start"]);
}

#[test]
fn a_quick_restart_of_the_daemon_keeps_the_group() {
    for failback in [true, false] {
        let mut world = World::settled(failback);
        world.kill_daemon(H);
        world.run_for(seconds(2));
        world.start(H);
        assert!(world.run_until(seconds(10), |w| w.runs(H)));
        world.run_for(seconds(30));
        assert!(world.logged(H, "is already active here"));
        assert!(world.logged(A, "has restarted its rdb-heartbeat"));
        let calls = world.take_calls();
        assert!(
            calls
                .iter()
                .all(|c| c.starts_with("h:") && c.ends_with("start")),
            "{calls:?}"
        );
        assert!(world.double.is_empty());
    }
}

#[test]
fn two_quiet_nodes_send_about_one_packet_a_second() {
    let mut world = World::settled(true);
    let before = world.packets;
    world.run_for(seconds(100));
    let sent = world.packets - before;
    assert!(
        (190..=210).contains(&sent),
        "{sent} packets in 100 s from two nodes"
    );
}

/// Found by [`super::chaos`]: the group ran before the start of the daemon, and the request to stop
/// came while its first script was at work. Then all of it must be stopped, not only what was
/// started so far.
#[test]
fn a_stop_while_a_leftover_is_adopted_stops_all_of_it() {
    let mut world = World::settled(true);
    world.kill_daemon(H);
    world.start(H);
    world.faults.script_ms = 2000;
    world.calls.clear();
    assert!(world.run_until(seconds(10), |w| !w.calls.is_empty()));
    world.input(H, Input::Terminate);
    assert!(world.run_until(seconds(30), |w| w.exits[H] == Some(true)));
    let calls = world.take_calls();
    assert_eq!(calls[..3], ["h: d start", "h: F stop", "h: d stop"]);
    assert!(world.active[H].is_empty() && world.double.is_empty());
}
