// SPDX-License-Identifier: GPL-2.0

//! Checks over the whole configuration (configuration.md, sections 3 to 5 and 8). All problems are reported, not only the first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{Config, Host, Meta, Promote, Resource, Sections, Setting, Value, Volume, find};
use crate::resolve;
use crate::source::{Diagnostic, Severity, Span};

/// Merges the volumes of the resources into their hosts, checks, and gives the errors; warnings go into the configuration.
pub fn finish(config: &mut Config) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let common = config.common.clone().unwrap_or_default();
    for resource in &mut config.resources {
        mixed_volumes(resource, &mut problems);
        merge_volumes(resource, &common, &mut problems);
        volume_sets(resource, &mut problems);
        missing_statements(resource, &mut problems);
        promotion(resource, &common, &mut problems);
        discard_node(resource, &common, &mut problems);
    }
    common_promotion(config, &common, &mut problems);
    timeouts(config, &mut problems);
    host_names(config, &mut problems);
    minors(config, &mut problems);
    addresses(config, &mut problems);
    meta_disks(config, &mut problems);
    resync_after(config, &mut problems);
    let (warnings, errors): (Vec<_>, Vec<_>) = problems
        .into_iter()
        .partition(|problem| problem.severity == Severity::Warning);
    config.warnings.extend(warnings);
    errors
}

fn mixed_volumes(resource: &Resource, problems: &mut Vec<Diagnostic>) {
    let all = || {
        let own = resource
            .volumes
            .iter()
            .map(|volume| (String::from("the resource"), volume));
        let hosts = resource.hosts.iter().flat_map(|host| {
            host.volumes
                .iter()
                .map(move |volume| (format!("'{}'", host.section()), volume))
        });
        own.chain(hosts)
    };
    let implicit = all().find(|(_, volume)| !volume.explicit);
    let explicit = all().find(|(_, volume)| volume.explicit);
    if let (Some((here, plain)), Some((there, numbered))) = (implicit, explicit) {
        let text = format!(
            "resource {}: {here} has statements of a volume without 'volume', {there} has volume {}; use one form for all",
            resource.name, numbered.number
        );
        problems
            .push(Diagnostic::error(plain.span, text).see(numbered.span, "the other form is here"));
    }
}

/// The nearest level wins, option by option.
fn merge_volumes(resource: &mut Resource, common: &Sections, problems: &mut Vec<Diagnostic>) {
    let mut differs: BTreeMap<(u16, &str), Diagnostic> = BTreeMap::new();
    for host in &mut resource.hosts {
        for default in &resource.volumes {
            let Some(own) = host
                .volumes
                .iter_mut()
                .find(|own| own.number == default.number)
            else {
                host.volumes.push(Volume {
                    span: host.span,
                    ..default.clone()
                });
                continue;
            };
            own.device = own.device.take().or_else(|| default.device.clone());
            own.disk = own.disk.take().or_else(|| default.disk.clone());
            own.meta = own.meta.take().or_else(|| default.meta.clone());
            for setting in &default.options {
                if find(&own.options, setting.option.name).is_none() {
                    own.options.push(setting.clone());
                }
            }
        }
        host.volumes.sort_by_key(|volume| volume.number);
        for default in &resource.volumes {
            let Some(own) = host.volumes.iter().find(|own| own.number == default.number) else {
                continue;
            };
            for setting in &default.options {
                let name = setting.option.name;
                let inherited =
                    find(&own.options, name).is_some_and(|used| used.span == setting.span);
                let wide = find(&resource.sections.disk, name).or_else(|| find(&common.disk, name));
                if let Some(wide) = wide.filter(|wide| inherited && wide.value != setting.value) {
                    let text = format!(
                        "{name} of volume {} is {} here; drbdadm 8.4 would have used {}",
                        default.number, setting.text, wide.text
                    );
                    let problem = Diagnostic::warning(setting.span, text);
                    let problem = problem.see(wide.span, "the wider setting is here");
                    differs.entry((default.number, name)).or_insert(problem);
                }
            }
        }
    }
    problems.extend(differs.into_values());
}

fn numbers(host: &Host) -> BTreeSet<u16> {
    host.volumes.iter().map(|volume| volume.number).collect()
}

fn volume_sets(resource: &Resource, problems: &mut Vec<Diagnostic>) {
    let all: BTreeSet<u16> = resource.hosts.iter().flat_map(numbers).collect();
    for host in &resource.hosts {
        let missing: Vec<String> = all.difference(&numbers(host)).map(u16::to_string).collect();
        if missing.is_empty() || host.volumes.is_empty() {
            continue;
        }
        let text = format!(
            "resource {}, '{}': volume {} is missing, other hosts have it",
            resource.name,
            host.section(),
            missing.join(", ")
        );
        problems.push(Diagnostic::error(host.span, text));
    }
}

