// SPDX-License-Identifier: GPL-2.0

//! What the mirror says: are the data of this node current?
//!
//! To take a group from a node that runs it well is never urgent. A node that comes back after a
//! crash has old data until the mirror has connected and brought it up to date; started before that
//! it would go on with the old data.

use super::process::{Job, run};
use crate::config::haresources::Group;
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

/// Longest time for one question.
const LIMIT: Duration = Duration::from_secs(20);

/// Asks `rdbadm` about every mirrored device of the group.
///
/// # Errors
///
/// The text says which device is not ready, and why.
pub fn ready(group: &Group) -> Result<(), String> {
    for resource in &group.resources {
        if matches!(resource.script.as_str(), "rdbdisk" | "drbddisk") {
            let name = resource.arguments.first().map_or("all", String::as_str);
            if let (Some(connection), Some(disk)) = (ask("cstate", name)?, ask("dstate", name)?) {
                judge(name, &connection, &disk)?;
            }
        }
    }
    Ok(())
}

/// Reads the lines of `rdbadm cstate` and `rdbadm dstate`, one for each volume.
fn judge(name: &str, connection: &[String], disk: &[String]) -> Result<(), String> {
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
        return Err(format!("the mirror {name} says nothing about its state"));
    }
    if let Some(state) = connection
        .iter()
        .find(|line| APART.contains(&line.as_str()))
    {
        return Err(format!("the mirror {name} is not connected ({state})"));
    }
    let own = disk
        .iter()
        .map(|line| line.split('/').next().unwrap_or_default());
    match own.into_iter().find(|state| *state != "UpToDate") {
        Some(state) => Err(format!(
            "the mirror {name} is not up to date here ({state})"
        )),
        None => Ok(()),
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

    fn state(connection: &str, disk: &str) -> Result<(), String> {
        let lines = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
        judge("r0", &lines(connection), &lines(disk))
    }

    #[test]
    fn only_connected_and_current_data_are_ready() {
        assert_eq!(state("Connected", "UpToDate/UpToDate"), Ok(()));
        assert_eq!(
            state(
                "SyncSource\nConnected",
                "UpToDate/Inconsistent\nUpToDate/UpToDate"
            ),
            Ok(())
        );
        for (connection, disk) in [
            ("SyncTarget", "Inconsistent/UpToDate"),
            ("WFConnection", "UpToDate/DUnknown"),
            ("StandAlone", "UpToDate/DUnknown"),
            (
                "Connected\nWFConnection",
                "UpToDate/UpToDate\nUpToDate/DUnknown",
            ),
            ("Connected", "Diskless/UpToDate"),
            ("Unconfigured", "UpToDate"),
            ("", ""),
        ] {
            assert!(state(connection, disk).is_err(), "{connection} {disk}");
        }
    }
}
