// SPDX-License-Identifier: GPL-2.0

//! Deliberate faults, for the simulator to find: each is a line of the engine that is left out or wrong while it is switched on.
//!
//! Without the feature `mutations`, that is in the kernel module and in every other build, `mutant!` is `false` and nothing of this is
//! left.

/// A fault: its number, the row of the list of regressions that it brings back, and what it does.
pub type Mutant = (u32, u32, &'static str);

/// All of them.
#[rustfmt::skip]
pub const MUTANTS: &[Mutant] = &[
    (1, 1, "a write during the exchange of bitmaps is neither sent nor marked"),
    (4, 4, "a write that the peer's missing disk does not get is not marked"),
    (5, 5, "a write runs before its activity-log record is durable"),
    (6, 6, "a transaction of the activity log names no extents"),
    (7, 7, "without an activity log the superblock does not say so"),
    (8, 8, "the end of a resync does not wait for the last acknowledgement"),
    (9, 9, "a handshake as sync source clears the bitmap"),
    (10, 10, "a handshake that finds equal data clears the bitmap"),
    (14, 14, "nothing waits for the superblock"),
    (15, 15, "a crashed Primary is not recognised"),
    (16, 16, "a write that failed at the peer is not marked"),
    (17, 17, "an I/O error of the own disk counts as success"),
    (19, 19, "overlapping writes on a secondary are not held back"),
    (20, 20, "a barrier is acknowledged before the writes of its epoch"),
    (22, 22, "the bitmap on the disk is not used at attach"),
    (24, 24, "the side without the resolve flag decides otherwise"),
    (25, 25, "a lost connection leaves writes of unknown fate unmarked"),
    (28, 28, "a connection lost during the handshake is not tried again"),
    (29, 29, "a resync leaves its target Inconsistent"),
    (32, 32, "extents of the activity log are never given back"),
    (33, 33, "requests of the peer outlive their connection"),
    (35, 35, "writes do not end with their connection"),
    (36, 36, "suspend-io does not wait for what is in flight"),
    (37, 37, "a resync does not return to bits behind its cursor"),
];

#[cfg(feature = "mutations")]
static ACTIVE: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

/// Switches one fault on; 0 = none.
#[cfg(feature = "mutations")]
pub fn activate(number: u32) {
    ACTIVE.store(number, core::sync::atomic::Ordering::Relaxed);
}

/// Whether this fault is switched on.
#[cfg(feature = "mutations")]
pub fn is_active(number: u32) -> bool {
    ACTIVE.load(core::sync::atomic::Ordering::Relaxed) == number
}

/// Whether this fault is switched on: never.
#[cfg(not(feature = "mutations"))]
pub const fn is_active(_number: u32) -> bool {
    false
}
