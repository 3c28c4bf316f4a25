// SPDX-License-Identifier: GPL-2.0

//! Reading the ring after a crash (section 3.8).

use super::super::{LogGeometry, MetaError, MetaFlags};
use super::{LogBlock, Update, FREE_EXTENT, MAX_SLOTS};

/// What a ring says about the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No transaction since the ring was initialised: the disk is clean, the ring stays as it is.
    NothingToDo,
    /// Nothing to set in the bitmap; initialise the ring, then the disk is clean. Includes every
    /// ring of a node that was not Primary, however damaged.
    Initialise,
    /// The extents that [`Replay`] finds must be set in the bitmap; then initialise the ring.
    Apply(Apply),
    /// No block is valid, and the node was Primary: nobody knows what it wrote. Leave the disk
    /// untouched, or declare every block out of sync.
    NoValidBlock,
    /// Some blocks are damaged and none is a transaction, and the node was Primary: as above.
    PartlyDamaged,
}

impl Verdict {
    /// Whether the superblock may be written with a clean magic and [`MetaFlags::AL_CLEAN`] once
    /// the verdict has been carried out.
    pub const fn is_clean(&self) -> bool {
        !matches!(self, Self::NoValidBlock | Self::PartlyDamaged)
    }
}

/// The transactions to replay: from the oldest position to the newest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apply {
    oldest: u32,
    newest: u32,
    blocks: u32,
}

impl Apply {
    /// The positions of the ring to feed to [`Replay::add`], in order. Position `p` lies at
    /// [`super::super::Layout::log_sector`]`(p)`.
    pub fn positions(&self) -> impl Iterator<Item = u32> {
        let Self {
            oldest,
            newest,
            blocks,
        } = *self;
        let count = if newest >= oldest {
            newest - oldest + 1
        } else {
            (blocks - oldest).saturating_add(newest).saturating_add(1)
        };
        // Both positions are below `blocks`, which is below 2^23.
        (oldest..oldest.saturating_add(count)).map(move |position| {
            match position.checked_sub(blocks) {
                Some(wrapped) => wrapped,
                None => position,
            }
        })
    }
}

/// First pass over a ring.
#[derive(Clone, Copy, Debug)]
pub struct LogScan {
    blocks: u32,
    position: u32,
    valid: u32,
    first_is_valid: bool,
    /// Position and number of the oldest and of the newest transaction.
    oldest: Option<(u32, u32)>,
    newest: Option<(u32, u32)>,
}

impl LogScan {
    /// A scan of the ring of a log of this form.
    pub const fn new(geometry: LogGeometry) -> Self {
        Self {
            blocks: geometry.blocks(),
            position: 0,
            valid: 0,
            first_is_valid: false,
            oldest: None,
            newest: None,
        }
    }

    /// The position that [`LogScan::add`] expects next; `None` when all have been seen. It lies at
    /// [`super::super::Layout::log_sector`] of the number.
    pub fn next_position(&self) -> Option<u32> {
        (self.position < self.blocks).then_some(self.position)
    }

    /// Takes the block at the next position. Blocks after the last position are ignored.
    pub fn add(&mut self, block: &[u8]) {
        let Some(position) = self.next_position() else {
            return;
        };
        self.position = position.saturating_add(1);
        let Some(block) = LogBlock::decode(block) else {
            return;
        };
        self.valid = self.valid.saturating_add(1);
        if position == 0 {
            self.first_is_valid = true;
        }
        let LogBlock::Update(transaction) = block else {
            return;
        };
        let here = (position, transaction.number());
        if self
            .oldest
            .is_none_or(|(_, oldest)| is_before(here.1, oldest))
        {
            self.oldest = Some(here);
        }
        if self
            .newest
            .is_none_or(|(_, newest)| is_before(newest, here.1))
        {
            self.newest = Some(here);
        }
    }

    /// What follows; `flags` are those of the superblock. Only [`MetaFlags::PRIMARY_IND`] of them
    /// counts.
    ///
    /// Positions that were not added count as damaged.
    pub fn verdict(&self, flags: MetaFlags) -> Verdict {
        let was_primary = flags.contains(MetaFlags::PRIMARY_IND);
        let complete = self.valid == self.blocks;
        // The very first write into a fresh ring was torn: nothing else can have been written.
        let only_first_torn =
            !self.first_is_valid && self.valid.checked_add(1) == Some(self.blocks);
        match (self.oldest, self.newest) {
            (Some(_), Some(_)) if !was_primary => Verdict::Initialise,
            (Some((oldest, _)), Some((newest, _))) => Verdict::Apply(Apply {
                oldest,
                newest,
                blocks: self.blocks,
            }),
            _ if complete || only_first_torn => Verdict::NothingToDo,
            _ if !was_primary => Verdict::Initialise,
            _ if self.valid == 0 => Verdict::NoValidBlock,
            _ => Verdict::PartlyDamaged,
        }
    }
}

/// Whether transaction number `a` was written before `b`; right across the wrap of the counter.
const fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Second pass: the slot table, rebuilt.
#[derive(Debug)]
pub struct Replay<'a> {
    slots: &'a mut [u32],
    ignored: u32,
}

impl<'a> Replay<'a> {
    /// Begins with all slots free, in memory that the caller lends: at least [`MAX_SLOTS`] entries,
    /// so that no slot can be missed.
    ///
    /// # Errors
    ///
    /// [`MetaError::Transaction`] if the memory is too small.
    pub fn new(slots: &'a mut [u32]) -> Result<Self, MetaError> {
        let what = "slot table for the replay is too small";
        let slots = slots
            .get_mut(..MAX_SLOTS)
            .ok_or(MetaError::Transaction { what })?;
        slots.fill(FREE_EXTENT);
        Ok(Self { slots, ignored: 0 })
    }

    /// Takes the block at the next of the positions of [`Apply::positions`]. What is not a valid
    /// transaction changes nothing.
    pub fn add(&mut self, block: &[u8]) {
        let Some(LogBlock::Update(transaction)) = LogBlock::decode(block) else {
            return;
        };
        for (slot, extent) in transaction.context() {
            self.assign(slot, extent);
        }
        for Update { slot, extent } in transaction.updates() {
            self.assign(u32::from(slot), extent);
        }
    }

    /// The extents that may have been written to. An extent may be named more than once, and may
    /// lie behind the volume: see [`super::extent_bits`].
    pub fn extents(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots
            .iter()
            .copied()
            .filter(|&extent| extent != FREE_EXTENT)
    }

    /// How many entries named a slot that no log can have, for a warning.
    pub const fn ignored(&self) -> u32 {
        self.ignored
    }

    fn assign(&mut self, slot: u32, extent: u32) {
        let entry = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.slots.get_mut(slot));
        match entry {
            Some(entry) => *entry = extent,
            None => self.ignored = self.ignored.saturating_add(1),
        }
    }
}
