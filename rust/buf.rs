// SPDX-License-Identifier: GPL-2.0

//! Memory for I/O: single pages for metadata, and buffers of pages from a pool with a reserve.
//!
//! The pool follows dm-crypt: a buffer is taken from the page allocator if that has memory.
//! Otherwise its missing pages come from the reserve, for one buffer at a time: two half-filled
//! buffers that wait for each other's pages cannot happen.

use crate::bindings;
use core::mem::size_of;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};

/// Address of a page that was allocated without `__GFP_HIGHMEM`.
///
/// # Safety
///
/// `page` must be such a page, and allocated.
unsafe fn address(page: NonNull<bindings::page>) -> *mut u8 {
    // SAFETY: The caller guarantees it.
    unsafe { bindings::page_address(page.as_ptr()) }.cast()
}

/// One page of memory, zeroed when made, for synchronous metadata I/O.
///
/// # Invariants
///
/// `page` is an allocated page of lowmem that belongs to this value alone.
pub struct PageBuf {
    page: NonNull<bindings::page>,
}

// SAFETY: It owns its page, which is plain memory.
unsafe impl Send for PageBuf {}
// SAFETY: A shared reference only reads.
unsafe impl Sync for PageBuf {}

impl PageBuf {
    /// A page of zeroes. Sleeps; `ENOMEM`.
    pub fn new() -> Result<Self> {
        // SAFETY: May be called wherever sleeping is allowed.
        let page = unsafe { bindings::alloc_page(bindings::GFP_ZEROED) };
        Ok(PageBuf {
            page: NonNull::new(page).ok_or(ENOMEM)?,
        })
    }

    pub(crate) fn page(&self) -> NonNull<bindings::page> {
        self.page
    }
}

impl Deref for PageBuf {
    type Target = [u8; PAGE_SIZE];
    fn deref(&self) -> &Self::Target {
        // SAFETY: By the type invariant; a page is PAGE_SIZE bytes, and bytes have no alignment.
        unsafe { &*address(self.page).cast() }
    }
}

impl DerefMut for PageBuf {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // SAFETY: As above, and `self` is borrowed exclusively.
        unsafe { &mut *address(self.page).cast() }
    }
}

impl Drop for PageBuf {
    fn drop(&mut self) {
        // SAFETY: The page is ours, and nobody refers to it any more.
        unsafe { bindings::__free_pages(self.page.as_ptr(), 0) }
    }
}

/// Most pages of one [`IoBuf`]: as many as one bio takes.
const MAX_PAGES: usize = BufPool::MAX_BYTES / PAGE_SIZE;

/// The pages of an [`IoBuf`]; the first so many are valid.
type PageTable = [Option<NonNull<bindings::page>>; MAX_PAGES];

/// A `mempool_t` of our own.
///
/// # Invariants
///
/// The pointer is a valid mempool.
struct Mempool(NonNull<bindings::mempool>);

impl Mempool {
    /// # Safety
    ///
    /// `data` must be what `alloc` and `free` expect.
    unsafe fn new(
        reserve: usize,
        alloc: bindings::mempool_alloc_t,
        free: bindings::mempool_free_t,
        data: usize,
    ) -> Result<Self> {
        let reserve = c_int::try_from(reserve).map_err(|_| EINVAL)?;
        // SAFETY: The functions are the kernel's, and get the data that belong to them.
        let pool = unsafe {
            bindings::mempool_create_node_noprof(
                reserve,
                alloc,
                free,
                data as *mut c_void,
                bindings::GFP_KERNEL,
                bindings::NUMA_NO_NODE,
            )
        };
        Ok(Mempool(NonNull::new(pool).ok_or(ENOMEM)?))
    }

    /// Sleeps until there is an element.
    fn alloc_wait(&self) -> NonNull<c_void> {
        loop {
            // SAFETY: The pool is valid.
            let p = unsafe { bindings::mempool_alloc_noprof(self.0.as_ptr(), bindings::GFP_NOIO) };
            // Never null: GFP_NOIO may wait, so mempool_alloc() does not fail.
            if let Some(p) = NonNull::new(p) {
                return p;
            }
        }
    }

    /// Null if there is neither memory nor a reserve; does not sleep.
    fn alloc_atomic(&self) -> Option<NonNull<c_void>> {
        // SAFETY: The pool is valid.
        NonNull::new(unsafe { bindings::mempool_alloc_noprof(self.0.as_ptr(), bindings::GFP_TRY) })
    }

    /// # Safety
    ///
    /// `element` must come from this pool (or its allocation function), and not be used any more.
    /// Any context.
    unsafe fn free(&self, element: *mut c_void) {
        // SAFETY: The caller guarantees it.
        unsafe { bindings::mempool_free(element, self.0.as_ptr()) }
    }
}

impl Drop for Mempool {
    fn drop(&mut self) {
        // SAFETY: Whoever holds an element holds the pool, so all elements are back.
        unsafe { bindings::mempool_destroy(self.0.as_ptr()) }
    }
}

