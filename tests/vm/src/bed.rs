//! Two nodes and the link between them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    cache,
    disk::{self, Disk, DiskSpec},
    ground::Ground,
    link::Link,
    node::{Node, NodePlan},
    unload,
};

/// Host names and addresses of the nodes, as in the how-to.
pub const NODES: [(&str, &str); 2] = [
    ("hauptserver", "192.168.1.11"),
    ("ausfallserver", "192.168.1.12"),
];

/// How a testbed is to be.
pub struct Builder {
    name: String,
    ground: Ground,
    memory_mib: u32,
    processors: u32,
    disks: [Vec<DiskSpec>; 2],
    shell: bool,
    leaks: bool,
    module: bool,
    programs: Vec<String>,
}

/// Two machines. Call [`Testbed::finish`] at the end of a test; a testbed that is dropped without it looks at
/// the consoles all the same, and panics if they show trouble.
pub struct Testbed {
    /// hauptserver, 192.168.1.11.
    pub a: Node,
    /// ausfallserver, 192.168.1.12.
    pub b: Node,
    /// What is between them.
    pub link: Arc<Link>,
    logs: PathBuf,
    finished: bool,
    // Last, since it is removed when everything that uses it is gone.
    _scratch: TempDir,
}

impl Builder {
    /// Lower disks of both nodes.
    #[must_use]
    pub fn disks(self, disks: &[DiskSpec]) -> Self {
        Self {
            disks: [disks.to_vec(), disks.to_vec()],
            ..self
        }
    }

    /// Lower disks of each node.
    #[must_use]
    pub fn disks_of(self, a: &[DiskSpec], b: &[DiskSpec]) -> Self {
        Self {
            disks: [a.to_vec(), b.to_vec()],
            ..self
        }
    }

    /// Memory of each machine, in MiB.
    #[must_use]
    pub fn memory(self, mib: u32) -> Self {
        Self {
            memory_mib: mib,
            ..self
        }
    }

    /// Processors of each machine.
    #[must_use]
    pub fn processors(self, processors: u32) -> Self {
        Self { processors, ..self }
    }

    /// Gives each machine a shell on a terminal of its own.
    #[must_use]
    pub fn with_shell(self) -> Self {
        Self {
            shell: true,
            ..self
        }
    }

    /// Has kmemleak look for what the module forgot, at the end of the test. For the debug kernel.
    #[must_use]
    pub fn find_leaks(self) -> Self {
        Self {
            leaks: true,
            ..self
        }
    }

    /// Machines without the module and tools under test: for tests of the testbed itself.
    #[must_use]
    pub fn bare(self) -> Self {
        Self {
            module: false,
            programs: Vec::new(),
            ..self
        }
    }

    /// Brings another program of the workspace into the guests.
    #[must_use]
    pub fn program(mut self, name: &str) -> Self {
        self.programs.push(name.to_owned());
        self
    }

