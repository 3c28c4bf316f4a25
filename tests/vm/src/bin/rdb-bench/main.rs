//! Measures rdb against the raw disk and against the stock `drbd.ko`, in the same two machines: `make bench`.
//!
//! Each node has five lower disks of the same kind. The first is used as it is; on the other four are a device of
//! rdb and one of drbd that have lost their peer, and one of each that is connected with protocol C. fio loads
//! them in turn, a few seconds each, and again, so that whatever else the host does hits all of them alike. The
//! machines are emulated, so only ratios mean something. What has no peer is then compared once more on lower disks
//! that QEMU holds back, since a disk of the emulator is otherwise faster than its processor.

#![forbid(unsafe_code)]

mod devices;
mod limited;
mod load;
mod progress;
mod report;
mod statistics;
mod targets;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use rdb_testbed::{DiskSpec, Ground, Testbed};
use serde::Serialize;

use crate::{
    devices::{ALONE, BACKENDS, Stack, Sync},
    limited::Limited,
    load::{Run, WORKLOADS},
    progress::Progress,
    report::Conditions,
};

/// fio results of the raw disk, rdb and the stock drbd, as ratios.
#[derive(Parser, Serialize)]
struct Arguments {
    /// How often each measurement is made
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Length of one measurement in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Size of each lower disk in MiB; the first half of it is loaded
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(32..=65536))]
    disk: u32,
    /// Size in GiB of the cold area that the cost of the activity log is measured on
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    cold: u32,
    /// Requests a second that QEMU lets each lower disk have, the raw one too, for a comparison of the raw disk, rdb
    /// alone and drbd alone beside disks that are slower than the emulated processor; several with commas between
    #[arg(long, default_value = "1000,2000", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    iops: Vec<u32>,
    /// Two repetitions of one second on small disks: shows that it works, measures little
    #[arg(long)]
    quick: bool,
    /// Measure the cost of the activity log on the cold area and nothing else
    #[arg(long, conflicts_with_all = ["repetitions", "seconds", "disk", "iops", "quick", "output", "json"])]
    only_cold: bool,
    /// Make the comparison beside limited disks, and beside the same disks without a limit, and nothing else
    #[arg(long, conflicts_with_all = ["only_cold", "cold", "output", "json"])]
    only_limited: bool,
    /// Write the report as Markdown to this file, too
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write every single measurement as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Everything that was found out.
#[derive(Serialize)]
struct Results {
    arguments: Arguments,
    conditions: Conditions,
    syncs: Vec<Sync>,
    runs: Vec<Run>,
    limited: Vec<Limited>,
    cold: targets::Cold,
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        (arguments.repetitions, arguments.seconds, arguments.disk) = (2, 1, 64);
    }
    if arguments.only_cold {
        return only_cold(&arguments);
    }
    if arguments.only_limited {
        return only_limited(&arguments);
    }
    let measurements = u64::from(arguments.repetitions)
        * (BACKENDS.len() * WORKLOADS.len() + ALONE.len() * arguments.iops.len()) as u64;
    // Booting, one first sync of each replicated device, and filling.
    let progress = Progress::new(measurements + 3 + 2 * Stack::BOTH.len() as u64);
    progress.step("booting two machines");
    let mut disks = vec![DiskSpec::mib(arguments.disk.into()); BACKENDS.len()];
    disks.push(cold_disk(&arguments));
    let bed = Testbed::builder("bench", Ground::Qemu)
        .disks(&disks)
        .memory(768)
        .boot()?;
    let mut conditions = Conditions::at_begin(&bed)?;
    let syncs = devices::set_up(&bed, arguments.disk, &progress)?;
    fill(&bed, &arguments, &progress)?;
    let runs = measure(&bed, &arguments, &progress)?;
    let limits: Vec<_> = arguments.iops.iter().copied().map(Some).collect();
    let limited = limited::measure(&bed, &arguments, &limits, &progress)?;
    progress.step("random writes over a cold area");
    let cold = targets::cold(&bed, BACKENDS.len(), arguments.cold)?;
    progress.end();
    conditions.at_end()?;

    let results = Results {
        arguments,
        conditions,
        syncs,
        runs,
        limited,
        cold,
    };
    print!("{}", report::terminal(&results)?);
    if let Some(path) = &results.arguments.output {
        fs::write(path, report::markdown(&results)?)
            .with_context(|| format!("{}", path.display()))?;
    }
    if let Some(path) = &results.arguments.json {
        fs::write(path, serde_json::to_vec_pretty(&results)?)
            .with_context(|| format!("{}", path.display()))?;
    }
    bed.finish()
}

