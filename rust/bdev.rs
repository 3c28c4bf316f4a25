// SPDX-License-Identifier: GPL-2.0

//! The lower device: opening, properties, synchronous I/O.

use crate::bindings;
use crate::buf::{IoBuf, PageBuf};
use crate::inflight::InFlight;
use crate::lower::{self, IoFlags};
use core::ptr::NonNull;
use kernel::error::{from_err_ptr, to_result};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::Opaque;

/// Who claims a device for himself.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// This opening alone.
    Own,
    /// All openings with `Shared` together: several volumes may keep their metadata on one device.
    Shared,
}

/// The address stands for all openings with [`Holder::Shared`].
static SHARED: u8 = 0;

/// Why a device could not be opened.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// There is nothing at this path, or no driver behind it.
    Missing,
    /// Somebody else has claimed it: mounted, part of another device, opened exclusively.
    Busy,
    /// The path does not lead to a block device.
    NotBlock,
    /// It cannot be written.
    ReadOnly,
    /// The caller may not open it.
    Denied,
    /// Anything else.
    Other(Error),
}

impl OpenError {
    fn new(e: Error) -> Self {
        if e == ENOENT || e == ENXIO || e == ENODEV || e == ENOTDIR {
            OpenError::Missing
        } else if e == EBUSY {
            OpenError::Busy
        } else if e == ENOTBLK {
            OpenError::NotBlock
        } else if e == EROFS || e == EACCES {
            OpenError::ReadOnly
        } else if e == EPERM {
            OpenError::Denied
        } else {
            OpenError::Other(e)
        }
    }

    /// The errno for it.
    pub fn to_error(self) -> Error {
        match self {
            OpenError::Missing => ENOENT,
            OpenError::Busy => EBUSY,
            OpenError::NotBlock => ENOTBLK,
            OpenError::ReadOnly => EROFS,
            OpenError::Denied => EPERM,
            OpenError::Other(e) => e,
        }
    }
}

/// An open file of a block device.
///
/// # Invariants
///
/// The pointer is a file opened by `bdev_file_open_by_path`.
struct BdevFile(NonNull<bindings::file>);

impl Drop for BdevFile {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; this is its only closing.
        unsafe { bindings::bdev_fput(self.0.as_ptr()) }
    }
}

/// Bios with a [`lower::Context`] in front of each.
///
/// # Invariants
///
/// The bio set is initialized, with bio_vecs.
#[pin_data(PinnedDrop)]
struct BioSet {
    #[pin]
    raw: Opaque<bindings::bio_set>,
}

/// Bios in reserve: requests that make progress when there is no memory.
const RESERVED_BIOS: c_uint = 64;

