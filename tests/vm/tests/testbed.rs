//! The testbed tests itself, without the module: a tool that cannot see a fault would make every other test green.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use rdb_testbed::{DiskSpec, Ground, Testbed, Way, vm_tests};

const LIMIT: Duration = Duration::from_secs(120);

vm_tests!(
    commands_and_files,
    link_cut_and_restored,
    killed_and_started_again,
    frozen_and_thawed,
    trouble_on_the_console
);

/// Output, exit codes, background programs, large files both ways.
fn commands_and_files(ground: Ground) -> Result<()> {
    let disks = [DiskSpec::mib(32), DiskSpec::mib(48).block(4096)];
    let bed = Testbed::builder("commands_and_files", ground)
        .bare()
        .disks(&disks)
        .boot()?;
    ensure!(bed.a.run("uname -n")? == "hauptserver");
    ensure!(bed.b.run("hostname; cat /etc/hosts | grep -c server")? == "ausfallserver\n2");
    let output = bed.a.sh("echo out; echo err >&2; exit 7")?;
    ensure!(
        output.out() == "out\n" && output.err() == "err\n" && output.code == 7,
        "{output:?}"
    );
    ensure!(bed.a.sh("kill -9 $$")?.code == 137);
    ensure!(bed.a.run_fails("no-such-program")?.contains("not found"));
    // A daemon that keeps its inherited output open must not keep the command waiting.
    ensure!(bed.a.run("sleep 1000 & echo started")? == "started");

    let mut counter = bed
        .a
        .spawn("echo ready; while read -r x; do echo got $x; done; echo end")?;
    counter.wait_for_line(|line| line == "ready", LIMIT)?;
    counter.write(b"one\n")?;
    counter.wait_for_line(|line| line == "got one", LIMIT)?;
    counter.close_input()?;
    ensure!(counter.wait(LIMIT)?.out().ends_with("end\n"));

    // Every byte value, longer than any buffer between here and there.
    let data: Vec<u8> = (0..3_000_001_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    bed.b.write_file("/root/data", &data)?;
    ensure!(bed.b.run("stat -c %s /root/data")? == data.len().to_string());
    ensure!(
        bed.b.read_file("/root/data")? == data,
        "file came back changed"
    );

    for node in bed.nodes() {
        ensure!(node.run("blockdev --getss --getsize64 /dev/sdb")? == format!("512\n{}", 32 << 20));
        ensure!(
            node.run("blockdev --getss --getsize64 /dev/sdc")? == format!("4096\n{}", 48 << 20)
        );
    }
    // What a guest writes is in the file on the host, at its place.
    bed.a
        .run("printf mark | dd of=/dev/sdb bs=4k seek=5 conv=fsync status=none")?;
    ensure!(bed.a.disks()[0].read(20480, 4)? == b"mark");
    ensure!(
        bed.assert_identical(0, 32 << 20).is_err(),
        "different disks taken for equal"
    );
    bed.assert_identical(1, 48 << 20)?;
    bed.finish()
}

/// A cut is silence, in one direction or in both; the mended link carries data unharmed.
fn link_cut_and_restored(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("link_cut_and_restored", ground)
        .bare()
        .boot()?;
    let ping = "ping -c 3 -i 0.3 -W 2 192.168.1.12";
    bed.a.wait_until(ping, |output| output.code == 0, LIMIT)?;
    bed.link.cut();
    bed.a.run_fails(ping)?;
    bed.link.restore();
    bed.a.wait_until(ping, |output| output.code == 0, LIMIT)?;
    // One way: requests arrive, answers do not.
    bed.link.cut_way(Way::BToA);
    let before = bed
        .b
        .run("cat /sys/class/net/eth1/statistics/rx_packets")?
        .parse::<u64>()?;
    bed.a.run_fails(ping)?;
    let after = bed
        .b
        .run("cat /sys/class/net/eth1/statistics/rx_packets")?
        .parse::<u64>()?;
    ensure!(after > before, "nothing arrived on the way that is open");
    bed.link.restore();
    bed.a.wait_until(ping, |output| output.code == 0, LIMIT)?;

    let mut listener = bed.b.spawn("nc -l -p 9000 | sha256sum")?;
    bed.b
        .wait_until("ss -ltn | grep :9000", |output| output.code == 0, LIMIT)?;
    let sent = bed.a.run(
        "head -c 8000000 /dev/urandom >/root/big; nc -N 192.168.1.12 9000 </root/big; sha256sum </root/big",
    )?;
    let received = listener.wait(LIMIT)?.out();
    ensure!(received.trim() == sent, "sent {sent}, received {received}");
    bed.finish()
}

/// A killed machine comes back on the same disks, with what its kernel had handed to them.
fn killed_and_started_again(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("killed_and_started_again", ground)
        .bare()
        .boot()?;
    bed.a.write_file("/etc/kept", "kept over the crash\n")?;
    bed.a
        .run("printf lower | dd of=/dev/sdb bs=512 seek=9 oflag=direct conv=sync status=none")?;
    let mut sleeper = bed.a.spawn("sleep 1000")?;
    bed.a.kill();
    ensure!(!bed.a.is_up());
    ensure!(
        sleeper.wait(LIMIT).is_err(),
        "a program outlived its machine"
    );
    ensure!(bed.a.sh("true").is_err(), "a dead machine took a command");
    ensure!(bed.a.disks()[0].read(9 * 512, 5)? == b"lower");
    bed.a.boot()?;
    ensure!(bed.a.run("cat /etc/kept")? == "kept over the crash");
    ensure!(
        bed.a
            .run("dd if=/dev/sdb bs=512 skip=9 count=1 status=none | head -c 5")?
            == "lower"
    );
    bed.b.wait_until(
        "ping -c 1 -W 2 192.168.1.11",
        |output| output.code == 0,
        LIMIT,
    )?;
    bed.b.shut_down()?;
    ensure!(!bed.b.is_up());
    bed.b.boot()?;
    bed.finish()
}

/// A frozen machine does nothing until it is thawed, and then goes on where it was.
fn frozen_and_thawed(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("frozen_and_thawed", ground)
        .bare()
        .boot()?;
    let mut clock = bed.a.spawn("while sleep 0.1; do date +%s.%N; done")?;
    clock.wait_for_line(|_| true, LIMIT)?;
    bed.a.freeze();
    // Let what was already on its way arrive, then see that nothing more comes.
    thread::sleep(Duration::from_secs(1));
    clock.look();
    let printed = clock.printed().stdout.len();
    thread::sleep(Duration::from_secs(2));
    ensure!(clock.look(), "program died while its machine was frozen");
    ensure!(
        clock.printed().stdout.len() == printed,
        "a frozen machine printed"
    );
    ensure!(
        bed.b.sh("ping -c 1 -W 1 192.168.1.11")?.code != 0,
        "a frozen machine answered"
    );
    bed.a.thaw();
    let started = clock.printed().stdout.len();
    clock.wait_for_line(|_| true, LIMIT)?;
    bed.a.wait_until(
        "ping -c 1 -W 2 192.168.1.12",
        |output| output.code == 0,
        LIMIT,
    )?;
    clock.look();
    ensure!(
        clock.printed().stdout.len() > started,
        "nothing came after the thaw"
    );
    drop(clock);
    bed.finish()
}

/// A kernel's cry for help fails the test, unless the test expects it.
fn trouble_on_the_console(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("trouble_on_the_console", ground)
        .bare()
        .boot()?;
    for node in bed.nodes() {
        node.check_console()?;
    }
    bed.a
        .run("echo 'WARNING: CPU: 0 PID: 1 at provoked.c:1' >/dev/kmsg")?;
    bed.a.wait_console("provoked", LIMIT)?;
    ensure!(bed.a.check_console().is_err(), "a warning was not seen");
    bed.a.allow_on_console("provoked")?;
    bed.a.check_console()?;
    bed.b
        .run("echo 'BUG: sleeping function called from invalid context' >/dev/kmsg")?;
    bed.b.wait_console("BUG: sleeping", LIMIT)?;
    let error = bed.finish().expect_err("a BUG was not seen").to_string();
    ensure!(
        error.contains("ausfallserver") && error.contains("BUG: sleeping"),
        "{error}"
    );
    Ok(())
}

/// A power cut takes what a disk had not flushed, and nothing else.
#[test]
fn power_lost() -> Result<()> {
    let disks = [DiskSpec::mib(16).volatile(), DiskSpec::mib(16)];
    let bed = Testbed::builder("power_lost", Ground::Qemu)
        .bare()
        .disks(&disks)
        .boot()?;
    let write = |device: &str, place: u32, how: &str| {
        bed.a.run(&format!(
            "head -c 1M /dev/zero | tr '\\0' x | dd of=/dev/{device} bs=64k seek={place} {how} status=none iflag=fullblock"
        ))
    };
    write("sdb", 0, "conv=fsync oflag=direct")?;
    write("sdb", 32, "oflag=direct")?;
    write("sdc", 32, "oflag=direct")?;
    ensure!(
        bed.a.run(
            "dd if=/dev/sdb bs=64k skip=32 count=16 iflag=direct status=none | tr -d x | wc -c"
        )? == "0",
        "the cache was not read"
    );
    bed.a.lose_power(0)?;
    let [volatile, lasting] = bed.a.disks() else {
        anyhow::bail!("two disks expected")
    };
    let full = vec![b'x'; 1 << 20];
    ensure!(volatile.read(0, 1 << 20)? == full, "flushed data lost");
    ensure!(
        volatile
            .read(2 << 20, 1 << 20)?
            .iter()
            .all(|byte| *byte == 0),
        "unflushed data survived"
    );
    ensure!(
        lasting.read(2 << 20, 1 << 20)? == full,
        "a lasting disk lost data"
    );

    bed.a.boot()?;
    write("sdb", 64, "oflag=direct")?;
    bed.a.lose_power(50)?;
    let torn = bed.a.disks()[0].read(4 << 20, 1 << 20)?;
    let kept = torn.chunks(512).filter(|sector| sector[0] == b'x').count();
    ensure!(
        (600..1500).contains(&kept),
        "{kept} of 2048 sectors kept, about half expected"
    );
    bed.finish()
}
