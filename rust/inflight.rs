// SPDX-License-Identifier: GPL-2.0

//! Counting what is under way, to wait until nothing is.

use crate::bindings;
use crate::wait::WaitQueue;
use kernel::prelude::*;
use kernel::sync::LockClassKey;
use kernel::types::Opaque;

/// Number of operations under way.
///
/// Made for memory that goes away with the last operation: after [`wait_zero`](Self::wait_zero)
/// returned, the [`put`](Self::put) that made it zero does not touch the counter any more, so it
/// may be freed. The owner must see to it that nobody calls `get` on a counter that is being waited
/// for to be freed.
///
/// # Invariants
///
/// `count` and `lock` are initialized. `count` goes from one to zero only under `lock`.
#[pin_data]
pub struct InFlight {
    #[pin]
    count: Opaque<bindings::atomic_t>,
    #[pin]
    lock: Opaque<bindings::spinlock_t>,
    #[pin]
    idle: WaitQueue,
}

// SAFETY: All members may be used from any thread and have their own synchronization.
unsafe impl Send for InFlight {}
// SAFETY: As above.
unsafe impl Sync for InFlight {}

impl InFlight {
    /// A counter at zero. Use [`new_in_flight!`](crate::new_in_flight), which makes the lock
    /// classes.
    pub fn new(
        name: &'static CStr,
        lock_key: Pin<&'static LockClassKey>,
        wait_key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes; zero bytes are an atomic_t of zero.
            count <- Opaque::ffi_init(|slot| unsafe { core::ptr::write_bytes(slot, 0, 1) }),
            // SAFETY: `slot` is valid for writes and pinned; name and key live for ever.
            lock <- Opaque::ffi_init(|slot| unsafe {
                bindings::spin_lock_init(slot, name.as_char_ptr(), lock_key.as_ptr())
            }),
            idle <- WaitQueue::new(name, wait_key),
        })
    }

    /// One more. Any context.
    pub fn get(&self) {
        // SAFETY: By the type invariant, `count` is initialized.
        unsafe { bindings::atomic_inc(self.count.get()) }
    }

    /// One less; wakes who waits for zero. Any context. A `put` without a `get` is a bug that
    /// upsets the waiters.
    pub fn put(&self) {
        // SAFETY: By the type invariant, all three are initialized.
        unsafe {
            bindings::inflight_put(self.count.get(), self.lock.get(), self.idle.as_ptr());
        }
    }

    /// How many there are now. Any context.
    pub fn count(&self) -> u32 {
        // SAFETY: By the type invariant, `count` is initialized.
        let count = unsafe { bindings::atomic_read(self.count.get()) };
        u32::try_from(count).unwrap_or(0)
    }

    /// Sleep until there are none.
    pub fn wait_zero(&self) {
        // SAFETY: By the type invariant, all three are initialized.
        unsafe {
            bindings::inflight_wait(self.count.get(), self.lock.get(), self.idle.as_ptr());
        }
    }
}

/// Initializer of an [`InFlight`](crate::inflight::InFlight) with lock classes of its own:
/// `new_in_flight!("name")`.
#[macro_export]
macro_rules! new_in_flight {
    ($name:literal) => {
        $crate::inflight::InFlight::new(
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
            ::kernel::static_lock_class!(),
        )
    };
}
