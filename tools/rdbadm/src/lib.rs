// SPDX-License-Identifier: GPL-2.0

//! rdbadm: administers rdb resources from the configuration.
//!
//! The command line is in [`cli`], the way from there to the commands in [`app`]. What is outside of the program, above all the
//! module, is a [`world::World`], so that tests can bring their own. Single steps are [`action::Action`]s, which can be printed
//! (`--dry-run`) or run. The behaviour follows `Documentation/specification/admin-tool.md`.

#![forbid(unsafe_code)]

pub mod action;
pub mod adjust;
pub mod app;
pub mod bring;
pub mod cli;
pub mod completion;
pub mod events;
pub mod failure;
pub mod handler;
pub mod meta;
pub mod metacmd;
pub mod order;
pub mod plain;
pub mod select;
pub mod session;
pub mod show;
pub mod status;
pub mod status_json;
pub mod table;
pub mod wait;
pub mod world;
