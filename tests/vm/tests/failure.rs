//! What fails, and what rdb does about it: lower disks, peers, and the programs of the administrator.
//!
//! The lower disk of the first node is a device-mapper device, which can be made to fail (`error`) or to answer no more
//! (`suspend`) while rdb uses it.

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, Ground, Node, Testbed,
    rdb::{self, SETTLE, Volume},
    vm_tests,
};

vm_tests!(
    detach_and_attach_under_load,
    disk_errors_under_load,
    disk_that_does_not_answer,
    suspended_by_the_administrator,
    frozen_without_data,
    fencing_handler,
    promotion_with_fencing,
    port_taken_for_a_while,
);

/// A handler that records its call and ends with the code in /run/code, when there is one; until then it hangs.
const HANDLER: &str = "#!/bin/sh\n\
    echo \"$1 $DRBD_RESOURCE $DRBD_MINOR $DRBD_PEER_ADDRESS\" >>/run/calls\n\
    while [ ! -e /run/code ]; do sleep 0.2; done\n\
    exit \"$(cat /run/code)\"\n";

/// One volume; `disk` and `more` go into the sections `disk` and resource.
fn configuration(disk: &str, more: &str) -> String {
    let mut text = format!(
        "global {{ usage-count no; }}\n\
         resource r0 {{\n  \
         net {{ protocol C; ping-int 2; ping-timeout 30; connect-int 1; timeout 60; socket-check-timeout 3; }}\n  \
         disk {{ resync-rate 200M; c-max-rate 200M; c-plan-ahead 0; {disk} }}\n  {more}\n  \
         volume 0 {{ device /dev/rdb0 minor 0; disk /dev/mapper/lower; meta-disk internal; }}\n"
    );
    for (name, address) in rdb_testbed::NODES {
        text.push_str(&format!("  on {name} {{ address {address}:7789; }}\n"));
    }
    text.push_str("}\n");
    text
}

/// The lower disks, the handler, and the resource with all data on both nodes; the first is primary.
fn boot(name: &str, ground: Ground, disk: &str, more: &str) -> Result<Testbed> {
    let bed = Testbed::builder(name, ground)
        .disks(&[DiskSpec::mib(32)])
        .boot()?;
    bed.both(|node| {
        node.run(
            "modprobe dm-mod 2>/dev/null; dmsetup create lower --table \"0 $(blockdev --getsz /dev/sdb) linear /dev/sdb 0\" && \
             dmsetup mknodes && mkdir -p /usr/sbin && ln -sf \"$(command -v rdbadm)\" /run/rdbadm",
        )?;
        node.write_file("/run/handler", HANDLER)?;
        node.run("chmod +x /run/handler").map(drop)
    })?;
    bring_up(&bed, &configuration(disk, more))?;
    rdb::first_sync(&bed, 1)?;
    Ok(bed)
}

fn bring_up(bed: &Testbed, configuration: &str) -> Result<()> {
    bed.both(|node| {
        node.write_file("/etc/rdb.conf", configuration)?;
        node.run(
            "modprobe rdb usermode_helper=/run/rdbadm && rdbadm create-md --force r0 && rdbadm up r0",
        )
        .map(drop)
    })
}

/// Puts another table under the lower disk, without waiting for what is under way.
fn lower(node: &Node, target: &str) -> Result<()> {
    node.run(&format!(
        "dmsetup suspend --noflush --nolockfs lower && \
         dmsetup load lower --table \"0 $(blockdev --getsz /dev/sdb) {target}\" && dmsetup resume lower"
    ))
    .map(drop)
}

fn good(node: &Node) -> Result<()> {
    lower(node, "linear /dev/sdb 0")
}

/// A writer that goes on until it is told to stop, and ends with an error if one write fails.
const WRITER: &str = "fio --name=w --filename=/dev/rdb0 --direct=1 --ioengine=libaio --iodepth=8 --rw=randrw \
    --bs=4k --size=16m --time_based --runtime=600 --thinktime=2ms --verify=crc32c --verify_fatal=1 --verify_backlog=64 \
    --allow_file_create=0 --trigger-file=/run/stop --trigger='true' >/run/fio.log 2>&1; echo $? >/run/fio.code";

fn start_writer(node: &Node) -> Result<()> {
    node.run(&format!(
        "rm -f /run/stop /run/fio.code; (setsid sh -c \"{WRITER}\" >/dev/null 2>&1 </dev/null &) ; true"
    ))?;
    let before = rdb::volume(node, 0)?;
    rdb::wait_volume(node, 0, SETTLE, |v| v.sent != before.sent).map(drop)
}

fn stop_writer(node: &Node) -> Result<()> {
    node.run("pkill -INT -x fio; true")?;
    node.wait_until("cat /run/fio.code", |output| output.code == 0, SETTLE)?;
    let log = node.run("cat /run/fio.log")?;
    ensure!(
        !log.contains("err=") || log.contains("err= 0"),
        "the application saw an error:\n{log}"
    );
    Ok(())
}

