//! What the debug kernel is for: memory that is forgotten, and memory that is not to be had.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, Ground, Node, Testbed,
    rdb::{self, SETTLE, Volume},
};

// Only this kernel can do it.
mod debug {
    use rdb_testbed::Ground;

    #[test]
    fn nothing_is_forgotten() -> anyhow::Result<()> {
        super::nothing_is_forgotten(Ground::Debug)
    }

    #[test]
    fn commands_without_memory() -> anyhow::Result<()> {
        super::commands_without_memory(Ground::Debug)
    }

    #[test]
    fn threads_without_memory() -> anyhow::Result<()> {
        super::threads_without_memory(Ground::Debug)
    }
}

/// A whole life with its accidents: the testbed's end finds what was allocated in it and is still there.
fn nothing_is_forgotten(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("nothing_is_forgotten", ground)
        .find_leaks()
        .disks(&[DiskSpec::mib(8), DiskSpec::mib(8)])
        .boot()?;
    rdb::start(&bed)?;
    bed.a
        .run("dd if=/dev/urandom of=/dev/rdb0 bs=64k count=32 oflag=direct status=none")?;
    bed.link.cut();
    rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.connection == "WFConnection")?;
    bed.a
        .run("dd if=/dev/urandom of=/dev/rdb1 bs=4k count=64 oflag=direct status=none")?;
    bed.link.restore();
    rdb::wait_volume(&bed.a, 1, SETTLE, Volume::in_sync)?;
    bed.a.run("rdbadm status all && rdbadm show-gi r0")?;
    bed.both(|node| {
        node.run("rdbadm disconnect r0 && rdbadm connect r0")
            .map(drop)
    })?;
    rdb::wait_volume(&bed.a, 0, SETTLE, Volume::in_sync)?;
    bed.a.run("rdbadm secondary r0 && rdbadm detach r0/0")?;
    bed.b
        .run_fails("rdbadm new-resource no/such/name; rdbadm attach r0")?;
    bed.a.run("rdbadm attach r0/0")?;
    rdb::wait_volume(&bed.a, 0, SETTLE, Volume::in_sync)?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}

/// Name, preparation, command, way back, and "all" if the command must succeed each time.
type Command = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// With a resource that was not made yet.
const FIRST: &[Command] = &[
    (
        "attach",
        "rdbadm new-resource r0; rdbadm new-minor r0",
        "rdbadm attach r0",
        "rdbadm detach r0",
        "",
    ),
    (
        "connect",
        "rdbadm attach r0 || true",
        "rdbadm connect r0",
        "rdbadm disconnect r0",
        "",
    ),
];

/// With a Primary in sync. Requests never fail for want of memory: there are reserves.
const PRIMARY: &[Command] = &[
    (
        "write",
        "true",
        "dd if=/dev/zero of=/dev/rdb0 bs=1M count=4 oflag=direct status=none",
        "true",
        "all",
    ),
    (
        "read",
        "true",
        "dd if=/dev/rdb0 of=/dev/null bs=1M count=4 iflag=direct status=none",
        "true",
        "all",
    ),
];

/// With a Secondary in sync.
const SECONDARY: &[Command] = &[
    ("proc", "true", "cat /proc/rdb", "true", "all"),
    ("status", "true", "rdbadm status r0", "true", ""),
    (
        "primary",
        "true",
        "rdbadm primary r0",
        "rdbadm secondary r0",
        "",
    ),
    ("net-options", "true", "rdbadm net-options r0", "true", ""),
    ("disk-options", "true", "rdbadm disk-options r0", "true", ""),
    (
        "disconnect",
        "rdbadm adjust r0",
        "rdbadm disconnect r0",
        "true",
        "",
    ),
    ("detach", "rdbadm adjust r0", "rdbadm detach r0", "true", ""),
    (
        "down",
        "rdbadm down r0 && rdbadm up r0",
        "rdbadm down r0",
        "true",
        "",
    ),
    (
        "new-resource",
        "true",
        "rdbadm new-resource r0",
        "rdbadm down r0",
        "",
    ),
    (
        "new-minor",
        "rdbadm new-resource r0",
        "rdbadm new-minor r0",
        "rdbadm down r0",
        "",
    ),
];

