// SPDX-License-Identifier: GPL-2.0

//! Write epochs: which writes may depend on which (wire protocol, section 4.5).

use crate::memory::Memory;
use crate::wire::BarrierNumber;

/// A closed epoch of which the peer has not said that it is complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epoch {
    number: u32,
    writes: u32,
}

/// The sender's side.
pub(crate) struct SendEpochs<M: Memory> {
    /// Number of the open epoch.
    pub(crate) current: u32,
    /// Writes sent in it.
    writes: u32,
    closed: M::Table<Epoch>,
    first: usize,
    count: usize,
}

impl<M: Memory> SendEpochs<M> {
    pub(crate) fn new(closed: M::Table<Epoch>) -> Self {
        Self {
            current: 1,
            writes: 0,
            closed,
            first: 0,
            count: 0,
        }
    }

    /// Counts a write into the open epoch and returns the epoch's number.
    pub(crate) fn add_write(&mut self) -> u32 {
        self.writes = self.writes.saturating_add(1);
        self.current
    }

    /// Writes in the open epoch.
    pub(crate) fn open_writes(&self) -> u32 {
        self.writes
    }

    /// Closes the open epoch unless it is empty. Returns the barrier to send.
    ///
    /// There are as many places as requests, and an epoch holds at least one request: a place is always free.
    pub(crate) fn close(&mut self) -> Option<BarrierNumber> {
        let size = self.closed.len();
        if self.writes == 0 || self.count >= size {
            return None;
        }
        let at = self.first.saturating_add(self.count) % size;
        let epoch = Epoch {
            number: self.current,
            writes: self.writes,
        };
        *self.closed.get_mut(at)? = epoch;
        self.count += 1;
        self.writes = 0;
        self.current = self.current.wrapping_add(1);
        Some(BarrierNumber::from_u32(epoch.number))
    }

    /// Takes an acknowledgement; it must be for the oldest closed epoch. Returns the number of the epoch.
    pub(crate) fn acknowledge(&mut self, barrier: BarrierNumber, writes: u32) -> Option<u32> {
        let oldest = *self.closed.get(self.first).filter(|_| self.count > 0)?;
        if BarrierNumber::from_u32(oldest.number) != barrier || oldest.writes != writes {
            return None;
        }
        self.first = self.first.saturating_add(1) % self.closed.len().max(1);
        self.count -= 1;
        Some(oldest.number)
    }

    /// Whether closed epochs wait for their acknowledgement.
    pub(crate) fn awaits_ack(&self) -> bool {
        self.count > 0
    }

    /// Forgets everything: the connection is gone. Numbers go on.
    pub(crate) fn reset(&mut self) {
        self.current = self.current.wrapping_add(1);
        self.writes = 0;
        self.first = 0;
        self.count = 0;
    }
}

/// The receiver's side: the epoch that the peer has open.
#[derive(Default)]
pub(crate) struct ReceiveEpoch {
    /// Writes since the last barrier.
    pub(crate) writes: u32,
    /// Of these, how many are not completed.
    pub(crate) active: u32,
    /// The barrier that closed it; nothing more is read until it is acknowledged.
    pub(crate) barrier: Option<BarrierNumber>,
    /// Disks whose flush is under way.
    pub(crate) flushing: u32,
    /// The flushes were started.
    pub(crate) flushed: bool,
    /// How write order is kept.
    pub(crate) order: crate::write_order::WriteOrder,
}
