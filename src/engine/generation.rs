// SPDX-License-Identifier: GPL-2.0

//! Data generation identifiers (wire protocol, sections 8.1 to 8.3).
//!
//! Four UUIDs per volume tell which generation of the data a disk holds and which generations it came from. What they say when
//! two nodes meet is in [`crate::decision`] and [`crate::meeting`].

use crate::wire::{UUID_JUST_CREATED, UUID_SYNC_OFFSET};

/// Masks the bit of a UUID that tells the role and is no part of the identity (section 8.1).
pub(crate) const IDENTITY: u64 = !1;

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
