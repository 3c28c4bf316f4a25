// SPDX-License-Identifier: GPL-2.0

//! Moving bytes over a [`Socket`]: from and to slices, buffers and requests.
//!
//! The functions that move all of something loop until they have. Each time the socket's timeout
//! passes they call `stall` with the number of bytes moved so far, and go on if it says `true`; so
//! the caller counts, and pings.

use crate::bindings;
use crate::bio::{Bio, Op};
use crate::buf::IoBuf;
use crate::net::{NetError, Peek, Socket};
use kernel::error::to_result;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

/// What to do at a timeout, given the bytes moved so far: go on (`true`), or give up with
/// [`NetError::Timeout`].
pub type Stall<'a> = &'a mut dyn FnMut(usize) -> bool;

/// How a request's data are sent.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SendMode {
    /// By reference to the pages. They must not change before the peer has confirmed the data,
    /// because they may have to be sent again: release the socket before completing the request if
    /// it has not. Pages for which the network cannot do this are copied.
    Splice,
    /// Copied to the socket's buffers.
    Copy,
}

/// Most parts of [`Socket::send_slices`].
pub const MAX_SLICES: usize = 8;

/// Pages of an [`IoBuf`] passed to the network at a time; their table is on the stack.
const BATCH: usize = 16;

impl Socket {
    /// Send all of `data`. `more`: something follows at once, so do not send a short segment yet.
    pub fn send_all(&self, data: &[u8], more: bool, stall: Stall<'_>) -> Result<(), NetError> {
        self.send_slices(&[data], more, stall)
    }

    /// Send all of `parts`, at most [`MAX_SLICES`], one behind the other. `EINVAL`: too many.
    pub fn send_slices(
        &self,
        parts: &[&[u8]],
        more: bool,
        stall: Stall<'_>,
    ) -> Result<(), NetError> {
        let mut vecs = [const {
            bindings::kvec {
                iov_base: core::ptr::null_mut(),
                iov_len: 0,
            }
        }; MAX_SLICES];
        if parts.len() > MAX_SLICES {
            return Err(NetError::Failed(EINVAL));
        }
        let mut total = 0;
        for (vec, part) in vecs.iter_mut().zip(parts) {
            vec.iov_base = part.as_ptr().cast_mut().cast();
            vec.iov_len = part.len();
            total += part.len();
        }
        let mut msg = message(if more { bindings::MSG_MORE } else { 0 });
        // SAFETY: The vectors and what they point to live until the end of this function, and are
        // read only.
        unsafe {
            bindings::iov_iter_kvec(
                &mut msg.msg_iter,
                bindings::ITER_SOURCE,
                vecs.as_ptr(),
                parts.len(),
                total,
            );
            self.send_message(&mut msg, total, 0, stall)
        }
    }

    /// Send the data of a write request, from its start to its end.
    pub fn send_bio(
        &self,
        bio: &Bio,
        mode: SendMode,
        more: bool,
        stall: Stall<'_>,
    ) -> Result<(), NetError> {
        let mut flags = if more { bindings::MSG_MORE } else { 0 };
        // SAFETY: By the invariants of Bio; its memory is valid until it is answered, and it is
        // borrowed until then.
        unsafe {
            if mode == SendMode::Splice && bindings::bio_spliceable(bio.as_ptr()) {
                flags |= bindings::MSG_SPLICE_PAGES;
            }
            let mut msg = message(flags);
            let total = bindings::bio_iov_iter(bio.as_ptr(), false, &mut msg.msg_iter);
            self.send_message(&mut msg, total, 0, stall)
        }
    }

    /// Send `buf.len()` bytes, copying them.
    pub fn send_buf(&self, buf: &IoBuf, more: bool, stall: Stall<'_>) -> Result<(), NetError> {
        self.send_pages(buf, 0, more, stall)
    }

    /// Send `buf.len()` bytes without copying them. The buffer is used up: its pages are freed when
    /// the peer's TCP has acknowledged them.
    pub fn send_buf_owned(&self, buf: IoBuf, more: bool, stall: Stall<'_>) -> Result<(), NetError> {
        // Dropping `buf` leaves pages to which the network refers alone.
        self.send_pages(&buf, bindings::MSG_SPLICE_PAGES, more, stall)
    }

