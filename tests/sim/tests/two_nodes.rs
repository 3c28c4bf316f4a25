// SPDX-License-Identifier: GPL-2.0

//! Two nodes through everything that can happen to them; every test runs many seeds.

use rdb_engine::admin::Request;
use rdb_engine::volume::OnIoError;
use rdb_engine::wire::{ConnState, DiskState, ReplicationProtocol, Role};
use rdb_sim::disk::Class;
use rdb_sim::{A, B, Plan, World};

/// Seeds per test; `RDB_SIM_SEEDS` sets another number for long runs, `RDB_SIM_FIRST` the first one. `RDB_SIM_TRACE` shows what led to
/// a failure.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("RDB_SIM_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20);
    let first = std::env::var("RDB_SIM_FIRST")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    first..first + count
}

#[test]
fn initial_sync_makes_both_equal() {
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        assert_eq!(world.nodes[B].state().peer, Role::Primary);
        world.converge();
    }
}

#[test]
fn acknowledged_writes_are_on_both_disks() {
    for protocol in [
        ReplicationProtocol::C,
        ReplicationProtocol::B,
        ReplicationProtocol::A,
    ] {
        for seed in seeds() {
            let mut world = World::synced(seed, Plan::of(protocol), A);
            world.set_writing(true);
            world.until(|w| w.acknowledged > 300, "writes are acknowledged");
            world.converge();
        }
    }
}

#[test]
fn writes_during_the_initial_sync() {
    for seed in seeds() {
        let mut world = World::new(seed, Plan::default());
        let connected = |w: &World| {
            w.nodes
                .iter()
                .all(|n| n.state().conn == ConnState::Connected)
        };
        world.until(connected, "the nodes connect");
        world.ask(
            A,
            Request::Primary {
                volume: 0,
                force: true,
            },
        );
        world.set_writing(true);
        world.until(|w| w.acknowledged > 300, "writes are acknowledged");
        world.converge();
    }
}

#[test]
fn cut_links_lose_nothing() {
    for seed in seeds() {
        let plan = Plan {
            cut_one_in: 400,
            ..Plan::default()
        };
        let mut world = World::synced(seed, plan, A);
        world.set_writing(true);
        world.run(20_000);
        world.converge();
    }
}

#[test]
fn survivor_of_a_dead_primary_has_every_acknowledged_write() {
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        world.set_writing(true);
        let steps = 500 + world.rng.below(4000);
        world.run(steps);
        world.crash(A);
        world.take_over(B);
        world.run(2000);
        world.start(A);
        world.run(1000);
        world.converge();
        assert_eq!(world.nodes[B].state().role, Role::Primary);
        // And back again.
        world.ask(B, Request::Secondary { volume: 0 });
        world.ask(
            A,
            Request::Primary {
                volume: 0,
                force: false,
            },
        );
        world.set_writing(true);
        world.run(2000);
        world.converge();
    }
}

#[test]
fn primary_survives_a_dead_secondary() {
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        world.set_writing(true);
        let before = world.rng.below(3000);
        world.run(before);
        world.crash(B);
        let alone = world.rng.below(3000);
        world.run(alone);
        world.start(B);
        world.converge();
    }
}

#[test]
fn target_that_dies_again_and_again_is_brought_up_to_date() {
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        world.set_writing(true);
        for _ in 0..6 {
            let steps = world.rng.below(1500);
            world.run(steps);
            world.crash(B);
            let steps = world.rng.below(300);
            world.run(steps);
            world.start(B);
        }
        world.converge();
    }
}

#[test]
fn both_die_and_come_back() {
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        world.set_writing(true);
        let steps = world.rng.below(3000);
        world.run(steps);
        world.crash(A);
        world.crash(B);
        world.set_writing(false);
        world.start(B);
        world.start(A);
        world.converge();
    }
}

