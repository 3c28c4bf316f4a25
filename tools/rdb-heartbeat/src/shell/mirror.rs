// SPDX-License-Identifier: GPL-2.0

//! What the mirror says: are the data of this node current?
//!
//! To take a group from a node that runs it well is never urgent. A node that comes back after a
//! crash has old data until the mirror has connected and brought it up to date; started before that
//! it would go on with the old data.

use super::process::{Job, run};
use crate::config::haresources::Group;
use crate::engine::types::Mirror;
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

/// Longest time for one question.
const LIMIT: Duration = Duration::from_secs(20);

/// Asks `rdbadm` about every mirrored device of the group, up to the first that is not ready.
pub fn ready(group: &Group) -> Mirror {
    for resource in &group.resources {
        if matches!(resource.script.as_str(), "rdbdisk" | "drbddisk") {
            let name = resource.arguments.first().map_or("all", String::as_str);
            let mirror = match (ask("cstate", name), ask("dstate", name)) {
                (Ok(Some(connection)), Ok(Some(disk))) => judge(name, &connection, &disk),
                (Err(why), _) | (_, Err(why)) => Mirror::Apart(why),
                _ => Mirror::Ready,
            };
            if mirror != Mirror::Ready {
                return mirror;
            }
        }
    }
    Mirror::Ready
}

/// Reads the lines of `rdbadm cstate` and `rdbadm dstate`, one for each volume.
fn judge(name: &str, connection: &[String], disk: &[String]) -> Mirror {
    const APART: [&str; 11] = [
        "StandAlone",
        "Disconnecting",
        "Unconnected",
        "Timeout",
        "BrokenPipe",
        "NetworkFailure",
        "ProtocolError",
        "TearDown",
        "WFConnection",
        "WFReportParams",
        "Unconfigured",
    ];
    if connection.is_empty() || disk.is_empty() {
        return Mirror::Apart(format!("the mirror {name} says nothing about its state"));
    }
    if let Some(state) = connection
        .iter()
        .find(|line| APART.contains(&line.as_str()))
    {
        return Mirror::Apart(format!("the mirror {name} is not connected ({state})"));
    }
    let own = disk
        .iter()
        .map(|line| line.split('/').next().unwrap_or_default());
    match own.into_iter().find(|state| *state != "UpToDate") {
        Some(state) => Mirror::Old(format!(
            "the mirror {name} is not up to date here ({state})"
        )),
        None => Mirror::Ready,
    }
}

/// `None` if there is no `rdbadm` here to ask.
fn ask(what: &str, name: &str) -> Result<Option<Vec<String>>, String> {
    let program = std::env::var_os("RDBADM").unwrap_or_else(|| "rdbadm".into());
    let mut command = Command::new(program);
    command.args([what, name]);
    let title = format!("rdbadm {what} {name}");
    let (limit, level) = (Some(LIMIT), log::Level::Debug);
    match run(Job {
        command,
        name: &title,
        input: "",
        limit,
        level,
    }) {
        Ok(done) if done.success() => Ok(Some(done.lines)),
        Ok(done) => Err(format!("`{title}`: {}", done.text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("`{title}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(connection: &str, disk: &str) -> Mirror {
        let lines = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
        judge("r0", &lines(connection), &lines(disk))
    }

    #[test]
    fn only_connected_and_current_data_are_ready() {
        assert_eq!(state("Connected", "UpToDate/UpToDate"), Mirror::Ready);
        let two = state(
            "SyncSource\nConnected",
            "UpToDate/Inconsistent\nUpToDate/UpToDate",
        );
        assert_eq!(two, Mirror::Ready);
        for (connection, disk) in [
            ("WFConnection", "UpToDate/DUnknown"),
            ("StandAlone", "UpToDate/DUnknown"),
            (
                "Connected\nWFConnection",
                "UpToDate/UpToDate\nUpToDate/DUnknown",
            ),
            ("Unconfigured", "UpToDate"),
            ("", ""),
        ] {
            let mirror = state(connection, disk);
            assert!(
                matches!(mirror, Mirror::Apart(_)),
                "{connection} {disk}: {mirror:?}"
            );
        }
        for (connection, disk) in [
            ("SyncTarget", "Inconsistent/UpToDate"),
            ("Connected", "Diskless/UpToDate"),
            (
                "Connected\nSyncTarget",
                "UpToDate/UpToDate\nInconsistent/UpToDate",
            ),
        ] {
            let mirror = state(connection, disk);
            assert!(
                matches!(mirror, Mirror::Old(_)),
                "{connection} {disk}: {mirror:?}"
            );
        }
    }
}