/// Pages for [`IoBuf`]s, with a reserve that makes allocation succeed when memory is short.
///
/// Progress under memory pressure needs that the owner of a buffer never waits for another buffer
/// of the same pool.
#[pin_data]
pub struct BufPool {
    pages: Mempool,
    tables: Mempool,
    /// Held by who takes pages from the reserve.
    #[pin]
    reserve: Mutex<()>,
}

// SAFETY: Mempools have their own lock.
unsafe impl Send for BufPool {}
// SAFETY: As above.
unsafe impl Sync for BufPool {}

impl BufPool {
    /// Largest [`IoBuf`], in bytes: 1 MiB.
    pub const MAX_BYTES: usize = 1 << 20;

    /// A pool which keeps `reserve_bytes` in reserve, at least [`MAX_BYTES`](Self::MAX_BYTES).
    /// Sleeps; `ENOMEM`.
    pub fn new(reserve_bytes: usize) -> Result<Arc<BufPool>> {
        let reserve = reserve_bytes.max(Self::MAX_BYTES).div_ceil(PAGE_SIZE);
        // SAFETY: The data of the page functions is the order, that of the kmalloc functions the
        // size.
        let (pages, tables) = unsafe {
            (
                Mempool::new(
                    reserve,
                    Some(bindings::mempool_alloc_pages),
                    Some(bindings::mempool_free_pages),
                    0,
                )?,
                Mempool::new(
                    // Enough for all the reserve in buffers of 64 KiB.
                    reserve.div_ceil(16),
                    Some(bindings::mempool_kmalloc),
                    Some(bindings::mempool_kfree),
                    size_of::<PageTable>(),
                )?,
            )
        };
        Arc::pin_init(
            pin_init!(BufPool {
                pages,
                tables,
                reserve <- new_mutex!((), "rdb_buf_pool"),
            }),
            GFP_KERNEL,
        )
    }

    /// A buffer of `len` bytes, 1..=[`MAX_BYTES`](Self::MAX_BYTES), of unspecified content.
    ///
    /// Sleeps until there is memory, without starting I/O. `EINVAL`: the length is out of range.
    pub fn alloc(pool: &Arc<BufPool>, len: usize) -> Result<IoBuf> {
        let wanted = Self::pages_for(len)?;
        let mut buf = IoBuf::empty(pool, pool.tables.alloc_wait().cast(), len);
        buf.fill(wanted, bindings::GFP_TRY_NOIO);
        if buf.pages < wanted {
            let _turn = pool.reserve.lock();
            while buf.pages < wanted {
                buf.push(pool.pages.alloc_wait().cast());
            }
        }
        Ok(buf)
    }

    /// As [`alloc`](Self::alloc), but does not sleep and leaves the reserve of pages alone. `None`:
    /// no memory, or the length is out of range.
    pub fn try_alloc(pool: &Arc<BufPool>, len: usize) -> Option<IoBuf> {
        let wanted = Self::pages_for(len).ok()?;
        let mut buf = IoBuf::empty(pool, pool.tables.alloc_atomic()?.cast(), len);
        buf.fill(wanted, bindings::GFP_TRY);
        (buf.pages == wanted).then_some(buf)
    }

    fn pages_for(len: usize) -> Result<usize> {
        if len == 0 || len > Self::MAX_BYTES {
            return Err(EINVAL);
        }
        Ok(len.div_ceil(PAGE_SIZE))
    }
}

/// A buffer of 1 to 256 pages, which the lower device, the network and the processor can fill and
/// read.
///
/// States:
///
/// 1. *Owned*: somebody has the value. Only then its content can be touched.
/// 2. *In flight*: [`submit`](IoBuf::submit) took the value; the bio's completion hands it to
///    `LowerDone::lower_done`.
///
/// May be dropped in any context.
///
/// # Invariants
///
/// `table` is an element of the pool's `tables`; its first `pages` entries are `Some` and belong to
/// this value, except that the network may still read pages that were handed to it by
/// `send_buf_owned`, which consumes the value. `len <= pages * PAGE_SIZE`.
pub struct IoBuf {
    pool: Arc<BufPool>,
    table: NonNull<PageTable>,
    pages: usize,
    len: usize,
}

// SAFETY: It owns its pages and its table, which are plain memory.
unsafe impl Send for IoBuf {}
// SAFETY: A shared reference only reads.
unsafe impl Sync for IoBuf {}

impl IoBuf {
    fn empty(pool: &Arc<BufPool>, table: NonNull<PageTable>, len: usize) -> Self {
        IoBuf {
            pool: pool.clone(),
            table,
            pages: 0,
            len,
        }
    }

    /// Take pages from the page allocator until there are `wanted` or it has no more.
    fn fill(&mut self, wanted: usize, gfp: bindings::gfp_t) {
        while self.pages < wanted {
            // SAFETY: Whether this sleeps is the caller's choice of `gfp`.
            match NonNull::new(unsafe { bindings::alloc_page(gfp) }) {
                Some(page) => self.push(page),
                None => return,
            }
        }
    }

