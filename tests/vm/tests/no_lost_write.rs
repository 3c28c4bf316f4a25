//! No acknowledged write is lost when the primary dies.
//!
//! A writer on the primary tells the host of each write that was acknowledged to it; the host keeps that record
//! outside of both machines. The primary is killed at a random number of acknowledgements, the survivor is
//! promoted and must hold every write of the record. Then the dead node comes back, is brought up to date, and
//! the lower disks are compared. Roles change with each round.

use std::env;

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, Ground, Node, Testbed,
    rdb::{self, SETTLE},
    stamp::{BLOCK, Record},
    vm_tests,
};

vm_tests!(primary_killed, fio_verifies_on_the_survivor);

/// Rounds: the 20 of the plan on UML; fewer where a boot takes many seconds. `RDB_ROUNDS` says otherwise.
fn rounds(ground: Ground) -> Result<u64> {
    match env::var("RDB_ROUNDS") {
        Ok(text) => text.parse().context("RDB_ROUNDS"),
        Err(_) => Ok(match ground {
            Ground::Uml => 20,
            Ground::Qemu => 4,
            Ground::Debug => 1,
        }),
    }
}

fn primary_killed(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("primary_killed", ground)
        .disks(&[DiskSpec::mib(32)])
        .boot()?;
    rdb::start(&bed)?;
    let mut record = Record::default();
    let (mut primary, mut survivor) = (&bed.a, &bed.b);
    for round in 1..=rounds(ground)? {
        let acknowledgements: u64 = rand::random_range(20..600);
        one_round(primary, survivor, round, acknowledgements, &mut record).with_context(|| {
            format!(
                "round {round}, {} killed after {acknowledgements} writes",
                primary.name()
            )
        })?;
        primary.boot()?;
        primary.run("modprobe rdb && rdbadm up r0")?;
        rdb::assert_one_truth(&bed).with_context(|| format!("after round {round}"))?;
        (primary, survivor) = (survivor, primary);
    }
    bed.finish()
}

fn one_round(
    primary: &Node,
    survivor: &Node,
    round: u64,
    acknowledgements: u64,
    record: &mut Record,
) -> Result<()> {
    let mut writer = primary.spawn(&format!("rdb-iowriter /dev/rdb0 {round}"))?;
    record.acknowledged = 0;
    while record.acknowledged < acknowledgements {
        record.take_line(&writer.wait_for_line(|_| true, SETTLE)?);
    }
    primary.kill();
    // What was already on its way when the machine died was acknowledged, too.
    while let Ok(line) = writer.wait_for_line(|_| true, SETTLE) {
        record.take_line(&line);
    }
    rdb::promote(survivor)?;
    let bytes = rdb::device_bytes(survivor, 0)?;
    // Read through the device, and, past everything that rdb may think, from the disk below.
    let device = survivor.read_file("/dev/rdb0")?;
    ensure!(
        device.len() as u64 == bytes,
        "device of {bytes} bytes gave {}",
        device.len()
    );
    let at = |place: u64| {
        let begin = usize::try_from(place)? * BLOCK;
        device
            .get(begin..begin + BLOCK)
            .map(<[u8]>::to_vec)
            .context("beyond the device")
    };
    let blocks = record.check(at).context("through /dev/rdb0")?;
    let disk = &survivor.disks()[0];
    record
        .check(|place| disk.read(place * BLOCK as u64, BLOCK))
        .context("on the lower disk")?;
    println!(
        "round {round}: {} acknowledged writes, {blocks} blocks checked",
        record.acknowledged
    );
    Ok(())
}

/// fio writes with checksums in every block; what it wrote verifies on the other node after the primary's death.
fn fio_verifies_on_the_survivor(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("fio_verifies", ground)
        .disks(&[DiskSpec::mib(32)])
        .boot()?;
    rdb::start(&bed)?;
    let job = "fio --name=j --filename=/dev/rdb0 --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite \
               --bsrange=4k-64k --size=16m --randseed=7 --verify=crc32c --verify_fatal=1 --allow_file_create=0";
    bed.a.run(&format!("{job} --do_verify=0"))?;
    bed.a.kill();
    rdb::promote(&bed.b)?;
    bed.b.run(&format!("{job} --verify_only"))?;
    bed.finish()
}
