// SPDX-License-Identifier: GPL-2.0

//! The three header formats and the frame that a header opens (sections 2.1 and 2.2).

use zerocopy::byteorder::{BigEndian, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Agreed, Command, Expected, Packet, Scope, Socket, WireError, MAX_VOLUME};

const MAGIC_P80: u32 = 0x8374_0267;
const MAGIC_P95: u16 = 0x835A;
const MAGIC_P100: u32 = 0x8620_EC20;

/// With the 8-byte headers, packets that are longer need the second of them.
const P80_MAX_LENGTH: u32 = 32768;

const HEADER: &str = "header";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct P80 {
    magic: U32<BigEndian>,
    command: U16<BigEndian>,
    length: U16<BigEndian>,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct P95 {
    magic: U16<BigEndian>,
    command: U16<BigEndian>,
    length: U32<BigEndian>,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct P100 {
    magic: U32<BigEndian>,
    volume: U16<BigEndian>,
    command: U16<BigEndian>,
    length: U32<BigEndian>,
    pad: U32<BigEndian>,
}

/// Which header a connection uses at present (section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFormat {
    /// Until the versions are agreed, and below version 95: sends p80, accepts p80 and p95.
    P80,
    /// Versions 95 to 99: as before, but sends p95 when the length asks for it.
    P95,
    /// From version 100 on: the 16-byte header, nothing else.
    P100,
}

impl HeaderFormat {
    /// The format in force after version `version` was agreed.
    pub const fn of_version(version: u32) -> Self {
        match version {
            0..=94 => Self::P80,
            95..=99 => Self::P95,
            _ => Self::P100,
        }
    }

    /// Bytes of a header.
    #[allow(clippy::len_without_is_empty)] // No header is empty.
    pub const fn len(self) -> usize {
        match self {
            Self::P80 | Self::P95 => 8,
            Self::P100 => 16,
        }
    }
}

/// A decoded header: a known command, and how many bytes the peer says will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The packet.
    pub command: Command,
    /// Volume number; 0 for packets of the connection, and always with the 8-byte headers.
    pub volume: u16,
    /// Bytes after the header. Not to be trusted before [`Header::frame`].
    pub length: u32,
}

impl Header {
    /// Decodes the first bytes of `bytes`, of which there must be [`HeaderFormat::len`].
    ///
    /// # Errors
    ///
    /// Too few bytes, a magic that is not of this format, a non-zero pad, an unknown command, or a
    /// volume number above [`MAX_VOLUME`].
    pub fn decode(format: HeaderFormat, bytes: &[u8]) -> Result<Self, WireError> {
        match format {
            HeaderFormat::P80 | HeaderFormat::P95 => Self::decode_short(bytes),
            HeaderFormat::P100 => Self::decode_p100(bytes),
        }
    }

    fn decode_short(bytes: &[u8]) -> Result<Self, WireError> {
        let (short, _) = P80::ref_from_prefix(bytes).map_err(|_| too_short(bytes, 8))?;
        if short.magic.get() == MAGIC_P80 {
            return Ok(Self {
                command: Command::from_wire(short.command.get())?,
                volume: 0,
                length: u32::from(short.length.get()),
            });
        }
        let (big, _) = P95::ref_from_prefix(bytes).map_err(|_| too_short(bytes, 8))?;
        if big.magic.get() == MAGIC_P95 {
            return Ok(Self {
                command: Command::from_wire(big.command.get())?,
                volume: 0,
                length: big.length.get(),
            });
        }
        Err(bad_magic(
            short.magic.get(),
            Expected::Text("0x83740267 or 0x835a...."),
        ))
    }

    fn decode_p100(bytes: &[u8]) -> Result<Self, WireError> {
        let (raw, _) = P100::ref_from_prefix(bytes).map_err(|_| too_short(bytes, 16))?;
        if raw.magic.get() != MAGIC_P100 {
            return Err(bad_magic(
                raw.magic.get(),
                Expected::Exactly(u64::from(MAGIC_P100)),
            ));
        }
        let pad = raw.pad.get();
        if pad != 0 {
            return Err(WireError::new(
                HEADER,
                "pad",
                u64::from(pad),
                Expected::Exactly(0),
            ));
        }
        let command = Command::from_wire(raw.command.get())?;
        let volume = match command.scope() {
            Scope::Connection => 0,
            Scope::Volume => raw.volume.get(),
        };
        if volume > MAX_VOLUME {
            let expected = Expected::AtMost(u64::from(MAX_VOLUME));
            return Err(WireError::new(
                command.name(),
                "volume",
                u64::from(volume),
                expected,
            ));
        }
        Ok(Self {
            command,
            volume,
            length: raw.length.get(),
        })
    }

