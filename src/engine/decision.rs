// SPDX-License-Identifier: GPL-2.0

//! What the data generations of two nodes say when they meet: the decision table (wire protocol, sections 8.5 and 8.6).
//!
//! One row is one rule, in the order of the specification; the first row that matches decides. Both nodes evaluate the table on
//! their own and must come to mirrored results. `Documentation/design/handshake-table.md` is printed from it.

use crate::generation::{Correction, Generation, IDENTITY};
use crate::wire::{UUID_JUST_CREATED, UUID_SYNC_OFFSET};

/// Outcome of a comparison, as seen from this node (section 8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Equal data, nothing to do.
    NoSync,
    /// This node is the source; `full` ignores the bitmaps.
    Source {
        /// Copy everything.
        full: bool,
    },
    /// This node is the target.
    Target {
        /// Copy everything.
        full: bool,
    },
    /// Both sides changed data on their own since the last common generation.
    SplitBrain {
        /// The after-split-brain policies may resolve it (result 100, not -100).
        automatic: bool,
    },
    /// Nothing in common.
    Unrelated,
    /// Can be decided only if both nodes know the feature.
    NeedsFeature(&'static str),
}

impl Verdict {
    /// What the other node must come to, given mirrored inputs.
    pub fn mirrored(self) -> Self {
        match self {
            Self::Source { full } => Self::Target { full },
            Self::Target { full } => Self::Source { full },
            other => other,
        }
    }

    /// In words, as seen from this node.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoSync => "no resync",
            Self::Source { full: false } => "this node is sync source",
            Self::Source { full: true } => "this node is sync source of everything",
            Self::Target { full: false } => "this node is sync target",
            Self::Target { full: true } => "this node is sync target of everything",
            Self::SplitBrain { automatic: true } => "split brain",
            Self::SplitBrain { automatic: false } => "split brain, without a common bitmap",
            Self::Unrelated => "unrelated data",
            Self::NeedsFeature(_) => "the peer is too old to decide",
        }
    }
}

/// Everything that the comparison looks at.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    /// Own identifiers.
    pub own: Generation,
    /// The peer's.
    pub peer: Generation,
    /// This node attached a disk that says "was Primary".
    pub own_crashed: bool,
    /// The peer says so of itself.
    pub peer_crashed: bool,
    /// This node is Primary now.
    pub own_primary: bool,
    /// The peer is.
    pub peer_primary: bool,
    /// This node accepted the meta stream (section 1.4).
    pub resolve: bool,
    /// Both nodes announced the feature `WSAME`, which stands for rule 41 too (section 3.3).
    pub feature_wsame: bool,
}

impl Meeting {
    /// The same meeting as the other node sees it.
    pub fn mirrored(&self) -> Self {
        Self {
            own: self.peer,
            peer: self.own,
            own_crashed: self.peer_crashed,
            peer_crashed: self.own_crashed,
            own_primary: self.peer_primary,
            peer_primary: self.own_primary,
            resolve: !self.resolve,
            feature_wsame: self.feature_wsame,
        }
    }
}

/// A verdict, the row that gave it, and its correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Number of the rule (section 8.5); 0 if none matched.
    pub rule: u16,
    /// Name of the row of the table, see [`Row::name`].
    pub row: &'static str,
    /// What the row says, see [`Row::meaning`].
    pub meaning: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// What the rule corrects.
    pub correction: Option<Correction>,
}

/// A row of the decision table.
pub struct Row {
    /// Number of the rule in the specification.
    pub rule: u16,
    /// Name of the row: the number, with a second one where a rule has several outcomes.
    pub name: &'static str,
    /// The condition as a formula: C, B, H0, H1 with a prefix for whose; what the rows above caught is not repeated.
    pub condition: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// What is corrected before the handshake goes on.
    pub correction: Option<Correction>,
    matches: fn(&Meeting) -> bool,
}

const fn same(a: u64, b: u64) -> bool {
    a & IDENTITY == b & IDENTITY
}

const fn fresh(uuid: u64) -> bool {
    same(uuid, UUID_JUST_CREATED)
}

const fn no_data(uuid: u64) -> bool {
    same(uuid, UUID_JUST_CREATED) || same(uuid, 0)
}

