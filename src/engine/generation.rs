// SPDX-License-Identifier: GPL-2.0

//! Data generation identifiers, and what they say when two nodes meet.
//!
//! Four UUIDs per volume tell which generation of the data a disk holds and which generations it came from. The
//! comparison of two nodes' sets is a table, one row a rule, in the order of the specification: both nodes evaluate it
//! independently and must come to mirrored results (wire protocol, sections 8.1 to 8.7).

use crate::wire::{UUID_JUST_CREATED, UUID_SYNC_OFFSET};

/// Masks the bit of a UUID that tells the role and is no part of the identity (section 8.1).
const IDENTITY: u64 = !1;

/// The identifiers of one volume on one node (section 8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Generation of the data on this disk; bit 0 is set while (or since) the node is Primary.
    pub current: u64,
    /// Generation that the peer has and to which the bitmap records the differences; 0 = none.
    pub bitmap: u64,
    /// Older generations, the newer one first.
    pub history: [u64; 2],
}

impl Generation {
    /// The identifiers of fresh metadata.
    pub const JUST_CREATED: Self = Self {
        current: UUID_JUST_CREATED,
        bitmap: 0,
        history: [0, 0],
    };

    /// Makes `value` the current UUID; its bit 0 follows the role.
    pub fn set_current(&mut self, value: u64, primary: bool) {
        self.current = (value & IDENTITY) | u64::from(primary);
    }

    /// Mints a new current UUID out of `random`; the old one becomes the bitmap UUID (section 8.2).
    pub fn mint(&mut self, random: u64, primary: bool) {
        self.bitmap = self.current;
        let mut value = random & IDENTITY;
        // 0 and 4 have meanings of their own.
        if value == 0 || value == UUID_JUST_CREATED {
            value = 0x5eed_5eed_5eed_5eec;
        }
        self.set_current(value, primary);
    }

    /// Moves a non-zero bitmap UUID into the history and makes `value` the bitmap UUID (section 8.3).
    pub fn rotate_bitmap(&mut self, value: u64) {
        if self.bitmap != 0 {
            self.history = [self.bitmap, self.history[0]];
        }
        self.bitmap = value;
    }

    /// Moves a non-zero bitmap UUID into the history.
    pub fn clear_bitmap(&mut self) {
        self.rotate_bitmap(0);
    }

    /// The UUID of a resync that starts with this node as source; it becomes the bitmap UUID (section 8.3).
    pub fn make_sync_uuid(&mut self, random: u64) -> u64 {
        let value = match self.bitmap {
            0 | UUID_JUST_CREATED => {
                if random == 0 {
                    1 << 32
                } else {
                    random
                }
            }
            old => old.wrapping_add(UUID_SYNC_OFFSET),
        };
        self.rotate_bitmap(value);
        value
    }

    /// End of a resync, on the source (section 8.3).
    pub fn finish_source(&mut self) {
        self.clear_bitmap();
    }

    /// End of a resync, on the target: takes over what the source has (section 8.3).
    pub fn finish_target(&mut self, source: &Generation, primary: bool) {
        let sync = self.current;
        self.bitmap = source.bitmap;
        self.history = source.history;
        self.rotate_bitmap(sync);
        self.set_current(source.current, primary);
        self.clear_bitmap();
    }
}

/// What a peer said of its identifiers (section 3.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerGeneration {
    /// Its UUIDs.
    pub uuids: Generation,
    /// Set bits of its bitmap when it said so.
    pub dirty_bits: u64,
    /// It was told to give up its data in a split brain.
    pub discard_my_data: bool,
    /// It was Primary when it went down.
    pub crashed_primary: bool,
    /// During an attach: its disk would be Inconsistent.
    pub would_be_inconsistent: bool,
    /// It proposes to skip the initial resync.
    pub skip_initial_sync: bool,
}

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

/// A correction that a rule makes before the handshake goes on (section 8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// The end of a resync was missed here: own bitmap UUID goes to the history.
    OwnMissedEnd,
    /// The peer missed it: the copy of the peer's identifiers is corrected.
    PeerMissedEnd,
    /// The sync UUID did not reach this node: the copy of the peer's identifiers goes back to before.
    PeerBeforeSync,
    /// The sync UUID did not reach the peer: own identifiers go back to before.
    OwnBeforeSync,
}

/// A verdict, the rule that gave it, and its correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Number of the rule (section 8.5); 0 if none matched.
    pub rule: u16,
    /// The verdict.
    pub verdict: Verdict,
    /// What the rule corrects.
    pub correction: Option<Correction>,
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

/// One row: number, condition, verdict, correction.
type Row = (
    u16,
    fn(&Meeting) -> bool,
    fn(&Meeting) -> Verdict,
    Option<Correction>,
);

