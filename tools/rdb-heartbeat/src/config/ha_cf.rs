// SPDX-License-Identifier: GPL-2.0

//! The file `ha.cf`: nodes, times, media, logging (specification, section 2).

use super::diagnostic::{Diagnostics, Place, Word, nearest, words};
use super::directives::{Class, DIRECTIVES, FACILITIES, class};
use super::fencing::{self, FenceDevice};
use super::values::{boolean, show, time};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// The registered port of heartbeat.
pub const DEFAULT_PORT: u16 = 694;

/// A way on which heartbeats travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// UDP to one peer. A line that names an own address is not used.
    Ucast {
        /// Network interface.
        interface: String,
        /// Address or host name of the peer.
        peer: String,
        /// UDP port of both sides.
        port: u16,
    },
    /// UDP broadcast.
    Bcast {
        /// Network interface.
        interface: String,
        /// UDP port of both sides.
        port: u16,
    },
    /// UDP multicast.
    Mcast {
        /// Network interface.
        interface: String,
        /// Multicast group.
        group: Ipv4Addr,
        /// UDP port of both sides.
        port: u16,
        /// Time to live, 1 to 255.
        ttl: u8,
        /// Whether own packets come back.
        loopback: bool,
    },
}

/// The settings of `ha.cf`; times are checked against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct HaCf {
    /// Members, lower case, in file order.
    pub nodes: Vec<String>,
    /// Interval of heartbeats.
    pub keepalive: Duration,
    /// Silence after which a node is dead; more than twice `keepalive`.
    pub deadtime: Duration,
    /// Silence that is logged.
    pub warntime: Duration,
    /// Silence after which a node is dead while this node starts; at least `deadtime`.
    pub initdead: Duration,
    /// At least one.
    pub media: Vec<Medium>,
    /// Whether groups return to their preferred node.
    pub auto_failback: bool,
    /// Syslog facility; `None` for `none`.
    pub facility: Option<String>,
    /// File for messages.
    pub logfile: Option<PathBuf>,
    /// File for messages and debug messages.
    pub debugfile: Option<PathBuf>,
    /// 0: no debug messages.
    pub debug: u8,
    /// Locked memory and real-time priority.
    pub realtime: bool,
    /// Whether packets that fail a check are logged.
    pub log_badpack: bool,
    /// The fencing device that applies to this node.
    pub fencing: Option<FenceDevice>,
    /// Limit on a run of a resource script (rdb's own; none by default).
    pub resource_timeout: Option<Duration>,
    /// Every directive as written, for `cl_status hbparameter`.
    pub parameters: BTreeMap<String, String>,
}

/// What has been read so far, with places for the checks that come at the end.
#[derive(Default)]
struct Draft {
    nodes: Vec<String>,
    times: BTreeMap<&'static str, (Duration, Place)>,
    port: Option<u16>,
    media: Vec<Medium>,
    auto_failback: Option<bool>,
    facility: Option<Option<String>>,
    logfile: Option<PathBuf>,
    debugfile: Option<PathBuf>,
    debug: u8,
    realtime: Option<bool>,
    log_badpack: Option<bool>,
    fencing: Option<FenceDevice>,
    baud_seen: bool,
    watchdog_seen: bool,
    parameters: BTreeMap<String, String>,
}

/// Reads the text of an `ha.cf` for the node `own` (lower case); problems go to `problems`, and
/// with an error among them the answer is `None`.
pub fn parse(text: &str, own: &str, problems: &mut Diagnostics) -> Option<HaCf> {
    let mut draft = Draft::default();
    for (index, line) in text.lines().enumerate() {
        let words = words(line, index + 1);
        if let Some((name, values)) = words.split_first() {
            draft.directive(name, values, own, problems);
        }
    }
    draft.finish(own, problems)
}

