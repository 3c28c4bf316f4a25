// SPDX-License-Identifier: GPL-2.0

//! The activity log in memory: which extents of 4 MiB may be written to now (metadata, section 3).
//!
//! An extent is *active* when a transaction that names it is on stable storage. A write holds a reference to each extent that it
//! touches, until it is done everywhere; an extent without references may be evicted to make room for another one. The bits of an
//! evicted extent are on stable storage before the transaction that forgets it (section 3.6).
//!
//! Nothing is written when an extent grows cold: it stays active, and costs nothing, until its slot is needed.

use core::ops::Range as Span;

use crate::bitmap::BitmapPages;
use crate::memory::Memory;
use crate::meta::log::{Transaction, Update, CONTEXT_LEN, FREE_EXTENT, MAX_SLOTS, MAX_UPDATES};
use crate::meta::{MetaError, EXTENT_SECTORS};
use crate::wire::Range;

/// No slot.
const NONE: u16 = u16::MAX;

/// A slot of the log; the owner of the memory fills a table with default values.
#[derive(Clone, Copy, Debug)]
pub struct LogSlot {
    /// The extent that the log on the disk names.
    extent: u32,
    /// The extent that it is to name; differs from `extent` while a transaction is pending.
    target: u32,
    /// Requests that need the extent.
    refs: u32,
    /// Neighbours in the list of slots without references, or in the list of free ones.
    prev: u16,
    next: u16,
    /// First slot whose target has this slot's number as hash, and the next one after this slot.
    bucket: u16,
    chain: u16,
}

impl Default for LogSlot {
    fn default() -> Self {
        Self {
            extent: FREE_EXTENT,
            target: FREE_EXTENT,
            refs: 0,
            prev: NONE,
            next: NONE,
            bucket: NONE,
            chain: NONE,
        }
    }
}

/// References that a request holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hold {
    /// How many of its extents, from the first one on.
    held: u32,
    /// Attachment of the disk whose log it is.
    attachment: u32,
}

/// Whether a request may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// All its extents are active, and referenced.
    Granted,
    /// It waits for a transaction.
    Waits,
}

/// What [`Resource::log_step`](crate::resource::Resource::log_step) wants done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStep {
    /// Write these pages of the bitmap, then ask again.
    Pages(BitmapPages),
    /// Write the block, with a flush before and FUA, to the sector that
    /// [`Layout::log_sector`](crate::meta::Layout::log_sector) gives for this number; then call `log_written`.
    Block {
        /// Number of the transaction.
        number: u32,
    },
    /// Nothing: the disk is gone.
    Nothing,
}

/// Slots of one transaction.
struct Changes {
    slots: [u16; MAX_UPDATES],
    count: usize,
}

impl Changes {
    const NONE: Self = Self {
        slots: [NONE; MAX_UPDATES],
        count: 0,
    };

    fn push(&mut self, slot: u16) {
        if let Some(place) = self.slots.get_mut(self.count) {
            *place = slot;
            self.count += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.count >= MAX_UPDATES
    }

    fn get(&self) -> &[u16] {
        self.slots.get(..self.count).unwrap_or_default()
    }
}

/// The log of an attached disk.
///
/// # Invariants
///
/// Every slot is in exactly one place: the free list (no extent, no target), the list of idle slots (active, no references),
/// `collecting` or `writing` (target differs from extent), or in none of them (active and referenced). The chains of the hash
/// table hold exactly the slots with a target.
pub(crate) struct ActivityLog<M: Memory> {
    slots: M::Table<LogSlot>,
    attachment: u32,
    free: u16,
    /// Least recently used first.
    idle_first: u16,
    idle_last: u16,
    /// Changes of the next transaction.
    collecting: Changes,
    /// Changes of the transaction that is being written.
    writing: Changes,
    /// How many of them have had their bitmap pages looked at.
    inspected: usize,
    /// A `WriteLog` is under way.
    running: bool,
    /// Somebody could not get a slot: nobody who came later gets one before him.
    refused: bool,
    /// There was none to evict: nobody who came later gets any reference before him.
    starving: bool,
    /// Number of the next transaction.
    number: u32,
    /// First slot of the next transaction's context.
    cursor: u16,
}

/// The extents that a range touches.
pub(crate) fn extents_of(range: &Range) -> Span<u32> {
    if range.bytes == 0 {
        return 0..0;
    }
    let first = range.sector / EXTENT_SECTORS;
    let end = range.end().div_ceil(EXTENT_SECTORS);
    // Volumes have at most 2^41 sectors.
    let cut = |extent: u64| u32::try_from(extent).unwrap_or(FREE_EXTENT - 1);
    cut(first)..cut(end)
}

impl<M: Memory> ActivityLog<M> {
    /// An empty log over `slots`, of which at most [`MAX_SLOTS`] are used. `attachment` tells its references from those to other
    /// logs of the same volume.
    pub(crate) fn new(mut slots: M::Table<LogSlot>, attachment: u32) -> Self {
        let count = slots.len().min(MAX_SLOTS) as u16;
        let mut free = NONE;
        // The lowest number comes first out of the free list.
        for index in (0..count).rev() {
            if let Some(slot) = slots.get_mut(usize::from(index)) {
                *slot = LogSlot {
                    next: free,
                    ..LogSlot::default()
                };
                free = index;
            }
        }
        Self {
            slots,
            attachment,
            free,
            idle_first: NONE,
            idle_last: NONE,
            collecting: Changes::NONE,
            writing: Changes::NONE,
            inspected: 0,
            running: false,
            refused: false,
            starving: false,
            number: 0,
            cursor: 0,
        }
    }

