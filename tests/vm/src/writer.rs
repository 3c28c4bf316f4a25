//! The stamped writer on a node, and the record of what was acknowledged to it.

use anyhow::Result;
use rustix::process::Signal;

use crate::{
    agent::Background,
    node::Node,
    rdb::SETTLE,
    stamp::{BLOCK, Record},
};

/// A running `rdb-iowriter`. Dropping it kills the program in the guest.
pub struct Writer(Background);

impl Writer {
    /// Starts it on a device. Later generations have larger numbers; `options` are the program's.
    ///
    /// # Errors
    ///
    /// The machine is gone.
    pub fn start(node: &Node, device: &str, generation: u64, options: &str) -> Result<Self> {
        let command = format!("exec rdb-iowriter {device} {generation} {options}");
        Ok(Self(node.spawn(&command)?))
    }

    /// Waits for so many more acknowledged writes.
    ///
    /// # Errors
    ///
    /// They do not come.
    pub fn acknowledged(&mut self, record: &mut Record, writes: u64) -> Result<()> {
        let wanted = record.acknowledged + writes;
        while record.acknowledged < wanted {
            record.take_line(&self.0.wait_for_line(|_| true, SETTLE)?);
        }
        Ok(())
    }

    /// Takes in what was on its way when the machine died: it was acknowledged, too.
    pub fn drain(&mut self, record: &mut Record) {
        while let Ok(line) = self.0.wait_for_line(|_| true, SETTLE) {
            record.take_line(&line);
        }
    }

    /// Ends the program and takes in the rest.
    ///
    /// # Errors
    ///
    /// It had ended by itself: a write failed. Or it cannot be ended, since a write does not return.
    pub fn stop(mut self, record: &mut Record) -> Result<()> {
        anyhow::ensure!(
            self.0.look(),
            "the writer ended by itself: {}",
            self.0.printed().err()
        );
        self.0.signal(Signal::KILL)?;
        self.drain(record);
        self.0.wait(SETTLE).map(drop)
    }
}

/// Checks the record on a node's lower disk, read on the host. Nothing may write to it. Blocks checked.
///
/// # Errors
///
/// An acknowledged write is not there.
pub fn check_lower_disk(record: &Record, node: &Node, disk: usize) -> Result<usize> {
    let disk = &node.disks()[disk];
    disk.settle()?;
    record.check(|place| disk.read(place * BLOCK as u64, BLOCK))
}
