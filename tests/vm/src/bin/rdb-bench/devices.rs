//! The devices that are compared, and how they are made.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rdb_testbed::{NODES, Node, Testbed};
use serde::Serialize;

use crate::progress::Progress;

/// Upper bound for connecting and for a first sync.
const LIMIT: Duration = Duration::from_secs(1800);

/// What fio writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The lower disk itself.
    Raw,
    /// A primary of rdb whose peer is gone.
    RdbAlone,
    /// A primary of rdb, connected with protocol C.
    RdbC,
    /// A primary of drbd whose peer is gone.
    DrbdAlone,
    /// A primary of drbd, connected with protocol C.
    DrbdC,
}

/// All of them, in the order of their lower disks.
pub const BACKENDS: [Backend; 5] = [
    Backend::Raw,
    Backend::RdbAlone,
    Backend::RdbC,
    Backend::DrbdAlone,
    Backend::DrbdC,
];

/// The raw disk and those whose peer is gone: all that works for them is one machine's.
pub const ALONE: [Backend; 3] = [Backend::Raw, Backend::RdbAlone, Backend::DrbdAlone];

impl Backend {
    /// Name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw disk",
            Self::RdbAlone => "rdb alone",
            Self::RdbC => "rdb C",
            Self::DrbdAlone => "drbd alone",
            Self::DrbdC => "drbd C",
        }
    }

    /// Device that is opened.
    pub fn device(self) -> &'static str {
        match self {
            Self::Raw => "/dev/sdb",
            Self::RdbAlone => "/dev/rdb0",
            Self::RdbC => "/dev/rdb1",
            Self::DrbdAlone => "/dev/drbd0",
            Self::DrbdC => "/dev/drbd1",
        }
    }

    /// Number of its lower disk.
    pub fn disk(self) -> usize {
        self as usize
    }

    /// True if every write goes to the other node, too.
    pub fn connected(self) -> bool {
        matches!(self, Self::RdbC | Self::DrbdC)
    }
}

/// A replication, the one or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// The module of this source tree.
    Rdb,
    /// The kernel's own, with Debian's tools.
    Drbd,
}

impl Stack {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Rdb, Self::Drbd];

    /// Name of the module and of everything that is called after it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rdb => "rdb",
            Self::Drbd => "drbd",
        }
    }

    fn create_metadata(self, resource: &str) -> String {
        match self {
            Self::Rdb => format!("rdbadm create-md --force {resource}"),
            Self::Drbd => format!("yes yes | drbdadm create-md {resource}"),
        }
    }

    /// Resource file: `alone` is minor 0, `paired` minor 1. Both stacks get the same options. The time-outs are
    /// such that a busy host does not part the nodes; the rates such that the sync is not held back.
    fn configuration(self) -> String {
        let name = self.name();
        let (first_disk, port) = match self {
            Self::Rdb => ('c', 7789),
            Self::Drbd => ('e', 7791),
        };
        let mut text = String::from(
            "global { usage-count no; }\n\
             common {\n  \
             net { protocol C; timeout 600; ping-int 120; ping-timeout 300; connect-int 3; max-buffers 8000; }\n  \
             disk { resync-rate 1000M; c-plan-ahead 0; c-min-rate 0; }\n}\n",
        );
        for (minor, resource) in (0_u8..).zip(["alone", "paired"]) {
            let disk = char::from(first_disk as u8 + minor);
            text.push_str(&format!(
                "resource {resource} {{\n  device /dev/{name}{minor} minor {minor}; disk /dev/sd{disk}; meta-disk internal;\n"
            ));
            for (host, address) in NODES {
                let port = port + u16::from(minor);
                text.push_str(&format!("  on {host} {{ address {address}:{port}; }}\n"));
            }
            text.push_str("}\n");
        }
        text
    }
}

/// A first sync of a whole device.
#[derive(Debug, Clone, Serialize)]
pub struct Sync {
    /// Whose.
    pub stack: Stack,
    /// Size of the lower disk.
    pub mib: u32,
    /// From the command that begins it to both disks up to date.
    pub seconds: f64,
}

