//! What host and guest agent say to each other over a machine's command channel.
//!
//! The channel is a plain byte stream (a virtio-serial port under QEMU, a serial line under UML). A message
//! is [`MAGIC`], its length as a little-endian `u32`, and that many bytes of postcard. The magic makes lost or
//! foreign bytes on the line an error instead of nonsense.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// First bytes of every message.
pub const MAGIC: [u8; 4] = *b"rdbT";
/// Longest message either side accepts, in bytes.
pub const MESSAGE_MAX: usize = 1 << 20;
/// Payload of one stdin or output message, in bytes.
pub const CHUNK: usize = 32 << 10;

/// Host to guest.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Starts a program in its own process group, with pipes for its three streams.
    Spawn {
        /// Chosen by the host; names the process in every later message.
        id: u32,
        /// Program and arguments; the program is looked up in `PATH`.
        argv: Vec<String>,
    },
    /// More for the process's standard input.
    Stdin {
        /// The process.
        id: u32,
        /// At most [`CHUNK`] bytes.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// Closes the process's standard input.
    StdinEnd {
        /// The process.
        id: u32,
    },
    /// Sends a signal to the process's group.
    Signal {
        /// The process.
        id: u32,
        /// Signal number.
        signal: i32,
    },
}

/// Which stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Guest to host.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    /// The agent runs; the host may send only after this.
    Hello {
        /// Kernel release of the guest, as `uname -r` says.
        kernel: String,
        /// If the line is a terminal: the most bytes that the host may have under way. A terminal that gets
        /// more than it can hold throttles its line, and UML's line does not wake up from that.
        window: Option<u32>,
    },
    /// The guest took bytes off a line that has a window.
    Consumed {
        /// How many.
        bytes: u32,
    },
    /// A process wrote something.
    Output {
        /// The process.
        id: u32,
        /// Where it wrote.
        stream: Stream,
        /// What it wrote.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// A process ended; all that it wrote was sent before.
    Exited {
        /// The process.
        id: u32,
        /// Exit code, or 128 + signal number.
        code: i32,
    },
    /// A process could not be started.
    Failed {
        /// The process.
        id: u32,
        /// Why.
        reason: String,
    },
}

/// Writes one message.
///
/// # Errors
///
/// The stream's own; `InvalidInput` for a message over [`MESSAGE_MAX`].
pub fn send<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    to.write_all(&frame(message)?)?;
    to.flush()
}

/// One message as it goes over the line.
///
/// # Errors
///
/// `InvalidInput` for a message over [`MESSAGE_MAX`].
pub fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= MESSAGE_MAX)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message too long"))?;
    let mut frame = Vec::with_capacity(body.len() + 8);
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Reads one message.
///
/// # Errors
///
/// `UnexpectedEof` at the end of the stream, `InvalidData` if what came is not a message.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut head = [0; 8];
    from.read_exact(&mut head)?;
    let [m0, m1, m2, m3, l0, l1, l2, l3] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if [m0, m1, m2, m3] != MAGIC || length > MESSAGE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("not a message on the command channel: {head:02x?}"),
        ));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    postcard::from_bytes(&body).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_line() {
        let mut line = Vec::new();
        send(
            &mut line,
            &Request::Spawn {
                id: 7,
                argv: vec!["true".into()],
            },
        )
        .unwrap();
        send(
            &mut line,
            &Request::Stdin {
                id: 7,
                data: vec![0xff; CHUNK],
            },
        )
        .unwrap();
        let mut read = line.as_slice();
        assert!(matches!(
            receive(&mut read).unwrap(),
            Request::Spawn { id: 7, .. }
        ));
        let Request::Stdin { data, .. } = receive(&mut read).unwrap() else {
            panic!("kind")
        };
        assert_eq!(data, vec![0xff; CHUNK]);
        let end = receive::<Request>(&mut read).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn foreign_bytes_are_an_error() {
        let error = receive::<Event>(&mut &b"login: hello"[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
