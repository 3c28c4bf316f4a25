// SPDX-License-Identifier: GPL-2.0

//! The packets between nodes (specification, section 16: an own format is allowed).
//!
//! A packet is one UDP datagram of text lines, `NAME VALUE…`, the first `rdb-ha 1` with the version
//! of the format and the last the signature ([`crate::auth`]). Each packet carries the **whole** state
//! of its sender. So a lost packet needs no retransmission, the next one makes up for it, and a
//! receiver never has to put a history together.
//!
//! | line | content |
//! |---|---|
//! | `src NODE` | sender |
//! | `gen HEX` | its generation: grows with each start |
//! | `seq HEX` | grows with each packet; with `gen` the protection against replay |
//! | `st up\|active\|shutdown\|left` | [`NodeStatus`] |
//! | `dt HEX` | its deadtime in milliseconds |
//! | `res HEX` | checksum of its resource groups |
//! | `reply 0\|1` | an answer is wanted now, not at the next heartbeat |
//! | `heard NODE GEN SEQ` | the last packet of NODE that it has acted upon |
//! | `group KEY STATE FLAGS` | one for each group: [`GroupState`], [`GroupFlags`] |

use std::fmt::{self, Write};
use std::time::Duration;

/// Longest packet without its signature, bytes.
pub const PACKET_MAX: usize = 32 * 1024;

/// The version that this program speaks.
pub const VERSION: u32 = 1;

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeStatus {
    /// Talks, but takes no resources yet.
    Up,
    /// Takes part.
    Active,
    /// Gives its resources up.
    Shutdown,
    /// Has given up everything and ends.
    Left,
}

/// What a node says of its part in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupState {
    /// Not known yet: the scripts have not been asked. Counts as held.
    Unknown,
    /// Holds nothing of it.
    Stopped,
    /// Wants it, waits until the other node has agreed.
    Claiming,
    /// Found running when the daemon started.
    Leftover,
    /// Scripts are starting it.
    Starting,
    /// Runs.
    Running,
    /// Scripts are stopping it.
    Stopping,
    /// Could not be stopped, so still held.
    Stuck,
}

impl GroupState {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Unknown, "unknown"),
        (Self::Stopped, "stopped"),
        (Self::Claiming, "claiming"),
        (Self::Leftover, "leftover"),
        (Self::Starting, "starting"),
        (Self::Running, "running"),
        (Self::Stopping, "stopping"),
        (Self::Stuck, "stuck"),
    ];

    /// True if something of the group may be active on the node.
    pub fn holds(self) -> bool {
        !matches!(self, Self::Stopped | Self::Claiming)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(s, _)| *s == self)
            .map_or("", |(_, name)| name)
    }
}

/// What a node adds to its [`GroupState`]; letters in the packet, `-` if none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupFlags {
    /// `f`: a start failed here; not tried again by itself.
    pub failed: bool,
    /// `y`: given away on request; not claimed back while the other node has it.
    pub yielded: bool,
    /// `o`: runs here, the other node may have it.
    pub offered: bool,
    /// `t`: claimed because an operator asked for it.
    pub demanded: bool,
}

/// One group as a node reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReport {
    /// Key of the group.
    pub key: String,
    /// State on the sender.
    pub state: GroupState,
    /// Details.
    pub flags: GroupFlags,
}

/// The last packet of a node that the sender has acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The node.
    pub node: String,
    /// Its generation.
    pub generation: u64,
    /// Its sequence number.
    pub sequence: u64,
}

/// A packet: the whole state of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Name of the sender, lower case.
    pub source: String,
    /// Grows with each start of the sender.
    pub generation: u64,
    /// Grows with each packet of a generation.
    pub sequence: u64,
    /// What the sender says of itself.
    pub status: NodeStatus,
    /// The silence after which the sender wants to count as dead; whole milliseconds.
    pub deadtime: Duration,
    /// Checksum of the sender's resource groups.
    pub resources: u32,
    /// The sender wants an answer now.
    pub reply_wanted: bool,
    /// What the sender has heard.
    pub heard: Vec<Heard>,
    /// The sender's groups.
    pub groups: Vec<GroupReport>,
}

/// Why bytes are not a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    line: usize,
    text: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

impl std::error::Error for DecodeError {}

