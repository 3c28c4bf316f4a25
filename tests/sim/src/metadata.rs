// SPDX-License-Identifier: GPL-2.0

//! Metadata I/O of a node: its disk worker, and what an attach reads and writes.
//!
//! Every operation has a beginning and an end, and anything may happen in between, a crash included. The worker does one job at a time,
//! in the order of the acts, as the disk worker of the kernel module does.

use std::collections::VecDeque;

use rdb_engine::activity_log::{LogSlot, LogStep};
use rdb_engine::bitmap::{BitmapPages, PageNote, pages_for};
use rdb_engine::bits::{bits_of, words_of};
use rdb_engine::effects::{Act, Millis, VolumeIndex};
use rdb_engine::meta::log::{encode_initialised, extent_bits};
use rdb_engine::meta::{BLOCK_LEN, EXTENT_SECTORS, MetaFlags};
use rdb_engine::volume::AttachedDisk;
use rdb_engine::wire::QueueLimits;

use crate::disk::{Block, Class, Disk, Found, Place, empty_block, replay};
use crate::node::Node;
use crate::rng::Rng;
use crate::trace::say;

/// Words of a page of bitmap.
const PAGE_WORDS: usize = BLOCK_LEN / 8;

/// One operation.
enum Io {
    FlushData,
    FlushMeta,
    Write {
        place: Place,
        block: Block,
        /// With a flush before, and stable when it is done.
        durable: bool,
    },
}

impl Io {
    fn class(&self) -> Class {
        match self {
            Self::FlushData | Self::FlushMeta => Class::Flush,
            Self::Write { place, .. } => place.class(),
        }
    }

    /// It fails, or the node dies in the middle of it. True if a block is neither the old nor the new one.
    fn stop_half_way(self, disk: &mut Disk, rng: &mut Rng) -> bool {
        let Self::Write {
            place,
            block,
            durable,
        } = self
        else {
            return false;
        };
        if durable {
            // Nothing of the block is on the medium before the flush is complete.
            if rng.one_in(2) {
                return false;
            }
            disk.flush_meta();
        }
        disk.tear_block(place, &block, rng)
    }

    fn carry_out(self, disk: &mut Disk) {
        match self {
            Self::FlushData => disk.flush_data(),
            Self::FlushMeta => disk.flush_meta(),
            Self::Write {
                place,
                block,
                durable,
            } => {
                if durable {
                    disk.flush_meta();
                }
                disk.write_block(place, block, durable);
            }
        }
    }
}

/// What the operations are for.
#[derive(Clone, Copy, Debug)]
enum Job {
    Superblock(VolumeIndex, u64),
    /// The next page to look at.
    Bitmap(VolumeIndex, u32),
    /// What was written is the transaction itself.
    Log(VolumeIndex, bool),
    Flush(VolumeIndex),
    Close(VolumeIndex),
}

/// Operations one after the other.
#[derive(Default)]
struct Sequence {
    ios: VecDeque<Io>,
    /// The first one is under way.
    begun: bool,
    failed: bool,
}

impl Sequence {
    /// Begins or ends an operation. False if there is none left.
    fn step(&mut self, disk: &mut Disk, rng: &mut Rng) -> bool {
        if !self.begun {
            self.begun = !self.ios.is_empty();
            return self.begun;
        }
        self.begun = false;
        let Some(io) = self.ios.pop_front() else {
            return false;
        };
        if disk.succeeds(io.class()) {
            io.carry_out(disk);
        } else {
            io.stop_half_way(disk, rng);
            self.failed = true;
            self.ios.clear();
        }
        true
    }
}

/// The disk worker and the thread that attaches.
#[derive(Default)]
pub struct Metadata {
    job: Option<(Job, Sequence)>,
    attach: Option<(Box<Attach>, Sequence)>,
}

/// What an attach has found.
struct Attach {
    superblock: rdb_engine::meta::Superblock,
    words: Vec<u64>,
}

/// What a crash met half done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// What was being written.
    pub class: Class,
    /// The block is neither the old one nor the new one.
    pub torn: bool,
}

impl Metadata {
    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.job.is_none() && self.attach.is_none()
    }

    /// A disk is being attached.
    pub fn is_attaching(&self) -> bool {
        self.attach.is_some()
    }

    /// The node dies: what is under way is done in part.
    pub fn crash(&mut self, disk: &mut Disk, rng: &mut Rng) -> Vec<Interrupted> {
        let job = self.job.take().map(|(_, sequence)| sequence);
        let attach = self.attach.take().map(|(_, sequence)| sequence);
        let mut met = Vec::new();
        for mut sequence in job.into_iter().chain(attach) {
            let begun = sequence.begun;
            if let Some(io) = sequence.ios.pop_front().filter(|_| begun) {
                met.push(Interrupted {
                    class: io.class(),
                    torn: io.stop_half_way(disk, rng),
                });
            }
        }
        met
    }
}

