//! A node: one machine of the testbed, on whatever ground.

mod commands;

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use regex::Regex;
use rustix::process::Signal;

use crate::{
    agent::Agent,
    cache, console,
    disk::Disk,
    ground::{Ground, Kernel, Plan},
    launch::Group,
    link::Link,
    qmp::Qmp,
};

/// Upper bound of a boot. A loaded host may need most of it; an idle one needs seconds.
pub const BOOT_LIMIT: Duration = Duration::from_secs(300);
/// Upper bound of a command, unless the caller gives another.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// How a node is made.
pub(crate) struct NodePlan {
    pub name: String,
    pub address: String,
    pub index: usize,
    pub ground: Ground,
    pub memory_mib: u32,
    pub processors: u32,
    pub disks: Vec<Disk>,
    pub shell: bool,
    pub leaks: bool,
    pub module: Option<PathBuf>,
    pub programs: Vec<PathBuf>,
    /// Scratch folder of this node, on the host.
    pub folder: PathBuf,
    /// Folder for its logs, kept after the run.
    pub logs: PathBuf,
}

struct Running {
    group: Group,
    agent: Arc<Agent>,
    qmp: Option<Qmp>,
    shell: Option<UnixStream>,
}

/// A machine that can be booted, commanded, frozen and killed.
pub struct Node {
    plan: NodePlan,
    kernel: Kernel,
    link: Arc<Link>,
    running: Mutex<Option<Running>>,
    allowed: Mutex<Vec<Regex>>,
    begin: Instant,
}

impl Node {
    pub(crate) fn create(plan: NodePlan, link: Arc<Link>) -> Result<Self> {
        if plan.ground == Ground::Uml && plan.disks.iter().any(|disk| disk.spec.volatile) {
            bail!("a disk with a volatile cache needs QEMU");
        }
        let kernel = plan.ground.kernel()?;
        fs::create_dir_all(&plan.folder)?;
        fs::create_dir_all(&plan.logs)?;
        plan.ground.prepare_root(&plan.folder)?;
        let mut initrd = plan.ground.initrd(&kernel, plan.module.as_deref())?;
        for program in &plan.programs {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            initrd.inject(&format!("usr/local/sbin/{name}"), program)?;
            if name == "rdb-heartbeat" {
                let scripts = cache::checkout().join("tools/rdb-heartbeat/resource.d");
                for script in
                    fs::read_dir(&scripts).with_context(|| format!("{}", scripts.display()))?
                {
                    let script = script?;
                    let name = script.file_name().to_string_lossy().into_owned();
                    initrd.inject(
                        &format!("usr/lib/rdb-heartbeat/resource.d/{name}"),
                        &script.path(),
                    )?;
                }
            }
        }
        initrd.settings(settings(&plan));
        initrd.write(&plan.folder.join("initrd"))?;
        let node = Self {
            plan,
            kernel,
            link,
            running: Mutex::new(None),
            allowed: Mutex::new(Vec::new()),
            begin: Instant::now(),
        };
        File::create(node.console_path())?;
        File::create(node.transcript_path())?;
        Ok(node)
    }

    /// Host name.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Address on the private link.
    pub fn address(&self) -> &str {
        &self.plan.address
    }

    /// What it stands on.
    pub fn ground(&self) -> Ground {
        self.plan.ground
    }

    /// Kernel it boots.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Whether kmemleak looks after it.
    pub(crate) fn finds_leaks(&self) -> bool {
        self.plan.leaks
    }

    /// Its lower disks; number 0 is `/dev/sdb` in the guest, number 1 `/dev/sdc`, and so on.
    pub fn disks(&self) -> &[Disk] {
        &self.plan.disks
    }

