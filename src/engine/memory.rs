// SPDX-License-Identifier: GPL-2.0

//! Where the engine's tables come from.

use core::ops::DerefMut;

/// Kinds of memory that the owner of an engine supplies.
///
/// The engine never allocates: tables have the size that they were handed in with. In the kernel they are `KVVec`s, on the
/// host `Vec`s.
pub trait Memory {
    /// Words of a bitmap.
    type Words: DerefMut<Target = [u64]>;
    /// A table of any other type.
    type Table<T>: DerefMut<Target = [T]>;
}
