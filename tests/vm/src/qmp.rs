//! Control of a QEMU machine.

use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use qapi::{Qmp as Client, Stream, qmp};

type Buffered = Stream<std::io::BufReader<UnixStream>, UnixStream>;

/// A session with the machine's monitor.
pub struct Qmp {
    client: Client<Buffered>,
}

impl Qmp {
    pub(crate) fn connect(stream: UnixStream) -> Result<Self> {
        let reader = std::io::BufReader::new(stream.try_clone()?);
        let mut client = Client::new(Stream::new(reader, stream));
        client.handshake().context("machine monitor")?;
        Ok(Self { client })
    }

    /// Stops the machine with its clocks: it will not know that it was away.
    ///
    /// # Errors
    ///
    /// The machine's own.
    pub fn stop(&mut self) -> Result<()> {
        self.client.execute(&qmp::stop {}).map(drop).context("stop")
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// The machine's own.
    pub fn cont(&mut self) -> Result<()> {
        self.client.execute(&qmp::cont {}).map(drop).context("cont")
    }

    /// Pulls a lower disk out of the running machine.
    ///
    /// # Errors
    ///
    /// The machine's own.
    pub fn unplug_disk(&mut self, disk: usize) -> Result<()> {
        let id = format!("lower{disk}-device");
        self.client
            .execute(&qmp::device_del { id })
            .map(drop)
            .context("device_del")
    }
}
