//! What tests, the demonstration and the measurements say to rdb on both nodes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{bed::Testbed, node::Node};

/// Upper bound for anything that two nodes have to agree on: connecting, noticing a death, a small resync.
pub const SETTLE: Duration = Duration::from_secs(240);

/// A resource file with one volume a lower disk.
pub fn configuration(volumes: usize) -> String {
    configuration_with(volumes, "")
}

/// The same with more lines in the resource section.
///
/// Time-outs are short enough that a death is noticed in seconds, and long enough for a loaded host.
pub fn configuration_with(volumes: usize, more: &str) -> String {
    let mut text = String::from(
        "global { usage-count no; }\n\
         common {\n  net { protocol C; ping-int 2; ping-timeout 30; connect-int 1; timeout 60; socket-check-timeout 3; }\n  \
         disk { resync-rate 200M; c-max-rate 200M; c-plan-ahead 0; c-min-rate 0; }\n}\n",
    );
    text.push_str("resource r0 {\n");
    text.push_str(more);
    for volume in 0..volumes {
        let letter = char::from(b'b' + u8::try_from(volume).unwrap_or(0));
        text.push_str(&format!(
            "  volume {volume} {{ device /dev/rdb{volume} minor {volume}; disk /dev/sd{letter}; meta-disk internal; }}\n"
        ));
    }
    for (name, address) in crate::bed::NODES {
        text.push_str(&format!("  on {name} {{ address {address}:7789; }}\n"));
    }
    text.push_str("}\n");
    text
}

/// What `/proc/rdb` says of a minor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Volume {
    /// Connection state, `Unconfigured` for an unused minor.
    pub connection: String,
    /// Own and peer role.
    pub roles: (String, String),
    /// Own and peer disk state.
    pub disks: (String, String),
    /// KiB sent as application data, received, written to and read from the lower disk.
    pub sent: u64,
    /// KiB received.
    pub received: u64,
    /// KiB out of sync.
    pub out_of_sync: u64,
}

impl Volume {
    /// Both disks have all data and the nodes are connected.
    pub fn in_sync(&self) -> bool {
        self.connection == "Connected" && self.disks.0 == "UpToDate" && self.disks.1 == "UpToDate"
    }

    fn parse(text: &str, minor: u32) -> Option<Self> {
        let mark = format!("{minor}: ");
        let mut lines = text
            .lines()
            .skip_while(|line| !line.trim_start().starts_with(&mark));
        let first = lines.next()?;
        let second = lines.next().unwrap_or_default();
        let field = |line: &str, name: &str| -> Option<String> {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(name))
                .map(str::to_owned)
        };
        let pair = |name: &str| -> (String, String) {
            let value = field(first, name).unwrap_or_default();
            let (own, peer) = value.split_once('/').unwrap_or((value.as_str(), ""));
            (own.to_owned(), peer.to_owned())
        };
        let number = |name: &str| {
            field(second, name)
                .and_then(|v| v.parse().ok())
                .unwrap_or(0)
        };
        Some(Self {
            connection: field(first, "cs:")?,
            roles: pair("ro:"),
            disks: pair("ds:"),
            sent: number("ns:"),
            received: number("nr:"),
            out_of_sync: number("oos:"),
        })
    }
}

/// What `/proc/rdb` on a node says of a minor; an unused one is `Unconfigured`.
///
/// # Errors
///
/// The module is not loaded, or the machine is gone.
pub fn volume(node: &Node, minor: u32) -> Result<Volume> {
    volume_of(node, "rdb", minor)
}

/// The same of `/proc/drbd`, whose lines are alike.
pub(crate) fn volume_of(node: &Node, module: &str, minor: u32) -> Result<Volume> {
    let text = node.run(&format!("cat /proc/{module}"))?;
    let unused = Volume {
        connection: "Unconfigured".into(),
        ..Volume::default()
    };
    Ok(Volume::parse(&text, minor).unwrap_or(unused))
}

