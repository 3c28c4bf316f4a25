// SPDX-License-Identifier: GPL-2.0

//! The device that holds metadata: exclusive, whole blocks, flushed when it matters.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};

use rdb_engine::meta::{BLOCK_LEN, Layout, MetaError, Placement, Superblock};
use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};

use super::Place;
use crate::failure::{Failure, Outcome, exit};

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Bytes that are written at once where much is to be written.
const CHUNK: usize = 1 << 20;

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Reading; others may have it open.
    Read,
    /// Changing; nobody else may use it.
    Write,
}

/// A metadata device.
#[derive(Debug)]
pub struct Device {
    file: File,
    path: String,
    placement: Placement,
    sectors: u64,
    data_sectors: u64,
}

impl Device {
    /// Opens the metadata device of a volume. A regular file is accepted only with `files`.
    pub fn open(place: &Place, purpose: Use, files: bool) -> Outcome<Self> {
        let path = &place.meta_disk;
        let mut options = OpenOptions::new();
        options.read(true).write(purpose == Use::Write);
        // Several volumes share a device with slots.
        if purpose == Use::Write && !matches!(place.placement, Placement::Indexed(_)) {
            options.custom_flags(i32::try_from(OFlags::EXCL.bits()).unwrap_or_default());
        }
        let mut file = options
            .open(path)
            .map_err(|error| open_failure(path, &error))?;
        let kind = file.metadata()?.file_type();
        if !(kind.is_block_device() || files && kind.is_file()) {
            return Err(Failure::new(
                exit::CANNOT,
                format!("{path} is not a block device"),
            ));
        }
        // The module reads and writes past the page cache.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR;
        let data_sectors = match place.placement {
            Placement::Internal => sectors,
            _ => size_of_device(&place.disk).unwrap_or(sectors),
        };
        Ok(Self {
            file,
            path: path.clone(),
            placement: place.placement,
            sectors,
            data_sectors,
        })
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its size in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Size of the data device in sectors.
    pub fn data_sectors(&self) -> u64 {
        self.data_sectors
    }

    /// Kind of the metadata.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// The superblock; the inner error if there is none that is valid for the present size of the device.
    pub fn superblock(&mut self) -> Outcome<Result<Superblock, MetaError>> {
        let sector = match self.placement.superblock_sector(self.sectors) {
            Ok(sector) => sector,
            Err(error) => return Ok(Err(error)),
        };
        let mut block = [0; BLOCK_LEN];
        self.read(sector, &mut block)?;
        let decoded = Superblock::decode(&block).and_then(|found| {
            match found.has_computed_layout(self.placement, self.sectors) {
                true => Ok(found),
                false => Err(MetaError::Field {
                    field: "md_size_sect",
                    value: found.md_size.into(),
                    expected: "the layout for the present size of the device",
                }),
            }
        });
        Ok(decoded)
    }

    /// Where the parts of valid metadata are.
    pub fn layout(&self, superblock: &Superblock) -> Outcome<Layout> {
        superblock
            .layout(self.placement, self.sectors)
            .map_err(|error| Failure::new(exit::NO_META, format!("{}: {error}", self.path)))
    }

    /// Writes the superblock and makes sure that it and everything before is on the disk.
    pub fn write_superblock(&mut self, superblock: &Superblock) -> Outcome {
        let sector = self
            .placement
            .superblock_sector(self.sectors)
            .map_err(|error| Failure::new(exit::REFUSED, format!("{}: {error}", self.path)))?;
        let mut block = [0; BLOCK_LEN];
        superblock
            .encode(&mut block)
            .map_err(|error| Failure::new(exit::REFUSED, error.to_string()))?;
        self.flush()?;
        self.write(sector, &block)?;
        self.flush()
    }

    /// Reads at a sector.
    pub fn read(&self, sector: u64, buffer: &mut [u8]) -> Outcome {
        let result = self.file.read_exact_at(buffer, sector * SECTOR);
        result.map_err(|error| self.failure("cannot read", sector, &error))
    }

    /// Writes at a sector.
    pub fn write(&self, sector: u64, bytes: &[u8]) -> Outcome {
        let result = self.file.write_all_at(bytes, sector * SECTOR);
        result.map_err(|error| self.failure("cannot write", sector, &error))
    }

    /// Writes zeroes.
    pub fn zero(&self, sector: u64, sectors: u64) -> Outcome {
        let (offset, length) = (sector * SECTOR, sectors * SECTOR);
        if fallocate(&self.file, FallocateFlags::ZERO_RANGE, offset, length).is_ok() {
            return Ok(());
        }
        let zeroes = vec![0; CHUNK];
        let mut done = 0;
        while done < length {
            let step = usize::try_from(length - done).unwrap_or(CHUNK).min(CHUNK);
            self.write(sector + done / SECTOR, &zeroes[..step])?;
            done += step as u64;
        }
        Ok(())
    }

    /// Waits until all that was written is on the disk.
    pub fn flush(&self) -> Outcome {
        self.file
            .sync_all()
            .map_err(|error| self.failure("cannot flush", 0, &error))
    }

    fn failure(&self, what: &str, sector: u64, error: &io::Error) -> Failure {
        let text = format!("{}: {what} at sector {sector}: {error}", self.path);
        Failure::new(exit::REFUSED, text)
    }
}

fn open_failure(path: &str, error: &io::Error) -> Failure {
    let text = match error.kind() {
        io::ErrorKind::ResourceBusy => {
            format!(
                "{path} is in use: attached, mounted, or claimed by something else; lsblk shows by what"
            )
        }
        _ => format!("cannot open {path}: {error}"),
    };
    Failure::new(exit::CANNOT, text)
}

fn size_of_device(path: &str) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    Some(file.seek(SeekFrom::End(0)).ok()? / SECTOR)
}