fn missing_statements(resource: &mut Resource, problems: &mut Vec<Diagnostic>) {
    let name = resource.name.clone();
    for host in &mut resource.hosts {
        let section = host.section();
        let mut missing = |place: &str, what: &str| {
            let text = format!("resource {name}, '{section}'{place}: '{what}' is missing");
            problems.push(Diagnostic::error(host.span, text));
        };
        if host.address.is_none() {
            missing("", "address");
        }
        if host.volumes.is_empty() {
            missing("", "device");
            missing("", "disk");
        }
        for volume in &mut host.volumes {
            let place = match volume.explicit {
                true => format!(", volume {}", volume.number),
                false => String::new(),
            };
            if volume.device.is_none() {
                missing(&place, "device");
            }
            if volume.disk.is_none() {
                missing(&place, "disk");
            }
            if volume.meta.is_none() {
                volume.meta = Some((Meta::Internal, volume.span));
            }
        }
    }
}

fn two_primaries(resource: &Resource, common: &Sections) -> bool {
    let name = "allow-two-primaries";
    let setting = find(&resource.sections.net, name).or_else(|| find(&common.net, name));
    setting.is_some_and(|setting| setting.value == Value::Switch(true))
}

fn has_host(resource: &Resource, name: &str) -> bool {
    resource
        .hosts
        .iter()
        .any(|host| host.names.iter().any(|known| known == name))
}

fn promotion(resource: &Resource, common: &Sections, problems: &mut Vec<Diagnostic>) {
    let own = resource.sections.startup.become_primary_on.as_ref();
    match own.or(common.startup.become_primary_on.as_ref()) {
        Some((Promote::Both, span)) if !two_primaries(resource, common) => {
            let text = format!(
                "resource {}: become-primary-on both needs allow-two-primaries yes in section net",
                resource.name
            );
            problems.push(Diagnostic::error(*span, text));
        }
        Some((Promote::Hosts(hosts), span)) if own.is_some() => {
            for host in hosts.iter().filter(|host| !has_host(resource, host)) {
                let text = format!(
                    "resource {}: become-primary-on names {host}, which has no section 'on {host}'",
                    resource.name
                );
                problems.push(Diagnostic::error(*span, text));
            }
        }
        _ => {}
    }
}

fn common_promotion(config: &Config, common: &Sections, problems: &mut Vec<Diagnostic>) {
    if let Some((Promote::Hosts(hosts), span)) = &common.startup.become_primary_on {
        for host in hosts {
            if !config
                .resources
                .iter()
                .any(|resource| has_host(resource, host))
            {
                let text =
                    format!("become-primary-on names {host}, which no resource has a section for");
                problems.push(Diagnostic::error(*span, text));
            }
        }
    }
}

fn discard_node(resource: &Resource, common: &Sections, problems: &mut Vec<Diagnostic>) {
    let setting = find(&resource.sections.net, "after-sb-0pri")
        .or_else(|| find(&common.net, "after-sb-0pri"));
    if let Some(Setting {
        value: Value::DiscardNode(host),
        span,
        ..
    }) = setting
    {
        if !has_host(resource, host) {
            let text = format!(
                "resource {}: discard-node-{host} names no host of this resource",
                resource.name
            );
            problems.push(Diagnostic::error(*span, text));
        }
    }
}

fn timeouts(config: &Config, problems: &mut Vec<Diagnostic>) {
    for resource in &config.resources {
        for (setting, limit) in resolve::timeouts(config, resource).1 {
            let text = format!(
                "{} {} exceeds {limit}; the smaller one is used",
                setting.option.name, setting.text
            );
            problems.push(Diagnostic::warning(setting.span, text));
        }
    }
    problems.dedup();
}

/// Every host section with the names that stand for its node.
fn hosts(config: &Config) -> impl Iterator<Item = (&Resource, &Host, Vec<String>)> {
    config.resources.iter().flat_map(|resource| {
        resource.hosts.iter().map(move |host| {
            let names = match host.names.is_empty() {
                true => vec![host.label()],
                false => host.names.clone(),
            };
            (resource, host, names)
        })
    })
}

