// SPDX-License-Identifier: GPL-2.0

//! A spin lock that may be taken in interrupt context.
//!
//! The kernel crate's `SpinLock` leaves interrupts on, so that it must not be shared with an
//! interrupt handler; its `SpinLockIrq` exists only since 7.3.

use crate::bindings;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use kernel::prelude::*;
use kernel::sync::LockClassKey;
use kernel::types::{NotThreadSafe, Opaque};

/// A spin lock around a value, which disables interrupts while it is held.
///
/// May be taken in any context. Nothing may sleep while it is held.
///
/// # Invariants
///
/// `lock` is an initialized `spinlock_t`. `data` is accessed only by who holds it, or by who owns
/// the whole.
#[pin_data]
pub struct IrqSpinLock<T> {
    #[pin]
    lock: Opaque<bindings::spinlock_t>,
    data: UnsafeCell<T>,
}

// SAFETY: Sending the lock sends the value.
unsafe impl<T: Send> Send for IrqSpinLock<T> {}
// SAFETY: The lock gives access to the value to one at a time, who may be on any CPU: T must be
// Send.
unsafe impl<T: Send> Sync for IrqSpinLock<T> {}

impl<T> IrqSpinLock<T> {
    /// A lock around `value`. Use [`new_irq_spinlock!`](crate::new_irq_spinlock), which makes the
    /// lock class.
    pub fn new(
        value: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes; name and key live for ever.
            lock <- Opaque::ffi_init(|slot| unsafe {
                bindings::spin_lock_init(slot, name.as_char_ptr(), key.as_ptr())
            }),
            data: UnsafeCell::new(value),
        })
    }

    /// Take the lock; interrupts of this CPU are off until the guard is dropped.
    ///
    /// Guards of several locks must be dropped in reverse order, or interrupts come on again too
    /// early.
    pub fn lock(&self) -> IrqGuard<'_, T> {
        // SAFETY: By the type invariant, `lock` is initialized.
        let flags = unsafe { bindings::spin_lock_irqsave(self.lock.get()) };
        IrqGuard {
            lock: self,
            flags,
            _not_send: NotThreadSafe,
        }
    }

    /// The value, without locking, for who is the only owner.
    pub fn get_mut(self: Pin<&mut Self>) -> &mut T {
        // SAFETY: Nothing is moved out: `data` is not structurally pinned.
        unsafe { self.get_unchecked_mut() }.data.get_mut()
    }
}

/// Proof that an [`IrqSpinLock`] is held; dropping it releases the lock.
#[must_use = "the lock is released at once when the guard is not kept"]
pub struct IrqGuard<'a, T> {
    lock: &'a IrqSpinLock<T>,
    flags: c_ulong,
    _not_send: NotThreadSafe,
}

// SAFETY: A shared guard gives no more than `&T`.
unsafe impl<T: Sync> Sync for IrqGuard<'_, T> {}

impl<T> Deref for IrqGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: The lock is held as long as the guard lives.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for IrqGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The lock is held as long as the guard lives, and the guard is borrowed
        // exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for IrqGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The guard proves that this context took the lock, and `flags` came from that.
        unsafe { bindings::spin_unlock_irqrestore(self.lock.lock.get(), self.flags) }
    }
}

/// Initializer of an [`IrqSpinLock`](crate::lock::IrqSpinLock) with a lock class of its own:
/// `new_irq_spinlock!(value, "name")`.
#[macro_export]
macro_rules! new_irq_spinlock {
    ($value:expr, $name:literal) => {
        $crate::lock::IrqSpinLock::new(
            $value,
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
