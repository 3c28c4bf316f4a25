//! Plays the how-to on two emulated machines: `make demo`.
//!
//! Two servers mirror a disk; heartbeat mounts it on the main server; the main server dies without warning; the
//! standby takes over; the dead server returns and gets its role back. After each change of sides every file is
//! compared by checksum with a list that was made before. Exit code 0 only if every comparison held.

mod stage;

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rdb_testbed::{DiskSpec, Ground, Node, Testbed, cache, rdb};
use stage::{LIMIT, Stage};

/// Plays the how-to: replicate, kill the primary, take over, return.
#[derive(Parser)]
struct Arguments {
    /// What the machines stand on
    #[arg(long, value_enum, default_value = "qemu")]
    ground: Ground,
    /// Size of each mirrored disk in MiB
    #[arg(long, default_value_t = 128)]
    disk: u64,
}

/// The resource file of the how-to, with rdb's device name.
const RESOURCE: &str = "\
global {
  usage-count no;
}

common {
  protocol C;
}

resource r0 {
  on hauptserver {
    device    /dev/rdb0;
    disk      /dev/sdb;
    address   192.168.1.11:7789;
    meta-disk internal;
  }
  on ausfallserver {
    device    /dev/rdb0;
    disk      /dev/sdb;
    address   192.168.1.12:7789;
    meta-disk internal;
  }
}
";

const HARESOURCES: &str = "hauptserver drbddisk::r0 Filesystem::/dev/rdb0::/data::ext3\n";
const AUTHKEYS: &str = "auth 1\n1 crc\n";

/// ha.cf differs between the nodes in the address of the other one.
fn ha_cf(peer: &Node) -> String {
    format!(
        "logfacility     local0\nucast eth1 {}\nauto_failback on\nnode    hauptserver\nnode    ausfallserver\n",
        peer.address()
    )
}

