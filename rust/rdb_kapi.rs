// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of the kernel's C interfaces that the `kernel` crate lacks.
//!
//! The only crate of rdb in which `unsafe` may appear. What it exports is sound for any safe
//! caller; it may still be used wrongly (sleeping where that is forbidden, waiting for oneself), as
//! every kernel interface may.
//!
//! Every function says in which context it may be called: *any context* includes interrupt
//! handlers; *atomic* means that it does not sleep; *sleeps* means process context with nothing
//! held that forbids sleeping. `README.md` beside this file lists everything on one page.

/// Prefix of the kernel log lines of this crate; `pr_info!` and its like look for it in the crate
/// root.
const __LOG_PREFIX: &[u8] = b"rdb\0";

mod bindings;

pub mod bdev;
pub mod bio;
pub mod buf;
pub mod crypto;
pub mod disk;
pub mod errno;
pub mod genl;
pub mod global;
pub mod inflight;
pub mod limits;
pub mod lock;
pub mod lower;
pub mod mem;
pub mod module;
pub mod net;
pub mod proc;
pub mod queue;
pub mod status;
pub mod thread;
pub mod time;
pub mod transfer;
pub mod usermode;
pub mod wait;
