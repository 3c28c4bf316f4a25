//! Lower disks that fail under load, made by the device mapper of the stock kernel, and a bad link, made by its netem.

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, End, Ground, Module, Node, Testbed, Writer, check_lower_disk,
    rdb::{self, Volume},
    stamp::Record,
};

const MIB: u64 = 32;
const SECTORS: u64 = MIB * 2048;
/// More than the metadata at the end of the disk take, in sectors.
const METADATA: u64 = 256;

/// Tables of the device mapper; `{}` is the disk. All of it fails, what is written fails, the metadata fail.
const ALL: &str = "0 {sectors} error";
const WRITES: &str = "0 {sectors} flakey {disk} 0 0 60 1 error_writes";
const ONLY_METADATA: &str = "0 {data} linear {disk} 0\n{data} {metadata} error";
const GOOD: &str = "0 {sectors} linear {disk} 0";

/// Both nodes' disks lie under the device mapper.
fn bed(name: &str) -> Result<Testbed> {
    let bed = Testbed::builder(name, Ground::Qemu)
        .disks(&[DiskSpec::mib(MIB)])
        .boot()?;
    let configuration = rdb::configuration(1)
        .replace("/dev/sdb", "/dev/mapper/low")
        .replace("disk { ", "disk { on-io-error detach; ");
    bed.both(|node| {
        node.run("modprobe dm-mod && modprobe dm-flakey")?;
        node.run(&format!(
            "dmsetup create low --table '{}'",
            table(node, GOOD)
        ))
        .map(drop)
    })?;
    rdb::bring_up(&bed, &configuration)?;
    rdb::first_sync(&bed, 1)?;
    Ok(bed)
}

fn table(node: &Node, table: &str) -> String {
    let disk = format!("/dev/{}", node.ground().disk_device(0));
    table
        .replace("{sectors}", &SECTORS.to_string())
        .replace("{data}", &(SECTORS - METADATA).to_string())
        .replace("{metadata}", &METADATA.to_string())
        .replace("{disk}", &disk)
}

/// From now on the disk is as the table says. What is under way fails or ends as the old one says.
fn turn(node: &Node, to: &str) -> Result<()> {
    node.run(&format!(
        "dmsetup suspend --noflush low && dmsetup load low --table '{}' && dmsetup resume low",
        table(node, to)
    ))
    .map(drop)
}

/// The disk of the node fails while the Primary is written on: it is given up, nobody sees an error, writes go on. It is
/// mended, attached, and in sync again.
fn disk_fails(name: &str, how: &str, on_primary: bool) -> Result<()> {
    let bed = bed(name)?;
    let [primary, secondary] = bed.nodes().map(|node| End {
        node,
        module: Module::Rdb,
    });
    let failing = if on_primary { primary } else { secondary };
    let mut record = Record::default();
    let mut writer = Writer::start(primary.node, "/dev/rdb0", 1, "")?;
    writer.acknowledged(&mut record, 50)?;
    turn(failing.node, how)?;
    failing.wait("without its disk", |v| v.disks.0 == "Diskless")?;
    writer.acknowledged(&mut record, 50)?;
    let now = primary.volume()?;
    ensure!(
        now.connection == "Connected" && now.roles.0 == "Primary",
        "{now:?}"
    );
    turn(failing.node, GOOD)?;
    failing.admin("attach")?;
    failing.wait("in sync", Volume::in_sync)?;
    writer.acknowledged(&mut record, 50)?;
    writer.stop(&mut record)?;
    rdb::assert_one_truth(&bed)?;
    for node in bed.nodes() {
        check_lower_disk(&record, node, 0).with_context(|| node.name().to_owned())?;
    }
    bed.finish()
}

#[test]
fn primary_loses_its_disk() -> Result<()> {
    disk_fails("primary_loses_its_disk", ALL, true)
}

#[test]
fn secondary_loses_its_disk() -> Result<()> {
    disk_fails("secondary_loses_its_disk", ALL, false)
}

#[test]
fn writes_fail_on_the_primary() -> Result<()> {
    disk_fails("writes_fail_on_the_primary", WRITES, true)
}

#[test]
fn metadata_fail_on_the_primary() -> Result<()> {
    disk_fails("metadata_fail_on_the_primary", ONLY_METADATA, true)
}

/// Loss, delay, reordering, duplicates and changed bits on the way, both ways: what arrives is right, and what the link
/// costs are connections at the most.
#[test]
fn bad_link() -> Result<()> {
    let bed = Testbed::builder("bad_link", Ground::Qemu)
        .disks(&[DiskSpec::mib(32)])
        .boot()?;
    rdb::start(&bed)?;
    let mut record = Record::default();
    let mut writer = Writer::start(&bed.a, "/dev/rdb0", 1, "")?;
    for netem in [
        "delay 5ms 5ms loss 1%",
        "delay 10ms reorder 25% 50% duplicate 1%",
        "corrupt 2%",
        "delay 3ms 3ms loss 1% corrupt 1%",
    ] {
        bed.both(|node| {
            // A qdisc that is only changed keeps what it had.
            node.run(&format!(
                "modprobe sch_netem; tc qdisc delete dev eth1 root 2>/dev/null; tc qdisc add dev eth1 root netem {netem}"
            ))
            .map(drop)
        })?;
        writer
            .acknowledged(&mut record, 60)
            .with_context(|| netem.to_owned())?;
    }
    let damaged = bed
        .b
        .run("nstat -az TcpInCsumErrors | awk '/Csum/ { print $2 }'")?;
    ensure!(damaged.parse::<u64>()? > 0, "no segment was damaged");
    bed.both(|node| node.run("tc qdisc delete dev eth1 root").map(drop))?;
    writer.stop(&mut record)?;
    rdb::assert_one_truth(&bed)?;
    for node in bed.nodes() {
        check_lower_disk(&record, node, 0)?;
    }
    bed.finish()
}
