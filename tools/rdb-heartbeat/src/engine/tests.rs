// SPDX-License-Identifier: GPL-2.0

//! Two engines in virtual time, with a network that loses, delays and cuts, scripts that take time
//! and fail, and nodes that crash. [`world`] is the ground, the other modules the scenarios.

mod chaos;
mod failover;
mod faults;
mod world;
