// SPDX-License-Identifier: GPL-2.0

//! role, cstate, dstate, the sh- commands, and dump.

use rdb_config::Config;
use rdb_config::dump::Printer;
use rdb_config::model::{Meta, Value, Volume};
use rdb_engine::options::Form;
use rdb_netlink::{VolumeInfo, names, pause_flags, suspend_flags};

use crate::failure::{Failure, Outcome, exit};
use crate::meta::{self, Device, Use};
use crate::select::Target;
use crate::session::Session;

/// What role, cstate and dstate show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Own and peer role.
    Role,
    /// Connection.
    Connection,
    /// Own and peer disk.
    Disk,
}

impl Session<'_> {
    /// One line for each volume.
    pub fn state(&self, words: &[String], what: State) -> Outcome {
        let running = self.world.read(|kernel| kernel.volumes())?;
        self.each_volume(words, |target, volume| {
            let minor = Self::minor(volume);
            let line = match (running.iter().find(|known| known.minor == minor), what) {
                (Some(known), State::Role) => {
                    format!(
                        "{}/{}",
                        names::role(known.role),
                        names::role(known.peer_role)
                    )
                }
                (Some(known), State::Connection) => names::conn(known.replication).to_owned(),
                (Some(known), State::Disk) => {
                    format!(
                        "{}/{}",
                        names::disk(known.disk),
                        names::disk(known.peer_disk)
                    )
                }
                (None, State::Disk) => self
                    .disk_state(target, volume)
                    .unwrap_or_else(|| "Unconfigured".into()),
                (None, _) => "Unconfigured".into(),
            };
            self.world.say(&line)
        })
    }

    /// State of the disk from the metadata.
    fn disk_state(&self, target: &Target<'_>, volume: &Volume) -> Option<String> {
        let place = Self::place(target, volume).ok()?;
        let mut device = Device::open(&place, Use::Read, self.world.files).ok()?;
        let superblock = device.superblock().ok()?.ok()?;
        Some(format!("{}/DUnknown", meta::disk_state(&superblock)))
    }

    /// A fact about each volume.
    pub fn facts(
        &self,
        words: &[String],
        fact: impl Fn(&Target<'_>, &Volume) -> String,
    ) -> Outcome {
        self.each_volume(words, |target, volume| {
            self.world.say(&fact(target, volume))
        })
    }

    /// Names of the resources of this host, in one line.
    pub fn sh_resources(&self) -> Outcome {
        let targets = self.targets(&["all".into()])?;
        let names: Vec<String> = targets
            .iter()
            .map(|target| shell_word(target.name()))
            .collect();
        self.world.say(&names.join(" "))
    }

    /// Names that udev gives the device of a volume.
    pub fn sh_udev(&self, words: &[String]) -> Outcome {
        let always = self.config.global_switch("udev-always-use-vnr");
        self.each_volume(words, |target, volume| {
            let minor = Self::minor(volume);
            let disk = volume
                .disk
                .as_ref()
                .map_or("", |disk| disk.0.trim_start_matches("/dev/"));
            let number = if volume.explicit || always {
                format!("/{}", volume.number)
            } else {
                String::new()
            };
            self.world.say(&format!("RESOURCE={}", target.name()))?;
            self.world.say(&format!("DEVICE=rdb{minor}"))?;
            self.world.say(&format!(
                "SYMLINK_BY_RES=rdb/by-res/{}{number}",
                target.name()
            ))?;
            self.world
                .say(&format!("SYMLINK_BY_DISK=rdb/by-disk/{disk}"))?;
            self.world.say(&format!("DISK={disk}"))
        })
    }

    /// State of each volume as shell assignments.
    pub fn sh_status(&self, words: &[String]) -> Outcome {
        let all = ["all".to_owned()];
        let words = if words.is_empty() { &all[..] } else { words };
        let running = self.world.read(|kernel| kernel.volumes())?;
        self.each_volume(words, |target, volume| {
            let minor = Self::minor(volume);
            let known = running.iter().find(|known| known.minor == minor);
            let lines = [
                format!("_minor={minor}"),
                format!("_res_name={}", shell_word(target.name())),
                format!("_volume={}", volume.number),
            ];
            lines.iter().try_for_each(|line| self.world.say(line))?;
            self.world.print(&known_lines(known))?;
            self.world.say("_sh_status_process")
        })
    }

    /// Promotes the volumes of resources that name this host in become-primary-on.
    pub fn sh_b_pri(&self, words: &[String]) -> Outcome {
        let targets = self.targets(words)?;
        self.each(
            targets
                .iter()
                .filter(|target| target.local.becomes_primary()),
            |target| {
                let tries = 5;
                for left in (0..tries).rev() {
                    match self.primary(&[target.name().to_owned()], false) {
                        // The peer may be about to give its role up.
                        Err(_) if left > 0 => std::thread::sleep(std::time::Duration::from_secs(1)),
                        result => return result,
                    }
                }
                Ok(())
            },
        )
    }

    /// The configuration in its normal form.
    pub fn dump(&self, words: &[String]) -> Outcome {
        let expand = self.world.dry_run || self.world.verbose;
        let printer = Printer {
            config: self.config,
            node: &self.world.node,
            expand,
        };
        if words.is_empty() || words.iter().any(|word| word == "all") {
            self.world.print(&printer.head())?;
            for resource in &self.config.resources {
                self.world.print(&printer.resource(resource))?;
            }
            return Ok(());
        }
        for target in self.targets(words)? {
            self.world.print(&printer.resource(target.local.resource))?;
        }
        Ok(())
    }
}

