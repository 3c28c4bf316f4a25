// SPDX-License-Identifier: GPL-2.0

//! A lower disk with a volatile cache.

use rdb_engine::meta::Superblock;

use crate::rng::Rng;

/// What a sector holds: 0 = never written, else the number of the write that made it.
pub type Stamp = u64;

/// A disk: data, metadata, and what of it would survive a loss of power.
#[derive(Clone)]
pub struct Disk {
    /// What a read returns.
    pub sectors: Vec<Stamp>,
    /// By sector: what was written since the last flush, oldest first.
    unflushed: Vec<Vec<Stamp>>,
    stable: Vec<Stamp>,
    /// The superblock; always written with flush and FUA.
    pub superblock: Superblock,
    /// The bitmap as last written.
    pub bitmap: Vec<u64>,
    stable_bitmap: Vec<u64>,
}

impl Disk {
    /// A disk with fresh metadata.
    pub fn new(sectors: u64, superblock: Superblock, words: usize) -> Self {
        let empty = vec![0; sectors as usize];
        Self {
            sectors: empty.clone(),
            unflushed: vec![Vec::new(); sectors as usize],
            stable: empty,
            superblock,
            bitmap: vec![0; words],
            stable_bitmap: vec![0; words],
        }
    }

    /// A write completes.
    pub fn write(&mut self, sector: u64, stamps: &[Stamp], durable: bool) {
        for (at, &stamp) in (sector as usize..).zip(stamps) {
            self.sectors[at] = stamp;
            if durable {
                self.stable[at] = stamp;
                self.unflushed[at].clear();
            } else {
                self.unflushed[at].push(stamp);
            }
        }
    }

    /// The cache is flushed.
    pub fn flush(&mut self) {
        self.stable.copy_from_slice(&self.sectors);
        self.unflushed.iter_mut().for_each(Vec::clear);
        self.stable_bitmap.copy_from_slice(&self.bitmap);
    }

    /// Power is lost: of what was not flushed, any version of each sector may be there.
    pub fn lose_power(&mut self, rng: &mut Rng) {
        for (stable, versions) in self.stable.iter_mut().zip(&mut self.unflushed) {
            let kept = rng.below(versions.len() as u64 + 1) as usize;
            if kept > 0 {
                *stable = versions[kept - 1];
            }
            versions.clear();
        }
        self.sectors.copy_from_slice(&self.stable);
        for (kept, new) in self.stable_bitmap.iter_mut().zip(&self.bitmap) {
            if rng.one_in(2) {
                *kept = *new;
            }
        }
        self.bitmap.copy_from_slice(&self.stable_bitmap);
    }
}
