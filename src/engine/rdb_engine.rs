// SPDX-License-Identifier: GPL-2.0

//! The replication engine of rdb: what to do next, without doing it.
//!
//! Pure decisions: no I/O, no clock, no locks, no allocation on the I/O path and no `unsafe`. The same source is a crate of the
//! kernel module and an ordinary library on the host, where it is tested.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod netlink;
pub mod options;

#[macro_use]
mod macros;

pub mod bits;
pub mod meta;
pub mod wire;

pub mod activity_log;
pub mod admin;
pub mod bitmap;
pub mod connect;
pub mod decision;
pub mod effects;
pub mod epoch;
pub mod fencing;
pub mod generation;
pub mod handler;
pub mod link;
pub mod meeting;
pub mod memory;
pub mod mutants;
pub mod peer_request;
pub mod request;
pub mod resource;
pub mod resync_rate;
pub mod slots;
pub mod split_brain;
pub mod volume;
pub mod write_order;

mod admission;
mod agreement;
mod bitmap_exchange;
mod completion;
mod disk_timeout;
#[cfg(test)]
mod failure_tests;
mod handshake;
mod introduction;
mod io_error;
mod metadata;
mod packets;
mod parting;
mod peer_write;
mod resync;
mod state;
mod suspend;
