// SPDX-License-Identifier: GPL-2.0

//! One object of the module which callbacks without a context of their own can reach.
//!
//! Statics are never dropped, and a pinned lock cannot be made in a `const`. A [`Global`] is the way out: a static that
//! refers to its object from [`Global::set`] to [`Global::clear`], and owns nothing before and afterwards.

use core::cell::UnsafeCell;

use kernel::prelude::*;
use kernel::sync::{Arc, SetOnce};

kernel::sync::global_lock! {
    // SAFETY: `ready` initialises it before anybody can take it, and only once.
    unsafe(uninit) static LOCK: SpinLock<()> = ();
}

/// Who may initialise `LOCK`.
static FIRST: SetOnce<()> = SetOnce::new();
/// `LOCK` is initialised.
static READY: SetOnce<()> = SetOnce::new();

fn ready() -> Result {
    if FIRST.populate(()) {
        // SAFETY: `populate` is true for one caller only, and everybody else checks `READY` before locking.
        unsafe { LOCK.init() };
        READY.populate(());
    }
    // Somebody else initialises it at this very moment: modules set up their globals from one thread.
    READY.as_ref().copied().ok_or(EBUSY)
}

/// A static reference to an object that comes and goes.
pub struct Global<T: Send + Sync + 'static> {
    /// Accessed only while `LOCK` is held.
    object: UnsafeCell<Option<Arc<T>>>,
}

// SAFETY: `object` is accessed under a lock only, and `Arc<T>` may move between threads.
unsafe impl<T: Send + Sync + 'static> Sync for Global<T> {}

impl<T: Send + Sync + 'static> Global<T> {
    /// Refers to nothing yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            object: UnsafeCell::new(None),
        }
    }

    /// Makes it refer to `object`. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it refers to something already.
    pub fn set(&self, object: Arc<T>) -> Result {
        ready()?;
        let mut object = Some(object);
        {
            let _guard = LOCK.lock();
            // SAFETY: The lock is held.
            let slot = unsafe { &mut *self.object.get() };
            if slot.is_none() {
                core::mem::swap(slot, &mut object);
            }
        }
        // The rejected one is dropped outside the lock.
        match object {
            None => Ok(()),
            Some(_) => Err(EBUSY),
        }
    }

    /// The object. Process context; does not sleep.
    pub fn get(&self) -> Option<Arc<T>> {
        READY.as_ref()?;
        let _guard = LOCK.lock();
        // SAFETY: The lock is held.
        unsafe { (*self.object.get()).clone() }
    }

    /// Forgets the object and gives it back. Process context.
    pub fn clear(&self) -> Option<Arc<T>> {
        READY.as_ref()?;
        let _guard = LOCK.lock();
        // SAFETY: The lock is held.
        unsafe { (*self.object.get()).take() }
    }
}
