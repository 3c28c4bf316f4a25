//! Lower disks: sparse files on the host, which can be read there while no machine writes to them.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::volatile::Volatile;

/// What a lower disk is like.
#[derive(Debug, Clone, Copy)]
pub struct DiskSpec {
    /// Size in bytes.
    pub bytes: u64,
    /// Logical block size in bytes, 512 or 4096.
    pub block: u32,
    /// It has a write cache that loses its content when the power goes. Only QEMU can have such a disk.
    pub volatile: bool,
}

impl DiskSpec {
    /// A disk of 512-byte blocks.
    pub fn mib(size: u64) -> Self {
        Self {
            bytes: size << 20,
            block: 512,
            volatile: false,
        }
    }

    /// The same disk with another logical block size.
    #[must_use]
    pub fn block(self, block: u32) -> Self {
        Self { block, ..self }
    }

    /// The same disk with a volatile write cache; see [`crate::Node::lose_power`].
    #[must_use]
    pub fn volatile(self) -> Self {
        Self {
            volatile: true,
            ..self
        }
    }
}

/// A lower disk of a node.
#[derive(Clone)]
pub struct Disk {
    /// The file that holds it.
    pub path: PathBuf,
    /// Its shape.
    pub spec: DiskSpec,
    cache: Option<Volatile>,
}

impl Disk {
    /// Makes an empty disk.
    ///
    /// # Errors
    ///
    /// The file cannot be made.
    pub fn create(path: PathBuf, spec: DiskSpec) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
        file.set_len(spec.bytes)?;
        let mut disk = Self {
            path,
            spec,
            cache: None,
        };
        if spec.volatile {
            disk.cache = Some(Volatile::serve(&disk.path, &disk.socket())?);
        }
        Ok(disk)
    }

    /// Where the machine finds a disk with a volatile cache.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.with_extension("nbd")
    }

    /// What an idle disk does by itself: its cache reaches the disk.
    ///
    /// # Errors
    ///
    /// The file's own.
    pub fn settle(&self) -> Result<()> {
        Ok(self.cache.as_ref().map_or(Ok(()), Volatile::settle)?)
    }

    /// Sectors of the cache that were kept and lost when the power went.
    pub(crate) fn lose_power(&self, percent: u32) -> Result<(usize, usize)> {
        let lose = |cache: &Volatile| cache.lose_power(percent);
        Ok(self.cache.as_ref().map_or(Ok((0, 0)), lose)?)
    }

    /// Bytes `at..at + length` of the disk.
    ///
    /// # Errors
    ///
    /// The file's own, and reading past its end.
    pub fn read(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(at))?;
        let mut data = vec![0; length];
        file.read_exact(&mut data)
            .with_context(|| format!("{} at {at}", self.path.display()))?;
        Ok(data)
    }

    /// Overwrites a part of the disk behind the back of everyone.
    ///
    /// # Errors
    ///
    /// The file's own.
    pub fn write(&self, at: u64, data: &[u8]) -> Result<()> {
        let mut file = File::options().write(true).open(&self.path)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(file.write_all(data)?)
    }
}

/// Compares the first `bytes` of two disks. No machine may be writing to them.
///
/// # Errors
///
/// The disks differ (with the first place and the number of 4-KiB blocks that do) or cannot be read.
pub fn assert_data_identical(a: &Path, b: &Path, bytes: u64) -> Result<()> {
    const PIECE: usize = 1 << 20;
    const BLOCK: usize = 4096;
    let mut files = [File::open(a)?, File::open(b)?];
    let mut pieces = [vec![0; PIECE], vec![0; PIECE]];
    let (mut at, mut first, mut differing) = (0, None, 0_u64);
    while at < bytes {
        let length = usize::try_from(bytes - at).unwrap_or(PIECE).min(PIECE);
        for (file, piece) in files.iter_mut().zip(&mut pieces) {
            file.read_exact(&mut piece[..length])
                .with_context(|| format!("reading at byte {at}"))?;
        }
        let [left, right] = &pieces;
        if left[..length] != right[..length] {
            let blocks = left[..length]
                .chunks(BLOCK)
                .zip(right[..length].chunks(BLOCK));
            for (index, _) in blocks
                .enumerate()
                .filter(|(_, (left, right))| left != right)
            {
                first.get_or_insert(at + (index * BLOCK) as u64);
                differing += 1;
            }
        }
        at += length as u64;
    }
    match first {
        None => Ok(()),
        Some(first) => bail!(
            "lower disks differ: {differing} blocks of 4 KiB, the first at byte {first} ({} and {}, first {bytes} bytes compared)",
            a.display(),
            b.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let a = Disk::create(folder.path().join("a"), DiskSpec::mib(3)).unwrap();
        let b = Disk::create(folder.path().join("b"), DiskSpec::mib(3)).unwrap();
        assert_data_identical(&a.path, &b.path, 3 << 20).unwrap();
        b.write((2 << 20) + 5000, b"x").unwrap();
        let error = assert_data_identical(&a.path, &b.path, 3 << 20)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("1 blocks of 4 KiB, the first at byte 2101248"),
            "{error}"
        );
        assert_data_identical(&a.path, &b.path, 2 << 20).unwrap();
    }
}
