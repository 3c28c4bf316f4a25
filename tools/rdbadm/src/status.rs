// SPDX-License-Identifier: GPL-2.0

//! status: all about resources, for people (admin-tool.md, section 6.2).

use anstyle::{AnsiColor, Style};
use rdb_config::Config;
use rdb_config::resolve::{self, Node};
use rdb_netlink::{
    ConnState, DiskState, ResourceInfo, Role, VolumeInfo, attr, blocked_flags, names, pause_flags,
    suspend_flags,
};

/// How to show it.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Show what is normal, too.
    pub verbose: bool,
    /// With counters.
    pub statistics: bool,
    /// With colour.
    pub colour: bool,
    /// Columns; longer lines are wrapped.
    pub width: usize,
}

/// What is shown: a resource, its volumes, and the name of its peer.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// The resource.
    pub resource: &'a ResourceInfo,
    /// Its volumes, by number.
    pub volumes: Vec<&'a VolumeInfo>,
    /// Host name of the peer, if the configuration tells.
    pub peer: String,
    /// 0 for the first host section, 1 for the second: number of this node.
    pub node_id: u32,
}

/// Stands for a peer whose name is not known.
const NO_NAME: &str = "peer";

/// Puts resources and volumes together, sorted by name.
pub fn collect<'a>(
    resources: &'a [ResourceInfo],
    volumes: &'a [VolumeInfo],
    config: Option<&Config>,
    node: &Node,
) -> Vec<Shown<'a>> {
    let mut shown: Vec<Shown<'a>> = resources
        .iter()
        .map(|resource| {
            let mut own: Vec<&VolumeInfo> = volumes
                .iter()
                .filter(|volume| volume.resource == resource.name)
                .collect();
            own.sort_by_key(|volume| volume.volume);
            let (peer, node_id) = peer_name(config, node, &resource.name);
            Shown {
                resource,
                volumes: own,
                peer,
                node_id,
            }
        })
        .collect();
    shown.sort_by(|one, other| one.resource.name.cmp(&other.resource.name));
    shown
}

