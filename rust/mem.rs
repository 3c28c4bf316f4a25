// SPDX-License-Identifier: GPL-2.0

//! Memory: scopes that keep the allocator from doing I/O, and large arrays.

use crate::bindings;
use kernel::alloc::KVVec;
use kernel::prelude::*;
use kernel::types::NotThreadSafe;

/// While it lives, allocations of this task start no I/O, as if all of them were `GFP_NOIO`.
///
/// For everything that a write may have to wait for: memory reclaim may itself be waiting for that
/// write. Scopes nest; drop them in reverse order. Process context.
#[must_use = "the scope ends at once when the guard is not kept"]
pub struct NoIo {
    flags: c_uint,
    _task: NotThreadSafe,
}

impl NoIo {
    /// Begin a scope.
    pub fn enter() -> Self {
        NoIo {
            // SAFETY: Changes a flag of the current task only.
            flags: unsafe { bindings::memalloc_noio_save() },
            _task: NotThreadSafe,
        }
    }
}

impl Drop for NoIo {
    fn drop(&mut self) {
        // SAFETY: The guard cannot have left the task that made it.
        unsafe { bindings::memalloc_noio_restore(self.flags) }
    }
}

/// While it lives, allocations of this task may use the last reserves and do not reclaim
/// (`PF_MEMALLOC`).
///
/// Only for tasks whose work frees memory soon, and which take little. Process context.
#[must_use = "the scope ends at once when the guard is not kept"]
pub struct Memalloc {
    flags: c_uint,
    _task: NotThreadSafe,
}

impl Memalloc {
    /// Begin a scope.
    pub fn enter() -> Self {
        Memalloc {
            // SAFETY: Changes a flag of the current task only.
            flags: unsafe { bindings::memalloc_noreclaim_save() },
            _task: NotThreadSafe,
        }
    }
}

impl Drop for Memalloc {
    fn drop(&mut self) {
        // SAFETY: The guard cannot have left the task that made it.
        unsafe { bindings::memalloc_noreclaim_restore(self.flags) }
    }
}

/// `n` zeroed elements, wherever there is room for them (kmalloc or vmalloc). Sleeps; `ENOMEM`.
pub fn zeroed<T: Zeroable>(n: usize) -> Result<KVVec<T>> {
    filled_with(n, |_| Ok(pin_init::zeroed()))
}

/// `n` elements, made one after another from their index. Sleeps; `ENOMEM`, or the first error of
/// `make`.
pub fn filled_with<T>(n: usize, mut make: impl FnMut(usize) -> Result<T>) -> Result<KVVec<T>> {
    let mut v = KVVec::with_capacity(n, GFP_KERNEL)?;
    for i in 0..n {
        v.push(make(i)?, GFP_KERNEL)?;
    }
    Ok(v)
}