const SOURCE: fn(&Meeting) -> Verdict = |_| Verdict::Source { full: false };
const TARGET: fn(&Meeting) -> Verdict = |_| Verdict::Target { full: false };
const FULL_SOURCE: fn(&Meeting) -> Verdict = |_| Verdict::Source { full: true };
const FULL_TARGET: fn(&Meeting) -> Verdict = |_| Verdict::Target { full: true };
const NO_SYNC: fn(&Meeting) -> Verdict = |_| Verdict::NoSync;

fn same_current(m: &Meeting) -> bool {
    same(m.own.current, m.peer.current)
}

fn crashed_and_primary(m: &Meeting) -> Verdict {
    match (m.own_primary, m.peer_primary) {
        _ if !m.feature_wsame => Verdict::NeedsFeature("WSAME"),
        (true, true) => Verdict::SplitBrain { automatic: false },
        (true, false) => Verdict::Source { full: false },
        _ => Verdict::Target { full: false },
    }
}

fn crashed_both_secondary(m: &Meeting) -> Verdict {
    match (m.own_crashed, m.peer_crashed) {
        (true, false) => Verdict::Source { full: false },
        (false, true) => Verdict::Target { full: false },
        _ if m.resolve => Verdict::Target { full: false },
        _ => Verdict::Source { full: false },
    }
}

/// The decision table of section 8.5, in its order; the first row that matches decides.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    (10, |m| fresh(m.own.current) && fresh(m.peer.current), NO_SYNC, None),
    (20, |m| no_data(m.own.current) && !fresh(m.peer.current), FULL_TARGET, None),
    (30, |m| !fresh(m.own.current) && no_data(m.peer.current), FULL_SOURCE, None),
    (34, |m| same_current(m) && m.peer.bitmap == 0 && m.own.bitmap != 0
            && same(m.own.bitmap, m.peer.history[0]) && same(m.own.history[0], m.peer.history[1]),
        SOURCE, Some(Correction::OwnMissedEnd)),
    (36, |m| same_current(m) && m.peer.bitmap == 0 && m.own.bitmap != 0, SOURCE, None),
    (35, |m| same_current(m) && m.own.bitmap == 0 && m.peer.bitmap != 0
            && same(m.own.history[0], m.peer.bitmap) && same(m.own.history[1], m.peer.history[0]),
        TARGET, Some(Correction::PeerMissedEnd)),
    (37, |m| same_current(m) && m.own.bitmap == 0 && m.peer.bitmap != 0, TARGET, None),
    (40, |m| same_current(m) && !m.own_crashed && !m.peer_crashed, NO_SYNC, None),
    (41, |m| same_current(m) && (m.own_primary || m.peer_primary), crashed_and_primary, None),
    (40, same_current, crashed_both_secondary, None),
    (50, |m| same(m.own.current, m.peer.bitmap), TARGET, None),
    (51, |m| same(m.own.current, m.peer.history[0])
            && same(m.peer.history[0].wrapping_add(UUID_SYNC_OFFSET), m.peer.bitmap),
        TARGET, Some(Correction::PeerBeforeSync)),
    (60, |m| in_history(m.own.current, &m.peer), FULL_TARGET, None),
    (70, |m| same(m.own.bitmap, m.peer.current), SOURCE, None),
    (71, |m| same(m.own.history[0], m.peer.current)
            && same(m.own.history[0].wrapping_add(UUID_SYNC_OFFSET), m.own.bitmap),
        SOURCE, Some(Correction::OwnBeforeSync)),
    (80, |m| in_history(m.peer.current, &m.own), FULL_SOURCE, None),
    (90, |m| same(m.own.bitmap, m.peer.bitmap) && !same(m.own.bitmap, 0),
        |_| Verdict::SplitBrain { automatic: true }, None),
    (100, |m| m.own.history.iter().any(|&h| in_history(h, &m.peer)),
        |_| Verdict::SplitBrain { automatic: false }, None),
];

/// Compares the identifiers of two nodes (section 8.5).
pub fn compare(meeting: &Meeting) -> Decision {
    TABLE
        .iter()
        .find(|(_, matches, _, _)| matches(meeting))
        .map(|(rule, _, verdict, correction)| Decision {
            rule: *rule,
            verdict: verdict(meeting),
            correction: *correction,
        })
        .unwrap_or(Decision {
            rule: 0,
            verdict: Verdict::Unrelated,
            correction: None,
        })
}

impl Correction {
    /// Applies the correction to the own and the remembered peer's identifiers. True if the own ones changed.
    pub fn apply(self, own: &mut Generation, peer: &mut Generation) -> bool {
        match self {
            Self::OwnMissedEnd => own.clear_bitmap(),
            Self::PeerMissedEnd => peer.clear_bitmap(),
            Self::PeerBeforeSync => undo_sync_uuid(peer),
            Self::OwnBeforeSync => undo_sync_uuid(own),
        }
        matches!(self, Self::OwnMissedEnd | Self::OwnBeforeSync)
    }
}

fn undo_sync_uuid(of: &mut Generation) {
    of.bitmap = of.history[0];
    of.history[0] = of.history[1];
}

#[cfg(test)]
mod tests;
