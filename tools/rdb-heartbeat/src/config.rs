// SPDX-License-Identifier: GPL-2.0

//! The three files of a heartbeat cluster: `ha.cf`, `authkeys` and `haresources`.
//!
//! The files of a heartbeat 3.0.6 R1 cluster are taken unchanged. Every problem is reported with
//! its file, line and column, and all of them in one run.

pub mod authkeys;
pub mod diagnostic;
pub mod directives;
pub mod fencing;
pub mod ha_cf;
pub mod haresources;
pub mod values;

use authkeys::AuthKeys;
use diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use ha_cf::HaCf;
use haresources::Group;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the files are looked for, in this order.
pub const DIRECTORIES: [&str; 2] = ["/etc/rdb-ha.d", "/etc/ha.d"];

/// All that the files say.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory they came from.
    pub directory: PathBuf,
    /// `ha.cf`.
    pub ha_cf: HaCf,
    /// `authkeys`.
    pub keys: AuthKeys,
    /// `haresources`.
    pub groups: Vec<Group>,
}

/// The first of [`DIRECTORIES`] with an `ha.cf` in it; the first one if there is none.
pub fn default_directory() -> PathBuf {
    let found = DIRECTORIES
        .iter()
        .find(|d| Path::new(d).join("ha.cf").exists());
    found.unwrap_or(&DIRECTORIES[0]).into()
}

/// Reads the three files of `directory` for the node `own` (lower case).
///
/// The problems of all files are returned, also notes and warnings of files that are good; the
/// configuration only if none of them is an error.
pub fn load(directory: &Path, own: &str) -> (Option<Config>, Vec<Diagnostic>) {
    let mut all = Vec::new();
    let ha_cf = load_file(directory, "ha.cf", &mut all, |text, p| {
        ha_cf::parse(text, own, p)
    });
    let keys = load_keys(directory, &mut all);
    let nodes = ha_cf.as_ref().map(|c| c.nodes.clone());
    let groups = load_file(directory, "haresources", &mut all, |text, p| match &nodes {
        Some(nodes) => {
            let groups = haresources::parse(text, nodes, p)?;
            check_groups(&groups, nodes, p);
            (!p.has_errors()).then_some(groups)
        }
        // Without the names of the nodes every group would be reported as wrong.
        None => None,
    });
    let config = match (ha_cf, keys, groups) {
        (Some(ha_cf), Some(keys), Some(groups)) => Some(Config {
            directory: directory.to_owned(),
            ha_cf,
            keys,
            groups,
        }),
        _ => None,
    };
    if let Some(config) = &config {
        if config.ha_cf.media.len() == 1
            && config.ha_cf.fencing.is_none()
            && !config.groups.is_empty()
        {
            all.push(Diagnostic {
                file: directory.join("ha.cf"),
                place: Place::default(),
                severity: Severity::Warning,
                text: "one medium and no fencing device: if that link is cut, both nodes run the \
                       resources; add a second medium or a `stonith_host` line"
                    .into(),
            });
        }
    }
    (config, all)
}

fn check_groups(groups: &[Group], nodes: &[String], p: &mut Diagnostics) {
    if nodes.len() > 2 && !groups.is_empty() {
        let text = format!(
            "resource groups need two nodes at most, ha.cf names {}",
            nodes.len()
        );
        p.error(Place::default(), text);
    }
    // Each packet names every group; beyond this it would not fit into one datagram.
    if groups.iter().map(|g| g.key().len() + 32).sum::<usize>() > crate::wire::PACKET_MAX / 2 {
        p.error(Place::default(), "too many resource groups for one packet");
    }
}

fn load_keys(directory: &Path, all: &mut Vec<Diagnostic>) -> Option<AuthKeys> {
    let file = directory.join("authkeys");
    let mode = std::fs::metadata(&file)
        .map(|m| m.permissions().mode() & 0o777)
        .unwrap_or(0);
    load_file(directory, "authkeys", all, |text, p| {
        if mode & 0o077 != 0 {
            let text =
                format!("mode {mode:04o} lets others read the keys: expected 0600 (chmod 0600)");
            p.error(Place::default(), text);
        }
        authkeys::parse(text, p)
    })
}

fn load_file<T>(
    directory: &Path,
    name: &str,
    all: &mut Vec<Diagnostic>,
    parse: impl FnOnce(&str, &mut Diagnostics) -> Option<T>,
) -> Option<T> {
    let file = directory.join(name);
    let mut problems = Diagnostics::new(&file);
    let result = match std::fs::read(&file) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => parse(&text, &mut problems),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..valid]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
                    + 1;
                problems.error(Place { line, column: 0 }, "not UTF-8 text");
                None
            }
        },
        Err(error) => {
            problems.error(Place::default(), format!("cannot be read: {error}"));
            None
        }
    };
    all.append(&mut problems.into_list());
    result
}
