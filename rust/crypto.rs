// SPDX-License-Identifier: GPL-2.0

//! Checksums, keyed hashes, random numbers.

use crate::bindings;
use crate::bio::Bio;
use crate::buf::IoBuf;
use core::ptr::NonNull;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;

/// Longest digest of any [`Hash`], in bytes.
pub const MAX_DIGEST: usize = 64;

/// Most parts of [`Hash::digest`].
pub const MAX_PARTS: usize = 8;

/// A hash function by its kernel name, as in `/proc/crypto`. May be used by several threads at
/// once.
///
/// # Invariants
///
/// The pointer is a shash, with its key set if it needs one, and with digests of at most
/// [`MAX_DIGEST`] bytes.
pub struct Hash(NonNull<bindings::rdb_helper_shash>);

// SAFETY: After its making it is not changed; each digest has a state of its own.
unsafe impl Send for Hash {}
// SAFETY: As above.
unsafe impl Sync for Hash {}

impl Hash {
    fn alloc(name: &CStr) -> Result<Self> {
        // SAFETY: The name is a C string.
        let raw = from_err_ptr(unsafe { bindings::shash_alloc(name.as_char_ptr()) })?;
        let hash = Hash(NonNull::new(raw).ok_or(ENOMEM)?);
        if hash.size() > MAX_DIGEST {
            return Err(EINVAL);
        }
        Ok(hash)
    }

    /// A hash without key: `sha1`, `crc32c`, `md5` … Sleeps, and may load a module. `ENOENT`: the
    /// kernel has none of this name; `EINVAL`: it needs a key.
    pub fn new(name: &CStr) -> Result<Self> {
        let hash = Self::alloc(name)?;
        // SAFETY: By the type invariant.
        if unsafe { bindings::shash_needs_key(hash.0.as_ptr()) } {
            return Err(EINVAL);
        }
        Ok(hash)
    }

    /// A hash with a key: `hmac(sha1)` … Sleeps, and may load a module. Errors as
    /// [`new`](Self::new), or the key does not suit.
    pub fn keyed(name: &CStr, key: &[u8]) -> Result<Self> {
        let hash = Self::alloc(name)?;
        let len = c_uint::try_from(key.len()).map_err(|_| EINVAL)?;
        // SAFETY: By the type invariant; the key is copied.
        to_result(unsafe { bindings::shash_setkey(hash.0.as_ptr(), key.as_ptr(), len) })?;
        Ok(hash)
    }

    /// Bytes of a digest.
    pub fn size(&self) -> usize {
        // SAFETY: By the type invariant.
        let size = unsafe { bindings::shash_size(self.0.as_ptr()) };
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    fn room(&self, out: &mut [u8]) -> Result<*mut u8> {
        if out.len() < self.size() {
            return Err(EINVAL);
        }
        Ok(out.as_mut_ptr())
    }

    /// The digest of `parts` (at most [`MAX_PARTS`]), one behind the other, into the front of
    /// `out`. Atomic. `EINVAL`: too many parts, or `out` is shorter than [`size`](Self::size).
    pub fn digest(&self, parts: &[&[u8]], out: &mut [u8]) -> Result {
        let mut raw = [const {
            bindings::rdb_helper_slice {
                data: core::ptr::null(),
                len: 0,
            }
        }; MAX_PARTS];
        if parts.len() > MAX_PARTS {
            return Err(EINVAL);
        }
        let mut nr = 0;
        for (to, from) in raw.iter_mut().zip(parts) {
            to.data = from.as_ptr().cast();
            to.len = from.len();
            nr += 1;
        }
        let out = self.room(out)?;
        // SAFETY: By the type invariant; the parts are borrowed; `out` has room for a digest.
        to_result(unsafe { bindings::shash_digest(self.0.as_ptr(), raw.as_ptr(), nr, out) })
    }

    /// The digest of a request's data, into the front of `out`. Atomic. `EINVAL` as in
    /// [`digest`](Self::digest).
    pub fn digest_bio(&self, bio: &Bio, out: &mut [u8]) -> Result {
        let out = self.room(out)?;
        // SAFETY: By the type invariants; `out` has room for a digest.
        to_result(unsafe { bindings::shash_bio(self.0.as_ptr(), bio.as_ptr(), out) })
    }

    /// The digest of `buf.len()` bytes, into the front of `out`. Atomic. `EINVAL` as in
    /// [`digest`](Self::digest).
    pub fn digest_buf(&self, buf: &IoBuf, out: &mut [u8]) -> Result {
        let out = self.room(out)?;
        // SAFETY: By the type invariants; `buf` is borrowed and has `nr` segments; `out` has room
        // for a digest.
        to_result(unsafe { bindings::shash_pages(self.0.as_ptr(), buf.table(), buf.len(), out) })
    }
}

impl Drop for Hash {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::shash_free(self.0.as_ptr()) }
    }
}

/// Fill `out` with random bytes, fit for keys. Any context; early at boot it may sleep.
pub fn random_bytes(out: &mut [u8]) {
    // SAFETY: `out` is valid for its length.
    unsafe { bindings::random_bytes(out.as_mut_ptr().cast(), out.len()) }
}

/// A random number. Context as [`random_bytes`].
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    random_bytes(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// CRC-32C of `data`, continuing `seed`: neither is inverted here. Any context.
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    // SAFETY: `data` is valid for its length.
    unsafe { bindings::crc32c(seed, data.as_ptr().cast(), data.len()) }
}

/// Whether `a` and `b` are equal, in a time that depends on their lengths only. Any context.
pub fn equal_ct(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // SAFETY: Both are valid for that length.
    !unsafe { bindings::memneq(a.as_ptr().cast(), b.as_ptr().cast(), a.len()) }
}