impl Draft {
    fn directive(&mut self, name: &Word<'_>, values: &[Word<'_>], own: &str, p: &mut Diagnostics) {
        let Some(class) = class(name.text) else {
            let near = nearest(name.text, DIRECTIVES.iter().map(|(known, _)| *known));
            p.error(
                name.place,
                format!("unknown directive `{}`{near}", name.text),
            );
            return;
        };
        let Some(first) = values.first() else {
            p.error(
                name.place,
                format!("`{}` needs a value after it", name.text),
            );
            return;
        };
        let joined = values.iter().map(|w| w.text).collect::<Vec<_>>().join(" ");
        self.parameters.insert(name.text.to_owned(), joined);
        if class != Class::Used {
            return self.unused(name, class, p);
        }
        match name.text {
            "node" => self.nodes(values, p),
            "keepalive" => self.time("keepalive", first, p),
            "deadtime" => self.time("deadtime", first, p),
            "warntime" => self.time("warntime", first, p),
            "initdead" => self.time("initdead", first, p),
            "resource_timeout" => self.time("resource_timeout", first, p),
            "udpport" => self.udpport(first, p),
            "ucast" | "bcast" | "udp" | "mcast" => self.medium(name, values, p),
            "baud" => self.baud(name, first, p),
            "auto_failback" | "nice_failback" => self.failback(name, first, p),
            "logfacility" => self.facility(first, p),
            "logfile" => self.logfile = Some(first.text.into()),
            "debugfile" => self.debugfile = Some(first.text.into()),
            "debug" => match first.text.parse() {
                Ok(level) => self.debug = level,
                Err(_) => p.error(first.place, "expected a debug level 0..255"),
            },
            "realtime" => self.realtime = flag(first, p),
            "log_badpack" => self.log_badpack = flag(first, p),
            "stonith" | "stonith_host" => match fencing::parse(name, values, own) {
                Ok(None) => {}
                Ok(Some(device)) => self.fencing = Some(device),
                Err((place, text)) => p.error(place, text),
            },
            "autojoin" if first.text == "none" => {}
            "autojoin" => p.error(
                first.place,
                format!(
                    "`autojoin {}` is refused: only `none` goes with haresources",
                    first.text
                ),
            ),
            _ if matches!(boolean(first.text), Some(false)) => {}
            _ => p.error(
                first.place,
                format!(
                    "`{} {}` is refused: rdb-heartbeat works without Pacemaker; expected `off`",
                    name.text, first.text
                ),
            ),
        }
    }

    /// A directive that has no effect here, or is refused.
    fn unused(&mut self, name: &Word<'_>, class: Class, p: &mut Diagnostics) {
        let name = (name.text, name.place);
        match class {
            Class::Used => {}
            Class::Ignored(why) => p.note(name.1, format!("`{}` has no effect: {why}", name.0)),
            Class::Later(what) => {
                if name.0 == "watchdog" && std::mem::replace(&mut self.watchdog_seen, true) {
                    p.error(name.1, "`watchdog` is there twice: expected only one");
                }
                let text = format!("`{}` is not supported in this version: {what}", name.0);
                p.warning(name.1, text);
            }
            Class::Refused(why) => p.error(name.1, format!("`{}` is refused: {why}", name.0)),
        }
    }

    fn nodes(&mut self, values: &[Word<'_>], p: &mut Diagnostics) {
        for word in values {
            let node = word.text.to_lowercase();
            if node.len() > 64 {
                p.error(word.place, "a node name has at most 64 characters");
            } else if self.nodes.contains(&node) {
                p.warning(word.place, format!("node `{node}` is there twice"));
            } else {
                self.nodes.push(node);
            }
        }
    }

    fn time(&mut self, name: &'static str, word: &Word<'_>, p: &mut Diagnostics) {
        match time(word.text) {
            // The shortest timer step is a millisecond; below it the daemon would only spin.
            Ok(time) if time >= Duration::from_millis(1) => {
                self.times.insert(name, (time, word.place));
            }
            Ok(_) => p.error(word.place, format!("`{name}` must be at least 1 ms")),
            Err(text) => p.error(word.place, text),
        }
    }

    fn udpport(&mut self, word: &Word<'_>, p: &mut Diagnostics) {
        match word.text.parse::<u16>() {
            Ok(port) if port > 0 => {
                if port < 1024 && port != DEFAULT_PORT {
                    p.warning(
                        word.place,
                        format!("port {port} may belong to another service"),
                    );
                }
                self.port = Some(port);
            }
            _ => p.error(word.place, "expected a UDP port 1..65535"),
        }
    }

    fn medium(&mut self, name: &Word<'_>, values: &[Word<'_>], p: &mut Diagnostics) {
        let port = self.port.unwrap_or_else(default_port);
        let interface = values[0].text.to_owned();
        match name.text {
            "ucast" => match values.get(1) {
                Some(peer) => {
                    let peer = peer.text.to_owned();
                    self.media.push(Medium::Ucast {
                        interface,
                        peer,
                        port,
                    });
                }
                None => p.error(
                    name.place,
                    format!(
                        "`ucast {interface}` lacks the address of the peer: expected \
                             `ucast INTERFACE ADDRESS`"
                    ),
                ),
            },
            "mcast" => match mcast(values) {
                Ok(medium) => self.media.push(medium),
                Err((place, text)) => p.error(place.unwrap_or(name.place), text),
            },
            old => {
                if old == "udp" {
                    p.warning(name.place, "`udp` is the old name of `bcast`");
                }
                for word in values {
                    self.media.push(Medium::Bcast {
                        interface: word.text.to_owned(),
                        port,
                    });
                }
            }
        }
    }

    fn baud(&mut self, name: &Word<'_>, word: &Word<'_>, p: &mut Diagnostics) {
        const RATES: [&str; 7] = [
            "9600", "19200", "38400", "57600", "115200", "230400", "460800",
        ];
        if std::mem::replace(&mut self.baud_seen, true) {
            p.error(name.place, "`baud` is there twice: expected only one");
        } else if !RATES.contains(&word.text) {
            p.error(word.place, format!("expected one of {}", RATES.join(", ")));
        }
    }

    fn failback(&mut self, name: &Word<'_>, word: &Word<'_>, p: &mut Diagnostics) {
        match (name.text, word.text, boolean(word.text)) {
            ("auto_failback", "legacy", _) => {
                p.warning(word.place, "`legacy` is treated as `on`");
                self.auto_failback = Some(true);
            }
            ("auto_failback", _, Some(value)) => self.auto_failback = Some(value),
            // The old directive says the opposite: a nice node does not take back.
            ("nice_failback", _, Some(value)) => {
                let read = if value { "off" } else { "on" };
                p.warning(
                    name.place,
                    format!("`nice_failback` read as `auto_failback {read}`"),
                );
                self.auto_failback = Some(!value);
            }
            _ => p.error(word.place, "expected `on`, `off` or `legacy`"),
        }
    }

    fn facility(&mut self, word: &Word<'_>, p: &mut Diagnostics) {
        match word.text {
            "none" => self.facility = Some(None),
            known if FACILITIES.contains(&known) => self.facility = Some(Some(known.to_owned())),
            other => p.error(
                word.place,
                format!(
                    "unknown facility `{other}`: expected none or {}",
                    FACILITIES.join(", ")
                ),
            ),
        }
    }

    fn check_nodes(&self, own: &str, p: &mut Diagnostics) {
        let whole = Place::default();
        if self.nodes.is_empty() {
            p.error(
                whole,
                "no `node` line: expected the names of the cluster's members",
            );
        } else if !self.nodes.iter().any(|n| n == own) {
            let text = format!(
                "this node `{own}` is not among the `node` lines ({})",
                self.nodes.join(", ")
            );
            p.error(whole, text);
        }
        if self.nodes.len() > 100 {
            p.error(whole, "more than 100 nodes");
        }
    }

    fn checked_time(&self, name: &str) -> Option<(Duration, Place)> {
        self.times.get(name).copied()
    }

    fn finish(self, own: &str, p: &mut Diagnostics) -> Option<HaCf> {
        let whole = Place::default();
        let or = |name: &str, default: Duration| {
            self.checked_time(name)
                .unwrap_or((default, Place::default()))
        };
        let (keepalive, _) = or("keepalive", Duration::from_secs(1));
        let (deadtime, deadtime_place) = or("deadtime", Duration::from_secs(30));
        let (warntime, _) = or("warntime", deadtime / 2);
        let (initdead, initdead_place) = or("initdead", default_initdead(deadtime));
        if deadtime <= keepalive * 2 {
            let text = format!(
                "deadtime {} must be more than twice keepalive {}",
                show(deadtime),
                show(keepalive)
            );
            p.error(deadtime_place, text);
        }
        if initdead < deadtime {
            let text = format!(
                "initdead {} must not be below deadtime {}",
                show(initdead),
                show(deadtime)
            );
            p.error(initdead_place, text);
        } else if initdead < Duration::from_secs(10) {
            p.warning(
                initdead_place,
                "initdead below 10 s: a peer that boots slowly counts as dead",
            );
        }
        self.check_nodes(own, p);
        if self.media.is_empty() {
            p.error(
                whole,
                "no medium for heartbeats: expected a `ucast`, `bcast` or `mcast` line",
            );
        }
        if self.auto_failback.is_none() {
            p.warning(whole, "no `auto_failback` line: treated as `on`");
        }
        let no_log = self.facility.is_none() && self.logfile.is_none() && self.debugfile.is_none();
        let default_facility = no_log.then(|| "daemon".to_owned());
        (!p.has_errors()).then_some(HaCf {
            keepalive,
            deadtime,
            warntime,
            initdead,
            auto_failback: self.auto_failback.unwrap_or(true),
            facility: self.facility.unwrap_or(default_facility),
            realtime: self.realtime.unwrap_or(true),
            log_badpack: self.log_badpack.unwrap_or(true),
            resource_timeout: self.times.get("resource_timeout").map(|(time, _)| *time),
            nodes: self.nodes,
            media: self.media,
            logfile: self.logfile,
            debugfile: self.debugfile,
            debug: self.debug,
            fencing: self.fencing,
            parameters: self.parameters,
        })
    }
}