/// Writes the resource file of a stack on both nodes, and loads its module.
///
/// # Errors
///
/// A command fails.
pub fn configure(bed: &Testbed, stack: Stack) -> Result<()> {
    let name = stack.name();
    bed.both(|node| {
        node.write_file(&format!("/etc/{name}.conf"), stack.configuration())?;
        node.run(&format!("modprobe {name}")).map(drop)
    })
}

/// Makes all devices, each brought in sync once; the first sync of each is timed. The syncs of the stacks
/// alternate. The peers of the `alone` devices are then taken away.
///
/// # Errors
///
/// A command fails, or nodes do not connect or get in sync.
pub fn set_up(bed: &Testbed, mib: u32, progress: &Progress) -> Result<Vec<Sync>> {
    for stack in Stack::BOTH {
        let name = stack.name();
        configure(bed, stack)?;
        bed.both(|node| {
            for resource in ["alone", "paired"] {
                node.run(&stack.create_metadata(resource))?;
                node.run(&format!("{name}adm up {resource}"))?;
            }
            Ok(())
        })?;
    }
    let mut syncs = Vec::new();
    for (minor, resource) in (0..).zip(["alone", "paired"]) {
        for stack in Stack::BOTH {
            progress.step(&format!("first sync of {} {resource}", stack.name()));
            syncs.push(first_sync(&bed.a, stack, minor, resource, mib)?);
            if resource == "alone" {
                let name = stack.name();
                bed.a.run(&format!("{name}adm disconnect alone"))?;
                bed.b.run(&format!("{name}adm down alone"))?;
            }
        }
    }
    for backend in BACKENDS {
        check(bed, backend)?;
    }
    Ok(syncs)
}

/// The clock is the guest's, so that the way of the commands to it is not measured.
fn first_sync(node: &Node, stack: Stack, minor: u32, resource: &str, mib: u32) -> Result<Sync> {
    let name = stack.name();
    let wait = |wanted: &str| {
        format!(
            "wanted=$'\\n ?{minor}: '{wanted:?}\n\
             while read -r -d '' state </proc/{name}; ! [[ $'\\n'$state =~ $wanted ]]; do\n\
             \t((SECONDS < {})) || {{ cat /proc/{name}; exit 1; }}\n\tsleep 0.1\ndone\n",
            LIMIT.as_secs()
        )
    };
    let script = format!(
        "{}begin=${{EPOCHREALTIME/./}}\n{name}adm primary --force {resource} || exit\n{}\
         echo $((${{EPOCHREALTIME/./}} - begin))\n",
        wait("cs:Connected"),
        wait("cs:Connected [^\n]*ds:UpToDate/UpToDate").replace("\\n]", "\n]"),
    );
    let output = node.sh_within(&script, LIMIT + Duration::from_secs(60))?;
    ensure!(
        output.code == 0,
        "{name}: '{resource}' does not get in sync:\n{}",
        output.all()
    );
    let microseconds: f64 = output
        .out()
        .lines()
        .last()
        .context("no time was printed")?
        .trim()
        .parse()
        .with_context(|| output.all())?;
    Ok(Sync {
        stack,
        mib,
        seconds: microseconds / 1e6,
    })
}

/// Fails if a device is not in the state in which it is to be measured.
///
/// # Errors
///
/// It is not.
pub fn check(bed: &Testbed, backend: Backend) -> Result<()> {
    let (stack, minor) = match backend {
        Backend::Raw => return Ok(()),
        Backend::RdbAlone => (Stack::Rdb, 0),
        Backend::RdbC => (Stack::Rdb, 1),
        Backend::DrbdAlone => (Stack::Drbd, 0),
        Backend::DrbdC => (Stack::Drbd, 1),
    };
    let text = bed.a.run(&format!("cat /proc/{}", stack.name()))?;
    let mark = format!("{minor}: ");
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with(&mark))
        .unwrap_or_default();
    let wanted: &[&str] = if backend.connected() {
        &[
            "cs:Connected",
            "ro:Primary/Secondary",
            "ds:UpToDate/UpToDate",
        ]
    } else {
        &["cs:StandAlone", "ro:Primary/", "ds:UpToDate/"]
    };
    if !wanted.iter().all(|state| line.contains(state)) {
        bail!(
            "{} is not {}, its measurements would be of something else: {line}",
            backend.name(),
            wanted.join(" ")
        );
    }
    Ok(())
}
