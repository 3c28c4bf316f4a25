// SPDX-License-Identifier: GPL-2.0

//! create-md: makes metadata, and destroys nothing without having asked (metadata.md, section 8.5).

use rdb_engine::meta::probe::{self, Content, Kind};
use rdb_engine::meta::{
    BLOCK_LEN, CreateOptions, Layout, LogGeometry, MetaError, Placement, Superblock, log,
};

use super::Device;
use crate::failure::{Failure, Outcome, exit};

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// How create-md is to behave.
pub struct Create<'a> {
    /// The volume, for messages.
    pub object: &'a str,
    /// Its resource, for advice.
    pub resource: &'a str,
    /// Answer yes to every question.
    pub force: bool,
    /// Go on where a check says no, unless data would surely be lost.
    pub ignore_sanity_checks: bool,
    /// Make metadata on an empty disk only; anything else is a refusal instead of a question.
    pub empty_only: bool,
    /// Asks the user; true is yes.
    pub ask: &'a dyn Fn(&str) -> bool,
    /// Choices for the metadata.
    pub options: CreateOptions,
}

/// Makes metadata on the device. True if they were made, false if the user said no.
pub fn create(device: &mut Device, how: &Create<'_>) -> Outcome<bool> {
    let planned = rdb_engine::meta::create(
        device.placement(),
        device.sectors(),
        device.data_sectors(),
        &how.options,
    );
    let planned = planned.map_err(|error| {
        Failure::new(
            exit::REFUSED,
            format!("{}: {}: {error}", how.object, device.path()),
        )
    })?;
    if !existing_metadata(device, how)? || !existing_data(device, &planned.layout, how)? {
        return Ok(false);
    }
    write(device, &planned.layout, &planned.superblock)?;
    Ok(true)
}

/// Writes ring, bitmap and superblock. Until the superblock is written the disk has no metadata, so a crash leaves none.
fn write(device: &mut Device, layout: &Layout, superblock: &Superblock) -> Outcome {
    device.zero(layout.superblock, BLOCK_LEN as u64 / SECTOR)?;
    device.flush()?;
    write_ring(device, layout)?;
    device.zero(layout.bitmap, layout.bitmap_sectors)?;
    device.write_superblock(superblock)
}

/// Initialises the activity log.
pub(super) fn write_ring(device: &Device, layout: &Layout) -> Outcome {
    let mut block = [0; BLOCK_LEN];
    log::encode_initialised(&mut block)
        .map_err(|error| Failure::new(exit::REFUSED, error.to_string()))?;
    for index in 0..layout.geometry.blocks() {
        device.write(layout.log_block_sector(index), &block)?;
    }
    Ok(())
}

fn existing_metadata(device: &mut Device, how: &Create<'_>) -> Outcome<bool> {
    let what = match device.superblock()? {
        Ok(superblock) => match superblock.la_size {
            0 => "metadata (v08) that were never used".to_owned(),
            _ => format!(
                "metadata (v08), data generation {:016X}",
                superblock.current_uuid
            ),
        },
        Err(MetaError::OtherFormat { name }) => format!("metadata of another format ({name})"),
        Err(MetaError::NotMetadata { .. } | MetaError::DeviceTooSmall { .. }) => return Ok(true),
        // A superblock that is there, but does not fit the device: it may still be wanted.
        Err(error) => format!("metadata that do not fit ({error})"),
    };
    let found = format!("{}: {} has {what}.", how.object, device.path());
    if how.empty_only {
        let text = format!(
            "{found}\n    They are kept. To overwrite them: rdbadm create-md {}",
            how.resource
        );
        return Err(Failure::new(exit::DATA, text));
    }
    Ok(how.force
        || (how.ask)(&format!(
            "{found}\nOverwrite them? All knowledge of what is in sync is lost."
        )))
}

fn existing_data(device: &Device, layout: &Layout, how: &Create<'_>) -> Outcome<bool> {
    let bytes = device
        .sectors()
        .saturating_mul(SECTOR)
        .min(probe::PROBE_LEN as u64);
    let mut start = vec![0; usize::try_from(bytes).unwrap_or_default()];
    device.read(0, &mut start)?;
    // Slots share a device: what others have there is not foreign.
    if let (Placement::Indexed(_), Ok(_)) = (device.placement(), Superblock::decode(&start)) {
        return Ok(true);
    }
    let Some(content) = probe::recognise(&start) else {
        return Ok(true);
    };
    // With flexible metadata the superblock is the start; whether to overwrite it was asked above.
    if device.placement() == Placement::Flexible && Superblock::decode(&start).is_ok() {
        return Ok(true);
    }
    let found = format!(
        "{}: {} holds {}",
        how.object,
        device.path(),
        describe(&content)
    );
    if how.empty_only {
        let text = format!(
            "{found}.\n    Nothing was written. To use it all the same: rdbadm create-md {}",
            how.resource
        );
        return Err(Failure::new(exit::DATA, text));
    }
    let usable = layout.usable(device.data_sectors()).saturating_mul(SECTOR);
    let internal = device.placement() == Placement::Internal;
    let fits = match content.kind {
        Kind::Unknown => true,
        _ if !internal => how.ignore_sanity_checks,
        _ => match content.bytes {
            Some(bytes) => bytes <= usable,
            None => how.ignore_sanity_checks,
        },
    };
    if !fits {
        return Err(Failure::new(
            exit::DATA,
            refusal(&found, &content, usable, internal),
        ));
    }
    let question = match (content.kind, internal) {
        (Kind::Unknown, true) => "Metadata overwrite the end of the device; the rest stays.",
        (_, true) => "It fits into the space that stays; metadata are written behind it.",
        (_, false) => "Metadata overwrite it.",
    };
    Ok(how.force || (how.ask)(&format!("{found}.\n{question} Go on?")))
}

fn describe(content: &Content) -> String {
    match content.bytes {
        Some(bytes) => format!("{} of {} KiB", content.kind, bytes / 1024),
        None => content.kind.to_string(),
    }
}

fn refusal(found: &str, content: &Content, usable: u64, internal: bool) -> String {
    if !internal {
        return format!(
            "{found}; it would be destroyed.\n    Choose another device for the metadata, or clear this one (wipefs)."
        );
    }
    let size = match content.bytes {
        Some(_) => "its end would be overwritten",
        None => "its size is not known, so its end may be overwritten",
    };
    format!(
        "{found}; only {} KiB are left for data beside the metadata, and {size}.\n    You can: keep the metadata on another device (meta-disk), shrink what is there first,\n    or, if it is not needed, clear the device (wipefs) and run create-md again.",
        usable / 1024
    )
}

/// The form of the activity log from the options of the command.
pub fn geometry(stripes: u32, stripe_size_kib: u32) -> Outcome<LogGeometry> {
    LogGeometry::from_create_options(stripes, stripe_size_kib)
        .map_err(|error| Failure::new(exit::REFUSED, error.to_string()))
}
