//! The module goes away cleanly, at every point, a hundred times over, and leaves nothing behind.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, Ground, Node, Testbed,
    rdb::{self, SETTLE, Volume},
    vm_tests,
};

vm_tests!(
    hundred_rounds,
    removed_at_every_point,
    small_things_refuse_while_in_use
);

/// Rounds after which memory is measured for the first time: caches of the kernel itself are full by then.
const WARM_UP: usize = 10;

/// modprobe, up, I/O, down, rmmod on both nodes; then memory and slab are where they were.
fn hundred_rounds(ground: Ground) -> Result<()> {
    let rounds = if ground == Ground::Uml { 100 } else { 30 };
    let bed = Testbed::builder("hundred_rounds", ground)
        .disks(&[DiskSpec::mib(8)])
        .boot()?;
    rdb::start(&bed)?;
    bed.both(|node| node.run("rdbadm down r0 && rmmod rdb").map(drop))?;
    let mut before = Vec::new();
    for round in 0..rounds {
        one_round(&bed, round).with_context(|| format!("round {round}"))?;
        if round == WARM_UP {
            before = vec![Memory::of(&bed.a)?, Memory::of(&bed.b)?];
        }
    }
    let after = [Memory::of(&bed.a)?, Memory::of(&bed.b)?];
    for ((node, before), after) in bed.nodes().into_iter().zip(&before).zip(&after) {
        after
            .compare(before, rounds - WARM_UP)
            .with_context(|| node.name().to_owned())?;
    }
    bed.finish()
}

fn one_round(bed: &Testbed, round: usize) -> Result<()> {
    bed.both(|node| node.run("modprobe rdb && rdbadm up r0").map(drop))?;
    rdb::wait_volume(&bed.a, 0, SETTLE, Volume::in_sync)?;
    bed.a.run(&format!(
        "rdbadm primary r0 && dd if=/dev/urandom of=/dev/rdb0 bs=64k seek={} count=8 oflag=direct status=none && dd if=/dev/rdb0 of=/dev/null bs=1M count=2 iflag=direct status=none",
        round % 90
    ))?;
    // Either side may go first.
    let [first, second] = if round % 2 == 0 {
        [&bed.a, &bed.b]
    } else {
        [&bed.b, &bed.a]
    };
    for node in [first, second] {
        node.run("rdbadm down r0 && rmmod rdb && ! grep -q '^rdb ' /proc/modules && ! ls /dev/rdb0 2>/dev/null")?;
    }
    Ok(())
}

/// What a module could leave behind, in KiB, and objects of the kernel's own caches that rdb uses by name.
struct Memory(HashMap<String, i64>);

impl Memory {
    fn of(node: &Node) -> Result<Self> {
        let text = node.run(
            "sync; echo 3 >/proc/sys/vm/drop_caches; sleep 1; echo 3 >/proc/sys/vm/drop_caches; \
             grep -E '^(MemFree|SUnreclaim|VmallocUsed|KernelStack|Percpu):' /proc/meminfo; \
             ls /proc | grep -c '^[0-9]' | sed 's/^/Processes: /'",
        )?;
        let parse = |line: &str| -> Option<(String, i64)> {
            let (name, value) = line.split_once(':')?;
            Some((
                name.to_owned(),
                value.split_whitespace().next()?.parse().ok()?,
            ))
        };
        Ok(Self(text.lines().filter_map(parse).collect()))
    }

    /// Each round may cost nothing. Noise of the kernel itself is allowed once, not a round.
    fn compare(&self, before: &Self, rounds: usize) -> Result<()> {
        let grown = |name: &str| -> Result<i64> {
            let value = |memory: &Self| {
                memory
                    .0
                    .get(name)
                    .copied()
                    .with_context(|| format!("no {name}"))
            };
            Ok(value(self)? - value(before)?)
        };
        let limits = [
            ("SUnreclaim", 512),
            ("VmallocUsed", 256),
            ("KernelStack", 128),
            ("Percpu", 128),
            ("Processes", 3),
        ];
        for (name, limit) in limits {
            let grown = grown(name)?;
            ensure!(grown <= limit, "{name} grew by {grown} in {rounds} rounds");
        }
        let lost = -grown("MemFree")?;
        ensure!(
            lost <= 3072,
            "{lost} KiB of free memory lost in {rounds} rounds"
        );
        Ok(())
    }
}

/// Down and rmmod while connecting, in the first sync, while writes are under way on the other side, and with
/// the link cut.
fn removed_at_every_point(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("removed_at_every_point", ground)
        .disks(&[DiskSpec::mib(64)])
        .boot()?;
    let away = |node: &Node| node.run("rdbadm down r0 && rmmod rdb").map(drop);
    let back = |node: &Node| node.run("modprobe rdb && rdbadm up r0").map(drop);
    // Nobody there to connect to.
    bed.both(|node| node.write_file("/etc/rdb.conf", rdb::configuration(1)))?;
    bed.both(|node| {
        node.run("modprobe rdb && rdbadm create-md --force r0")
            .map(drop)
    })?;
    bed.a.run("rdbadm up r0")?;
    away(&bed.a)?;
    // In the middle of the first sync, target first and then source.
    for first in [1, 0] {
        bed.both(|node| node.run("modprobe rdb; rdbadm up r0").map(drop))?;
        rdb::wait_volume(&bed.a, 0, SETTLE, |v| {
            v.connection != "WFConnection" && !v.disks.1.contains("Unknown")
        })?;
        bed.a.run("rdbadm primary --force r0")?;
        let nodes = bed.nodes();
        away(nodes[first])?;
        away(nodes[1 - first])?;
        bed.both(back)?;
        bed.both(away)?;
    }
    bed.both(back)?;
    rdb::wait_volume(&bed.b, 0, SETTLE, |v| {
        v.connection == "Connected" || v.connection.starts_with("Sync")
    })?;
    bed.a.run("rdbadm primary --force r0")?;
    rdb::wait_volume(&bed.a, 0, SETTLE, Volume::in_sync)?;
    // The secondary goes while the primary writes.
    let mut writer = bed.a.spawn("rdb-iowriter /dev/rdb0 1")?;
    writer.wait_for_line(|line| line.starts_with("A "), SETTLE)?;
    away(&bed.b)?;
    writer.wait_for_line(|line| line.starts_with("A "), SETTLE)?;
    // The link is cut while both are up.
    back(&bed.b)?;
    rdb::wait_volume(&bed.a, 0, SETTLE, Volume::in_sync)?;
    bed.link.cut();
    drop(writer);
    bed.a
        .wait_until("rdbadm secondary r0", |output| output.code == 0, SETTLE)?;
    bed.both(away)?;
    bed.link.restore();
    bed.both(back)?;
    rdb::assert_one_truth(&bed)?;
    bed.both(away)?;
    bed.finish()
}

/// rmmod of a module in use and down of a mounted device are refused, and harm nothing.
fn small_things_refuse_while_in_use(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("refuse_while_in_use", ground)
        .disks(&[DiskSpec::mib(32)])
        .boot()?;
    rdb::start(&bed)?;
    bed.a
        .run("mkfs.ext4 -q /dev/rdb0 && mount /dev/rdb0 /mnt")?;
    bed.a.run_fails("rdbadm secondary r0")?;
    bed.a.run_fails("rdbadm down r0")?;
    bed.a.run_fails("rmmod rdb")?;
    bed.a.run("cp -a /etc /mnt/ && sync && umount /mnt")?;
    rdb::wait_volume(&bed.a, 0, SETTLE, Volume::in_sync)?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}
