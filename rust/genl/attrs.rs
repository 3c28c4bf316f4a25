// SPDX-License-Identifier: GPL-2.0

//! A request and its attributes.

use super::message::{Message, Skb};
use super::Policy;
use crate::bindings;
use core::fmt::Write as _;
use core::marker::PhantomData;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::types::NotThreadSafe;

/// An attribute: its payload has the length that its policy demands, but readers check it again.
#[derive(Copy, Clone)]
pub struct Attr<'a> {
    bytes: &'a [u8],
}

impl<'a> Attr<'a> {
    /// The payload.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// As a number of 8 bits.
    pub fn u8(self) -> Option<u8> {
        Some(u8::from_ne_bytes(self.bytes.try_into().ok()?))
    }

    /// As a number of 16 bits.
    pub fn u16(self) -> Option<u16> {
        Some(u16::from_ne_bytes(self.bytes.try_into().ok()?))
    }

    /// As a number of 32 bits.
    pub fn u32(self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes.try_into().ok()?))
    }

    /// As a signed number of 32 bits.
    pub fn s32(self) -> Option<i32> {
        Some(i32::from_ne_bytes(self.bytes.try_into().ok()?))
    }

    /// As a number of 64 bits.
    pub fn u64(self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.bytes.try_into().ok()?))
    }

    /// As text up to the first NUL. `None`: no NUL, or not UTF-8.
    pub fn str(self) -> Option<&'a str> {
        self.cstr()?.to_str().ok()
    }

    /// As a C string up to the first NUL. `None`: no NUL.
    pub fn cstr(self) -> Option<&'a CStr> {
        CStr::from_bytes_until_nul(self.bytes).ok()
    }
}

/// The attributes of a request, by number. A number beyond the policy, or of another form, reads as
/// absent.
///
/// # Invariants
///
/// `table` is null or has `len` pointers, each null or to a validated attribute.
pub struct Attrs<'a> {
    table: *mut *mut bindings::nlattr,
    len: usize,
    _request: PhantomData<&'a ()>,
    _not_send: NotThreadSafe,
}

impl<'a> Attrs<'a> {
    /// The attribute with this number.
    pub fn get(&self, number: u16) -> Option<Attr<'a>> {
        // SAFETY: By the type invariant.
        unsafe {
            let nla = self.raw(number)?;
            let mut raw = bindings::rdb_helper_attr::default();
            bindings::genl_attr(nla, &mut raw);
            Some(Attr {
                bytes: core::slice::from_raw_parts(raw.data.cast(), usize::from(raw.len)),
            })
        }
    }

    fn raw(&self, number: u16) -> Option<*const bindings::nlattr> {
        let number = usize::from(number);
        if self.table.is_null() || number >= self.len {
            return None;
        }
        // SAFETY: By the type invariant.
        let nla = unsafe { *self.table.add(number) };
        (!nla.is_null()).then_some(nla.cast_const())
    }

    /// Number of 8 bits.
    pub fn u8(&self, number: u16) -> Option<u8> {
        self.get(number)?.u8()
    }

    /// Number of 16 bits.
    pub fn u16(&self, number: u16) -> Option<u16> {
        self.get(number)?.u16()
    }

    /// Number of 32 bits.
    pub fn u32(&self, number: u16) -> Option<u32> {
        self.get(number)?.u32()
    }

    /// Signed number of 32 bits.
    pub fn s32(&self, number: u16) -> Option<i32> {
        self.get(number)?.s32()
    }

    /// Number of 64 bits.
    pub fn u64(&self, number: u16) -> Option<u64> {
        self.get(number)?.u64()
    }

    /// Text.
    pub fn str(&self, number: u16) -> Option<&'a str> {
        self.get(number)?.str()
    }

    /// C string.
    pub fn cstr(&self, number: u16) -> Option<&'a CStr> {
        self.get(number)?.cstr()
    }

    /// Bytes.
    pub fn bytes(&self, number: u16) -> Option<&'a [u8]> {
        Some(self.get(number)?.bytes())
    }

    /// Whether a flag (or anything else) with this number is there.
    pub fn flag(&self, number: u16) -> bool {
        self.raw(number).is_some()
    }
}

/// A request, during the call of its operation.
///
/// # Invariants
///
/// `info` is valid for `'a`.
pub struct Request<'a> {
    info: *mut bindings::genl_info,
    attrs: Attrs<'a>,
    cmd: u8,
}

impl<'a> Request<'a> {
    /// # Safety
    ///
    /// `info` must be valid for `'a`, its attributes parsed by `policy`.
    pub(super) unsafe fn new(
        info: *mut bindings::genl_info,
        policy: &'static [Policy],
        cmd: u8,
    ) -> Self {
        Request {
            info,
            attrs: Attrs {
                // SAFETY: The caller guarantees it.
                table: unsafe { (*info).attrs },
                len: policy.len(),
                _request: PhantomData,
                _not_send: NotThreadSafe,
            },
            cmd,
        }
    }

    pub(super) fn info(&self) -> *mut bindings::genl_info {
        self.info
    }

    pub(super) fn cmd(&self) -> u8 {
        self.cmd
    }

    /// The attributes.
    pub fn attrs(&self) -> &Attrs<'a> {
        &self.attrs
    }

    /// Port of who asks.
    pub fn portid(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.info).snd_portid }
    }

    /// Send a message with the request's command, filled by `build`, to who asks. For
    /// [`DoOp`](super::DoOp); may be called several times. Sleeps. `EMSGSIZE`: too much for one
    /// message (about 3.7 KiB); `ENOMEM`.
    pub fn reply(&self, build: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        let mut skb = Skb::new()?;
        // SAFETY: By the type invariant. The skb is given away.
        unsafe {
            let info = &*self.info;
            skb.message(info.snd_portid, info.snd_seq, info.family, self.cmd, build)?;
            to_result(bindings::genl_reply(skb.into_raw(), self.info))
        }
    }

    /// Put `text`, cut after 79 bytes, into the extended acknowledgement, and return `error`:
    /// `return Err(req.fail(EBUSY, fmt!("{} is in use", name)))`.
    pub fn fail(&self, error: Error, text: core::fmt::Arguments<'_>) -> Error {
        self.set_error(text, core::ptr::null());
        error
    }

    /// As [`fail`](Self::fail), and point out the attribute with this number.
    pub fn fail_attr(&self, number: u16, error: Error, text: core::fmt::Arguments<'_>) -> Error {
        self.set_error(text, self.attrs.raw(number).unwrap_or(core::ptr::null()));
        error
    }

    fn set_error(&self, text: core::fmt::Arguments<'_>, attr: *const bindings::nlattr) {
        let mut line = Line {
            bytes: [0; 80],
            len: 0,
        };
        // What does not fit is cut, which is no error here.
        let _ = line.write_fmt(text);
        // SAFETY: By the type invariant; the text is copied. The attribute is part of the request,
        // which outlives the acknowledgement.
        unsafe {
            bindings::genl_set_error(self.info, line.bytes.as_ptr().cast(), line.len, attr);
        }
    }
}

/// A short text, cut at the end of a character.
struct Line {
    bytes: [u8; 80],
    len: usize,
}

impl core::fmt::Write for Line {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        // The last byte stays for the NUL.
        let room = self.bytes.len() - 1 - self.len;
        let mut part = s.len().min(room);
        while !s.is_char_boundary(part) {
            part -= 1;
        }
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in free.iter_mut().zip(s.as_bytes().iter().take(part)) {
            *to = *from;
        }
        self.len += part;
        if part < s.len() {
            Err(core::fmt::Error)
        } else {
            Ok(())
        }
    }
}