/// The area and, behind it, the metadata.
fn cold_disk(arguments: &Arguments) -> DiskSpec {
    DiskSpec::mib(u64::from(arguments.cold) * 1024 + 16)
}

/// The cold area without the devices that are compared.
fn only_cold(arguments: &Arguments) -> Result<()> {
    // The disk has the same name as it has behind the others.
    let mut disks = vec![DiskSpec::mib(1); BACKENDS.len()];
    disks.push(cold_disk(arguments));
    let bed = Testbed::builder("bench_cold", Ground::Qemu)
        .disks(&disks)
        .memory(768)
        .boot()?;
    devices::configure(&bed, Stack::Rdb)?;
    let cold = targets::cold(&bed, BACKENDS.len(), arguments.cold)?;
    println!("{}", report::cold(&cold));
    bed.finish()
}

/// The devices that have no peer, without a limit of their disks and with each one.
fn only_limited(arguments: &Arguments) -> Result<()> {
    let mut limits = vec![None];
    limits.extend(arguments.iops.iter().copied().map(Some));
    let measurements = u64::from(arguments.repetitions) * (ALONE.len() * limits.len()) as u64;
    let progress = Progress::new(measurements + 2 + 2 * Stack::BOTH.len() as u64);
    progress.step("booting two machines");
    let bed = Testbed::builder("bench_limited", Ground::Qemu)
        .disks(&vec![DiskSpec::mib(arguments.disk.into()); BACKENDS.len()])
        .memory(768)
        .boot()?;
    devices::set_up(&bed, arguments.disk, &progress)?;
    fill(&bed, arguments, &progress)?;
    let limited = limited::measure(&bed, arguments, &limits, &progress)?;
    progress.end();
    print!("{}", report::limited_terminal(&limited)?);
    bed.finish()
}

/// Bytes at the begin of each device that are loaded.
fn region(arguments: &Arguments) -> u64 {
    u64::from(arguments.disk / 2) << 20
}

fn fill(bed: &Testbed, arguments: &Arguments, progress: &Progress) -> Result<()> {
    progress.step("filling the devices");
    for backend in BACKENDS {
        load::fill(&bed.a, backend, region(arguments))?;
    }
    Ok(())
}

/// All measurements. Every second repetition goes through the devices backwards: a steady drift of the host's
/// speed then cancels out.
fn measure(bed: &Testbed, arguments: &Arguments, progress: &Progress) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for repetition in 1..=arguments.repetitions {
        let mut order = BACKENDS;
        if repetition % 2 == 0 {
            order.reverse();
        }
        for workload in WORKLOADS {
            for backend in order {
                progress.step(&format!(
                    "repetition {repetition} of {}: {}, {}",
                    arguments.repetitions,
                    workload.name,
                    backend.name()
                ));
                let length = Duration::from_secs(arguments.seconds.into());
                let run = load::run(
                    bed,
                    backend,
                    workload,
                    region(arguments),
                    length,
                    repetition,
                )
                .with_context(|| format!("{} on {}", workload.name, backend.name()))?;
                runs.push(run);
            }
        }
    }
    for backend in BACKENDS {
        devices::check(bed, backend)?;
    }
    Ok(runs)
}
