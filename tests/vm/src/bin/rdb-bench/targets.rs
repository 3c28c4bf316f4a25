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
/// Writes that fill the log: at random places of 4096 extents they touch 1580, and the log holds 1237.
const WARM_UP: u64 = 2000;
/// Writes whose cost is counted.
const WRITES: u64 = 6000;
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
    /// Writes that the lower disk got, data and metadata. An empty flush is one of them; what is written with a flush before
    /// it, or with FUA, is one, too.
    pub lower: u64,
    /// Flushes that the lower disk got.
    pub flushes: u64,
}

impl Cold {
    /// What the lower disk was given to write beyond the data, whatever rdb counts.
    pub fn metadata(&self) -> u64 {
        self.lower.saturating_sub(self.writes)
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
            // Those that were merged into others were given to it as well.
            lower: at(4)? + at(5)?,
            flushes: at(15)?,
        })
    }
}

/// Makes the device, in sync without a copy, takes the peer away and writes 4 KiB at random places, 64 at a time. What is
/// counted begins when the log is full, so that for each extent another one has to go.
///
/// # Errors
///
/// A command fails, or fio.
pub fn cold(bed: &Testbed, disk: usize, gib: u32) -> Result<Cold> {
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
    let area = u64::from(gib) << 30;
    load::cold_writes(&bed.a, DEVICE, area, WARM_UP, 3)?;
    let before = Counters::of(&bed.a, disk)?;
    let writes = load::cold_writes(&bed.a, DEVICE, area, WRITES, 4)?;
    let after = Counters::of(&bed.a, disk)?;
    let log = after.log - before.log;
    let lower = after.lower - before.lower;
    ensure!(
        lower >= writes + log,
        "{writes} writes and {log} transactions, but the lower disk got {lower} writes"
    );
    Ok(Cold {
        gib,
        writes,
        log,
        lower,
        flushes: after.flushes - before.flushes,
    })
}
