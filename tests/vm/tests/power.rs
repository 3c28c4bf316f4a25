//! A node loses its power together with what its disk had not flushed. When it is back, and in sync again, both
//! lower disks must be the same: a write that was acknowledged but never reached the lost node's platter has to be
//! sent again.

use anyhow::{Context, Result};
use rdb_testbed::{
    DiskSpec, Ground, Testbed,
    rdb::{self, SETTLE, Volume},
    stamp::{BLOCK, Record},
};

/// Rounds of each kind; what survives of the cache is drawn anew in each.
const ROUNDS: u64 = 2;

#[test]
fn secondary_loses_power() -> Result<()> {
    let bed = bed("secondary_loses_power")?;
    for round in 1..=ROUNDS {
        let mut writer = bed.a.spawn(&format!("rdb-iowriter /dev/rdb0 {round}"))?;
        for _ in 0..100 {
            writer.wait_for_line(|line| line.starts_with("A "), SETTLE)?;
        }
        bed.b.lose_power(50)?;
        // The writer goes on, alone, and stops before the comparison.
        rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.connection == "WFConnection")?;
        writer.wait_for_line(|line| line.starts_with("A "), SETTLE)?;
        writer.signal(rustix::process::Signal::KILL)?;
        writer.wait(SETTLE)?;
        bed.b.boot()?;
        bed.b.run("modprobe rdb && rdbadm up r0")?;
        rdb::assert_one_truth(&bed).with_context(|| format!("round {round}"))?;
    }
    bed.finish()
}

#[test]
fn primary_loses_power() -> Result<()> {
    let bed = bed("primary_loses_power")?;
    let (mut primary, mut survivor) = (&bed.a, &bed.b);
    let mut record = Record::default();
    for round in 1..=ROUNDS {
        let mut writer = primary.spawn(&format!("rdb-iowriter /dev/rdb0 {round}"))?;
        for _ in 0..100 {
            record.take_line(&writer.wait_for_line(|line| line.starts_with("A "), SETTLE)?);
        }
        primary.lose_power(50)?;
        while let Ok(line) = writer.wait_for_line(|_| true, SETTLE) {
            record.take_line(&line);
        }
        rdb::promote(survivor)?;
        let device = survivor.read_file("/dev/rdb0")?;
        record.check(|place| {
            let begin = usize::try_from(place)? * BLOCK;
            let block = device.get(begin..begin + BLOCK);
            block.map(<[u8]>::to_vec).context("beyond the device")
        })?;
        primary.boot()?;
        primary.run("modprobe rdb && rdbadm up r0")?;
        rdb::wait_volume(survivor, 0, SETTLE, Volume::in_sync)?;
        rdb::assert_one_truth(&bed).with_context(|| format!("round {round}"))?;
        (primary, survivor) = (survivor, primary);
    }
    bed.finish()
}

fn bed(name: &str) -> Result<Testbed> {
    let bed = Testbed::builder(name, Ground::Qemu)
        .disks(&[DiskSpec::mib(16).volatile()])
        .boot()?;
    rdb::start(&bed)?;
    Ok(bed)
}