/// What the summary says.
#[derive(Default)]
struct Tally {
    compared: usize,
    differing: usize,
    outage: Duration,
    resynced_kib: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stage = Stage::new();
    let mut tally = Tally::default();
    let result = play(&arguments, &stage, &mut tally);
    stage.chapter("Summary");
    stage.says(&format!(
        "outage (main server killed until /data is readable again): {:.1} s",
        tally.outage.as_secs_f64()
    ));
    stage.says(&format!(
        "resynced to the returned server: {} bytes",
        tally.resynced_kib * 1024
    ));
    stage.says(&format!(
        "files compared: {}, differing: {}",
        tally.compared, tally.differing
    ));
    match result {
        Ok(()) if tally.compared > 0 && tally.differing == 0 => {
            stage.good("every comparison held");
            ExitCode::SUCCESS
        }
        Ok(()) => {
            stage.bad("files differ");
            ExitCode::FAILURE
        }
        Err(error) => {
            stage.bad(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments, stage: &Stage, tally: &mut Tally) -> Result<()> {
    stage.chapter("Two servers are switched on");
    let bed = Testbed::builder("demo", arguments.ground)
        .disks(&[DiskSpec::mib(arguments.disk)])
        .boot()?;
    let (main, standby) = (&bed.a, &bed.b);
    stage.says(&format!(
        "{} and {} run kernel {}",
        main.name(),
        standby.name(),
        main.kernel().release
    ));
    stage.says(&format!("consoles: {}", bed.logs().display()));

    mirror(stage, main, standby)?;
    heartbeat(stage, main, standby)?;
    let files = fill(stage, main)?;

    stage.chapter("The main server dies");
    bed.a.kill();
    let died = Instant::now();
    stage.says("hauptserver was killed without warning");
    standby
        .wait_until("mountpoint -q /data", |output| output.code == 0, LIMIT)
        .context("no takeover")?;
    standby.run("ls /data >/dev/null")?;
    tally.outage = died.elapsed();
    stage.good(&format!(
        "ausfallserver has /data after {:.1} s",
        tally.outage.as_secs_f64()
    ));
    show_state(stage, standby)?;
    compare(stage, standby, &files, tally)?;
    let later = write_more(stage, standby)?;

    stage.chapter("The dead server returns");
    main.boot()?;
    stage.types(main, "modprobe rdb")?;
    stage.types(main, "rdbadm up r0")?;
    wait_sync(stage, main)?;
    tally.resynced_kib = resynced(standby)?;
    stage.types(main, "cat /proc/rdb")?;
    stage.types(main, "rdb-heartbeat start")?;
    stage.says("auto_failback is on: the resources go back to their preferred server");
    main.wait_until("mountpoint -q /data", |output| output.code == 0, LIMIT)
        .context("no failback")?;
    show_state(stage, main)?;
    let all: Vec<String> = files.into_iter().chain(later).collect();
    compare(stage, main, &all, tally)?;

    stage.chapter("Everything is stopped, and the lower disks are compared");
    stage.types(standby, "rdb-heartbeat stop")?;
    stage.types(main, "rdb-heartbeat stop")?;
    rdb::assert_one_truth(&bed)?;
    stage.good("both lower disks are identical, byte for byte");
    for node in [main, standby] {
        stage.types(node, "rdbadm down r0 && rmmod rdb")?;
    }
    bed.finish()?;
    stage.good("no kernel complained");
    Ok(())
}

fn mirror(stage: &Stage, main: &Node, standby: &Node) -> Result<()> {
    stage.chapter("The mirrored disk");
    for node in [main, standby] {
        stage.types(node, "modprobe rdb")?;
    }
    stage.edits(main, "/etc/rdb.conf", RESOURCE)?;
    standby.write_file("/etc/rdb.conf", RESOURCE)?;
    stage.says("(the same file on ausfallserver)");
    for node in [main, standby] {
        stage.types(node, "rdbadm create-md r0")?;
        stage.types(node, "rdbadm up r0")?;
    }
    rdb::wait_volume(main, 0, LIMIT, |v| v.connection == "Connected")
        .context("the servers do not connect")?;
    stage.types(main, "cat /proc/rdb")?;
    stage.types(main, "rdbadm -- --overwrite-data-of-peer primary r0")?;
    wait_sync(stage, main)?;
    stage.types(main, "cat /proc/rdb")?;
    stage.types(main, "mkfs.ext3 -q /dev/rdb0")?;
    stage.says("the standby must not read what changes under it:");
    stage.is_refused(standby, "dd if=/dev/rdb0 of=/dev/null count=1")?;
    stage.types(main, "rdbadm secondary r0")?;
    Ok(())
}

/// Waits for the end of a sync. The mirror must say so itself, on both sides.
fn wait_sync(stage: &Stage, node: &Node) -> Result<()> {
    let mut last = String::new();
    if stage.is_terminal() {
        stage.types_and_watches(node, "rdbadm wait-sync r0")?;
    } else {
        while !rdb::volume(node, 0)?.in_sync() {
            let text = node.run("grep sync.ed /proc/rdb || true")?;
            if text != last && !text.is_empty() {
                stage.says(text.trim());
            }
            last = text;
            std::thread::sleep(Duration::from_secs(2));
        }
        stage.types(node, "rdbadm wait-sync r0")?;
    }
    rdb::wait_volume(node, 0, LIMIT, rdb::Volume::in_sync)?;
    Ok(())
}

fn heartbeat(stage: &Stage, main: &Node, standby: &Node) -> Result<()> {
    stage.chapter("Heartbeat");
    for (node, peer) in [(main, standby), (standby, main)] {
        node.run("mkdir -p /etc/ha.d")?;
        let text = ha_cf(peer);
        stage.edits(node, "/etc/ha.d/ha.cf", &text)?;
        for (name, text) in [("haresources", HARESOURCES), ("authkeys", AUTHKEYS)] {
            if node.name() == main.name() {
                stage.edits(node, &format!("/etc/ha.d/{name}"), text)?;
            } else {
                node.write_file(&format!("/etc/ha.d/{name}"), text)?;
            }
        }
        stage.types(node, "chmod 600 /etc/ha.d/authkeys")?;
    }
    stage.says("(haresources and authkeys are the same on ausfallserver)");
    for node in [main, standby] {
        stage.types(node, "rdb-heartbeat start")?;
    }
    main.wait_until("mountpoint -q /data", |output| output.code == 0, LIMIT)
        .context("heartbeat does not mount /data")?;
    show_state(stage, main)
}

fn show_state(stage: &Stage, node: &Node) -> Result<()> {
    stage.types(node, "rdb-heartbeat status")?;
    stage.types(node, "df -h /data")?;
    stage.types(node, "cat /proc/rdb").map(drop)
}

/// Copies a source tree to the mirrored disk; checksums of its files, made from the originals.
fn fill(stage: &Stage, main: &Node) -> Result<Vec<String>> {
    stage.chapter("Real files");
    let archive = Command::new("tar")
        .args([
            "-C",
            &cache::checkout().to_string_lossy(),
            "-cf",
            "-",
            "src",
            "rust",
            "tools",
            "Documentation",
            "scripts",
        ])
        .output()
        .context("tar")?;
    ensure!(
        archive.status.success(),
        "tar: {}",
        String::from_utf8_lossy(&archive.stderr)
    );
    main.write_file("/root/source.tar", archive.stdout)?;
    main.run("mkdir -p /root/VMs && tar -C /root/VMs -xf /root/source.tar && cp -a /usr/sbin /etc /root/VMs/")?;
    stage.types(main, "cp -a /root/VMs /data/ && sync")?;
    // From the originals, not from the mirrored disk.
    let list = main.run("cd /root && find VMs -type f -print0 | sort -z | xargs -0 sha256sum")?;
    let files: Vec<String> = list.lines().map(str::to_owned).collect();
    stage.says(&format!(
        "{} files, {}",
        files.len(),
        main.run("du -sh /data/VMs | cut -f1")?
    ));
    Ok(files)
}

fn write_more(stage: &Stage, standby: &Node) -> Result<Vec<String>> {
    stage.types(standby, "cp -a /usr/bin /data/more && sync")?;
    let list = standby
        .run("cd /usr/bin && find . -type f -printf '%P\\0' | sort -z | xargs -0 sha256sum")?;
    let rename = |line: &str| {
        line.split_once("  ")
            .map(|(sum, name)| format!("{sum}  more/{name}"))
    };
    Ok(list.lines().filter_map(rename).collect())
}

/// Compares what is below /data with the list.
fn compare(stage: &Stage, node: &Node, wanted: &[String], tally: &mut Tally) -> Result<()> {
    let folders = if wanted.iter().any(|line| line.contains("  more/")) {
        "VMs more"
    } else {
        "VMs"
    };
    let command =
        format!("cd /data && find {folders} -type f -print0 | sort -z | xargs -0 sha256sum");
    let found = node.run(&command)?;
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|line| found.binary_search(&line.as_str()).is_err())
        .collect();
    let extra = found.len().saturating_sub(wanted.len() - missing.len());
    tally.compared += wanted.len();
    tally.differing += missing.len().max(extra);
    for line in missing.iter().take(10) {
        stage.bad(&format!("{}: {line}", node.name()));
    }
    ensure!(
        missing.is_empty() && extra == 0,
        "{} files differ or are missing, {extra} are not in the list",
        missing.len()
    );
    stage.good(&format!(
        "{} files compared by checksum on {}",
        wanted.len(),
        node.name()
    ));
    Ok(())
}

/// KiB of the last resync, from the source's kernel log.
fn resynced(source: &Node) -> Result<u64> {
    let console = source.console()?;
    let line = console
        .lines()
        .rev()
        .find(|line| line.contains("resync done: "))
        .context("no resync in the log")?;
    let number = line
        .split("resync done: ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|n| n.parse().ok())
        .with_context(|| format!("cannot read `{line}`"))
}
