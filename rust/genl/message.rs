// SPDX-License-Identifier: GPL-2.0

//! Messages to user space.

use super::Request;
use crate::bindings;
use core::fmt::Write as _;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::prelude::*;

/// A message being written: its attributes. Every function that adds one fails with `EMSGSIZE` when
/// there is no room left.
///
/// # Invariants
///
/// `skb` is valid for `'a`, and has an open message at its end.
pub struct Message<'a> {
    skb: *mut bindings::sk_buff,
    _skb: PhantomData<&'a mut ()>,
}

impl Message<'_> {
    fn put(&mut self, attr: u16, bytes: &[u8]) -> Result {
        let len = c_int::try_from(bytes.len()).map_err(|_| EMSGSIZE)?;
        if bytes.len() > MAX_PAYLOAD {
            return Err(EMSGSIZE);
        }
        // SAFETY: By the type invariant; the bytes are copied.
        to_result(unsafe {
            bindings::nla_put(self.skb, c_int::from(attr), len, bytes.as_ptr().cast())
        })
    }

    /// A number of 8 bits.
    pub fn put_u8(&mut self, attr: u16, value: u8) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// A number of 16 bits.
    pub fn put_u16(&mut self, attr: u16, value: u16) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// A number of 32 bits.
    pub fn put_u32(&mut self, attr: u16, value: u32) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// A signed number of 32 bits.
    pub fn put_s32(&mut self, attr: u16, value: i32) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// A number of 64 bits, without caring for alignment.
    pub fn put_u64(&mut self, attr: u16, value: u64) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// A number of 64 bits, after an attribute `pad` where that is needed to align it.
    pub fn put_u64_pad(&mut self, attr: u16, value: u64, pad: u16) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::genl_put_u64_pad(self.skb, attr, value, pad) })
    }

    /// A string; its NUL is added.
    pub fn put_str(&mut self, attr: u16, text: &str) -> Result {
        self.put_fmt(attr, format_args!("{text}"))
    }

    /// A formatted string; its NUL is added.
    pub fn put_fmt(&mut self, attr: u16, text: core::fmt::Arguments<'_>) -> Result {
        let mut counter = Counter(0);
        counter.write_fmt(text).map_err(|_| EINVAL)?;
        let len = counter.0;
        let size = len
            .checked_add(1)
            .filter(|size| *size <= MAX_PAYLOAD)
            .ok_or(EMSGSIZE)?;
        let size = u16::try_from(size).map_err(|_| EMSGSIZE)?;
        // SAFETY: By the type invariant; the result is null or `size` bytes inside of the skb, to
        // be written by us.
        unsafe {
            let room = bindings::genl_reserve(self.skb, attr, size);
            let room = NonNull::new(room.cast::<u8>()).ok_or(EMSGSIZE)?;
            // All of it is initialized, even if the text becomes shorter the second time.
            core::ptr::write_bytes(room.as_ptr(), 0, usize::from(size));
            let mut filler = Filler(core::slice::from_raw_parts_mut(room.as_ptr(), len));
            // A text that became longer is cut.
            let _ = filler.write_fmt(text);
        }
        Ok(())
    }

    /// Bytes.
    pub fn put_bytes(&mut self, attr: u16, bytes: &[u8]) -> Result {
        self.put(attr, bytes)
    }

    /// A flag, which is there or not.
    pub fn put_flag(&mut self, attr: u16) -> Result {
        self.put(attr, &[])
    }

    /// A flag if `on`, nothing otherwise.
    pub fn put_flag_if(&mut self, attr: u16, on: bool) -> Result {
        if on {
            self.put_flag(attr)?;
        }
        Ok(())
    }

    /// An attribute that holds attributes, those that `build` adds. Nothing is added if `build`
    /// fails.
    pub fn nest(&mut self, attr: u16, build: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        let mut start = core::ptr::null_mut();
        // SAFETY: By the type invariant; `start` is valid for writes.
        to_result(unsafe { bindings::genl_nest_start(self.skb, attr, &mut start) })?;
        let result = build(&mut Message {
            skb: self.skb,
            _skb: PhantomData,
        });
        // SAFETY: `start` is where this attribute begins.
        unsafe {
            match result {
                Ok(()) => bindings::genl_nest_end(self.skb, start),
                Err(_) => bindings::genl_nest_cancel(self.skb, start),
            }
        }
        result
    }
}

/// Most bytes of an attribute: its length has 16 bits, header included.
const MAX_PAYLOAD: usize = 65_000;

struct Counter(usize);

impl core::fmt::Write for Counter {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        self.0 = self.0.saturating_add(s.len());
        Ok(())
    }
}

struct Filler<'a>(&'a mut [u8]);

impl core::fmt::Write for Filler<'_> {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        let free = core::mem::take(&mut self.0);
        let part = s.len().min(free.len());
        let (now, later) = free.split_at_mut(part);
        for (to, from) in now.iter_mut().zip(s.as_bytes()) {
            *to = *from;
        }
        self.0 = later;
        if part < s.len() {
            Err(core::fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// A buffer for one message.
///
/// # Invariants
///
/// The pointer is an skb of ours.
pub(super) struct Skb(NonNull<bindings::sk_buff>);

impl Skb {
    /// Sleeps; `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        // SAFETY: May be called wherever sleeping is allowed.
        let skb = unsafe { bindings::genl_msg_new(bindings::genl_default_size()) };
        Ok(Skb(NonNull::new(skb).ok_or(ENOMEM)?))
    }

    pub(super) fn into_raw(self) -> *mut bindings::sk_buff {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// Add a message from `family`, filled by `build`.
    ///
    /// # Safety
    ///
    /// `family` must be valid.
    pub(super) unsafe fn message(
        &mut self,
        portid: u32,
        seq: u32,
        family: *const bindings::genl_family,
        cmd: u8,
        build: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result {
        let skb = self.0.as_ptr();
        // SAFETY: The skb is ours, the family valid.
        unsafe {
            let header = bindings::genlmsg_put(skb, portid, seq, family, 0, cmd);
            if header.is_null() {
                return Err(EMSGSIZE);
            }
            build(&mut Message {
                skb,
                _skb: PhantomData,
            })?;
            bindings::genl_msg_end(skb, header);
        }
        Ok(())
    }
}

impl Drop for Skb {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::genl_msg_free(self.0.as_ptr()) }
    }
}

/// Add a message to a dump. Nothing is added if `build` fails or returns `false`.
///
/// # Safety
///
/// `skb` and `cb` must be those of the running dump of `req`.
pub(super) unsafe fn append(
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
    req: &Request<'_>,
    build: impl FnOnce(&mut Message<'_>) -> Result<bool>,
) -> Result<bool> {
    // SAFETY: The caller guarantees it.
    unsafe {
        let family = (*req.info()).family;
        let header = bindings::genl_dump_put(skb, cb, family, req.cmd());
        if header.is_null() {
            return Err(EMSGSIZE);
        }
        let result = build(&mut Message {
            skb,
            _skb: PhantomData,
        });
        match result {
            Ok(true) => bindings::genl_msg_end(skb, header),
            _ => bindings::genl_msg_cancel(skb, header),
        }
        result
    }
}
