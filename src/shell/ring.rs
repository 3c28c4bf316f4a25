// SPDX-License-Identifier: GPL-2.0

//! A queue of fixed capacity.

use kernel::prelude::*;

use super::memory::Table;

/// First in, first out; never allocates after it was made.
pub(crate) struct Ring<T> {
    slots: Table<Option<T>>,
    head: usize,
    len: usize,
}

impl<T> Ring<T> {
    /// Room for `capacity` items. May sleep.
    pub(crate) fn new(capacity: usize) -> Result<Self> {
        Ok(Self {
            slots: Table::new(capacity)?,
            head: 0,
            len: 0,
        })
    }

    /// Number of items.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends; gives the item back if there is no room.
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        let capacity = self.slots.len();
        if self.len >= capacity {
            return Err(item);
        }
        let mut at = self.head.wrapping_add(self.len);
        if at >= capacity {
            at = at.wrapping_sub(capacity);
        }
        match self.slots.get_mut(at) {
            Some(slot) => {
                *slot = Some(item);
                self.len = self.len.wrapping_add(1);
                Ok(())
            }
            None => Err(item),
        }
    }

    /// The oldest item.
    pub(crate) fn front(&self) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        self.slots.get(self.head)?.as_ref()
    }

    /// The newest item.
    pub(crate) fn back(&self) -> Option<&T> {
        self.slots.get(self.last()?)?.as_ref()
    }

    /// Takes the newest item.
    pub(crate) fn pop_back(&mut self) -> Option<T> {
        let at = self.last()?;
        self.len = self.len.wrapping_sub(1);
        self.slots.get_mut(at)?.take()
    }

    fn last(&self) -> Option<usize> {
        let before = self.len.checked_sub(1)?;
        let at = self.head.wrapping_add(before);
        Some(at.checked_sub(self.slots.len()).unwrap_or(at))
    }

    /// Takes the oldest item.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let item = self.slots.get_mut(self.head)?.take();
        self.head = self.head.wrapping_add(1);
        if self.head >= self.slots.len() {
            self.head = 0;
        }
        self.len = self.len.wrapping_sub(1);
        item
    }

    /// Drops all items.
    pub(crate) fn clear(&mut self) {
        while self.pop().is_some() {}
    }
}
