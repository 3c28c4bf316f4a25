// SPDX-License-Identifier: GPL-2.0

//! Metadata on disk: what drbdmeta does for the reference (metadata.md, section 8).

mod apply;
mod create;
mod device;
mod dump;
mod gi;

pub use apply::apply_log;
pub use create::{Create, create, geometry};
pub use device::{Device, Use};
pub use dump::dump;
pub use gi::{GenerationInfo, disk_state, invalidate, outdate};

use rdb_config::model::{Meta, Volume};
use rdb_engine::meta::{Placement, Superblock};

use crate::failure::{Failure, Outcome, exit};

/// Where the metadata of a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Device that holds the data.
    pub disk: String,
    /// Device that holds the metadata.
    pub meta_disk: String,
    /// Which kind.
    pub placement: Placement,
}

impl Place {
    /// The place that the configuration gives a volume.
    pub fn of(volume: &Volume) -> Option<Self> {
        let disk = volume.disk.as_ref()?.0.clone();
        let (meta_disk, placement) = match &volume.meta {
            Some((Meta::Flexible(device), _)) => (device.clone(), Placement::Flexible),
            Some((Meta::Indexed(device, index), _)) => (device.clone(), Placement::Indexed(*index)),
            _ => (disk.clone(), Placement::Internal),
        };
        Some(Self {
            disk,
            meta_disk,
            placement,
        })
    }

    /// Name of the kind as drbdmeta knows it.
    pub fn kind(&self) -> String {
        match self.placement {
            Placement::Internal => "internal".into(),
            Placement::Flexible => "flex-external".into(),
            Placement::Indexed(index) => index.to_string(),
        }
    }

    /// Name of the kind as the attach command knows it.
    pub fn index_word(&self) -> String {
        match self.placement {
            Placement::Flexible => "flexible".into(),
            _ => self.kind(),
        }
    }
}

/// Reads the superblock of a volume that must be there; the object is named in messages.
pub fn read(device: &mut Device, object: &str) -> Outcome<Superblock> {
    let found = device.superblock()?;
    found.map_err(|error| {
        Failure::new(
            exit::NO_META,
            format!("{object}: no valid metadata on {}: {error}\n    to make new ones: rdbadm create-md {object}", device.path()),
        )
    })
}
