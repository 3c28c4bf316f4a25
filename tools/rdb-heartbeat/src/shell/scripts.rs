// SPDX-License-Identifier: GPL-2.0

//! Resource scripts (specification, section 5): found, called, their status read.

use super::process::{Finished, Job, run};
use crate::config::haresources::{Group, Resource};
use crate::engine::types::{Action, Outcome};
use nix::unistd::{AccessFlags, access};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Exit code by which `rdbdisk` says that a start is not possible now: the peer is Primary.
const BLOCKED: i32 = 11;

/// How to call scripts.
#[derive(Clone, Debug)]
pub struct Scripts {
    /// Directories, searched in this order.
    pub directories: Vec<PathBuf>,
    /// Name of this node, for `HA_CURHOST`.
    pub node: String,
    /// Directory of the configuration, for `HA_DIR`.
    pub config_dir: PathBuf,
    /// Time limit for one call.
    pub limit: Option<Duration>,
}

impl Scripts {
    /// The program of a resource; `None` for a systemd unit, which has none.
    ///
    /// # Errors
    ///
    /// The text says where it was looked for.
    pub fn find(&self, resource: &Resource) -> Result<Option<PathBuf>, String> {
        if resource.script == "systemd" {
            return match resource.arguments.len() {
                1 => Ok(None),
                n => Err(format!(
                    "`systemd` takes the name of one unit, found {n} arguments"
                )),
            };
        }
        let path = |directory: &PathBuf| directory.join(&resource.script);
        let runs = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        self.directories
            .iter()
            .map(path)
            .find(runs)
            .map(Some)
            .ok_or_else(|| {
                let list: Vec<_> = self
                    .directories
                    .iter()
                    .map(|d| d.display().to_string())
                    .collect();
                format!("no script `{}` in {}", resource.script, list.join(", "))
            })
    }

    /// Every resource of `groups` whose script is missing, with the reason.
    pub fn missing<'a>(&self, groups: &'a [Group]) -> Vec<(&'a Resource, String)> {
        let all = groups.iter().flat_map(|g| &g.resources);
        all.filter_map(|r| self.find(r).err().map(|why| (r, why)))
            .collect()
    }

    /// Runs one action of one resource. A start asks the status first.
    pub fn act(&self, resource: &Resource, action: Action) -> Outcome {
        match action {
            Action::Status => self.status(resource),
            Action::Start if self.status(resource) == Outcome::Running => {
                log::info!("{resource} start: runs already");
                Outcome::Running
            }
            Action::Start | Action::Stop => match self.call(resource, action) {
                Ok(done) if done.success() => Outcome::Done,
                Ok(done) if action == Action::Start && blocked(resource, &done) => {
                    Outcome::Blocked(done.text)
                }
                Ok(done) => Outcome::Failed(done.text),
                Err(text) => Outcome::Failed(text),
            },
        }
    }

    fn status(&self, resource: &Resource) -> Outcome {
        match self.call(resource, Action::Status) {
            Ok(done) if resource.script == "systemd" => match done.success() {
                true => Outcome::Running,
                false => Outcome::Done,
            },
            Ok(done) if done.code.is_none() => Outcome::Failed(done.text),
            Ok(done) if says_running(&done.lines.join("\n")) => Outcome::Running,
            Ok(_) => Outcome::Done,
            Err(text) => Outcome::Failed(text),
        }
    }

    fn call(&self, resource: &Resource, action: Action) -> Result<Finished, String> {
        let (command, line) = match self.find(resource)? {
            Some(path) => {
                let mut command = Command::new(&path);
                command.args(&resource.arguments).arg(action.name());
                let line = format!("{} {}", path.display(), resource.arguments.join(" "));
                (command, line.trim_end().to_owned())
            }
            None => {
                let verb = if action == Action::Status {
                    "is-active"
                } else {
                    action.name()
                };
                let mut command = Command::new("systemctl");
                command.arg(verb).args(&resource.arguments);
                (
                    command,
                    format!("systemctl {}", resource.arguments.join(" ")),
                )
            }
        };
        let (level, name) = (level(action), format!("{resource} {}", action.name()));
        log::log!(level, "Running {line} {}", action.name());
        let command = self.environment(command);
        let job = Job {
            command,
            name: &name,
            input: "",
            limit: self.limit,
            level,
        };
        let done = run(job).map_err(|e| format!("cannot run {line}: {e}"))?;
        log::debug!("{name}: {}", done.text);
        Ok(done)
    }

    fn environment(&self, mut command: Command) -> Command {
        let directory = |d: &Path| d.display().to_string();
        let mut path: Vec<_> = self.directories.iter().map(|d| directory(d)).collect();
        path.retain(|d| d != "/etc/init.d");
        path.extend(
            [
                "/usr/local/sbin",
                "/usr/local/bin",
                "/usr/sbin",
                "/usr/bin",
                "/sbin",
                "/bin",
            ]
            .map(String::from),
        );
        // Tests and unusual installations have their tools elsewhere.
        path.extend(std::env::var("PATH").ok());
        command
            .env("PATH", path.join(":"))
            .env("LC_ALL", "C")
            .env("HA_CURHOST", &self.node)
            .env("HA_DIR", directory(&self.config_dir))
            .env(
                "HA_RESOURCEDIR",
                directory(&self.config_dir.join("resource.d")),
            )
            .env("HA_CF", directory(&self.config_dir.join("ha.cf")));
        command
    }
}

fn level(action: Action) -> log::Level {
    if action == Action::Status {
        log::Level::Debug
    } else {
        log::Level::Info
    }
}

fn blocked(resource: &Resource, done: &Finished) -> bool {
    matches!(resource.script.as_str(), "rdbdisk" | "drbddisk") && done.code == Some(BLOCKED)
}

/// Reads the text of a status: the words count, not the exit code.
pub fn says_running(text: &str) -> bool {
    let stopped = text.match_indices("unning").any(|(at, _)| {
        let before = text
            .get(..at)
            .and_then(|t| t.get(t.len().saturating_sub(5)..));
        before.is_some_and(|b| b.eq_ignore_ascii_case("not r"))
    });
    !stopped && (text.contains("running") || text.contains("Running") || text.contains("OK"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_status_is_read_as_heartbeat_does() {
        for text in [
            "running",
            "Running OK",
            "OK",
            "apache is Running (pid 1)",
            "/data is mounted (running)",
        ] {
            assert!(says_running(text), "{text}");
        }
        for text in [
            "",
            "stopped",
            "not running",
            "NOT Running OK",
            "Not running",
            "is RUNNING",
            "down",
        ] {
            assert!(!says_running(text), "{text}");
        }
    }
}
