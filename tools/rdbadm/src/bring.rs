// SPDX-License-Identifier: GPL-2.0

//! up, down, attach, connect and the like (admin-tool.md, sections 4.1 to 4.3).

use rdb_config::model::{Setting, Volume};
use rdb_engine::meta::{CreateOptions, MetaError};
use rdb_netlink::{attr, cmd};

use crate::action::{Action, Step, Subject};
use crate::adjust;
use crate::failure::{Failure, Outcome, exit};
use crate::meta::{self, Create, Device, Use};
use crate::select::Target;
use crate::session::{Session, merged};

impl Session<'_> {
    /// Brings resources up: first all are created, then all disks attached, then all connected. What runs already is adjusted.
    pub fn up(&self, words: &[String], create_md: bool) -> Outcome {
        let targets = self.resources(words, "up")?;
        for target in &targets {
            self.check_address(target)?;
        }
        if !self.world.dry_run {
            self.world
                .kernel_or_load()
                .map_err(|error| Failure::new(exit::CANNOT, error.to_string()))?;
        }
        let running = match self.world.dry_run {
            true => Vec::new(),
            false => self.world.read(|kernel| kernel.resources())?,
        };
        let (old, new): (Vec<Target<'_>>, Vec<Target<'_>>) = targets
            .into_iter()
            .partition(|target| running.iter().any(|known| known.name == target.name()));
        let mut failed = 0;
        let mut ready: Vec<&Target<'_>> = new.iter().collect();
        let phases: [&dyn Fn(&Target<'_>) -> Outcome; 3] = [
            &|target| self.create_all(target),
            &|target| self.attach_all(target, create_md),
            &|target| self.connect_one(target),
        ];
        for phase in phases {
            let mut left = Vec::new();
            for target in ready {
                match phase(target) {
                    Ok(()) => left.push(target),
                    Err(failure) => {
                        self.world.complain(&failure.text);
                        self.world.complain(&format!(
                            "{}: the further steps of up are left out",
                            target.name()
                        ));
                        // Reaching the module at all is not a matter of one step.
                        failed = failed.max(if failure.code == exit::CANNOT {
                            exit::CANNOT
                        } else {
                            exit::USAGE
                        });
                    }
                }
            }
            ready = left;
        }
        for target in &old {
            if let Err(failure) = self
                .attach_missing(target, create_md)
                .and_then(|()| adjust::adjust(self, target))
            {
                self.world.complain(&failure.text);
                failed = failed.max(exit::USAGE);
            }
        }
        if failed == 0 {
            Ok(())
        } else {
            Err(Failure::new(failed, ""))
        }
    }

    /// Creates a resource and its volumes.
    pub fn create_all(&self, target: &Target<'_>) -> Outcome {
        self.new_resource(target)?;
        self.each(target.volumes.iter().copied(), |volume| {
            self.new_minor(target, volume)
        })
    }

    /// Creates a resource.
    pub fn new_resource(&self, target: &Target<'_>) -> Outcome {
        let step = Step::NewResource(target.name().to_owned(), target.local.options());
        self.run(&Action::new(target.name(), step))
    }

    /// Creates a volume.
    pub fn new_minor(&self, target: &Target<'_>, volume: &Volume) -> Outcome {
        let step = Step::NewMinor(target.name().to_owned(), Self::minor(volume), volume.number);
        self.run(&Action::new(target.object(volume), step))
    }

    fn attach_all(&self, target: &Target<'_>, create_md: bool) -> Outcome {
        self.each(target.volumes.iter().copied(), |volume| {
            if !self.world.dry_run {
                self.want_metadata(target, volume, create_md)?;
            }
            self.attach(target, volume, &[])
        })
    }

    /// For a resource that runs: metadata for the disks that adjust is going to attach.
    fn attach_missing(&self, target: &Target<'_>, create_md: bool) -> Outcome {
        let known = self.world.read(|kernel| kernel.volumes())?;
        self.each(target.volumes.iter().copied(), |volume| {
            let minor = Self::minor(volume);
            let attached = known
                .iter()
                .any(|known| known.minor == minor && known.lower_disk.is_some());
            if attached {
                Ok(())
            } else {
                self.want_metadata(target, volume, create_md)
            }
        })
    }

    /// Applies the activity log and attaches.
    pub fn attach(&self, target: &Target<'_>, volume: &Volume, more: &[Setting]) -> Outcome {
        let place = Self::place(target, volume)?;
        let minor = Self::minor(volume);
        let object = target.object(volume);
        // Of a disk that is attached already the module says so itself.
        if self.world.dry_run || self.not_attached(target, volume).is_ok() {
            self.run(&Action::new(&object, Step::ApplyLog(minor, place.clone())))?;
        }
        let options = merged(target.local.disk(volume), more);
        self.run(&Action::new(&object, Step::Attach(minor, place, options)))
    }

    fn connect_one(&self, target: &Target<'_>) -> Outcome {
        let connect = self.connect_step(target, &[])?;
        self.run(&Action::new(
            target.name(),
            Step::Connect(Box::new(connect)),
        ))
    }

    /// The metadata of a volume must be there: makes them, asks, or says how to make them.
    fn want_metadata(&self, target: &Target<'_>, volume: &Volume, create_md: bool) -> Outcome {
        let place = Self::place(target, volume)?;
        let object = target.object(volume);
        let mut device = self.open(&place, &object, Use::Write, false)?;
        let missing = matches!(
            device.superblock()?,
            Err(MetaError::NotMetadata { .. } | MetaError::DeviceTooSmall { .. })
        );
        if !missing {
            return Ok(());
        }
        let asked = self.world.terminal.input && !create_md;
        let wanted = create_md
            || asked
                && (self.world.ask)(&format!(
                    "{object}: there is no metadata on {}. Make it now?",
                    device.path()
                ));
        if wanted && create_new(&mut device, &object, target.name(), !asked, &self.world.ask)? {
            self.world
                .complain(&format!("{object}: new metadata on {}", device.path()));
            return Ok(());
        }
        let text = format!(
            "{object}: no metadata on {}; run: rdbadm create-md {}\n    (rdbadm up --create-md {} does it on disks that are empty)",
            device.path(),
            target.name(),
            target.name()
        );
        Err(Failure::new(exit::USAGE, text))
    }

    /// Takes resources down. What is not there is down already.
    pub fn down(&self, words: &[String]) -> Outcome {
        if self.without_module() && !self.world.dry_run {
            // Names are still checked.
            return self.resources(words, "down").map(|_| ());
        }
        let names = match self.resources(words, "down") {
            Ok(targets) => targets
                .iter()
                .map(|target| target.name().to_owned())
                .collect(),
            // A resource that was taken out of the file can still be taken down.
            Err(failure) => self.running_names(words)?.ok_or(failure)?,
        };
        self.each(names, |name: String| self.run(&down_step(&name)))
    }

    /// The words, if all of them are resources that run.
    fn running_names(&self, words: &[String]) -> Outcome<Option<Vec<String>>> {
        let running = self.world.read(|kernel| kernel.resources())?;
        let known = |word: &String| running.iter().any(|resource| resource.name == *word);
        Ok((!words.is_empty() && words.iter().all(known)).then(|| words.to_vec()))
    }

    /// Connects resources.
    pub fn connect(
        &self,
        words: &[String],
        discard: bool,
        tentative: bool,
        more: &[Setting],
    ) -> Outcome {
        let targets = self.resources(words, "connect")?;
        self.each(&targets, |target| {
            self.check_address(target)?;
            let mut connect = self.connect_step(target, more)?;
            connect.discard_my_data = discard;
            connect.tentative = tentative;
            self.run(&Action::new(
                target.name(),
                Step::Connect(Box::new(connect)),
            ))
        })
    }

    /// Disconnects resources.
    pub fn disconnect(&self, words: &[String], force: bool) -> Outcome {
        let targets = self.resources(words, "disconnect")?;
        self.each(&targets, |target| {
            let flags = if force {
                vec![(attr::FORCE, "force")]
            } else {
                Vec::new()
            };
            let subject = Subject::Resource(target.name().to_owned());
            let action = Action::new(
                target.name(),
                Step::Plain(cmd::DISCONNECT, "disconnect", subject, flags),
            );
            self.run(&action)
        })
    }
}

/// The step that takes a resource down.
fn down_step(name: &str) -> Action {
    let subject = Subject::Resource(name.to_owned());
    Action::new(name, Step::Plain(cmd::DOWN, "down", subject, Vec::new()))
}

/// Makes metadata with the default form and a new identity.
fn create_new(
    device: &mut Device,
    object: &str,
    resource: &str,
    empty_only: bool,
    ask: &dyn Fn(&str) -> bool,
) -> Outcome<bool> {
    let how = Create {
        object,
        resource,
        force: false,
        ignore_sanity_checks: false,
        empty_only,
        ask,
        options: CreateOptions {
            device_uuid: new_uuid()?,
            ..CreateOptions::default()
        },
    };
    meta::create(device, &how)
}

/// A random number that is not 0.
pub fn new_uuid() -> Outcome<u64> {
    let mut bytes = [0; 8];
    let length = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(std::io::Error::from)?;
    match (length, u64::from_ne_bytes(bytes)) {
        (8, uuid) => Ok(uuid.max(1)),
        _ => Err(Failure::new(
            exit::CANNOT,
            "the kernel gave no random number",
        )),
    }
}
