// SPDX-License-Identifier: GPL-2.0

//! Why bytes are not a packet.

use core::fmt;

/// A header or packet that breaks the protocol, or that does not fit into the sender's buffer.
///
/// Names the packet, the field, the value found and what the specification asks for, so that the
/// log line of the dropped connection says all of it. What follows from it (which state the
/// connection falls into) depends on the socket and is decided by the receiver (section 10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError {
    /// Name of the packet, `header` if it is not known yet.
    pub packet: &'static str,
    /// Name of the field.
    pub field: &'static str,
    /// What was found.
    pub value: u64,
    /// What was expected instead.
    pub expected: Expected,
}

/// What a field should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This number.
    Exactly(u64),
    /// At least the first, at most the second.
    Between(u64, u64),
    /// At most this number.
    AtMost(u64),
    /// A positive multiple of the first which is not above the second.
    MultipleUpTo(u64, u64),
    /// Something that only words can say.
    Text(&'static str),
}

impl WireError {
    pub(crate) const fn new(
        packet: &'static str,
        field: &'static str,
        value: u64,
        expected: Expected,
    ) -> Self {
        Self {
            packet,
            field,
            value,
            expected,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            packet,
            field,
            value,
            expected,
        } = self;
        // Codes and magics are known by their hexadecimal form, lengths and sizes by the decimal
        // one.
        match *field {
            "magic" | "command" | "mask" | "val" | "dp_flags" | "encoding" => {
                write!(f, "{packet}: {field} is {value:#x}, expected {expected:#}")
            }
            _ => write!(f, "{packet}: {field} is {value}, expected {expected}"),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, f.alternate()) {
            (Self::Exactly(value), true) => write!(f, "{value:#x}"),
            (Self::Exactly(value), false) => write!(f, "{value}"),
            (Self::Between(low, high), _) => write!(f, "{low} to {high}"),
            (Self::AtMost(high), _) => write!(f, "at most {high}"),
            (Self::MultipleUpTo(unit, high), _) => {
                write!(f, "a multiple of {unit} from {unit} to {high}")
            }
            (Self::Text(text), _) => f.write_str(text),
        }
    }
}

impl core::error::Error for WireError {}
