// SPDX-License-Identifier: GPL-2.0

//! Two nodes meet, with everything that may come in between: in the end they are in sync, or both have a reason not to be.

mod pair;

use pair::{is_primary, Fault, Pair, A, B, SECTORS};
use rdb_engine::admin::Request;
use rdb_engine::meta::MetaFlags;
use rdb_engine::resync_rate::Limit;
use rdb_engine::wire::{ConnState, DiskState};

/// A pair that was in sync; `a` is Primary and has written these blocks alone.
fn apart(blocks: &[u64]) -> Pair {
    let mut pair = Pair::synced();
    pair.disconnect();
    for block in blocks {
        pair.write(A, *block);
    }
    for node in &mut pair.nodes {
        node.resynced = 0;
        node.notices.clear();
    }
    pair.links = 0;
    pair
}

const BLOCKS: [u64; 6] = [0, 1, 700, 1024, 2000, 3071];

/// The link dies after any packet of handshake and resync. What is copied in the end are the blocks that differ: never more than
/// they in one go, however often it is tried, and never everything (regressions 8 and 26).
#[test]
fn a_resync_that_is_cut_anywhere_goes_on() {
    for after in 0.. {
        let mut pair = apart(&BLOCKS);
        pair.fuse = Some((after, Fault::Break));
        pair.connect();
        pair.wait_synced();
        let copied = pair.nodes[B].resynced;
        let most = BLOCKS.len() as u64 * u64::from(pair.links);
        assert!(
            (BLOCKS.len() as u64..=most).contains(&copied),
            "after {after}: {copied} of {most}; {}",
            pair.report()
        );
        assert_eq!(pair.nodes[A].resynced, 0);
        let [a, b] = [A, B].map(|n| pair.nodes[n].generation());
        assert_eq!(a.current & !1, b.current & !1);
        assert_eq!((a.bitmap, b.bitmap), (0, 0), "after {after}");
        if pair.fuse.is_some() {
            assert!(after > 20, "there are more packets than {after}");
            break;
        }
    }
}

/// The same with nothing to copy: both have the same data, and the source's bitmap is empty (regression 26).
#[test]
fn an_empty_resync_that_is_cut_copies_nothing() {
    for after in 0.. {
        let mut pair = apart(&[]);
        pair.fuse = Some((after, Fault::Break));
        pair.connect();
        pair.wait_synced();
        let copied: u64 = pair.nodes.iter().map(|node| node.resynced).sum();
        assert_eq!(copied, 0, "after {after}; {}", pair.report());
        if pair.fuse.is_some() {
            break;
        }
    }
}

/// Either node crashes after any packet, and comes back.
#[test]
fn a_node_that_dies_anywhere_comes_back() {
    for n in [A, B] {
        for after in (0..40).step_by(3) {
            let mut pair = apart(&BLOCKS);
            pair.fuse = Some((after, Fault::Crash(n)));
            pair.connect();
            pair.wait("the crash, or the end", |pair| {
                pair.fuse.is_none() || pair.nodes[A].state().conn == ConnState::Connected
            });
            if pair.fuse.is_some() {
                break;
            }
            pair.bring_up(n);
            pair.connect();
            pair.wait_synced();
        }
    }
}

/// Somebody wants a promotion while the nodes are at any point of the handshake: it is done, or refused for a reason, and nobody is
/// left half way (regression 27).
#[test]
fn a_promotion_at_any_point_of_the_handshake() {
    for n in [A, B] {
        for after in 0..40 {
            let mut pair = apart(&BLOCKS);
            pair.secondary(A);
            let force = false;
            pair.fuse = Some((after, Fault::Ask(n, Request::Primary { volume: 0, force })));
            pair.connect();
            pair.wait_synced();
            if pair.fuse.is_none() {
                pair.wait("the answer", |pair| pair.nodes[n].admin.is_some());
                let answer = pair.nodes[n].admin.take();
                assert_eq!(
                    is_primary(&pair.nodes[n]),
                    answer == Some(Ok(())),
                    "{answer:?}"
                );
                // Either way it works afterwards.
                pair.primary(n);
                pair.write(n, 5);
                pair.wait_synced();
            }
        }
    }
}

