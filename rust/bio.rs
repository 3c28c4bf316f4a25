// SPDX-License-Identifier: GPL-2.0

//! A request from above.

use crate::bdev::LowerDevice;
use crate::bindings;
use crate::buf::IoBuf;
use crate::disk::Common;
use crate::lower::{self, IoFlags, LowerDone};
use crate::status::Status;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use kernel::prelude::*;
use kernel::sync::Arc;

/// What a request asks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Data from the device.
    Read,
    /// Data to the device; may ask for a flush before (`is_preflush`) and for stable storage
    /// (`is_fua`).
    Write,
    /// No data: what was answered before must be on stable storage.
    Flush,
    /// The range is not needed any more; no data.
    Discard,
    /// The range shall read as zeroes; no data.
    WriteZeroes,
    /// Something else, by the kernel's number. Answer it with [`Status::NOTSUPP`].
    Other(u8),
}

/// Flags of a clone made by [`Bio::submit_clone`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CloneFlags {
    /// As the request has them.
    Keep,
    /// These, instead of what the request says of FUA, PREFLUSH, SYNC and META.
    Set(IoFlags),
}

/// A request from a file system or a program: a `struct bio` that this driver has to answer.
///
/// States:
///
/// 1. *Owned*: `BioDriver::submit` got the value; the driver may park it anywhere.
/// 2. *Owned, with clones in flight*: each clone holds a share of the bio (`bio_inc_remaining`).
/// 3. *Answered*: [`complete`](Self::complete) took the value. Who submitted it learns when the
///    last clone ended, too, so that the memory stays valid for clones.
///
/// A `Bio` is answered exactly once: dropping it answers with an error and a warning, since that is
/// a bug. `Option<Bio>` needs no more room than `Bio`.
///
/// # Invariants
///
/// `raw` is a bio of one of our disks, submitted and not answered, counted in the disk's
/// `in_flight`; the value holds one share of it. `started` is what `bio_start_io_acct` returned.
pub struct Bio {
    raw: NonNull<bindings::bio>,
    started: c_ulong,
}

// SAFETY: A bio belongs to its driver, in whichever thread.
unsafe impl Send for Bio {}
// SAFETY: What `&Bio` offers only reads the bio, or changes atomics of it.
unsafe impl Sync for Bio {}

