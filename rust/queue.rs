// SPDX-License-Identifier: GPL-2.0

//! From interrupt handlers to a thread: a bounded first-in first-out queue.

use crate::lock::IrqSpinLock;
use crate::wait::WaitQueue;
use kernel::alloc::KVVec;
use kernel::prelude::*;

/// A bounded queue, made for completions: any context may push, and pushing allocates nothing.
///
/// Usually one thread pops, and waits in [`waiters`](Self::waiters) while there is nothing.
#[pin_data]
pub struct CompletionQueue<T: Send> {
    #[pin]
    ring: IrqSpinLock<Ring<T>>,
    #[pin]
    waiters: WaitQueue,
    capacity: usize,
}

/// A ring of optional items.
///
/// # Invariants
///
/// `first < slots.len()`, or that is 0. The `len` slots from `first` on, cyclically, are `Some`,
/// the others `None`.
struct Ring<T> {
    slots: KVVec<Option<T>>,
    first: usize,
    len: usize,
}

impl<T> Ring<T> {
    fn push(&mut self, item: T) -> Result<(), T> {
        let size = self.slots.len();
        if self.len >= size {
            return Err(item);
        }
        let at = self.first.wrapping_add(self.len) % size;
        match self.slots.get_mut(at) {
            Some(slot) => *slot = Some(item),
            None => return Err(item),
        }
        self.len += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let size = self.slots.len();
        let item = self.slots.get_mut(self.first)?.take();
        self.first = self.first.wrapping_add(1) % size;
        self.len -= 1;
        item
    }
}

impl<T: Send> CompletionQueue<T> {
    /// A queue for `capacity` items, at least one. Sleeps; `ENOMEM`.
    ///
    /// The capacity must cover all that can be outstanding at once, since a full queue refuses.
    pub fn new(capacity: usize) -> impl PinInit<Self, Error> {
        let capacity = capacity.max(1);
        try_pin_init!(Self {
            ring <- crate::new_irq_spinlock!(
                Ring {
                    slots: crate::mem::filled_with(capacity, |_| Ok(None))?,
                    first: 0,
                    len: 0,
                },
                "rdb_completion_queue"
            ),
            waiters <- crate::new_wait_queue!("rdb_completion_queue"),
            capacity,
        })
    }

    /// Append `item` and wake the waiters. Any context. `Err` gives the item back: the queue is
    /// full.
    pub fn push(&self, item: T) -> Result<(), T> {
        self.ring.lock().push(item)?;
        self.waiters.wake_all();
        Ok(())
    }

    /// Append `item` without waking anybody; returns how many there are now. Any context. `Err`: as
    /// for [`push`](Self::push).
    pub fn push_quietly(&self, item: T) -> Result<usize, T> {
        let mut ring = self.ring.lock();
        ring.push(item)?;
        Ok(ring.len)
    }

    /// Take the oldest item. Any context.
    pub fn pop(&self) -> Option<T> {
        self.ring.lock().pop()
    }

    /// Number of items. Any context.
    pub fn len(&self) -> usize {
        self.ring.lock().len
    }

    /// Whether there is no item. Any context.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Largest number of items.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Where to wait: `q.waiters().wait_idle(|| !q.is_empty() || thread.should_stop())`.
    pub fn waiters(&self) -> &WaitQueue {
        &self.waiters
    }

    /// Wake the waiters without an item, to make them look at their other conditions. Any context.
    pub fn wake(&self) {
        self.waiters.wake_all();
    }
}
