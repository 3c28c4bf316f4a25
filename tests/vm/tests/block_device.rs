//! `/dev/rdbN` is a block device like others: file systems, volume manager, loop devices and partitions work on
//! it, with 512-byte and 4096-byte lower disks, and requests of odd size and place arrive as they were sent.

use anyhow::{Context, Result, ensure};
use rdb_testbed::{DiskSpec, Ground, Testbed, rdb, vm_tests};

vm_tests!(
    file_systems_512,
    file_systems_4096,
    volume_manager,
    loop_device_and_partitions,
    odd_requests_512,
    odd_requests_4096,
    discards_and_zeroes,
);

fn bed(name: &str, ground: Ground, mib: u64, block: u32) -> Result<Testbed> {
    let bed = Testbed::builder(name, ground)
        .program("rdb-iopattern")
        .disks(&[DiskSpec::mib(mib).block(block)])
        .boot()?;
    rdb::start(&bed)?;
    ensure!(bed.a.run("blockdev --getss /dev/rdb0")? == block.to_string());
    Ok(bed)
}

fn file_systems_512(ground: Ground) -> Result<()> {
    file_systems("file_systems_512", ground, 512)
}

fn file_systems_4096(ground: Ground) -> Result<()> {
    file_systems("file_systems_4096", ground, 4096)
}

/// Each file system is made, filled, unmounted, checked by its own checker, mounted on the other node and
/// compared there.
fn file_systems(name: &str, ground: Ground, block: u32) -> Result<()> {
    let bed = bed(name, ground, 144, block)?;
    let kinds = [
        ("ext3", "mkfs.ext3 -qF", "e2fsck -fn"),
        ("ext4", "mkfs.ext4 -qF", "e2fsck -fn"),
        // Smaller than xfs and btrfs like to be; the disk need not be synced for an hour.
        (
            "xfs",
            "mkfs.xfs -qf --unsupported -d size=64m",
            "xfs_repair -n",
        ),
        ("btrfs", "mkfs.btrfs -qf", "btrfs check"),
    ];
    let (mut here, mut there) = (&bed.a, &bed.b);
    for (kind, make, check) in kinds {
        (|| {
            here.run(&format!("{make} /dev/rdb0 && mount -t {kind} /dev/rdb0 /mnt"))?;
            here.run("cp -a /etc /mnt/ && cp -a /usr/sbin /mnt/ && rm -r /mnt/etc/default && sync -f /mnt")?;
            let sums = "cd /mnt && find etc sbin -type f -print0 | sort -z | xargs -0 sha256sum";
            let sums_here = here.run(sums)?;
            here.run(&format!("umount /mnt && {check} /dev/rdb0"))?;
            here.run("rdbadm secondary r0")?;
            there.run(&format!("rdbadm primary r0 && mount -t {kind} /dev/rdb0 /mnt"))?;
            ensure!(there.run(sums)? == sums_here, "files differ on {}", there.name());
            there.run("umount /mnt && fstrim --version >/dev/null").map(drop)
        })()
        .with_context(|| kind.to_owned())?;
        (here, there) = (there, here);
    }
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}

/// Volume group, two volumes, a snapshot under writes, and the same group on the other node.
fn volume_manager(ground: Ground) -> Result<()> {
    let bed = bed("volume_manager", ground, 96, 512)?;
    // LVM takes only the kinds of devices that it knows, or is told of. Without udev the nodes must be made by hand.
    let settings = "devices { types = [\"rdb\", 16] use_devicesfile = 0 filter = [\"a|/dev/rdb.*|\", \"r|.*|\"] }\n\
        activation { udev_sync = 0 udev_rules = 0 }\n";
    bed.both(|node| node.write_file("/etc/lvm/lvmlocal.conf", settings))?;
    let lvm = "export DM_DISABLE_UDEV=1";
    bed.a
        .run("modprobe -q dm-mod; modprobe -q dm-snapshot; true")?;
    bed.b
        .run("modprobe -q dm-mod; modprobe -q dm-snapshot; true")?;
    bed.a.run(&format!("{lvm}; pvcreate -qy /dev/rdb0 && vgcreate -q vg /dev/rdb0 && lvcreate -qy -Zn -Wn -L 24m -n one vg && lvcreate -qy -Zn -Wn -L 24m -n two vg && vgmknodes"))?;
    bed.a.run(
        "mkfs.ext4 -q /dev/vg/one && mount /dev/vg/one /mnt && cp -a /etc /mnt/ && sync -f /mnt",
    )?;
    bed.a
        .run("dd if=/dev/urandom of=/dev/vg/two bs=1M count=20 oflag=direct status=none")?;
    let sum = bed.a.run("sha256sum /dev/vg/two")?;
    bed.a.run(&format!(
        "{lvm}; umount /mnt && vgchange -qan vg && rdbadm secondary r0"
    ))?;
    bed.b.run(&format!(
        "{lvm}; rdbadm primary r0 && vgchange -qay vg && vgmknodes"
    ))?;
    ensure!(
        bed.b.run("sha256sum /dev/vg/two")? == sum,
        "volume differs on the other node"
    );
    bed.b.run(&format!(
        "{lvm}; e2fsck -fn /dev/vg/one && vgchange -qan vg"
    ))?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}

