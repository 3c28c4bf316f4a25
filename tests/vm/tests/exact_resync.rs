//! A node that was away gets exactly the blocks that it needs; after a crash of the Primary at most the extents more that
//! its activity log held.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use rdb_testbed::{
    DiskSpec, End, Ground, Module, Testbed, Writer, check_lower_disk, rdb, stamp::Record, vm_tests,
};

vm_tests!(scattered_writes, scattered_writes_and_a_crash);

/// 10 MiB in blocks of 4 KiB.
const BLOCKS: u64 = 2560;
/// Size of an extent of the activity log in KiB.
const EXTENT: u64 = 4096;
/// The fewest extents that the log may be told to hold.
const EXTENTS: u64 = 67;

/// 2560 scattered blocks are written while the link is cut. So many are remembered, announced, sent and received.
fn scattered_writes(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("scattered_writes", ground)
        .disks(&[DiskSpec::mib(128)])
        .boot()?;
    rdb::start(&bed)?;
    let [source, target] = ends(&bed);
    bed.link.cut();
    source.wait_connection("WFConnection")?;
    // fio's map of what it has written keeps it from writing a block twice.
    bed.a.run(&format!(
        "fio --name=j --filename=/dev/rdb0 --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=4k \
         --io_size={} --size=100% --randseed=11 --allow_file_create=0",
        BLOCKS * 4096
    ))?;
    let alone = source.volume()?;
    ensure!(
        alone.out_of_sync == BLOCKS * 4,
        "{BLOCKS} blocks written alone, remembered: {alone:?}"
    );
    target.wait_connection("WFConnection")?;
    let written = lower_writes(&target)?;
    bed.link.restore();
    rdb::assert_one_truth(&bed)?;
    for end in [source, target] {
        ensure!(
            end.resyncs()?.last() == Some(&(BLOCKS * 4)),
            "{}: resyncs of KiB: {:?}",
            end.node.name(),
            end.resyncs()?
        );
    }
    // Not only announced: counted where they arrive, by rdb and by the lower disk itself.
    let received = target.volume()?.received;
    ensure!(received == BLOCKS * 4, "received {received} KiB");
    let written = lower_writes(&target)? - written;
    let metadata = 512;
    ensure!(
        (BLOCKS * 4..=BLOCKS * 4 + metadata).contains(&written),
        "{written} KiB written to the target's lower disk"
    );
    bed.finish()
}

/// The same, but the Primary is killed in the middle. What it adds to the blocks that were written is at most what the
/// extents of its activity log hold; the device has twice as many.
fn scattered_writes_and_a_crash(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("scattered_writes_crash", ground)
        .disks(&[DiskSpec::mib(600)])
        .boot()?;
    bed.both(|node| {
        node.write_file(
            "/etc/rdb.conf",
            Module::Rdb.configuration(&format!("al-extents {EXTENTS};")),
        )?;
        node.run("modprobe rdb && rdbadm create-md --force r0 && rdbadm up r0")
            .map(drop)
    })?;
    let [source, target] = ends(&bed);
    // Both disks hold nothing but zeros, and are in sync without a copy.
    target.wait_connection("Connected")?;
    source.admin("new-current-uuid --clear-bitmap")?;
    source.wait("in sync", rdb::Volume::in_sync)?;
    source.admin("primary")?;

    bed.link.cut();
    source.wait_connection("WFConnection")?;
    let mut record = Record::default();
    let mut writer = Writer::start(&bed.a, "/dev/rdb0", 1, "--longest 1 --threads 8")?;
    writer.acknowledged(&mut record, BLOCKS)?;
    bed.a.kill();
    writer.drain(&mut record);
    let written: BTreeSet<u64> = record.places().collect();
    let dirty = written.len() as u64 * 4;
    let device = rdb::device_bytes(&bed.b, 0)? / 1024;
    ensure!(
        dirty + EXTENTS * EXTENT < device,
        "a full sync would not be seen"
    );

    bed.a.boot()?;
    source.up()?;
    let alone = source.volume()?;
    bed.link.restore();
    rdb::assert_one_truth(&bed)?;
    let copied = target.volume()?.received;
    println!(
        "{dirty} KiB written, {} KiB marked, {copied} KiB copied, device of {device} KiB",
        alone.out_of_sync
    );
    ensure!(copied >= dirty, "{dirty} KiB written, {copied} KiB copied");
    ensure!(
        copied <= dirty + EXTENTS * EXTENT,
        "{dirty} KiB written, {copied} KiB copied: more than {EXTENTS} extents above"
    );
    ensure!(
        target.resyncs()? == [copied],
        "copied {copied} KiB, resyncs of KiB: {:?}",
        target.resyncs()?
    );
    for node in bed.nodes() {
        check_lower_disk(&record, node, 0)?;
    }
    bed.finish()
}

fn ends(bed: &Testbed) -> [End<'_>; 2] {
    bed.nodes().map(|node| End {
        node,
        module: Module::Rdb,
    })
}

/// KiB that a node's lower disk was given to write, by the kernel's own count.
fn lower_writes(end: &End) -> Result<u64> {
    let device = end.node.ground().disk_device(0);
    let sectors = end.node.run(&format!(
        "awk '{{print $7}}' /sys/class/block/{device}/stat"
    ))?;
    Ok(sectors.parse::<u64>()? / 2)
}
