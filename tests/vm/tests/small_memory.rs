//! Machines with 256 MiB write back more dirty pages than they have memory for, with the mirror below: nothing
//! on the write path may wait for memory that only the write path can free.

use std::time::Duration;

use anyhow::{Result, ensure};
use rdb_testbed::{DiskSpec, Ground, Testbed, rdb, vm_tests};

vm_tests!(write_back_pressure);

fn write_back_pressure(ground: Ground) -> Result<()> {
    // No larger than needed where everything is slow.
    let mib = if ground == Ground::Uml { 640 } else { 320 };
    let bed = Testbed::builder("small_memory", ground)
        .memory(256)
        .disks(&[DiskSpec::mib(mib)])
        .boot()?;
    rdb::start(&bed)?;
    bed.a.run(
        "mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/rdb0 && mount /dev/rdb0 /mnt",
    )?;
    // As much of the memory as the kernel lets become dirty.
    bed.a
        .run("echo 60 >/proc/sys/vm/dirty_ratio; echo 50 >/proc/sys/vm/dirty_background_ratio")?;
    // A process that holds memory, so that write-back and reclaim meet.
    let mut hog = bed
        .a
        .spawn("head -c 60m /dev/zero | (sleep 2; tail -c 60m | sleep 100000)")?;
    let file = mib * 2 / 5;
    let output = bed.a.sh_within(
        &format!(
            "fio --name=pressure --directory=/mnt --numjobs=2 --size={}m --rw=randwrite --bsrange=4k-256k --ioengine=psync \
             --fsync=512 --verify=crc32c --verify_fatal=1 --do_verify=1 --group_reporting --randseed=5",
            file / 2
        ),
        Duration::from_secs(1500),
    )?;
    ensure!(output.code == 0, "{}", output.all());
    ensure!(
        hog.look(),
        "the memory hog was killed: {}",
        hog.printed().all()
    );
    drop(hog);
    bed.a.run("umount /mnt && e2fsck -fn /dev/rdb0")?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}
