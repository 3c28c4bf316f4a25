// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of the kernel's C interfaces that the `kernel` crate lacks.
//!
//! The only crate of rdb in which `unsafe` may appear.

/// Prefix of the kernel log lines of this crate; `pr_info!` and its like look for it in the crate root.
const __LOG_PREFIX: &[u8] = b"rdb\0";

mod bindings;
