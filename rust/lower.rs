// SPDX-License-Identifier: GPL-2.0

//! Asynchronous requests to the lower device: one context for each, in front of the bio that
//! carries it.
//!
//! A bio of ours goes through these states:
//!
//! 1. *Prepared*: allocated from the device's bio set; its [`Context`] is written.
//! 2. *In flight*: submitted, and counted in the device's `in_flight`. The block layer owns it;
//!    `Context` owns the callback, the buffer if there is one, and one share in the cloned bio if
//!    there is one.
//! 3. *Ended*: [`end_io`] took everything out of the `Context`, freed the bio, called back, let go
//!    of the cloned bio, and counted down, in that order. Nothing refers to the device any more.

use crate::bdev::LowerDevice;
use crate::bindings;
use crate::bio::Bio;
use crate::buf::IoBuf;
use crate::inflight::InFlight;
use crate::status::Status;
use core::ptr::NonNull;
use kernel::sync::Arc;

/// Who wants to know how a request to the lower device ended.
pub trait LowerDone: Send + Sync {
    /// The request submitted with `cookie` has ended. `buf` is the buffer of [`IoBuf::submit`], and
    /// `None` otherwise.
    ///
    /// Called once for each request, in any context, often that of an interrupt: it must not sleep,
    /// and should do no more than push to a [`CompletionQueue`](crate::queue::CompletionQueue). It
    /// may be called before the function that submitted returned, by the same thread, so that one
    /// must hold no lock that this takes.
    fn lower_done(&self, cookie: u64, status: Status, buf: Option<IoBuf>);

    /// The request that was passed on by [`Bio::pass_on`] with `cookie` has failed at the lower
    /// device; it is not answered. Context as above.
    fn passed_on_failed(&self, cookie: u64, status: Status, request: Bio) {
        request.complete(status);
        self.lower_done(cookie, status, None);
    }
}

/// Flags of a request to the lower device.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub struct IoFlags {
    /// The data must be on stable storage before the request ends.
    pub fua: bool,
    /// What was written (and answered) before must be on stable storage before the request starts.
    pub preflush: bool,
    /// Somebody is waiting for it.
    pub sync: bool,
    /// Metadata, for statistics and schedulers.
    pub meta: bool,
}

impl IoFlags {
    /// All bits which the type covers.
    pub(crate) const MASK: bindings::blk_opf_t =
        bindings::REQ_FUA | bindings::REQ_PREFLUSH | bindings::REQ_SYNC | bindings::REQ_META;

    pub(crate) fn as_raw(self) -> bindings::blk_opf_t {
        let bit = |on: bool, flag| if on { flag } else { 0 };
        bit(self.fua, bindings::REQ_FUA)
            | bit(self.preflush, bindings::REQ_PREFLUSH)
            | bit(self.sync, bindings::REQ_SYNC)
            | bit(self.meta, bindings::REQ_META)
    }
}

/// What an asynchronous request carries besides its bio, in the bio set's front pad.
#[repr(C)]
pub(crate) struct Context {
    done: Arc<dyn LowerDone>,
    buf: Option<IoBuf>,
    /// The bio that this one is a clone of, of which it holds a share (`bio_inc_remaining`).
    parent: Option<NonNull<bindings::bio>>,
    /// The request that this one answers when it succeeds.
    request: Option<Bio>,
    in_flight: NonNull<InFlight>,
    cookie: u64,
    /// Last: the bio set puts inline bio_vecs behind it.
    pub(crate) bio: bindings::bio,
}

/// Room in front of the bios of a [`LowerDevice`]'s bio set.
pub(crate) const FRONT_PAD: usize = core::mem::offset_of!(Context, bio);

/// Fill the context of `bio`, count it, and submit it.
///
/// # Safety
///
/// `bio` must have been allocated from `lower`'s bio set for its block device, be ready to be
/// submitted, and belong to the caller, who gives it away. Its memory must be that of `buf`, of
/// `parent`, of which the caller passes one share, or of `request`.
pub(crate) unsafe fn submit(
    bio: *mut bindings::bio,
    lower: &LowerDevice,
    cookie: u64,
    done: Arc<dyn LowerDone>,
    buf: Option<IoBuf>,
    parent: Option<NonNull<bindings::bio>>,
    request: Option<Bio>,
) {
    let in_flight = lower.in_flight_counter();
    in_flight.get();
    // SAFETY: Every bio of the set has room for a Context in front of it, of which `bio` is the
    // member. Members are written one by one, since the bio is initialized already.
    unsafe {
        let context = kernel::container_of!(bio, Context, bio);
        (&raw mut (*context).done).write(done);
        (&raw mut (*context).buf).write(buf);
        (&raw mut (*context).parent).write(parent);
        (&raw mut (*context).request).write(request);
        (&raw mut (*context).in_flight).write(NonNull::from(in_flight));
        (&raw mut (*context).cookie).write(cookie);
        (*bio).bi_end_io = Some(end_io);
        bindings::submit_bio_noacct(bio);
    }
}

