// SPDX-License-Identifier: GPL-2.0

//! rdb-heartbeat watches the peer node and takes over its resources.
//!
//! What to do is decided by a pure state machine, [`engine`], which sees packets, timers and results
//! of scripts, and answers with effects. [`shell`] carries them out: sockets, scripts, signals, log.
//! The files of a Linux-HA heartbeat cluster configure it ([`config`]).

#![forbid(unsafe_code)]

pub mod auth;
pub mod cli;
pub mod config;
pub mod engine;
pub mod shell;
pub mod wire;