/// Disks in any two states, with any relation of their generations: the nodes come to an end, together, in a few attempts; and if
/// they are in sync then, their data are equal (regressions 11 and 12).
#[test]
fn disks_in_any_two_states_come_to_an_end() {
    let states = [
        MetaFlags::NONE,
        MetaFlags::CONSISTENT,
        MetaFlags::CONSISTENT.with(MetaFlags::WAS_UP_TO_DATE, true),
        MetaFlags::CONSISTENT
            .with(MetaFlags::WAS_UP_TO_DATE, true)
            .with(MetaFlags::PEER_OUT_DATED, true),
    ];
    let mut outcomes = [0; 2];
    for own in states {
        for peer in states {
            for written in [&[][..], &BLOCKS] {
                for force in [None, Some(A), Some(B)] {
                    let mut pair = apart(written);
                    pair.secondary(A);
                    for (n, flags) in [(A, own), (B, peer)] {
                        pair.ask(
                            n,
                            Request::Detach {
                                volume: 0,
                                force: false,
                            },
                        );
                        let kept = pair.nodes[n].disk.superblock.flags.bits();
                        let clear = MetaFlags::CONSISTENT
                            .with(MetaFlags::WAS_UP_TO_DATE, true)
                            .with(MetaFlags::PEER_OUT_DATED, true);
                        let flags = MetaFlags::from_bits(kept & !clear.bits() | flags.bits());
                        pair.nodes[n].disk.superblock.flags = flags;
                        pair.attach(n);
                    }
                    pair.connect();
                    pair.pass(700);
                    pair.pass(700);
                    let place = format!("{own:?} {peer:?} {} {force:?}", written.len());
                    if let Some(n) = force {
                        let connected = pair.nodes[n].state().conn == ConnState::Connected;
                        let inconsistent = pair.nodes[n].state().disk == DiskState::Inconsistent;
                        if connected && inconsistent {
                            pair.force_primary(n);
                        }
                    }
                    pair.wait(&place, |pair| {
                        let settled = |n: usize| {
                            matches!(
                                pair.nodes[n].state().conn,
                                ConnState::Connected
                                    | ConnState::StandAlone
                                    | ConnState::WFConnection
                            )
                        };
                        settled(A) && settled(B)
                    });
                    assert!(pair.links <= 2, "{place}: {}", pair.report());
                    let state = pair.nodes[A].state();
                    if (state.disk, state.pdsk) == (DiskState::UpToDate, DiskState::UpToDate)
                        && state.conn == ConnState::Connected
                    {
                        pair.wait_synced();
                        outcomes[0] += 1;
                    } else {
                        // Nobody has data that can be trusted.
                        assert!(
                            own == MetaFlags::NONE && peer == MetaFlags::NONE,
                            "{place}: {}",
                            pair.report()
                        );
                        outcomes[1] += 1;
                    }
                }
            }
        }
    }
    assert!(outcomes[0] > 80 && outcomes[1] > 0, "{outcomes:?}");
}

/// A Primary without a disk changes its role again and again; its disk returns, and the peer's goes and returns: no split brain, and
/// one of the two is the source (regression 24).
#[test]
fn roles_of_a_diskless_node_make_no_split_brain() {
    let mut pair = Pair::synced();
    let detach = Request::Detach {
        volume: 0,
        force: false,
    };
    pair.ask(A, detach);
    for block in 0..3 {
        pair.write(A, block);
        pair.secondary(A);
        pair.primary(A);
    }
    pair.attach(A);
    pair.wait_synced();
    pair.ask(B, detach);
    pair.write(A, 9);
    pair.secondary(A);
    pair.primary(A);
    pair.attach(B);
    pair.wait_synced();
    pair.secondary(A);
    for n in [A, B] {
        pair.ask(n, detach);
        pair.attach(n);
        pair.wait_synced();
    }
    pair.break_link();
    pair.wait_synced();
    assert!(!pair.nodes.iter().any(|node| node.saw_split_brain()));
}