impl Bio {
    /// Take over a bio.
    ///
    /// # Safety
    ///
    /// `raw` must have come to the `submit_bio` callback of a [`Disk`](crate::disk::Disk), and be
    /// the caller's, who has counted it in the disk's `in_flight`.
    pub(crate) unsafe fn new(raw: NonNull<bindings::bio>) -> Self {
        // SAFETY: The caller guarantees that the bio is valid.
        let started = unsafe { bindings::bio_start_io_acct(raw.as_ptr()) };
        Bio { raw, started }
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::bio {
        self.raw.as_ptr()
    }

    // Members are read one by one: `complete` may write another one meanwhile, if there is a hold.

    fn opf(&self) -> bindings::blk_opf_t {
        // SAFETY: By the type invariant; nobody writes to this member as long as the bio is ours.
        unsafe { (*self.as_ptr()).bi_opf }
    }

    fn has(&self, flag: bindings::blk_opf_t) -> bool {
        self.opf() & flag != 0
    }

    /// What is asked for. Any context, as all the following that only look.
    pub fn op(&self) -> Op {
        let op = self.opf() & bindings::REQ_OP_MASK;
        match op {
            bindings::req_op_REQ_OP_READ => Op::Read,
            bindings::req_op_REQ_OP_WRITE if self.is_empty() => Op::Flush,
            bindings::req_op_REQ_OP_WRITE => Op::Write,
            bindings::req_op_REQ_OP_FLUSH => Op::Flush,
            bindings::req_op_REQ_OP_DISCARD => Op::Discard,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Op::WriteZeroes,
            // REQ_OP_MASK is 8 bits wide.
            other => Op::Other(u8::try_from(other).unwrap_or(u8::MAX)),
        }
    }

    /// First sector (512 bytes each) on the disk.
    pub fn sector(&self) -> u64 {
        // SAFETY: As in `opf`.
        unsafe { (*self.as_ptr()).bi_iter.bi_sector }
    }

    /// Length in bytes, also of requests without data; 0 for [`Op::Flush`].
    pub fn len(&self) -> u32 {
        // SAFETY: As in `opf`.
        unsafe { (*self.as_ptr()).bi_iter.bi_size }
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the data must be on stable storage before the answer.
    pub fn is_fua(&self) -> bool {
        self.has(bindings::REQ_FUA)
    }

    /// Whether what was answered before must be on stable storage before this is done.
    pub fn is_preflush(&self) -> bool {
        self.has(bindings::REQ_PREFLUSH) || self.op() == Op::Flush
    }

    /// Whether somebody waits for the answer.
    pub fn is_sync(&self) -> bool {
        self.has(bindings::REQ_SYNC)
    }

    /// Whether this is read-ahead, which may fail without harm.
    pub fn is_rahead(&self) -> bool {
        self.has(bindings::REQ_RAHEAD)
    }

    /// Whether zeroes must be written so that their space stays allocated.
    pub fn is_nounmap(&self) -> bool {
        self.has(bindings::REQ_NOUNMAP)
    }

    /// Whether this is metadata of the file system.
    pub fn is_meta(&self) -> bool {
        self.has(bindings::REQ_META)
    }

    /// Answer the request. Any context.
    pub fn complete(self, status: Status) {
        ManuallyDrop::new(self).end(status);
    }

    /// To be called once, as the last use of the value.
    fn end(&self, status: Status) {
        let bio = self.raw.as_ptr();
        // SAFETY: By the type invariant. The disk outlives the call, since it waits for
        // `in_flight`; the bio may be gone after bio_endio().
        unsafe {
            let common = Common::of(bio);
            (*bio).bi_status = status.as_raw();
            bindings::bio_end_io_acct_remapped(bio, self.started, (*bio).bi_bdev);
            bindings::bio_endio(bio);
            common.as_ref().in_flight.put();
        }
    }

    /// Another share of the request: as long as it exists, whoever submitted the request does not
    /// learn of its end, and its memory stays valid. Any context; allocates nothing.
    pub fn hold(&self) -> BioHold {
        // SAFETY: By the type invariant. The share taken here is given back when the hold is dropped.
        unsafe { bindings::bio_inc_remaining(self.raw.as_ptr()) };
        BioHold(ManuallyDrop::new(Bio {
            raw: self.raw,
            started: self.started,
        }))
    }

    /// Pass the request on to the lower device, at the same place, and have `done` called when that
    /// has ended.
    ///
    /// As [`prepare_clone`](Self::prepare_clone) and [`PreparedClone::submit`] in one. The answer
    /// may come before this returns: who parks the request for it wants the two steps.
    pub fn submit_clone(
        &self,
        lower: &LowerDevice,
        flags: CloneFlags,
        cookie: u64,
        done: Arc<dyn LowerDone>,
    ) {
        self.prepare_clone(lower, flags).submit(cookie, done);
    }

    /// Give the request away to the lower device: it is answered when that has done it, in the
    /// context in which it ends, after `done` was told. If it fails, `done` gets it back by
    /// [`passed_on_failed`](LowerDone::passed_on_failed).
    ///
    /// Sleeps for memory, without starting other I/O; there is some in the end.
    pub fn pass_on(self, lower: &LowerDevice, cookie: u64, done: Arc<dyn LowerDone>) {
        // SAFETY: By the type invariant, and the lower device is open. The request goes with the
        // clone, which so has the memory as long as it needs it.
        unsafe {
            let clone = bindings::bio_alloc_clone(
                lower.as_ptr(),
                self.as_ptr(),
                bindings::GFP_NOIO,
                lower.bio_set(),
            );
            if clone.is_null() {
                return done.passed_on_failed(cookie, Status::RESOURCE, self);
            }
            (*clone).bi_opf &= !(bindings::REQ_NOWAIT | bindings::REQ_POLLED);
            lower::submit(clone, lower, cookie, done, None, None, Some(self));
        }
    }

    /// Prepare to pass the request on to the lower device, at the same place.
    ///
    /// Sleeps for memory, without starting other I/O; there is some in the end. Any number of
    /// clones may be made. The request may be completed before they end.
    pub fn prepare_clone<'a>(
        &self,
        lower: &'a LowerDevice,
        flags: CloneFlags,
    ) -> PreparedClone<'a> {
        let bio = self.raw.as_ptr();
        // SAFETY: By the type invariant, and the lower device is open. The share taken by
        // bio_inc_remaining() keeps the memory of the bio valid until the clone has ended, which
        // gives it back.
        unsafe {
            let clone = NonNull::new(bindings::bio_alloc_clone(
                lower.as_ptr(),
                bio,
                bindings::GFP_NOIO,
                lower.bio_set(),
            ));
            if let Some(clone) = clone {
                let clone = clone.as_ptr();
                // Those who asked not to wait have waited already.
                let mut opf = (*clone).bi_opf & !(bindings::REQ_NOWAIT | bindings::REQ_POLLED);
                if let CloneFlags::Set(flags) = flags {
                    opf = (opf & !IoFlags::MASK) | flags.as_raw();
                }
                (*clone).bi_opf = opf;
                bindings::bio_inc_remaining(bio);
            }
            PreparedClone {
                lower,
                clone,
                parent: self.raw,
            }
        }
    }

