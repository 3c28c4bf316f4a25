// SPDX-License-Identifier: GPL-2.0

//! Two engines, simulated disks and network, one seed: the simulator.
//!
//! The engines are those of the kernel module. Everything around them is made here: lower disks that lose what was not flushed when a
//! node dies, two streams that can be cut at any byte boundary of a packet, completions in any order. A run is a sequence of steps;
//! at each one the random generator picks one of the things that could happen next. The same seed gives the same run.
//!
//! An oracle outside knows every write that was submitted and every one that was acknowledged to the application. After a
//! takeover, each sector must hold the last acknowledged content or a later one; after convergence, both disks must be
//! equal.

mod disk;
mod node;
mod rng;
mod world;

pub use node::Node;
pub use rng::Rng;
pub use world::{A, B, Plan, World};
