// SPDX-License-Identifier: GPL-2.0

//! Handlers: the kernel calls, the configured command line is run (admin-tool.md, section 10).

use std::process::Command;

use rdb_config::model::Host;
use rdb_engine::options::HANDLERS;

use crate::failure::{Failure, Outcome, exit};
use crate::select::Target;
use crate::session::Session;

/// Whether this is the name of a handler.
pub fn is_handler(name: &str) -> bool {
    HANDLERS
        .iter()
        .any(|(known, old)| *known == name || *old == Some(name))
}

impl Session<'_> {
    /// Runs a handler for what the kernel named; its exit code is ours. A handler that is not configured is success.
    pub fn handler(&self, name: &str, words: &[String]) -> Outcome {
        let name = HANDLERS
            .iter()
            .find(|(_, old)| *old == Some(name))
            .map_or(name, |(new, _)| new);
        let targets = self.targets(words)?;
        self.each(&targets, |target| {
            let handlers = target.local.handlers();
            let Some(handler) = handlers.iter().find(|handler| handler.name == name) else {
                return Ok(());
            };
            if self.world.dry_run {
                return self.world.say(&format!("/bin/sh -c '{}'", handler.command));
            }
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(&handler.command);
            for (variable, value) in self.environment(target, words) {
                command
                    .env(format!("DRBD_{variable}"), &value)
                    .env(format!("RDB_{variable}"), &value);
            }
            let status = command.status().map_err(|error| {
                Failure::new(exit::CANNOT, format!("{name}: cannot run /bin/sh: {error}"))
            })?;
            match status.code() {
                Some(0) => Ok(()),
                Some(code) => Err(Failure::new(code, "")),
                None => Err(Failure::new(
                    exit::CANNOT,
                    format!("{name}: ended by a signal"),
                )),
            }
        })
    }

    /// Variables of the handler, without their prefix. What the kernel gave already is kept.
    fn environment(&self, target: &Target<'_>, words: &[String]) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("RESOURCE", target.name().to_owned()),
            ("CONF", self.config.main_file().to_owned()),
        ];
        let minors: Vec<String> = target
            .volumes
            .iter()
            .map(|volume| Self::minor(volume).to_string())
            .collect();
        variables.push(("MINOR", minors.join(" ")));
        let by_volume = words
            .iter()
            .any(|word| word.starts_with("minor-") || word.contains('/'));
        if let (true, [volume]) = (by_volume, target.volumes.as_slice()) {
            variables.push(("VOLUME", volume.number.to_string()));
            let disk = volume
                .disk
                .as_ref()
                .map_or(String::new(), |disk| disk.0.clone());
            variables.push(("LL_DISK", disk));
        }
        if let Ok(peer) = target.local.peer(self.peer) {
            variables.extend(peer_variables(peer));
        }
        variables
    }
}

fn peer_variables(peer: &Host) -> Vec<(&'static str, String)> {
    let mut variables = vec![("PEER", peer.label()), ("PEERS", peer.names.join(" "))];
    if let Some(address) = &peer.address {
        let family = if address.ip.is_ipv4() { "ipv4" } else { "ipv6" };
        variables.push(("PEER_AF", family.to_owned()));
        variables.push(("PEER_ADDRESS", address.ip.to_string()));
    }
    variables
}