    /// Number of slots.
    pub(crate) fn slots(&self) -> u16 {
        self.slots.len().min(MAX_SLOTS) as u16
    }

    /// Whether a transaction is being written.
    pub(crate) fn is_writing(&self) -> bool {
        self.running
    }

    /// Whether there are changes and nobody writes them; if so, somebody does now.
    pub(crate) fn start_writing(&mut self) -> bool {
        let start = !self.running && self.collecting.count > 0;
        self.running |= start;
        start
    }

    /// From here on, those who wait ask again, in the order of their arrival.
    pub(crate) fn begin_line(&mut self) {
        self.refused = false;
        self.starving = false;
    }

    /// Whether somebody waits for a slot.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused
    }

    /// Takes references to the extents of `range`, as many as it can; what `hold` has already is kept.
    pub(crate) fn acquire(&mut self, hold: &mut Hold, range: &Range) -> Access {
        let extents = extents_of(range);
        if hold.attachment != self.attachment {
            *hold = Hold {
                held: 0,
                attachment: self.attachment,
            };
        }
        for extent in extents.clone().skip(hold.held as usize) {
            if !self.reference(extent) {
                return Access::Waits;
            }
            hold.held += 1;
        }
        let active = |extent| {
            self.find(extent)
                .and_then(|slot| self.slot(slot))
                .is_some_and(|slot| slot.extent == extent)
        };
        match extents.into_iter().all(active) || crate::mutants::is_active(5) {
            true => Access::Granted,
            false => Access::Waits,
        }
    }

    /// Gives the references of a request back.
    pub(crate) fn give_back(&mut self, hold: &mut Hold, range: &Range) {
        let held = core::mem::take(hold);
        if held.attachment != self.attachment {
            return;
        }
        for extent in extents_of(range).take(held.held as usize) {
            let Some(index) = self.find(extent) else {
                continue;
            };
            let Some(slot) = self.slot_mut(index) else {
                continue;
            };
            if crate::mutants::is_active(32) {
                continue;
            }
            slot.refs = slot.refs.saturating_sub(1);
            if slot.refs == 0 && slot.extent == slot.target {
                self.put_idle(index);
            }
        }
    }

    /// One reference to one extent; false if it must be asked for again.
    fn reference(&mut self, extent: u32) -> bool {
        if self.starving {
            return false;
        }
        if let Some(index) = self.find(extent) {
            if self
                .slot(index)
                .is_some_and(|slot| slot.refs == 0 && slot.extent == slot.target)
            {
                self.take_idle(index);
            }
            if let Some(slot) = self.slot_mut(index) {
                slot.refs = slot.refs.saturating_add(1);
            }
            return true;
        }
        if self.refused || self.collecting.is_full() {
            self.refused = true;
            return false;
        }
        let Some(index) = self.victim() else {
            self.refused = true;
            self.starving = true;
            return false;
        };
        self.unhash(index);
        if let Some(slot) = self.slot_mut(index) {
            slot.target = extent;
            slot.refs = 1;
        }
        self.hash(index);
        self.collecting.push(index);
        true
    }

    /// A slot for another extent: a free one, else the one that was used least recently.
    fn victim(&mut self) -> Option<u16> {
        if self.free != NONE {
            let index = self.free;
            let next = self.slot(index)?.next;
            self.free = next;
            return Some(index);
        }
        let index = self.idle_first;
        self.slot(index)?;
        self.take_idle(index);
        Some(index)
    }

