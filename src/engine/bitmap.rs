// SPDX-License-Identifier: GPL-2.0

//! The bitmap of a volume: which 4 KiB blocks differ, or may differ, from the peer's (metadata, section 4).
//!
//! The words are the owner's memory. The number of set bits is kept, so that "how much is left" costs nothing. For every page of
//! 4096 bytes there is a note what changed since it was last written: only such pages are written (section 4.3).
//!
//! Memory: 1 bit for 4 KiB of data and 8 bytes for 128 MiB, that is 512 MiB and 1 MiB for 16 TiB.

use crate::bits::{bits_of, in_sync_bits, out_of_sync_bits, pages_of, Words, WordsMut};
use crate::memory::Memory;
use crate::meta::BITS_PER_EXTENT;
use crate::wire::Range;

/// Bytes of a block.
pub const BLOCK_BYTES: u32 = 4096;

/// 64-bit words of a page of bitmap.
pub const WORDS_PER_PAGE: usize = 512;

/// What changed of a page since it was last written; the owner of the memory fills a table with default values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageNote {
    /// The extents of the activity log with bits that changed, the first one in the lowest bit.
    extents: u32,
    /// Bits were cleared.
    cleared: bool,
}

impl PageNote {
    const CHANGED: Self = Self {
        extents: u32::MAX,
        cleared: true,
    };

    fn is_changed(self) -> bool {
        self.extents != 0
    }

    fn has(self, extent: u32) -> bool {
        self.extents & (1 << (extent % EXTENTS_PER_PAGE)) != 0
    }
}

/// Extents of the activity log whose bits are on one page: as many as [`PageNote`] has bits for.
const EXTENTS_PER_PAGE: u32 = u32::BITS;
/// 64-bit words with the bits of an extent.
const WORDS_PER_EXTENT: usize = (BITS_PER_EXTENT / 64) as usize;
const _: () = assert!(WORDS_PER_PAGE == EXTENTS_PER_PAGE as usize * WORDS_PER_EXTENT);

/// Pages of the bitmap that are to be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitmapPages {
    /// The first page.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Bits were cleared: the blocks that they stand for must be on stable storage first, so flush the cache of the data device.
    pub flush_data: bool,
}

impl BitmapPages {
    /// Index of the first word, and number of words; the last page of a bitmap may have fewer.
    pub fn words(&self) -> core::ops::Range<usize> {
        let first = (self.first as usize).saturating_mul(WORDS_PER_PAGE);
        first..first.saturating_add((self.count as usize).saturating_mul(WORDS_PER_PAGE))
    }
}

/// Pages for a bitmap of `words` words.
pub const fn pages_for(words: usize) -> usize {
    words.div_ceil(WORDS_PER_PAGE)
}

/// A bitmap over memory that somebody else allocated.
///
/// # Invariants
///
/// Bits from the end of the volume on are clear; `set` is the number of set bits, `changed` that of pages with a note.
pub struct Bitmap<M: Memory> {
    words: M::Words,
    notes: M::Table<PageNote>,
    capacity: u64,
    set: u64,
    changed: usize,
}

impl<M: Memory> Bitmap<M> {
    /// Takes the words as they are on the disk; bits beyond `capacity` (sectors) are cleared. `notes` has an entry for every page
    /// of them.
    pub fn new(words: M::Words, mut notes: M::Table<PageNote>, capacity: u64) -> Self {
        notes.fill(PageNote::default());
        let mut bitmap = Self {
            words,
            notes,
            capacity,
            set: 0,
            changed: 0,
        };
        bitmap.mask_tail();
        bitmap
    }

    /// Whether pages changed since they were last written.
    pub fn is_changed(&self) -> bool {
        self.changed > 0
    }

    /// Has every page of the volume written.
    pub fn touch_all(&mut self) {
        let pages = usize::try_from(pages_of(self.bits())).unwrap_or(usize::MAX);
        for index in 0..pages.min(self.notes.len()) {
            self.touch(index, PageNote::CHANGED);
        }
    }

