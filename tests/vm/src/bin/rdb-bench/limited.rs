//! rdb without a peer beside a disk that is slower than the processor.
//!
//! The emulated processor is the bottleneck beside the emulator's disks: they answer at the speed of the host's page
//! cache. Of a machine whose disk is the bottleneck such a ratio says nothing. So QEMU holds every lower disk back to the
//! same number of requests a second, and the load of the target is made again.

use std::time::Duration;

use anyhow::{Context, Result};
use rdb_testbed::Testbed;
use serde::Serialize;

use crate::{
    Arguments,
    devices::{self, ALONE, BACKENDS},
    load::{self, Run, WORKLOADS},
    progress::Progress,
    region, targets,
};

/// Measurements with one limit.
#[derive(Debug, Clone, Serialize)]
pub struct Limited {
    /// Requests a second that each lower disk of the first node may have.
    pub limit: Option<u32>,
    /// What was measured.
    pub runs: Vec<Run>,
}

/// The load of the target on the raw disk and on the devices without a peer, with each limit. Every second repetition
/// goes through the devices backwards.
///
/// # Errors
///
/// A measurement fails, or QEMU does not take the limit.
pub fn measure(
    bed: &Testbed,
    arguments: &Arguments,
    limits: &[Option<u32>],
    progress: &Progress,
) -> Result<Vec<Limited>> {
    let workload = WORKLOADS
        .into_iter()
        .find(|workload| workload.name == targets::LOCAL_LOAD)
        .context("no such load")?;
    let length = Duration::from_secs(arguments.seconds.into());
    let mut all: Vec<Limited> = limits
        .iter()
        .map(|&limit| Limited {
            limit,
            runs: Vec::new(),
        })
        .collect();
    for repetition in 1..=arguments.repetitions {
        let mut order = ALONE;
        if repetition % 2 == 0 {
            order.reverse();
        }
        for limited in &mut all {
            limit(bed, limited.limit)?;
            for backend in order {
                progress.step(&format!(
                    "repetition {repetition} of {}, disks of {}: {}",
                    arguments.repetitions,
                    name(limited.limit),
                    backend.name()
                ));
                let region = region(arguments);
                let run = load::run(bed, backend, workload, region, length, repetition)
                    .with_context(|| format!("{} on {}", workload.name, backend.name()))?;
                limited.runs.push(run);
            }
        }
    }
    limit(bed, None)?;
    for backend in ALONE {
        devices::check(bed, backend)?;
    }
    Ok(all)
}

/// The limit in words.
pub fn name(limit: Option<u32>) -> String {
    limit.map_or("no limit".to_owned(), |limit| format!("{limit} IOPS"))
}

fn limit(bed: &Testbed, requests: Option<u32>) -> Result<()> {
    let work = |monitor: &mut rdb_testbed::Qmp| {
        BACKENDS
            .iter()
            .try_for_each(|backend| monitor.limit_disk(backend.disk(), requests))
    };
    bed.a.with_monitor(work)?.context("no monitor")
}
