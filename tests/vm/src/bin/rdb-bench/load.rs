//! Loads, and what is counted while they run.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rdb_testbed::{Node, Testbed, Way};
use serde::{Deserialize, Serialize};

use crate::devices::Backend;

/// How much longer than asked for a run of fio may take.
const GRACE: Duration = Duration::from_secs(300);

/// A load.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Name in the tables.
    pub name: &'static str,
    /// Options of fio that make it.
    options: &'static str,
    /// It reads.
    reads: bool,
}

/// All of them.
pub const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "4k randwrite QD1",
        options: "--rw=randwrite --bs=4k --iodepth=1",
        reads: false,
    },
    Workload {
        name: "4k randwrite QD32",
        options: "--rw=randwrite --bs=4k --iodepth=32",
        reads: false,
    },
    Workload {
        name: "128k seqwrite QD8",
        options: "--rw=write --bs=128k --iodepth=8",
        reads: false,
    },
    Workload {
        name: "4k randread QD32",
        options: "--rw=randread --bs=4k --iodepth=32",
        reads: true,
    },
    Workload {
        name: "4k randwrite + fdatasync QD1",
        options: "--rw=randwrite --bs=4k --iodepth=1 --fdatasync=1",
        reads: false,
    },
];

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Name of the load.
    pub workload: &'static str,
    /// What was loaded.
    pub backend: Backend,
    /// Counted from 1.
    pub repetition: u32,
    /// Operations a second.
    pub iops: f64,
    /// Data rate.
    pub mib_per_second: f64,
    /// Mean time of completion.
    pub mean_us: f64,
    /// Time within which 99 of 100 complete.
    pub p99_us: f64,
    /// Operations that fio counted.
    pub operations: u64,
    /// What happened meanwhile on the first node, per operation.
    pub first: Counts,
    /// The same on the second node, if the device is connected.
    pub second: Option<Counts>,
    /// Ethernet frames from the first node to the second and back, per operation.
    pub frames: [f64; 2],
    /// Part of the time that the first node's processor was not idle.
    pub busy: f64,
    /// Microseconds that it was not idle, per operation.
    pub busy_us: f64,
}

/// What emulation does not distort as it does times, per operation. fio's own start is in it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Counts {
    /// Context switches of the whole machine.
    pub switches: f64,
    /// Write requests that the lower disk got.
    pub disk_writes: f64,
    /// Flushes that the lower disk got.
    pub disk_flushes: f64,
}

/// Counters of a node at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Snapshot {
    switches: u64,
    disk_writes: u64,
    disk_flushes: u64,
}

impl Snapshot {
    /// Prints the counters in a guest.
    fn command(disk: &str) -> String {
        format!("cat /sys/class/block/{disk}/stat; grep ^ctxt /proc/stat")
    }

    /// Two lines: the disk's `stat` (kernel documentation: block/stat.rst), then `ctxt N`.
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let fields: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let field = |index: usize| -> Result<u64> {
            let word = fields
                .get(index)
                .with_context(|| format!("no field {index} in the disk's counters: {text}"))?;
            Ok(word.parse()?)
        };
        let switches = lines.next().and_then(|line| line.strip_prefix("ctxt "));
        Ok(Self {
            switches: switches
                .with_context(|| format!("no count of context switches: {text}"))?
                .trim()
                .parse()?,
            disk_writes: field(4)?,
            disk_flushes: field(15)?,
        })
    }

    /// What happened since, per operation.
    fn since(&self, before: &Self, operations: u64) -> Counts {
        let per = |now: u64, then: u64| now.saturating_sub(then) as f64 / operations as f64;
        Counts {
            switches: per(self.switches, before.switches),
            disk_writes: per(self.disk_writes, before.disk_writes),
            disk_flushes: per(self.disk_flushes, before.disk_flushes),
        }
    }
}

/// What a node's processor, of which there is one, has done so far, in hundredths of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    uptime: u64,
    idle: u64,
}

impl Times {
    /// fio has this run just before its first request and just after its last one; the output is in a file in its folder.
    const COMMAND: &str = "cat /proc/uptime /proc/stat";

