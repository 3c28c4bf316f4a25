// SPDX-License-Identifier: GPL-2.0

//! Split brain: found by both nodes, and resolved as both were told (wire protocol, sections 8.4 and 8.7).

mod pair;

use pair::{is_primary, Fault, Node, Pair, A, B};
use rdb_engine::admin::Request;
use rdb_engine::handler::Handler;
use rdb_engine::link::NetOptions;
use rdb_engine::wire::{AfterSplitBrain as P, ConnState, DiskState};

fn policies(zero: P, one: P, two: P) -> (NetOptions, NetOptions) {
    let policies = [zero, one, two];
    let own = NetOptions {
        after_split_brain: policies,
        ..NetOptions::default()
    };
    let peer = NetOptions {
        after_split_brain: policies.map(P::mirrored),
        ..own
    };
    (own, peer)
}

/// Connects a split pair under these policies; returns whose data survived, if they did.
fn survivor(mut pair: Pair, (a, b): (NetOptions, NetOptions)) -> (Pair, Option<usize>) {
    let marks = [A, B].map(|n| pair.nodes[n].disk.sectors[800 * (n + 1)]);
    pair.connect_with(a, b);
    pair.wait("settled", |pair| {
        let settled = |node: &Node| {
            let s = node.state();
            s.conn == ConnState::StandAlone
                || s.conn == ConnState::Connected && s.disk == DiskState::UpToDate
        };
        pair.nodes.iter().all(settled) && pair.now > 3000
    });
    if pair.nodes[A].state().conn == ConnState::StandAlone {
        return (pair, None);
    }
    pair.wait_synced();
    let [has_a, has_b] = [A, B].map(|n| pair.nodes[A].disk.sectors[800 * (n + 1)] == marks[n]);
    assert_ne!(has_a, has_b, "exactly one side's data survive");
    (pair, Some(if has_a { A } else { B }))
}

#[test]
fn both_find_out_and_stay_apart() {
    let (pair, winner) = survivor(Pair::split(), Default::default());
    assert_eq!(winner, None);
    for node in &pair.nodes {
        assert!(node.saw_split_brain());
        assert_eq!(node.rows(), ["90"]);
        assert_eq!(
            node.handlers,
            [Handler::InitialSplitBrain, Handler::SplitBrain]
        );
    }
}

/// Whoever decides first must not take from the other what it needs to decide, too.
#[test]
fn a_slow_sender_is_not_cut_off() {
    for slow in [A, B] {
        let mut pair = Pair::split();
        pair.nodes[slow].mute = true;
        pair.connect();
        pair.pass(10);
        assert!(pair.nodes[slow].saw_split_brain(), "{}", pair.report());
        assert!(!pair.nodes[1 - slow].saw_split_brain());
        pair.nodes[slow].mute = false;
        pair.wait_alone();
        assert!(pair.nodes[1 - slow].saw_split_brain(), "{}", pair.report());
    }
}

/// The link dies after any packet of the handshake: in the end both know.
#[test]
fn both_find_out_whenever_the_link_dies() {
    for after in 0.. {
        let mut pair = Pair::split();
        pair.fuse = Some((after, Fault::Break));
        pair.connect();
        pair.wait("found out", |pair| {
            pair.nodes.iter().any(Node::saw_split_brain)
        });
        let done = pair.fuse.is_some();
        pair.pass(600);
        pair.pass(600);
        // Who was told all and lost the link before the peer said so has given up; it is asked to connect again.
        pair.connect();
        pair.wait_alone();
        for node in &pair.nodes {
            assert!(node.saw_split_brain(), "after {after}: {}", pair.report());
        }
        if done {
            assert!(after > 6, "the handshake has more packets than {after}");
            return;
        }
    }
}

#[test]
fn policies_without_a_primary() {
    let cases = [
        (P::Disconnect, None),
        (P::DiscardZeroChanges, None),
        (P::DiscardLeastChanges, Some(B)),
        (P::DiscardLocal, Some(B)),
        (P::DiscardRemote, Some(A)),
        // Both were Primary when they parted from the other: nobody is younger, B has more changes.
        (P::DiscardYoungerPrimary, Some(B)),
        (P::DiscardOlderPrimary, Some(B)),
    ];
    for (policy, expected) in cases {
        let (pair, winner) = survivor(
            Pair::split(),
            policies(policy, P::Disconnect, P::Disconnect),
        );
        assert_eq!(winner, expected, "{policy:?}; {}", pair.report());
        // By bitmap: no more than what either has changed.
        let copied: u64 = pair.nodes.iter().map(|node| node.resynced).sum();
        assert_eq!(copied, if expected.is_some() { 3 } else { 0 }, "{policy:?}");
    }
}

/// The younger Primary is the one that was promoted while the other one was Primary or had been.
#[test]
fn younger_and_older_primaries() {
    for (policy, expected) in [
        (P::DiscardYoungerPrimary, Some(A)),
        (P::DiscardOlderPrimary, Some(B)),
    ] {
        let mut pair = Pair::synced();
        // A is Primary when the link breaks, B is promoted later.
        pair.disconnect();
        pair.write(A, 100);
        pair.secondary(A);
        pair.primary(B);
        pair.write(B, 200);
        pair.write(B, 201);
        pair.secondary(B);
        assert_eq!(pair.nodes[A].generation().bitmap & 1, 1);
        assert_eq!(pair.nodes[B].generation().bitmap & 1, 0);
        let (pair, winner) = survivor(pair, policies(policy, P::Disconnect, P::Disconnect));
        assert_eq!(winner, expected, "{policy:?}; {}", pair.report());
    }
}