    /// Makes the nodes and boots both.
    ///
    /// # Errors
    ///
    /// Something is missing, or a machine does not come up.
    pub fn boot(self) -> Result<Testbed> {
        let bed = self.create()?;
        thread::scope(|scope| {
            let second = scope.spawn(|| bed.b.boot());
            bed.a.boot()?;
            second
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        Ok(bed)
    }

    /// Makes the nodes and boots none.
    ///
    /// # Errors
    ///
    /// Something is missing.
    pub fn create(self) -> Result<Testbed> {
        let scratch = scratch_folder()?;
        let logs = logs_folder(&self.name, self.ground)?;
        let link = Arc::new(Link::new()?);
        let tools = cache::tools()?;
        let programs = self
            .programs
            .iter()
            .map(|name| cache::existing(tools.join(name), "program to bring into the guest"))
            .collect::<Result<Vec<_>>>()?;
        let module = if self.module {
            Some(self.ground.kernel()?.module()?)
        } else {
            None
        };
        let node = |index: usize| -> Result<Node> {
            let (name, address) = NODES[index];
            let folder = scratch.path().join(name);
            fs::create_dir_all(&folder)?;
            let disks = self.disks[index]
                .iter()
                .enumerate()
                .map(|(number, spec)| Disk::create(folder.join(format!("disk{number}")), *spec))
                .collect::<Result<Vec<_>>>()?;
            let plan = NodePlan {
                name: name.to_owned(),
                address: address.to_owned(),
                index,
                ground: self.ground,
                memory_mib: self.memory_mib,
                processors: self.processors,
                disks,
                shell: self.shell,
                leaks: self.leaks,
                module: module.clone(),
                programs: programs.clone(),
                folder,
                logs: logs.clone(),
            };
            Node::create(plan, Arc::clone(&link)).with_context(|| format!("making {name}"))
        };
        Ok(Testbed {
            a: node(0)?,
            b: node(1)?,
            link,
            logs,
            finished: false,
            _scratch: scratch,
        })
    }
}

impl Testbed {
    /// A testbed of two nodes with the module and the tools, 512 MiB of memory and one lower disk of 64 MiB each.
    /// The name is that of the test; logs are kept under it.
    pub fn builder(name: &str, ground: Ground) -> Builder {
        Builder {
            name: name.to_owned(),
            ground,
            memory_mib: 512,
            processors: 1,
            disks: [vec![DiskSpec::mib(64)], vec![DiskSpec::mib(64)]],
            shell: false,
            leaks: false,
            module: true,
            programs: ["rdbadm", "rdb-heartbeat", "rdb-iowriter"]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    /// Both nodes.
    pub fn nodes(&self) -> [&Node; 2] {
        [&self.a, &self.b]
    }

    /// Does the same on both nodes, one after the other.
    ///
    /// # Errors
    ///
    /// The first that `work` makes.
    pub fn both(&self, work: impl Fn(&Node) -> Result<()>) -> Result<()> {
        work(&self.a)?;
        work(&self.b)
    }

    /// Compares the first `bytes` of the nodes' lower disks number `disk` on the host. What the guests have not
    /// yet written is not seen: call it when nothing writes.
    ///
    /// # Errors
    ///
    /// They differ, or cannot be read.
    pub fn assert_identical(&self, disk: usize, bytes: u64) -> Result<()> {
        for node in self.nodes() {
            node.disks()[disk].settle()?;
        }
        disk::assert_data_identical(
            &self.a.disks()[disk].path,
            &self.b.disks()[disk].path,
            bytes,
        )
    }

    /// Folder of the logs.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Looks at the consoles and ends the machines. On the debug kernel the module is taken out first, and what it
    /// allocated must be gone.
    ///
    /// # Errors
    ///
    /// A console shows a kernel in trouble; the debug kernel cannot unload the module, or finds a leak.
    pub fn finish(mut self) -> Result<()> {
        self.finished = true;
        let unloaded = match self.a.ground() {
            Ground::Debug => self.unload(),
            Ground::Uml | Ground::Qemu => Ok(()),
        };
        let checks = self.nodes().map(Node::check_console);
        for node in self.nodes() {
            node.kill();
        }
        // A report on the console says more than what it made of the rest.
        checks.into_iter().collect::<Result<()>>()?;
        unloaded
    }

    /// Takes the module out of the nodes that are up, of both at once.
    fn unload(&self) -> Result<()> {
        let check = |node: &Node| {
            if node.is_up() {
                unload::check(node)
            } else {
                Ok(())
            }
        };
        thread::scope(|scope| {
            let second = scope.spawn(|| check(&self.b));
            check(&self.a)?;
            second
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for node in self.nodes() {
            // A machine thawed or not, its console is complete once it is dead.
            node.kill();
        }
        let troubles: Vec<String> = self
            .nodes()
            .iter()
            .filter_map(|n| n.check_console().err())
            .map(|e| e.to_string())
            .collect();
        eprintln!("testbed: logs are in {}", self.logs.display());
        if !troubles.is_empty() {
            eprintln!("{}", troubles.join("\n"));
            assert!(thread::panicking(), "a console shows a kernel in trouble");
        }
    }
}

/// A folder for disks and memory files, removed at the end. What runs that were killed left behind goes too.
fn scratch_folder() -> Result<TempDir> {
    let runs = cache::cache().join("run");
    fs::create_dir_all(&runs)?;
    for entry in fs::read_dir(&runs)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().unwrap_or_default();
        if !owner.is_empty() && !Path::new("/proc").join(owner).exists() {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
    let prefix = format!("{}-", std::process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir_in(runs)?)
}

/// `RDB_VM_LOGS`, or `vm-logs` in the target folder; below it one folder a test and ground.
fn logs_folder(name: &str, ground: Ground) -> Result<PathBuf> {
    let top = match env::var_os("RDB_VM_LOGS") {
        Some(path) => PathBuf::from(path),
        None => cache::tools()?
            .parent()
            .context("no target folder")?
            .join("vm-logs"),
    };
    let logs = top.join(format!("{name}-{ground:?}").to_lowercase());
    fs::create_dir_all(&logs)?;
    Ok(fs::canonicalize(logs)?)
}
