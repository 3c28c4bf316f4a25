//! The initial RAM disk that a machine boots with: it carries what the run brings (the module, the tools, the
//! agent) into the guest, so that the guest's disk image can be shared by all runs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufWriter,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use cpio::{NewcBuilder, newc};

use crate::cache;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;

/// Contents of an initial RAM disk under construction.
#[derive(Default)]
pub struct Initrd {
    files: BTreeMap<String, (u32, Vec<u8>)>,
}

impl Initrd {
    /// What every machine needs: busybox, the two init programs and the agent.
    ///
    /// # Errors
    ///
    /// One of them is missing.
    pub fn base() -> Result<Self> {
        let mut new = Self::default();
        let root = cache::existing(cache::cache().join("guest/root"), "guest userland")?;
        new.copy("bin/busybox", &root.join("usr/bin/busybox"), PROGRAM)?;
        new.add(
            "init",
            PROGRAM,
            include_bytes!("../guest/initramfs-init").to_vec(),
        );
        new.inject_bytes(
            "sbin/rdb-guest-init",
            PROGRAM,
            include_bytes!("../guest/init").to_vec(),
        );
        let agent = cache::existing(cache::tools()?.join("rdb-guest-agent"), "guest agent")?;
        new.inject("usr/local/sbin/rdb-guest-agent", &agent)?;
        Ok(new)
    }

    fn add(&mut self, name: &str, mode: u32, data: Vec<u8>) {
        self.files.insert(name.to_owned(), (mode, data));
    }

    fn copy(&mut self, name: &str, from: &Path, mode: u32) -> Result<()> {
        let data = fs::read(from).with_context(|| format!("{}", from.display()))?;
        self.add(name, mode, data);
        Ok(())
    }

    /// A driver that the first program loads in the order of the names.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn boot_module(&mut self, order: usize, from: &Path) -> Result<()> {
        let name = from
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.copy(&format!("modules/{order:02}-{name}"), from, PLAIN)
    }

    /// Settings for both init programs, as shell assignments.
    pub fn settings(&mut self, text: String) {
        self.add("testbed.env", PLAIN, text.into_bytes());
    }

    /// A program for the guest, by its path there (without the leading slash).
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn inject(&mut self, path: &str, from: &Path) -> Result<()> {
        self.copy(&format!("inject/{}", in_guest(path)), from, PROGRAM)
    }

    /// A file for the guest.
    pub fn inject_bytes(&mut self, path: &str, mode: u32, data: Vec<u8>) {
        self.add(&format!("inject/{}", in_guest(path)), mode, data);
    }

    /// The module under test, with module indexes that know it. `tree` has the kernel's own modules.
    ///
    /// # Errors
    ///
    /// depmod fails.
    pub fn inject_module(
        &mut self,
        module: Option<&Path>,
        release: &str,
        tree: &Path,
        whole: bool,
    ) -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let folder = scratch.path().join("lib/modules").join(release);
        fs::create_dir_all(folder.join("updates"))?;
        let stock = tree.join("lib/modules").join(release);
        std::os::unix::fs::symlink(stock.join("kernel"), folder.join("kernel"))?;
        for name in [
            "modules.order",
            "modules.builtin",
            "modules.builtin.modinfo",
        ] {
            if stock.join(name).exists() {
                fs::copy(stock.join(name), folder.join(name))?;
            }
        }
        if let Some(module) = module {
            let _ = fs::copy(module, folder.join("updates/rdb.ko"))
                .with_context(|| format!("{}", module.display()))?;
        }
        let depmod = Command::new("/sbin/depmod")
            .arg("-b")
            .arg(scratch.path())
            .arg(release)
            .output()?;
        if !depmod.status.success() {
            bail!(
                "depmod for {release}: {}",
                String::from_utf8_lossy(&depmod.stderr)
            );
        }
        self.inject_tree(&folder, &format!("lib/modules/{release}"), whole)
    }

    /// Files below `from`; those behind the link to the stock modules only if `whole`.
    fn inject_tree(&mut self, from: &Path, to: &str, whole: bool) -> Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (path, name) = (
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            );
            let to = format!("{to}/{name}");
            if path.is_dir() {
                if whole || !path.is_symlink() {
                    self.inject_tree(&path, &to, whole)?;
                }
            } else {
                self.inject_bytes(&to, PLAIN, fs::read(&path)?);
            }
        }
        Ok(())
    }

    /// Writes the archive.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, to: &Path) -> Result<()> {
        let mut folders = std::collections::BTreeSet::new();
        for name in self.files.keys() {
            folders.extend(Path::new(name).ancestors().skip(1).map(Path::to_owned));
        }
        folders.remove(Path::new(""));
        let mut out = BufWriter::new(File::create(to)?);
        for (index, folder) in folders.iter().enumerate() {
            let node = NewcBuilder::new(&folder.to_string_lossy())
                .ino(number(index))
                .mode(DIRECTORY);
            node.write(&mut out, 0).finish()?;
        }
        for (index, (name, (mode, data))) in self.files.iter().enumerate() {
            let length = u32::try_from(data.len()).context("file too long for the archive")?;
            let node = NewcBuilder::new(name)
                .ino(number(folders.len() + index))
                .mode(*mode);
            let mut file = node.write(&mut out, length);
            io_write(&mut file, data)?;
            file.finish()?;
        }
        newc::trailer(out)?;
        Ok(())
    }
}

fn io_write(file: &mut impl std::io::Write, data: &[u8]) -> Result<()> {
    Ok(file.write_all(data)?)
}

fn number(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

/// In the guest `/lib`, `/bin` and `/sbin` are links into `/usr`, which the copy must not replace by folders.
fn in_guest(path: &str) -> String {
    let merged = ["lib/", "bin/", "sbin/"]
        .iter()
        .any(|top| path.starts_with(top));
    if merged {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}
