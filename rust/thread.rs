// SPDX-License-Identifier: GPL-2.0

//! Kernel threads that run a closure.

use crate::bindings;
use crate::mem::{Memalloc, NoIo};
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::prelude::*;
use kernel::types::NotThreadSafe;

/// How a thread runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Its allocations start no I/O. For every thread that a write may have to wait for.
    pub noio: bool,
    /// Its allocations may use the last reserves (`PF_MEMALLOC`). Only for threads whose work frees
    /// memory, and that take little.
    pub memalloc: bool,
    /// -20 (first) to 19 (last).
    pub nice: i8,
    /// Before all ordinary threads (`SCHED_FIFO`, lowest priority). For threads that never run
    /// long.
    pub fifo: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            noio: true,
            memalloc: false,
            nice: 0,
            fifo: false,
        }
    }
}

/// What the closure of a thread is given: its view of itself. Cannot leave the thread.
pub struct ThreadContext {
    _task: NotThreadSafe,
}

impl ThreadContext {
    /// Whether [`KThread::stop`] was called: return soon. Any context of this thread, conditions of
    /// wait queues included.
    pub fn should_stop(&self) -> bool {
        // SAFETY: The type exists only in threads made by kthread_create(), and cannot leave them.
        unsafe { bindings::kthread_should_stop() }
    }
}

/// A kernel thread.
///
/// Dropping it is [`stop`](Self::stop). The closure has to return soon after `should_stop()` became
/// true; stopping wakes it from every wait of a [`WaitQueue`](crate::wait::WaitQueue) that has
/// `should_stop()` in its condition, but not from sockets: call
/// [`Socket::shutdown`](crate::net::Socket::shutdown) first.
///
/// # Invariants
///
/// `task` was made by kthread_create() and we hold a reference. `data` is the closure, as the entry
/// function expects it, as long as that has not run.
pub struct KThread {
    task: NonNull<bindings::task_struct>,
    data: *mut c_void,
    free: unsafe fn(*mut c_void),
}

// SAFETY: A task may be stopped and woken from any thread; the closure is Send.
unsafe impl Send for KThread {}
// SAFETY: As above; `&KThread` only wakes and compares.
unsafe impl Sync for KThread {}

/// What the entry function gets.
struct Start<F> {
    options: Options,
    run: F,
}

/// # Safety
///
/// `data` must be a boxed `Start<F>`, which is given away.
unsafe extern "C" fn entry<F: FnOnce(&ThreadContext) + Send + 'static>(data: *mut c_void) -> c_int {
    // SAFETY: The caller guarantees it.
    let start = KBox::into_inner(unsafe { KBox::from_raw(data.cast::<Start<F>>()) });
    let Options {
        noio,
        memalloc,
        nice,
        fifo,
    } = start.options;
    // SAFETY: The current task may always change its own priority.
    unsafe {
        let me = bindings::current();
        if fifo {
            bindings::sched_set_fifo_low(me);
        } else if nice != 0 {
            bindings::set_user_nice(me, c_long::from(nice.clamp(-20, 19)));
        }
    }
    let _noio = noio.then(NoIo::enter);
    let _memalloc = memalloc.then(Memalloc::enter);
    (start.run)(&ThreadContext {
        _task: NotThreadSafe,
    });
    // kthread_stop() collects it later; the KThread's reference keeps the task until then.
    0
}

/// # Safety
///
/// `data` must be a boxed `Start<F>`, which is given away.
unsafe fn free_start<F>(data: *mut c_void) {
    // SAFETY: The caller guarantees it.
    drop(unsafe { KBox::from_raw(data.cast::<Start<F>>()) });
}

impl KThread {
    /// Run `run` in a new thread called `name` (15 bytes of it are shown in some places). Sleeps.
    /// `ENOMEM`, `EINTR`.
    pub fn spawn<F: FnOnce(&ThreadContext) + Send + 'static>(
        name: &CStr,
        options: Options,
        run: F,
    ) -> Result<Self> {
        let data = KBox::into_raw(KBox::new(Start { options, run }, GFP_KERNEL)?).cast::<c_void>();
        // SAFETY: The format takes one C string, which is copied. `entry` gets the data that belong
        // to it.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(entry::<F>),
                data,
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        });
        let task = match task.and_then(|t| NonNull::new(t).ok_or(ENOMEM)) {
            Ok(task) => task,
            Err(e) => {
                // SAFETY: `entry` does not run.
                unsafe { free_start::<F>(data) };
                return Err(e);
            }
        };
        // SAFETY: The task was made just now and waits to be woken.
        unsafe {
            bindings::get_task_struct(task.as_ptr());
            bindings::wake_up_process(task.as_ptr());
        }
        Ok(KThread {
            task,
            data,
            free: free_start::<F>,
        })
    }

    /// Make `should_stop()` true, wake the thread, and sleep until it has returned. Never from the
    /// thread itself.
    pub fn stop(self) {
        drop(self);
    }

    /// Wake the thread, to make it look at its conditions. Any context.
    pub fn wake(&self) {
        // SAFETY: We hold a reference.
        unsafe { bindings::wake_up_process(self.task.as_ptr()) };
    }

    /// Whether the caller is this thread. Any context.
    pub fn is_current(&self) -> bool {
        // SAFETY: No preconditions.
        unsafe { bindings::current() == self.task.as_ptr() }
    }
}

impl Drop for KThread {
    fn drop(&mut self) {
        // SAFETY: We hold a reference. EINTR says that the thread was stopped before `entry` ran:
        // the closure is ours.
        unsafe {
            if bindings::kthread_stop(self.task.as_ptr()) == -(bindings::EINTR as c_int) {
                (self.free)(self.data);
            }
            bindings::put_task_struct(self.task.as_ptr());
        }
    }
}
