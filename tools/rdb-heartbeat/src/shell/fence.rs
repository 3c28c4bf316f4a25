// SPDX-License-Identifier: GPL-2.0

//! The fencing devices (specification, section 12).

use super::process::{Finished, Job, run};
use crate::config::fencing::FenceDevice;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the external plug-ins of the cluster-glue package are.
pub const EXTERNAL: &str = "/usr/lib/stonith/plugins/external";
/// Longest time for one call of a device.
const LIMIT: Duration = Duration::from_secs(120);

/// Resets `node`. `None` if an operator has to do it and to say so.
pub fn reset(device: &FenceDevice, node: &str) -> Option<Result<(), String>> {
    match device {
        FenceDevice::Null => {
            log::warn!("STONITH device `null` does nothing: node {node} counts as reset");
            Some(Ok(()))
        }
        FenceDevice::Meatware => {
            log::error!(
                target: super::logging::CRITICAL,
                "OPERATOR INTERVENTION REQUIRED to reset node {node}: switch it off or reset it, \
                 and then run `rdb-heartbeat confirm {node}`; until then nothing is taken over"
            );
            None
        }
        FenceDevice::External { name, parameters } => {
            Some(external(&Path::new(EXTERNAL).join(name), parameters, node))
        }
        FenceDevice::Agent { name, options } => Some(agent(name, options, node)),
    }
}

fn call(command: Command, name: &str, input: &str) -> Result<Finished, String> {
    let (limit, level) = (Some(LIMIT), log::Level::Info);
    let done = run(Job {
        command,
        name,
        input,
        limit,
        level,
    })
    .map_err(|e| format!("{name}: cannot be run: {e}"))?;
    if done.success() {
        Ok(done)
    } else {
        Err(format!("{name}: {}", done.text))
    }
}

fn external(path: &PathBuf, parameters: &[String], node: &str) -> Result<(), String> {
    let shown = path.display().to_string();
    let mut names = Command::new(path);
    names.arg("getconfignames");
    let names = call(names, &format!("{shown} getconfignames"), "")?;
    let names: Vec<_> = names
        .lines
        .iter()
        .flat_map(|l| l.split_whitespace())
        .collect();
    if parameters.len() < names.len() {
        let (found, expected) = (parameters.len(), names.len());
        return Err(format!(
            "{shown}: {found} parameters in ha.cf, expected {expected}: {}",
            names.join(" ")
        ));
    }
    let mut command = Command::new(path);
    command
        .args(["reset", node])
        .envs(names.iter().zip(parameters));
    call(command, &format!("{shown} reset {node}"), "").map(|_| ())
}

fn agent(name: &str, options: &[(String, String)], node: &str) -> Result<(), String> {
    let program = format!("fence_{name}");
    let mut input = format!("action=reboot\nnodename={node}\n");
    for (key, value) in options {
        input.push_str(&format!("{key}={value}\n"));
    }
    call(
        Command::new(&program),
        &format!("{program} (reboot {node})"),
        &input,
    )
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_plugin_gets_its_parameters_and_its_exit_code_counts() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake/plugin");
        let parameters = ["hauptserver".to_owned(), log.display().to_string()];
        assert_eq!(external(&path, &parameters, "hauptserver"), Ok(()));
        assert_eq!(
            std::fs::read_to_string(&log).unwrap(),
            "reset hauptserver hauptserver\n"
        );
        let error = external(&path, &parameters, "other").unwrap_err();
        assert!(error.contains("reset other: exit code 1"), "{error}");
        let error = external(&path, &parameters[..1], "hauptserver").unwrap_err();
        assert!(error.contains("expected 2: hostname logfile"), "{error}");
    }

    #[test]
    fn an_agent_that_is_missing_is_a_failure() {
        let error = agent("of_no_package", &[], "hauptserver").unwrap_err();
        assert!(error.contains("fence_of_no_package"), "{error}");
    }
}