fn disks(own: &'static str, peer: &'static str) -> impl Fn(&Volume) -> bool {
    move |v| v.disks == (own.to_owned(), peer.to_owned())
}

/// Attaches the disk of a node, and waits until both are in sync.
fn attach_again(bed: &Testbed, node: &Node) -> Result<()> {
    node.run("rdbadm attach r0")?;
    rdb::wait_volume(&bed.a, 0, SETTLE, Volume::in_sync)?;
    Ok(())
}

fn one_truth(bed: &Testbed) -> Result<()> {
    for node in bed.nodes() {
        rdb::wait_volume(node, 0, SETTLE, Volume::in_sync)?;
    }
    bed.assert_identical(0, rdb::device_bytes(&bed.a, 0)?)
}

/// The primary goes on through the peer without its disk, and gets it back, while it is being written to.
fn detach_and_attach_under_load(ground: Ground) -> Result<()> {
    let bed = boot("detach_and_attach", ground, "", "")?;
    start_writer(&bed.a)?;
    bed.a.run("rdbadm detach r0")?;
    rdb::wait_volume(&bed.a, 0, SETTLE, disks("Diskless", "UpToDate"))?;
    // The data of a Primary without disk are there, and nowhere else.
    bed.b.run_fails("rdbadm detach r0")?;
    let before = rdb::volume(&bed.a, 0)?;
    rdb::wait_volume(&bed.a, 0, SETTLE, |v| {
        v.sent > before.sent && v.received > before.received
    })?;
    attach_again(&bed, &bed.a)?;
    bed.a.run("rdbadm detach --force r0")?;
    rdb::wait_volume(&bed.a, 0, SETTLE, disks("Diskless", "UpToDate"))?;
    attach_again(&bed, &bed.a)?;
    stop_writer(&bed.a)?;
    one_truth(&bed)?;
    bed.finish()
}

/// The lower disk of the primary begins to fail while it is written to, with each policy: the application sees nothing.
fn disk_errors_under_load(ground: Ground) -> Result<()> {
    let handlers = "handlers { local-io-error \"/run/handler local-io-error\"; }";
    let bed = boot("disk_errors", ground, "", handlers)?;
    bed.both(|node| node.allow_on_console("rdb: .*(failed|I/O error)"))?;
    bed.a.allow_on_console("(Buffer )?I/O error")?;
    for (policy, state) in [
        ("detach", "Diskless"),
        ("call-local-io-error", "Diskless"),
        ("pass_on", "Inconsistent"),
    ] {
        one_policy(&bed, policy, state).with_context(|| policy.to_owned())?;
    }
    bed.finish()
}

fn one_policy(bed: &Testbed, policy: &str, state: &'static str) -> Result<()> {
    bed.a.run(&format!(
        "rdbadm disk-options --on-io-error={policy} r0 && rm -f /run/code /run/calls"
    ))?;
    start_writer(&bed.a)?;
    lower(&bed.a, "error")?;
    if policy == "call-local-io-error" {
        bed.a
            .wait_until("cat /run/calls", |output| output.code == 0, SETTLE)?;
        let now = rdb::volume(&bed.a, 0)?;
        ensure!(now.disks.0 == "Failed", "while the helper runs: {now:?}");
        // The peer is told afterwards.
        let peer = rdb::volume(&bed.b, 0)?;
        ensure!(
            peer.disks.1 == "UpToDate",
            "while the helper runs: {peer:?}"
        );
        bed.a.run("echo 0 >/run/code")?;
    }
    if state == "Inconsistent" {
        // The disk stays. With its metadata failing as well it goes after all: the superblock says that it is not consistent.
        rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.disks.0 != "UpToDate")?;
    } else {
        rdb::wait_volume(&bed.a, 0, SETTLE, disks(state, "UpToDate"))?;
    }
    rdb::wait_volume(&bed.b, 0, SETTLE, |v| v.disks.1 != "UpToDate")?;
    stop_writer(&bed.a)?;
    good(&bed.a)?;
    bed.a.run("rdbadm detach --force r0; true")?;
    rdb::wait_volume(&bed.a, 0, SETTLE, disks("Diskless", "UpToDate"))?;
    bed.a.run("rdbadm attach r0")?;
    one_truth(bed)
}

