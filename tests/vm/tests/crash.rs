//! Machines that die, freeze, lose their power or their disks under load, and a link that is bad: whatever was
//! acknowledged to the writer is on both lower disks in the end, and these are equal. What happens is waited for, never
//! a time.

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, End, Ground, Module, Testbed, Writer, check_lower_disk,
    rdb::{self, Volume},
    stamp::Record,
    vm_tests,
};

vm_tests!(
    both_killed,
    secondary_killed,
    primary_killed_and_again_primary,
    secondary_frozen,
    primary_frozen,
);

fn bed(name: &str, ground: Ground, disk: DiskSpec) -> Result<Testbed> {
    let bed = Testbed::builder(name, ground).disks(&[disk]).boot()?;
    rdb::start(&bed)?;
    Ok(bed)
}

/// Both nodes, the first node's end first.
fn ends(bed: &Testbed) -> [End<'_>; 2] {
    bed.nodes().map(|node| End {
        node,
        module: Module::Rdb,
    })
}

fn load(end: &End, generation: u64, record: &mut Record, options: &str) -> Result<Writer> {
    let mut writer = Writer::start(end.node, &end.device(), generation, options)?;
    writer.acknowledged(record, 100)?;
    Ok(writer)
}

fn boot(end: &End) -> Result<()> {
    end.node.boot()?;
    end.up()
}

/// Both disks are the same, and hold all that was acknowledged.
fn nothing_lost(bed: &Testbed, record: &Record) -> Result<()> {
    rdb::assert_one_truth(bed)?;
    for node in bed.nodes() {
        let blocks = check_lower_disk(record, node, 0).with_context(|| node.name().to_owned())?;
        ensure!(blocks > 0, "nothing was checked");
    }
    Ok(())
}

/// Both machines die at once, the one being Primary and then the other.
fn both_killed(ground: Ground) -> Result<()> {
    let bed = bed("both_killed", ground, DiskSpec::mib(48))?;
    let [mut primary, mut secondary] = ends(&bed);
    let mut record = Record::default();
    for round in 1..=2 {
        primary.promote()?;
        let mut writer = load(&primary, round, &mut record, "")?;
        primary.node.kill();
        secondary.node.kill();
        writer.drain(&mut record);
        boot(&secondary)?;
        boot(&primary)?;
        nothing_lost(&bed, &record).with_context(|| format!("round {round}"))?;
        (primary, secondary) = (secondary, primary);
    }
    bed.finish()
}

/// The Secondary dies and returns while writes go on.
fn secondary_killed(ground: Ground) -> Result<()> {
    let bed = bed("secondary_killed", ground, DiskSpec::mib(48))?;
    let [primary, secondary] = ends(&bed);
    let mut record = Record::default();
    let mut writer = load(&primary, 1, &mut record, "")?;
    for _ in 0..2 {
        secondary.node.kill();
        primary.wait_connection("WFConnection")?;
        writer.acknowledged(&mut record, 20)?;
        boot(&secondary)?;
        primary.wait("in sync", Volume::in_sync)?;
        writer.acknowledged(&mut record, 20)?;
    }
    writer.stop(&mut record)?;
    nothing_lost(&bed, &record)?;
    bed.finish()
}

/// The Primary dies, alone and connected, and becomes Primary again without anybody else having been it. The other node
/// gets what may differ, and is the better source for none of it.
fn primary_killed_and_again_primary(ground: Ground) -> Result<()> {
    let bed = bed("primary_again", ground, DiskSpec::mib(48))?;
    let [primary, secondary] = ends(&bed);
    let mut record = Record::default();
    for (round, alone) in [(1, false), (2, true), (3, false)] {
        let mut writer = load(&primary, 2 * round, &mut record, "")?;
        if alone {
            bed.link.cut();
            primary.wait_connection("WFConnection")?;
            writer.acknowledged(&mut record, 20)?;
        }
        primary.node.kill();
        writer.drain(&mut record);
        boot(&primary)?;
        bed.link.restore();
        for end in [primary, secondary] {
            end.wait("in sync", Volume::in_sync)?;
        }
        primary.promote()?;
        load(&primary, 2 * round + 1, &mut record, "")?.stop(&mut record)?;
        nothing_lost(&bed, &record).with_context(|| format!("round {round}"))?;
    }
    bed.finish()
}

/// The Secondary stands still until it is given up, and goes on as if nothing had been.
fn secondary_frozen(ground: Ground) -> Result<()> {
    let bed = bed("secondary_frozen", ground, DiskSpec::mib(48))?;
    let [primary, secondary] = ends(&bed);
    let mut record = Record::default();
    let mut writer = load(&primary, 1, &mut record, "")?;
    secondary.node.freeze();
    primary.wait_connection("WFConnection")?;
    writer.acknowledged(&mut record, 50)?;
    secondary.node.thaw();
    primary.wait("in sync", Volume::in_sync)?;
    writer.stop(&mut record)?;
    nothing_lost(&bed, &record)?;
    bed.finish()
}

/// The Primary stands still under load, the Secondary takes over and is written on. Then the old Primary goes on, not
/// knowing that it is one of two: both see it, and the data of the one that stood still are given up.
fn primary_frozen(ground: Ground) -> Result<()> {
    let bed = bed("primary_frozen", ground, DiskSpec::mib(48))?;
    let [old, new] = ends(&bed);
    let mut record = Record::default();
    let writer = load(&old, 1, &mut record, "")?;
    old.node.freeze();
    new.promote()?;
    load(&new, 2, &mut record, "")?.stop(&mut record)?;
    old.node.thaw();
    // What it acknowledges from now on is what a split brain costs.
    drop(writer);
    old.wait("parted", |volume| volume.connection == "StandAlone")?;
    let kept = new.volume()?;
    ensure!(
        kept.roles.0 == "Primary" && kept.disks.0 == "UpToDate",
        "{kept:?}"
    );
    old.node.wait_until(
        "rdbadm secondary r0",
        |output| output.code == 0,
        rdb::SETTLE,
    )?;
    new.admin("disconnect")?;
    old.admin("connect --discard-my-data")?;
    new.admin("connect")?;
    nothing_lost(&bed, &record)?;
    bed.finish()
}

/// Both lose their power and what their disks had not flushed. The writer's writes are synchronous: each was flushed on
/// both nodes before it was acknowledged. What was under way may have torn the blocks that it went to.
#[test]
fn both_lose_power() -> Result<()> {
    let bed = bed(
        "both_lose_power",
        Ground::Qemu,
        DiskSpec::mib(16).volatile(),
    )?;
    let [mut primary, mut secondary] = ends(&bed);
    let mut record = Record::default();
    record.allow_torn();
    for round in 1..=2 {
        primary.promote()?;
        let mut writer = load(&primary, round, &mut record, "--sync")?;
        primary.node.kill();
        secondary.node.kill();
        for end in [primary, secondary] {
            end.node.lose_power(50)?;
        }
        writer.drain(&mut record);
        boot(&primary)?;
        boot(&secondary)?;
        nothing_lost(&bed, &record).with_context(|| format!("round {round}"))?;
        (primary, secondary) = (secondary, primary);
    }
    bed.finish()
}
