// SPDX-License-Identifier: GPL-2.0

//! What becomes of a split brain: the after-split-brain policies (wire protocol, sections 8.4 and 8.7).

use crate::generation::{Generation, Verdict};
use crate::wire::AfterSplitBrain as Policy;

/// What the policies look at.
#[derive(Clone, Copy, Debug)]
pub struct Conflict {
    /// Own identifiers.
    pub own: Generation,
    /// The peer's.
    pub peer: Generation,
    /// Own dirty blocks, as sent to the peer.
    pub own_dirty: u64,
    /// The peer's, as received.
    pub peer_dirty: u64,
    /// This node is Primary.
    pub own_primary: bool,
    /// The peer is Primary.
    pub peer_primary: bool,
    /// This node accepted the meta stream.
    pub resolve: bool,
    /// This node was told to give its data up.
    pub discard_own: bool,
    /// The peer was.
    pub discard_peer: bool,
}

/// Which node's data survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Winner {
    Own,
    Peer,
}

/// Decides a split brain; `None` if it is left to a person. `automatic` and `always` are the result 100 and the option
/// `always-asbp` of section 8.4, step 5.
pub fn resolve(
    conflict: &Conflict,
    policies: &[Policy; 3],
    automatic: bool,
    always: bool,
) -> Option<Verdict> {
    if automatic || always {
        if let Some(winner) = by_policy(conflict, policies) {
            // Without a common bitmap the blocks that differ are unknown.
            return Some(verdict(winner, !automatic));
        }
    }
    match (conflict.discard_own, conflict.discard_peer) {
        (true, false) => Some(verdict(Winner::Peer, false)),
        (false, true) => Some(verdict(Winner::Own, false)),
        _ => None,
    }
}

fn verdict(winner: Winner, full: bool) -> Verdict {
    match winner {
        Winner::Own => Verdict::Source { full },
        Winner::Peer => Verdict::Target { full },
    }
}

fn by_policy(c: &Conflict, policies: &[Policy; 3]) -> Option<Winner> {
    let [zero, one, two] = *policies;
    match (c.own_primary, c.peer_primary) {
        (false, false) => without_primary(c, zero),
        (true, true) => match two {
            Policy::ViolentlyAsZeroPrimaries => without_primary(c, zero),
            // A Primary is not demoted by force here: only a verdict that keeps it is taken.
            Policy::CallPrimaryLost => {
                without_primary(c, zero).filter(|winner| *winner == Winner::Own)
            }
            _ => None,
        },
        (own_primary, _) => one_primary(c, one, zero, own_primary),
    }
}

fn one_primary(c: &Conflict, policy: Policy, zero: Policy, own_primary: bool) -> Option<Winner> {
    match policy {
        Policy::Consensus => {
            without_primary(c, zero).filter(|winner| (*winner == Winner::Own) == own_primary)
        }
        Policy::DiscardSecondary if own_primary => Some(Winner::Own),
        Policy::DiscardSecondary => Some(Winner::Peer),
        Policy::CallPrimaryLost => {
            without_primary(c, zero).filter(|winner| !own_primary || *winner == Winner::Own)
        }
        Policy::ViolentlyAsZeroPrimaries => without_primary(c, zero),
        _ => None,
    }
}

fn without_primary(c: &Conflict, policy: Policy) -> Option<Winner> {
    let was_primary = (c.own.bitmap & 1 == 1, c.peer.bitmap & 1 == 1);
    match (policy, was_primary) {
        (Policy::DiscardYoungerPrimary, (false, true)) => Some(Winner::Peer),
        (Policy::DiscardYoungerPrimary, (true, false)) => Some(Winner::Own),
        (Policy::DiscardOlderPrimary, (false, true)) => Some(Winner::Own),
        (Policy::DiscardOlderPrimary, (true, false)) => Some(Winner::Peer),
        (Policy::DiscardYoungerPrimary | Policy::DiscardOlderPrimary, _) => {
            zero_changes(c).or_else(|| Some(least_changes(c)))
        }
        (Policy::DiscardZeroChanges, _) => zero_changes(c),
        (Policy::DiscardLeastChanges, _) => Some(least_changes(c)),
        (Policy::DiscardLocal, _) => Some(Winner::Peer),
        (Policy::DiscardRemote, _) => Some(Winner::Own),
        _ => None,
    }
}

fn zero_changes(c: &Conflict) -> Option<Winner> {
    match (c.own_dirty, c.peer_dirty) {
        (0, 0) => Some(by_flag(c)),
        (_, 0) => Some(Winner::Own),
        (0, _) => Some(Winner::Peer),
        _ => None,
    }
}

fn least_changes(c: &Conflict) -> Winner {
    match c.own_dirty.cmp(&c.peer_dirty) {
        core::cmp::Ordering::Less => Winner::Peer,
        core::cmp::Ordering::Greater => Winner::Own,
        core::cmp::Ordering::Equal => by_flag(c),
    }
}

fn by_flag(c: &Conflict) -> Winner {
    if c.resolve {
        Winner::Peer
    } else {
        Winner::Own
    }
}
