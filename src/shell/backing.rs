// SPDX-License-Identifier: GPL-2.0

//! The lower disk of a volume: its devices, and the metadata on them (metadata.md, sections 1 to 5).

use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::Arc;
use rdb_engine::activity_log::LogStep;
use rdb_engine::bitmap::BitmapPages;
use rdb_engine::effects::VolumeIndex;
use rdb_engine::meta::log::encode_initialised;
use rdb_engine::meta::{Layout, Placement, Superblock, BLOCK_LEN, MIN_ATTACH_SECTORS};
use rdb_engine::volume::DiskOptions;
use rdb_engine::wire::QueueLimits;
use rdb_kapi::bdev::{DeviceName, Holder, LowerDevice, OpenError};
use rdb_kapi::buf::{BufPool, IoBuf, PageBuf};
use rdb_kapi::errno::EOPNOTSUPP;
use rdb_kapi::lower::IoFlags;

use super::failure::{no_memory, Failure};
use super::log::say;
use super::memory::Table;
use super::queues::Context;
use super::resource::{Engine, Resource};

/// Bytes of bitmap that are read or written in one go.
const CHUNK: usize = 256 << 10;
/// The same in pages of the bitmap.
const CHUNK_PAGES: u32 = (CHUNK / BLOCK_LEN) as u32;

/// What the administrator wants attached.
pub(crate) struct AttachRequest<'a> {
    /// Path of the data device.
    pub(crate) data: &'a CStr,
    /// Path of the metadata device; that of the data device for internal metadata.
    pub(crate) meta: &'a CStr,
    /// -3 internal, -2 flexible, from 0 on an indexed area.
    pub(crate) index: i32,
    /// Options of the disk.
    pub(crate) options: DiskOptions,
    /// Flush the metadata.
    pub(crate) md_flushes: bool,
    /// How many extents may be active at a time; `None` = no activity log is kept.
    pub(crate) log_slots: Option<u32>,
}

/// An open lower disk.
pub(crate) struct Backing {
    data: Arc<LowerDevice>,
    /// The same as `data` for internal metadata.
    meta: Arc<LowerDevice>,
    layout: Layout,
    usable: u64,
    /// Requests of the application go through memory of our own, so that they can end before the disk gives them back.
    copies: Atomic<bool>,
    /// Metadata are flushed.
    md_flushes: Atomic<bool>,
}

/// What was found on a disk that is about to be attached.
pub(crate) struct Found {
    pub(crate) backing: Arc<Backing>,
    pub(crate) superblock: Superblock,
    pub(crate) words: Table<u64>,
}

impl Backing {
    /// Opens the devices, and reads and checks the metadata. Sleeps.
    ///
    /// # Errors
    ///
    /// The messages of metadata.md, section 5.2, with the name of the device.
    pub(crate) fn open(resource: &Resource, request: &AttachRequest<'_>) -> Result<Found, Failure> {
        let Some(placement) = Placement::from_index(request.index) else {
            return Err(Failure::new(
                116,
                format_args!("metadata index {} is invalid", request.index),
            ));
        };
        let internal = placement == Placement::Internal;
        let (data_path, meta_path) = (Path(request.data), Path(request.meta));
        if internal != (request.data.to_bytes() == request.meta.to_bytes()) {
            return Err(match internal {
                true => Failure::new(
                    116,
                    format_args!("internal metadata of {data_path} cannot be on {meta_path}"),
                ),
                false => Failure::new(
                    116,
                    format_args!("external metadata cannot be on the data device {data_path}"),
                ),
            });
        }
        let data = LowerDevice::open(request.data, Holder::Own)
            .map_err(|error| cannot_open("disk", data_path, error, [104, 107, 114]))?;
        if data.is_zoned() {
            return Err(Failure::new(
                104,
                format_args!("{data_path} is a zoned device, which is not supported"),
            ));
        }
        let meta = match placement {
            Placement::Internal => data.clone(),
            Placement::Flexible => open_meta(request.meta, Holder::Own)?,
            Placement::Indexed(_) => open_meta(request.meta, Holder::Shared)?,
        };
        if !internal && meta.dev() == data.dev() {
            return Err(Failure::new(
                116,
                format_args!("{meta_path} is the data device {data_path}"),
            ));
        }
        let sectors = meta.capacity_sectors();
        if sectors < MIN_ATTACH_SECTORS {
            let needed = MIN_ATTACH_SECTORS;
            return Err(Failure::new(
                112,
                format_args!("{meta_path} has {sectors} sectors, metadata need at least {needed}"),
            ));
        }
        let superblock = read_superblock(&meta, placement, meta_path)?;
        let layout = superblock.layout(placement, sectors).map_err(|error| {
            Failure::new(
                i32::from(error.code()),
                format_args!("{meta_path}: {error}"),
            )
        })?;
        let usable = layout.usable(data.capacity_sectors());
        check_size(
            data_path,
            &data,
            &layout,
            usable,
            &superblock,
            &request.options,
        )?;
        let backing = Arc::new(
            Self {
                data,
                meta,
                layout,
                usable,
                copies: Atomic::new(request.options.disk_timeout_ms > 0),
                md_flushes: Atomic::new(request.md_flushes),
            },
            GFP_KERNEL,
        )
        .map_err(|_| no_memory())?;
        let words = super::replay::bitmap(resource, &backing, &superblock)
            .map_err(|failure| failure.of(meta_path))?;
        Ok(Found {
            backing,
            superblock,
            words,
        })
    }

