// SPDX-License-Identifier: GPL-2.0

//! Single steps: how they are printed, and which request they make.

use std::net::IpAddr;

use rdb_config::model::{Address, Config, Setting, Value};
use rdb_config::resolve::{self, Node};
use rdb_netlink::{Message, attr, cmd};

use crate::meta::Place;

/// One step of a command.
#[derive(Clone, Debug)]
pub struct Action {
    /// The resource or volume, as messages name it.
    pub object: String,
    /// What to do.
    pub step: Step,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Make a resource.
    NewResource(String, Vec<Setting>),
    /// Make a volume: resource, minor, volume.
    NewMinor(String, u32, u16),
    /// Apply the activity log.
    ApplyLog(u32, Place),
    /// Attach a lower disk.
    Attach(u32, Place, Vec<Setting>),
    /// Connect.
    Connect(Box<Connect>),
    /// Change options: command, its name, resource or minor, defaults for the others, options.
    Options(u8, &'static str, Subject, bool, Vec<Setting>),
    /// A request without options: command, its name, resource or minor, flags by attribute and name.
    Plain(u8, &'static str, Subject, Vec<(u16, &'static str)>),
    /// A request with numbers: command, its name, minor, numbers by attribute and name, flags.
    Numbers(
        u8,
        &'static str,
        u32,
        Vec<(u16, &'static str, u64)>,
        Vec<(u16, &'static str)>,
    ),
}

/// What a request is addressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A resource.
    Resource(String),
    /// A volume.
    Minor(u32),
}

/// A connection to be made.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The resource.
    pub resource: String,
    /// Own address.
    pub local: Address,
    /// Address of the peer.
    pub peer: Address,
    /// Net options.
    pub options: Vec<Setting>,
    /// Give up own changes after a split brain.
    pub discard_my_data: bool,
    /// Only find out what would happen.
    pub tentative: bool,
}

impl Action {
    /// A step for a resource or volume.
    pub fn new(object: impl Into<String>, step: Step) -> Self {
        Self {
            object: object.into(),
            step,
        }
    }

    /// The step as a call of a low-level program.
    pub fn call(&self, config: &Config, node: &Node) -> String {
        let long = |setting: &Setting| long(setting, config, node);
        let mut words: Vec<String> = vec!["rdbsetup".into()];
        let mut add = |word: &str| words.push(escape(word));
        match &self.step {
            Step::NewResource(name, options) => {
                add("new-resource");
                add(name);
                options.iter().for_each(|option| add(&long(option)));
            }
            Step::NewMinor(name, minor, volume) => {
                let words = [
                    "new-minor".into(),
                    name.clone(),
                    minor.to_string(),
                    volume.to_string(),
                ];
                words.iter().for_each(|word| add(word));
            }
            Step::ApplyLog(minor, place) => {
                let disk = escape(&place.meta_disk);
                return format!("rdbmeta {minor} v08 {disk} {} apply-al", place.kind());
            }
            Step::Attach(minor, place, options) => {
                let fixed = ["attach", &minor.to_string(), &place.disk, &place.meta_disk];
                fixed.iter().for_each(|word| add(word));
                add(&place.index_word());
                options.iter().for_each(|option| add(&long(option)));
            }
            Step::Connect(connect) => {
                add("connect");
                add(&connect.resource);
                add(&endpoint(&connect.local));
                add(&endpoint(&connect.peer));
                if connect.discard_my_data {
                    add("--discard-my-data");
                }
                if connect.tentative {
                    add("--tentative");
                }
                connect.options.iter().for_each(|option| add(&long(option)));
            }
            Step::Options(_, name, subject, defaults, options) => {
                add(name);
                add(&subject.word());
                if *defaults {
                    add("--set-defaults");
                }
                options.iter().for_each(|option| add(&long(option)));
            }
            Step::Plain(_, name, subject, flags) => {
                add(name);
                add(&subject.word());
                flags.iter().for_each(|(_, flag)| add(&format!("--{flag}")));
            }
            Step::Numbers(_, name, minor, numbers, flags) => {
                add(name);
                add(&minor.to_string());
                numbers
                    .iter()
                    .for_each(|(_, name, number)| add(&format!("--{name}={number}")));
                flags.iter().for_each(|(_, flag)| add(&format!("--{flag}")));
            }
        }
        words.join(" ")
    }

