// SPDX-License-Identifier: GPL-2.0

//! The sectors that the application uses.
//!
//! Volumes are hundreds of MiB large, because an extent of the activity log is 4 MiB; but the application touches only a few
//! short regions of them. A *cell* is one such sector. Cells are numbered in the order of their sectors, so the cells of a
//! range of sectors have consecutive numbers, and a disk is a short array. All other sectors are zero on both nodes for ever.

use std::ops::Range as Span;

use rdb_engine::meta::EXTENT_SECTORS;
use rdb_engine::wire::Range;

use crate::rng::Rng;

/// What a sector holds: 0 = never written, or zeroed; else the number of the write that made it.
pub type Stamp = u64;

/// Sectors of a region.
const REGION: u64 = 24;

/// Where the cells are.
#[derive(Clone)]
pub struct Area {
    /// First sectors of the regions.
    regions: Vec<u64>,
}

impl Area {
    /// `count` regions or a few fewer, spread over a volume of `capacity` sectors: beside, inside and across extents, and at its end.
    pub fn new(capacity: u64, count: u64, rng: &mut Rng) -> Self {
        let last = capacity - REGION;
        let mut starts = vec![0, last];
        let extents = capacity.div_ceil(EXTENT_SECTORS);
        for _ in 2..count {
            let extent = rng.below(extents) * EXTENT_SECTORS;
            starts.push(match rng.below(4) {
                // Across the beginning of the extent.
                0 => extent.saturating_sub(1 + rng.below(REGION - 1)),
                1 => extent,
                _ => extent + rng.below(EXTENT_SECTORS),
            });
        }
        starts.sort_unstable();
        let mut regions: Vec<u64> = Vec::new();
        for start in starts {
            if start <= last && regions.last().is_none_or(|end| end + REGION <= start) {
                regions.push(start);
            }
        }
        if regions.last() != Some(&last) {
            regions.pop();
            regions.push(last);
        }
        Self { regions }
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.regions.len() * REGION as usize
    }

    /// The cells in a range of sectors.
    pub fn span(&self, range: &Range) -> Span<usize> {
        self.below(range.sector)..self.below(range.end())
    }

    /// How many cells lie before a sector.
    fn below(&self, sector: u64) -> usize {
        let after = self.regions.partition_point(|start| *start < sector);
        match after.checked_sub(1) {
            None => 0,
            Some(i) => i * REGION as usize + (sector - self.regions[i]).min(REGION) as usize,
        }
    }

    /// The sector of a cell.
    pub fn sector(&self, cell: usize) -> u64 {
        self.regions[cell / REGION as usize] + (cell % REGION as usize) as u64
    }

    /// A range of sectors in a region; `hot` of the regions are much more probable than the others.
    pub fn random_range(&self, hot: usize, rng: &mut Rng) -> Range {
        let count = self.regions.len();
        let among = if rng.one_in(4) { count } else { hot.min(count) };
        let region = self.regions[rng.below(among as u64) as usize];
        let sectors = 1 + rng.below(REGION);
        Range {
            sector: region + rng.below(REGION - sectors + 1),
            bytes: sectors as u32 * 512,
        }
    }
}