impl Packet {
    /// The bytes to be signed and sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("rdb-ha {VERSION}\n");
        let status = match self.status {
            NodeStatus::Up => "up",
            NodeStatus::Active => "active",
            NodeStatus::Shutdown => "shutdown",
            NodeStatus::Left => "left",
        };
        let _ = write!(
            text,
            "src {}\ngen {:x}\nseq {:x}\nst {status}\ndt {:x}\nres {:x}\nreply {}\n",
            self.source,
            self.generation,
            self.sequence,
            self.deadtime.as_millis(),
            self.resources,
            u8::from(self.reply_wanted),
        );
        for h in &self.heard {
            let _ = writeln!(text, "heard {} {:x} {:x}", h.node, h.generation, h.sequence);
        }
        for g in &self.groups {
            let _ = writeln!(
                text,
                "group {} {} {}",
                g.key,
                g.state.name(),
                letters(g.flags)
            );
        }
        text.into_bytes()
    }

    /// Reads what [`Packet::encode`] wrote. Lines may come in any order after the first; a line
    /// with an unknown name is skipped, so that later versions may add some.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] names the line and what was expected.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let error = |line: usize, text: &str| DecodeError {
            line,
            text: text.into(),
        };
        if bytes.len() > PACKET_MAX {
            return Err(error(0, "too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| error(0, "not UTF-8 text"))?;
        let mut lines = text.lines().enumerate();
        match lines.next().map(|(_, first)| first.split_once(' ')) {
            Some(Some(("rdb-ha", version))) if version == VERSION.to_string() => {}
            Some(Some(("rdb-ha", version))) => {
                let text = format!("version {version:.20} is not known, expected {VERSION}");
                return Err(error(1, &text));
            }
            _ => return Err(error(1, "expected `rdb-ha VERSION`")),
        }
        let mut draft = Draft::default();
        for (index, line) in lines {
            let words: Vec<_> = line.split(' ').collect();
            draft.line(&words).map_err(|expected| {
                error(
                    index + 1,
                    &format!("expected `{expected}`, found `{line:.60}`"),
                )
            })?;
        }
        draft
            .finish()
            .ok_or_else(|| error(0, "src, gen, seq, st, dt or res is missing"))
    }
}

#[derive(Default)]
struct Draft {
    source: Option<String>,
    generation: Option<u64>,
    sequence: Option<u64>,
    status: Option<NodeStatus>,
    deadtime: Option<Duration>,
    resources: Option<u32>,
    reply_wanted: bool,
    heard: Vec<Heard>,
    groups: Vec<GroupReport>,
}

impl Draft {
    /// Takes one line; the error is the form that was expected.
    fn line(&mut self, words: &[&str]) -> Result<(), &'static str> {
        match *words {
            ["src", node] => once(&mut self.source, name(node), "src NODE, once"),
            ["gen", value] => once(&mut self.generation, hex(value), "gen HEX, once"),
            ["seq", value] => once(&mut self.sequence, hex(value), "seq HEX, once"),
            ["res", value] => {
                let sum = hex(value).and_then(|v| u32::try_from(v).ok());
                once(&mut self.resources, sum, "res HEX, once")
            }
            ["dt", value] => {
                // Ten years: far beyond use, and far from an overflow of the timers.
                let time = hex(value).filter(|ms| (1..315_360_000_000).contains(ms));
                once(
                    &mut self.deadtime,
                    time.map(Duration::from_millis),
                    "dt HEX, once",
                )
            }
            ["st", value] => {
                let status = match value {
                    "up" => Some(NodeStatus::Up),
                    "active" => Some(NodeStatus::Active),
                    "shutdown" => Some(NodeStatus::Shutdown),
                    "left" => Some(NodeStatus::Left),
                    _ => None,
                };
                once(&mut self.status, status, "st up|active|shutdown|left, once")
            }
            ["reply", value] => match value {
                "0" | "1" => {
                    self.reply_wanted = value == "1";
                    Ok(())
                }
                _ => Err("reply 0|1"),
            },
            ["heard", node, generation, sequence] => self.heard(node, generation, sequence),
            ["group", key, state, flags] => self.group(key, state, flags),
            [
                "src" | "gen" | "seq" | "st" | "dt" | "res" | "reply" | "heard" | "group",
                ..,
            ] => Err("NAME VALUE with the right number of values"),
            [_, _, ..] => Ok(()),
            _ => Err("NAME VALUE"),
        }
    }

    fn heard(&mut self, node: &str, generation: &str, sequence: &str) -> Result<(), &'static str> {
        let heard = || {
            let (generation, sequence) = (hex(generation)?, hex(sequence)?);
            Some(Heard {
                node: name(node)?,
                generation,
                sequence,
            })
        };
        self.heard.push(heard().ok_or("heard NODE GEN SEQ")?);
        Ok(())
    }

    fn group(&mut self, key: &str, state: &str, flags: &str) -> Result<(), &'static str> {
        let state = GroupState::NAMES
            .iter()
            .find(|(_, n)| *n == state)
            .map(|(s, _)| *s);
        let known = self.groups.iter().any(|g| g.key == key);
        match (state, read_letters(flags), known || key.is_empty()) {
            (Some(state), Some(flags), false) => {
                self.groups.push(GroupReport {
                    key: key.to_owned(),
                    state,
                    flags,
                });
                Ok(())
            }
            _ => Err("group KEY STATE FLAGS, each key once"),
        }
    }

    fn finish(self) -> Option<Packet> {
        Some(Packet {
            source: self.source?,
            generation: self.generation?,
            sequence: self.sequence?,
            status: self.status?,
            deadtime: self.deadtime?,
            resources: self.resources?,
            reply_wanted: self.reply_wanted,
            heard: self.heard,
            groups: self.groups,
        })
    }
}

