//! What the project promises itself, measured: the cost of the activity log, and of rdb without a peer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdb_testbed::{NODES, Node, Testbed};
use serde::Serialize;

use crate::load;

/// Metadata writes for one data write, over a cold area.
pub const LOG_COST: f64 = 1.0 / 16.0;
/// IOPS of rdb without a peer over those of the raw disk, on hot extents.
pub const LOCAL: f64 = 0.9;
/// The load of [`LOCAL`].
pub const LOCAL_LOAD: &str = "4k randwrite QD32";
/// Name of the lower disk in the guests: the one behind those that are compared.
const DISK: &str = "/dev/sdg";
const DEVICE: &str = "/dev/rdb2";
const LIMIT: Duration = Duration::from_secs(600);

/// Random writes over an area that is far larger than what the activity log holds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cold {
    /// Size of the area in GiB.
    pub gib: u32,
    /// Writes that fio made.
    pub writes: u64,
    /// Transactions of the activity log.
    pub log: u64,
    /// Writes to the bitmap on disk.
    pub bitmap: u64,
    /// Writes that the lower disk got, data and metadata, flushes included.
    pub lower: u64,
    /// Flushes that the lower disk got.
    pub flushes: u64,
}

impl Cold {
    /// What the lower disk was given to write beyond the data, whatever rdb counts; a flush is no write.
    pub fn metadata(&self) -> u64 {
        self.lower.saturating_sub(self.flushes + self.writes)
    }

    /// Metadata writes for a data write.
    pub fn cost(&self) -> f64 {
        self.metadata() as f64 / self.writes as f64
    }
}

/// Counters of rdb and of the lower disk.
#[derive(Clone, Copy)]
struct Counters {
    log: u64,
    bitmap: u64,
    lower: u64,
    flushes: u64,
}

impl Counters {
    fn of(node: &Node, disk: usize) -> Result<Self> {
        let text = node.run("cat /proc/rdb")?;
        let (_, lines) = text
            .split_once("\n 2: ")
            .context("no minor 2 in /proc/rdb")?;
        ensure!(
            lines.starts_with("cs:StandAlone ro:Primary/"),
            "minor 2 is not alone as Primary: {lines}"
        );
        let field = |name: &str| -> Result<u64> {
            let word = lines
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name));
            Ok(word
                .with_context(|| format!("no {name} in {lines}"))?
                .parse()?)
        };
        let stat = node.run(&format!(
            "cat /sys/class/block/{}/stat",
            node.ground().disk_device(disk)
        ))?;
        let stat: Vec<u64> = stat
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let at = |index: usize| stat.get(index).copied().context("counters of the disk");
        Ok(Self {
            log: field("al:")?,
            bitmap: field("bm:")?,
            lower: at(4)?,
            flushes: at(15)?,
        })
    }
}

/// Makes the device, in sync without a copy, takes the peer away and writes 4 KiB at random places, 64 at a time.
///
/// # Errors
///
/// A command fails, or fio.
pub fn cold(bed: &Testbed, disk: usize, gib: u32, length: Duration) -> Result<Cold> {
    let mut text =
        format!("resource cold {{\n  device {DEVICE} minor 2; disk {DISK}; meta-disk internal;\n");
    for (host, address) in NODES {
        text.push_str(&format!("  on {host} {{ address {address}:7793; }}\n"));
    }
    text.push_str("}\n");
    bed.both(|node| {
        let all = node.run("cat /etc/rdb.conf")?;
        node.write_file("/etc/rdb.conf", format!("{all}\n{text}"))?;
        node.run("rdbadm create-md --force cold && rdbadm up cold")
            .map(drop)
    })?;
    let connected = |output: &rdb_testbed::Output| output.out().contains("\n 2: cs:Connected");
    bed.a.wait_until("cat /proc/rdb", connected, LIMIT)?;
    bed.a.run("rdbadm new-current-uuid --clear-bitmap cold && rdbadm primary cold && rdbadm disconnect cold")?;
    bed.b.run("rdbadm down cold")?;
    let before = Counters::of(&bed.a, disk)?;
    let writes = load::cold_writes(&bed.a, DEVICE, u64::from(gib) << 30, length)?;
    let after = Counters::of(&bed.a, disk)?;
    Ok(Cold {
        gib,
        writes,
        log: after.log - before.log,
        bitmap: after.bitmap - before.bitmap,
        lower: after.lower - before.lower,
        flushes: after.flushes - before.flushes,
    })
}