impl Node {
    /// Whether the disk worker has something to do.
    pub(crate) fn has_disk_work(&self) -> bool {
        match &self.metadata.job {
            // The disk is closed when nothing is in flight on it.
            Some((Job::Close(_), _)) => self.running.is_empty(),
            Some(_) => true,
            None => !self.q.disk_work.is_empty(),
        }
    }

    /// One step of the disk worker.
    pub(crate) fn disk_work(&mut self, now: Millis, rng: &mut Rng) {
        let Some((job, mut sequence)) = self.metadata.job.take() else {
            let Some(act) = self.q.disk_work.pop_front() else {
                return;
            };
            self.metadata.job = self.prepare(act);
            return;
        };
        if sequence.step(&mut self.disk, rng) {
            self.metadata.job = Some((job, sequence));
            return;
        }
        let ok = !sequence.failed;
        if let Some(next) = ok.then(|| self.go_on(job)).flatten() {
            self.metadata.job = Some(next);
            return;
        }
        say!(
            self.trace,
            self.name,
            "{job:?} {}",
            if ok { "done" } else { "FAILED" }
        );
        let (engine, q) = (&mut self.engine, &mut self.q);
        match job {
            Job::Superblock(v, number) => engine.superblock_done(now, v, number, ok, q),
            Job::Bitmap(v, _) => engine.bitmap_written(now, v, ok, q),
            Job::Log(v, written) => engine.log_written(now, v, ok && written, q),
            Job::Flush(v) => engine.flush_done(now, v, ok, q),
            Job::Close(v) => engine.disk_closed(now, v, q),
        }
    }

    fn prepare(&mut self, act: Act) -> Option<(Job, Sequence)> {
        let mut ios = VecDeque::new();
        let job = match act {
            Act::WriteSuperblock { volume } => {
                let (number, superblock) = self.engine.superblock(volume)?;
                let mut block = empty_block();
                superblock.encode(&mut *block).expect("a whole block");
                if self.disk.external {
                    ios.push_back(Io::FlushData);
                }
                ios.push_back(Io::Write {
                    place: Place::Superblock,
                    block,
                    durable: true,
                });
                Job::Superblock(volume, number)
            }
            Act::WriteBitmap { volume } => Job::Bitmap(volume, 0),
            Act::WriteLog { volume } => Job::Log(volume, false),
            Act::FlushDisk { volume } => {
                ios.push_back(Io::FlushData);
                Job::Flush(volume)
            }
            Act::CloseDisk { volume } => Job::Close(volume),
            act => unreachable!("{act:?} is not for the disk worker"),
        };
        let sequence = Sequence {
            ios,
            ..Sequence::default()
        };
        Some((job, sequence))
    }

    /// The next operations of a job whose last ones are done; `None` if it is finished.
    fn go_on(&mut self, job: Job) -> Option<(Job, Sequence)> {
        let mut ios = VecDeque::new();
        let next = match job {
            Job::Bitmap(v, from) => {
                let pages = self.engine.next_bitmap_pages(v, from, 2)?;
                self.write_pages(v, &pages, &mut ios);
                Job::Bitmap(v, pages.first + pages.count)
            }
            Job::Log(v, false) => {
                let mut block = empty_block();
                match self.engine.log_step(v, 3, &mut *block) {
                    LogStep::Pages(pages) => {
                        self.write_pages(v, &pages, &mut ios);
                        job
                    }
                    LogStep::Block { number } => {
                        say!(self.trace, self.name, "transaction {number}");
                        if self.disk.external {
                            ios.push_back(Io::FlushData);
                        }
                        let place = Place::Log(self.disk.layout().geometry.block_of(number));
                        ios.push_back(Io::Write {
                            place,
                            block,
                            durable: true,
                        });
                        Job::Log(v, true)
                    }
                    LogStep::Nothing => return None,
                }
            }
            _ => return None,
        };
        let sequence = Sequence {
            ios,
            ..Sequence::default()
        };
        Some((next, sequence))
    }

    fn write_pages(&self, v: VolumeIndex, what: &BitmapPages, ios: &mut VecDeque<Io>) {
        // The blocks of bits that are clear in this copy must be on stable storage before it is.
        if what.flush_data {
            ios.push_back(Io::FlushData);
        }
        let words = self.engine.bitmap_words(v).unwrap_or_default();
        ios.extend(pages(words, what.first, what.count));
    }

