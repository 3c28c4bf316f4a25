//! Metadata on disk as the real `drbdmeta` sees it, and its metadata as rdb sees them. `drbdmeta` and `drbd.ko` are black
//! boxes of Debian.

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, End, Ground, Module, Node, Testbed, Writer, rdb::Volume, stamp::Record, vm_tests,
};

vm_tests!(fresh_metadata, used_metadata, rdb_crashed, drbd_crashed);

/// What a dump says.
#[derive(PartialEq, Eq)]
struct Dump {
    /// All but the bitmap, the flags, and the comments that name date, host and command. `drbdmeta` 9.22 prints the flags
    /// of this format as 0 always; [`Dump::by_both`] compares them otherwise.
    text: String,
    /// Words of the bitmap, runs written out.
    bitmap: Vec<u64>,
}

impl Dump {
    fn parse(dump: &str) -> Result<Self> {
        let (head, rest) = dump.split_once("bm {").context("no bitmap")?;
        let (words, tail) = rest.split_once('}').context("no end of the bitmap")?;
        let named = ["# DRBD meta", "# 20", "flags "];
        let told =
            |line: &&str| !named.iter().any(|name| line.starts_with(name)) && !line.contains("> ");
        let text: Vec<&str> = head
            .lines()
            .chain(tail.lines())
            .map(str::trim)
            .filter(told)
            .collect();
        let mut bitmap = Vec::new();
        let plain = words
            .lines()
            .filter(|line| !line.trim().starts_with('#'))
            .collect::<String>();
        for item in plain
            .split(';')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (times, word) = item.split_once(" times ").unwrap_or(("1", item));
            let word = word
                .trim()
                .strip_prefix("0x")
                .with_context(|| format!("odd item {item}"))?;
            let word = u64::from_str_radix(word, 16)?;
            bitmap.extend(std::iter::repeat_n(word, times.trim().parse()?));
        }
        let found = Self {
            text: text.join("\n"),
            bitmap,
        };
        ensure!(
            found
                .text
                .contains(&format!("# bits-set {};", found.bits())),
            "{} bits are listed in: {dump}",
            found.bits()
        );
        Ok(found)
    }

    /// Without what is behind the last block of the device: `drbdmeta` marks active extents there, too, which means nothing.
    fn on_the_device(mut self) -> Result<Self> {
        let size = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix("la-size-sect "));
        let size = size
            .context("no size")?
            .trim_end_matches(';')
            .parse::<usize>()?;
        let blocks = size / 8;
        for (place, word) in self.bitmap.iter_mut().enumerate() {
            let inside = blocks.saturating_sub(place * 64);
            if inside < 64 {
                *word &= (1 << inside) - 1;
            }
        }
        self.text = self
            .text
            .lines()
            .filter(|line| !line.starts_with("# bits-set"))
            .collect::<Vec<_>>()
            .join("\n");
        Ok(self)
    }

    fn bits(&self) -> u64 {
        self.bitmap
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    fn differences(&self, other: &Self) -> Vec<String> {
        let lines = self
            .text
            .lines()
            .zip(other.text.lines())
            .filter(|(one, two)| one != two);
        let lines = lines.map(|(one, two)| format!("{one:?} and {two:?}"));
        let words = self
            .bitmap
            .iter()
            .zip(&other.bitmap)
            .enumerate()
            .filter(|(_, (one, two))| one != two);
        let words =
            words.map(|(place, (one, two))| format!("bitmap word {place}: {one:#x} and {two:#x}"));
        let sizes = [
            (self.text.lines().count(), other.text.lines().count()),
            (self.bitmap.len(), other.bitmap.len()),
        ];
        lines
            .chain(words)
            .chain(sizes.map(|sizes| format!("{sizes:?}")))
            .take(20)
            .collect()
    }

    fn same(&self, what: &str, other: &Self) -> Result<()> {
        ensure!(self == other, "{what}: {:#?}", self.differences(other));
        Ok(())
    }

    fn by_drbdmeta(node: &Node, disk: &str) -> Result<Self> {
        let text = node.run(&format!("drbdmeta 0 v08 /dev/{disk} internal dump-md"))?;
        Self::parse(&text).with_context(|| format!("drbdmeta dump-md of {disk}"))
    }

    fn by_rdbadm(node: &Node, disk: &str) -> Result<Self> {
        Self::parse(&rdbadm(node, disk, "dump-md")?)
            .with_context(|| format!("rdbadm dump-md of {disk}"))
    }

    /// The same from both tools.
    fn by_both(node: &Node, disk: &str) -> Result<Self> {
        let (theirs, ours) = (Self::by_drbdmeta(node, disk)?, Self::by_rdbadm(node, disk)?);
        theirs.same(&format!("{disk} read by drbdmeta and by rdbadm"), &ours)?;
        let theirs = node.run(&format!("drbdmeta 0 v08 /dev/{disk} internal get-gi"))?;
        let flags = rdbadm(node, disk, "get-gi")?;
        ensure!(
            theirs == flags,
            "{disk}: generation by drbdmeta {theirs}, by rdbadm {flags}"
        );
        Ok(ours)
    }
}

/// Runs a metadata command of rdbadm on any of the node's disks.
fn rdbadm(node: &Node, disk: &str, command: &str) -> Result<String> {
    let configuration = Module::Rdb
        .configuration("")
        .replace("/dev/sdb", &format!("/dev/{disk}"));
    node.write_file("/tmp/other.conf", configuration)?;
    node.run(&format!("rdbadm -c /tmp/other.conf {command} r0"))
}