    fn send_pages(
        &self,
        buf: &IoBuf,
        flags: c_uint,
        more: bool,
        stall: Stall<'_>,
    ) -> Result<(), NetError> {
        self.for_each_batch(buf, bindings::ITER_SOURCE, |msg, bytes, done, last| {
            msg.msg_flags =
                flags | bindings::MSG_NOSIGNAL | if more || !last { bindings::MSG_MORE } else { 0 };
            // SAFETY: `for_each_batch` passes an iterator over `bytes` bytes of the borrowed
            // buffer.
            unsafe { self.send_message(msg, bytes, done, stall) }
        })
    }

    /// Call `f` with messages whose iterators cover all of `buf`, a batch of pages at a time; with
    /// the bytes of the batch, those of the batches before, and whether it is the last.
    fn for_each_batch(
        &self,
        buf: &IoBuf,
        direction: c_uint,
        mut f: impl FnMut(&mut bindings::msghdr, usize, usize, bool) -> Result<(), NetError>,
    ) -> Result<(), NetError> {
        let mut segments = buf.segments();
        let mut done = 0;
        while done < buf.len() {
            let mut vecs = [const {
                bindings::bio_vec {
                    bv_page: core::ptr::null_mut(),
                    bv_len: 0,
                    bv_offset: 0,
                }
            }; BATCH];
            let (mut used, mut bytes) = (0, 0);
            for (vec, (page, len)) in vecs.iter_mut().zip(&mut segments) {
                vec.bv_page = page.as_ptr();
                vec.bv_len = c_uint::try_from(len).unwrap_or(0);
                used += 1;
                bytes += len;
            }
            let mut msg = message(0);
            // SAFETY: The vectors live until `f` has returned; their pages are those of the
            // borrowed buffer.
            unsafe {
                bindings::iov_iter_bvec(&mut msg.msg_iter, direction, vecs.as_ptr(), used, bytes);
            }
            f(&mut msg, bytes, done, done + bytes >= buf.len())?;
            if bytes == 0 {
                break;
            }
            done += bytes;
        }
        Ok(())
    }

    /// Send `total` bytes of the message's iterator. `before` bytes were moved earlier, for
    /// `stall`.
    ///
    /// # Safety
    ///
    /// The iterator must cover `total` bytes of valid memory.
    unsafe fn send_message(
        &self,
        msg: &mut bindings::msghdr,
        total: usize,
        before: usize,
        stall: Stall<'_>,
    ) -> Result<(), NetError> {
        let mut left = total;
        while left > 0 {
            // SAFETY: The caller guarantees it; sendmsg advances the iterator by what it took.
            let n = unsafe { bindings::sock_sendmsg(self.as_ptr(), msg) };
            let done = before + (total - left);
            match usize::try_from(n) {
                Ok(0) => return Err(NetError::Closed { done }),
                Ok(n) => left = left.saturating_sub(n),
                Err(_) => self.stalled(n, done, stall)?,
            }
        }
        Ok(())
    }

    /// After an error `code`: `Ok` if it was a timeout and `stall` wants to go on.
    fn stalled(&self, code: c_int, done: usize, stall: Stall<'_>) -> Result<(), NetError> {
        match NetError::new(Error::from_errno(code), done) {
            NetError::Timeout { .. } if stall(done) => Ok(()),
            e => Err(e),
        }
    }

    /// Receive until `out` is full. `Closed`: the peer closed before.
    pub fn recv_exact(&self, out: &mut [u8], stall: Stall<'_>) -> Result<(), NetError> {
        let total = out.len();
        let mut msg = message(0);
        let vec = bindings::kvec {
            iov_base: out.as_mut_ptr().cast(),
            iov_len: total,
        };
        // SAFETY: The vector and `out` live until the end of this function; `out` is borrowed
        // exclusively.
        unsafe {
            bindings::iov_iter_kvec(&mut msg.msg_iter, bindings::ITER_DEST, &vec, 1, total);
            self.recv_message(&mut msg, total, 0, stall)
        }
    }

