// SPDX-License-Identifier: GPL-2.0

//! The bitmap of a volume: which 4 KiB blocks differ, or may differ, from the peer's (metadata, section 4).
//!
//! The words are the owner's memory. The number of set bits is kept, so that "how much is left" costs nothing.

use core::ops::DerefMut;

use crate::bits::{bits_of, in_sync_bits, out_of_sync_bits, Words, WordsMut};
use crate::wire::Range;

/// Bytes of a block.
pub const BLOCK_BYTES: u32 = 4096;

/// A bitmap over words that somebody else allocated.
///
/// # Invariants
///
/// Bits from the end of the volume on are clear; `set` is the number of set bits.
pub struct Bitmap<W> {
    words: W,
    capacity: u64,
    set: u64,
}

impl<W: DerefMut<Target = [u64]>> Bitmap<W> {
    /// Takes the words as they were read from the disk; bits beyond `capacity` (sectors) are cleared.
    pub fn new(words: W, capacity: u64) -> Self {
        let mut bitmap = Self {
            words,
            capacity,
            set: 0,
        };
        bitmap.mask_tail();
        bitmap
    }

    /// Number of set bits.
    pub fn set_bits(&self) -> u64 {
        self.set
    }

    /// The words, for writing them to the disk.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Changes the size of the volume, in sectors; bits of new blocks are set.
    pub fn resize(&mut self, capacity: u64) {
        let old = self.bits();
        self.capacity = capacity;
        self.mask_tail();
        let new = self.bits();
        self.set(old..new);
    }

    /// Sets all bits.
    pub fn set_all(&mut self) {
        let bits = self.bits();
        self.set(0..bits);
    }

    /// Clears all bits.
    pub fn clear_all(&mut self) {
        let bits = self.bits();
        self.clear(0..bits);
    }

    /// Marks every block that the range touches (metadata, section 4.5). Returns how many bits changed.
    pub fn mark(&mut self, range: &Range) -> u64 {
        self.set(out_of_sync_bits(
            range.sector,
            range.sectors(),
            self.capacity,
        ))
    }

    /// Clears the blocks that lie wholly inside the range, at the end of the volume also the last, shorter one (metadata,
    /// section 4.5). Returns how many bits changed.
    pub fn unmark(&mut self, range: &Range) -> u64 {
        self.clear(in_sync_bits(range.sector, range.sectors(), self.capacity))
    }

    /// Whether a block that the range touches is marked.
    pub fn is_marked(&self, range: &Range) -> bool {
        let bits = out_of_sync_bits(range.sector, range.sectors(), self.capacity);
        self.find(bits.start, bits.end, true).is_some()
    }

    fn mask_tail(&mut self) {
        let bits = self.bits();
        let full = usize::try_from(bits / 64).unwrap_or(usize::MAX);
        let tail = self.words.get_mut(full..).unwrap_or_default();
        let mut valid = (1 << (bits % 64)) - 1;
        for word in tail {
            *word &= valid;
            valid = 0;
        }
        self.set = self
            .words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum();
    }
}

impl<W: DerefMut<Target = [u64]>> Words for Bitmap<W> {
    fn bits(&self) -> u64 {
        bits_of(self.capacity).min((self.words.len() as u64).saturating_mul(64))
    }

    fn word(&self, index: u64) -> u64 {
        usize::try_from(index)
            .ok()
            .and_then(|i| self.words.get(i))
            .copied()
            .unwrap_or(0)
    }
}

impl<W: DerefMut<Target = [u64]>> WordsMut for Bitmap<W> {
    fn set_word(&mut self, index: u64, value: u64) {
        if let Some(word) = usize::try_from(index)
            .ok()
            .and_then(|i| self.words.get_mut(i))
        {
            self.set = (self.set + u64::from(value.count_ones()))
                .saturating_sub(u64::from(word.count_ones()));
            *word = value;
        }
    }
}