    /// The request to the module; `None` for steps that the program does itself.
    pub fn request(&self, config: &Config, node: &Node) -> Option<Message> {
        let settings = |message, settings: &[Setting]| {
            settings.iter().fold(message, |message, setting| {
                carry(message, setting, config, node)
            })
        };
        Some(match &self.step {
            Step::ApplyLog(..) => return None,
            Step::NewResource(name, options) => settings(
                Message::new(cmd::RESOURCE_ADD).text(attr::RESOURCE_NAME, name),
                options,
            ),
            Step::NewMinor(name, minor, volume) => Message::new(cmd::VOLUME_ADD)
                .text(attr::RESOURCE_NAME, name)
                .u32(attr::VOLUME, (*volume).into())
                .u32(attr::MINOR, *minor),
            Step::Attach(minor, place, options) => {
                let message = Message::new(cmd::ATTACH)
                    .u32(attr::MINOR, *minor)
                    .text(attr::LOWER_DISK, &place.disk)
                    .text(attr::META_DISK, &place.meta_disk)
                    .s32(attr::META_INDEX, place.placement.to_index());
                settings(message, options)
            }
            Step::Connect(connect) => {
                let message =
                    Message::new(cmd::CONNECT).text(attr::RESOURCE_NAME, &connect.resource);
                let message = address(message, &connect.local, attr::LOCAL_ADDR);
                let message = address(message, &connect.peer, attr::PEER_ADDR)
                    .flag(attr::DISCARD_MY_DATA, connect.discard_my_data)
                    .flag(attr::TENTATIVE, connect.tentative);
                settings(message, &connect.options)
            }
            Step::Options(command, _, subject, defaults, options) => {
                let message = subject.address(Message::new(*command));
                settings(message.flag(attr::SET_DEFAULTS, *defaults), options)
            }
            Step::Plain(command, _, subject, flags) => {
                let message = subject.address(Message::new(*command));
                flags
                    .iter()
                    .fold(message, |message, (number, _)| message.flag(*number, true))
            }
            Step::Numbers(command, _, minor, numbers, flags) => {
                let message = Message::new(*command).u32(attr::MINOR, *minor);
                let message = numbers.iter().fold(message, |message, (number, _, value)| {
                    message.u64(*number, *value)
                });
                flags
                    .iter()
                    .fold(message, |message, (number, _)| message.flag(*number, true))
            }
        })
    }
}

impl Subject {
    fn word(&self) -> String {
        match self {
            Self::Resource(name) => name.clone(),
            Self::Minor(minor) => minor.to_string(),
        }
    }

    fn address(&self, message: Message) -> Message {
        match self {
            Self::Resource(name) => message.text(attr::RESOURCE_NAME, name),
            Self::Minor(minor) => message.u32(attr::MINOR, *minor),
        }
    }
}

/// `af:address:port` of the low-level program.
fn endpoint(address: &Address) -> String {
    address.to_string().replacen(' ', ":", 1)
}

/// Address, port and scope; the three attributes follow each other.
fn address(message: Message, address: &Address, first: u16) -> Message {
    let message = match address.ip {
        IpAddr::V4(ip) => message.bytes(first, &ip.octets()),
        IpAddr::V6(ip) => message.bytes(first, &ip.octets()),
    };
    let message = message.u16(first + 1, address.port);
    let scope = address.scope.as_deref().and_then(scope_index);
    match scope {
        Some(index) => message.u32(first + 2, index),
        None => message,
    }
}

/// Index of an interface by name or number.
fn scope_index(scope: &str) -> Option<u32> {
    scope
        .parse()
        .ok()
        .or_else(|| nix::net::if_::if_nametoindex(scope).ok())
}

/// An option as an attribute.
fn carry(message: Message, setting: &Setting, config: &Config, node: &Node) -> Message {
    let number = setting.option.attr;
    if number == 0 {
        return message;
    }
    match &setting.value {
        Value::Number(value) if number == attr::SIZE => message.u64(number, *value),
        // Ranges are checked, and all others fit.
        Value::Number(value) => message.u32(number, u32::try_from(*value).unwrap_or(u32::MAX)),
        Value::Switch(on) => message.u32(number, (*on).into()),
        Value::Choice(choice) => message.u32(number, *choice),
        Value::Text(text) => message.text(number, text),
        Value::Volume(resource, volume) => message.s32(
            number,
            minor_of(config, node, resource, *volume).unwrap_or(-1),
        ),
        Value::DiscardNode(_) => message,
    }
}

/// Minor number of a volume on this node.
pub fn minor_of(config: &Config, node: &Node, resource: &str, volume: u16) -> Option<i32> {
    let resource = config.resource(resource)?;
    let local = resolve::local(config, resource, node).ok()??;
    let device = local.volume(volume)?.device.as_ref()?;
    i32::try_from(device.minor).ok()
}

fn long(setting: &Setting, config: &Config, node: &Node) -> String {
    let name = setting.option.name;
    match &setting.value {
        Value::Volume(resource, volume) => {
            format!(
                "--{name}={}",
                minor_of(config, node, resource, *volume).unwrap_or(-1)
            )
        }
        _ => format!("--{name}={}", setting.text),
    }
}

/// A word as a shell would need it.
fn escape(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_./:=,+@%-".contains(letter);
    word.chars()
        .flat_map(|letter| (!plain(letter)).then_some('\\').into_iter().chain([letter]))
        .collect()
}
