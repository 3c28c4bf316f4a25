// SPDX-License-Identifier: GPL-2.0

//! rdb on one node, the stock `drbd.ko` with Debian's tools on the other, in both assignments: each must take the other
//! for one of its own. Nothing of the other is known here but its commands and what it says.
//!
//! `make interop` runs them all on Debian's kernel. On user-mode Linux, where they take seconds, the other is the module
//! of the same kernel source.

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, End, Ground, Module, Testbed, Writer, check_lower_disk,
    rdb::Volume,
    stamp::{BLOCK, Record},
};

/// Size of each lower disk.
const MIB: u64 = 64;
/// Part of the device that is written on while machines crash, and what of it is copied at most: extents of 4 MiB.
const AREA_MIB: u64 = 8;

/// What may be complained of, and why.
const ALLOWED: &[(&str, &str)] = &[
    (
        r"drbd r0: (meta connection|sock) .*shut down by peer",
        "the peer was killed or went away",
    ),
    (
        r"drbd r0: error receiving ReportState, e: -5 l: 0!",
        "how drbd leaves a handshake in which it has found a split brain",
    ),
    (
        r"drbd r0: Error receiving initial packet",
        "rdb closed a connection that both had begun at the same time",
    ),
    (
        r"rdb: r0: helper command: [\w-]+ cannot be run: (Error\(2\)|ENOENT)",
        "the guests have rdbadm in another folder than an installation",
    ),
];

/// What may be complained of besides, where a Primary is killed while it writes.
const KILLED: (&str, &str) = (
    r"drbd r0: error receiving Data, e: -5 l: [1-9][0-9]*!",
    "the killed Primary had sent a part of a write only",
);

struct Pair {
    bed: Testbed,
    rdb_first: bool,
}

impl Pair {
    /// Boots both and brings them up with fresh metadata.
    fn start(name: &str, ground: Ground, rdb_first: bool) -> Result<Self> {
        let name = format!("interop_{name}_{}", if rdb_first { "rdb" } else { "drbd" });
        let bed = Testbed::builder(&name, ground)
            .disks(&[DiskSpec::mib(MIB)])
            .boot()?;
        let pair = Self { bed, rdb_first };
        for end in pair.ends() {
            end.configure("")?;
        }
        if ground == Ground::Uml {
            // That kernel's sleep checks note that drbd's own worker takes a mutex while it is about to wait. A trace never
            // comes without such a line above it, so that no other trouble is missed.
            let node = pair.drbd().node;
            node.allow_on_console(r"WARNING: .* at __might_sleep\+.*drbd_w_r0")?;
            node.allow_on_console(r"Call Trace:$")?;
        }
        pair.fresh()?;
        Ok(pair)
    }

    /// Different data on both lower disks, new metadata, connected, no data valid yet.
    fn fresh(&self) -> Result<()> {
        for end in self.ends() {
            end.node
                .run("dd if=/dev/urandom of=/dev/sdb bs=1M count=60 conv=fsync status=none")?;
            end.create_metadata()?;
        }
        ensure!(self.compare().is_err(), "different disks taken for equal");
        for end in self.ends() {
            end.up()?;
        }
        for end in self.ends() {
            let found = end.wait_connection("Connected")?;
            let fresh = ("Inconsistent".to_owned(), "Inconsistent".to_owned());
            ensure!(found.disks == fresh, "fresh metadata: {found:?}");
        }
        Ok(())
    }