    /// Takes changed options.
    pub(crate) fn set_options(&self, options: &DiskOptions, md_flushes: bool) {
        self.copies.store(options.disk_timeout_ms > 0, Relaxed);
        self.md_flushes.store(md_flushes, Relaxed);
    }

    /// Whether requests of the application go through memory of our own.
    pub(crate) fn copies(&self) -> bool {
        self.copies.load(Relaxed)
    }

    /// How superblocks and transactions are written.
    fn durable(&self) -> IoFlags {
        let flush = self.md_flushes.load(Relaxed);
        IoFlags {
            fua: flush,
            preflush: flush,
            sync: true,
            meta: true,
        }
    }

    /// The device with the data.
    pub(crate) fn data(&self) -> &LowerDevice {
        &self.data
    }

    /// Sectors that data may use.
    pub(crate) fn usable(&self) -> u64 {
        self.usable
    }

    /// Name of the device with the metadata.
    pub(crate) fn meta_name(&self) -> DeviceName {
        self.meta.name()
    }

    /// What the peer is told of the disk.
    pub(crate) fn limits(&self) -> QueueLimits {
        QueueLimits {
            physical_block_size: self.data.physical_block_size(),
            logical_block_size: self.data.logical_block_size(),
            alignment_offset: 0,
            io_min: self.data.physical_block_size(),
            io_opt: 0,
            discard_enabled: self.data.max_discard_sectors() > 0,
        }
    }

    /// Waits until the disk has done all that it was given. Sleeps.
    pub(crate) fn drain(&self) {
        self.data.drain();
        self.meta.drain();
    }

    /// Flushes the cache of the data device; `None` if it cannot do that. Sleeps.
    pub(crate) fn flush(&self) -> Option<bool> {
        match self.data.flush() {
            Err(error) if error == EOPNOTSUPP => None,
            result => Some(self.log("flush", result)),
        }
    }

    /// Writes the superblock, durably, out of `page`. Sleeps.
    pub(crate) fn write_superblock(&self, superblock: &Superblock, page: &mut PageBuf) -> bool {
        let mut write = || -> Result {
            superblock.encode(page.as_mut()).map_err(|_| EINVAL)?;
            if !Arc::ptr_eq(&self.data, &self.meta) {
                self.data.flush()?;
            }
            self.meta
                .write_at(self.layout.superblock, page, BLOCK_LEN, self.durable())
        };
        self.log("write of the superblock", write())
    }

    /// Reads block `block` of the activity log. Sleeps.
    pub(crate) fn read_log_block(&self, block: u32, page: &mut PageBuf) -> Result {
        self.meta
            .read_at(self.layout.log_block_sector(block), page, BLOCK_LEN)
    }

    /// Writes the changed pages of the bitmap; they are durable after the next superblock or transaction. Sleeps. The words are
    /// copied under the lock, a piece at a time.
    pub(crate) fn write_bitmap(&self, resource: &Resource, v: VolumeIndex) -> bool {
        let write = || -> Result {
            let mut buf = BufPool::alloc(&resource.pool, CHUNK)?;
            let mut from = 0u32;
            loop {
                let taken = resource.with(Context::Thread, |engine, _, _| {
                    let pages = engine.next_bitmap_pages(v, from, CHUNK_PAGES)?;
                    Some((pages, copy_pages(engine, v, &pages, &mut buf)))
                });
                let Some((pages, copied)) = taken else {
                    return Ok(());
                };
                self.write_pages(&pages, copied?, &mut buf)?;
                from = pages.first.saturating_add(pages.count);
            }
        };
        self.log("write of the bitmap", write())
    }