    /// Starts the machine and waits until it takes commands. After a death it starts again on the same disks.
    ///
    /// # Errors
    ///
    /// It already runs, or does not come up within [`BOOT_LIMIT`].
    pub fn boot(&self) -> Result<()> {
        let mut running = self.running();
        if running.is_some() {
            bail!("{} already runs", self.name());
        }
        let (agent, agent_end) = UnixStream::pair()?;
        let (qmp, qmp_end) = UnixStream::pair()?;
        let shell = if self.plan.shell {
            Some(UnixStream::pair()?)
        } else {
            None
        };
        let (shell, shell_end) = shell.map_or((None, None), |(a, b)| (Some(a), Some(b.into())));
        let log = self.plan.logs.join(format!("{}-machine.log", self.name()));
        let launch = self.plan.ground.launch(Plan {
            ground: self.plan.ground,
            leaks: self.plan.leaks,
            name: self.name(),
            index: self.plan.index,
            kernel: &self.kernel,
            folder: &self.plan.folder,
            memory_mib: self.plan.ground.memory_mib(self.plan.memory_mib),
            processors: self.plan.processors,
            disks: &self.plan.disks,
            console: self.console_path(),
            log: OpenOptions::new().create(true).append(true).open(log)?,
            agent: agent_end.into(),
            qmp: qmp_end.into(),
            link: self.link.end(self.plan.index)?,
            shell: shell_end,
        })?;
        let started = Instant::now();
        let group = launch.start()?;
        let agent =
            Agent::connect(agent, self.ground().patience(BOOT_LIMIT)).with_context(|| {
                format!(
                    "{} did not boot; console: {}",
                    self.name(),
                    self.console_path().display()
                )
            })?;
        self.note(&format!(
            "booted {} in {:.1} s",
            agent.kernel(),
            started.elapsed().as_secs_f64()
        ));
        let qmp = if self.plan.ground == Ground::Uml {
            None
        } else {
            Some(Qmp::connect(qmp)?)
        };
        *running = Some(Running {
            group,
            agent,
            qmp,
            shell,
        });
        Ok(())
    }

    /// True while the machine runs (also while it is frozen).
    pub fn is_up(&self) -> bool {
        self.running()
            .as_mut()
            .is_some_and(|running| !running.group.ended())
    }

    /// Kills the machine: its kernel gets no chance to do anything. What it had written to its disks is there,
    /// flushed or not (a crash of the system, not of the disks' caches).
    pub fn kill(&self) {
        if let Some(mut running) = self.running().take() {
            running.group.kill();
            self.note("killed");
        }
    }

    /// Cuts the power of the machine and its disks: it dies, and of what a volatile disk had not flushed each sector
    /// survives with a chance of `percent`. Other disks lose nothing.
    ///
    /// # Errors
    ///
    /// A disk's file cannot be written.
    pub fn lose_power(&self, percent: u32) -> Result<()> {
        self.kill();
        for (number, disk) in self.disks().iter().enumerate() {
            let (kept, lost) = disk.lose_power(percent)?;
            self.note(&format!(
                "power lost: disk {number} kept {kept} and lost {lost} cached sectors"
            ));
        }
        Ok(())
    }

    /// Shuts the machine down in order: file systems are synced, then it powers off.
    ///
    /// # Errors
    ///
    /// It does not end.
    pub fn shut_down(&self) -> Result<()> {
        self.spawn("sync; echo 1 >/proc/sys/kernel/sysrq; echo u >/proc/sysrq-trigger; busybox poweroff -f")?
            .wait(COMMAND_LIMIT)
            .ok();
        let deadline = Instant::now() + self.ground().patience(BOOT_LIMIT);
        while self.is_up() {
            if Instant::now() > deadline {
                bail!("{} does not power off", self.name());
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.running().take();
        self.note("shut down");
        Ok(())
    }

    /// Kills the machine if it runs and starts it again on the same disks.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub fn reboot(&self) -> Result<()> {
        self.kill();
        self.boot()
    }

    /// Stops the machine in its tracks. Its clocks run on, so that it wakes up late and finds its timers due.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        self.note("frozen");
    }