fn flag(word: &Word<'_>, p: &mut Diagnostics) -> Option<bool> {
    let value = boolean(word.text);
    if value.is_none() {
        p.error(
            word.place,
            format!("`{}` is not a boolean: expected on or off", word.text),
        );
    }
    value
}

fn default_initdead(deadtime: Duration) -> Duration {
    if deadtime > Duration::from_secs(10) {
        deadtime
    } else if deadtime < Duration::from_secs(6) {
        Duration::from_secs(12)
    } else {
        deadtime * 2
    }
}

fn mcast(values: &[Word<'_>]) -> Result<Medium, (Option<Place>, String)> {
    const EXPECTED: &str = "expected `mcast INTERFACE GROUP PORT TTL LOOP`";
    let [interface, group, port, ttl, loopback] = values else {
        return Err((None, format!("{EXPECTED}, found {} values", values.len())));
    };
    let error = |word: &Word<'_>, what: &str| {
        (
            Some(word.place),
            format!("`{}` is no {what}: {EXPECTED}", word.text),
        )
    };
    let address: Ipv4Addr = group
        .text
        .parse()
        .map_err(|_| error(group, "IPv4 address"))?;
    if !address.is_multicast() {
        return Err(error(
            group,
            "multicast group (224.0.0.0 to 239.255.255.255)",
        ));
    }
    let number = port.text.parse().ok().filter(|n: &u16| *n > 0);
    Ok(Medium::Mcast {
        interface: interface.text.to_owned(),
        group: address,
        port: number.ok_or_else(|| error(port, "port 1..65535"))?,
        ttl: ttl
            .text
            .parse()
            .ok()
            .filter(|n: &u8| *n > 0)
            .ok_or_else(|| error(ttl, "TTL 1..255"))?,
        loopback: match loopback.text {
            "0" => false,
            "1" => true,
            _ => return Err(error(loopback, "loop flag 0 or 1")),
        },
    })
}

/// The port of the service `ha-cluster`, which an administrator may have changed.
fn default_port() -> u16 {
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    services
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("ha-cluster")).then_some(())?;
            words.next()?.strip_suffix("/udp")?.parse().ok()
        })
        .next()
        .unwrap_or(DEFAULT_PORT)
}