    fn end(&self, first: bool, module: Module) -> End<'_> {
        let node = if first { &self.bed.a } else { &self.bed.b };
        End { node, module }
    }

    /// The first sync, after which nobody is Primary.
    fn sync_from(&self, leader: &End) -> Result<()> {
        leader.admin("primary --force")?;
        self.one_truth()?;
        leader.admin("secondary")?;
        Ok(())
    }

    fn rdb(&self) -> End<'_> {
        self.end(self.rdb_first, Module::Rdb)
    }

    fn drbd(&self) -> End<'_> {
        self.end(!self.rdb_first, Module::Drbd)
    }

    /// Both, the first node's first.
    fn ends(&self) -> [End<'_>; 2] {
        let both = [self.rdb(), self.drbd()];
        if self.rdb_first {
            both
        } else {
            [both[1], both[0]]
        }
    }

    /// The one and the other: rdb leads, then drbd.
    fn either_way(&self) -> [(End<'_>, End<'_>); 2] {
        [(self.rdb(), self.drbd()), (self.drbd(), self.rdb())]
    }

    fn compare(&self) -> Result<()> {
        // The size that both agreed on; sysfs counts in 512 bytes.
        let bytes = self
            .rdb()
            .node
            .run("cat /sys/class/block/rdb0/size 2>/dev/null || echo 122880")?
            .parse::<u64>()?
            * 512;
        self.bed.assert_identical(0, bytes)
    }

    /// Waits until both say that they are in sync, and compares the data.
    fn one_truth(&self) -> Result<()> {
        for end in self.ends() {
            end.node.run("sync")?;
        }
        for end in self.ends() {
            end.wait("in sync", Volume::in_sync)?;
        }
        for end in self.ends() {
            let found = end.volume()?;
            ensure!(found.out_of_sync == 0, "in sync, yet {found:?}");
        }
        self.compare()
    }

    /// Both leave in order; no kernel has complained.
    fn finish(self) -> Result<()> {
        self.finish_allowing(&[])
    }

    /// As [`Pair::finish`], where some more may be complained of.
    fn finish_allowing(self, more: &[(&str, &str)]) -> Result<()> {
        let allowed = [ALLOWED, more].concat();
        for end in self.ends() {
            if end.volume()?.roles.0 == "Primary" {
                end.admin("secondary")?;
            }
        }
        for end in self.ends() {
            end.away()?;
        }
        for end in self.ends() {
            end.node.check_complaints(&allowed)?;
        }
        self.bed.finish()
    }
}

/// Full sync either way, replication with a file system, a refused second primary, graceful disconnects, a detached
/// disk, a cut link, and after each a resync of just what was written alone.
fn replicate(ground: Ground, rdb_first: bool) -> Result<()> {
    let pair = Pair::start("replicate", ground, rdb_first)?;
    for (number, (leader, other)) in pair.either_way().into_iter().enumerate() {
        if number > 0 {
            for end in pair.ends() {
                end.admin("down")?;
            }
            pair.fresh()?;
        }
        let what = || format!("{} leads", leader.module.name());
        lead(&pair, &leader, &other).with_context(what)?;
    }
    pair.finish()
}

fn lead(pair: &Pair, leader: &End, other: &End) -> Result<()> {
    let device = leader.device();
    leader.admin("primary --force")?;
    pair.one_truth().context("first sync")?;
    leader.node.run(&format!(
        "mkfs.ext4 -q {device} && mount {device} /mnt && cp -r /usr/sbin/b* /etc /mnt && sync && \
         rm -rf /mnt/etc && fstrim /mnt && umount /mnt"
    ))?;
    pair.one_truth().context("replication")?;
    other.refuses("primary")?;

    // A disconnect by the one and by the other.
    for (begins, waits) in [(leader, other), (other, leader)] {
        begins.admin("disconnect")?;
        begins.wait_connection("StandAlone")?;
        waits.wait_connection("WFConnection")?;
        written_alone(leader, 40, 2048)?;
        begins.admin("connect")?;
        pair.one_truth().context("disconnected")?;
        copied(pair, 2048)?;
    }

    pair.bed.link.cut();
    for end in pair.ends() {
        end.wait_connection("WFConnection")?;
    }
    written_alone(leader, 777, 3000)?;
    pair.bed.link.restore();
    pair.one_truth().context("cut link")?;
    copied(pair, 3000)?;

    other.admin("detach")?;
    leader.wait("alone with its disk", |v| v.disks.1 == "Diskless")?;
    leader.scribble(5, 256)?;
    other.admin("attach")?;
    pair.one_truth().context("detached")?;

    // The other becomes Primary, and what it writes arrives here.
    leader.admin("secondary")?;
    other.admin("primary")?;
    leader.wait("told of the new Primary", |v| v.roles.1 == "Primary")?;
    other.scribble(2000, 512)?;
    pair.one_truth().context("roles changed")?;
    other.admin("secondary")?;
    Ok(())
}