fn in_history(uuid: u64, of: &Generation) -> bool {
    of.history.iter().any(|&h| same(h, uuid))
}

fn same_current(m: &Meeting) -> bool {
    same(m.own.current, m.peer.current)
}

/// The older of the two lacks exactly the sync UUID that the newer one has made.
fn before_sync(older: &Generation, newer: &Generation) -> bool {
    let [last, _] = newer.history;
    same(older.current, last)
        && same(
            (last & IDENTITY).wrapping_add(UUID_SYNC_OFFSET),
            newer.bitmap,
        )
}

/// `source` still has the bitmap UUID of a resync whose end `target` knows.
fn missed_end(source: &Generation, target: &Generation) -> bool {
    let ([last, _], [peer_last, peer_older]) = (source.history, target.history);
    target.bitmap == 0
        && source.bitmap != 0
        && same(source.bitmap, peer_last)
        && same(last, peer_older)
}

const SOURCE: Verdict = Verdict::Source { full: false };
const TARGET: Verdict = Verdict::Target { full: false };
const FULL_SOURCE: Verdict = Verdict::Source { full: true };
const FULL_TARGET: Verdict = Verdict::Target { full: true };
const NONE: Option<Correction> = None;

const fn row(
    (rule, name): (u16, &'static str),
    condition: &'static str,
    meaning: &'static str,
    (verdict, correction): (Verdict, Option<Correction>),
    matches: fn(&Meeting) -> bool,
) -> Row {
    Row {
        rule,
        name,
        condition,
        meaning,
        verdict,
        correction,
        matches,
    }
}

/// The decision table of section 8.5, in its order; the first row that matches decides.
#[rustfmt::skip]
pub static TABLE: &[Row] = &[
    row((10, "10"), "own.C = 4 and peer.C = 4", "both disks are fresh",
        (Verdict::NoSync, NONE), |m| fresh(m.own.current) && fresh(m.peer.current)),
    row((20, "20"), "own.C is 4 or 0", "only the own disk is fresh",
        (FULL_TARGET, NONE), |m| no_data(m.own.current) && !fresh(m.peer.current)),
    row((30, "30"), "peer.C is 4 or 0", "only the peer's disk is fresh",
        (FULL_SOURCE, NONE), |m| !fresh(m.own.current) && no_data(m.peer.current)),
    row((34, "34"), "C equal, peer.B = 0, own.B = peer.H0, own.H0 = peer.H1", "this node was source and missed the end of the resync",
        (SOURCE, Some(Correction::OwnMissedEnd)), |m| same_current(m) && missed_end(&m.own, &m.peer)),
    row((36, "36"), "C equal, peer.B = 0, own.B not 0", "the peer failed to store the sync UUID",
        (SOURCE, NONE), |m| same_current(m) && m.peer.bitmap == 0 && m.own.bitmap != 0),
    row((35, "35"), "C equal, own.B = 0, peer.B = own.H0, peer.H0 = own.H1", "the peer was source and missed the end of the resync",
        (TARGET, Some(Correction::PeerMissedEnd)), |m| same_current(m) && missed_end(&m.peer, &m.own)),
    row((37, "37"), "C equal, own.B = 0, peer.B not 0", "this node failed to store the sync UUID",
        (TARGET, NONE), |m| same_current(m) && m.own.bitmap == 0 && m.peer.bitmap != 0),
    row((40, "40"), "C equal, no crashed Primary", "equal data",
        (Verdict::NoSync, NONE), |m| same_current(m) && !m.own_crashed && !m.peer_crashed),
    row((41, "41.1"), "C equal, a crashed Primary, a Primary, no feature WSAME", "the peer would decide otherwise",
        (Verdict::NeedsFeature("WSAME"), NONE), |m| same_current(m) && (m.own_primary || m.peer_primary) && !m.feature_wsame),
    row((41, "41.2"), "C equal, a crashed Primary, both are Primary", "a Primary crashed, and both were promoted since",
        (Verdict::SplitBrain { automatic: false }, NONE), |m| same_current(m) && m.own_primary && m.peer_primary),
    row((41, "41.3"), "C equal, a crashed Primary, own role Primary", "a Primary crashed; this node is in use",
        (SOURCE, NONE), |m| same_current(m) && m.own_primary),
    row((41, "41.4"), "C equal, a crashed Primary, peer's role Primary", "a Primary crashed; the peer is in use",
        (TARGET, NONE), |m| same_current(m) && m.peer_primary),
    row((40, "40.1"), "C equal, only this node is a crashed Primary", "this node crashed as Primary: it has the last writes",
        (SOURCE, NONE), |m| same_current(m) && m.own_crashed && !m.peer_crashed),
    row((40, "40.2"), "C equal, only the peer is a crashed Primary", "the peer crashed as Primary: it has the last writes",
        (TARGET, NONE), |m| same_current(m) && !m.own_crashed),
    row((40, "40.3"), "C equal, both are crashed Primaries, resolve flag", "both crashed as Primary; the flag decides",
        (TARGET, NONE), |m| same_current(m) && m.resolve),
    row((40, "40.4"), "C equal, both are crashed Primaries, no resolve flag", "both crashed as Primary; the flag decides",
        (SOURCE, NONE), same_current),
    row((50, "50"), "own.C = peer.B", "the peer went on alone, or a resync to this node was interrupted",
        (TARGET, NONE), |m| same(m.own.current, m.peer.bitmap)),
    row((51, "51"), "own.C = peer.H0, peer.H0 + 2^48 = peer.B", "the sync UUID did not reach this node",
        (TARGET, Some(Correction::PeerBeforeSync)), |m| before_sync(&m.own, &m.peer)),
    row((60, "60"), "own.C is peer.H0 or peer.H1", "the peer is generations ahead",
        (FULL_TARGET, NONE), |m| in_history(m.own.current, &m.peer)),
    row((70, "70"), "own.B = peer.C", "this node went on alone, or a resync to the peer was interrupted",
        (SOURCE, NONE), |m| same(m.own.bitmap, m.peer.current)),
    row((71, "71"), "own.H0 = peer.C, own.H0 + 2^48 = own.B", "the sync UUID did not reach the peer",
        (SOURCE, Some(Correction::OwnBeforeSync)), |m| before_sync(&m.peer, &m.own)),
    row((80, "80"), "peer.C is own.H0 or own.H1", "this node is generations ahead",
        (FULL_SOURCE, NONE), |m| in_history(m.peer.current, &m.own)),
    row((90, "90"), "own.B = peer.B, not 0", "both went on alone since the same generation",
        (Verdict::SplitBrain { automatic: true }, NONE), |m| same(m.own.bitmap, m.peer.bitmap) && !same(m.own.bitmap, 0)),
    row((100, "100"), "one of own.H0, own.H1 = one of peer.H0, peer.H1 (0 = 0, too)", "both went on alone, a common generation lies far back",
        (Verdict::SplitBrain { automatic: false }, NONE), |m| m.own.history.iter().any(|&h| in_history(h, &m.peer))),
    row((0, "none"), "otherwise", "nothing in common",
        (Verdict::Unrelated, NONE), |_| true),
];

/// What no pair of nodes can get to: each holds what the other one calls an ancestor.
pub static CONTRADICTION: Row = row(
    (0, "contradiction"),
    "the two nodes would not decide mirror-wise",
    "each node's data are an ancestor of the other's",
    (Verdict::Unrelated, NONE),
    |_| false,
);

/// Evaluates the table from the point of view of one node.
pub fn look_up(meeting: &Meeting) -> &'static Row {
    let found = TABLE.iter().find(|row| (row.matches)(meeting));
    found.unwrap_or(&CONTRADICTION)
}

/// Compares the identifiers of two nodes (section 8.5).
///
/// The table is mirror-symmetric for all identifiers that nodes can come to. For the others, made by a broken disk or an ill-meaning
/// peer, both nodes would wait for each other; they are told apart by looking from the other side, too.
pub fn compare(meeting: &Meeting) -> Decision {
    let mut row = look_up(meeting);
    if look_up(&meeting.mirrored()).verdict != row.verdict.mirrored() {
        row = &CONTRADICTION;
    }
    if crate::mutants::is_active(24) && !meeting.resolve && row.verdict == TARGET {
        row = &CONTRADICTION;
    }
    Decision {
        rule: row.rule,
        row: row.name,
        meaning: row.meaning,
        verdict: row.verdict,
        correction: row.correction,
    }
}

#[cfg(test)]
mod tests;
