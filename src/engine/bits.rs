// SPDX-License-Identifier: GPL-2.0

//! Bit ranges over 64-bit words, and the arithmetic between sectors and bits.
//!
//! Bit n of a bitmap stands for block n of 4096 bytes and lies in word n / 64 at value 1 << (n mod
//! 64) (metadata.md section 4.1, wire-protocol.md section 5.2). Where the words are kept is the
//! business of whoever implements [`Words`]: a slice here, pages in the kernel. A bit range is half
//! open: `first..end`.

use zerocopy::byteorder::{LittleEndian, U64};
use zerocopy::FromBytes;

/// Sectors of a block, that is of a bit.
pub const SECTORS_PER_BIT: u64 = 8;

/// Bits of a 4096-byte page of bitmap.
pub const BITS_PER_PAGE: u64 = 32768;

/// Bits of a volume of `capacity` sectors (metadata.md section 4.2).
pub const fn bits_of(capacity: u64) -> u64 {
    capacity.div_ceil(SECTORS_PER_BIT)
}

/// 64-bit words for `bits` bits.
pub const fn words_of(bits: u64) -> u64 {
    bits.div_ceil(64)
}

/// 4096-byte pages for `bits` bits.
pub const fn pages_of(bits: u64) -> u64 {
    bits.div_ceil(BITS_PER_PAGE)
}

/// Bits to set when the sectors `sector..sector + sectors` of a volume of `capacity` sectors went
/// out of sync: every block that is touched. What lies behind the volume is cut off. (metadata.md
/// section 4.5)
pub fn out_of_sync_bits(sector: u64, sectors: u64, capacity: u64) -> core::ops::Range<u64> {
    let end = sector.saturating_add(sectors).min(capacity);
    if sector >= end {
        return 0..0;
    }
    sector / SECTORS_PER_BIT..end.div_ceil(SECTORS_PER_BIT)
}

/// Bits to clear when the sectors `sector..sector + sectors` came in sync: only blocks that are
/// covered wholly, or up to the end of the volume. (metadata.md section 4.5)
pub fn in_sync_bits(sector: u64, sectors: u64, capacity: u64) -> core::ops::Range<u64> {
    let end = sector.saturating_add(sectors).min(capacity);
    if sector >= end {
        return 0..0;
    }
    let first = sector.div_ceil(SECTORS_PER_BIT);
    let end_bit = if end == capacity {
        end.div_ceil(SECTORS_PER_BIT)
    } else {
        end / SECTORS_PER_BIT
    };
    first..end_bit.max(first)
}

/// A bitmap that can be read.
pub trait Words {
    /// Number of bits. Bits behind them in the last word count as clear, whatever the word says.
    fn bits(&self) -> u64;

    /// Word `index`; 0 if there is none.
    fn word(&self, index: u64) -> u64;

    /// Word `index` without the bits behind the end.
    fn masked_word(&self, index: u64) -> u64 {
        self.word(index) & valid_mask(self.bits(), index)
    }

    /// Whether bit `bit` is set; false behind the end.
    fn is_set(&self, bit: u64) -> bool {
        self.masked_word(bit / 64) & (1 << (bit % 64)) != 0
    }

    /// The first bit of `from..end` whose value is `value`, or `None`. `end` is cut to the number
    /// of bits.
    fn find(&self, from: u64, end: u64, value: bool) -> Option<u64> {
        let end = end.min(self.bits());
        let flip = if value { 0 } else { u64::MAX };
        let mut bit = from;
        while bit < end {
            let ahead = (self.word(bit / 64) ^ flip) >> (bit % 64);
            if ahead != 0 {
                let found = bit + u64::from(ahead.trailing_zeros());
                return (found < end).then_some(found);
            }
            bit = (bit / 64).saturating_add(1).saturating_mul(64);
        }
        None
    }

    /// Number of set bits in `range`, which is cut to the number of bits.
    fn count(&self, range: core::ops::Range<u64>) -> u64 {
        words_in(range.start..range.end.min(self.bits()))
            .map(|(index, mask)| u64::from((self.word(index) & mask).count_ones()))
            .fold(0, u64::saturating_add)
    }

    /// Number of all set bits.
    fn count_all(&self) -> u64 {
        self.count(0..self.bits())
    }
}

/// A bitmap that can be changed.
pub trait WordsMut: Words {
    /// Replaces word `index`. Called only for words that hold at least one bit of the bitmap, and
    /// only with a value that differs from the present one: an implementation may note the page
    /// as changed.
    fn set_word(&mut self, index: u64, value: u64);

    /// Sets the bits of `range`, cut to the number of bits. Returns how many were clear.
    fn set(&mut self, range: core::ops::Range<u64>) -> u64 {
        self.change(range, |word, mask| word | mask)
    }

    /// Clears the bits of `range`, cut to the number of bits. Returns how many were set.
    fn clear(&mut self, range: core::ops::Range<u64>) -> u64 {
        self.change(range, |word, mask| word & !mask)
    }

    /// Sets in word `index` the bits that are set in `word`; bits behind the end are left out.
    /// Returns how many were clear.
    fn merge_word(&mut self, index: u64, word: u64) -> u64 {
        let old = self.word(index);
        let new = old | (word & valid_mask(self.bits(), index));
        if new != old {
            self.set_word(index, new);
        }
        u64::from((old ^ new).count_ones())
    }

