// SPDX-License-Identifier: GPL-2.0

//! Carries out what [`crate::engine`] decides: sockets, scripts, fencing, signals, log.
//!
//! One thread runs the state machine and sends; it never waits for a disk, a script, the log or an
//! operator. Everything else has threads of its own and talks to it through one queue.

pub mod control;
pub mod daemon;
pub mod fence;
pub mod generation;
pub mod jobs;
pub mod logging;
pub mod media;
pub mod mirror;
pub mod process;
pub mod scripts;

use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Where resource scripts are looked for, in this order. The administrator's own come first; those
/// of rdb hide those that an old heartbeat or drbd package has left.
pub const RESOURCE_DIRECTORIES: [&str; 4] = [
    "/etc/rdb-ha.d/resource.d",
    "/usr/lib/rdb-heartbeat/resource.d",
    "/etc/ha.d/resource.d",
    "/etc/init.d",
];

/// Places and names that the command line may change.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of this node, lower case.
    pub node: String,
    /// Directory of `ha.cf`, `authkeys` and `haresources`.
    pub config_dir: PathBuf,
    /// Directory of the control socket and the pid file.
    pub run_dir: PathBuf,
    /// Directory of what is kept over a restart of the machine.
    pub state_dir: PathBuf,
    /// Directories of resource scripts.
    pub resource_dirs: Vec<PathBuf>,
    /// Listen on this address only, instead of on the interfaces.
    pub listen: Option<Ipv4Addr>,
}

impl Options {
    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("control")
    }

    /// The pid file.
    pub fn pid_file(&self) -> PathBuf {
        self.run_dir.join("pid")
    }
}