    /// Next step of the transaction that is being written; `pages` takes the pages of the bitmap that have to be written before
    /// an extent is forgotten.
    pub(crate) fn step(
        &mut self,
        mut pages: impl FnMut(u32) -> Option<BitmapPages>,
        block: &mut [u8],
    ) -> Result<LogStep, MetaError> {
        if self.writing.count == 0 {
            self.writing = core::mem::replace(&mut self.collecting, Changes::NONE);
            self.inspected = 0;
        }
        while let Some(&index) = self.writing.get().get(self.inspected) {
            self.inspected += 1;
            let old = self.slot(index).map_or(FREE_EXTENT, |slot| slot.extent);
            if old != FREE_EXTENT {
                if let Some(found) = pages(old) {
                    return Ok(LogStep::Pages(found));
                }
            }
        }
        let mut updates = [Update {
            slot: NONE,
            extent: FREE_EXTENT,
        }; MAX_UPDATES];
        for (update, &index) in updates.iter_mut().zip(self.writing.get()) {
            *update = Update {
                slot: index,
                extent: self.slot(index).map_or(FREE_EXTENT, |slot| slot.target),
            };
        }
        let number = self.number;
        let count = if crate::mutants::is_active(6) {
            0
        } else {
            self.writing.count
        };
        let updates = updates.get(..count).unwrap_or_default();
        let before = |index| self.slot(index).map_or(FREE_EXTENT, |slot| slot.extent);
        Transaction::encode(block, number, self.slots(), self.cursor, updates, before)?;
        self.number = number.wrapping_add(1);
        self.cursor = match self.cursor.saturating_add(CONTEXT_LEN as u16) {
            next if next >= self.slots() => 0,
            next => next,
        };
        Ok(LogStep::Block { number })
    }

    /// The transaction is on stable storage.
    pub(crate) fn commit(&mut self) {
        self.running = false;
        let done = core::mem::replace(&mut self.writing, Changes::NONE);
        for &index in done.get() {
            let Some(slot) = self.slot_mut(index) else {
                continue;
            };
            slot.extent = slot.target;
            if slot.refs == 0 {
                self.put_idle(index);
            }
        }
    }

    /// The transaction could not be written: nothing that waits for it may run on this disk.
    pub(crate) fn abort(&mut self) {
        self.running = false;
    }

    fn slot(&self, index: u16) -> Option<&LogSlot> {
        self.slots.get(usize::from(index))
    }

    fn slot_mut(&mut self, index: u16) -> Option<&mut LogSlot> {
        self.slots.get_mut(usize::from(index))
    }

    fn bucket_of(&self, extent: u32) -> u16 {
        // Neighbours go to neighbouring buckets, which spreads them evenly.
        (extent % u32::from(self.slots()).max(1)) as u16
    }

    fn find(&self, extent: u32) -> Option<u16> {
        let mut index = self.slot(self.bucket_of(extent))?.bucket;
        while let Some(slot) = self.slot(index) {
            if slot.target == extent {
                return Some(index);
            }
            index = slot.chain;
        }
        None
    }

    fn hash(&mut self, index: u16) {
        let Some(target) = self.slot(index).map(|slot| slot.target) else {
            return;
        };
        let bucket = self.bucket_of(target);
        let Some(head) = self.slot_mut(bucket) else {
            return;
        };
        let next = core::mem::replace(&mut head.bucket, index);
        if let Some(slot) = self.slot_mut(index) {
            slot.chain = next;
        }
    }

    fn unhash(&mut self, index: u16) {
        let Some(&LogSlot { target, chain, .. }) = self.slot(index) else {
            return;
        };
        if target == FREE_EXTENT {
            return;
        }
        let bucket = self.bucket_of(target);
        let mut at = self.slot(bucket).map_or(NONE, |slot| slot.bucket);
        if at == index {
            if let Some(head) = self.slot_mut(bucket) {
                head.bucket = chain;
            }
            return;
        }
        while let Some(slot) = self.slot_mut(at) {
            if slot.chain == index {
                slot.chain = chain;
                return;
            }
            at = slot.chain;
        }
    }

    /// Appends a slot to the idle ones, as the one used most recently.
    fn put_idle(&mut self, index: u16) {
        let last = self.idle_last;
        if let Some(slot) = self.slot_mut(index) {
            slot.prev = last;
            slot.next = NONE;
        }
        match self.slot_mut(last) {
            Some(slot) => slot.next = index,
            None => self.idle_first = index,
        }
        self.idle_last = index;
    }

    fn take_idle(&mut self, index: u16) {
        let Some(&LogSlot { prev, next, .. }) = self.slot(index) else {
            return;
        };
        match self.slot_mut(prev) {
            Some(slot) => slot.next = next,
            None => self.idle_first = next,
        }
        match self.slot_mut(next) {
            Some(slot) => slot.prev = prev,
            None => self.idle_last = prev,
        }
    }
}

#[cfg(test)]
mod tests;
