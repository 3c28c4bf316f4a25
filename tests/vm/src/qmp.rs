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

    /// Lets a lower disk have so many requests a second from now on, reads and writes together, or as many as it can
    /// again. QEMU holds the others back; a tenth of a second's worth may come at once.
    ///
    /// # Errors
    ///
    /// The machine's own.
    pub fn limit_disk(&mut self, disk: usize, requests: Option<u32>) -> Result<()> {
        let throttle: qmp::BlockIOThrottle = serde_json::from_value(serde_json::json!({
            // The disk belongs to the part of the device behind its PCI front.
            "id": format!("/machine/peripheral/lower{disk}-device/virtio-backend"),
            "group": format!("lower{disk}"),
            "bps": 0, "bps_rd": 0, "bps_wr": 0,
            "iops": requests.unwrap_or(0), "iops_rd": 0, "iops_wr": 0,
        }))?;
        self.client
            .execute(&qmp::block_set_io_throttle(throttle))
            .map(drop)
            .context("block_set_io_throttle")
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