    /// Begins to attach the lower disk: reads its metadata, and writes what a crash makes necessary. False if it cannot be read.
    pub fn begin_attach(&mut self) -> bool {
        if self.disk.dead {
            return false;
        }
        self.disk.has_failed = false;
        self.disk.attachments += 1;
        let superblock = self.disk.superblock();
        let flags = superblock.flags;
        let usable = self.disk.layout().usable(0);
        let mut words = vec![0u64; words_of(bits_of(usable)) as usize];
        let crashed = flags.contains(MetaFlags::PRIMARY_IND);
        let mut ios = VecDeque::new();
        let found = replay(self.disk.layout(), flags, |place| self.disk.block(place));
        let found_transactions = found != Found::NothingToDo;
        say!(
            self.trace,
            self.name,
            "attach: {flags:?}, the log says {found:?}"
        );
        if flags.contains(MetaFlags::FULL_SYNC)
            || (crashed && flags.contains(MetaFlags::AL_DISABLED))
        {
            // The engine writes the bitmap: the flag stays until it is there.
            words.fill(u64::MAX);
            if found != Found::NothingToDo {
                self.initialise_log(&mut ios);
            }
        } else {
            self.read_bitmap(&mut words);
            let extents = match found {
                Found::NothingToDo | Found::Initialise => None,
                Found::Extents(extents) => Some(extents),
                Found::Damaged => Some((0..=(usable / EXTENT_SECTORS) as u32).collect()),
            };
            for extent in extents.iter().flatten() {
                if let Some(bits) = extent_bits(*extent, usable) {
                    mark(&mut words, &bits);
                }
            }
            if extents.is_some() {
                ios.extend(pages(&words, 0, self.disk.pages()));
                ios.push_back(Io::FlushMeta);
            }
            if found_transactions {
                self.initialise_log(&mut ios);
            }
        }
        let sequence = Sequence {
            ios,
            ..Sequence::default()
        };
        let attach = Box::new(Attach { superblock, words });
        self.metadata.attach = Some((attach, sequence));
        true
    }

    fn initialise_log(&self, ios: &mut VecDeque<Io>) {
        let mut block = empty_block();
        encode_initialised(&mut *block).expect("a whole block");
        ios.extend(
            (0..self.disk.layout().geometry.blocks()).map(|number| Io::Write {
                place: Place::Log(number),
                block: block.clone(),
                durable: false,
            }),
        );
        ios.push_back(Io::FlushMeta);
    }

    fn read_bitmap(&self, words: &mut [u64]) {
        for (page, words) in (0..).zip(words.chunks_mut(PAGE_WORDS)) {
            let bytes = self.disk.block(Place::Page(page)).chunks_exact(8);
            for (word, bytes) in words.iter_mut().zip(bytes) {
                *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            }
        }
    }

    /// One step of the attach.
    pub(crate) fn attach_work(&mut self, now: Millis, rng: &mut Rng) {
        let Some((attach, mut sequence)) = self.metadata.attach.take() else {
            return;
        };
        if sequence.step(&mut self.disk, rng) {
            self.metadata.attach = Some((attach, sequence));
            return;
        }
        let result = match sequence.failed {
            true => Err(rdb_engine::admin::Refusal::new(
                118,
                "the metadata cannot be written",
            )),
            false => self.attach(now, *attach),
        };
        say!(self.trace, self.name, "attach: {result:?}");
        self.q.events.push(crate::queues::Event::Attached(result));
    }

    fn attach(&mut self, now: Millis, attach: Attach) -> Result<(), rdb_engine::admin::Refusal> {
        let attached = AttachedDisk {
            superblock: attach.superblock,
            usable_sectors: self.disk.layout().usable(0),
            pages: vec![PageNote::default(); pages_for(attach.words.len())],
            bitmap: attach.words,
            log: self.log_slots.map(|slots| vec![LogSlot::default(); slots]),
            options: self.options,
            limits: QueueLimits {
                physical_block_size: 512,
                logical_block_size: 512,
                alignment_offset: 0,
                io_min: 512,
                io_opt: 0,
                discard_enabled: false,
            },
        };
        self.engine.attach(now, 0, attached, &mut self.q)
    }
}

/// Writes of some pages of a bitmap.
fn pages(words: &[u64], first: u32, count: u32) -> impl Iterator<Item = Io> {
    let ahead = words.chunks(PAGE_WORDS).skip(first as usize);
    (first..)
        .zip(ahead.take(count as usize))
        .map(|(page, words)| {
            let mut block = empty_block();
            for (bytes, word) in block.chunks_exact_mut(8).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            Io::Write {
                place: Place::Page(page),
                block,
                durable: false,
            }
        })
}

/// Sets the bits of an extent, which fill whole words.
fn mark(words: &mut [u64], bits: &std::ops::Range<u64>) {
    let end = (bits.end.div_ceil(64) as usize).min(words.len());
    let first = (bits.start / 64) as usize;
    words[first.min(end)..end].fill(u64::MAX);
}