    /// Receive what is there, at least one byte, at most `out.len()`. Returns how many.
    pub fn recv_some(&self, out: &mut [u8]) -> Result<usize, NetError> {
        if out.is_empty() {
            return Ok(0);
        }
        match self.recv_once(out, 0) {
            0 => Err(NetError::Closed { done: 0 }),
            n => usize::try_from(n).map_err(|_| NetError::new(Error::from_errno(n), 0)),
        }
    }

    /// One call of recvmsg with `flags`.
    fn recv_once(&self, out: &mut [u8], flags: c_uint) -> c_int {
        let mut msg = message(0);
        let vec = bindings::kvec {
            iov_base: out.as_mut_ptr().cast(),
            iov_len: out.len(),
        };
        // SAFETY: The vector and `out` live until the end of this function; `out` is borrowed
        // exclusively.
        unsafe {
            bindings::iov_iter_kvec(&mut msg.msg_iter, bindings::ITER_DEST, &vec, 1, out.len());
            bindings::sock_recvmsg(self.as_ptr(), &mut msg, c_int::try_from(flags).unwrap_or(0))
        }
    }

    /// Receive `buf.len()` bytes into the pages of `buf`.
    pub fn recv_buf(&self, buf: &mut IoBuf, stall: Stall<'_>) -> Result<(), NetError> {
        self.for_each_batch(buf, bindings::ITER_DEST, |msg, bytes, done, _| {
            // SAFETY: `for_each_batch` passes an iterator over `bytes` bytes of the buffer, which
            // is borrowed exclusively.
            unsafe { self.recv_message(msg, bytes, done, stall) }
        })
    }

    /// Receive `bio.len()` bytes into the memory of a read request. `EINVAL`: it is no read.
    pub fn recv_bio(&self, bio: &mut Bio, stall: Stall<'_>) -> Result<(), NetError> {
        if bio.op() != Op::Read {
            return Err(NetError::Failed(EINVAL));
        }
        let mut msg = message(0);
        // SAFETY: By the invariants of Bio; its memory is there to be written, and valid until it
        // is answered.
        unsafe {
            let total = bindings::bio_iov_iter(bio.as_ptr(), true, &mut msg.msg_iter);
            self.recv_message(&mut msg, total, 0, stall)
        }
    }

    /// Receive `total` bytes into the message's iterator. `before` bytes were moved earlier, for
    /// `stall`.
    ///
    /// # Safety
    ///
    /// The iterator must cover `total` bytes of valid memory that nobody else accesses.
    unsafe fn recv_message(
        &self,
        msg: &mut bindings::msghdr,
        total: usize,
        before: usize,
        stall: Stall<'_>,
    ) -> Result<(), NetError> {
        let wait_all = c_int::try_from(bindings::MSG_WAITALL).unwrap_or(0);
        let mut left = total;
        while left > 0 {
            // SAFETY: The caller guarantees it; recvmsg advances the iterator by what it filled.
            let n = unsafe { bindings::sock_recvmsg(self.as_ptr(), msg, wait_all) };
            let done = before + (total - left);
            match usize::try_from(n) {
                Ok(0) => return Err(NetError::Closed { done }),
                Ok(n) => left = left.saturating_sub(n),
                Err(_) => self.stalled(n, done, stall)?,
            }
        }
        Ok(())
    }

    /// Whether there is something to receive, without receiving or waiting.
    pub fn peek(&self) -> Peek {
        let mut byte = [0u8; 1];
        match self.recv_once(&mut byte, bindings::MSG_PEEK | bindings::MSG_DONTWAIT) {
            n if n > 0 => Peek::Readable,
            0 => Peek::Dead,
            n => match to_result(n) {
                Err(e) if e == EAGAIN => Peek::Quiet,
                _ => Peek::Dead,
            },
        }
    }
}

fn message(flags: c_uint) -> bindings::msghdr {
    bindings::msghdr {
        msg_flags: flags | bindings::MSG_NOSIGNAL,
        ..Default::default()
    }
}

const _: () = assert!(PAGE_SIZE >= 4096);
