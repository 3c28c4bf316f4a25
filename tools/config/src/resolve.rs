// SPDX-License-Identifier: GPL-2.0

//! What the configuration means for one node: its sections, and settings with what they inherit (configuration.md, section 5).

use std::net::IpAddr;

use crate::model::{Config, Handler, Host, Promote, Resource, Setting, Value, Volume, find};

/// Who this node is.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its host name (`uname -n`).
    pub name: String,
    /// Its addresses; `None` if they are not to be looked at.
    pub addresses: Option<Vec<IpAddr>>,
}

/// Why the peer of a resource cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerError {
    /// There is no other section.
    Missing,
    /// There are several, of these hosts, and none was chosen.
    Several(Vec<String>),
    /// No section of the chosen name.
    Unknown(String),
}

/// A resource as this node sees it.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// The configuration that it is part of.
    pub config: &'a Config,
    /// The resource.
    pub resource: &'a Resource,
    /// Section of this node.
    pub own: &'a Host,
}

/// More than one section fits this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous(pub Vec<String>);

/// The view of this node on a resource; `None` if the resource has no section for it.
pub fn local<'a>(
    config: &'a Config,
    resource: &'a Resource,
    node: &Node,
) -> Result<Option<Local<'a>>, Ambiguous> {
    let fits = |host: &&Host| {
        let by_address = host.names.is_empty()
            && host.address.as_ref().is_some_and(|address| {
                node.addresses
                    .as_ref()
                    .is_some_and(|known| known.contains(&address.ip))
            });
        by_address || host.names.contains(&node.name)
    };
    let found: Vec<&Host> = resource.hosts.iter().filter(fits).collect();
    match found.as_slice() {
        [] => Ok(None),
        [own] => Ok(Some(Local {
            config,
            resource,
            own,
        })),
        several => Err(Ambiguous(
            several.iter().map(|host| host.section()).collect(),
        )),
    }
}

impl<'a> Local<'a> {
    /// The section of the other node: the only other one, or the one that is chosen by name.
    pub fn peer(&self, chosen: Option<&str>) -> Result<&'a Host, PeerError> {
        let others: Vec<&Host> = self
            .resource
            .hosts
            .iter()
            .filter(|host| host.span != self.own.span)
            .collect();
        if let Some(name) = chosen {
            let found = others
                .iter()
                .find(|host| host.names.iter().any(|known| known == name) || host.label() == name);
            return found
                .copied()
                .ok_or_else(|| PeerError::Unknown(name.to_owned()));
        }
        match others.as_slice() {
            [] => Err(PeerError::Missing),
            [one] => Ok(one),
            several => Err(PeerError::Several(
                several.iter().map(|host| host.label()).collect(),
            )),
        }
    }

    /// The volume of this number.
    pub fn volume(&self, number: u16) -> Option<&'a Volume> {
        self.own
            .volumes
            .iter()
            .find(|volume| volume.number == number)
    }

    /// Options of the connection; `discard-node-HOST` is resolved.
    pub fn net(&self) -> Vec<Setting> {
        let mut settings = net(self.config, self.resource);
        for setting in &mut settings {
            if let Value::DiscardNode(host) = &setting.value {
                // Numbers of discard-local and discard-remote.
                let (number, name) = match self.own.names.contains(host) {
                    true => (5, "discard-local"),
                    false => (6, "discard-remote"),
                };
                setting.value = Value::Choice(number);
                setting.text = name.into();
            }
        }
        settings
    }

    /// Options of a volume.
    pub fn disk(&self, volume: &Volume) -> Vec<Setting> {
        disk(self.config, self.resource, volume)
    }

    /// Options of the resource.
    pub fn options(&self) -> Vec<Setting> {
        options(self.config, self.resource)
    }

    /// Handlers.
    pub fn handlers(&self) -> Vec<Handler> {
        handlers(self.config, self.resource)
    }

    /// Whether this node is to be promoted at boot.
    pub fn becomes_primary(&self) -> bool {
        let own = self.resource.sections.startup.become_primary_on.as_ref();
        let common = self.config.common.as_ref();
        let common = common.and_then(|common| common.startup.become_primary_on.as_ref());
        match own.or(common) {
            Some((Promote::Both, _)) => true,
            Some((Promote::Hosts(hosts), _)) => {
                self.own.names.iter().any(|name| hosts.contains(name))
            }
            None => false,
        }
    }
}

