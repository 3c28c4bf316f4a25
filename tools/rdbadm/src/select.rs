// SPDX-License-Identifier: GPL-2.0

//! From the words of the command line to resources and volumes (admin-tool.md, section 2).

use rdb_config::Config;
use rdb_config::model::Volume;
use rdb_config::resolve::{self, Local, Node};

use crate::failure::{Failure, Outcome, exit};

/// A resource that a command is about, and the volumes that are meant.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The resource as this node sees it.
    pub local: Local<'a>,
    /// Its volumes, or the one that was named.
    pub volumes: Vec<&'a Volume>,
    /// Only some of the volumes were named.
    pub partial: bool,
}

impl Target<'_> {
    /// Name of the resource.
    pub fn name(&self) -> &str {
        &self.local.resource.name
    }

    /// A volume as messages name it.
    pub fn object(&self, volume: &Volume) -> String {
        format!("{}/{}", self.name(), volume.number)
    }
}

/// What a word names.
enum Word<'a> {
    All,
    Resource(&'a str),
    Volume(&'a str, u16),
    Minor(u32),
}

fn read(word: &str) -> Word<'_> {
    if word == "all" {
        return Word::All;
    }
    let device = word.strip_prefix("/dev/").unwrap_or_default();
    let by_res = ["rdb/by-res/", "drbd/by-res/"]
        .iter()
        .find_map(|prefix| device.strip_prefix(prefix));
    let word = by_res.unwrap_or(word);
    let number = ["minor-", "/dev/rdb", "/dev/drbd"]
        .iter()
        .find_map(|prefix| word.strip_prefix(prefix));
    if let Some(minor) = number.and_then(|number| number.parse().ok()) {
        return Word::Minor(minor);
    }
    match word
        .rsplit_once('/')
        .map(|(name, volume)| (name, volume.parse()))
    {
        Some((name, Ok(volume))) if !name.is_empty() => Word::Volume(name, volume),
        _ => Word::Resource(word),
    }
}

/// All resources that have a section for this node.
fn all<'a>(config: &'a Config, node: &Node) -> Outcome<Vec<Local<'a>>> {
    let mut found = Vec::new();
    for resource in &config.resources {
        found.extend(local(config, &resource.name, node)?);
    }
    if found.is_empty() {
        let text = format!(
            "no resource is defined for this host ({}): is its name after 'on' spelt as uname -n prints it?",
            node.name
        );
        return Err(Failure::usage(text));
    }
    Ok(found)
}

fn local<'a>(config: &'a Config, name: &str, node: &Node) -> Outcome<Option<Local<'a>>> {
    let Some(resource) = config.resource(name) else {
        let known = config
            .resources
            .iter()
            .map(|resource| resource.name.as_str());
        let near = known
            .map(|known| (strsim::damerau_levenshtein(known, name), known))
            .filter(|(distance, _)| *distance <= 2)
            .min();
        let hint = near.map_or(String::new(), |(_, near)| {
            format!("; did you mean '{near}'?")
        });
        return Err(Failure::usage(format!(
            "'{name}' is not defined in {}{hint}",
            config.main_file()
        )));
    };
    resolve::local(config, resource, node).map_err(|clash| {
        let place = config.sources.file_line(resource.span);
        let text = format!(
            "{place}: resource {name}: several sections fit this host ({}): {}",
            node.name,
            clash.0.join(", ")
        );
        Failure::new(exit::REFUSED, text)
    })
}

/// The targets that the words name. No word at all is a mistake.
pub fn select<'a>(config: &'a Config, node: &Node, words: &[String]) -> Outcome<Vec<Target<'a>>> {
    if words.is_empty() {
        return Err(Failure::usage("name a resource, or all"));
    }
    let whole = |local: Local<'a>| Target {
        local,
        volumes: local.own.volumes.iter().collect(),
        partial: false,
    };
    let mut targets: Vec<Target<'a>> = Vec::new();
    for word in words {
        match read(word) {
            Word::All => targets.extend(all(config, node)?.into_iter().map(whole)),
            Word::Resource(name) => targets.push(whole(ours(config, name, node)?)),
            Word::Volume(name, number) => {
                let local = ours(config, name, node)?;
                let Some(volume) = local.volume(number) else {
                    return Err(Failure::usage(format!(
                        "resource {name} has no volume {number}"
                    )));
                };
                let partial = volume.explicit;
                targets.push(Target {
                    local,
                    volumes: vec![volume],
                    partial,
                });
            }
            Word::Minor(minor) => targets.push(by_minor(config, node, minor)?),
        }
    }
    Ok(targets)
}

fn ours<'a>(config: &'a Config, name: &str, node: &Node) -> Outcome<Local<'a>> {
    local(config, name, node)?.ok_or_else(|| {
        Failure::usage(format!(
            "resource {name} has no section for this host ({})",
            node.name
        ))
    })
}

fn by_minor<'a>(config: &'a Config, node: &Node, minor: u32) -> Outcome<Target<'a>> {
    for resource in &config.resources {
        let Some(local) = local(config, &resource.name, node)? else {
            continue;
        };
        let fits = |volume: &&Volume| {
            volume
                .device
                .as_ref()
                .is_some_and(|device| device.minor == minor)
        };
        if let Some(volume) = local.own.volumes.iter().find(fits) {
            return Ok(Target {
                local,
                volumes: vec![volume],
                partial: volume.explicit,
            });
        }
    }
    Err(Failure::usage(format!(
        "no volume of this host has minor number {minor}"
    )))
}

/// Refuses single volumes where only whole resources make sense.
pub fn whole_only(targets: &[Target<'_>], command: &str) -> Outcome {
    match targets.iter().find(|target| target.partial) {
        Some(target) => Err(Failure::usage(format!(
            "{command} works on whole resources only; name {} instead",
            target.name()
        ))),
        None => Ok(()),
    }
}