    /// Lets a frozen machine go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
        self.note("thawed");
    }

    fn signal(&self, signal: Signal) {
        if let Some(running) = self.running().as_ref() {
            running.group.signal(signal);
        }
    }

    /// Does something with the machine's monitor (hot unplug, clocks that stand still), if its ground has one:
    /// QEMU does, UML does not.
    ///
    /// # Errors
    ///
    /// The machine is down, or what `work` says.
    pub fn with_monitor<T>(&self, work: impl FnOnce(&mut Qmp) -> Result<T>) -> Result<Option<T>> {
        let mut running = self.running();
        let running = running
            .as_mut()
            .with_context(|| format!("{} is down", self.name()))?;
        running.qmp.as_mut().map(work).transpose()
    }

    /// The terminal of the shell, if the node was made with one.
    ///
    /// # Errors
    ///
    /// No more descriptors.
    pub fn shell(&self) -> Result<Option<UnixStream>> {
        let running = self.running();
        let shell = running.as_ref().and_then(|running| running.shell.as_ref());
        Ok(shell.map(UnixStream::try_clone).transpose()?)
    }

    /// Everything its console has said since the node was made, over all boots.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn console(&self) -> Result<String> {
        let path = self.console_path();
        let bytes = fs::read(&path).with_context(|| format!("{}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until a line of the console matches; that line.
    ///
    /// # Errors
    ///
    /// None does within `limit`.
    pub fn wait_console(&self, pattern: &str, limit: Duration) -> Result<String> {
        let wanted = Regex::new(pattern)?;
        let deadline = Instant::now() + self.ground().patience(limit);
        loop {
            if let Some(line) = self.console()?.lines().find(|line| wanted.is_match(line)) {
                return Ok(line.to_owned());
            }
            if Instant::now() > deadline {
                bail!(
                    "{}: no line like /{pattern}/ on the console within {limit:?}",
                    self.name()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Lines like this on the console are what the test wants, not trouble.
    ///
    /// # Errors
    ///
    /// Not a regular expression.
    pub fn allow_on_console(&self, pattern: &str) -> Result<()> {
        self.allowed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Regex::new(pattern)?);
        Ok(())
    }

    /// Fails if the console shows a kernel in trouble.
    ///
    /// # Errors
    ///
    /// The lines that show it.
    pub fn check_console(&self) -> Result<()> {
        let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let troubles = console::troubles(&self.console()?, &allowed);
        if troubles.is_empty() {
            return Ok(());
        }
        let shown = |lines: &[String], most: usize| {
            let lines = lines.iter().take(most).cloned();
            lines.collect::<Vec<_>>().join("\n")
        };
        let report = console::report(&self.console()?, &troubles[0]);
        bail!(
            "{}: the kernel is in trouble (whole log in {}):\n{}\nthe first of it:\n{}",
            self.name(),
            self.console_path().display(),
            shown(&troubles, 10),
            shown(&report, 60)
        )
    }

    /// Fails if rdb or drbd complains on the console of anything but what is allowed: pattern and reason.
    ///
    /// # Errors
    ///
    /// The complaints.
    pub fn check_complaints(&self, allowed: &[(&str, &str)]) -> Result<()> {
        let complaints = console::complaints(&self.console()?, allowed);
        if complaints.is_empty() {
            return Ok(());
        }
        bail!(
            "{}: the kernel log complains (whole log in {}):\n{}",
            self.name(),
            self.console_path().display(),
            complaints.join("\n")
        )
    }

    /// Where the console log is.
    pub fn console_path(&self) -> PathBuf {
        self.plan.logs.join(format!("{}-console.log", self.name()))
    }

    fn transcript_path(&self) -> PathBuf {
        self.plan.logs.join(format!("{}-commands.log", self.name()))
    }

    fn note(&self, text: &str) {
        if let Ok(mut file) = OpenOptions::new().append(true).open(self.transcript_path()) {
            let _ = writeln!(file, "[{:8.2}] {text}", self.begin.elapsed().as_secs_f64());
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settings(plan: &NodePlan) -> String {
    let disks: Vec<String> = plan
        .disks
        .iter()
        .enumerate()
        .map(|(index, disk)| {
            let letter = char::from(b'b' + u8::try_from(index).unwrap_or(0));
            format!(
                "sd{letter}:{}:{}",
                plan.ground.disk_device(index),
                disk.spec.block
            )
        })
        .collect();
    let shell = if plan.shell { "ttyS1" } else { "" };
    format!(
        "{}RDB_HOST={}\nRDB_ADDRESS={}\nRDB_MODULES='{}'\nRDB_DISKS='{}'\nRDB_SHELL={shell}\n",
        plan.ground.settings(),
        plan.name,
        plan.address,
        plan.ground.modules(),
        disks.join(" ")
    )
}