/// Own settings, and in front of them those of wider levels that are not set nearer.
fn inherit(near: &[Setting], wider: &[&[Setting]]) -> Vec<Setting> {
    let mut all = near.to_vec();
    for level in wider {
        for setting in *level {
            if find(&all, setting.option.name).is_none() {
                all.insert(0, setting.clone());
            }
        }
    }
    all
}

fn common(config: &Config, part: fn(&crate::model::Sections) -> &[Setting]) -> &[Setting] {
    config.common.as_ref().map_or(&[], part)
}

/// Options of the connection of a resource.
pub fn net(config: &Config, resource: &Resource) -> Vec<Setting> {
    inherit(
        &resource.sections.net,
        &[common(config, |sections| &sections.net)],
    )
}

/// Options of a volume of a host; what the resource says about the volume is merged into it already.
pub fn disk(config: &Config, resource: &Resource, volume: &Volume) -> Vec<Setting> {
    inherit(
        &volume.options,
        &[
            &resource.sections.disk,
            common(config, |sections| &sections.disk),
        ],
    )
}

/// Options of a resource.
pub fn options(config: &Config, resource: &Resource) -> Vec<Setting> {
    inherit(
        &resource.sections.options,
        &[common(config, |sections| &sections.options)],
    )
}

/// Startup options of a resource.
pub fn startup(config: &Config, resource: &Resource) -> Vec<Setting> {
    inherit(
        &resource.sections.startup.settings,
        &[common(config, |sections| &sections.startup.settings)],
    )
}

/// Handlers of a resource.
pub fn handlers(config: &Config, resource: &Resource) -> Vec<Handler> {
    let mut all = resource.sections.handlers.clone();
    for handler in config.common.iter().flat_map(|common| &common.handlers) {
        if all.iter().all(|known| known.name != handler.name) {
            all.push(handler.clone());
        }
    }
    all
}

/// How long to wait for the peer at boot, in seconds; 0 is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Ordinarily.
    pub wfc: u64,
    /// When this node was alone before already.
    pub degraded: u64,
    /// When the peer is known to be outdated.
    pub outdated: u64,
    /// Wait on after a split brain.
    pub wait_after_sb: bool,
}

/// The timeouts of a resource, and the settings that had to be lowered, with what they exceed.
pub fn timeouts(config: &Config, resource: &Resource) -> (Timeouts, Vec<(Setting, String)>) {
    let settings = startup(config, resource);
    let number = |name: &str| match find(&settings, name).map(|setting| &setting.value) {
        Some(Value::Number(number)) => *number,
        _ => 0,
    };
    // 0 is for ever and so the largest.
    let rank = |seconds: u64| if seconds == 0 { u64::MAX } else { seconds };
    let mut lowered = Vec::new();
    let mut limited = |name: &str, limit: u64, limit_name: &str| {
        let value = number(name);
        if rank(value) <= rank(limit) {
            return value;
        }
        let setting = find(&settings, name);
        lowered.extend(setting.map(|setting| (setting.clone(), format!("{limit_name} {limit}"))));
        limit
    };
    let wfc = number("wfc-timeout");
    let degraded = limited("degr-wfc-timeout", wfc, "wfc-timeout");
    let outdated = limited("outdated-wfc-timeout", degraded, "degr-wfc-timeout");
    let wait_after_sb = find(&settings, "wait-after-sb")
        .is_some_and(|setting| setting.value == Value::Switch(true));
    (
        Timeouts {
            wfc,
            degraded,
            outdated,
            wait_after_sb,
        },
        lowered,
    )
}