impl BioSet {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(BioSet {
            raw <- Opaque::try_ffi_init(|slot: *mut bindings::bio_set| {
                // SAFETY: `slot` is valid for writes and pinned; bioset_init() wants zeroed memory.
                unsafe {
                    core::ptr::write_bytes(slot, 0, 1);
                    to_result(bindings::bioset_init(
                        slot,
                        RESERVED_BIOS,
                        const { lower::FRONT_PAD as c_uint },
                        const { bindings::BIOSET_NEED_BVECS as c_int },
                    ))
                }
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for BioSet {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialized; the owner waited for all bios.
        unsafe { bindings::bioset_exit(self.raw.get()) }
    }
}

/// A block device opened for reading and writing, and claimed.
///
/// Dropping the last `Arc` waits for its requests and closes the device: it sleeps, so never drop
/// it in a [`LowerDone`] callback.
///
/// # Invariants
///
/// `bdev` is the device of `file`, and valid as long as that is open. `in_flight` counts the bios
/// of `bios` that were submitted asynchronously.
#[pin_data(PinnedDrop)]
pub struct LowerDevice {
    // In this order they are dropped.
    #[pin]
    bios: BioSet,
    #[pin]
    in_flight: InFlight,
    file: BdevFile,
    bdev: NonNull<bindings::block_device>,
    /// Its address is the holder of an opening with `Holder::Own`.
    _token: KBox<u8>,
    block_mask: u32,
    name: DeviceName,
}

// SAFETY: A block device may be used from any thread.
unsafe impl Send for LowerDevice {}
// SAFETY: As above.
unsafe impl Sync for LowerDevice {}

#[pinned_drop]
impl PinnedDrop for LowerDevice {
    fn drop(self: Pin<&mut Self>) {
        self.in_flight.wait_zero();
    }
}

impl LowerDevice {
    /// Open `path` exclusively for reading and writing. Sleeps; the path is that of the calling
    /// process.
    pub fn open(path: &CStr, holder: Holder) -> Result<Arc<LowerDevice>, OpenError> {
        let oom = |_| OpenError::Other(ENOMEM);
        let token = KBox::new(0u8, GFP_KERNEL).map_err(oom)?;
        let claim: *const u8 = match holder {
            Holder::Own => &*token,
            Holder::Shared => &SHARED,
        };
        // SAFETY: The path is a C string; the holder is only compared; no holder operations.
        let file = from_err_ptr(unsafe {
            bindings::bdev_file_open_by_path(
                path.as_char_ptr(),
                bindings::BLK_OPEN_READ | bindings::BLK_OPEN_WRITE,
                claim.cast_mut().cast(),
                core::ptr::null(),
            )
        })
        .map_err(OpenError::new)?;
        let file = BdevFile(NonNull::new(file).ok_or(OpenError::Missing)?);
        // SAFETY: The file is open, and is one of a block device.
        let bdev = unsafe { bindings::file_bdev(file.0.as_ptr()) };
        let bdev = NonNull::new(bdev).ok_or(OpenError::NotBlock)?;
        let info = info(bdev);
        if info.read_only {
            return Err(OpenError::ReadOnly);
        }
        Arc::pin_init(
            try_pin_init!(LowerDevice {
                bios <- BioSet::new(),
                in_flight <- crate::new_in_flight!("rdb_lower"),
                file,
                bdev,
                _token: token,
                block_mask: info.logical_block_size.wrapping_sub(1),
                name: DeviceName::new(&info),
            }? Error),
            GFP_KERNEL,
        )
        .map_err(OpenError::Other)
    }

    fn info(&self) -> bindings::rdb_helper_bdev_info {
        info(self.bdev)
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::block_device {
        self.bdev.as_ptr()
    }

    pub(crate) fn bio_set(&self) -> *mut bindings::bio_set {
        self.bios.raw.get()
    }

    pub(crate) fn in_flight_counter(&self) -> &InFlight {
        &self.in_flight
    }

    /// Size in sectors of 512 bytes; may change (LVM). Any context, as all the properties.
    pub fn capacity_sectors(&self) -> u64 {
        self.info().sectors
    }

    /// Bytes; the unit of all requests.
    pub fn logical_block_size(&self) -> u32 {
        self.info().logical_block_size
    }

    /// Bytes; what the device writes without reading first.
    pub fn physical_block_size(&self) -> u32 {
        self.info().physical_block_size
    }

    /// Largest discard in sectors of 512 bytes; 0: none at all.
    pub fn max_discard_sectors(&self) -> u32 {
        self.info().max_discard_sectors
    }

    /// Bytes; the unit in which discards free something.
    pub fn discard_granularity(&self) -> u32 {
        self.info().discard_granularity
    }

    /// Largest request to write zeroes, in sectors of 512 bytes; 0: none at all.
    pub fn max_write_zeroes_sectors(&self) -> u32 {
        self.info().max_write_zeroes_sectors
    }

    /// Whether answered writes may be lost at a power failure without a flush.
    pub fn has_write_cache(&self) -> bool {
        self.info().write_cache
    }

    /// Whether seeking costs.
    pub fn is_rotational(&self) -> bool {
        self.info().rotational
    }

    /// Whether the device can only be written sequentially in zones.
    pub fn is_zoned(&self) -> bool {
        self.info().zoned
    }

    /// Device number: major, minor.
    pub fn dev(&self) -> (u32, u32) {
        let info = self.info();
        (info.major, info.minor)
    }

    /// The kernel's name of it, as in `/proc/partitions`.
    pub fn name(&self) -> DeviceName {
        self.name
    }

    /// Number of asynchronous requests that have not ended. Any context.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.count()
    }

    /// Sleep until no asynchronous request is under way; the callbacks of all have returned then.
    pub fn drain(&self) {
        self.in_flight.wait_zero();
    }

    /// Bring everything answered so far to stable storage. Sleeps, as all the following; never to
    /// be called in `BioDriver::submit` or `LowerDone::lower_done`.
    pub fn flush(&self) -> Result {
        // SAFETY: The device is open.
        to_result(unsafe { bindings::blkdev_issue_flush(self.as_ptr()) })
    }

    /// Read `len` bytes at `sector` (512 bytes each) into the front of `page`.
    ///
    /// `EINVAL`: `len` exceeds the page, or place and length are not multiples of the logical block
    /// size.
    pub fn read_at(&self, sector: u64, page: &mut PageBuf, len: usize) -> Result {
        self.page_io(bindings::req_op_REQ_OP_READ, sector, page, len)
    }

    /// Write the first `len` bytes of `page` at `sector` (512 bytes each). Errors as in
    /// [`read_at`](Self::read_at).
    pub fn write_at(&self, sector: u64, page: &PageBuf, len: usize, flags: IoFlags) -> Result {
        let opf = bindings::req_op_REQ_OP_WRITE | flags.as_raw();
        self.page_io(opf, sector, page, len)
    }

    fn page_io(&self, opf: bindings::blk_opf_t, sector: u64, page: &PageBuf, len: usize) -> Result {
        if len > PAGE_SIZE {
            return Err(EINVAL);
        }
        let one = core::iter::once((page.page(), len));
        let bio = self.bio_from(opf | bindings::REQ_SYNC, sector, len, 1, one)?;
        // SAFETY: The bio was made just now. Its page is borrowed (exclusively by readers) until it
        // has ended.
        unsafe { self.wait(bio) }
    }

    /// Read `buf.len()` bytes at `sector` (512 bytes each). `EINVAL`: not multiples of the logical
    /// block size.
    pub fn read_buf(&self, sector: u64, buf: &mut IoBuf) -> Result {
        let bio = self.bio_for(
            buf,
            bindings::req_op_REQ_OP_READ | bindings::REQ_SYNC,
            sector,
        )?;
        // SAFETY: The bio was made just now, and `buf` is borrowed until it has ended.
        unsafe { self.wait(bio) }
    }

    /// Write `buf.len()` bytes at `sector` (512 bytes each). `EINVAL`: not multiples of the logical
    /// block size.
    pub fn write_buf(&self, sector: u64, buf: &IoBuf, flags: IoFlags) -> Result {
        let opf = bindings::req_op_REQ_OP_WRITE | bindings::REQ_SYNC | flags.as_raw();
        let bio = self.bio_for(buf, opf, sector)?;
        // SAFETY: The bio was made just now, and `buf` is borrowed until it has ended.
        unsafe { self.wait(bio) }
    }

    /// Give up `sectors` sectors from `sector` on; what they read as afterwards is undefined.
    /// `EOPNOTSUPP`: the device cannot.
    pub fn discard(&self, sector: u64, sectors: u64) -> Result {
        // SAFETY: The device is open; the block layer checks the range.
        to_result(unsafe {
            bindings::blkdev_issue_discard(self.as_ptr(), sector, sectors, bindings::GFP_NOIO)
        })
    }

    /// Make `sectors` sectors from `sector` on read as zeroes, by writing them if the device knows
    /// nothing better. `unmap`: it may give up their space.
    pub fn zero_out(&self, sector: u64, sectors: u64, unmap: bool) -> Result {
        let flags = if unmap {
            0
        } else {
            bindings::BLKDEV_ZERO_NOUNMAP
        };
        // SAFETY: The device is open; the block layer checks the range.
        to_result(unsafe {
            bindings::blkdev_issue_zeroout(
                self.as_ptr(),
                sector,
                sectors,
                bindings::GFP_NOIO,
                flags,
            )
        })
    }

    /// A bio for all of `buf`, not submitted. `EINVAL`: not multiples of the logical block size.
    pub(crate) fn bio_for(
        &self,
        buf: &IoBuf,
        opf: bindings::blk_opf_t,
        sector: u64,
    ) -> Result<*mut bindings::bio> {
        let pages = buf.len().div_ceil(PAGE_SIZE);
        if pages == 0 {
            return Err(EINVAL);
        }
        self.bio_from(opf, sector, buf.len(), pages, buf.segments())
    }

    /// A bio for `bytes` bytes in `pages` pages, of which `segments` are the used parts; without
    /// pages for a range.
    pub(crate) fn bio_from(
        &self,
        opf: bindings::blk_opf_t,
        sector: u64,
        bytes: usize,
        pages: usize,
        segments: impl Iterator<Item = (NonNull<bindings::page>, usize)>,
    ) -> Result<*mut bindings::bio> {
        let bytes = u32::try_from(bytes).map_err(|_| EINVAL)?;
        let unaligned = (sector << 9 | u64::from(bytes)) & u64::from(self.block_mask);
        if unaligned != 0 || sector >> 55 != 0 {
            return Err(EINVAL);
        }
        let pages = c_ushort::try_from(pages).map_err(|_| EINVAL)?;
        // SAFETY: Device and bio set are valid; from a bio set with GFP_NOIO this waits rather than
        // fails. The pages fit, since the bio has room for that many bio_vecs.
        unsafe {
            let bio = bindings::bio_alloc_bioset(
                self.as_ptr(),
                pages,
                opf,
                bindings::GFP_NOIO,
                self.bio_set(),
            );
            if bio.is_null() {
                return Err(ENOMEM);
            }
            (*bio).bi_iter.bi_sector = sector;
            if pages == 0 {
                (*bio).bi_iter.bi_size = bytes;
            }
            for (page, len) in segments {
                let len = c_uint::try_from(len).unwrap_or(0);
                bindings::__bio_add_page(bio, page.as_ptr(), len, 0);
            }
            Ok(bio)
        }
    }

    /// Submit `bio` and sleep until it has ended.
    ///
    /// # Safety
    ///
    /// The bio must come from [`bio_from`](Self::bio_from), its memory be valid (for reads:
    /// writable) until it has ended.
    unsafe fn wait(&self, bio: *mut bindings::bio) -> Result {
        // SAFETY: The caller guarantees it; submit_bio_wait() leaves the bio to us.
        unsafe {
            let result = to_result(bindings::submit_bio_wait(bio));
            bindings::bio_put(bio);
            result
        }
    }
}

fn info(bdev: NonNull<bindings::block_device>) -> bindings::rdb_helper_bdev_info {
    let mut info = bindings::rdb_helper_bdev_info::default();
    // SAFETY: Callers have the device open.
    unsafe { bindings::bdev_info(bdev.as_ptr(), &mut info) };
    info
}

/// The name of a block device, without `/dev/`. Print it with `{}`.
#[derive(Copy, Clone)]
pub struct DeviceName {
    bytes: [u8; 40],
}

impl DeviceName {
    fn new(info: &bindings::rdb_helper_bdev_info) -> Self {
        DeviceName { bytes: info.name }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let len = self
            .bytes
            .iter()
            .position(|b| *b == 0)
            .unwrap_or(self.bytes.len());
        let bytes = self.bytes.get(..len).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or("?")
    }
}

impl core::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

// What `pr_info!` and `fmt!` of the kernel crate look for.
impl kernel::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}
