// SPDX-License-Identifier: GPL-2.0

//! Two engines, simulated disks and network, one seed: the simulator.
//!
//! The engines are those of the kernel module. Everything around them is made here: lower disks that lose what was not flushed when a
//! node loses its power, two streams that can break after any packet, completions in any order, administrators. A run is a
//! sequence of steps; at each one the random generator picks one of the things that could happen next. The same seed gives the
//! same run.
//!
//! * [`World`]: both nodes, the application, time. [`Plan`]: what a run is like.
//! * [`Node`]: an engine with its queues ([`queues`]), its metadata I/O ([`metadata`]) and its [`disk`].
//! * [`network`]: the link. [`chaos`]: faults and commands. [`operator`]: who mends what only a person can.
//! * [`oracle`]: what the application was told, and so what each disk must hold.
//! * [`run`]: random runs in two phases, and how a failing one is shrunk.

pub mod area;
pub mod chaos;
pub mod disk;
pub mod exhaustive;
pub mod metadata;
pub mod network;
mod node;
pub mod operator;
pub mod oracle;
mod plan;
pub mod queues;
mod rng;
pub mod run;
pub mod summary;
pub mod tally;
pub mod trace;
mod world;

pub use node::Node;
pub use plan::Plan;
pub use rng::Rng;
pub use tally::Tally;
pub use trace::Trace;
pub use world::{A, B, World};
