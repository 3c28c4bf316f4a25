//! One end of a replication, whichever module it is: rdb, or the stock `drbd.ko` with Debian's tools.
//!
//! Both are administered by the same commands and show the same lines in `/proc`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::{
    bed::NODES,
    node::Node,
    rdb::{self, SETTLE, Volume},
};

/// What replicates on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// The module under test with its own tools.
    Rdb,
    /// The kernel's own with Debian's: a black box.
    Drbd,
}

impl Module {
    /// Name of the module and of all that is called after it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rdb => "rdb",
            Self::Drbd => "drbd",
        }
    }

    /// A resource file for resource `r0` with one volume on the first lower disk; `disk` is more for the disk section.
    /// rdb and drbd get the same options, as different ones would not connect.
    pub fn configuration(self, disk: &str) -> String {
        let mut text = format!(
            "global {{ usage-count no; }}\n\
             common {{\n  net {{ protocol C; ping-int 2; ping-timeout 30; connect-int 1; timeout 60; }}\n  \
             disk {{ resync-rate 200M; c-min-rate 200M; c-plan-ahead 0; {disk} }}\n}}\n\
             resource r0 {{\n  device /dev/{name}0 minor 0; disk /dev/sdb; meta-disk internal;\n",
            name = self.name()
        );
        for (host, address) in NODES {
            text.push_str(&format!("  on {host} {{ address {address}:7789; }}\n"));
        }
        text.push_str("}\n");
        text
    }
}

/// A module on a node, with resource `r0`, minor 0.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// Where it runs.
    pub node: &'a Node,
    /// What runs.
    pub module: Module,
}

impl End<'_> {
    /// The device that applications open.
    pub fn device(&self) -> String {
        format!("/dev/{}0", self.module.name())
    }

    /// Runs a command of the module's administration on `r0`.
    ///
    /// # Errors
    ///
    /// It fails.
    pub fn admin(&self, command: &str) -> Result<String> {
        self.node
            .run(&format!("{}adm {command} r0", self.module.name()))
    }

    /// The same, for a command that must be refused.
    ///
    /// # Errors
    ///
    /// It succeeds.
    pub fn refuses(&self, command: &str) -> Result<String> {
        self.node
            .run_fails(&format!("{}adm {command} r0", self.module.name()))
    }

    /// Writes the resource file.
    ///
    /// # Errors
    ///
    /// The machine is gone.
    pub fn configure(&self, disk: &str) -> Result<()> {
        let path = format!("/etc/{}.conf", self.module.name());
        self.node.write_file(&path, self.module.configuration(disk))
    }

    /// Makes fresh metadata: the node has no data that anyone needs.
    ///
    /// # Errors
    ///
    /// The command's.
    pub fn create_metadata(&self) -> Result<()> {
        self.node.run(match self.module {
            Module::Rdb => "rdbadm create-md --force r0",
            Module::Drbd => "drbdadm create-md --force r0",
        })?;
        Ok(())
    }

    /// Loads the module and brings the resource up.
    ///
    /// # Errors
    ///
    /// A command's.
    pub fn up(&self) -> Result<()> {
        self.node.run(&format!("modprobe {}", self.module.name()))?;
        self.admin("up").map(drop)
    }

    /// Takes the resource down and removes the module.
    ///
    /// # Errors
    ///
    /// A command's.
    pub fn away(&self) -> Result<()> {
        self.admin("down")?;
        self.node
            .run(&format!("rmmod {}", self.module.name()))
            .map(drop)
    }

    /// Becomes Primary, though the peer may have died a moment ago: asks until it is allowed.
    ///
    /// # Errors
    ///
    /// It never is.
    pub fn promote(&self) -> Result<()> {
        let command = format!("{}adm primary r0", self.module.name());
        self.node
            .wait_until(&command, |output| output.code == 0, SETTLE)
            .map(drop)
    }

    /// What `/proc` says of the volume.
    ///
    /// # Errors
    ///
    /// The module is not loaded, or the machine is gone.
    pub fn volume(&self) -> Result<Volume> {
        rdb::volume_of(self.node, self.module.name(), 0)
    }

    /// Waits until the volume is as wanted.
    ///
    /// # Errors
    ///
    /// It is not within [`SETTLE`].
    pub fn wait(&self, what: &str, wanted: impl Fn(&Volume) -> bool) -> Result<Volume> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let now = self.volume()?;
            if wanted(&now) {
                return Ok(now);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} ({}) is not {what}: {now:?}",
                    self.node.name(),
                    self.module.name()
                );
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Waits for a connection state.
    ///
    /// # Errors
    ///
    /// It does not come within [`SETTLE`].
    pub fn wait_connection(&self, state: &str) -> Result<Volume> {
        self.wait(state, |volume| volume.connection == state)
    }

    /// KiB to copy of every resync that the node has begun since it was made, over all boots, as its kernel log says.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn resyncs(&self) -> Result<Vec<u64>> {
        let pattern = match self.module {
            Module::Rdb => r"rdb: r0/0: resync started as \w+, (\d+) KiB to copy",
            Module::Drbd => r"drbd0: Began resync as \w+ \(will sync (\d+) KB",
        };
        Regex::new(pattern)?
            .captures_iter(&self.node.console()?)
            .map(|found| Ok(found[1].parse()?))
            .collect()
    }

    /// Writes `count` blocks of 4 KiB of random data from block `seek` on, past the page cache.
    ///
    /// # Errors
    ///
    /// A write fails.
    pub fn scribble(&self, seek: u64, count: u64) -> Result<()> {
        self.node
            .run(&format!(
                "dd if=/dev/urandom of={} bs=4k seek={seek} count={count} oflag=direct conv=notrunc status=none",
                self.device()
            ))
            .context("writing through the device")
            .map(drop)
    }
}
