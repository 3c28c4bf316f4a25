// SPDX-License-Identifier: GPL-2.0

//! Commands that are one request for each volume or resource.

use rdb_config::model::{Setting, Volume};
use rdb_config::number;
use rdb_engine::options::Unit;
use rdb_netlink::{DiskState, attr, cmd};

use crate::action::{Action, Step, Subject};
use crate::failure::{Failure, Outcome, exit};
use crate::meta::{self, Use};
use crate::select::Target;
use crate::session::Session;

impl Session<'_> {
    /// A request for each volume.
    pub fn plain(
        &self,
        words: &[String],
        command: u8,
        name: &'static str,
        flags: &[(u16, &'static str)],
    ) -> Outcome {
        self.each_volume(words, |target, volume| {
            self.run(&Self::volume_step(
                target,
                volume,
                command,
                name,
                flags.to_vec(),
            ))
        })
    }

    /// invalidate and outdate: for volumes that are not up, the metadata are changed.
    pub fn plain_or_meta(&self, words: &[String], command: u8, name: &'static str) -> Outcome {
        let running = self.world.read(|kernel| kernel.volumes())?;
        self.each_volume(words, |target, volume| {
            let minor = Self::minor(volume);
            let known = running.iter().find(|known| known.minor == minor);
            if self.world.dry_run || known.is_some_and(|known| known.disk != DiskState::Diskless) {
                return self.run(&Self::volume_step(
                    target,
                    volume,
                    command,
                    name,
                    Vec::new(),
                ));
            }
            let object = target.object(volume);
            let mut device =
                self.open(&Self::place(target, volume)?, &object, Use::Write, false)?;
            match command {
                cmd::OUTDATE => meta::outdate(&mut device, &object),
                _ => meta::invalidate(&mut device, &object),
            }
        })
    }

    /// Promotes volumes.
    pub fn primary(&self, words: &[String], force: bool) -> Outcome {
        let flags: &[(u16, &'static str)] = if force {
            &[(attr::FORCE, "force")]
        } else {
            &[]
        };
        self.plain(words, cmd::PRIMARY, "primary", flags)
    }

    /// disk-options.
    pub fn disk_options(&self, words: &[String], defaults: bool, settings: &[Setting]) -> Outcome {
        if let Some(size) = settings
            .iter()
            .find(|setting| setting.option.attr == attr::SIZE)
        {
            let text = format!(
                "size cannot be changed with disk-options; use: rdbadm resize --size={}",
                size.text
            );
            return Err(Failure::usage(text));
        }
        self.each_volume(words, |target, volume| {
            let settings = match settings.is_empty() {
                true => without_size(target.local.disk(volume)),
                false => settings.to_vec(),
            };
            let subject = Subject::Minor(Self::minor(volume));
            let step = Step::Options(cmd::DISK_SET, "disk-options", subject, defaults, settings);
            self.run(&Action::new(target.object(volume), step))
        })
    }

    /// net-options.
    pub fn net_options(&self, words: &[String], defaults: bool, settings: &[Setting]) -> Outcome {
        let own = |target: &Target<'_>| target.local.net();
        self.resource_level(words, cmd::NET_SET, "net-options", defaults, settings, own)
    }

    /// resource-options.
    pub fn resource_options(
        &self,
        words: &[String],
        defaults: bool,
        settings: &[Setting],
    ) -> Outcome {
        let own = |target: &Target<'_>| target.local.options();
        self.resource_level(
            words,
            cmd::RESOURCE_SET,
            "resource-options",
            defaults,
            settings,
            own,
        )
    }

    /// Without options on the command line those of the file are set.
    fn resource_level(
        &self,
        words: &[String],
        command: u8,
        name: &'static str,
        defaults: bool,
        settings: &[Setting],
        own: impl Fn(&Target<'_>) -> Vec<Setting>,
    ) -> Outcome {
        let targets = self.resources(words, name)?;
        self.each(&targets, |target| {
            let settings = if settings.is_empty() {
                own(target)
            } else {
                settings.to_vec()
            };
            let subject = Subject::Resource(target.name().to_owned());
            self.run(&Action::new(
                target.name(),
                Step::Options(command, name, subject, defaults, settings),
            ))
        })
    }

    /// A request with numbers for each volume.
    pub fn numbers(
        &self,
        words: &[String],
        command: u8,
        name: &'static str,
        numbers: &[(u16, &'static str, Option<&str>)],
        flags: &[(u16, &'static str)],
    ) -> Outcome {
        let mut values = Vec::new();
        for (number, option, text) in numbers {
            if let Some(text) = text {
                let value = number::parse(text, Unit::Sectors).map_err(|error| {
                    Failure::new(exit::CANNOT, format!("--{option} {text}: {error}"))
                })?;
                values.push((*number, *option, value));
            }
        }
        self.each_volume(words, |target, volume| {
            let mut values = values.clone();
            if command == cmd::RESIZE && values.is_empty() {
                values.extend(size_of(target, volume));
            }
            let step = Step::Numbers(command, name, Self::minor(volume), values, flags.to_vec());
            self.run(&Action::new(target.object(volume), step))
        })
    }
}

fn without_size(settings: Vec<Setting>) -> Vec<Setting> {
    settings
        .into_iter()
        .filter(|setting| setting.option.attr != attr::SIZE)
        .collect()
}

/// The size that the file gives a volume.
fn size_of(target: &Target<'_>, volume: &Volume) -> Option<(u16, &'static str, u64)> {
    let settings = target.local.disk(volume);
    match rdb_config::model::find(&settings, "size")?.value {
        rdb_config::model::Value::Number(size) => Some((attr::SIZE, "size", size)),
        _ => None,
    }
}