    fn push(&mut self, page: NonNull<bindings::page>) {
        if self.pages < MAX_PAGES {
            // SAFETY: The table has MAX_PAGES entries and is ours.
            unsafe {
                self.table
                    .as_ptr()
                    .cast::<Option<NonNull<bindings::page>>>()
                    .add(self.pages)
                    .write(Some(page));
            }
            self.pages += 1;
        }
    }

    /// The table of pages, as C has it.
    pub(crate) fn table(&self) -> *mut *mut bindings::page {
        // An `Option<NonNull>` is a pointer which may be null.
        self.table.as_ptr().cast()
    }

    /// The pages in use for `len` bytes, each with the number of bytes used in it.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (NonNull<bindings::page>, usize)> + '_ {
        let mut left = self.len;
        // SAFETY: By the type invariant, the first `pages` entries are initialized.
        let table: &[Option<NonNull<bindings::page>>] =
            unsafe { core::slice::from_raw_parts(self.table.as_ptr().cast(), self.pages) };
        table.iter().flatten().map_while(move |page| {
            let bytes = left.min(PAGE_SIZE);
            left -= bytes;
            (bytes > 0).then_some((*page, bytes))
        })
    }

    /// Bytes in use. Any context.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no bytes are in use; after `set_len(0)` only.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that would fit: whole pages.
    pub fn capacity(&self) -> usize {
        self.pages * PAGE_SIZE
    }

    /// Change the number of bytes in use; the content stays. `EINVAL` above
    /// [`capacity`](Self::capacity).
    pub fn set_len(&mut self, len: usize) -> Result {
        if len > self.capacity() {
            return Err(EINVAL);
        }
        self.len = len;
        Ok(())
    }

    /// The content, page by page; every piece but the last is a whole page. Any context.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.segments().map(|(page, bytes)| {
            // SAFETY: By the type invariant the pages are ours, and `self` stays borrowed; `bytes
            // <= PAGE_SIZE`.
            unsafe { core::slice::from_raw_parts(address(page), bytes) }
        })
    }

    /// Call `f` with the content to be changed, page by page. Any context.
    pub fn for_each_chunk_mut(&mut self, mut f: impl FnMut(&mut [u8])) {
        for (page, bytes) in self.segments() {
            // SAFETY: By the type invariant the pages are ours and different, and `self` is
            // borrowed exclusively.
            f(unsafe { core::slice::from_raw_parts_mut(address(page), bytes) });
        }
    }

    /// Copy `out.len()` bytes from `offset` on out of the buffer. `EINVAL`: not all of that is in
    /// use.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result {
        self.check(offset, out.len())?;
        let mut skip = offset;
        let mut rest = out;
        for chunk in self.chunks() {
            if let Some(from) = chunk.get(skip..).filter(|c| !c.is_empty()) {
                let part = from.len().min(rest.len());
                let (now, later) = rest.split_at_mut(part);
                now.copy_from_slice(from.get(..part).unwrap_or_default());
                rest = later;
            }
            skip = skip.saturating_sub(chunk.len());
            if rest.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Copy `src` into the buffer from `offset` on. `EINVAL`: not all of that is in use.
    pub fn copy_from(&mut self, offset: usize, src: &[u8]) -> Result {
        self.check(offset, src.len())?;
        let mut skip = offset;
        let mut rest = src;
        self.for_each_chunk_mut(|chunk| {
            let len = chunk.len();
            if let Some(to) = chunk.get_mut(skip..) {
                let part = to.len().min(rest.len());
                let (now, later) = rest.split_at(part);
                to.get_mut(..part).unwrap_or_default().copy_from_slice(now);
                rest = later;
            }
            skip = skip.saturating_sub(len);
        });
        Ok(())
    }

    fn check(&self, offset: usize, len: usize) -> Result {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Fill the buffer with zeroes. Any context.
    pub fn zero(&mut self) {
        self.for_each_chunk_mut(|chunk| chunk.fill(0));
    }

    /// Whether the buffer holds nothing but zeroes. Any context.
    pub fn is_zero(&self) -> bool {
        self.chunks()
            .all(|chunk| chunk.iter().all(|byte| *byte == 0))
    }
}

impl Drop for IoBuf {
    fn drop(&mut self) {
        // All pages, in use or not.
        self.len = self.capacity();
        for (page, _) in self.segments() {
            // SAFETY: The pages are ours; those which the network still reads are left to it, for
            // they must not be filled anew before it is done: then the last reference frees them.
            unsafe {
                if bindings::page_count(page.as_ptr()) == 1 {
                    self.pool.pages.free(page.as_ptr().cast());
                } else {
                    bindings::put_page(page.as_ptr());
                }
            }
        }
        // SAFETY: The table came from there, and is not used any more.
        unsafe { self.pool.tables.free(self.table.as_ptr().cast()) };
    }
}

impl core::fmt::Debug for IoBuf {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "IoBuf({} of {} bytes)", self.len, self.capacity())
    }
}

const _: () = {
    assert!(MAX_PAGES == bindings::BIO_MAX_VECS as usize);
};