/// Waits until a minor is as wanted.
///
/// # Errors
///
/// It is not within `limit`.
pub fn wait_volume(
    node: &Node,
    minor: u32,
    limit: Duration,
    wanted: impl Fn(&Volume) -> bool,
) -> Result<Volume> {
    let deadline = Instant::now() + node.ground().patience(limit);
    loop {
        let now = volume(node, minor)?;
        if wanted(&now) {
            return Ok(now);
        }
        if Instant::now() > deadline {
            bail!(
                "{}: minor {minor} is still not as expected after {limit:?}: {now:?}",
                node.name()
            );
        }
        std::thread::sleep(node.ground().interval());
    }
}

/// Writes the resource file on both nodes, loads the module, makes metadata and brings the resource up.
///
/// # Errors
///
/// A command fails.
pub fn bring_up(bed: &Testbed, configuration: &str) -> Result<()> {
    bed.both(|node| {
        node.write_file("/etc/rdb.conf", configuration)?;
        node.run("modprobe rdb && rdbadm create-md --force r0 && rdbadm up r0")?;
        Ok(())
    })
}

/// Makes the first node primary and waits until the second has all data.
///
/// # Errors
///
/// A command fails, or it takes longer than a first sync may.
pub fn first_sync(bed: &Testbed, volumes: u32) -> Result<()> {
    for minor in 0..volumes {
        wait_volume(&bed.b, minor, SETTLE, |v| v.connection == "Connected")
            .context("the nodes do not connect")?;
    }
    bed.a.run("rdbadm primary --force r0")?;
    for minor in 0..volumes {
        let limit = Duration::from_secs(900);
        wait_volume(&bed.a, minor, limit, Volume::in_sync)
            .context("the first sync does not end")?;
        wait_volume(&bed.b, minor, limit, Volume::in_sync)?;
    }
    Ok(())
}

/// [`bring_up`] of the plain configuration, then [`first_sync`].
///
/// # Errors
///
/// See there.
pub fn start(bed: &Testbed) -> Result<()> {
    let volumes = bed.a.disks().len();
    bring_up(bed, &configuration(volumes))?;
    first_sync(bed, u32::try_from(volumes)?)
}

/// Promotes a node whose peer may have died a moment ago: asks until it is allowed.
///
/// # Errors
///
/// It never is.
pub fn promote(node: &Node) -> Result<()> {
    node.wait_until("rdbadm primary r0", |output| output.code == 0, SETTLE)
        .map(drop)
}

/// Size of a device in bytes: the part of the lower disks that must be identical.
///
/// # Errors
///
/// No such device.
pub fn device_bytes(node: &Node, minor: u32) -> Result<u64> {
    // Not through the device itself, which a secondary does not let anyone open. sysfs counts in 512 bytes.
    Ok(node
        .run(&format!("cat /sys/class/block/rdb{minor}/size"))?
        .parse::<u64>()?
        * 512)
}

/// "Two ends, one truth": waits until every volume is in sync, then compares the lower disks byte for byte.
///
/// # Errors
///
/// They do not get in sync, or differ.
pub fn assert_one_truth(bed: &Testbed) -> Result<()> {
    bed.both(|node| node.run("sync").map(drop))?;
    for (index, _) in bed.a.disks().iter().enumerate() {
        let minor = u32::try_from(index)?;
        for node in bed.nodes() {
            wait_volume(node, minor, SETTLE, Volume::in_sync)?;
        }
        bed.assert_identical(index, device_bytes(&bed.a, minor)?)
            .with_context(|| format!("volume {index}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROC: &str = "version: 8.4.7-1 (api:1/proto:86-101)\nbuild\n\n \
        0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----\n    \
        ns:101440 nr:7 dw:0 dr:102352 al:8 bm:6 lo:0 pe:1 ua:0 ap:0 ep:1 wo:f oos:940480\n\t\
        [=>..................] sync'ed: 10.3% (940480/1048576)K\n\n 2: cs:Unconfigured\n";

    #[test]
    fn classic_lines_are_read() {
        let volume = Volume::parse(PROC, 0).unwrap();
        assert_eq!(volume.connection, "SyncSource");
        assert_eq!(volume.disks, ("UpToDate".into(), "Inconsistent".into()));
        assert_eq!(
            (volume.sent, volume.received, volume.out_of_sync),
            (101_440, 7, 940_480)
        );
        assert!(!volume.in_sync());
        assert_eq!(Volume::parse(PROC, 2).unwrap().connection, "Unconfigured");
        assert_eq!(Volume::parse(PROC, 1), None);
    }
}