/// Commands fail cleanly wherever memory ends, and can be repeated when there is some again.
fn commands_without_memory(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("commands_without_memory", ground)
        .disks(&[DiskSpec::mib(8)])
        .boot()?;
    // What is wanted is in the messages of the commands; vmalloc says it on the console, too, with a trace.
    bed.a.allow_on_console("Call Trace:|vmalloc error: ")?;
    bed.both(|node| node.write_file("/etc/rdb.conf", rdb::configuration(1)))?;
    bed.b
        .run("modprobe rdb && rdbadm create-md --force r0 && rdbadm up r0")?;
    bed.a.run("modprobe rdb && rdbadm create-md --force r0")?;
    bed.a
        .write_file("/root/fail-nth", include_str!("../guest/fail-nth"))?;
    for command in FIRST {
        fail_nth(&bed.a, command)?;
    }
    bed.a.run("rdbadm adjust r0")?;
    rdb::first_sync(&bed, 1)?;
    for command in PRIMARY {
        fail_nth(&bed.a, command)?;
    }
    rdb::assert_one_truth(&bed)?;
    bed.a.run("rdbadm secondary r0")?;
    for command in SECONDARY {
        fail_nth(&bed.a, command)?;
    }
    bed.a.run("rdbadm up r0")?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}

fn fail_nth(node: &Node, command: &Command) -> Result<()> {
    let (name, prepare, command, undo, all) = command;
    let line = format!("bash /root/fail-nth '{name}' '{prepare}' '{command}' '{undo}' {all}");
    let output = node.sh_within(&line, Duration::from_secs(900))?;
    print!("{}", output.out());
    ensure!(output.code == 0, "{}", output.all());
    node.check_console()
}

/// Lets a tenth of the module's allocations fail, whoever makes them; `off` ends that.
const SCARCE: &str = "
start=$(cat /sys/module/rdb/sections/.text)
end=$(printf 0x%x $((start + $(cat /sys/module/rdb/coresize))))
cd /sys/kernel/debug
echo N >fail_page_alloc/ignore-gfp-highmem
echo 0 >fail_page_alloc/min-order
for f in failslab fail_page_alloc; do
	echo N >$f/ignore-gfp-wait
	echo 0 >$f/verbose
	echo $start >$f/require-start
	echo $end >$f/require-end
	echo -1 >$f/times
	echo 10 >$f/probability
done";

const ENOUGH: &str =
    "for f in failslab fail_page_alloc; do echo 0 >/sys/kernel/debug/$f/probability; done";

/// With every tenth allocation of both modules failing, in all their threads, writes are lost nowhere and links come
/// back; when there is memory again both nodes find to each other.
fn threads_without_memory(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("threads_without_memory", ground)
        .find_leaks()
        .disks(&[DiskSpec::mib(8)])
        .boot()?;
    bed.both(|node| node.allow_on_console("Call Trace:|vmalloc error: "))?;
    rdb::start(&bed)?;
    for round in 0..3 {
        bed.both(|node| node.run(SCARCE).map(drop))?;
        let write = format!(
            "dd if=/dev/urandom of=/dev/rdb0 bs=16k seek={} count=64 oflag=direct status=none",
            round * 64
        );
        bed.a.run(&write)?;
        bed.link.cut();
        rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.connection == "WFConnection")?;
        bed.a.run(&write)?;
        bed.link.restore();
        bed.both(|node| node.run(ENOUGH).map(drop))?;
        for node in bed.nodes() {
            rdb::wait_volume(node, 0, SETTLE, |v| v.connection == "Connected")
                .with_context(|| format!("round {round}"))?;
        }
        rdb::assert_one_truth(&bed).with_context(|| format!("round {round}"))?;
    }
    no_memory_at_all(&bed)?;
    bed.finish()
}

/// While no thread for a link can be made the node tries once a second, not as fast as it can.
fn no_memory_at_all(bed: &Testbed) -> Result<()> {
    let node = &bed.a;
    let attempts = || -> Result<usize> {
        let log = node.console()?;
        Ok(log.matches("cannot start to connect").count())
    };
    node.run(&SCARCE.replace("echo 10 ", "echo 100 "))?;
    bed.link.cut();
    rdb::wait_volume(node, 0, SETTLE, |v| v.connection != "Connected")?;
    let before = attempts()?;
    std::thread::sleep(Duration::from_secs(10));
    let more = attempts()? - before;
    node.run(ENOUGH)?;
    bed.link.restore();
    ensure!(more <= 20, "{more} attempts to connect in ten seconds");
    rdb::assert_one_truth(bed).context("after a time without any memory")
}