    /// The line of the uptime, then `cpu` with user, nice, system, idle and iowait time, and more lines.
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let uptime = lines.next().and_then(|line| line.split_once(' '));
        let (uptime, _) = uptime.with_context(|| format!("no uptime: {text}"))?;
        let words = lines.next().and_then(|line| line.strip_prefix("cpu "));
        let words: Vec<&str> = words.unwrap_or_default().split_whitespace().collect();
        let [_, _, _, idle, iowait, ..] = words[..] else {
            bail!("no processor times: {text}");
        };
        Ok(Self {
            uptime: (uptime.parse::<f64>()? * 100.0).round() as u64,
            idle: idle.parse::<u64>()? + iowait.parse::<u64>()?,
        })
    }

    /// Time that passed since, and the part of it in which there was something to do.
    fn since(&self, before: &Self) -> (u64, u64) {
        let passed = self.uptime.saturating_sub(before.uptime);
        let idle = self.idle.saturating_sub(before.idle);
        (passed, passed.saturating_sub(idle))
    }
}

/// The part of fio's report that is used.
#[derive(Deserialize)]
struct FioReport {
    jobs: Vec<FioJob>,
}

#[derive(Deserialize)]
struct FioJob {
    error: i32,
    read: FioSide,
    write: FioSide,
}

#[derive(Deserialize)]
struct FioSide {
    total_ios: u64,
    iops: f64,
    bw_bytes: f64,
    clat_ns: FioLatency,
}

#[derive(Deserialize)]
struct FioLatency {
    mean: f64,
    #[serde(default)]
    percentile: HashMap<String, f64>,
}

fn fio(backend: Backend, options: &str, region: u64) -> String {
    format!(
        "fio --name=bench --filename={} --size={region} --direct=1 --ioengine=libaio --allow_file_create=0 \
         --allow_mounted_write=0 --output-format=json {options}",
        backend.device()
    )
}

/// Writes the whole region once: the host's files get their blocks, drbd and rdb their activity log entries.
///
/// # Errors
///
/// fio fails.
pub fn fill(node: &Node, backend: Backend, region: u64) -> Result<()> {
    let command = fio(backend, "--rw=write --bs=128k --iodepth=8", region);
    let output = node.sh_within(&command, GRACE)?;
    ensure!(
        output.code == 0,
        "filling {}: {}",
        backend.name(),
        output.all()
    );
    Ok(())
}

/// Makes one measurement.
///
/// # Errors
///
/// fio fails or says what is not understood, or a machine is gone.
pub fn run(
    bed: &Testbed,
    backend: Backend,
    workload: Workload,
    region: u64,
    length: Duration,
    repetition: u32,
) -> Result<Run> {
    const MARK: &str = "--- fio ---";
    let disk = bed.a.ground().disk_device(backend.disk());
    let snapshot = Snapshot::command(&disk);
    let options = format!(
        "{} --time_based --runtime={} --randseed={repetition} --exec_prerun='{}' --exec_postrun='{}'",
        workload.options,
        length.as_secs(),
        Times::COMMAND,
        Times::COMMAND,
    );
    let load = fio(backend, &options, region);
    let script = format!(
        "cd /tmp; {snapshot}; echo '{MARK}'; {load} || exit; echo; echo '{MARK}'; {snapshot}\n\
         echo '{MARK}'; cat bench.prerun.txt; echo '{MARK}'; cat bench.postrun.txt"
    );

    let second = |node: &Node| -> Result<Option<Snapshot>> {
        let counts = backend
            .connected()
            .then(|| node.run(&snapshot))
            .transpose()?;
        counts.map(|text| Snapshot::parse(&text)).transpose()
    };
    let frames = || [Way::AToB, Way::BToA].map(|way| bed.link.counts(way).0);
    let second_before = second(&bed.b)?;
    let frames_before = frames();
    let output = bed.a.sh_within(&script, length + GRACE)?;
    let frames_after = frames();
    let second_after = second(&bed.b)?;
    ensure!(output.code == 0, "fio: {}", output.all());

    let text = output.out();
    let mut parts = text.split(MARK).map(str::trim_start);
    let mut part = || parts.next().context("the report is not complete");
    let (before, report, after) = (
        Snapshot::parse(part()?)?,
        part()?,
        Snapshot::parse(part()?)?,
    );
    let side = parse_report(report, workload.reads)?;
    let operations = side.total_ios;
    let (begin, end) = (Times::parse(part()?)?, Times::parse(part()?)?);
    let (passed, busy) = end.since(&begin);
    let per = |way: usize| {
        frames_after[way].saturating_sub(frames_before[way]) as f64 / operations as f64
    };
    Ok(Run {
        workload: workload.name,
        backend,
        repetition,
        iops: side.iops,
        mib_per_second: side.bw_bytes / f64::from(1 << 20),
        mean_us: side.clat_ns.mean / 1e3,
        p99_us: side.clat_ns.percentile.get("99.000000").unwrap_or(&0.0) / 1e3,
        operations,
        first: after.since(&before, operations),
        second: second_after
            .zip(second_before)
            .map(|(after, before)| after.since(&before, operations)),
        frames: [per(0), per(1)],
        busy: busy as f64 / passed.max(1) as f64,
        busy_us: busy as f64 * 1e4 / operations as f64,
    })
}

