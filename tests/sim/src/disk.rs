// SPDX-License-Identifier: GPL-2.0

//! A lower disk: data and metadata, a volatile cache, and everything that may go wrong with it.
//!
//! A write is in the cache when it completes. A flush makes the cache stable. When power is lost, each sector of 512 bytes has
//! any one of the versions that were written to it since the last flush: writes reach the medium in any order, and a write of several
//! sectors may do so in part. A write that was under way may have reached the cache or not, sector by sector.

use std::ops::Range as Span;

use rdb_engine::meta::log::{FREE_EXTENT, LogScan, MAX_SLOTS, Replay, Verdict, encode_initialised};
use rdb_engine::meta::{BLOCK_LEN, Created, Layout, MetaFlags, Superblock};

use crate::area::Stamp;
use crate::rng::Rng;

/// Bytes of a sector.
const SECTOR: usize = 512;

/// A block of metadata.
pub type Block = Box<[u8; BLOCK_LEN]>;

/// A zeroed block.
pub fn empty_block() -> Block {
    Box::new([0; BLOCK_LEN])
}

/// What an operation on the disk is for: each kind can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A read of data.
    Read,
    /// A write of data.
    Write,
    /// A flush of the cache.
    Flush,
    /// A transaction of the activity log.
    Log,
    /// A page of the bitmap.
    Bitmap,
    /// The superblock.
    Superblock,
}

/// Where a block of metadata belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The superblock.
    Superblock,
    /// A block of the activity log's ring.
    Log(u32),
    /// A page of the bitmap.
    Page(u32),
}

impl Place {
    /// What a write to it counts as.
    pub fn class(self) -> Class {
        match self {
            Self::Superblock => Class::Superblock,
            Self::Log(_) => Class::Log,
            Self::Page(_) => Class::Bitmap,
        }
    }
}

/// An error that is going to happen.
#[derive(Clone, Copy, Debug)]
struct Fuse {
    class: Class,
    /// Operations of the class that still succeed.
    left: u64,
    /// Every operation fails from then on.
    forever: bool,
}

/// A disk.
pub struct Disk {
    layout: Layout,
    /// What a read returns.
    pub cells: Vec<Stamp>,
    stable: Vec<Stamp>,
    /// Writes since the last flush, oldest first.
    cached: Vec<(usize, Stamp)>,
    blocks: Vec<Block>,
    stable_blocks: Vec<Block>,
    cached_blocks: Vec<(usize, Block)>,
    /// Metadata are on a device of their own, with a cache of its own.
    pub external: bool,
    fuse: Option<Fuse>,
    /// Nothing works any more.
    pub dead: bool,
    /// An operation has failed since the disk was attached.
    pub has_failed: bool,
    /// How often somebody began to attach it.
    pub attachments: u64,
    active: Option<ActiveSet>,
}

/// What a replay of the ring on stable storage would find.
struct ActiveSet {
    extents: Vec<u32>,
    /// Everything would be marked.
    all: bool,
}

impl Disk {
    /// A disk with fresh metadata.
    pub fn new(created: &Created, cells: usize, external: bool) -> Self {
        let layout = created.layout;
        let pages = layout.bitmap_sectors.div_ceil(8) as usize;
        let mut superblock = empty_block();
        created
            .superblock
            .encode(&mut *superblock)
            .expect("a whole block");
        let mut fresh = empty_block();
        encode_initialised(&mut *fresh).expect("a whole block");
        let mut blocks = vec![superblock];
        blocks.extend((0..layout.geometry.blocks()).map(|_| fresh.clone()));
        blocks.extend((0..pages).map(|_| empty_block()));
        Self {
            layout,
            cells: vec![0; cells],
            stable: vec![0; cells],
            cached: Vec::new(),
            stable_blocks: blocks.clone(),
            blocks,
            cached_blocks: Vec::new(),
            external,
            fuse: None,
            dead: false,
            has_failed: false,
            attachments: 0,
            active: None,
        }
    }

