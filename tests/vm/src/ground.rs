//! The two grounds that a machine can stand on. They differ only in how a machine is started: everything a test
//! does to it afterwards goes through the same descriptors and signals.

mod qemu;
mod uml;

use std::{
    env,
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{cache, disk::Disk, initrd::Initrd, launch::Launch};

/// What a machine stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Ground {
    /// User-mode Linux: the module on our own kernel, run as a process. Boots in under a second.
    Uml,
    /// QEMU without hardware help, the stock Debian kernel.
    Qemu,
    /// QEMU, our own kernel with KASAN, lockdep and fault injection.
    Debug,
}

impl Ground {
    /// What `RDB_GROUND` says (`uml`, `qemu` or `debug`); UML if it is not set.
    ///
    /// # Errors
    ///
    /// It says something else.
    pub fn from_env() -> Result<Self> {
        match env::var("RDB_GROUND").as_deref() {
            Err(_) | Ok("uml") => Ok(Self::Uml),
            Ok("qemu") => Ok(Self::Qemu),
            Ok("debug") => Ok(Self::Debug),
            Ok(other) => bail!("RDB_GROUND is '{other}': expected uml, qemu or debug"),
        }
    }

    /// Kernel, modules and products of this ground.
    ///
    /// # Errors
    ///
    /// They were not made yet.
    pub fn kernel(self) -> Result<Kernel> {
        let folder = cache::cache().join("kernel");
        let own = |kind: &str| -> Result<PathBuf> {
            let current = cache::existing(folder.join(format!("{kind}.current")), "test kernel")?;
            let text = std::fs::read_to_string(current)?;
            Ok(folder.join(text.split_whitespace().next().unwrap_or_default()))
        };
        let (image, modules, build_name) = match self {
            Self::Qemu => {
                let release = cache::stock_release()?;
                let tree = folder.join(&release);
                (tree.join("vmlinuz"), tree.join("modules"), release)
            }
            Self::Uml => {
                let out = own("uml")?;
                (out.join("linux"), out.join("modules"), name_of(&out))
            }
            Self::Debug => {
                let out = own("debug")?;
                (
                    out.join("arch/x86/boot/bzImage"),
                    out.join("modules"),
                    name_of(&out),
                )
            }
        };
        let release = match self {
            Self::Qemu => cache::stock_release()?,
            Self::Uml | Self::Debug => only_release(&modules)?,
        };
        Ok(Kernel {
            image: cache::existing(image, "kernel")?,
            modules,
            release,
            build_name,
        })
    }

    /// Name of the device that the first lower disk (`disk` 0) has in the guest.
    pub fn disk_device(self, disk: usize) -> String {
        let letter = char::from(b'b' + u8::try_from(disk).unwrap_or(0));
        match self {
            Self::Uml => format!("ubd{letter}"),
            Self::Qemu | Self::Debug => format!("vd{letter}"),
        }
    }

    /// How long to wait here for what takes `limit` on the other grounds at most: KASAN, lockdep and slab debugging
    /// make everything several times slower.
    pub fn patience(self, limit: Duration) -> Duration {
        match self {
            Self::Uml | Self::Qemu => limit,
            Self::Debug => limit * 4,
        }
    }

    /// Time between two looks at a guest: programs take a good part of a second to start in the debug kernel, and what
    /// is waited for needs the processor.
    pub(crate) fn interval(self) -> Duration {
        match self {
            Self::Uml | Self::Qemu => Duration::from_millis(300),
            Self::Debug => Duration::from_secs(2),
        }
    }

    /// Memory of a machine that is to have `mib` for its programs: KASAN takes an eighth for its shadow, and keeps
    /// what was freed for a while; slab debugging and the memory of lockdep and kmemleak come on top.
    pub(crate) fn memory_mib(self, mib: u32) -> u32 {
        match self {
            Self::Uml | Self::Qemu => mib,
            Self::Debug => mib + 512,
        }
    }

    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Uml => "RDB_ROOT=/dev/ubda\nRDB_AGENT=ttyS0\n",
            Self::Qemu | Self::Debug => "RDB_ROOT=/dev/vda\nRDB_AGENT=port:rdb.agent\n",
        }
    }

    /// Modules that the guest's init loads.
    pub(crate) fn modules(self) -> &'static str {
        match self {
            Self::Uml => "",
            Self::Qemu => "virtio_net loop",
            Self::Debug => "",
        }
    }

    pub(crate) fn initrd(self, kernel: &Kernel, module: Option<&Path>) -> Result<Initrd> {
        let mut initrd = Initrd::base()?;
        if self == Self::Qemu {
            let drivers = kernel
                .modules
                .join("lib/modules")
                .join(&kernel.release)
                .join("kernel/drivers");
            initrd.boot_module(0, &drivers.join("block/virtio_blk.ko"))?;
        }
        // The guests' disk image has the stock kernel's modules, not those of our own kernels.
        let whole = self != Self::Qemu;
        initrd.inject_module(module, &kernel.release, &kernel.modules, whole)?;
        Ok(initrd)
    }

    /// Makes the machine's own layer over the shared disk image.
    pub(crate) fn prepare_root(self, folder: &Path) -> Result<()> {
        match self {
            // UML makes its layer itself.
            Self::Uml => Ok(()),
            Self::Qemu | Self::Debug => qemu::prepare_root(folder),
        }
    }

    pub(crate) fn launch(self, plan: Plan<'_>) -> Result<Launch> {
        match self {
            Self::Uml => uml::launch(plan),
            Self::Qemu | Self::Debug => qemu::launch(plan),
        }
    }
}

fn name_of(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn only_release(modules: &Path) -> Result<String> {
    let folder = modules.join("lib/modules");
    let mut names = std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    let name = names
        .next()
        .with_context(|| format!("{}: no modules", folder.display()))??;
    Ok(name.file_name().to_string_lossy().into_owned())
}

/// A kernel to boot.
pub struct Kernel {
    /// What is booted.
    pub image: PathBuf,
    /// Folder with `lib/modules/RELEASE`.
    pub modules: PathBuf,
    /// As `uname -r` says.
    pub release: String,
    /// Name of its products in the build folder.
    build_name: String,
}

impl Kernel {
    /// The module under test, built for this kernel.
    ///
    /// # Errors
    ///
    /// It was not built.
    pub fn module(&self) -> Result<PathBuf> {
        let path = cache::build().join(&self.build_name).join("rdb.ko");
        cache::existing(path, "module built for this kernel")
    }
}

/// All that a ground needs to know to start a machine.
pub(crate) struct Plan<'a> {
    pub ground: Ground,
    pub leaks: bool,
    pub name: &'a str,
    pub index: usize,
    pub kernel: &'a Kernel,
    pub folder: &'a Path,
    pub memory_mib: u32,
    pub processors: u32,
    pub disks: &'a [Disk],
    pub console: PathBuf,
    pub log: File,
    pub agent: OwnedFd,
    pub qmp: OwnedFd,
    pub link: OwnedFd,
    pub shell: Option<OwnedFd>,
}

/// Numbers under which a machine's process finds its descriptors.
const AGENT_FD: i32 = 20;
const QMP_FD: i32 = 21;
const LINK_FD: i32 = 22;
const SHELL_FD: i32 = 23;