    /// The common part of [`WordsMut::set`] and [`WordsMut::clear`]: `f` gets a word and the mask
    /// of its bits in the range. Returns how many bits changed.
    fn change(&mut self, range: core::ops::Range<u64>, f: impl Fn(u64, u64) -> u64) -> u64 {
        let mut changed: u64 = 0;
        for (index, mask) in words_in(range.start..range.end.min(self.bits())) {
            let old = self.word(index);
            let new = f(old, mask);
            if new != old {
                self.set_word(index, new);
                changed = changed.saturating_add(u64::from((old ^ new).count_ones()));
            }
        }
        changed
    }
}

/// A bitmap in a slice of words.
#[derive(Clone, Copy, Debug)]
pub struct BitSlice<'a> {
    words: &'a [u64],
    bits: u64,
}

impl<'a> BitSlice<'a> {
    /// The first `bits` bits of `words`; fewer if the slice holds fewer.
    pub fn new(words: &'a [u64], bits: u64) -> Self {
        Self {
            words,
            bits: bits.min(capacity_of(words.len())),
        }
    }
}

impl Words for BitSlice<'_> {
    fn bits(&self) -> u64 {
        self.bits
    }

    fn word(&self, index: u64) -> u64 {
        element(self.words, index).copied().unwrap_or(0)
    }
}

/// A bitmap in a slice of words, to be changed.
#[derive(Debug)]
pub struct BitSliceMut<'a> {
    words: &'a mut [u64],
    bits: u64,
}

impl<'a> BitSliceMut<'a> {
    /// The first `bits` bits of `words`; fewer if the slice holds fewer.
    pub fn new(words: &'a mut [u64], bits: u64) -> Self {
        let bits = bits.min(capacity_of(words.len()));
        Self { words, bits }
    }
}

impl Words for BitSliceMut<'_> {
    fn bits(&self) -> u64 {
        self.bits
    }

    fn word(&self, index: u64) -> u64 {
        element(self.words, index).copied().unwrap_or(0)
    }
}

impl WordsMut for BitSliceMut<'_> {
    fn set_word(&mut self, index: u64, value: u64) {
        if let Some(word) = usize::try_from(index)
            .ok()
            .and_then(|index| self.words.get_mut(index))
        {
            *word = value;
        }
    }
}

/// A bitmap as it is on disk and in `P_BITMAP`: little-endian words.
#[derive(Clone, Copy, Debug)]
pub struct DiskBits<'a> {
    words: &'a [U64<LittleEndian>],
    bits: u64,
}

impl<'a> DiskBits<'a> {
    /// The first `bits` bits of `bytes`; fewer if there are fewer whole words. A remainder below
    /// eight bytes is left out.
    pub fn new(bytes: &'a [u8], bits: u64) -> Self {
        let whole = bytes.get(..bytes.len() / 8 * 8).unwrap_or_default();
        let words = <[U64<LittleEndian>]>::ref_from_bytes(whole).unwrap_or_default();
        Self {
            words,
            bits: bits.min(capacity_of(words.len())),
        }
    }
}

impl Words for DiskBits<'_> {
    fn bits(&self) -> u64 {
        self.bits
    }

    fn word(&self, index: u64) -> u64 {
        element(self.words, index).map_or(0, |word| word.get())
    }
}

/// A bitmap as it is on disk, to be changed.
#[derive(Debug)]
pub struct DiskBitsMut<'a> {
    words: &'a mut [U64<LittleEndian>],
    bits: u64,
}

impl<'a> DiskBitsMut<'a> {
    /// The first `bits` bits of `bytes`; fewer if there are fewer whole words.
    pub fn new(bytes: &'a mut [u8], bits: u64) -> Self {
        let whole = bytes.len() / 8 * 8;
        let bytes = bytes.get_mut(..whole).unwrap_or_default();
        let words = <[U64<LittleEndian>]>::mut_from_bytes(bytes).unwrap_or_default();
        let bits = bits.min(capacity_of(words.len()));
        Self { words, bits }
    }
}

impl Words for DiskBitsMut<'_> {
    fn bits(&self) -> u64 {
        self.bits
    }

    fn word(&self, index: u64) -> u64 {
        element(self.words, index).map_or(0, |word| word.get())
    }
}

impl WordsMut for DiskBitsMut<'_> {
    fn set_word(&mut self, index: u64, value: u64) {
        if let Some(word) = usize::try_from(index)
            .ok()
            .and_then(|index| self.words.get_mut(index))
        {
            word.set(value);
        }
    }
}

/// The bits of word `index` that a bitmap of `bits` bits has.
const fn valid_mask(bits: u64, index: u64) -> u64 {
    match bits.saturating_sub(index.saturating_mul(64)) {
        0 => 0,
        left @ 1..=63 => (1 << left) - 1,
        _ => u64::MAX,
    }
}

/// The words that `range` touches, each with the mask of its bits in the range.
fn words_in(range: core::ops::Range<u64>) -> impl Iterator<Item = (u64, u64)> {
    let indices = if range.start < range.end {
        range.start / 64..words_of(range.end)
    } else {
        0..0
    };
    indices.map(move |index| {
        let below_start = match range.start.saturating_sub(index.saturating_mul(64)) {
            0 => 0,
            skipped => (1 << (skipped % 64)) - 1,
        };
        (index, valid_mask(range.end, index) & !below_start)
    })
}

fn element<T>(words: &[T], index: u64) -> Option<&T> {
    words.get(usize::try_from(index).ok()?)
}

const fn capacity_of(words: usize) -> u64 {
    (words as u64).saturating_mul(64)
}

#[cfg(test)]
mod tests;
