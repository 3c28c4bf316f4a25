// SPDX-License-Identifier: GPL-2.0

//! Clocks and naps.

use crate::bindings;
use kernel::prelude::*;

/// Nanoseconds of the monotonic clock, which stands still in suspend and never goes back. Any
/// context.
pub fn now_ns() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::ktime_get_ns() }
}

/// Milliseconds of the monotonic clock. Any context.
pub fn now_ms() -> u64 {
    now_ns() / 1_000_000
}

/// Seconds since 1970 of the wall clock, which may jump. Any context.
pub fn wall_s() -> i64 {
    // SAFETY: No preconditions.
    unsafe { bindings::ktime_get_real_ns() }.div_euclid(1_000_000_000)
}

/// Ticks since boot. Any context.
pub fn jiffies() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::jiffies_64() }
}

/// Ticks a second.
pub const TICKS_PER_SECOND: u32 = bindings::CONFIG_HZ;

/// Sleep for at least `ms` milliseconds; signals do not matter. For waits that something may cut
/// short, use a [`WaitQueue`](crate::wait::WaitQueue).
pub fn sleep_ms(ms: u32) {
    // SAFETY: May be called wherever sleeping is allowed.
    unsafe { bindings::msleep(ms) }
}

/// Let others run, in long loops. Sleeps at most shortly.
pub fn yield_now() {
    // SAFETY: May be called wherever sleeping is allowed.
    unsafe { bindings::cond_resched() }
}

const _: () = assert!(
    core::mem::size_of::<c_ulong>() == 8,
    "rdb is for 64-bit kernels"
);
