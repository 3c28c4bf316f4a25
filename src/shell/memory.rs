// SPDX-License-Identifier: GPL-2.0

//! The engine's tables in kernel memory.

use core::ops::{Deref, DerefMut};

use kernel::prelude::*;
use rdb_engine::memory::Memory;
use rdb_kapi::mem;

/// Memory of the kernel: what does not fit into pages of their own is mapped.
pub(crate) struct KernelMemory;

impl Memory for KernelMemory {
    type Words = Table<u64>;
    type Table<T> = Table<T>;
}

/// A table of fixed length.
pub(crate) struct Table<T>(KVVec<T>);

impl<T: Default> Table<T> {
    /// A table of `len` default values. May sleep.
    pub(crate) fn new(len: usize) -> Result<Self> {
        Ok(Self(mem::filled_with(len, |_| Ok(T::default()))?))
    }
}

impl Table<u64> {
    /// `len` zeroes, faster than [`Table::new`]. May sleep.
    pub(crate) fn zeroed(len: usize) -> Result<Self> {
        Ok(Self(mem::zeroed(len)?))
    }
}

impl<T> Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