/// # Safety
///
/// Called by the block layer once for each bio of [`submit`].
unsafe extern "C" fn end_io(bio: *mut bindings::bio) {
    // SAFETY: `submit` initialized the context. Everything is moved out before bio_put() frees it.
    let (done, buf, parent, request, in_flight, cookie, status) = unsafe {
        let context = kernel::container_of!(bio, Context, bio);
        let moved = (
            (&raw const (*context).done).read(),
            (&raw const (*context).buf).read(),
            (*context).parent,
            (&raw const (*context).request).read(),
            (*context).in_flight,
            (*context).cookie,
            Status::from_raw((*bio).bi_status),
        );
        bindings::bio_put(bio);
        moved
    };
    match request {
        Some(request) if !status.is_ok() => done.passed_on_failed(cookie, status, request),
        request => {
            // First the driver learns of it: whoever gets the answer may submit the next request.
            done.lower_done(cookie, status, buf);
            if let Some(request) = request {
                request.complete(status);
            }
        }
    }
    drop(done);
    // SAFETY: `submit` was given a share in the parent, which ends here. The counter is valid as
    // long as it is not zero, since LowerDevice waits for that before it goes.
    unsafe {
        if let Some(parent) = parent {
            bindings::bio_endio(parent.as_ptr());
        }
        in_flight.as_ref().put();
    }
}

/// Direction of [`IoBuf::submit`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BufOp {
    /// From the device into the buffer.
    Read,
    /// From the buffer to the device.
    Write,
}

impl IoBuf {
    /// Read or write [`len`](IoBuf::len) bytes at `sector` (512 bytes each) of the lower device.
    ///
    /// Sector and length must be multiples of the device's logical block size, or the request fails
    /// with `INVAL`. Sleeps for a bio, without starting other I/O; there is always one in the end.
    /// The buffer comes back by `done`.
    pub fn submit(
        self,
        lower: &LowerDevice,
        op: BufOp,
        sector: u64,
        flags: IoFlags,
        cookie: u64,
        done: Arc<dyn LowerDone>,
    ) {
        let op = match op {
            BufOp::Read => bindings::req_op_REQ_OP_READ,
            BufOp::Write => bindings::req_op_REQ_OP_WRITE,
        };
        let bio = match lower.bio_for(&self, op | flags.as_raw(), sector) {
            Ok(bio) => bio,
            Err(_) => return done.lower_done(cookie, Status::INVAL, Some(self)),
        };
        // SAFETY: The bio was made just now from this buffer, which goes with it.
        unsafe { submit(bio, lower, cookie, done, Some(self), None, None) }
    }
}

/// Requests without data.
impl LowerDevice {
    /// Flush asynchronously: everything answered before the call will be on stable storage when
    /// `done` is called. Sleeps for a bio only, as the following two.
    pub fn submit_flush(&self, cookie: u64, done: Arc<dyn LowerDone>) {
        let opf = bindings::req_op_REQ_OP_WRITE | bindings::REQ_PREFLUSH | bindings::REQ_SYNC;
        self.submit_range(opf, 0, 0, cookie, done);
    }

    /// Discard asynchronously; fails with `NOTSUPP` if the device cannot.
    pub fn submit_discard(&self, sector: u64, sectors: u32, cookie: u64, done: Arc<dyn LowerDone>) {
        let opf = bindings::req_op_REQ_OP_DISCARD;
        self.submit_range(opf, sector, sectors, cookie, done);
    }

    /// Write zeroes asynchronously, without data; fails with `NOTSUPP` if the device cannot.
    pub fn submit_write_zeroes(
        &self,
        sector: u64,
        sectors: u32,
        unmap: bool,
        cookie: u64,
        done: Arc<dyn LowerDone>,
    ) {
        let nounmap = if unmap { 0 } else { bindings::REQ_NOUNMAP };
        let opf = bindings::req_op_REQ_OP_WRITE_ZEROES | nounmap;
        self.submit_range(opf, sector, sectors, cookie, done);
    }

    /// A request without data.
    fn submit_range(
        &self,
        opf: bindings::blk_opf_t,
        sector: u64,
        sectors: u32,
        cookie: u64,
        done: Arc<dyn LowerDone>,
    ) {
        let bytes = usize::try_from(sectors)
            .unwrap_or(usize::MAX)
            .saturating_mul(512);
        match self.bio_from(opf, sector, bytes, 0, core::iter::empty()) {
            // SAFETY: The bio was made just now, and has no memory.
            Ok(bio) => unsafe { submit(bio, self, cookie, done, None, None, None) },
            Err(_) => done.lower_done(cookie, Status::INVAL, None),
        }
    }
}
