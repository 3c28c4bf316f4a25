// SPDX-License-Identifier: GPL-2.0

//! A table of slots with a free list and a list of the slots in use, oldest first.
//!
//! The memory is the owner's; nothing is allocated here. A slot's generation grows with every use, so that an identifier made
//! of slot and generation cannot be mistaken for an older one.

use core::ops::DerefMut;

const NONE: u32 = u32::MAX;

/// A slot; the owner of the memory fills a table with `Entry::default()`.
pub struct Entry<T> {
    value: Option<T>,
    prev: u32,
    next: u32,
    generation: u32,
}

impl<T> Default for Entry<T> {
    fn default() -> Self {
        Self {
            value: None,
            prev: NONE,
            next: NONE,
            generation: 0,
        }
    }
}

/// The table.
///
/// # Invariants
///
/// `first … last` chains exactly the entries with a value, in the order of their allocation; `free` chains the others by `next`.
pub struct Slots<T, S> {
    entries: S,
    free: u32,
    first: u32,
    last: u32,
    used: u32,
    _value: core::marker::PhantomData<T>,
}

impl<T, S: DerefMut<Target = [Entry<T>]>> Slots<T, S> {
    /// A table of empty slots over `entries`; at most `u32::MAX - 1` of them are used.
    pub fn new(mut entries: S) -> Self {
        let count = u32::try_from(entries.len()).unwrap_or(NONE);
        for (i, entry) in (0u32..).zip(entries.iter_mut()) {
            let next = i.saturating_add(1);
            *entry = Entry {
                next: if next < count { next } else { NONE },
                ..Entry::default()
            };
        }
        let free = if count == 0 { NONE } else { 0 };
        Self {
            entries,
            free,
            first: NONE,
            last: NONE,
            used: 0,
            _value: core::marker::PhantomData,
        }
    }

    /// Number of slots in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Number of free slots.
    pub fn available(&self) -> u32 {
        (self.entries.len() as u32).saturating_sub(self.used)
    }

    /// Takes a free slot, as the newest one in use.
    pub fn insert(&mut self, value: T) -> Option<u32> {
        let index = self.free;
        let last = self.last;
        let entry = self.entry_mut(index)?;
        let after = entry.next;
        *entry = Entry {
            value: Some(value),
            prev: last,
            next: NONE,
            generation: entry.generation.wrapping_add(1),
        };
        self.free = after;
        match self.entry_mut(last) {
            Some(entry) => entry.next = index,
            None => self.first = index,
        }
        self.last = index;
        self.used += 1;
        Some(index)
    }

    /// Frees a slot and gives its value back; `None` if it was free.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let entry = self.entry_mut(index)?;
        let value = entry.value.take()?;
        let (prev, next) = (entry.prev, entry.next);
        entry.next = free;
        self.free = index;
        match self.entry_mut(prev) {
            Some(entry) => entry.next = next,
            None => self.first = next,
        }
        match self.entry_mut(next) {
            Some(entry) => entry.prev = prev,
            None => self.last = prev,
        }
        self.used = self.used.saturating_sub(1);
        Some(value)
    }

    /// The value in a slot in use.
    pub fn get(&self, index: u32) -> Option<&T> {
        self.entry(index)?.value.as_ref()
    }

    /// The value in a slot in use.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entry_mut(index)?.value.as_mut()
    }

    /// The oldest slot in use.
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// The next younger slot in use.
    pub fn after(&self, index: u32) -> Option<u32> {
        let entry = self.entry(index)?;
        (entry.value.is_some() && entry.next != NONE).then_some(entry.next)
    }

    /// All slots in use with their values, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let mut at = self.first();
        core::iter::from_fn(move || {
            let index = at?;
            at = self.after(index);
            Some((index, self.get(index)?))
        })
    }

    /// An identifier of this use of the slot, never all ones.
    pub fn token(&self, index: u32) -> u64 {
        let generation = self.entry(index).map_or(0, |entry| entry.generation);
        (u64::from(generation) << 32) | u64::from(index)
    }

    /// The slot in use that `token` names; `None` for a stale or invented token.
    pub fn lookup(&self, token: u64) -> Option<u32> {
        let index = u32::try_from(token & u64::from(u32::MAX)).ok()?;
        let entry = self.entry(index)?;
        (entry.value.is_some() && u64::from(entry.generation) == token >> 32).then_some(index)
    }

    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        self.entries.get(usize::try_from(index).ok()?)
    }

    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<T>> {
        self.entries.get_mut(usize::try_from(index).ok()?)
    }
}
