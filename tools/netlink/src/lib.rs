// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family `rdb`, seen from user space.
//!
//! [`Client`] sends requests and reads state, [`Events`] follows changes; [`Kernel`] is both as a trait, so that programs can be
//! tested without the module. The family is defined in `Documentation/netlink/specs/rdb.yaml`, its numbers are in
//! [`rdb_engine::netlink`].

#![forbid(unsafe_code)]

mod client;
mod error;
mod events;
mod info;
mod message;
pub mod names;
mod socket;

use std::time::Duration;

pub use client::Client;
pub use error::{Error, Refusal, Result};
pub use events::{Event, Events, Object};
pub use info::{ModuleInfo, OptionValue, ResourceInfo, SyncInfo, VolumeInfo};
pub use message::Message;
pub use rdb_engine::netlink::{
    ConnState, DiskState, EventKind, Role, SyncLimit, attr, blocked_flags, cmd, md_flags,
    pause_flags, suspend_flags,
};

/// The module, as programs see it.
pub trait Kernel {
    /// Sends a request that changes something and waits for the answer.
    fn change(&self, request: &Message) -> Result<()>;

    /// Versions of the module.
    fn module(&self) -> Result<ModuleInfo>;

    /// All resources, in the order of their names.
    fn resources(&self) -> Result<Vec<ResourceInfo>>;

    /// All volumes, by minor number.
    fn volumes(&self) -> Result<Vec<VolumeInfo>>;

    /// Begins to follow changes. What happens from now on is in the stream, so a dump behind this call misses nothing.
    fn subscribe(&self) -> Result<Box<dyn Stream>>;
}

/// A stream of events.
pub trait Stream {
    /// Waits for the next event; `None` when `limit` is over.
    fn next(&mut self, limit: Option<Duration>) -> Result<Option<Event>>;
}
