// SPDX-License-Identifier: GPL-2.0

//! What attributes a request may have.

use crate::bindings;
use kernel::prelude::*;

/// Smallest and largest value of an unsigned attribute.
#[repr(transparent)]
pub struct Range(bindings::netlink_range_validation);

// SAFETY: Plain numbers.
unsafe impl Sync for Range {}

impl Range {
    /// Values from `min` to `max`, both allowed.
    pub const fn new(min: u64, max: u64) -> Self {
        Range(bindings::netlink_range_validation { min, max })
    }
}

/// Smallest and largest value of a signed attribute.
#[repr(transparent)]
pub struct SignedRange(bindings::netlink_range_validation_signed);

// SAFETY: Plain numbers.
unsafe impl Sync for SignedRange {}

impl SignedRange {
    /// Values from `min` to `max`, both allowed.
    pub const fn new(min: i64, max: i64) -> Self {
        SignedRange(bindings::netlink_range_validation_signed { min, max })
    }
}

/// What an attribute must look like: `nla_policy`. All constructors are const.
#[repr(transparent)]
#[derive(Copy, Clone)]
pub struct Policy(bindings::nla_policy);

// SAFETY: Never written to; its pointers are to statics.
unsafe impl Sync for Policy {}

impl Policy {
    const fn plain(kind: c_uint, len: u16) -> Self {
        let mut raw: bindings::nla_policy = pin_init::zeroed();
        raw.type_ = kind as u8;
        raw.len = len;
        Policy(raw)
    }

    /// Must not be there. What attributes not mentioned are.
    pub const fn reject() -> Self {
        Self::plain(bindings::NLA_REJECT, 0)
    }

    /// An unsigned number of 8 bits.
    pub const fn u8() -> Self {
        Self::plain(bindings::NLA_U8, 0)
    }

    /// An unsigned number of 16 bits.
    pub const fn u16() -> Self {
        Self::plain(bindings::NLA_U16, 0)
    }

    /// An unsigned number of 32 bits.
    pub const fn u32() -> Self {
        Self::plain(bindings::NLA_U32, 0)
    }

    /// An unsigned number of 64 bits.
    pub const fn u64() -> Self {
        Self::plain(bindings::NLA_U64, 0)
    }

    /// A signed number of 32 bits.
    pub const fn s32() -> Self {
        Self::plain(bindings::NLA_S32, 0)
    }

    /// Present or absent, without value.
    pub const fn flag() -> Self {
        Self::plain(bindings::NLA_FLAG, 0)
    }

    /// A string that ends with NUL, of at most `max` bytes without that.
    pub const fn string(max: u16) -> Self {
        Self::plain(bindings::NLA_NUL_STRING, max)
    }

    /// At most `max` bytes.
    pub const fn binary(max: u16) -> Self {
        Self::plain(bindings::NLA_BINARY, max)
    }

    /// The same, with values of `range` only. For unsigned numbers.
    pub const fn in_range(mut self, range: &'static Range) -> Self {
        self.0.validation_type = bindings::nla_policy_validation_NLA_VALIDATE_RANGE_PTR as u8;
        self.0.__bindgen_anon_1 = bindings::nla_policy__bindgen_ty_1 {
            range: core::ptr::from_ref(range).cast(),
        };
        self
    }

    /// The same, with values of `range` only. For signed numbers.
    pub const fn in_signed_range(mut self, range: &'static SignedRange) -> Self {
        self.0.validation_type = bindings::nla_policy_validation_NLA_VALIDATE_RANGE_PTR as u8;
        self.0.__bindgen_anon_1 = bindings::nla_policy__bindgen_ty_1 {
            range_signed: core::ptr::from_ref(range).cast(),
        };
        self
    }
}

/// A table of policies by attribute number, `N` being the highest number plus one. Attributes not
/// in `list` are rejected. A number out of range is a compile-time error if the result is a static.
pub const fn table<const N: usize>(list: &[(u16, Policy)]) -> [Policy; N] {
    let mut out = [Policy::reject(); N];
    let mut i = 0;
    while i < list.len() {
        out[list[i].0 as usize] = list[i].1;
        i += 1;
    }
    out
}