#[test]
fn policies_with_one_primary() {
    // B has more changes: without a Primary it would win.
    let least = P::DiscardLeastChanges;
    let cases = [
        (P::Disconnect, A, None),
        (P::DiscardSecondary, A, Some(A)),
        (P::DiscardSecondary, B, Some(B)),
        (P::Consensus, A, None),
        (P::Consensus, B, Some(B)),
        // A gives up its role, and is synced.
        (P::CallPrimaryLost, A, Some(B)),
        (P::CallPrimaryLost, B, Some(B)),
        (P::ViolentlyAsZeroPrimaries, B, Some(B)),
    ];
    for (policy, primary, expected) in cases {
        let mut pair = Pair::split();
        pair.primary(primary);
        let (pair, winner) = survivor(pair, policies(least, policy, P::Disconnect));
        assert_eq!(winner, expected, "{policy:?} {primary}; {}", pair.report());
        let keeps = (policy, primary) != (P::CallPrimaryLost, A);
        assert_eq!(is_primary(&pair.nodes[primary]), keeps, "{policy:?}");
    }
}

/// A Primary that is in use cannot give up its role: its administrator is called, and the link is dropped.
#[test]
fn a_primary_in_use_is_not_demoted() {
    let mut pair = Pair::split();
    pair.primary(A);
    pair.nodes[A].engine.set_open(0, 0, 1);
    let (a, b) = policies(P::DiscardLeastChanges, P::CallPrimaryLost, P::Disconnect);
    pair.connect_with(a, b);
    pair.wait("dropped", |pair| {
        pair.nodes[A].state().conn == ConnState::StandAlone
    });
    assert!(is_primary(&pair.nodes[A]));
    assert!(pair.nodes[A].called(Handler::PrimaryLostAfterSplitBrain));
    assert_ne!(pair.nodes[B].state().disk, DiskState::Inconsistent);
}

/// What a policy takes no regard of, `rr-conflict` does: a Primary is not synced under its feet, unless that is asked for.
#[test]
fn a_primary_becomes_target_only_by_force() {
    let split = || {
        let mut pair = Pair::split();
        pair.primary(A);
        pair
    };
    let least = P::DiscardLeastChanges;
    let (a, b) = policies(least, P::ViolentlyAsZeroPrimaries, P::Disconnect);
    let mut pair = split();
    pair.connect_with(a, b);
    pair.wait("dropped", |pair| {
        pair.nodes[A].state().conn == ConnState::StandAlone
    });
    assert!(is_primary(&pair.nodes[A]));
    assert_eq!(pair.nodes[A].resynced, 0);
    let violently = |net| NetOptions {
        rr_conflict_violently: true,
        ..net
    };
    let (pair, winner) = survivor(split(), (violently(a), violently(b)));
    assert_eq!(winner, Some(B));
    assert!(is_primary(&pair.nodes[A]));
}

fn discarding() -> NetOptions {
    NetOptions {
        discard_my_data: true,
        ..NetOptions::default()
    }
}

/// The permission to discard the own data holds for one split brain, not for the next one.
#[test]
fn discard_my_data_counts_once() {
    let (mut pair, winner) = survivor(Pair::split(), (discarding(), NetOptions::default()));
    assert_eq!(winner, Some(B));
    assert_eq!(pair.nodes[A].resynced, 3);
    // The link breaks, and both nodes are in use on their own.
    pair.cut = true;
    pair.break_link();
    for n in [A, B] {
        pair.primary(n);
        pair.write(n, 300 + n as u64);
        pair.secondary(n);
    }
    pair.cut = false;
    pair.wait_alone();
    for node in &pair.nodes {
        assert!(node.saw_split_brain(), "{}", pair.report());
    }
}

#[test]
fn a_primary_does_not_discard() {
    let mut pair = Pair::split();
    pair.primary(A);
    let refused = pair.try_ask(A, Request::Connect(discarding()));
    assert_eq!(refused.map_err(|refusal| refusal.code), Err(123));
}

/// A promotion while the node waits for its peer takes the permission back.
#[test]
fn promotion_ends_the_permission_to_discard() {
    let mut pair = Pair::split();
    pair.ask(A, Request::Connect(discarding()));
    pair.primary(A);
    pair.write(A, 100);
    pair.ask(B, Request::Connect(NetOptions::default()));
    pair.wait_alone();
    assert!(pair.nodes.iter().all(Node::saw_split_brain));
}

/// Both went on alone twice: their bitmaps count from different generations, and neither tells all blocks that differ. Whoever gives
/// up its data gets all of the other's.
#[test]
fn a_deep_split_brain_ends_in_a_full_resync() {
    let deep = || {
        let mut pair = Pair::split();
        for (n, block) in [(A, 500), (B, 600)] {
            // What a third node, or a restored disk, would leave behind: a newer bitmap UUID.
            pair.ask(
                n,
                Request::NewCurrentUuid {
                    volume: 0,
                    clear_bitmap: false,
                },
            );
            pair.primary(n);
            pair.write(n, block);
            pair.secondary(n);
        }
        pair
    };
    let (pair, winner) = survivor(deep(), (discarding(), NetOptions::default()));
    assert_eq!(pair.nodes[A].rows(), ["100"], "{}", pair.report());
    assert_eq!(winner, Some(B));
    assert_eq!(pair.nodes[A].resynced, pair::SECTORS / 8);

    let (a, b) = policies(P::DiscardRemote, P::Disconnect, P::Disconnect);
    let (_, winner) = survivor(deep(), (a, b));
    assert_eq!(winner, None, "policies are for a common bitmap");
    let always = |net| NetOptions {
        always_after_split_brain: true,
        ..net
    };
    let (pair, winner) = survivor(deep(), (always(a), always(b)));
    assert_eq!(winner, Some(A));
    assert_eq!(pair.nodes[B].resynced, pair::SECTORS / 8);
}
