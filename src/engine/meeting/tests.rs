// SPDX-License-Identifier: GPL-2.0

//! The whole handshake, from both sides.

use super::*;
use crate::decision::TABLE;
use crate::generation::Generation;
use crate::wire::UUID_SYNC_OFFSET;
use std::collections::BTreeSet;
use std::vec::Vec;
use AfterSplitBrain as P;

impl Encounter {
    /// The same encounter as the other node sees it.
    fn mirrored(&self) -> Self {
        Self {
            meeting: self.meeting.mirrored(),
            own_disk: self.peer_disk,
            peer_disk: self.own_disk,
            own_dirty: self.peer_dirty,
            peer_dirty: self.own_dirty,
            discard_own: self.discard_peer,
            discard_peer: self.discard_own,
            policies: self.policies.map(AfterSplitBrain::mirrored),
            always: self.always,
        }
    }
}

fn uuids(current: u64, bitmap: u64, younger: u64, older: u64) -> Generation {
    Generation {
        current,
        bitmap,
        history: [younger, older],
    }
}

/// Identifiers for every row of the table that does not ask for roles or crashes.
fn pairs() -> Vec<(Generation, Generation)> {
    let x = UUID_SYNC_OFFSET;
    let one_way = [
        (uuids(4, 0, 0, 0), uuids(4, 0, 0, 0)),
        (uuids(4, 0, 0, 0), uuids(100, 4, 0, 0)),
        (uuids(100, 20, 30, 40), uuids(100, 0, 20, 30)),
        (uuids(100, 20, 30, 40), uuids(100, 0, 50, 60)),
        (uuids(100, 0, 50, 60), uuids(100, 0, 50, 60)),
        (uuids(100, 0, 2, 6), uuids(200, 100, 2, 6)),
        (uuids(100, 0, 2, 6), uuids(200, 100 + x, 100, 2)),
        (uuids(100, 0, 2, 6), uuids(200, 0, 100, 2)),
        (uuids(200, 100, 2, 6), uuids(300, 100, 2, 6)),
        (uuids(200, 101, 2, 6), uuids(300, 100, 2, 6)),
        (uuids(200, 101, 2, 6), uuids(300, 101, 2, 6)),
        (uuids(200, 150, 60, 8), uuids(300, 0, 12, 60)),
        (uuids(200, 151, 60, 8), uuids(300, 0, 12, 60)),
        (uuids(200, 2, 60, 8), uuids(300, 12, 70, 16)),
    ];
    let other_way = one_way.map(|(a, b)| (b, a));
    one_way.into_iter().chain(other_way).collect()
}

const DISKS: [DiskState; 5] = [
    DiskState::Negotiating,
    DiskState::Inconsistent,
    DiskState::Outdated,
    DiskState::Consistent,
    DiskState::UpToDate,
];

/// Every row of the table, with all roles, crashes, disk states, numbers of dirty blocks and policies.
fn each_encounter(mut f: impl FnMut(&Encounter)) {
    let zero = [
        P::Disconnect,
        P::DiscardYoungerPrimary,
        P::DiscardOlderPrimary,
        P::DiscardZeroChanges,
        P::DiscardLeastChanges,
        P::DiscardLocal,
        P::DiscardRemote,
    ];
    let one = [
        P::Disconnect,
        P::Consensus,
        P::DiscardSecondary,
        P::CallPrimaryLost,
        P::ViolentlyAsZeroPrimaries,
    ];
    let two = [
        P::Disconnect,
        P::CallPrimaryLost,
        P::ViolentlyAsZeroPrimaries,
    ];
    let mut policies = Vec::new();
    for zero in zero {
        policies.extend(one.map(|one| [zero, one, P::Disconnect]));
        policies.extend(two.map(|two| [zero, P::Disconnect, two]));
    }
    for (own, peer) in pairs() {
        for bits in 0..64u32 {
            let bit = |n: u32| bits & (1 << n) != 0;
            let meeting = Meeting {
                own,
                peer,
                own_crashed: bit(0),
                peer_crashed: bit(1),
                own_primary: bit(2),
                peer_primary: bit(3),
                resolve: bit(4),
                feature_wsame: !bit(5),
            };
            let splits = matches!(compare(&meeting).verdict, Verdict::SplitBrain { .. });
            for own_disk in DISKS {
                for peer_disk in DISKS {
                    let base = Encounter {
                        meeting,
                        own_disk,
                        peer_disk,
                        own_dirty: 0,
                        peer_dirty: 0,
                        discard_own: false,
                        discard_peer: false,
                        policies: [P::Disconnect; 3],
                        always: false,
                    };
                    // The disk states have the last word before anything is done about a split brain.
                    if !splits || settle(&base).step == Step::DiskState || own_disk != peer_disk {
                        f(&base);
                        continue;
                    }
                    for policies in &policies {
                        for variant in 0..48u64 {
                            let (dirty, rest) = (variant % 8, variant / 8);
                            f(&Encounter {
                                policies: *policies,
                                own_dirty: dirty / 3,
                                peer_dirty: dirty % 3,
                                discard_own: rest % 3 == 1,
                                discard_peer: rest % 3 == 2,
                                always: rest / 3 == 1,
                                ..base
                            });
                        }
                    }
                }
            }
        }
    }
}

/// The two nodes of a handshake never disagree about what happens to their data.
#[test]
fn settlements_are_mirrored() {
    let (mut rows, mut steps) = (BTreeSet::new(), Vec::new());
    each_encounter(|e| {
        let (here, there) = (settle(e), settle(&e.mirrored()));
        assert_eq!(
            (here.verdict, here.step),
            (there.verdict.mirrored(), there.step),
            "{e:?}"
        );
        rows.insert(here.decision.row);
        if !steps.contains(&here.step) {
            steps.push(here.step);
        }
    });
    for row in TABLE {
        assert!(
            rows.contains(row.name),
            "row {} was never reached",
            row.name
        );
    }
    for step in Step::ALL {
        if step == Step::Answer {
            // That comes later.
            continue;
        }
        assert!(steps.contains(&step), "{step:?} was never reached");
    }
}

/// A copy by bitmap needs a bitmap that counts from a common generation; else blocks stay different that both nodes call equal
/// afterwards. Split brain without one ends in a full resync, whoever resolves it.
#[test]
fn no_bitmap_is_trusted_beyond_its_generation() {
    each_encounter(|e| {
        let settled = settle(e);
        let deep = settled.decision.verdict == Verdict::SplitBrain { automatic: false };
        let by_bitmap = matches!(
            settled.verdict,
            Verdict::Source { full: false } | Verdict::Target { full: false }
        );
        assert!(!(deep && by_bitmap), "{e:?}");
    });
}

/// A node whose disk is Inconsistent gives nothing to one whose disk is better.
#[test]
fn an_inconsistent_disk_is_never_the_source_of_a_better_one() {
    each_encounter(|e| {
        let bad = e.own_disk == DiskState::Inconsistent && e.peer_disk > DiskState::Inconsistent;
        let source = matches!(settle(e).verdict, Verdict::Source { .. });
        assert!(!(bad && source), "{e:?}");
    });
}
