// SPDX-License-Identifier: GPL-2.0

//! The sync handshake up to its verdict: comparison, disk states, split brain (wire protocol, section 8.4, steps 1 to 7).
//!
//! A pure function of what both nodes know of each other, so that both come to mirrored results.

use crate::decision::{compare, Decision, Meeting, Verdict};
use crate::split_brain::{resolve, Conflict, Resolution};
use crate::wire::{AfterSplitBrain, DiskState};

/// Everything that the handshake looks at.
#[derive(Clone, Copy, Debug)]
pub struct Encounter {
    /// Identifiers, roles, crashes.
    pub meeting: Meeting,
    /// Own disk; while it is Negotiating the state that it would have.
    pub own_disk: DiskState,
    /// The peer's disk, likewise.
    pub peer_disk: DiskState,
    /// Own dirty blocks, as sent to the peer.
    pub own_dirty: u64,
    /// The peer's, as received.
    pub peer_dirty: u64,
    /// This node was told to give its data up.
    pub discard_own: bool,
    /// The peer was.
    pub discard_peer: bool,
    /// Policies after a split brain with no, one and two Primaries.
    pub policies: [AfterSplitBrain; 3],
    /// Apply them even where the history does not permit to.
    pub always: bool,
}

/// Which step of section 8.4 has the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The comparison of identifiers (step 1).
    Comparison,
    /// One disk is Inconsistent, the other is better (step 3).
    DiskState,
    /// A policy for split brain decided (step 5).
    Policy,
    /// A node gives up its data (step 6).
    DiscardMyData,
    /// Nobody resolved the split brain (step 7).
    Unresolved,
    /// The peer, which has met the disk first that is attached here.
    Answer,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Comparison,
        Self::DiskState,
        Self::Policy,
        Self::DiscardMyData,
        Self::Unresolved,
        Self::Answer,
    ];

    /// What is added to the row's meaning in a message.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Comparison => "",
            Self::DiskState => "; but only one disk is usable",
            Self::Policy => "; resolved by the after-sb policy",
            Self::DiscardMyData => "; resolved by discard-my-data",
            Self::Unresolved => "; not resolved by a policy",
            Self::Answer => "; but the peer has decided",
        }
    }
}

/// How a handshake came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// What the identifiers say.
    pub decision: Decision,
    /// What is to be done. A split brain here is an unresolved one.
    pub verdict: Verdict,
    /// What decided in the end.
    pub step: Step,
}

impl Settlement {
    /// Both nodes changed data on their own, resolved or not (step 4).
    pub fn is_split_brain(&self) -> bool {
        matches!(
            self.step,
            Step::Policy | Step::DiscardMyData | Step::Unresolved
        )
    }
}

/// Decides what two nodes do with their data.
pub fn settle(e: &Encounter) -> Settlement {
    let decision = compare(&e.meeting);
    let settled = |verdict, step| Settlement {
        decision,
        verdict,
        step,
    };
    let verdict = decision.verdict;
    if matches!(verdict, Verdict::Unrelated | Verdict::NeedsFeature(_)) {
        return settled(verdict, Step::Comparison);
    }
    let bad = |disk| disk == DiskState::Inconsistent;
    if bad(e.own_disk) != bad(e.peer_disk)
        && (e.own_disk > DiskState::Inconsistent || e.peer_disk > DiskState::Inconsistent)
    {
        let full = match verdict {
            Verdict::Source { full } | Verdict::Target { full } => full,
            Verdict::SplitBrain { automatic } => !automatic,
            _ => false,
        };
        let overridden = match e.own_disk > DiskState::Inconsistent {
            true => Verdict::Source { full },
            false => Verdict::Target { full },
        };
        let agrees = overridden == verdict;
        return settled(
            overridden,
            if agrees {
                Step::Comparison
            } else {
                Step::DiskState
            },
        );
    }
    let Verdict::SplitBrain { automatic } = verdict else {
        return settled(verdict, Step::Comparison);
    };
    let m = &e.meeting;
    let conflict = Conflict {
        own: m.own,
        peer: m.peer,
        own_dirty: e.own_dirty,
        peer_dirty: e.peer_dirty,
        own_primary: m.own_primary,
        peer_primary: m.peer_primary,
        resolve: m.resolve,
        discard_own: e.discard_own,
        discard_peer: e.discard_peer,
    };
    match resolve(&conflict, &e.policies, automatic, e.always) {
        Some(Resolution::Policy(verdict)) => settled(verdict, Step::Policy),
        Some(Resolution::Discard(verdict)) => settled(verdict, Step::DiscardMyData),
        None => settled(verdict, Step::Unresolved),
    }
}

#[cfg(test)]
mod tests;
