//! A peer that does not keep to the protocol, before, within and after the handshake, on either stream: the connection is
//! dropped with a reason in the log that names the packet, the node goes back to connecting, and a real peer is welcome.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, Ground, Testbed,
    rdb::{self, SETTLE},
};
use regex::Regex;

mod cases;

use cases::{Case, after_the_handshake, before_the_handshake_ends};

// What is tested is the same code on any ground, and each case costs a second: this one only.
mod uml {
    use rdb_testbed::Ground;

    #[test]
    fn bad_packets() -> anyhow::Result<()> {
        super::bad_packets(Ground::Uml)
    }

    #[test]
    fn closes_at_any_byte() -> anyhow::Result<()> {
        super::closes_at_any_byte(Ground::Uml)
    }
}

/// How far the console may be behind the log.
const CONSOLE_LIMIT: Duration = Duration::from_secs(20);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first node is up, the second has no module loaded: its address is free for somebody else.
fn alone(name: &str, ground: Ground) -> Result<(Testbed, u64)> {
    let bed = Testbed::builder(name, ground)
        .program("rdb-hostile")
        .disks(&[DiskSpec::mib(16)])
        .boot()?;
    // Streams are looked at for life before they are used; hundreds of calls need not wait long for that.
    let configuration = rdb::configuration_with(1, "  net { socket-check-timeout 2; }\n");
    bed.both(|node| node.write_file("/etc/rdb.conf", &configuration))?;
    bed.a
        .run("modprobe rdb && rdbadm create-md --force r0 && rdbadm up r0")?;
    connecting(&bed)?;
    let sectors = rdb::device_bytes(&bed.a, 0)? / 512;
    Ok((bed, sectors))
}

/// The node looks for its peer, as it did before.
fn connecting(bed: &Testbed) -> Result<()> {
    let now = rdb::wait_volume(&bed.a, 0, SETTLE, |v| {
        ["WFConnection", "StandAlone"].contains(&v.connection.as_str())
    })?;
    ensure!(now.connection == "WFConnection", "it has given up: {now:?}");
    Ok(())
}

/// A peer that keeps to the protocol connects, gets all data, and sends its own.
fn real_peer(bed: &Testbed) -> Result<()> {
    bed.b
        .run("modprobe rdb && rdbadm create-md --force r0 && rdbadm up r0")?;
    bed.a.run("rdbadm primary --force r0 && dd if=/dev/urandom of=/dev/rdb0 bs=1M count=6 oflag=direct status=none")?;
    rdb::assert_one_truth(bed)
}

fn one_case(bed: &Testbed, sectors: u64, case: &Case) -> Result<()> {
    let before = bed.a.console()?.len();
    let mut hostile = bed.b.spawn(&format!(
        "rdb-hostile {}:7789 --sectors {sectors} --stage {} --on {} --bytes {}",
        bed.a.address(),
        case.stage,
        case.on,
        hex(&case.bytes)
    ))?;
    if case.stage == "connected" {
        hostile.wait_for_line(|line| line == "standing", SETTLE)?;
        rdb::wait_volume(&bed.a, 0, SETTLE, |v| v.connection == "Connected")?;
        hostile.write(b"\n")?;
    }
    let output = hostile.wait(SETTLE)?;
    ensure!(
        output.code == 0 && output.out().ends_with("dropped\n"),
        "{}",
        output.all()
    );
    connecting(bed)?;
    // The log is written before the sockets are closed; the console may be a moment behind.
    let reason = Regex::new(case.reason)?;
    let deadline = Instant::now() + CONSOLE_LIMIT;
    loop {
        let said = bed.a.console()?;
        let said = said.get(before..).unwrap_or_default();
        if said.lines().any(|line| reason.is_match(line)) {
            return bed.a.check_console();
        }
        ensure!(
            Instant::now() < deadline,
            "no line like /{}/; the log says:\n{said}",
            case.reason
        );
        thread::sleep(Duration::from_millis(100));
    }
}

fn bad_packets(ground: Ground) -> Result<()> {
    let (bed, sectors) = alone("bad_packets", ground)?;
    let cases: Vec<Case> = before_the_handshake_ends()
        .into_iter()
        .chain(after_the_handshake())
        .collect();
    let mut wrong = Vec::new();
    for case in &cases {
        let name = format!("stage {}, {} stream, {}", case.stage, case.on, case.reason);
        if let Err(error) = one_case(&bed, sectors, case).with_context(|| name) {
            wrong.push(format!("{error:#}"));
            // The next case must have its chance.
            bed.a.sh("rdbadm connect r0")?;
            connecting(&bed)?;
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    println!("{ground:?}: {} kinds of bad packets", cases.len());
    real_peer(&bed)?;
    bed.finish()
}

/// Hangs up after the first N bytes of a flawless conversation, for many N up to the last byte: all of the first packets, of
/// the headers and the bytes around them, and some within the bodies.
fn closes_at_any_byte(ground: Ground) -> Result<()> {
    let (bed, sectors) = alone("closes_at_any_byte", ground)?;
    // The first packet, then features (80 bytes), protocol (41), parameters (164), sizes, UUIDs (64), state (20).
    let places = (0..=16).chain((17..).step_by(13));
    let mut count = 0;
    for place in places {
        let said = bed.b.sh(&format!(
            "rdb-hostile {}:7789 --sectors {sectors} --close-after {place}",
            bed.a.address()
        ))?;
        if said.code != 0 && said.err().contains("the conversation has") {
            break;
        }
        ensure!(said.code == 0, "after {place} bytes: {}", said.all());
        connecting(&bed).with_context(|| format!("after {place} bytes"))?;
        count += 1;
    }
    ensure!(count > 10, "only {count} places");
    println!("{ground:?}: hung up at {count} places");
    real_peer(&bed)?;
    bed.finish()
}