#[test]
fn a_second_primary_is_refused() {
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        let request = Request::Primary {
            volume: 0,
            force: false,
        };
        world.request(B, request);
        world.until(|w| matches!(w.nodes[B].admin, Some(Some(_))), "an answer");
        let answer = world.nodes[B].admin.flatten().expect("an answer");
        assert_eq!(answer.map_err(|refusal| refusal.code), Err(-1));
        world.converge();
    }
}

#[test]
fn disconnect_and_connect_again() {
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        world.set_writing(true);
        world.run(1000);
        world.ask(B, Request::Disconnect { force: false });
        assert_eq!(world.nodes[B].state().conn, ConnState::StandAlone);
        world.run(1000);
        let net = rdb_engine::link::NetOptions::default();
        world.ask(B, Request::Connect(net));
        world.converge();
    }
}

#[test]
fn a_primary_without_its_disk_goes_on_through_the_peer() {
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        world.set_writing(true);
        world.run(500);
        world.ask(
            A,
            Request::Detach {
                volume: 0,
                force: false,
            },
        );
        assert_eq!(world.nodes[A].state().disk, DiskState::Diskless);
        let before = world.acknowledged;
        world.until(|w| w.acknowledged > before + 50, "writes through the peer");
    }
}

/// A disk goes and comes back while what the peer says of refused writes is late: those blocks are copied, too.
#[test]
fn what_a_lost_disk_refused_is_copied_although_the_refusal_is_late() {
    let volume = 0;
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        world.set_writing(true);
        world.run(500);
        let force = false;
        world.request(B, Request::Detach { volume, force });
        world.until(
            |w| w.nodes[A].state().pdsk == DiskState::Failed,
            "the peer agrees",
        );
        world.nodes[A].stalled_until[1] = world.now + 300;
        world.until(
            |w| w.nodes[B].state().disk == DiskState::Diskless,
            "it goes",
        );
        assert!(world.nodes[B].begin_attach());
        world.until(
            |w| w.nodes[B].state().disk == DiskState::Inconsistent,
            "it is a target",
        );
        world.converge();
    }
}

/// A superblock cannot be written on the source of a resync that begins: the target is not told of a generation that no disk knows.
#[test]
fn a_resync_whose_source_loses_its_metadata_is_begun_anew() {
    let (volume, force) = (0, false);
    for seed in seeds() {
        let mut world = World::synced(seed, Plan::default(), A);
        world.set_writing(true);
        world.crash(B);
        world.run(500);
        world.start(B);
        // The one with the sync UUID, or one before.
        let (when, left) = match seed % 3 {
            0 => (ConnState::WFBitMapS, seed / 3 % 3),
            _ => (ConnState::SyncSource, 0),
        };
        world.until(|w| w.nodes[A].state().conn == when, "a resync begins");
        let disk = &mut world.nodes[A].disk;
        disk.light_fuse(Class::Superblock, left, false);
        world.until(
            |w| w.is_synced() || w.nodes[A].state().disk == DiskState::Diskless,
            "the disk goes, or it is good enough",
        );
        world.nodes[A].disk.repair();
        if world.nodes[A].state().disk == DiskState::Diskless {
            assert!(world.nodes[A].begin_attach());
            world.until(
                |w| w.nodes[A].state().disk >= DiskState::Inconsistent,
                "it is attached",
            );
        }
        if world.nodes[A].state().role != Role::Primary {
            world.ask(A, Request::Primary { volume, force });
        }
        world.converge();
    }
}

/// A write fails on the source of a resync, and errors are passed on: it goes on as the source of nothing that it does not have.
#[test]
fn a_disk_that_lacks_a_write_is_no_source() {
    let mut plan = Plan::default();
    plan.disk.on_io_error = OnIoError::PassOn;
    for seed in seeds() {
        let mut world = World::synced(seed, plan, A);
        world.set_writing(true);
        world.crash(B);
        world.run(500);
        world.start(B);
        let source = |w: &World| w.nodes[A].state().conn == ConnState::SyncSource;
        world.until(source, "a resync begins");
        let disk = &mut world.nodes[A].disk;
        disk.light_fuse(Class::Write, seed % 4, false);
        world.run(2000);
        world.heal();
    }
}
