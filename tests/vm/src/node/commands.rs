//! Programs and files of a node.

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{COMMAND_LIMIT, Node};
use crate::agent::{Background, Output};

impl Node {
    /// Runs a shell command and waits for its end; whatever its exit code.
    ///
    /// # Errors
    ///
    /// It does not end within [`COMMAND_LIMIT`], or the machine is gone.
    pub fn sh(&self, command: &str) -> Result<Output> {
        self.sh_within(command, COMMAND_LIMIT)
    }

    /// The same with another limit.
    ///
    /// # Errors
    ///
    /// See [`Node::sh`].
    pub fn sh_within(&self, command: &str, limit: Duration) -> Result<Output> {
        let output = self
            .spawn(command)?
            .wait(self.ground().patience(limit))
            .with_context(|| format!("{}: {command}", self.name()))?;
        self.note(&format!(
            "  code {}: {}",
            output.code,
            output.all().trim_end()
        ));
        Ok(output)
    }

    /// Runs a shell command that must succeed; its standard output, without the last line's end.
    ///
    /// # Errors
    ///
    /// Exit code other than 0, and see [`Node::sh`].
    pub fn run(&self, command: &str) -> Result<String> {
        let output = self.sh(command)?;
        if output.code != 0 {
            bail!(
                "{}: `{command}` ended with code {}:\n{}",
                self.name(),
                output.code,
                output.all()
            );
        }
        Ok(output.out().trim_end().to_owned())
    }

    /// Runs a shell command that must fail; both its streams.
    ///
    /// # Errors
    ///
    /// Exit code 0, and see [`Node::sh`].
    pub fn run_fails(&self, command: &str) -> Result<String> {
        let output = self.sh(command)?;
        if output.code == 0 {
            bail!(
                "{}: `{command}` succeeded but must not:\n{}",
                self.name(),
                output.all()
            );
        }
        Ok(output.all())
    }

    /// Starts a shell command and leaves it running.
    ///
    /// # Errors
    ///
    /// The machine is gone.
    pub fn spawn(&self, command: &str) -> Result<Background> {
        self.note(&format!("$ {command}"));
        let agent = self
            .running()
            .as_ref()
            .map(|running| Arc::clone(&running.agent));
        let agent = agent.with_context(|| format!("{} is down", self.name()))?;
        agent.spawn(&["/bin/bash", "-c", command])
    }

    /// Runs the command again and again until its standard output is accepted.
    ///
    /// # Errors
    ///
    /// That does not happen within `limit`.
    pub fn wait_until(
        &self,
        command: &str,
        accept: impl Fn(&Output) -> bool,
        limit: Duration,
    ) -> Result<Output> {
        let deadline = Instant::now() + self.ground().patience(limit);
        loop {
            let output = self.sh(command)?;
            if accept(&output) {
                return Ok(output);
            }
            if Instant::now() > deadline {
                bail!(
                    "{}: `{command}` is still not as expected after {limit:?}; last:\n{}",
                    self.name(),
                    output.all()
                );
            }
            thread::sleep(self.ground().interval());
        }
    }

    /// Writes a file in the guest and brings it to the guest's disk.
    ///
    /// # Errors
    ///
    /// It cannot be written there.
    pub fn write_file(&self, path: &str, data: impl AsRef<[u8]>) -> Result<()> {
        let mut writer = self.spawn(&format!("cat >'{path}' && sync '{path}'"))?;
        writer.write(data.as_ref())?;
        writer.close_input()?;
        let output = writer.wait(COMMAND_LIMIT)?;
        if output.code != 0 {
            bail!("{}: cannot write {path}: {}", self.name(), output.all());
        }
        Ok(())
    }

    /// Reads a file of the guest.
    ///
    /// # Errors
    ///
    /// It cannot be read there.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        let output = self.spawn(&format!("cat '{path}'"))?.wait(COMMAND_LIMIT)?;
        if output.code != 0 {
            bail!("{}: cannot read {path}: {}", self.name(), output.err());
        }
        Ok(output.stdout)
    }

    /// Copies a file of the host into the guest, executable bits included.
    ///
    /// # Errors
    ///
    /// It cannot be read here or written there.
    pub fn copy_in(&self, from: &Path, to: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let data = fs::read(from).with_context(|| format!("{}", from.display()))?;
        self.write_file(to, data)?;
        let mode = fs::metadata(from)?.permissions().mode() & 0o777;
        self.run(&format!("chmod {mode:o} '{to}'"))?;
        Ok(())
    }

    /// Copies a file of the guest to the host.
    ///
    /// # Errors
    ///
    /// It cannot be read there or written here.
    pub fn copy_out(&self, from: &str, to: &Path) -> Result<()> {
        fs::write(to, self.read_file(from)?).with_context(|| format!("{}", to.display()))
    }
}