/// So many random 4 KiB writes, 64 at a time, over the first `area` bytes of a device. How many fio counts.
///
/// # Errors
///
/// fio fails or says what is not understood.
pub fn cold_writes(node: &Node, device: &str, area: u64, writes: u64, seed: u32) -> Result<u64> {
    let command = format!(
        "fio --name=bench --filename={device} --size={area} --direct=1 --ioengine=libaio --allow_file_create=0 \
         --output-format=json --rw=randwrite --bs=4k --iodepth=64 --norandommap --number_ios={writes} --randseed={seed}"
    );
    let output = node.sh_within(&command, 2 * GRACE)?;
    ensure!(output.code == 0, "fio: {}", output.all());
    Ok(parse_report(&output.out(), false)?.total_ios)
}

/// fio may say something before its report.
fn parse_report(text: &str, reads: bool) -> Result<FioSide> {
    let begin = text.find('{').context("fio printed no report")?;
    let mut report: FioReport =
        serde_json::from_str(&text[begin..]).with_context(|| format!("fio's report: {text}"))?;
    let job = report.jobs.pop().context("fio ran no job")?;
    ensure!(job.error == 0, "fio met error {}", job.error);
    let side = if reads { job.read } else { job.write };
    ensure!(side.total_ios > 0, "nothing completed in the time given");
    Ok(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        let text = "  10 1 2 3 400 5 6 7 0 9 10 11 12 13 14 77 16\nctxt 123456\n";
        let before = Snapshot::parse(text).unwrap();
        assert_eq!(
            before,
            Snapshot {
                switches: 123_456,
                disk_writes: 400,
                disk_flushes: 77
            }
        );
        let after = Snapshot {
            switches: 123_656,
            ..before
        };
        assert_eq!(after.since(&before, 100).switches, 2.0);
        assert!(Snapshot::parse("1 2 3\nctxt 5\n").is_err());
    }

    #[test]
    fn times_of_the_processor_are_read() {
        let text = "51.25 50.00\ncpu  20 1 30 5000 10 2 3 0 0 0\ncpu0 20 1 30 5000 10\n";
        let before = Times::parse(text).unwrap();
        assert_eq!((before.uptime, before.idle), (5125, 5010));
        let after = Times {
            uptime: 5425,
            idle: 5110,
        };
        assert_eq!(after.since(&before), (300, 200));
        assert!(Times::parse("51.25 50.00\n").is_err());
        assert!(Times::parse("cpu  1 2 3 4 5\n").is_err());
    }

    #[test]
    fn a_failed_job_is_no_result() {
        let report = |error: i32, ios: u64| {
            let side = format!(
                r#"{{"total_ios":{ios},"iops":5.0,"bw_bytes":4096,"clat_ns":{{"mean":1.0}}}}"#
            );
            format!(
                "note: x\n{{\"jobs\":[{{\"error\":{error},\"read\":{side},\"write\":{side}}}]}}"
            )
        };
        assert_eq!(parse_report(&report(0, 3), true).unwrap().total_ios, 3);
        assert!(parse_report(&report(5, 3), false).is_err());
        assert!(parse_report(&report(0, 0), false).is_err());
        assert!(parse_report("fio: no such device", false).is_err());
    }
}
