// SPDX-License-Identifier: GPL-2.0

//! A run of one command: configuration, world, and running steps for several targets.

use rdb_config::Config;
use rdb_config::model::{Address, Host, Setting, Volume};
use rdb_config::resolve::{self, PeerError};
use rdb_netlink::{DiskState, Error};

use crate::action::{Action, Connect, Step, Subject};
use crate::failure::{Failure, Outcome, exit};
use crate::meta::{self, Device, Place, Use};
use crate::select::{Target, select, whole_only};
use crate::world::World;

/// A run of one command.
pub struct Session<'a> {
    /// Everything outside.
    pub world: &'a World,
    /// The configuration.
    pub config: &'a Config,
    /// The peer, if it was chosen on the command line.
    pub peer: Option<&'a str>,
    /// Own addresses must exist on this host.
    pub check_addresses: bool,
}

impl<'a> Session<'a> {
    /// The targets that the words name.
    pub fn targets(&self, words: &[String]) -> Outcome<Vec<Target<'a>>> {
        select(self.config, &self.world.node, words)
    }

    /// The targets of a command that works on whole resources.
    pub fn resources(&self, words: &[String], command: &str) -> Outcome<Vec<Target<'a>>> {
        let targets = self.targets(words)?;
        whole_only(&targets, command)?;
        Ok(targets)
    }

    /// Does something for each item. All are tried; the highest exit code is that of the command, and 20 or more stops at once.
    pub fn each<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        act: impl Fn(T) -> Outcome,
    ) -> Outcome {
        let mut code = 0;
        for item in items {
            if let Err(failure) = act(item) {
                self.world.complain(&failure.text);
                code = code.max(failure.code);
                if failure.code >= exit::CANNOT || failure.code == 0 {
                    break;
                }
            }
        }
        if code == 0 {
            Ok(())
        } else {
            Err(Failure::new(code, ""))
        }
    }

    /// Does something for each volume of the targets.
    pub fn each_volume(
        &self,
        words: &[String],
        act: impl Fn(&Target<'a>, &'a Volume) -> Outcome,
    ) -> Outcome {
        let targets = self.targets(words)?;
        let pairs = targets
            .iter()
            .flat_map(|target| target.volumes.iter().map(move |volume| (target, *volume)));
        self.each(pairs, |(target, volume)| act(target, volume))
    }

    /// Runs a step, or prints it.
    pub fn run(&self, action: &Action) -> Outcome {
        let call = || action.call(self.config, &self.world.node);
        if self.world.dry_run || self.world.verbose {
            self.world.say(&call())?;
        }
        if self.world.dry_run {
            return Ok(());
        }
        let result = match &action.step {
            Step::ApplyLog(_, place) => self.apply_log(place, &action.object),
            _ => match action.request(self.config, &self.world.node) {
                Some(request) => self.world.request(&request, &action.object),
                None => Ok(()),
            },
        };
        result.map_err(|mut failure| {
            if let (Some(-1 | -20), Some(peer)) = (failure.refusal, self.peer_of(&action.object)) {
                failure.text += &format!("\n    the primary is {peer}");
            }
            let code = failure.code;
            if (exit::REFUSED..exit::NO_META).contains(&code) {
                failure.text += &format!("\nCommand '{}' terminated with exit code {code}", call());
            }
            failure
        })
    }

    /// Name and address of the peer of a resource or volume as messages name it.
    fn peer_of(&self, object: &str) -> Option<String> {
        let name = object.rsplit_once('/').map_or(object, |(name, _)| name);
        let resource = self.config.resource(name)?;
        let local = resolve::local(self.config, resource, &self.world.node).ok()??;
        let host = local.peer(self.peer).ok()?;
        let address = host.address.as_ref().map(|address| format!(" ({address})"));
        Some(format!("{}{}", host.label(), address.unwrap_or_default()))
    }

    /// Opens the metadata device of a volume. Regular files are accepted only if that is `forced`.
    pub fn open(&self, place: &Place, object: &str, purpose: Use, forced: bool) -> Outcome<Device> {
        let opened = Device::open(place, purpose, self.world.files || forced);
        opened.map_err(|failure| Failure::new(failure.code, format!("{object}: {}", failure.text)))
    }

    /// Applies the activity log of a volume that is not attached.
    pub fn apply_log(&self, place: &Place, object: &str) -> Outcome {
        let mut device = self.open(place, object, Use::Write, false)?;
        let applied = meta::apply_log(&mut device, object)?;
        if applied.ignored > 0 {
            let text = format!(
                "{object}: {} entries of the activity log lie outside of the volume",
                applied.ignored
            );
            self.world.complain(&text);
        }
        Ok(())
    }

    /// Minor number of a volume.
    pub fn minor(volume: &Volume) -> u32 {
        // The checks of the configuration demand a device.
        volume.device.as_ref().map_or(0, |device| device.minor)
    }

    /// Place of the metadata of a volume.
    pub fn place(target: &Target<'_>, volume: &Volume) -> Outcome<Place> {
        Place::of(volume).ok_or_else(|| {
            Failure::new(
                exit::REFUSED,
                format!("{}: no disk is configured", target.object(volume)),
            )
        })
    }

    /// Refuses to touch the metadata of a disk that the module uses.
    pub fn not_attached(&self, target: &Target<'_>, volume: &Volume) -> Outcome {
        let minor = Self::minor(volume);
        let found = self.world.read(|kernel| kernel.volumes())?;
        let attached = found
            .iter()
            .any(|known| known.minor == minor && known.disk != DiskState::Diskless);
        if !attached {
            return Ok(());
        }
        let object = target.object(volume);
        let text = format!(
            "{object}: the disk is attached (/dev/rdb{minor}); first: rdbadm detach {object}"
        );
        Err(Failure::new(exit::CANNOT, text))
    }

    /// Section of the peer.
    pub fn peer(&self, target: &Target<'a>) -> Outcome<&'a Host> {
        let name = target.name();
        target.local.peer(self.peer).map_err(|error| match error {
            PeerError::Missing => Failure::new(
                exit::REFUSED,
                format!("{name}: the section of the peer is missing: on PEER {{ … }}"),
            ),
            PeerError::Several(hosts) => Failure::new(
                exit::REFUSED,
                format!(
                    "{name}: several sections for the peer; choose one with --peer: {}",
                    hosts.join(", ")
                ),
            ),
            PeerError::Unknown(host) => Failure::new(
                exit::REFUSED,
                format!("{name}: there is no section for the peer {host}"),
            ),
        })
    }

    /// The step that connects a resource.
    pub fn connect_step(&self, target: &Target<'a>, more: &[Setting]) -> Outcome<Connect> {
        let peer = self.peer(target)?;
        let address = |host: &Host| -> Outcome<Address> {
            host.address.clone().ok_or_else(|| {
                Failure::new(
                    exit::REFUSED,
                    format!("{}: no address is configured", target.name()),
                )
            })
        };
        Ok(Connect {
            resource: target.name().to_owned(),
            local: address(target.local.own)?,
            peer: address(peer)?,
            options: merged(target.local.net(), more),
            discard_my_data: false,
            tentative: false,
        })
    }

    /// The own address must exist here (configuration.md, section 4).
    pub fn check_address(&self, target: &Target<'_>) -> Outcome {
        let Some(known) = self
            .world
            .node
            .addresses
            .as_ref()
            .filter(|_| self.check_addresses)
        else {
            return Ok(());
        };
        let Some(address) = &target.local.own.address else {
            return Ok(());
        };
        if known.contains(&address.ip) || self.config.global_switch("disable-ip-verification") {
            return Ok(());
        }
        let place = self.config.sources.file_line(address.span);
        let text = format!(
            "{place}: resource {}, '{}': address {} is on no interface of this host.\n    Give the interface the address first, or set disable-ip-verification in section global.",
            target.name(),
            target.local.own.section(),
            address.ip
        );
        Err(Failure::new(exit::REFUSED, text))
    }

    /// Whether the module is not loaded.
    pub fn without_module(&self) -> bool {
        matches!(self.world.kernel(), Err(Error::NoModule))
    }

    /// The step of a plain request for a volume.
    pub fn volume_step(
        target: &Target<'_>,
        volume: &Volume,
        command: u8,
        name: &'static str,
        flags: Vec<(u16, &'static str)>,
    ) -> Action {
        let subject = Subject::Minor(Self::minor(volume));
        Action::new(
            target.object(volume),
            Step::Plain(command, name, subject, flags),
        )
    }
}

/// Settings of the file, with those of the command line in their place.
pub fn merged(mut settings: Vec<Setting>, more: &[Setting]) -> Vec<Setting> {
    for setting in more {
        match settings
            .iter_mut()
            .find(|known| known.option.name == setting.option.name)
        {
            Some(known) => *known = setting.clone(),
            None => settings.push(setting.clone()),
        }
    }
    settings
}
