// SPDX-License-Identifier: GPL-2.0

//! One name for the bindings of the `kernel` crate and for our own, which add what those lack.
//!
//! Always write `bindings::name` of this module: which of the two sources has a name depends on the
//! kernel version.
#![allow(
    clippy::all,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]

// Types are shared with the kernel crate; our own definitions shadow the glob.
pub(crate) use kernel::bindings::*;

use kernel::ffi;
use pin_init::{MaybeZeroable, Zeroable};

include!(concat!(env!("RDB_OBJ"), "/rdb_bindings_generated.rs"));

#[cfg(rdb_own_genl)]
// SAFETY: A bit field unit is nothing but its storage, and zeroes are a value of that.
unsafe impl<S: Zeroable> Zeroable for __BindgenBitfieldUnit<S> {}

/// What a policy says beyond type and length. Only the members that we use; all are no larger than a pointer.
#[cfg(rdb_own_genl)]
#[repr(C)]
#[derive(Copy, Clone, MaybeZeroable)]
pub(crate) union nla_policy__bindgen_ty_1 {
    pub(crate) range: *const netlink_range_validation,
    pub(crate) range_signed: *const netlink_range_validation_signed,
}
