//! The stock `drbd.ko` with Debian's tools in the testbed. It proves that the testbed carries a real replication
//! (and loses it when cut), and keeps the machines that comparisons run on in working order.

use std::time::Duration;

use anyhow::{Result, ensure};
use rdb_testbed::{DiskSpec, Ground, Testbed};

const LIMIT: Duration = Duration::from_secs(300);
const MIB: u64 = 1 << 20;

const CONFIGURATION: &str = "\
global { usage-count no; }
common { net { protocol C; ping-int 2; ping-timeout 30; } disk { c-min-rate 40M; resync-rate 40M; c-plan-ahead 0; } }
resource r0 {
  device /dev/drbd0; disk /dev/sdb; meta-disk internal;
  on hauptserver { address 192.168.1.11:7789; }
  on ausfallserver { address 192.168.1.12:7789; }
}
";

#[test]
fn two_nodes_replicate() -> Result<()> {
    let bed = Testbed::builder("stock_drbd", Ground::Qemu)
        .bare()
        .disks(&[DiskSpec::mib(32)])
        .boot()?;
    bed.both(|node| {
        node.write_file("/etc/drbd.conf", CONFIGURATION)?;
        node.run("modprobe drbd && yes yes | drbdadm create-md r0 && drbdadm up r0")?;
        Ok(())
    })?;
    let connected = |output: &rdb_testbed::Output| output.out().contains("cs:Connected");
    bed.b.wait_until("cat /proc/drbd", connected, LIMIT)?;
    bed.a.run("drbdadm primary --force r0")?;
    let in_sync = |output: &rdb_testbed::Output| output.out().contains("ds:UpToDate/UpToDate");
    bed.a.wait_until("cat /proc/drbd", in_sync, LIMIT)?;
    bed.a.run(
        "mkfs.ext4 -q /dev/drbd0 && mount /dev/drbd0 /mnt && cp -r /etc /mnt && umount /mnt",
    )?;
    bed.assert_identical(0, 31 * MIB)?;

    bed.link.cut();
    let alone = |output: &rdb_testbed::Output| output.out().contains("cs:WFConnection");
    bed.a.wait_until("cat /proc/drbd", alone, LIMIT)?;
    bed.a
        .run("mount /dev/drbd0 /mnt && cp -r /usr/sbin /mnt && umount /mnt")?;
    ensure!(
        bed.assert_identical(0, 31 * MIB).is_err(),
        "the cut link let writes through"
    );
    bed.link.restore();
    bed.a.wait_until("cat /proc/drbd", in_sync, LIMIT)?;
    bed.assert_identical(0, 31 * MIB)?;

    bed.a.run("drbdadm down r0 && rmmod drbd")?;
    bed.finish()
}