    /// Writes a transaction of the activity log, durably, and before it the pages of the bitmap that it lets go of. Sleeps. `page` is
    /// for the transaction.
    pub(crate) fn write_log(
        &self,
        resource: &Resource,
        v: VolumeIndex,
        page: &mut PageBuf,
    ) -> bool {
        let mut write = || -> Result {
            let mut buf = BufPool::alloc(&resource.pool, CHUNK)?;
            loop {
                let (step, copied) = resource.with(Context::Thread, |engine, _, _| {
                    let step = engine.log_step(v, CHUNK_PAGES, page.as_mut());
                    match &step {
                        LogStep::Pages(pages) => (step, copy_pages(engine, v, pages, &mut buf)),
                        _ => (step, Ok(0)),
                    }
                });
                match step {
                    LogStep::Pages(pages) => self.write_pages(&pages, copied?, &mut buf)?,
                    LogStep::Block { number } => {
                        // What was written to the extents that are forgotten now must not be lost with the power.
                        if !Arc::ptr_eq(&self.data, &self.meta) {
                            self.data.flush()?;
                        }
                        let sector = self.layout.log_sector(number);
                        return self.meta.write_at(sector, page, BLOCK_LEN, self.durable());
                    }
                    LogStep::Nothing => return Err(ENXIO),
                }
            }
        };
        self.log("write of the activity log", write())
    }

    /// Writes pages whose `count` words are in `buf`.
    fn write_pages(&self, pages: &BitmapPages, count: usize, buf: &mut IoBuf) -> Result {
        // The blocks of bits that are clear in this copy must be on stable storage before it is.
        if pages.flush_data {
            self.data.flush()?;
        }
        self.write_chunk(pages.words().start, count, buf)
    }

    /// Writes a whole bitmap that no engine has yet, then a ring without transactions, durably. Sleeps.
    pub(crate) fn write_replayed(&self, resource: &Resource, words: &[u64]) -> Result {
        let mut buf = BufPool::alloc(&resource.pool, CHUNK)?;
        for (i, piece) in words.chunks(CHUNK / 8).enumerate() {
            words_to_buf(piece, &mut buf)?;
            self.write_chunk(i.saturating_mul(CHUNK / 8), piece.len(), &mut buf)?;
        }
        self.meta.flush()?;
        self.initialise_log()
    }

    /// Writes a ring without transactions, durably. Sleeps.
    pub(crate) fn initialise_log(&self) -> Result {
        let mut page = PageBuf::new()?;
        encode_initialised(page.as_mut()).map_err(|_| EINVAL)?;
        let flags = IoFlags {
            meta: true,
            ..IoFlags::default()
        };
        for block in 0..self.layout.geometry.blocks() {
            let sector = self.layout.log_block_sector(block);
            self.meta.write_at(sector, &page, BLOCK_LEN, flags)?;
        }
        self.meta.flush()
    }

    /// Most slots that the activity log on this disk can serve.
    pub(crate) fn max_log_slots(&self) -> u32 {
        self.layout.geometry.max_slots()
    }

    /// Reads the bitmap into `words`. Sleeps.
    pub(crate) fn read_bitmap(&self, resource: &Resource, words: &mut [u64]) -> Result {
        let mut buf = BufPool::alloc(&resource.pool, CHUNK)?;
        for (i, piece) in words.chunks_mut(CHUNK / 8).enumerate() {
            let (sector, len) = self.chunk(i.saturating_mul(CHUNK / 8), piece.len());
            buf.set_len(len)?;
            self.meta.read_buf(sector, &mut buf)?;
            buf_to_words(&buf, piece)?;
        }
        Ok(())
    }

    fn write_chunk(&self, first: usize, count: usize, buf: &mut IoBuf) -> Result {
        let (sector, len) = self.chunk(first, count);
        buf.set_len(len)?;
        self.meta.write_buf(
            sector,
            buf,
            IoFlags {
                meta: true,
                ..IoFlags::default()
            },
        )
    }

    /// Sector and length in bytes of the pages that hold `count` words from word `first` on, which begins a page. The
    /// last page of an area may be short.
    fn chunk(&self, first: usize, count: usize) -> (u64, usize) {
        let page = first / (BLOCK_LEN / 8);
        let sector = self.layout.bitmap_page_sector(page as u64);
        let end = self
            .layout
            .bitmap
            .saturating_add(self.layout.bitmap_sectors);
        let room = usize::try_from(end.saturating_sub(sector))
            .unwrap_or(usize::MAX)
            .saturating_mul(512);
        let len = count.saturating_mul(8).next_multiple_of(BLOCK_LEN);
        (sector, len.min(room))
    }

