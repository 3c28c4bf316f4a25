// SPDX-License-Identifier: GPL-2.0

//! zerocopy as programs in user space know it: traits and their derives under the same names.
//!
//! The kernel builds zerocopy without its `derive` feature and the derives as a crate of their own.
//! The engine is compiled in both worlds; Kbuild gives it this crate under the name `zerocopy`.

pub use zerocopy::*;
pub use zerocopy_derive::*;