    /// Fills a new disk with what nobody has written: the numbers from `first` on.
    pub fn fill(&mut self, first: Stamp) {
        for (cell, stamp) in (first..).zip(&mut self.cells) {
            *stamp = cell;
        }
        self.stable.clone_from(&self.cells);
    }

    /// New metadata, as `create-md` writes them.
    pub fn format(&mut self, created: &Created) {
        let fresh = Self::new(created, self.cells.len(), self.external);
        self.blocks = fresh.blocks;
        self.stable_blocks = fresh.stable_blocks;
        self.cached_blocks.clear();
        self.active = None;
    }

    fn index(&self, place: Place) -> usize {
        let log = self.layout.geometry.blocks() as usize;
        match place {
            Place::Superblock => 0,
            Place::Log(block) => 1 + block as usize,
            Place::Page(page) => 1 + log + page as usize,
        }
    }

    /// Number of bitmap pages.
    pub fn pages(&self) -> u32 {
        (self.blocks.len() - 1) as u32 - self.layout.geometry.blocks()
    }

    /// Where the metadata are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What a read of a block returns.
    pub fn block(&self, place: Place) -> &Block {
        &self.blocks[self.index(place)]
    }

    /// The superblock that a read returns.
    pub fn superblock(&self) -> Superblock {
        Superblock::decode(&**self.block(Place::Superblock)).expect("a superblock is never torn")
    }

    /// Lets the `left`-th operation of a class from now on fail; `forever`: and everything after it.
    pub fn light_fuse(&mut self, class: Class, left: u64, forever: bool) {
        self.fuse = Some(Fuse {
            class,
            left,
            forever,
        });
    }

    /// The disk is as good as new; what is on it stays.
    pub fn repair(&mut self) {
        self.fuse = None;
        self.dead = false;
    }

    /// Whether an operation succeeds.
    pub fn succeeds(&mut self, class: Class) -> bool {
        let mut ok = !self.dead;
        if let Some(fuse) = self.fuse.as_mut().filter(|fuse| fuse.class == class) {
            match fuse.left.checked_sub(1) {
                Some(left) => fuse.left = left,
                None => {
                    ok = false;
                    self.dead |= fuse.forever;
                    self.fuse = None;
                }
            }
        }
        self.has_failed |= !ok;
        ok
    }

    /// A write completes.
    pub fn write(&mut self, at: Span<usize>, stamps: &[Stamp], durable: bool) {
        for (cell, &stamp) in at.zip(stamps) {
            self.cells[cell] = stamp;
            if durable {
                self.stable[cell] = stamp;
                self.cached.retain(|(other, _)| *other != cell);
            } else {
                self.cached.push((cell, stamp));
            }
        }
    }

    /// A write stops half-way: each sector is written or not.
    pub fn tear(&mut self, at: Span<usize>, stamps: &[Stamp], rng: &mut Rng) {
        for (cell, &stamp) in at.zip(stamps) {
            if rng.one_in(2) {
                self.write(cell..cell + 1, &[stamp], false);
            }
        }
    }

    /// A write of a block of metadata completes.
    pub fn write_block(&mut self, place: Place, block: Block, durable: bool) {
        let index = self.index(place);
        if durable {
            self.cached_blocks.retain(|(other, _)| *other != index);
            self.stable_blocks[index] = block.clone();
            self.active = None;
        } else {
            self.cached_blocks.push((index, block.clone()));
        }
        self.blocks[index] = block;
    }

    /// A write of a block of metadata stops half-way. True if it is neither the old one nor the new one.
    pub fn tear_block(&mut self, place: Place, block: &Block, rng: &mut Rng) -> bool {
        let index = self.index(place);
        let mut torn = self.blocks[index].clone();
        mix(&mut torn, block, rng);
        let neither = torn != self.blocks[index] && torn != *block;
        self.write_block(place, torn, false);
        neither
    }

    /// The cache of the data device is flushed; with internal metadata theirs, too.
    pub fn flush_data(&mut self) {
        for (cell, stamp) in self.cached.drain(..) {
            self.stable[cell] = stamp;
        }
        if !self.external {
            self.flush_blocks();
        }
    }

