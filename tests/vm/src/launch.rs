//! Starting the process of a machine so that it never outlives the test.

use std::{
    ffi::OsString,
    fs::File,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
};

use anyhow::{Context, Result};
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process_group};

/// What to start.
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Extra environment.
    pub env: Vec<(String, OsString)>,
    /// Open files the process gets, with the numbers it finds them under.
    pub fds: Vec<(OwnedFd, i32)>,
    /// Takes standard output and error.
    pub log: File,
}

/// A running process with its group; dropping it kills the group.
pub struct Group {
    child: Child,
    group: Pid,
}

impl Launch {
    /// Starts the process in a group of its own. The kernel kills it when this program dies, however it dies.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub fn start(self) -> Result<Group> {
        type Job = (Launch, mpsc::Sender<Result<Group>>);
        // The death signal is bound to the life of the *thread* that started the process, so one thread that
        // never ends starts them all.
        static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
        let starter = STARTER.get_or_init(|| {
            let (sender, jobs) = mpsc::channel::<Job>();
            thread::spawn(move || {
                for (launch, reply) in jobs {
                    let _ = reply.send(launch.start_here());
                }
            });
            sender
        });
        let (reply, answer) = mpsc::channel();
        starter
            .send((self, reply))
            .ok()
            .context("the starter thread is gone")?;
        answer.recv().context("the starter thread is gone")?
    }

    fn start_here(self) -> Result<Group> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(&self.argv);
        command.envs(self.env);
        command
            .stdin(Stdio::null())
            .stdout(self.log.try_clone()?)
            .stderr(self.log);
        command.process_group(0);
        let mappings = self
            .fds
            .into_iter()
            .map(|(parent_fd, child_fd)| FdMapping {
                parent_fd,
                child_fd,
            })
            .collect();
        command
            .fd_mappings(mappings)
            .context("descriptors of the machine collide")?;
        let child = command
            .spawn()
            .with_context(|| format!("cannot start setpriv with {:?}", self.argv))?;
        let group = Pid::from_child(&child);
        Ok(Group { child, group })
    }
}

impl Group {
    /// Sends a signal to every process of the group.
    pub fn signal(&self, signal: Signal) {
        // An empty group is what the caller wants when killing, and a dead machine when not.
        let _ = kill_process_group(self.group, signal);
    }

    /// Kills the group and waits for its leader.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// True once the process has ended by itself.
    pub fn ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
