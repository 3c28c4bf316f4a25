// SPDX-License-Identifier: GPL-2.0

//! The decision table, row by row and as a whole.

use super::*;

const FRESH: u64 = UUID_JUST_CREATED;

fn uuids(current: u64, bitmap: u64, younger: u64, older: u64) -> Generation {
    Generation {
        current,
        bitmap,
        history: [younger, older],
    }
}

fn meeting(own: Generation, peer: Generation) -> Meeting {
    Meeting {
        own,
        peer,
        own_crashed: false,
        peer_crashed: false,
        own_primary: false,
        peer_primary: false,
        resolve: false,
        feature_wsame: true,
    }
}

fn mirrored(m: &Meeting) -> Meeting {
    Meeting {
        own: m.peer,
        peer: m.own,
        own_crashed: m.peer_crashed,
        peer_crashed: m.own_crashed,
        own_primary: m.peer_primary,
        peer_primary: m.own_primary,
        resolve: !m.resolve,
        feature_wsame: m.feature_wsame,
    }
}

/// Every rule of the table, in its order: identifiers, rule, verdict.
#[test]
fn rows() {
    let x = UUID_SYNC_OFFSET;
    let source = Verdict::Source { full: false };
    let target = Verdict::Target { full: false };
    #[rustfmt::skip]
    let rows = [
        (uuids(FRESH, 0, 0, 0), uuids(FRESH, 0, 0, 0), 10, Verdict::NoSync),
        (uuids(FRESH, 0, 0, 0), uuids(100, FRESH, 0, 0), 20, Verdict::Target { full: true }),
        (uuids(0, 0, 0, 0), uuids(100, 0, 0, 0), 20, Verdict::Target { full: true }),
        (uuids(101, FRESH, 0, 0), uuids(FRESH, 0, 0, 0), 30, Verdict::Source { full: true }),
        (uuids(100, 20, 30, 40), uuids(100, 0, 20, 30), 34, source),
        (uuids(100, 0, 20, 30), uuids(100, 20, 30, 40), 35, target),
        (uuids(100, 20, 30, 40), uuids(100, 0, 50, 60), 36, source),
        (uuids(100, 0, 50, 60), uuids(100, 20, 30, 40), 37, target),
        (uuids(100, 0, 50, 60), uuids(101, 0, 50, 60), 40, Verdict::NoSync),
        (uuids(100, 0, 0, 0), uuids(200, 101, 0, 0), 50, target),
        (uuids(100, 0, 0, 0), uuids(200, 100 + x, 100, 0), 51, target),
        (uuids(100, 0, 0, 0), uuids(200, 0, 100, 0), 60, Verdict::Target { full: true }),
        (uuids(100, 0, 0, 0), uuids(200, 0, 60, 101), 60, Verdict::Target { full: true }),
        (uuids(200, 101, 0, 0), uuids(100, 0, 0, 0), 70, source),
        (uuids(200, 100 + x, 100, 0), uuids(100, 0, 0, 0), 71, source),
        (uuids(200, 0, 60, 101), uuids(100, 0, 0, 0), 80, Verdict::Source { full: true }),
        (uuids(200, 100, 2, 0), uuids(300, 101, 4, 0), 90, Verdict::SplitBrain { automatic: true }),
        (uuids(200, 0, 60, 8), uuids(300, 0, 12, 60), 100, Verdict::SplitBrain { automatic: false }),
        // Empty history slots are equal: two strangers look like a split brain.
        (uuids(200, 0, 60, 0), uuids(300, 0, 70, 0), 100, Verdict::SplitBrain { automatic: false }),
        (uuids(200, 2, 60, 8), uuids(300, 12, 70, 16), 0, Verdict::Unrelated),
    ];
    for (own, peer, rule, verdict) in rows {
        let decision = compare(&meeting(own, peer));
        assert_eq!(
            (decision.rule, decision.verdict),
            (rule, verdict),
            "{own:?} {peer:?}"
        );
    }
}

