// SPDX-License-Identifier: GPL-2.0

//! What a configuration says, as written.

use std::net::IpAddr;

use rdb_engine::options::Opt;

use crate::source::{Diagnostic, Sources, Span};

/// Value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number in the unit of the option.
    Number(u64),
    /// yes or no.
    Switch(bool),
    /// Number of the chosen name.
    Choice(u32),
    /// A text.
    Text(String),
    /// A volume of a resource (`resync-after`).
    Volume(String, u16),
    /// `discard-node-HOST`: becomes discard-local or discard-remote where it is used.
    DiscardNode(String),
}

/// An option and its value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Which option.
    pub option: &'static Opt,
    /// Its value.
    pub value: Value,
    /// The value as written; switches are `yes` or `no`.
    pub text: String,
    /// Place of the name.
    pub span: Span,
}

/// A handler and its command line.
#[derive(Clone, Debug)]
pub struct Handler {
    /// Name, in its new spelling.
    pub name: String,
    /// Command line for the shell.
    pub command: String,
    /// Place of the name.
    pub span: Span,
}

/// Who is promoted at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promote {
    /// Both nodes.
    Both,
    /// These hosts.
    Hosts(Vec<String>),
}

/// Section `startup`.
#[derive(Clone, Debug, Default)]
pub struct Startup {
    /// Timeouts and wait-after-sb.
    pub settings: Vec<Setting>,
    /// become-primary-on, with its place.
    pub become_primary_on: Option<(Promote, Span)>,
}

/// The sections that a resource and `common` have alike.
#[derive(Clone, Debug, Default)]
pub struct Sections {
    /// Options of the connection.
    pub net: Vec<Setting>,
    /// Options of the disks.
    pub disk: Vec<Setting>,
    /// Options of the resource.
    pub options: Vec<Setting>,
    /// Section startup.
    pub startup: Startup,
    /// Section handlers.
    pub handlers: Vec<Handler>,
}

/// Block device of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Whether a name was written, and not only `minor N`.
    pub named: bool,
    /// Minor number.
    pub minor: u32,
    /// Place.
    pub span: Span,
}

/// Where the metadata is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meta {
    /// At the end of the lower disk.
    Internal,
    /// On a device of its own, of any size.
    Flexible(String),
    /// In a slot of 128 MiB of a device.
    Indexed(String, u32),
}

/// A volume, as far as one level of the configuration describes it.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Number.
    pub number: u16,
    /// Written as `volume N { … }`.
    pub explicit: bool,
    /// Block device.
    pub device: Option<Device>,
    /// Lower disk and its place.
    pub disk: Option<(String, Span)>,
    /// Metadata and its place.
    pub meta: Option<(Meta, Span)>,
    /// Options of this volume.
    pub options: Vec<Setting>,
    /// Place.
    pub span: Span,
}

/// Address of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// IP address.
    pub ip: IpAddr,
    /// Interface of a link-local IPv6 address.
    pub scope: Option<String>,
    /// TCP port.
    pub port: u16,
    /// Place.
    pub span: Span,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.ip, &self.scope) {
            (IpAddr::V4(ip), _) => write!(f, "ipv4 {ip}:{}", self.port),
            (IpAddr::V6(ip), None) => write!(f, "ipv6 [{ip}]:{}", self.port),
            (IpAddr::V6(ip), Some(scope)) => write!(f, "ipv6 [{ip}%{scope}]:{}", self.port),
        }
    }
}

/// Section `on` or `floating`.
#[derive(Clone, Debug)]
pub struct Host {
    /// Host names; none for `floating`.
    pub names: Vec<String>,
    /// Address; missing only in a configuration with errors.
    pub address: Option<Address>,
    /// Volumes, by number.
    pub volumes: Vec<Volume>,
    /// Place of the keyword.
    pub span: Span,
}

impl Host {
    /// The first name, or the address of a floating section.
    pub fn label(&self) -> String {
        match (self.names.first(), &self.address) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) if address.ip.is_ipv6() => {
                format!("[{}]:{}", address.ip, address.port)
            }
            (None, Some(address)) => format!("{}:{}", address.ip, address.port),
            (None, None) => "?".into(),
        }
    }

    /// The section as messages name it.
    pub fn section(&self) -> String {
        match self.names.is_empty() {
            true => format!("floating {}", self.label()),
            false => format!("on {}", self.names.join(" ")),
        }
    }
}

/// A resource.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Name.
    pub name: String,
    /// Place of the keyword.
    pub span: Span,
    /// Its sections.
    pub sections: Sections,
    /// Defaults of volumes for all hosts. They are merged into the hosts when the file is read.
    pub volumes: Vec<Volume>,
    /// Host sections, in their order.
    pub hosts: Vec<Host>,
}

/// A whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The files that it consists of; the first is the main one.
    pub sources: Sources,
    /// Section global.
    pub global: Vec<Setting>,
    /// Section common.
    pub common: Option<Sections>,
    /// Resources, in their order.
    pub resources: Vec<Resource>,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// Name of the main file.
    pub fn main_file(&self) -> &str {
        self.sources.name(0)
    }

    /// The resource of this name.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == name)
    }

    /// Whether a switch of section global is on.
    pub fn global_switch(&self, name: &str) -> bool {
        let setting = self
            .global
            .iter()
            .find(|setting| setting.option.name == name);
        setting.is_some_and(|setting| setting.value == Value::Switch(true))
    }
}

/// The setting of this name.
pub fn find<'a>(settings: &'a [Setting], name: &str) -> Option<&'a Setting> {
    settings.iter().find(|setting| setting.option.name == name)
}