    /// The next changed pages from page `from` on, at most `max` in a row, which count as written from now on.
    pub fn take_pages(&mut self, from: u32, max: u32) -> Option<BitmapPages> {
        if self.changed == 0 {
            return None;
        }
        let ahead = self.notes.get(from as usize..)?;
        let skipped = ahead.iter().position(|note| note.is_changed())?;
        let first = from.saturating_add(u32::try_from(skipped).ok()?);
        let mut pages = BitmapPages {
            first,
            count: 0,
            flush_data: false,
        };
        for note in self
            .notes
            .iter_mut()
            .skip(first as usize)
            .take(max as usize)
        {
            if !note.is_changed() {
                break;
            }
            pages.count += 1;
            pages.flush_data |= note.cleared;
            *note = PageNote::default();
            self.changed = self.changed.saturating_sub(1);
        }
        Some(pages)
    }

    /// The page with the bits of an extent, if they changed since it was last written, and with it its neighbours in the same `max`
    /// pages that changed, too, up to the last one on either side; all count as written from now on.
    ///
    /// One write for all costs a disk less than one for each, so what lies between and did not change is written once more as it is.
    /// And it serves all their extents: the log evicts those that were not written to for longest, whose bits were then written with
    /// others' before. A neighbour with cleared bits is left for later: it would need a flush.
    pub fn take_around(&mut self, extent: u32, max: u32) -> Option<BitmapPages> {
        let page = extent / EXTENTS_PER_PAGE;
        let note = |index: u32| self.notes.get(index as usize).copied();
        let wanted = note(page).filter(|note| note.has(extent))?;
        let start = page.saturating_sub(page.checked_rem(max)?);
        let reached = |pages: &mut dyn Iterator<Item = u32>| {
            pages
                .map_while(|index| Some((index, note(index).filter(|note| !note.cleared)?)))
                .filter(|(_, note)| note.is_changed())
                .last()
                .map_or(page, |(index, _)| index)
        };
        let first = reached(&mut (start..page).rev());
        let last = reached(&mut (page.saturating_add(1)..start.saturating_add(max)));
        let count = last.saturating_sub(first).saturating_add(1);
        for note in self
            .notes
            .iter_mut()
            .skip(first as usize)
            .take(count as usize)
        {
            self.changed = self.changed.saturating_sub(usize::from(note.is_changed()));
            *note = PageNote::default();
        }
        Some(BitmapPages {
            first,
            count,
            flush_data: wanted.cleared,
        })
    }

    fn touch(&mut self, page: usize, how: PageNote) {
        if let Some(note) = self.notes.get_mut(page) {
            self.changed += usize::from(!note.is_changed());
            note.extents |= how.extents;
            note.cleared |= how.cleared;
        }
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

    /// Sets all bits, and has them all written.
    pub fn set_all(&mut self) {
        let bits = self.bits();
        self.set(0..bits);
        self.touch_all();
    }

    /// Clears all bits, and has them all written.
    pub fn clear_all(&mut self) {
        let bits = self.bits();
        self.clear(0..bits);
        self.touch_all();
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

impl<M: Memory> Words for Bitmap<M> {
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

impl<M: Memory> WordsMut for Bitmap<M> {
    fn set_word(&mut self, index: u64, value: u64) {
        let Ok(index) = usize::try_from(index) else {
            return;
        };
        if let Some(word) = self.words.get_mut(index) {
            self.set = (self.set + u64::from(value.count_ones()))
                .saturating_sub(u64::from(word.count_ones()));
            if *word == value {
                return;
            }
            let extent = index % WORDS_PER_PAGE / WORDS_PER_EXTENT;
            let how = PageNote {
                extents: 1 << extent,
                cleared: *word & !value != 0,
            };
            *word = value;
            self.touch(index / WORDS_PER_PAGE, how);
        }
    }
}