/// Name of the peer and number of this node, by the order of the host sections.
pub fn peer_name(config: Option<&Config>, node: &Node, resource: &str) -> (String, u32) {
    let unknown = || (NO_NAME.to_owned(), 0);
    let Some((config, resource)) =
        config.and_then(|config| Some((config, config.resource(resource)?)))
    else {
        return unknown();
    };
    match resolve::local(config, resource, node) {
        Ok(Some(local)) => {
            let first = resource
                .hosts
                .first()
                .is_some_and(|host| host.span == local.own.span);
            let peer = local
                .peer(None)
                .map_or(NO_NAME.to_owned(), |host| host.label());
            (peer, u32::from(!first))
        }
        _ => unknown(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Plain,
    Good,
    Busy,
    Bad,
}

/// Words of one line with their colours.
struct Line {
    indent: usize,
    words: Vec<(String, Mood)>,
}

impl Line {
    fn new(indent: usize, first: &str) -> Self {
        let words = if first.is_empty() {
            Vec::new()
        } else {
            vec![(first.to_owned(), Mood::Plain)]
        };
        Self { indent, words }
    }

    fn add(&mut self, name: &str, value: impl std::fmt::Display, mood: Mood) {
        self.words.push((format!("{name}:{value}"), mood));
    }

    fn render(&self, look: &Look) -> String {
        if self.words.is_empty() {
            return String::new();
        }
        let mut out = " ".repeat(self.indent);
        let mut column = self.indent;
        for (index, (word, mood)) in self.words.iter().enumerate() {
            if index > 0 && column + 1 + word.len() > look.width {
                column = self.indent + 4;
                out += &format!("\n{}", " ".repeat(column));
            } else if index > 0 {
                out.push(' ');
                column += 1;
            }
            out += &paint(word, *mood, look.colour);
            column += word.len();
        }
        out.push('\n');
        out
    }
}

/// Colours the value behind the colon.
fn paint(word: &str, mood: Mood, colour: bool) -> String {
    let colour_of = match mood {
        Mood::Good => AnsiColor::Green,
        Mood::Busy => AnsiColor::Yellow,
        Mood::Bad => AnsiColor::Red,
        Mood::Plain => return word.to_owned(),
    };
    match word.split_once(':') {
        Some((name, value)) if colour => {
            let style = Style::new().fg_color(Some(colour_of.into()));
            format!("{name}:{style}{value}{style:#}")
        }
        _ => word.to_owned(),
    }
}

fn disk_mood(state: DiskState) -> Mood {
    match state {
        DiskState::UpToDate => Mood::Good,
        DiskState::Attaching | DiskState::Negotiating | DiskState::Consistent => Mood::Busy,
        _ => Mood::Bad,
    }
}

fn role_mood(role: Role) -> Mood {
    if role == Role::Primary {
        Mood::Good
    } else {
        Mood::Plain
    }
}

fn connection_mood(state: ConnState) -> Mood {
    match state {
        up if up >= ConnState::WfReportParams => Mood::Good,
        ConnState::WfConnection | ConnState::Unconnected => Mood::Busy,
        _ => Mood::Bad,
    }
}

fn replication_mood(state: ConnState) -> Mood {
    if state == ConnState::Connected {
        Mood::Good
    } else {
        Mood::Busy
    }
}

/// Names of the set flags, or "no".
fn flags(value: u32, names: &[(u32, &str)]) -> String {
    let set: Vec<&str> = names
        .iter()
        .filter(|(flag, _)| value & flag != 0)
        .map(|(_, name)| *name)
        .collect();
    if set.is_empty() {
        "no".into()
    } else {
        set.join(",")
    }
}

/// Why application I/O is frozen, in words.
pub fn suspended(value: u32) -> String {
    flags(
        value,
        &[
            (suspend_flags::USER, "user"),
            (suspend_flags::NO_DATA, "no-data"),
            (suspend_flags::FENCING, "fencing"),
        ],
    )
}

/// Why the resync is paused, in words.
pub fn paused(value: u32) -> String {
    flags(
        value,
        &[
            (pause_flags::USER, "user"),
            (pause_flags::PEER, "peer"),
            (pause_flags::DEPENDENCY, "dependency"),
        ],
    )
}

fn blocked(value: u32) -> String {
    flags(
        value,
        &[
            (blocked_flags::UPPER, "upper"),
            (blocked_flags::LOWER, "lower"),
            (blocked_flags::NET, "net"),
            (blocked_flags::HELPER, "helper"),
        ],
    )
}

/// Whether a resync or verify runs or is paused.
pub fn is_syncing(state: ConnState) -> bool {
    (ConnState::SyncSource..=ConnState::PausedSyncT).contains(&state)
}

/// A speed in KiB/s, for people.
pub fn rate(kib: u64) -> String {
    match kib {
        0..10_240 => format!("{kib}KiB/s"),
        _ => format!("{}MiB/s", kib / 1024),
    }
}

/// Seconds as hours, minutes and seconds.
pub fn clock(seconds: u32) -> String {
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// One resource, with an empty line behind it.
pub fn text(shown: &Shown<'_>, look: &Look) -> String {
    let mut out = String::new();
    let resource = shown.resource;
    let mut line = Line::new(0, &resource.name);
    line.add("role", names::role(resource.role), role_mood(resource.role));
    if look.verbose || resource.suspended != 0 {
        let mood = if resource.suspended == 0 {
            Mood::Plain
        } else {
            Mood::Bad
        };
        line.add("suspended", suspended(resource.suspended), mood);
    }
    out += &line.render(look);
    if look.statistics {
        let mut line = Line::new(4, "");
        line.add(
            "write-ordering",
            names::write_ordering(resource.write_ordering),
            Mood::Plain,
        );
        out += &line.render(look);
    }
    // One volume of number 0 goes without saying.
    let single = matches!(shown.volumes.as_slice(), [only] if only.volume == 0);
    for volume in &shown.volumes {
        out += &device_text(volume, single && !look.verbose, look);
    }
    let known = resource.local.is_some() || shown.peer != NO_NAME;
    if known || resource.connection != ConnState::StandAlone || look.verbose {
        out += &peer_text(shown, single && !look.verbose, look);
    }
    out.push('\n');
    out
}

fn device_text(volume: &VolumeInfo, single: bool, look: &Look) -> String {
    let mut line = Line::new(2, "");
    if !single {
        line.add("volume", volume.volume, Mood::Plain);
    }
    if look.verbose {
        line.add("minor", volume.minor, Mood::Plain);
    }
    line.add("disk", names::disk(volume.disk), disk_mood(volume.disk));
    let mut out = line.render(look);
    if look.statistics {
        let mut line = Line::new(6, "");
        let counter = |number| volume.counter(number);
        line.add("size", volume.capacity / 2, Mood::Plain);
        line.add("read", counter(attr::DISK_READ), Mood::Plain);
        line.add("written", counter(attr::DISK_WRITTEN), Mood::Plain);
        if look.verbose {
            line.add("al-writes", counter(attr::AL_WRITES), Mood::Plain);
            line.add("bm-writes", counter(attr::BM_WRITES), Mood::Plain);
            line.add("upper-pending", counter(attr::UPPER_PENDING), Mood::Plain);
            line.add("lower-pending", counter(attr::LOCAL_PENDING), Mood::Plain);
            line.add(
                "al-suspended",
                if volume.al_suspended { "yes" } else { "no" },
                Mood::Plain,
            );
            line.add("blocked", blocked(volume.upper_blocked), Mood::Plain);
        }
        out += &line.render(look);
    }
    out
}

fn peer_text(shown: &Shown<'_>, single: bool, look: &Look) -> String {
    let resource = shown.resource;
    let connected = resource.connection >= ConnState::WfReportParams;
    let mut line = Line::new(2, &shown.peer);
    if !connected || look.verbose {
        let mood = connection_mood(resource.connection);
        line.add("connection", names::connection(resource.connection), mood);
    }
    if connected || look.verbose {
        line.add(
            "role",
            names::role(resource.peer_role),
            role_mood(resource.peer_role),
        );
    }
    if resource.congested || look.verbose && connected {
        let (word, mood) = if resource.congested {
            ("yes", Mood::Bad)
        } else {
            ("no", Mood::Plain)
        };
        line.add("congested", word, mood);
    }
    let mut out = line.render(look);
    if !connected && !look.verbose {
        return out;
    }
    for volume in &shown.volumes {
        out += &peer_device_text(volume, single, look);
    }
    out
}

fn peer_device_text(volume: &VolumeInfo, single: bool, look: &Look) -> String {
    let mut line = Line::new(4, "");
    if !single {
        line.add("volume", volume.volume, Mood::Plain);
    }
    let replication = volume.replication;
    line.add(
        "replication",
        names::replication(replication),
        replication_mood(replication),
    );
    line.add(
        "peer-disk",
        names::disk(volume.peer_disk),
        disk_mood(volume.peer_disk),
    );
    if let Some(sync) = volume.sync.filter(|_| is_syncing(replication)) {
        line.add(
            "done",
            format_args!("{}.{:02}", sync.done() / 100, sync.done() % 100),
            Mood::Busy,
        );
        line.add("rate", rate(sync.rate), Mood::Plain);
        if let Some(seconds) = sync.eta {
            line.add("left", clock(seconds), Mood::Plain);
        }
        if let Some(limit) = sync.limit {
            line.add("limited-by", names::sync_limit(limit), Mood::Plain);
        }
    }
    if volume.sync_paused != 0 || look.verbose {
        let mood = if volume.sync_paused == 0 {
            Mood::Plain
        } else {
            Mood::Busy
        };
        line.add("resync-suspended", paused(volume.sync_paused), mood);
    }
    let mut out = line.render(look);
    if look.statistics {
        let mut line = Line::new(8, "");
        for (name, number) in [
            ("received", attr::RECEIVED),
            ("sent", attr::SENT),
            ("out-of-sync", attr::OUT_OF_SYNC),
            ("pending", attr::PEER_PENDING),
            ("unacked", attr::UNACKED),
        ] {
            line.add(name, volume.counter(number), Mood::Plain);
        }
        out += &line.render(look);
    }
    out
}