    /// The cache of the metadata device is flushed; with internal metadata that of the data, too.
    pub fn flush_meta(&mut self) {
        self.flush_blocks();
        if !self.external {
            self.flush_data();
        }
    }

    fn flush_blocks(&mut self) {
        for (index, block) in self.cached_blocks.drain(..) {
            self.stable_blocks[index] = block;
            self.active = None;
        }
    }

    /// Power is lost.
    pub fn lose_power(&mut self, rng: &mut Rng) {
        for (cell, stamp) in self.cached.drain(..) {
            if rng.one_in(2) {
                self.stable[cell] = stamp;
            }
        }
        for (index, block) in self.cached_blocks.drain(..) {
            mix(&mut self.stable_blocks[index], &block, rng);
        }
        self.cells.copy_from_slice(&self.stable);
        self.blocks.clone_from(&self.stable_blocks);
        self.active = None;
    }

    /// What was not flushed.
    pub fn unflushed(&self) -> usize {
        self.cached.len() + self.cached_blocks.len()
    }

    /// Whether a crash now, with the loss of all that is not on stable storage, would mark this extent.
    pub fn would_mark(&mut self, extent: u32) -> bool {
        if self.active.is_none() {
            self.active = Some(self.replay_stable());
        }
        self.active
            .as_ref()
            .is_some_and(|set| set.all || set.extents.binary_search(&extent).is_ok())
    }

    fn replay_stable(&self) -> ActiveSet {
        let nothing = ActiveSet {
            extents: Vec::new(),
            all: false,
        };
        let everything = || ActiveSet {
            extents: Vec::new(),
            all: true,
        };
        let superblock =
            Superblock::decode(&*self.stable_blocks[0]).expect("a superblock is never torn");
        let flags = superblock.flags;
        if flags.contains(MetaFlags::FULL_SYNC) {
            return everything();
        }
        if !flags.contains(MetaFlags::PRIMARY_IND) {
            return nothing;
        }
        if flags.contains(MetaFlags::AL_DISABLED) {
            return everything();
        }
        match replay(&self.layout, flags, |place| {
            &self.stable_blocks[self.index(place)]
        }) {
            Found::Extents(extents) => ActiveSet {
                extents,
                all: false,
            },
            Found::NothingToDo | Found::Initialise => nothing,
            Found::Damaged => everything(),
        }
    }
}

/// What a ring says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is as new.
    NothingToDo,
    /// It has no meaning any more, and is to be made as new.
    Initialise,
    /// These extents may have been written to; sorted.
    Extents(Vec<u32>),
    /// Nobody knows: everything must be marked.
    Damaged,
}

/// Reads a ring, as the kernel module does at attach.
pub fn replay<'a>(layout: &Layout, flags: MetaFlags, block: impl Fn(Place) -> &'a Block) -> Found {
    let at = |position: u32| Place::Log(layout.geometry.block_of(position));
    let mut scan = LogScan::new(layout.geometry);
    while let Some(position) = scan.next_position() {
        scan.add(&**block(at(position)));
    }
    let apply = match scan.verdict(flags) {
        Verdict::Apply(apply) => apply,
        Verdict::NothingToDo => return Found::NothingToDo,
        Verdict::Initialise => return Found::Initialise,
        Verdict::NoValidBlock | Verdict::PartlyDamaged => return Found::Damaged,
    };
    let mut slots = vec![FREE_EXTENT; MAX_SLOTS];
    let mut table = Replay::new(&mut slots).expect("the table is large enough");
    for position in apply.positions() {
        table.add(&**block(at(position)));
    }
    let mut extents: Vec<u32> = table.extents().collect();
    extents.sort_unstable();
    extents.dedup();
    Found::Extents(extents)
}

/// Replaces some of the sectors of `old` by those of `new`.
fn mix(old: &mut Block, new: &Block, rng: &mut Rng) {
    let choice = rng.bits();
    let sectors = old.chunks_mut(SECTOR).zip(new.chunks(SECTOR));
    for (i, (old, new)) in sectors.enumerate() {
        if choice >> i & 1 == 1 {
            old.copy_from_slice(new);
        }
    }
}
