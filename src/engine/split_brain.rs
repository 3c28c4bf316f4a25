// SPDX-License-Identifier: GPL-2.0

//! What becomes of a split brain: the after-split-brain policies (wire protocol, sections 8.4 and 8.7).

use crate::decision::Verdict;
use crate::generation::Generation;
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

/// Whether a Primary that loses its data by these policies must first give up its role.
pub fn demotes(policies: &[Policy; 3], peer_primary: bool) -> bool {
    let [_, one, two] = *policies;
    let policy = if peer_primary { two } else { one };
    policy == Policy::CallPrimaryLost
}

/// Which node's data survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Winner {
    Own,
    Peer,
}

/// Who resolved a split brain, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// A policy.
    Policy(Verdict),
    /// A node that gives up its data.
    Discard(Verdict),
}

/// Decides a split brain; `None` if it is left to a person. `automatic` and `always` are the result 100 and the option
/// `always-asbp` of section 8.4, step 5.
pub fn resolve(
    conflict: &Conflict,
    policies: &[Policy; 3],
    automatic: bool,
    always: bool,
) -> Option<Resolution> {
    // Without a common bitmap the blocks that differ are unknown.
    let full = !automatic;
    if automatic || always {
        if let Some(winner) = by_policy(conflict, policies) {
            return Some(Resolution::Policy(verdict(winner, full)));
        }
    }
    // The specification has the reference copy by bitmap even here, which leaves blocks different that both nodes call equal.
    // All bits that one node sets count for both, so it does not matter if only this one does.
    let winner = match (conflict.discard_own, conflict.discard_peer) {
        (true, false) => Winner::Peer,
        (false, true) => Winner::Own,
        _ => return None,
    };
    Some(Resolution::Discard(verdict(winner, full)))
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
            Policy::ViolentlyAsZeroPrimaries | Policy::CallPrimaryLost => without_primary(c, zero),
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
        Policy::ViolentlyAsZeroPrimaries | Policy::CallPrimaryLost => without_primary(c, zero),
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
