// SPDX-License-Identifier: GPL-2.0

//! A file in `/proc` that shows text.

use crate::bindings;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::NotThreadSafe;

/// What a [`ProcFile`] shows.
pub trait ProcShow: Send + Sync + 'static {
    /// Write all of the text. Sleeps; runs in the process that reads. Called again with more room
    /// if the text did not fit, so it must not change anything.
    fn show(&self, out: &mut SeqWriter<'_>) -> core::fmt::Result;
}

/// Where the text goes: use `write!`. Never fails; text that does not fit is asked for again.
pub struct SeqWriter<'a> {
    seq: *mut bindings::seq_file,
    _seq: PhantomData<&'a mut ()>,
    _not_send: NotThreadSafe,
}

impl core::fmt::Write for SeqWriter<'_> {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        // SAFETY: The file is valid as long as this value; the text is copied. What it returns is
        // of no use: seq_file remembers that it was full.
        unsafe { bindings::seq_write(self.seq, s.as_ptr().cast(), s.len()) };
        Ok(())
    }
}

/// A file directly in `/proc`, readable by everybody. Dropping it removes the file, waits for
/// readers, and sleeps.
///
/// # Invariants
///
/// `entry` was made by proc_create and refers to `content`.
pub struct ProcFile<T: ProcShow> {
    entry: NonNull<bindings::proc_dir_entry>,
    /// Dropped after the file was removed.
    _content: Arc<T>,
}

// SAFETY: It may be removed from any thread; `T` is Send and Sync.
unsafe impl<T: ProcShow> Send for ProcFile<T> {}
// SAFETY: `&ProcFile` offers nothing.
unsafe impl<T: ProcShow> Sync for ProcFile<T> {}

/// # Safety
///
/// Called by seq_file for a file with content `T`.
unsafe extern "C" fn show<T: ProcShow>(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // SAFETY: `ProcFile::new` passed the content, which lives until the file is removed and nobody
    // reads it.
    let content = unsafe { &*bindings::seq_private(seq).cast::<T>() };
    let mut out = SeqWriter {
        seq,
        _seq: PhantomData,
        _not_send: NotThreadSafe,
    };
    match content.show(&mut out) {
        Ok(()) => 0,
        Err(_) => EIO.to_errno(),
    }
}

impl<T: ProcShow> ProcFile<T> {
    /// Make `/proc/NAME`. Sleeps. `ENOMEM`, also if the name is taken.
    pub fn new(name: &CStr, content: Arc<T>) -> Result<Self> {
        // SAFETY: The name is copied; the content outlives the file.
        let entry = unsafe {
            bindings::proc_create(
                name.as_char_ptr(),
                Some(show::<T>),
                Arc::as_ptr(&content).cast_mut().cast(),
            )
        };
        Ok(ProcFile {
            entry: NonNull::new(entry).ok_or(ENOMEM)?,
            _content: content,
        })
    }
}

impl<T: ProcShow> Drop for ProcFile<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::proc_remove(self.entry.as_ptr()) }
    }
}