    /// Copy `out.len()` bytes of the request's data from `offset` on. `EINVAL`: there are not that
    /// many.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result {
        // SAFETY: By the type invariant; `out` is valid for its length. The data may be changed by
        // its owner meanwhile, but C copies them.
        let done = unsafe {
            bindings::bio_copy_out(self.as_ptr(), offset, out.as_mut_ptr().cast(), out.len())
        };
        if done == out.len() {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Copy `src` to `offset` of the memory of a read request. `EINVAL`: it does not fit, or this
    /// is no read.
    pub fn copy_from(&mut self, offset: usize, src: &[u8]) -> Result {
        if self.op() != Op::Read {
            return Err(EINVAL);
        }
        // SAFETY: By the type invariant; `src` is valid for its length. A read request's memory is
        // there to be written.
        let done =
            unsafe { bindings::bio_copy_in(self.as_ptr(), offset, src.as_ptr().cast(), src.len()) };
        if done == src.len() {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Copy the first `buf.len()` bytes of the request's data. `EINVAL`: there are not that many.
    pub fn copy_to_buf(&self, buf: &mut IoBuf) -> Result {
        let mut offset = 0;
        let mut result = Ok(());
        buf.for_each_chunk_mut(|chunk| {
            if result.is_ok() {
                result = self.copy_to(offset, chunk);
            }
            offset += chunk.len();
        });
        result
    }

    /// Copy `buf` to the memory of a read request, from its start. `EINVAL`: it does not fit, or
    /// this is no read.
    pub fn copy_from_buf(&mut self, buf: &IoBuf) -> Result {
        let mut offset = 0;
        for chunk in buf.chunks() {
            self.copy_from(offset, chunk)?;
            offset += chunk.len();
        }
        Ok(())
    }
}

/// A clone of a request, to be submitted to the lower device. Dropping it forgets it.
///
/// # Invariants
///
/// `clone` is a bio of `lower`'s set that shares the memory of `parent`, of which the value then
/// holds a share. `None`: the request has an encryption context or integrity data that could not be
/// copied.
#[must_use = "a clone that is not submitted does nothing"]
pub struct PreparedClone<'a> {
    lower: &'a LowerDevice,
    clone: Option<NonNull<bindings::bio>>,
    parent: NonNull<bindings::bio>,
}

// SAFETY: A bio that was not submitted belongs to its owner, in whichever thread.
unsafe impl Send for PreparedClone<'_> {}

impl PreparedClone<'_> {
    /// Submit it; `done` is called when it has ended. Sleeps shortly.
    pub fn submit(self, cookie: u64, done: Arc<dyn LowerDone>) {
        let me = ManuallyDrop::new(self);
        match me.clone {
            // SAFETY: By the type invariant; the share in the parent goes along.
            Some(clone) => unsafe {
                lower::submit(
                    clone.as_ptr(),
                    me.lower,
                    cookie,
                    done,
                    None,
                    Some(me.parent),
                    None,
                );
            },
            None => done.lower_done(cookie, Status::RESOURCE, None),
        }
    }
}

impl Drop for PreparedClone<'_> {
    fn drop(&mut self) {
        if let Some(clone) = self.clone {
            // SAFETY: By the type invariant; both are given up here.
            unsafe {
                bindings::bio_put(clone.as_ptr());
                bindings::bio_endio(self.parent.as_ptr());
            }
        }
    }
}

/// A share of a request, from [`Bio::hold`]: for those who read its data or pass it on while
/// somebody else may complete it.
///
/// Dropping it is possible in any context; if the request was completed meanwhile, it ends then.
///
/// # Invariants
///
/// The bio in it has a share (`bio_inc_remaining`) that belongs to this value. It may be completed,
/// but has not ended. It is never dropped as a `Bio`.
pub struct BioHold(ManuallyDrop<Bio>);

impl core::ops::Deref for BioHold {
    type Target = Bio;

    fn deref(&self) -> &Bio {
        &self.0
    }
}

impl Drop for BioHold {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the share is ours to give back, and this is the last use of
        // the bio.
        unsafe { bindings::bio_endio(self.0.as_ptr()) };
    }
}

impl Drop for Bio {
    fn drop(&mut self) {
        pr_warn!("a request was dropped unanswered: {:?}\n", self);
        self.end(Status::IOERR);
    }
}

impl core::fmt::Debug for Bio {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} {}+{}", self.op(), self.sector(), self.len() / 512)
    }
}

const _: () = assert!(core::mem::size_of::<Option<Bio>>() == 2 * core::mem::size_of::<usize>());
