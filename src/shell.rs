// SPDX-License-Identifier: GPL-2.0

//! The shell around the engine: carries its decisions out in the kernel.
//!
//! Start with [`resource`]: what a resource is, its threads and its locks.

// A refusal carries its text in itself: it must not need memory, and refusals are rare.
#![allow(clippy::result_large_err)]

mod backing;
mod bell;
pub(crate) mod control;
mod device;
mod events;
mod failure;
mod handlers;
mod link;
mod link_connect;
mod link_handshake;
mod link_receive;
mod link_send;
mod log;
mod memory;
mod proc;
mod progress;
mod queues;
pub(crate) mod registry;
mod replay;
mod resource;
mod ring;
mod settings;
mod signals;
mod status;
mod worker;