/// Writes so many blocks of 4 KiB and sees all of them remembered.
fn written_alone(end: &End, seek: u64, blocks: u64) -> Result<()> {
    end.scribble(seek, blocks)?;
    let found = end.volume()?;
    ensure!(
        found.out_of_sync == blocks * 4,
        "{blocks} blocks written alone: {found:?}"
    );
    Ok(())
}

/// The last resync of each node was of exactly so many blocks of 4 KiB.
fn copied(pair: &Pair, blocks: u64) -> Result<()> {
    for end in pair.ends() {
        let resyncs = end.resyncs()?;
        ensure!(
            resyncs.last() == Some(&(blocks * 4)),
            "{}: {blocks} blocks written alone, copied by resyncs (KiB): {resyncs:?}",
            end.module.name()
        );
    }
    Ok(())
}

/// Both machines die under load, come back, and copy no more than the active extents.
fn both_crash(ground: Ground, rdb_first: bool) -> Result<()> {
    let pair = Pair::start("both_crash", ground, rdb_first)?;
    pair.sync_from(&pair.rdb())?;
    let mut record = Record::default();
    for (round, (leader, other)) in (1..).zip(pair.either_way()) {
        let what = || format!("{} was Primary", leader.module.name());
        leader.promote()?;
        let mut writer = loaded(&leader, round, &mut record)?;
        leader.node.kill();
        other.node.kill();
        writer.drain(&mut record);
        let before = [leader.resyncs()?.len(), other.resyncs()?.len()];
        for end in [&leader, &other] {
            end.node.boot()?;
            end.up()?;
        }
        pair.one_truth().with_context(what)?;
        bounded(&[leader, other], before).with_context(what)?;
        for end in pair.ends() {
            check_lower_disk(&record, end.node, 0).with_context(what)?;
        }
    }
    pair.finish()
}

/// A writer in the area, with a hundred writes acknowledged.
fn loaded(end: &End, generation: u64, record: &mut Record) -> Result<Writer> {
    let options = format!("--area {AREA_MIB}");
    let mut writer = Writer::start(end.node, &end.device(), generation, &options)?;
    writer.acknowledged(record, 100)?;
    Ok(writer)
}

/// Each node has begun exactly one resync, if any, of at most the active extents.
fn bounded(ends: &[End; 2], before: [usize; 2]) -> Result<()> {
    for (end, before) in ends.iter().zip(before) {
        let since = end.resyncs()?.split_off(before);
        ensure!(
            since.iter().sum::<u64>() <= AREA_MIB * 1024,
            "{}: only {AREA_MIB} MiB were active, copied by resyncs (KiB): {since:?}",
            end.module.name()
        );
    }
    Ok(())
}

/// Each dies as Secondary and as Primary, under load.
fn one_crashes(ground: Ground, rdb_first: bool) -> Result<()> {
    let pair = Pair::start("one_crashes", ground, rdb_first)?;
    pair.sync_from(&pair.drbd())?;
    let mut record = Record::default();
    for (round, (leader, other)) in (1..).zip(pair.either_way()) {
        let what = |fate: &str| format!("{} {fate}", leader.module.name());
        leader.promote()?;
        secondary_dies(&pair, &leader, &other, 2 * round, &mut record)
            .with_context(|| what("survives its Secondary"))?;
        primary_dies(&pair, &leader, &other, 2 * round + 1, &mut record)
            .with_context(|| what("dies as Primary"))?;
        other.admin("secondary")?;
    }
    pair.finish_allowing(&[KILLED])
}

fn secondary_dies(
    pair: &Pair,
    leader: &End,
    other: &End,
    generation: u64,
    record: &mut Record,
) -> Result<()> {
    let mut writer = loaded(leader, generation, record)?;
    other.node.kill();
    leader.wait_connection("WFConnection")?;
    // No application sees an error, and the node that comes back does so while writes go on.
    writer.acknowledged(record, 20)?;
    let before = [leader.resyncs()?.len(), other.resyncs()?.len()];
    other.node.boot()?;
    other.up()?;
    leader.wait("in sync", Volume::in_sync)?;
    writer.acknowledged(record, 20)?;
    writer.stop(record)?;
    pair.one_truth()?;
    bounded(&[*leader, *other], before)?;
    for end in pair.ends() {
        check_lower_disk(record, end.node, 0)?;
    }
    Ok(())
}