/// A lower disk that answers no more is given up after disk-timeout; its late answers do no harm.
fn disk_that_does_not_answer(ground: Ground) -> Result<()> {
    let bed = boot("disk_timeout", ground, "disk-timeout 20;", "")?;
    start_writer(&bed.a)?;
    bed.a.run("dmsetup suspend --noflush --nolockfs lower")?;
    // It stays Failed as long as the device has requests.
    rdb::wait_volume(&bed.a, 0, SETTLE, disks("Failed", "UpToDate"))?;
    let before = rdb::volume(&bed.a, 0)?;
    rdb::wait_volume(&bed.a, 0, SETTLE, |v| {
        v.sent > before.sent && v.received > before.received
    })
    .context("the application does not go on through the peer")?;
    bed.a.run("dmsetup resume lower")?;
    rdb::wait_volume(&bed.a, 0, SETTLE, disks("Diskless", "UpToDate"))?;
    attach_again(&bed, &bed.a)?;
    stop_writer(&bed.a)?;
    one_truth(&bed)?;
    // On the secondary: the primary goes on alone.
    start_writer(&bed.a)?;
    bed.b.run("dmsetup suspend --noflush --nolockfs lower")?;
    rdb::wait_volume(&bed.b, 0, SETTLE, disks("Failed", "UpToDate"))?;
    let before = rdb::volume(&bed.a, 0)?;
    bed.a
        .run("dd if=/dev/urandom of=/dev/rdb0 bs=4k count=16 seek=5000 oflag=direct status=none")?;
    bed.b.run("dmsetup resume lower")?;
    rdb::wait_volume(&bed.b, 0, SETTLE, disks("Diskless", "UpToDate"))
        .with_context(|| format!("{before:?}"))?;
    attach_again(&bed, &bed.b)?;
    stop_writer(&bed.a)?;
    one_truth(&bed)?;
    bed.finish()
}

/// When suspend-io returns, nothing is under way: two looks at the lower disks are the same, and equal each other.
fn suspended_by_the_administrator(ground: Ground) -> Result<()> {
    let bed = boot("suspend_io", ground, "", "")?;
    start_writer(&bed.a)?;
    for round in 0..5 {
        bed.a.run("rdbadm suspend-io r0")?;
        let data = rdb::device_bytes(&bed.a, 0)? / 4096;
        let sum = format!("dd if=/dev/sdb bs=4k count={data} iflag=direct status=none | md5sum");
        let (first, peer, second) = (bed.a.run(&sum)?, bed.b.run(&sum)?, bed.a.run(&sum)?);
        ensure!(first == second, "round {round}: written to while suspended");
        ensure!(
            first == peer,
            "round {round}: the nodes differ while suspended"
        );
        let status = bed.a.run("rdbadm status r0")?;
        ensure!(status.contains("suspended:user"), "{status}");
        bed.a.run("rdbadm resume-io r0")?;
        let before = rdb::volume(&bed.a, 0)?;
        rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.sent != before.sent)?;
    }
    stop_writer(&bed.a)?;
    one_truth(&bed)?;
    bed.finish()
}

/// With on-no-data-accessible suspend-io a primary without data waits for them; nothing fails, and nothing is lost.
fn frozen_without_data(ground: Ground) -> Result<()> {
    let more = "options { on-no-data-accessible suspend-io; }";
    let bed = boot("frozen_without_data", ground, "", more)?;
    start_writer(&bed.a)?;
    bed.a.run("rdbadm detach r0")?;
    bed.link.cut();
    bed.a.wait_until(
        "rdbadm status r0",
        |output| output.out().contains("suspended:no-data"),
        SETTLE,
    )?;
    bed.link.restore();
    bed.a.wait_until(
        "rdbadm status r0",
        |output| !output.out().contains("suspended:no-data"),
        SETTLE,
    )?;
    let before = rdb::volume(&bed.a, 0)?;
    rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.sent != before.sent)?;
    attach_again(&bed, &bed.a)?;
    stop_writer(&bed.a)?;
    one_truth(&bed)?;
    // The administrator may give up: what waits fails.
    bed.a.run("rdbadm detach r0")?;
    bed.link.cut();
    bed.a.wait_until(
        "rdbadm status r0",
        |output| output.out().contains("suspended:no-data"),
        SETTLE,
    )?;
    let mut waiting = bed
        .a
        .spawn("dd if=/dev/zero of=/dev/rdb0 bs=4k count=1 oflag=direct")?;
    bed.a.run("rdbadm resume-io r0")?;
    ensure!(
        waiting.wait(SETTLE)?.code != 0,
        "a write without any data succeeded"
    );
    bed.a.allow_on_console("I/O error|EXT4-fs error")?;
    bed.finish()
}