fn once<T>(
    slot: &mut Option<T>,
    value: Option<T>,
    expected: &'static str,
) -> Result<(), &'static str> {
    if slot.is_some() || value.is_none() {
        return Err(expected);
    }
    *slot = value;
    Ok(())
}

fn hex(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn name(text: &str) -> Option<String> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    (!text.is_empty() && text.len() <= 64 && text.chars().all(plain)).then(|| text.to_owned())
}

fn letters(flags: GroupFlags) -> String {
    let all = [
        (flags.failed, 'f'),
        (flags.yielded, 'y'),
        (flags.offered, 'o'),
        (flags.demanded, 't'),
    ];
    let set: String = all
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, letter)| letter)
        .collect();
    if set.is_empty() { "-".into() } else { set }
}

fn read_letters(text: &str) -> Option<GroupFlags> {
    let mut flags = GroupFlags::default();
    if text.is_empty() {
        return None;
    }
    for letter in text.chars() {
        match letter {
            'f' => flags.failed = true,
            'y' => flags.yielded = true,
            'o' => flags.offered = true,
            't' => flags.demanded = true,
            '-' => {}
            _ => return None,
        }
    }
    Some(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn groups() -> impl Strategy<Value = Vec<GroupReport>> {
        let state = (0..GroupState::NAMES.len()).prop_map(|at| GroupState::NAMES[at].0);
        let flags = any::<(bool, bool, bool, bool)>().prop_map(|(f, y, o, t)| GroupFlags {
            failed: f,
            yielded: y,
            offered: o,
            demanded: t,
        });
        let keys = prop::collection::btree_set("[a-zA-Z0-9:/._-]{1,40}", 0..6);
        (keys, prop::collection::vec((state, flags), 6)).prop_map(|(keys, rest)| {
            let all = keys.into_iter().zip(rest);
            all.map(|(key, (state, flags))| GroupReport { key, state, flags })
                .collect()
        })
    }

    prop_compose! {
        fn packets()(
            source in "[a-z0-9.-]{1,64}",
            (generation, sequence, resources) in any::<(u64, u64, u32)>(),
            status in prop::sample::select(vec![
                NodeStatus::Up, NodeStatus::Active, NodeStatus::Shutdown, NodeStatus::Left]),
            deadtime in (1u64..100_000_000).prop_map(Duration::from_millis),
            reply_wanted in any::<bool>(),
            heard in prop::collection::vec(("[a-z0-9.-]{1,64}", any::<(u64, u64)>()), 0..4),
            groups in groups(),
        ) -> Packet {
            let heard = heard.into_iter()
                .map(|(node, (generation, sequence))| Heard { node, generation, sequence })
                .collect();
            Packet { source, generation, sequence, status, deadtime, resources, reply_wanted,
                heard, groups }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(packet in packets()) {
            prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
        }

        #[test]
        fn damaged_bytes_never_panic(packet in packets(), at in any::<prop::sample::Index>(),
                                     byte in any::<u8>()) {
            let mut bytes = packet.encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Packet::decode(&bytes);
            let _ = Packet::decode(&bytes[..at]);
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Packet::decode(&bytes);
        }
    }

    #[test]
    fn errors_name_line_and_expectation() {
        let text = |bytes: &[u8]| Packet::decode(bytes).unwrap_err().to_string();
        assert!(text(b"hello\n").contains("line 1: expected `rdb-ha VERSION`"));
        assert!(text(b"rdb-ha 2\n").contains("version 2 is not known"));
        assert!(text(b"rdb-ha 1\nsrc a\nsrc a\n").contains("line 3: expected `src NODE, once`"));
        assert!(text(b"rdb-ha 1\ngroup k running x\n").contains("line 2: expected `group KEY"));
        assert!(text(b"rdb-ha 1\nsrc a\n").contains("missing"));
        assert!(text(&vec![b'a'; PACKET_MAX + 1]).contains("too long"));
    }

    #[test]
    fn unknown_lines_are_skipped() {
        let bytes = b"rdb-ha 1\nsrc a\ngen 1\nseq 2\nst up\ndt 7530\nres 0\nload 0.1 0.2\n";
        assert_eq!(
            Packet::decode(bytes).unwrap().deadtime,
            Duration::from_secs(30)
        );
    }
}