/// Crashed Primaries with equal data (rules 40 and 41).
#[test]
fn crashed_primaries() {
    let equal = uuids(100, 0, 2, 6);
    let source = Verdict::Source { full: false };
    let target = Verdict::Target { full: false };
    #[rustfmt::skip]
    let rows = [
        // own crashed, peer crashed, own primary, peer primary, resolve: rule, verdict
        (true, false, false, false, false, 40, source),
        (false, true, false, false, false, 40, target),
        (true, true, false, false, true, 40, target),
        (true, true, false, false, false, 40, source),
        (true, false, true, false, false, 41, source),
        (true, false, false, true, false, 41, target),
        (false, true, true, true, false, 41, Verdict::SplitBrain { automatic: false }),
    ];
    for (own_crashed, peer_crashed, own_primary, peer_primary, resolve, rule, verdict) in rows {
        let m = Meeting {
            own_crashed,
            peer_crashed,
            own_primary,
            peer_primary,
            resolve,
            ..meeting(equal, equal)
        };
        let decision = compare(&m);
        assert_eq!((decision.rule, decision.verdict), (rule, verdict), "{m:?}");
        let old_peer = Meeting {
            feature_wsame: false,
            ..m
        };
        if rule == 41 {
            assert_eq!(compare(&old_peer).verdict, Verdict::NeedsFeature("WSAME"));
        }
    }
}

/// Both nodes evaluate the table on their own: whatever the identifiers, they must come to mirrored results, else both wait
/// for each other, or worse.
#[test]
fn verdicts_are_symmetric() {
    let x = UUID_SYNC_OFFSET;
    let values = [0, FRESH, 10, 20, 20 + x];
    let mut sets = std::vec::Vec::new();
    for current in values {
        for bitmap in values {
            for younger in values {
                for older in values {
                    sets.push(uuids(current, bitmap, younger, older));
                }
            }
        }
    }
    // A generation does not descend from itself, and two do not descend from each other.
    let ancestors = |g: &Generation| [g.bitmap, g.history[0], g.history[1]];
    sets.retain(|g| {
        let [a, b, c] = ancestors(g);
        let differ = |x: u64, y: u64| x == 0 || x != y;
        let own = g.current == 0 || !ancestors(g).contains(&g.current);
        own && differ(a, b) && differ(b, c) && differ(a, c)
    });
    for own in &sets {
        for peer in &sets {
            let circular =
                ancestors(own).contains(&peer.current) && ancestors(peer).contains(&own.current);
            if circular && own.current != peer.current {
                continue;
            }
            // Never seen by anybody (specification, open point 5).
            if own.current == 0 && peer.current == 0 {
                continue;
            }
            for bits in 0..16u8 {
                let m = Meeting {
                    own_crashed: bits & 1 != 0,
                    peer_crashed: bits & 2 != 0,
                    own_primary: bits & 4 != 0,
                    peer_primary: bits & 8 != 0,
                    ..meeting(*own, *peer)
                };
                let (here, there) = (compare(&m), compare(&mirrored(&m)));
                assert_eq!(
                    here.verdict,
                    there.verdict.mirrored(),
                    "{m:?}: {here:?} {there:?}"
                );
            }
        }
    }
}

/// The life cycle of metadata.md section 7.2: first use, disconnect, resync.
#[test]
fn life_cycle() {
    let (mut a, mut b) = (Generation::JUST_CREATED, Generation::JUST_CREATED);
    a.mint(0x1000, true);
    assert_eq!(a, uuids(0x1001, FRESH, 0, 0));
    let told = a;
    let sync = a.make_sync_uuid(0x2000);
    assert_eq!(a, uuids(0x1001, 0x2000, FRESH, 0));
    b.set_current(sync, false);
    b.bitmap = 0;
    b.finish_target(&told, false);
    a.finish_source();
    assert_eq!(a, uuids(0x1001, 0, 0x2000, FRESH));
    assert_eq!(b, uuids(0x1000, 0, 0x2000, FRESH));
    a.mint(0x3000, true);
    assert_eq!(a, uuids(0x3001, 0x1001, 0x2000, FRESH));
    assert_eq!(compare(&meeting(a, b)).rule, 70);
    assert_eq!(compare(&meeting(b, a)).rule, 50);
}

/// A lost end of a resync, or a lost sync UUID, is repaired by the next meeting.
#[test]
fn corrections() {
    let mut own = uuids(100, 20, 30, 40);
    let mut peer = uuids(100, 0, 20, 30);
    let decision = compare(&meeting(own, peer));
    assert_eq!(decision.correction, Some(Correction::OwnMissedEnd));
    assert!(Correction::OwnMissedEnd.apply(&mut own, &mut peer));
    assert_eq!(own, uuids(100, 0, 20, 30));

    let mut own = uuids(200, 100 + UUID_SYNC_OFFSET, 100, 8);
    assert!(Correction::OwnBeforeSync.apply(&mut own, &mut peer));
    assert_eq!(own, uuids(200, 100, 8, 8));
}
