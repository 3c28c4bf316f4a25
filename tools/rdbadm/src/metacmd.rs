// SPDX-License-Identifier: GPL-2.0

//! Commands on metadata: create-md, dump-md, wipe-md, apply-al, get-gi, show-gi (admin-tool.md, section 9).

use rdb_config::model::Volume;
use rdb_engine::meta::{BLOCK_LEN, CreateOptions};

use crate::bring::new_uuid;
use crate::cli::CreateArgs;
use crate::failure::{Failure, Outcome, exit};
use crate::meta::{self, Create, GenerationInfo, Use};
use crate::select::Target;
use crate::session::Session;

impl Session<'_> {
    /// Makes metadata.
    pub fn create_md(&self, args: &CreateArgs) -> Outcome {
        let geometry = meta::geometry(args.al_stripes, args.al_stripe_size)?;
        self.each_volume(&args.names, |target, volume| {
            let place = Self::place(target, volume)?;
            let object = target.object(volume);
            if self.world.dry_run {
                let minor = Self::minor(volume);
                return self.world.say(&format!(
                    "rdbmeta {minor} v08 {} {} create-md",
                    place.meta_disk,
                    place.kind()
                ));
            }
            self.not_attached(target, volume)?;
            let mut device = self.open(&place, &object, Use::Write, args.force)?;
            let how = Create {
                object: &object,
                resource: target.name(),
                force: args.force,
                ignore_sanity_checks: args.ignore_sanity_checks,
                empty_only: false,
                ask: &|question| self.question(question),
                options: CreateOptions {
                    geometry,
                    peer_max_bio_size: args.peer_max_bio_size,
                    effective_size: 0,
                    device_uuid: new_uuid()?,
                },
            };
            match meta::create(&mut device, &how)? {
                true => {
                    self.world
                        .complain(&format!("{object}: new metadata on {}", device.path()));
                    Ok(())
                }
                false => Err(Failure::new(
                    exit::USAGE,
                    format!("{object}: nothing was written"),
                )),
            }
        })
    }

    /// Asks; without a terminal the answer is no, and the question is shown all the same.
    fn question(&self, question: &str) -> bool {
        if self.world.terminal.input {
            return (self.world.ask)(question);
        }
        self.world.complain(&format!(
            "{question}\n    There is no terminal to answer at; --force answers yes."
        ));
        false
    }

    /// Prints metadata.
    pub fn dump_md(&self, words: &[String], force: bool) -> Outcome {
        self.each_volume(words, |target, volume| {
            self.not_attached(target, volume)?;
            let place = Self::place(target, volume)?;
            let object = target.object(volume);
            let mut device = self.open(&place, &object, Use::Read, force)?;
            let header = [
                "DRBD meta data dump".to_owned(),
                format!(
                    "{}> rdbadm dump-md {object} ({} {})",
                    self.world.node.name,
                    place.meta_disk,
                    place.kind()
                ),
            ];
            let text = meta::dump(&mut device, &object, &header, force)?;
            self.world.print(&text)
        })
    }

    /// Removes metadata.
    pub fn wipe_md(&self, words: &[String], force: bool) -> Outcome {
        self.each_volume(words, |target, volume| {
            self.not_attached(target, volume)?;
            let place = Self::place(target, volume)?;
            let object = target.object(volume);
            let mut device = self.open(&place, &object, Use::Write, force)?;
            if device.superblock()?.is_err() {
                self.world.complain(&format!(
                    "{object}: there is no metadata on {}",
                    device.path()
                ));
                return Ok(());
            }
            let question = format!(
                "{object}: remove the metadata on {}? All knowledge of what is in sync is lost.",
                device.path()
            );
            if !force && !self.question(&question) {
                return Err(Failure::new(
                    exit::USAGE,
                    format!("{object}: nothing was removed"),
                ));
            }
            let sector = place
                .placement
                .superblock_sector(device.sectors())
                .map_err(|error| Failure::new(exit::REFUSED, error.to_string()))?;
            device.write(sector, &[0; BLOCK_LEN])?;
            device.flush()
        })
    }

    /// Applies the activity log.
    pub fn apply_al(&self, words: &[String]) -> Outcome {
        self.each_volume(words, |target, volume| {
            self.not_attached(target, volume)?;
            self.apply_log(&Self::place(target, volume)?, &target.object(volume))
        })
    }

    /// Data generation, from the module or else from the metadata.
    pub fn generation(&self, words: &[String], explain: bool) -> Outcome {
        self.each_volume(words, |target, volume| {
            let info = match self.generation_in_use(volume)? {
                Some(info) => info,
                None => self.generation_on_disk(target, volume)?,
            };
            match explain {
                true => self.world.print(&info.show()),
                false => self.world.say(&info.line()),
            }
        })
    }

    fn generation_in_use(&self, volume: &Volume) -> Outcome<Option<GenerationInfo>> {
        let minor = Self::minor(volume);
        let found = self.world.read(|kernel| kernel.volumes())?;
        let known = found.into_iter().find(|known| known.minor == minor);
        Ok(known.and_then(|known| {
            Some(GenerationInfo {
                uuids: known.uuids?,
                flags: known.flags,
                on_disk: None,
            })
        }))
    }

    fn generation_on_disk(&self, target: &Target<'_>, volume: &Volume) -> Outcome<GenerationInfo> {
        let object = target.object(volume);
        let mut device = self.open(&Self::place(target, volume)?, &object, Use::Read, false)?;
        let superblock = meta::read(&mut device, &object);
        let superblock = superblock.map_err(|failure| Failure::new(exit::USAGE, failure.text))?;
        Ok(GenerationInfo::from_superblock(&superblock))
    }
}
