// SPDX-License-Identifier: GPL-2.0

//! The wire format against the byte-level examples of the specification, and against arbitrary
//! bytes.

mod bitmap;
mod examples;
mod limits;
mod properties;
mod state;

use std::vec;
use std::vec::Vec;

use super::*;

/// Protocol 101 with every feature and no algorithm.
const AGREED: Agreed = Agreed {
    version: 101,
    features: Features::ALL,
    ..Agreed::NOTHING
};

/// Bytes written as hexadecimal digits with blanks.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|digit| digit.to_digit(16).expect("hex digit") as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// The socket that a command travels on.
fn socket_of(command: Command) -> Socket {
    if command.travels_on(Socket::Data) {
        Socket::Data
    } else {
        Socket::Meta
    }
}

/// Encodes a packet for volume `volume` into a buffer of the recommended size.
fn encode(packet: &Packet<'_>, format: HeaderFormat, volume: u16) -> Vec<u8> {
    let mut buffer = vec![0xAA; format.len() + MAX_BODY_LEN];
    let len = packet.encode(format, volume, &mut buffer).expect("encodes");
    buffer.truncate(len);
    buffer
}

/// Decodes a packet, header and body, as a receiver does.
fn decode<'a>(
    bytes: &'a [u8],
    format: HeaderFormat,
    agreed: &Agreed,
) -> Result<(Frame, Packet<'a>), WireError> {
    let header = Header::decode(format, bytes)?;
    let frame = header.frame(socket_of(header.command), agreed)?;
    let packet = frame.decode(&bytes[format.len()..], agreed)?;
    Ok((frame, packet))
}
