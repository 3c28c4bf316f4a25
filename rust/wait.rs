// SPDX-License-Identifier: GPL-2.0

//! Waiting for a condition.
//!
//! The kernel crate's `CondVar` is bound to a lock of its own kinds; a wait queue is not, so that
//! interrupt handlers can wake and the condition can be anything that is cheap to look at.

use crate::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::LockClassKey;
use kernel::types::Opaque;

/// A queue of tasks that wait for something: `wait_queue_head_t`.
///
/// The functions named `wait…` sleep. They look at the condition first, so none sleeps when it
/// holds already, and who makes it true must do that before waking. The condition runs with the
/// task's state already set to sleeping: it must not sleep (no mutex), and should be a look at an
/// atomic or at something under a spin lock.
///
/// # Invariants
///
/// The wait queue head is initialized and pinned.
#[pin_data]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue may be used from any thread, and has a lock of its own.
unsafe impl Send for WaitQueue {}
// SAFETY: As above.
unsafe impl Sync for WaitQueue {}

/// # Safety
///
/// `arg` must point to an `F` that nobody else accesses during the call.
unsafe extern "C" fn condition<F: FnMut() -> bool>(arg: *mut c_void) -> bool {
    // SAFETY: The caller guarantees it.
    (unsafe { &mut *arg.cast::<F>() })()
}

fn raw<F: FnMut() -> bool>(cond: &mut F) -> (bindings::rdb_helper_cond, *mut c_void) {
    (Some(condition::<F>), core::ptr::from_mut(cond).cast())
}

impl WaitQueue {
    /// A queue nobody waits in. Use [`new_wait_queue!`](crate::new_wait_queue), which makes the
    /// lock class.
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes and pinned; name and key live for ever.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::wait_queue_head {
        self.head.get()
    }

    /// Sleep until `cond()`; signals do not matter.
    ///
    /// Counts as load, and a wait of minutes is reported as a hung task: for waits that end soon.
    pub fn wait(&self, mut cond: impl FnMut() -> bool) {
        let (f, arg) = raw(&mut cond);
        // SAFETY: The queue is initialized; `arg` belongs to `f` and lives until the call returns.
        unsafe { bindings::wait_event(self.as_ptr(), f, arg) }
    }

    /// Sleep until `cond()`, as a thread that has nothing to do: no load, no hung-task report, no
    /// signals.
    pub fn wait_idle(&self, mut cond: impl FnMut() -> bool) {
        let (f, arg) = raw(&mut cond);
        // SAFETY: As in `wait`.
        unsafe { bindings::wait_event_idle(self.as_ptr(), f, arg) }
    }

    /// Sleep until `cond()`, at most `ms` milliseconds. Returns whether the condition held.
    pub fn wait_timeout(&self, mut cond: impl FnMut() -> bool, ms: u32) -> bool {
        let (f, arg) = raw(&mut cond);
        // SAFETY: As in `wait`.
        unsafe { bindings::wait_event_timeout(self.as_ptr(), f, arg, ms) > 0 }
    }

    /// As [`wait_idle`](Self::wait_idle), at most `ms` milliseconds. Returns whether the condition
    /// held.
    pub fn wait_idle_timeout(&self, mut cond: impl FnMut() -> bool, ms: u32) -> bool {
        let (f, arg) = raw(&mut cond);
        // SAFETY: As in `wait`.
        unsafe { bindings::wait_event_idle_timeout(self.as_ptr(), f, arg, ms) > 0 }
    }

    /// Sleep until `cond()` or a signal, which gives `ERESTARTSYS`. For waits on behalf of a user's
    /// request.
    pub fn wait_interruptible(&self, mut cond: impl FnMut() -> bool) -> Result {
        let (f, arg) = raw(&mut cond);
        // SAFETY: As in `wait`.
        to_result(unsafe { bindings::wait_event_interruptible(self.as_ptr(), f, arg) })
    }

    /// As [`wait_interruptible`](Self::wait_interruptible), at most `ms` milliseconds. `Ok(false)`:
    /// timed out.
    pub fn wait_interruptible_timeout(
        &self,
        mut cond: impl FnMut() -> bool,
        ms: u32,
    ) -> Result<bool> {
        let (f, arg) = raw(&mut cond);
        // SAFETY: As in `wait`.
        let left = unsafe { bindings::wait_event_interruptible_timeout(self.as_ptr(), f, arg, ms) };
        if left < 0 {
            return Err(ERESTARTSYS);
        }
        Ok(left > 0)
    }

    /// Wake everybody who waits here, to look at their conditions again. Any context.
    pub fn wake_all(&self) {
        // SAFETY: The queue is initialized.
        unsafe { bindings::wake_up_all(self.as_ptr()) }
    }

    /// Wake those who wait here, of exclusive waiters only one: for callers of this crate the same
    /// as [`wake_all`](Self::wake_all), except that interruptible and uninterruptible ones alike
    /// are woken. Any context.
    pub fn wake_one(&self) {
        // SAFETY: The queue is initialized.
        unsafe { bindings::wake_up(self.as_ptr()) }
    }
}

/// Initializer of a [`WaitQueue`](crate::wait::WaitQueue) with a lock class of its own:
/// `new_wait_queue!("name")`.
#[macro_export]
macro_rules! new_wait_queue {
    ($name:literal) => {
        $crate::wait::WaitQueue::new(::kernel::c_str!($name), ::kernel::static_lock_class!())
    };
}