    fn log(&self, what: &str, result: Result) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                say!(pr_err: "{}: {} failed: {:?}", self.meta.name(), what, error);
                false
            }
        }
    }
}

/// A path as text, for messages.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a>(&'a CStr);

impl core::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(
            self.0
                .to_str()
                .unwrap_or("a device with a name that is not UTF-8"),
        )
    }
}

fn open_meta(path: &CStr, holder: Holder) -> Result<Arc<LowerDevice>, Failure> {
    LowerDevice::open(path, holder)
        .map_err(|error| cannot_open("metadata device", Path(path), error, [105, 108, 115]))
}

/// `codes`: cannot open, not a block device, claimed.
fn cannot_open(what: &str, path: Path<'_>, error: OpenError, codes: [i32; 3]) -> Failure {
    let [open, not_block, busy] = codes;
    match error {
        OpenError::Missing => Failure::new(open, format_args!("{what} {path} does not exist")),
        OpenError::Busy => Failure::new(busy, format_args!("{what} {path} is in use")),
        OpenError::NotBlock => Failure::new(
            not_block,
            format_args!("{what} {path} is not a block device"),
        ),
        OpenError::ReadOnly => Failure::new(open, format_args!("{what} {path} is read-only")),
        OpenError::Denied => Failure::new(open, format_args!("{what} {path}: permission denied")),
        OpenError::Other(error) => {
            Failure::new(open, format_args!("cannot open {what} {path}: {error:?}"))
        }
    }
}

fn read_superblock(
    meta: &LowerDevice,
    placement: Placement,
    path: Path<'_>,
) -> Result<Superblock, Failure> {
    let coded = |error: rdb_engine::meta::MetaError| {
        Failure::new(i32::from(error.code()), format_args!("{path}: {error}"))
    };
    let sector = placement
        .superblock_sector(meta.capacity_sectors())
        .map_err(coded)?;
    let mut page = PageBuf::new().map_err(|_| no_memory())?;
    meta.read_at(sector, &mut page, BLOCK_LEN)
        .map_err(|error| {
            Failure::new(
                118,
                format_args!("{path}: reading the superblock failed: {error:?}"),
            )
        })?;
    Superblock::decode(page.as_ref()).map_err(coded)
}

fn check_size(
    path: Path<'_>,
    data: &LowerDevice,
    layout: &Layout,
    usable: u64,
    superblock: &Superblock,
    options: &DiskOptions,
) -> Result<(), Failure> {
    if usable == 0 || (layout.placement == Placement::Internal && data.capacity_sectors() < usable)
    {
        return Err(Failure::new(
            111,
            format_args!("{path} is too small: {usable} usable sectors"),
        ));
    }
    if usable < options.size {
        let size = options.size;
        return Err(Failure::new(
            111,
            format_args!("{path} has {usable} usable sectors, option size wants {size}"),
        ));
    }
    if usable < superblock.la_size {
        let size = superblock.la_size;
        return Err(Failure::new(
            111,
            format_args!("{path} has {usable} usable sectors, the volume had {size}"),
        ));
    }
    Ok(())
}

/// Copies pages of the bitmap; returns the number of words.
fn copy_pages(
    engine: &Engine,
    v: VolumeIndex,
    pages: &BitmapPages,
    buf: &mut IoBuf,
) -> Result<usize> {
    let words = engine.bitmap_words(v).unwrap_or_default();
    let span = pages.words();
    let piece = words
        .get(span.start..span.end.min(words.len()))
        .ok_or(EINVAL)?;
    words_to_buf(piece, buf)?;
    Ok(piece.len())
}

/// Bitmaps are little endian on disk (section 4.1).
fn words_to_buf(words: &[u64], buf: &mut IoBuf) -> Result {
    // The last page is written whole: what is behind the words is zero.
    let len = words.len().saturating_mul(8).next_multiple_of(BLOCK_LEN);
    buf.set_len(len)?;
    let mut words = words.iter();
    buf.for_each_chunk_mut(|chunk| {
        for place in chunk.chunks_exact_mut(8) {
            place.copy_from_slice(&words.next().copied().unwrap_or(0).to_le_bytes());
        }
    });
    Ok(())
}

fn buf_to_words(buf: &IoBuf, words: &mut [u64]) -> Result {
    let mut words = words.iter_mut();
    for chunk in buf.chunks() {
        for (bytes, word) in chunk.chunks_exact(8).zip(&mut words) {
            *word = u64::from_le_bytes(bytes.try_into().map_err(|_| EINVAL)?);
        }
    }
    Ok(())
}