fn primary_dies(
    pair: &Pair,
    leader: &End,
    other: &End,
    generation: u64,
    record: &mut Record,
) -> Result<()> {
    let mut writer = loaded(leader, generation, record)?;
    leader.node.kill();
    writer.drain(record);
    other.promote()?;
    let device = other.node.read_file(&other.device())?;
    record.check(|place| {
        let begin = usize::try_from(place)? * BLOCK;
        let block = device.get(begin..begin + BLOCK);
        block.map(<[u8]>::to_vec).context("beyond the device")
    })?;
    // The survivor overwrites what the dead node has.
    let mut writer = loaded(other, generation + 100, record)?;
    let before = [leader.resyncs()?.len(), other.resyncs()?.len()];
    leader.node.boot()?;
    leader.up()?;
    other.wait("in sync", Volume::in_sync)?;
    writer.acknowledged(record, 20)?;
    writer.stop(record)?;
    pair.one_truth()?;
    bounded(&[*leader, *other], before)?;
    for end in pair.ends() {
        check_lower_disk(record, end.node, 0)?;
    }
    Ok(())
}

/// Both write alone; both see it, part, and stay parted until one of them is told to discard its data.
fn split_brain(ground: Ground, rdb_first: bool) -> Result<()> {
    let pair = Pair::start("split_brain", ground, rdb_first)?;
    pair.rdb().admin("primary --force")?;
    pair.one_truth()?;
    for (round, (winner, loser)) in (1..).zip(pair.either_way()) {
        let what = || format!("{} discards its data", loser.module.name());
        one_split_brain(&pair, &winner, &loser, round).with_context(what)?;
    }
    pair.finish()
}

fn one_split_brain(pair: &Pair, winner: &End, loser: &End, round: usize) -> Result<()> {
    pair.bed.link.cut();
    for end in pair.ends() {
        end.wait_connection("WFConnection")?;
        end.promote()?;
    }
    // Partly the same blocks.
    winner.scribble(1000, 300)?;
    loser.scribble(1200, 400)?;
    let kept = winner.node.disks()[0].read(1000 * 4096, 300 * 4096)?;
    pair.bed.link.restore();
    for end in pair.ends() {
        let text = match end.module {
            Module::Rdb => "r0/0: split brain detected",
            Module::Drbd => "Split-Brain detected but unresolved",
        };
        end.wait("aware of the split brain", |_| {
            let log = end.node.console().unwrap_or_default();
            log.lines().filter(|line| line.contains(text)).count() >= round
        })?;
        let parted = end.wait_connection("StandAlone")?;
        ensure!(
            parted.disks.0 == "UpToDate" && parted.roles.0 == "Primary",
            "{parted:?}"
        );
    }
    loser.admin("secondary")?;
    loser.admin("connect --discard-my-data")?;
    winner.admin("connect")?;
    pair.one_truth()?;
    copied(pair, 600)?;
    ensure!(
        winner.node.disks()[0].read(1000 * 4096, 300 * 4096)? == kept,
        "the winner's data are gone"
    );
    let roles = loser.volume()?.roles;
    ensure!(roles == ("Secondary".into(), "Primary".into()), "{roles:?}");
    winner.admin("secondary")?;
    Ok(())
}

macro_rules! interop_tests {
    ($($name:ident),+ $(,)?) => {
        interop_tests!(@ground uml Uml $($name)+);
        interop_tests!(@ground qemu Qemu $($name)+);
    };
    (@ground $module:ident $ground:ident $($name:ident)+) => {
        mod $module {
            mod rdb_first {
                $(#[test] fn $name() -> anyhow::Result<()> { crate::$name(rdb_testbed::Ground::$ground, true) })+
            }
            mod drbd_first {
                $(#[test] fn $name() -> anyhow::Result<()> { crate::$name(rdb_testbed::Ground::$ground, false) })+
            }
        }
    };
}

interop_tests!(replicate, both_crash, one_crashes, split_brain);