fn host_names(config: &Config, problems: &mut Vec<Diagnostic>) {
    for resource in &config.resources {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for host in &resource.hosts {
            for name in &host.names {
                if let Some(first) = seen.insert(name, host.span) {
                    let text = format!(
                        "resource {}: a second section for host {name}",
                        resource.name
                    );
                    problems.push(
                        Diagnostic::error(host.span, text).see(first, "the first one is here"),
                    );
                }
            }
        }
    }
}

fn minors(config: &Config, problems: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<(String, u32), (Span, String)> = HashMap::new();
    for (resource, host, names) in hosts(config) {
        for volume in &host.volumes {
            let Some(device) = &volume.device else {
                continue;
            };
            for name in &names {
                let place = format!("resource {}, volume {}", resource.name, volume.number);
                match seen.get(&(name.clone(), device.minor)) {
                    Some((first, other)) => {
                        let text =
                            format!("{place}: minor {} is taken on host {name}", device.minor);
                        problems.push(
                            Diagnostic::error(device.span, text).see(*first, format!("by {other}")),
                        );
                    }
                    None => {
                        seen.insert((name.clone(), device.minor), (device.span, place));
                    }
                }
            }
        }
    }
}

fn addresses(config: &Config, problems: &mut Vec<Diagnostic>) {
    let mut seen: Vec<(&crate::model::Address, Vec<String>, &Resource)> = Vec::new();
    for (resource, host, names) in hosts(config) {
        let Some(address) = &host.address else {
            continue;
        };
        let clash = seen.iter().find(|(other, others, _)| {
            (other.ip, other.port, &other.scope) == (address.ip, address.port, &address.scope)
                && (!address.ip.is_loopback() || others.iter().any(|name| names.contains(name)))
        });
        if let Some((first, _, other)) = clash {
            let text = format!(
                "resource {}: address {address} is used twice",
                resource.name
            );
            let problem = Diagnostic::error(address.span, text);
            problems.push(problem.see(first.span, format!("by resource {}", other.name)));
        }
        seen.push((address, names, resource));
    }
}

fn meta_disks(config: &Config, problems: &mut Vec<Diagnostic>) {
    let mut seen: Vec<(Vec<String>, String, Option<u32>, Span)> = Vec::new();
    for (resource, host, names) in hosts(config) {
        for volume in &host.volumes {
            let (device, index, span) = match &volume.meta {
                Some((Meta::Flexible(device), span)) => (device, None, *span),
                Some((Meta::Indexed(device, index), span)) => (device, Some(*index), *span),
                _ => continue,
            };
            let clash = seen.iter().find(|(others, other, other_index, _)| {
                other == device
                    && (index.is_none() || other_index.is_none() || *other_index == index)
                    && others.iter().any(|name| names.contains(name))
            });
            if let Some((_, _, _, first)) = clash {
                let slot = index.map_or(String::new(), |index| format!("[{index}]"));
                let text = format!(
                    "resource {}, '{}': meta-disk {device}{slot} is used twice",
                    resource.name,
                    host.section()
                );
                problems.push(Diagnostic::error(span, text).see(*first, "the first use is here"));
            }
            seen.push((names.clone(), device.clone(), index, span));
        }
    }
}

type Node = (String, u16);

/// `resync-after` must name a volume and must not lead back to where it began.
fn resync_after(config: &Config, problems: &mut Vec<Diagnostic>) {
    let mut edges: BTreeMap<Node, (Node, Span)> = BTreeMap::new();
    for (resource, host, _) in hosts(config) {
        for volume in &host.volumes {
            for setting in resolve::disk(config, resource, volume) {
                if let ("resync-after", Value::Volume(name, number)) =
                    (setting.option.name, &setting.value)
                {
                    let from = (resource.name.clone(), volume.number);
                    edges.insert(from, ((name.clone(), *number), setting.span));
                }
            }
        }
    }
    let mut unknown: Vec<Span> = Vec::new();
    for ((name, number), span) in edges.values() {
        let known = config.resource(name).is_some_and(|resource| {
            resource
                .hosts
                .iter()
                .any(|host| host.volumes.iter().any(|volume| volume.number == *number))
        });
        if !known && !unknown.contains(span) {
            unknown.push(*span);
            let text = format!(
                "resync-after names {name}/{number}, which is no volume of this configuration"
            );
            problems.push(Diagnostic::error(*span, text));
        }
    }
    for (start, (_, span)) in &edges {
        let mut at = start;
        for _ in 0..edges.len() {
            let Some((next, _)) = edges.get(at) else {
                break;
            };
            if next == start {
                let text = format!(
                    "resync-after makes a cycle: {}/{} waits for itself",
                    start.0, start.1
                );
                problems.push(Diagnostic::error(*span, text));
                break;
            }
            at = next;
        }
    }
}
