//! First sync, and what a node gets that was away: only what changed, and all of it.

use anyhow::{Result, ensure};
use rdb_testbed::{
    DiskSpec, Ground, Testbed,
    rdb::{self, SETTLE, Volume},
    vm_tests,
};

vm_tests!(
    first_sync_and_replication,
    cut_link,
    peer_killed_and_back,
    disconnected_and_connected,
    two_volumes,
    one_after_the_other
);

/// All of the disk is copied, and later writes go to both at once.
fn first_sync_and_replication(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("first_sync", ground)
        .disks(&[DiskSpec::mib(48)])
        .boot()?;
    // Data from before rdb must be copied, too.
    bed.a
        .run("dd if=/dev/urandom of=/dev/sdb bs=1M count=40 conv=fsync status=none")?;
    ensure!(bed.assert_identical(0, 40 << 20).is_err());
    rdb::start(&bed)?;
    rdb::assert_one_truth(&bed)?;
    bed.a.run(
        "mkfs.ext4 -q /dev/rdb0 && mount /dev/rdb0 /mnt && cp -r /usr/bin/b* /mnt && umount /mnt",
    )?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}

/// The primary goes on alone, remembers what changed, and sends just that when the link is back.
fn cut_link(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("cut_link", ground).boot()?;
    rdb::start(&bed)?;
    bed.a
        .run("mkfs.ext4 -q /dev/rdb0 && mount /dev/rdb0 /mnt && sync")?;
    bed.link.cut();
    rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.connection == "WFConnection")?;
    bed.a
        .run("dd if=/dev/urandom of=/mnt/alone bs=64k count=64 conv=fsync status=none; sync")?;
    let alone = rdb::volume(&bed.a, 0)?;
    ensure!(
        alone.out_of_sync >= 4096,
        "4 MiB written alone, remembered: {alone:?}"
    );
    ensure!(
        alone.roles.0 == "Primary" && alone.disks.0 == "UpToDate",
        "{alone:?}"
    );
    ensure!(
        bed.assert_identical(0, rdb::device_bytes(&bed.a, 0)?)
            .is_err(),
        "the cut link let writes through"
    );
    let before = alone.sent;
    bed.link.restore();
    rdb::assert_one_truth(&bed)?;
    // Counted since the connection came up, or since the volume did.
    let now = rdb::volume(&bed.a, 0)?.sent;
    let sent = now.checked_sub(before).unwrap_or(now);
    ensure!(
        sent < 24 << 10,
        "sent {sent} KiB for 4 MiB of changes: not only what changed"
    );
    ensure!(sent >= 4096, "sent {sent} KiB for 4 MiB of changes");
    bed.finish()
}

/// The secondary dies, the primary goes on; the secondary comes back and is brought up to date while the
/// primary is writing.
fn peer_killed_and_back(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("peer_killed", ground).boot()?;
    rdb::start(&bed)?;
    let mut writer = bed.a.spawn("rdb-iowriter /dev/rdb0 1")?;
    writer.wait_for_line(|line| line.starts_with("A "), SETTLE)?;
    bed.b.kill();
    // No application sees an error: writing goes on.
    rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.connection == "WFConnection")?;
    for _ in 0..20 {
        writer.wait_for_line(|line| line.starts_with("A "), SETTLE)?;
    }
    bed.b.boot()?;
    bed.b.run("modprobe rdb && rdbadm up r0")?;
    rdb::wait_volume(&bed.a, 0, SETTLE, Volume::in_sync)?;
    ensure!(
        writer.look(),
        "the writer stopped: {}",
        writer.printed().all()
    );
    drop(writer);
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}

/// Graceful disconnect and connect, twice, with writes in between.
fn disconnected_and_connected(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("disconnected", ground).boot()?;
    rdb::start(&bed)?;
    for round in 0..2 {
        bed.a.run("rdbadm disconnect r0")?;
        let alone = rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.connection == "StandAlone")?;
        ensure!(alone.disks.0 == "UpToDate", "{alone:?}");
        bed.a.run(&format!(
            "dd if=/dev/urandom of=/dev/rdb0 bs=1M seek={} count=3 oflag=direct status=none",
            round * 7
        ))?;
        bed.a.run("rdbadm connect r0")?;
        rdb::assert_one_truth(&bed)?;
    }
    bed.finish()
}

/// Two volumes of one resource, one with 4096-byte blocks; roles change sides.
fn two_volumes(ground: Ground) -> Result<()> {
    let disks = [DiskSpec::mib(32), DiskSpec::mib(24).block(4096)];
    let bed = Testbed::builder("two_volumes", ground)
        .disks(&disks)
        .boot()?;
    rdb::start(&bed)?;
    ensure!(bed.a.run("blockdev --getss /dev/rdb1")? == "4096");
    bed.a.run("for d in rdb0 rdb1; do dd if=/dev/urandom of=/dev/$d bs=1M count=9 oflag=direct status=none; done")?;
    rdb::assert_one_truth(&bed)?;
    bed.a.run("rdbadm secondary r0")?;
    bed.b.run("rdbadm primary r0")?;
    bed.b.run("for d in rdb0 rdb1; do dd if=/dev/urandom of=/dev/$d bs=1M seek=5 count=9 oflag=direct status=none; done")?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}

/// `resync-after`: the second volume waits for the first, both nodes show why, and then it goes on. A pause holds the first.
fn one_after_the_other(ground: Ground) -> Result<()> {
    let disks = [DiskSpec::mib(32), DiskSpec::mib(32)];
    let bed = Testbed::builder("one_after_the_other", ground)
        .disks(&disks)
        .boot()?;
    rdb::start(&bed)?;
    for node in [&bed.a, &bed.b] {
        node.run("rdbadm disk-options --resync-after=r0/0 r0/1")?;
    }
    bed.a.run("rdbadm disconnect r0 && for d in rdb0 rdb1; do dd if=/dev/urandom of=/dev/$d bs=1M count=4 oflag=direct status=none; done")?;
    bed.b.run("rdbadm pause-sync r0/0")?;
    bed.a.run("rdbadm connect r0")?;
    for volume in [0, 1] {
        rdb::wait_volume(&bed.b, volume, SETTLE, |v| v.connection == "PausedSyncT")?;
        rdb::wait_volume(&bed.a, volume, SETTLE, |v| v.connection == "PausedSyncS")?;
    }
    let status = bed.b.run("rdbadm status r0")?;
    for limit in ["limited-by:paused-here", "limited-by:resync-after"] {
        ensure!(status.contains(limit), "{limit} is not in:\n{status}");
    }
    let status = bed.a.run("rdbadm status --json r0")?;
    ensure!(status.contains("paused-by-peer"), "{status}");
    bed.b.run("rdbadm resume-sync r0/0")?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}