/// resource-and-stonith: I/O is frozen until the handler has succeeded; a handler that hangs, fails, or comes too late.
fn fencing_handler(ground: Ground) -> Result<()> {
    let handlers = "handlers { fence-peer \"/run/handler fence-peer\"; }";
    let bed = boot("fencing", ground, "fencing resource-and-stonith;", handlers)?;
    let frozen = |wanted: bool| {
        bed.a
            .wait_until(
                "rdbadm status r0",
                |output| output.out().contains("suspended:fencing") == wanted,
                SETTLE,
            )
            .map(drop)
    };
    let refused = bed.a.run_fails("rdbadm net-options --protocol=A r0")?;
    ensure!(refused.contains("protocol B or C"), "{refused}");
    // It hangs; the link comes back before: I/O goes on, and its answer counts for nothing.
    start_writer(&bed.a)?;
    bed.link.cut();
    frozen(true)?;
    bed.a
        .wait_until("cat /run/calls", |output| output.code == 0, SETTLE)?;
    let call = bed.a.run("cat /run/calls")?;
    ensure!(
        call.contains("fence-peer r0 0 192.168.1.12"),
        "called with: {call}"
    );
    let before = rdb::volume(&bed.a, 0)?.sent;
    bed.link.restore();
    frozen(false)?;
    rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.in_sync() && v.sent != before)?;
    bed.a.run("echo 4 >/run/code")?;
    bed.a.wait_console("fence-peer exit code 4", SETTLE)?;
    let now = rdb::volume(&bed.a, 0)?;
    ensure!(now.disks.1 == "UpToDate", "a late answer counted: {now:?}");
    stop_writer(&bed.a)?;
    one_truth(&bed)?;
    // It fails: frozen until the administrator says so.
    bed.a.run("echo 1 >/run/code; rm /run/calls")?;
    bed.link.cut();
    bed.a.wait_console("fence-peer exit code 1", SETTLE)?;
    frozen(true)?;
    bed.a.run("rdbadm resume-io r0")?;
    frozen(false)?;
    bed.a
        .run("dd if=/dev/urandom of=/dev/rdb0 bs=4k count=4 oflag=direct status=none")?;
    bed.link.restore();
    one_truth(&bed)?;
    // It succeeds.
    bed.a.run("echo 4 >/run/code; rm /run/calls")?;
    bed.link.cut();
    rdb::wait_volume(&bed.a, 0, SETTLE, disks("UpToDate", "Outdated"))?;
    frozen(false)?;
    bed.a
        .run("dd if=/dev/urandom of=/dev/rdb0 bs=4k count=4 oflag=direct status=none")?;
    bed.link.restore();
    one_truth(&bed)?;
    bed.finish()
}

/// A secondary that has lost its peer is promoted only if the handler says that the peer is out of the way.
fn promotion_with_fencing(ground: Ground) -> Result<()> {
    let handlers = "handlers { fence-peer \"/run/handler fence-peer\"; }";
    let bed = boot(
        "promotion_fencing",
        ground,
        "fencing resource-only;",
        handlers,
    )?;
    bed.b.run("echo 1 >/run/code")?;
    bed.a.kill();
    rdb::wait_volume(&bed.b, 0, SETTLE, |v| v.connection == "WFConnection")?;
    bed.b.run_fails("rdbadm primary r0")?;
    ensure!(
        bed.b.run("cat /run/calls")?.contains("fence-peer r0"),
        "not called"
    );
    bed.b.run("echo 6 >/run/code")?;
    bed.b.run_fails("rdbadm primary r0")?;
    rdb::wait_volume(&bed.b, 0, SETTLE, disks("Outdated", "DUnknown"))?;
    bed.b.run("echo 7 >/run/code")?;
    bed.b.run("rdbadm primary --force r0")?;
    rdb::wait_volume(&bed.b, 0, SETTLE, disks("UpToDate", "Outdated"))?;
    bed.finish()
}

/// The link is cut, and when a node begins to listen again another program has the port: it goes on trying. The kernel says
/// the same when it has no memory for a port.
fn port_taken_for_a_while(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("port_taken_for_a_while", ground)
        .disks(&[DiskSpec::mib(8)])
        .boot()?;
    rdb::start(&bed)?;
    bed.a.run(
        "(setsid socat -u TCP-LISTEN:7789,bind=192.168.1.11,reuseaddr,fork OPEN:/dev/null >/dev/null 2>&1 </dev/null &); true",
    )?;
    let listening = "ss -ltn | grep -q ':7789 '";
    bed.a
        .wait_until(listening, |output| output.code == 0, SETTLE)?;
    bed.link.cut();
    // Kernels without CONFIG_SYMBOLIC_ERRNAME, as that of user-mode Linux, have only the number.
    let refused =
        r"dmesg | grep -qE 'cannot listen on 192\.168\.1\.11:7789: (EADDRINUSE|Error\(98\))'";
    bed.a
        .wait_until(refused, |output| output.code == 0, SETTLE)?;
    bed.a
        .run("dd if=/dev/urandom of=/dev/rdb0 bs=4k count=64 oflag=direct status=none")?;
    bed.a.run("pkill -x socat")?;
    bed.link.restore();
    for node in bed.nodes() {
        rdb::wait_volume(node, 0, SETTLE, Volume::in_sync)?;
    }
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}