fn known_lines(known: Option<&VolumeInfo>) -> String {
    let Some(known) = known else {
        return "_known=\n_cstate=Unconfigured\n_role=\n_peer=\n_disk=\n_pdsk=\n_flags_susp=\n_flags_aftr_isp=\n_flags_peer_isp=\n_flags_user_isp=\n_resynced_percent=\n".into();
    };
    let set = |value: bool| if value { "1" } else { "" };
    let paused = |flag: u32| set(known.sync_paused & flag != 0);
    let percent = known.sync.map_or(String::new(), |sync| {
        format!("{}.{:02}", sync.done() / 100, sync.done() % 100)
    });
    format!(
        "_known=1\n_cstate={}\n_role={}\n_peer={}\n_disk={}\n_pdsk={}\n_flags_susp={}\n_flags_aftr_isp={}\n_flags_peer_isp={}\n_flags_user_isp={}\n_resynced_percent={percent}\n",
        names::conn(known.replication),
        names::role(known.role),
        names::role(known.peer_role),
        names::disk(known.disk),
        names::disk(known.peer_disk),
        set(known.suspended
            & (suspend_flags::USER | suspend_flags::NO_DATA | suspend_flags::FENCING)
            != 0),
        paused(pause_flags::DEPENDENCY),
        paused(pause_flags::PEER),
        paused(pause_flags::USER),
    )
}

/// Device of the metadata, as sh-md-dev prints it.
pub fn meta_device(volume: &Volume) -> String {
    match &volume.meta {
        Some((Meta::Flexible(device) | Meta::Indexed(device, _), _)) => device.clone(),
        _ => volume
            .disk
            .as_ref()
            .map_or(String::new(), |disk| disk.0.clone()),
    }
}

/// Kind of the metadata, as sh-md-idx prints it.
pub fn meta_index(volume: &Volume) -> String {
    match &volume.meta {
        Some((Meta::Flexible(_), _)) => "flexible".into(),
        Some((Meta::Indexed(_, index), _)) => index.to_string(),
        _ => "internal".into(),
    }
}

/// `minor_count=N` for modprobe.
pub fn module_parameters(config: &Config) -> Outcome<String> {
    let option = rdb_engine::options::by_name(rdb_engine::options::Section::Global, "minor-count");
    let Some(Form::Number { default, .. }) = option.map(|option| option.form) else {
        return Err(Failure::new(
            exit::CANNOT,
            "option minor-count is not in the table",
        ));
    };
    let set = rdb_config::model::find(&config.global, "minor-count").map(|setting| &setting.value);
    Ok(match set {
        Some(Value::Number(number)) => format!("minor_count={number}"),
        _ => format!("minor_count={default}"),
    })
}

fn shell_word(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_./-".contains(letter);
    match word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
