// SPDX-License-Identifier: GPL-2.0

//! A lower disk with a volatile cache.

use rdb_engine::meta::log::{LogBlock, MAX_SLOTS, Replay, extent_bits};
use rdb_engine::meta::{MetaFlags, Superblock};

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
    /// The activity log; always written with flush and FUA.
    ring: Vec<Option<Vec<u8>>>,
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
            ring: vec![None; 8],
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

    /// A transaction of the activity log is written.
    pub fn write_log(&mut self, number: u32, block: Vec<u8>) {
        let blocks = self.ring.len();
        self.ring[number as usize % blocks] = Some(block);
    }

    /// Sets the bits of the extents that were active when a Primary died, and begins a new ring.
    pub fn replay_log(&mut self) {
        let flags = self.superblock.flags;
        let mut blocks: Vec<Vec<u8>> = self.ring.iter_mut().filter_map(Option::take).collect();
        if !flags.contains(MetaFlags::PRIMARY_IND) || flags.contains(MetaFlags::AL_DISABLED) {
            return;
        }
        let number = |block: &[u8]| match LogBlock::decode(block) {
            Some(LogBlock::Update(transaction)) => transaction.number(),
            _ => panic!("only transactions are written"),
        };
        blocks.sort_by_key(|block| number(block));
        let mut slots = vec![0; MAX_SLOTS];
        let mut replay = Replay::new(&mut slots).expect("room");
        for block in &blocks {
            replay.add(block);
        }
        for extent in replay.extents() {
            if let Some(bits) = extent_bits(extent, self.sectors.len() as u64) {
                for bit in bits {
                    self.bitmap[bit as usize / 64] |= 1 << (bit % 64);
                }
            }
        }
        self.flush();
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