/// A loop device over the device, and a partition table on it with a file system in each partition.
fn loop_device_and_partitions(ground: Ground) -> Result<()> {
    let bed = bed("loop_and_partitions", ground, 64, 512)?;
    bed.a.run("printf 'label: gpt\\nsize=20M\\nsize=20M\\n' | sfdisk -q /dev/rdb0 && partx -u /dev/rdb0; ls /dev/rdb0p1 /dev/rdb0p2")?;
    bed.a.run("for p in 1 2; do mkfs.ext4 -q /dev/rdb0p$p && mount /dev/rdb0p$p /mnt && cp -a /etc /mnt/ && umount /mnt && e2fsck -fn /dev/rdb0p$p || exit 1; done")?;
    let refused = bed
        .a
        .run_fails("mount /dev/rdb0p1 /mnt && rdbadm secondary r0")?;
    ensure!(
        !refused.is_empty(),
        "demoted while a partition is mounted, without a word"
    );
    bed.a.run("umount /mnt")?;
    bed.a.run("loop=$(losetup -f --show --offset 4096 /dev/rdb0) && dd if=/dev/urandom of=$loop bs=64k count=16 oflag=direct status=none && losetup -d $loop")?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}

fn odd_requests_512(ground: Ground) -> Result<()> {
    odd_requests("odd_requests_512", ground, 512)
}

fn odd_requests_4096(ground: Ground) -> Result<()> {
    odd_requests("odd_requests_4096", ground, 4096)
}

/// Requests of one block to 2 MiB at any block, several at once, with checksums; then buffers that do not begin
/// where a page does.
fn odd_requests(name: &str, ground: Ground, block: u32) -> Result<()> {
    let bed = bed(name, ground, 40, block)?;
    let fio = format!(
        "fio --name=odd --filename=/dev/rdb0 --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite \
         --bsrange={block}-2m --bs_unaligned=1 --blockalign={block} --size=32m --io_size=48m --randseed=11 \
         --verify=crc32c --verify_fatal=1 --allow_file_create=0 --iomem_align={block} --mem=malloc"
    );
    // fio asks for sizes that are no multiple of the block unless told not to.
    let fio = fio.replace("--bs_unaligned=1 ", "");
    bed.a.run(&fio)?;
    rdb::assert_one_truth(&bed)?;
    // Any size up to 4 MiB at any block, scattered over memory that begins off a page, zeroing and holes in between.
    let said = bed.a.run(&format!(
        "rdb-iopattern /dev/rdb0 --block {block} --operations 300 --seed 5"
    ))?;
    println!("{ground:?}, {block}: {said}");
    rdb::assert_one_truth(&bed)?;
    // Small buffered writes become read-modify-write in the page cache, and flushes in between.
    bed.a.run("fio --name=small --filename=/dev/rdb0 --rw=randwrite --bsrange=1-9000 --bs_unaligned=1 --size=8m --fsync=16 --io_size=2m --randseed=3 --allow_file_create=0")?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}

/// What a file system or a tool may send besides reads and writes is either done on both sides or refused; it
/// never leaves the sides different.
fn discards_and_zeroes(ground: Ground) -> Result<()> {
    let bed = bed("discards", ground, 32, 512)?;
    bed.a
        .run("dd if=/dev/urandom of=/dev/rdb0 bs=1M count=24 oflag=direct status=none")?;
    bed.a.run("blkdiscard -z -o 1048576 -l 4194304 /dev/rdb0")?;
    ensure!(
        bed.a.run(
            "dd if=/dev/rdb0 bs=1M skip=1 count=4 iflag=direct status=none | tr -d '\\0' | wc -c"
        )? == "0"
    );
    // A device without discards refuses; one with them does it on both sides.
    bed.a.sh("blkdiscard -o 8388608 -l 4194304 /dev/rdb0")?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}
