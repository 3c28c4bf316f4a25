// SPDX-License-Identifier: GPL-2.0

//! rdb on one node, the stock `drbd.ko` with Debian's tools on the other: each must take the other for one of its own.

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, Ground, Output, Testbed,
    rdb::{self, SETTLE, wait_volume},
};

const DRBD: &str = "\
global { usage-count no; }
common { net { protocol C; ping-timeout 30; connect-int 1; } disk { c-min-rate 40M; resync-rate 40M; c-plan-ahead 0; } }
resource r0 {
  device /dev/drbd0; disk /dev/sdb; meta-disk internal;
  on hauptserver { address 192.168.1.11:7789; }
  on ausfallserver { address 192.168.1.12:7789; }
}
";

/// Waits until `/proc/drbd` of the second node contains a text.
fn drbd(bed: &Testbed, text: &'static str) -> Result<()> {
    let contains = move |output: &Output| output.out().contains(text);
    bed.b
        .wait_until("cat /proc/drbd", contains, SETTLE)
        .with_context(|| format!("drbd is not {text}"))?;
    Ok(())
}

/// Waits until both ends say that they are in sync, and compares the data.
fn one_truth(bed: &Testbed) -> Result<()> {
    bed.both(|node| node.run("sync").map(drop))?;
    wait_volume(&bed.a, 0, SETTLE, rdb::Volume::in_sync)?;
    drbd(bed, "ds:UpToDate/UpToDate")?;
    bed.assert_identical(0, rdb::device_bytes(&bed.a, 0)?)
}

/// Brings rdb up on the first node and drbd on the second.
fn start() -> Result<Testbed> {
    let bed = Testbed::builder("interop", Ground::Qemu)
        .disks(&[DiskSpec::mib(32)])
        .boot()?;
    bed.a.write_file("/etc/rdb.conf", rdb::configuration(1))?;
    bed.b.write_file("/etc/drbd.conf", DRBD)?;
    bed.a
        .run("modprobe rdb && rdbadm create-md --force r0 && rdbadm up r0")?;
    bed.b
        .run("modprobe drbd && yes yes | drbdadm create-md r0 && drbdadm up r0")?;
    wait_volume(&bed.a, 0, SETTLE, |v| v.connection == "Connected")?;
    drbd(&bed, "cs:Connected")?;
    Ok(bed)
}

/// rdb is primary: full sync to drbd, replication, a refused second primary, a resync of what was written alone.
fn rdb_leads(bed: &Testbed) -> Result<()> {
    bed.a.run("rdbadm primary --force r0")?;
    one_truth(bed)?;
    bed.a
        .run("mkfs.ext4 -q /dev/rdb0 && mount /dev/rdb0 /mnt && cp -r /etc /mnt && umount /mnt")?;
    one_truth(bed)?;
    bed.b.run_fails("drbdadm primary r0")?;

    bed.a.run("rdbadm disconnect r0")?;
    drbd(bed, "cs:WFConnection")?;
    bed.a.run(
        "mount /dev/rdb0 /mnt && dd if=/dev/urandom of=/mnt/alone bs=64k count=32 status=none && umount /mnt",
    )?;
    let alone = rdb::volume(&bed.a, 0)?;
    ensure!(
        alone.out_of_sync >= 2048 && alone.out_of_sync < 16_384,
        "2 MiB written alone, remembered: {alone:?}"
    );
    bed.a.run("rdbadm connect r0")?;
    one_truth(bed)?;

    bed.b.run("drbdadm detach r0")?;
    wait_volume(&bed.a, 0, SETTLE, |v| v.disks.1 == "Diskless")?;
    bed.a
        .run("dd if=/dev/urandom of=/dev/rdb0 bs=64k count=16 oflag=direct status=none")?;
    bed.b.run("drbdadm attach r0")?;
    one_truth(bed)
}

/// drbd is primary: replication and discards to rdb, a cut link, a resync to rdb, a disconnect by drbd.
fn drbd_leads(bed: &Testbed) -> Result<()> {
    bed.a.run("rdbadm secondary r0")?;
    bed.b.run("drbdadm primary r0")?;
    wait_volume(&bed.a, 0, SETTLE, |v| v.roles.1 == "Primary")?;
    let refused = bed.a.run_fails("rdbadm primary r0")?;
    ensure!(refused.contains("(-1)"), "second primary: {refused}");
    bed.b.run(
        "mkfs.ext4 -q /dev/drbd0 && mount /dev/drbd0 /mnt && cp -r /usr/sbin /mnt && sync && \
         rm -rf /mnt/sbin && fstrim /mnt && umount /mnt",
    )?;
    one_truth(bed)?;

    bed.link.cut();
    drbd(bed, "cs:WFConnection")?;
    bed.b.run(
        "mount /dev/drbd0 /mnt && dd if=/dev/urandom of=/mnt/alone bs=64k count=32 status=none && umount /mnt",
    )?;
    bed.link.restore();
    one_truth(bed)?;

    bed.b.run("drbdadm disconnect r0")?;
    wait_volume(&bed.a, 0, SETTLE, |v| v.connection == "WFConnection")?;
    bed.b.run("drbdadm connect r0")?;
    one_truth(bed)
}

#[test]
fn rdb_and_drbd_replicate() -> Result<()> {
    let bed = start()?;
    rdb_leads(&bed)?;
    drbd_leads(&bed)?;
    bed.b
        .run("drbdadm secondary r0 && drbdadm down r0 && rmmod drbd")?;
    bed.a.run("rdbadm down r0 && rmmod rdb")?;
    bed.finish()
}