/// Either tool makes metadata, and both read them alike.
fn fresh_metadata(ground: Ground) -> Result<()> {
    let disks = [DiskSpec::mib(64), DiskSpec::mib(300)];
    let bed = Testbed::builder("fresh_metadata", ground)
        .disks(&disks)
        .boot()?;
    for disk in ["sdb", "sdc"] {
        for make in [true, false] {
            if make {
                rdbadm(&bed.a, disk, "create-md --force")?;
            } else {
                bed.a.run(&format!(
                    "drbdmeta --force 0 v08 /dev/{disk} internal create-md"
                ))?;
            }
            let dump = Dump::by_both(&bed.a, disk)?;
            ensure!(
                dump.text.contains("0x0000000000000004"),
                "not just created: {}",
                dump.text
            );
        }
    }
    bed.finish()
}

/// Two nodes of one module, in sync without a copy since nothing but zeros is there; then the first is alone as Primary.
fn alone(name: &str, ground: Ground, module: Module) -> Result<Testbed> {
    let bed = Testbed::builder(name, ground)
        .disks(&[DiskSpec::mib(320); 3])
        .boot()?;
    let ends = bed.nodes().map(|node| End { node, module });
    for end in ends {
        end.configure("al-extents 67;")?;
        end.create_metadata()?;
        end.up()?;
    }
    ends[1].wait_connection("Connected")?;
    ends[0].admin("new-current-uuid --clear-bitmap")?;
    ends[0].wait("in sync", Volume::in_sync)?;
    ends[0].admin("primary")?;
    bed.link.cut();
    ends[0].wait_connection("WFConnection")?;
    Ok(bed)
}

/// What a running rdb wrote, once it has let go of the disk in order.
fn used_metadata(ground: Ground) -> Result<()> {
    let bed = alone("used_metadata", ground, Module::Rdb)?;
    let end = End {
        node: &bed.a,
        module: Module::Rdb,
    };
    end.scribble(10, 3)?;
    end.scribble(40_000, 700)?;
    end.scribble(65_000, 1)?;
    end.admin("down")?;
    // What a kernel has used is replayed before it is dumped, though nothing is to replay after an orderly end.
    bed.a.run("drbdmeta 0 v08 /dev/sdb internal apply-al")?;
    let dump = Dump::by_both(&bed.a, "sdb")?;
    ensure!(
        dump.bits() == 704,
        "704 blocks written alone, {} bits set",
        dump.bits()
    );
    bed.finish()
}

/// After a crash of a Primary three replays of the log give the same bitmap: by `drbdmeta`, by `rdbadm`, and by rdb at attach.
fn crashed(name: &str, ground: Ground, module: Module) -> Result<()> {
    let bed = alone(name, ground, module)?;
    let (node, mut record) = (&bed.a, Record::default());
    let device = format!("/dev/{}0", module.name());
    // Over the whole device, which has more extents than the log: it changes all the time.
    let mut writer = Writer::start(node, &device, 1, "--longest 2")?;
    writer.acknowledged(&mut record, 500)?;
    node.kill();
    writer.drain(&mut record);
    node.boot()?;
    node.run(
        "for disk in sdc sdd; do dd if=/dev/sdb of=/dev/$disk bs=1M conv=fsync status=none; done",
    )?;

    // Both refuse to dump what is not replayed, unless they are forced.
    node.run_fails("drbdmeta 0 v08 /dev/sdb internal dump-md")?;
    ensure!(
        rdbadm(node, "sdb", "dump-md").is_err(),
        "rdbadm dumped a log that was not replayed"
    );

    node.run("drbdmeta 0 v08 /dev/sdc internal apply-al")?;
    let theirs = Dump::by_both(node, "sdc")?;
    rdbadm(node, "sdd", "apply-al")?;
    let ours = Dump::by_both(node, "sdd")?;
    let (theirs, ours) = (theirs.on_the_device()?, ours.on_the_device()?);
    theirs.same("after apply-al of drbdmeta and of rdbadm", &ours)?;
    let end = End {
        node,
        module: Module::Rdb,
    };
    end.configure("al-extents 67;")?;
    end.up()?;
    end.admin("down")?;
    node.run("drbdmeta 0 v08 /dev/sdb internal apply-al")?;
    let attached = Dump::by_both(node, "sdb")?.on_the_device()?;
    ensure!(
        attached.bitmap == theirs.bitmap,
        "after apply-al of drbdmeta, and an attach of rdb: {:#?}",
        theirs.differences(&attached)
    );
    // Extents of 4 MiB, whole ones for those in the log: enough of them, and not all.
    let written = record.places().count() as u64;
    let whole = 320 * 256;
    println!(
        "{written} blocks written, {} of {whole} bits set",
        ours.bits()
    );
    ensure!(
        ours.bits() > written && ours.bits() < whole,
        "{written} blocks written, {} bits set",
        ours.bits()
    );
    bed.finish()
}

fn rdb_crashed(ground: Ground) -> Result<()> {
    crashed("metadata_rdb_crashed", ground, Module::Rdb)
}

fn drbd_crashed(ground: Ground) -> Result<()> {
    crashed("metadata_drbd_crashed", ground, Module::Drbd)
}
