// SPDX-License-Identifier: GPL-2.0

//! The decision table, row by row and as a whole.

use super::*;
use std::collections::BTreeMap;
use std::vec::Vec;

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

/// All identifiers over a small alphabet: nothing, fresh, a generation, another one, its sync UUID, and an odd one whose identity
/// is 0.
fn all_sets() -> Vec<Generation> {
    let values = [0, 1, FRESH, 10, 20, 20 + UUID_SYNC_OFFSET];
    let mut sets = Vec::new();
    for current in values {
        for bitmap in values {
            for younger in values {
                for older in values {
                    sets.push(uuids(current, bitmap, younger, older));
                }
            }
        }
    }
    sets
}

/// Calls `f` with every meeting of `own` and `peer`; roles and crashes play a part only if the generations are equal.
fn with_roles(own: Generation, peer: Generation, mut f: impl FnMut(&Meeting)) {
    for bits in 0..64u32 {
        let crashed = bits & 3 != 0;
        if bits > 0 && !(crashed && same(own.current, peer.current)) {
            continue;
        }
        let mut m = Meeting {
            own_crashed: bits & 1 != 0,
            peer_crashed: bits & 2 != 0,
            own_primary: bits & 4 != 0,
            peer_primary: bits & 8 != 0,
            feature_wsame: bits & 16 == 0,
            resolve: bits & 32 != 0,
            ..meeting(own, peer)
        };
        m.own.set_current(own.current, m.own_primary);
        m.peer.set_current(peer.current, m.peer_primary);
        f(&m);
    }
}

/// Both nodes evaluate the table on their own: whatever the identifiers, they must come to mirrored results, else both wait
/// for each other, or worse; and having corrected what the row says, they must still know the same of each other.
#[test]
fn verdicts_are_mirrored() {
    let sets = all_sets();
    let mut hits: BTreeMap<&str, u64> = BTreeMap::new();
    for (index, own) in sets.iter().enumerate() {
        for peer in &sets[index..] {
            with_roles(*own, *peer, |m| {
                let (here, there) = (compare(m), compare(&m.mirrored()));
                assert_eq!(
                    here.verdict,
                    there.verdict.mirrored(),
                    "{m:?}: {here:?} {there:?}"
                );
                let (mut own_here, mut peer_here) = (m.own, m.peer);
                let (mut own_there, mut peer_there) = (m.peer, m.own);
                if let Some(correction) = here.correction {
                    correction.apply(&mut own_here, &mut peer_here);
                }
                if let Some(correction) = there.correction {
                    correction.apply(&mut own_there, &mut peer_there);
                }
                assert_eq!((own_here, peer_here), (peer_there, own_there), "{m:?}");
                *hits.entry(here.row).or_default() += 1;
                *hits.entry(there.row).or_default() += 1;
            });
        }
    }
    for row in TABLE.iter().chain([&CONTRADICTION]) {
        assert!(
            hits.contains_key(row.name),
            "row {} was never reached",
            row.name
        );
    }
}

/// The table itself is mirror-symmetric wherever no node holds what the other one calls an ancestor: only then is it looked at from
/// the other side, too.
#[test]
fn only_circular_ancestry_contradicts() {
    let ancestors = |g: &Generation| [g.bitmap, g.history[0], g.history[1]].map(|uuid| uuid & !1);
    let descends = |a: &Generation, b: &Generation| ancestors(a).contains(&(b.current & !1));
    // Identifiers that a node can have: no generation twice; 1 is no identifier (its identity is that of nothing).
    let possible = |g: &&Generation| {
        let all = [g.current, g.bitmap, g.history[0], g.history[1]];
        let twice =
            |i: usize| all[i] != 0 && all[..i].iter().any(|other| other & !1 == all[i] & !1);
        g.current != 0 && !all.contains(&1) && (0..4).all(|i| !twice(i))
    };
    let sets: Vec<_> = all_sets();
    let sets: Vec<_> = sets.iter().filter(possible).collect();
    let mut circular = 0;
    for own in &sets {
        for peer in &sets {
            with_roles(**own, **peer, |m| {
                if compare(m).row == CONTRADICTION.name {
                    assert!(descends(own, peer) && descends(peer, own), "{m:?}");
                    circular += 1;
                }
            });
        }
    }
    assert!(circular > 0, "the alphabet has circular pairs");
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

/// What the decision table says is what its documentation says.
#[test]
fn the_table_is_documented() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../Documentation/design/handshake-table.md"
    );
    let mut text = std::string::String::from(
        "# The handshake decision table\n\n\
         Printed by a test from `src/engine/decision.rs`: run `RDB_WRITE_NUMBERS=1 scripts/cargo test -p rdb-engine --lib \
         the_table_is_documented` after\na change there. Rows are tried in this order, the first that matches decides. C is the \
         current UUID, B the bitmap UUID, H0 and H1\nare the history; bit 0 does not count, but \"= 0\" looks at all bits. What \
         rows above have caught is not repeated. The kernel log\nnames the row of every handshake.\n\n\
         | row | condition | meaning | verdict | corrected first | mirror |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    let mut mirrors: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let sets = all_sets();
    for (own, peer) in sets
        .iter()
        .flat_map(|own| sets.iter().map(move |peer| (own, peer)))
    {
        with_roles(*own, *peer, |m| {
            let (here, there) = (compare(m).row, compare(&m.mirrored()).row);
            let known = mirrors.entry(here).or_default();
            if !known.contains(&there) {
                known.push(there);
                known.sort_unstable();
            }
        });
    }
    for row in TABLE.iter().chain([&CONTRADICTION]) {
        let correction = match row.correction {
            None => "",
            Some(Correction::OwnMissedEnd) => "own H1 := H0, H0 := B, B := 0",
            Some(Correction::PeerMissedEnd) => "the copy of the peer's H1 := H0, H0 := B, B := 0",
            Some(Correction::PeerBeforeSync) => "the copy of the peer's B := H0, H0 := H1",
            Some(Correction::OwnBeforeSync) => "own B := H0, H0 := H1",
        };
        text += &std::format!(
            "| {} | {} | {} | {} | {correction} | {} |\n",
            row.name,
            row.condition,
            row.meaning,
            row.verdict.text(),
            mirrors[row.name].join(", "),
        );
    }
    text += "\nAfter the table (`src/engine/meeting.rs`): if exactly one disk is Inconsistent and the other better, the better one \
             is the source.\nA split brain that is left goes to the policies (`src/engine/split_brain.rs`), then to \
             discard-my-data; if it stays, both nodes drop\nthe connection. Row \"contradiction\" is found by looking at the table \
             from both sides: no two nodes get there by themselves.\n";
    if std::env::var_os("RDB_WRITE_NUMBERS").is_some() {
        std::fs::write(path, &text).expect("the documentation can be written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "{path} differs from the table in the code; run this test once with RDB_WRITE_NUMBERS=1"
    );
}