/// Equal generations do not prove equal data: bits that are set stay set (regressions 9 and 10).
#[test]
fn no_handshake_drops_bits() {
    let mut pair = Pair::synced();
    pair.secondary(A);
    pair.disconnect();
    let detach = Request::Detach {
        volume: 0,
        force: false,
    };
    pair.ask(A, detach);
    pair.nodes[A].disk.bitmap[3] = 0b1011;
    pair.attach(A);
    pair.connect();
    assert_eq!(pair.nodes[A].rows().last(), Some(&"40"));
    assert_eq!(pair.nodes[A].volume().out_of_sync(), 3);
    // They are copied by the first resync that comes.
    pair.break_link();
    assert_eq!(pair.nodes[A].volume().out_of_sync(), 3);
    pair.primary(A);
    pair.ask(A, Request::Disconnect { force: false });
    pair.connect();
    pair.wait_synced();
    assert_eq!(pair.nodes[B].resynced, SECTORS / 8 + 3);
}

/// A pause, on either node or both, holds the resync and is named; blocks that are written behind its back are copied (regression 37).
#[test]
fn a_resync_is_paused_from_both_sides() {
    let mut pair = apart(&BLOCKS);
    let (pause, resume) = (
        Request::PauseSync { volume: 0 },
        Request::ResumeSync { volume: 0 },
    );
    pair.ask(A, pause);
    pair.ask(B, pause);
    pair.connect();
    pair.wait("paused", |pair| {
        pair.nodes[B].state().conn == ConnState::PausedSyncT
    });
    assert_eq!(pair.nodes[A].state().conn, ConnState::PausedSyncS);
    let limit = |pair: &Pair, n: usize| pair.nodes[n].volume().resync_limit();
    assert_eq!(limit(&pair, A), Some(Limit::PausedHere));
    assert_eq!(limit(&pair, B), Some(Limit::PausedHere));
    pair.pass(5000);
    assert_eq!(pair.nodes[B].resynced, 0);
    pair.ask(B, resume);
    assert_eq!(pair.nodes[B].state().conn, ConnState::PausedSyncT);
    assert_eq!(limit(&pair, B), Some(Limit::PausedByPeer));
    pair.write(A, 2);
    pair.pass(5000);
    assert_eq!(pair.nodes[B].resynced, 0);
    pair.ask(A, resume);
    pair.wait_synced();
    assert!(pair.try_ask(A, resume).is_err());
    assert_eq!(limit(&pair, A), None);
}

/// A resync that goes after another one begins paused, and both nodes know why.
#[test]
fn a_resync_waits_for_another_one() {
    let mut pair = apart(&BLOCKS);
    pair.resync_waits(A, true);
    pair.connect();
    pair.wait("paused", |pair| {
        pair.nodes[B].state().conn == ConnState::PausedSyncT
    });
    let limit = |pair: &Pair, n: usize| pair.nodes[n].volume().resync_limit();
    assert_eq!(limit(&pair, A), Some(Limit::PausedForOther));
    assert_eq!(limit(&pair, B), Some(Limit::PausedByPeer));
    pair.pass(5000);
    assert_eq!(pair.nodes[B].resynced, 0);
    pair.resync_waits(A, false);
    pair.wait_synced();
}

/// A disk that has nothing in common with the peer's is refused by both: it does not negotiate for ever, whoever is Primary.
#[test]
fn a_foreign_disk_is_refused_by_both() {
    for primary in [None, Some(A), Some(B)] {
        let mut pair = Pair::synced();
        pair.secondary(A);
        if let Some(n) = primary {
            pair.primary(n);
        }
        pair.ask(
            A,
            Request::Detach {
                volume: 0,
                force: false,
            },
        );
        let superblock = &mut pair.nodes[A].disk.superblock;
        superblock.current_uuid = 0x1111_2222;
        superblock.bitmap_uuid = 0;
        superblock.history_uuids = [0x3333_4444, 0x5555_6666];
        let before = *superblock;
        pair.attach(A);
        pair.wait("the attach is over", |pair| {
            pair.nodes[A].state().disk == DiskState::Diskless
        });
        assert_eq!(
            pair.nodes[A].disk.superblock.current_uuid & !1,
            before.current_uuid
        );
        let state = pair.nodes[B].state();
        assert_eq!(
            (state.disk, state.pdsk),
            (DiskState::UpToDate, DiskState::Diskless)
        );
        assert_eq!(state.conn, ConnState::Connected);
        for n in [A, B] {
            assert_eq!(
                pair.nodes[n].rows().last(),
                Some(&"none"),
                "{}",
                pair.report()
            );
        }
    }
}