    /// Writes the header to the front of `out` and returns its length.
    ///
    /// # Errors
    ///
    /// A buffer that is too small; with the 8-byte headers a volume other than 0, and with p80
    /// alone a length above 65535.
    pub fn encode(&self, format: HeaderFormat, out: &mut [u8]) -> Result<usize, WireError> {
        let command = U16::new(self.command.to_wire());
        if format != HeaderFormat::P100 && self.volume != 0 {
            let volume = u64::from(self.volume);
            return Err(WireError::new(
                self.command.name(),
                "volume",
                volume,
                Expected::Exactly(0),
            ));
        }
        match format {
            HeaderFormat::P100 => {
                let raw = P100 {
                    magic: U32::new(MAGIC_P100),
                    volume: U16::new(self.volume),
                    command,
                    length: U32::new(self.length),
                    pad: U32::ZERO,
                };
                write(&raw, out)
            }
            HeaderFormat::P95 if self.length > P80_MAX_LENGTH => {
                let length = U32::new(self.length);
                write(
                    &P95 {
                        magic: U16::new(MAGIC_P95),
                        command,
                        length,
                    },
                    out,
                )
            }
            HeaderFormat::P80 | HeaderFormat::P95 => {
                let length = u16::try_from(self.length).map_err(|_| {
                    let expected = Expected::AtMost(u64::from(u16::MAX));
                    let length = u64::from(self.length);
                    WireError::new(self.command.name(), "length", length, expected)
                })?;
                let length = U16::new(length);
                write(
                    &P80 {
                        magic: U32::new(MAGIC_P80),
                        command,
                        length,
                    },
                    out,
                )
            }
        }
    }

    /// Judges command and length: may such a packet arrive on `socket`, and how much of it is body,
    /// how much payload? Nothing may be allocated or read from `length` before.
    ///
    /// # Errors
    ///
    /// A packet of the other socket, or a length that the packet cannot have.
    pub fn frame(&self, socket: Socket, agreed: &Agreed) -> Result<Frame, WireError> {
        if !self.command.travels_on(socket) {
            let expected = Expected::Text(match socket {
                Socket::Data => "a packet of the data socket",
                Socket::Meta => "a packet of the meta socket",
            });
            let code = u64::from(self.command.to_wire());
            return Err(WireError::new(
                self.command.name(),
                "command",
                code,
                expected,
            ));
        }
        let (body_len, payload_len) = self.command.split_length(self.length, agreed)?;
        Ok(Frame {
            command: self.command,
            volume: self.volume,
            // A body is never longer than MAX_BODY_LEN, by the catalogue.
            body_len: body_len as usize,
            payload_len,
        })
    }
}

/// A packet of which the header is read and found acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The packet.
    pub command: Command,
    /// Volume number, 0 for packets of the connection.
    pub volume: u16,
    /// Bytes to read and hand to [`Frame::decode`]; at most [`super::MAX_BODY_LEN`].
    pub body_len: usize,
    /// Bytes of block data that follow the body: 0, or a multiple of 512 up to
    /// [`super::MAX_REQUEST_BYTES`].
    pub payload_len: u32,
}

impl Frame {
    /// Decodes the body.
    ///
    /// # Errors
    ///
    /// A body that is not [`Frame::body_len`] long, or a field out of its range.
    pub fn decode<'a>(&self, body: &'a [u8], agreed: &Agreed) -> Result<Packet<'a>, WireError> {
        if body.len() != self.body_len {
            let expected = Expected::Exactly(self.body_len as u64);
            let found = body.len() as u64;
            return Err(WireError::new(self.command.name(), "body", found, expected));
        }
        Packet::decode(self.command, body, self.payload_len, agreed)
    }
}

/// Writes `value` to the front of `out`.
pub(super) fn write<T: IntoBytes + Immutable>(
    value: &T,
    out: &mut [u8],
) -> Result<usize, WireError> {
    let needed = size_of::<T>();
    let room = out.len() as u64;
    value.write_to_prefix(out).map_err(|_| no_room(room))?;
    Ok(needed)
}

pub(super) const fn no_room(room: u64) -> WireError {
    WireError::new("encoder", "buffer", room, Expected::Text("more bytes"))
}

const fn too_short(bytes: &[u8], needed: u64) -> WireError {
    WireError::new(
        HEADER,
        "size",
        bytes.len() as u64,
        Expected::Exactly(needed),
    )
}

const fn bad_magic(magic: u32, expected: Expected) -> WireError {
    WireError::new(HEADER, "magic", magic as u64, expected)
}
