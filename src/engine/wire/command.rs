// SPDX-License-Identifier: GPL-2.0

//! What is known of a packet from its command number alone (sections 2.4 to 2.6, 10.3).

use super::catalogue::{Body, Entry};
use super::{Agreed, Expected, Features, WireError, MAX_DIGEST_LEN, MAX_REQUEST_BYTES};

pub use super::catalogue::Command;

/// One of the two streams of a connection (section 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// Handshake, state, writes, reads, resync data, bitmaps.
    Data,
    /// Acknowledgements, state-change replies, pings.
    Meta,
}

/// What a packet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One volume: the header names it.
    Volume,
    /// The connection as a whole: the volume field is 0 and ignored.
    Connection,
}

impl Command {
    /// The command with this number.
    ///
    /// # Errors
    ///
    /// `command` of the header, for numbers without a packet in this protocol; the obsolete, the
    /// reserved and the DRBD 9 numbers are among them, and `P_WSAME`, which nobody may send
    /// (section 4.7).
    pub fn from_wire(code: u16) -> Result<Self, WireError> {
        Self::lookup(code).ok_or(WireError::new(
            "header",
            "command",
            u64::from(code),
            Expected::Text("a known packet"),
        ))
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u16 {
        self.entry().code
    }

    /// The name that the specification uses, for example `P_DATA`.
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// What the packet is about.
    pub const fn scope(self) -> Scope {
        self.entry().scope
    }

    /// Whether the packet may arrive on `socket`.
    pub fn travels_on(self, socket: Socket) -> bool {
        match self.entry().socket {
            None => true,
            Some(own) => own == socket,
        }
    }

    /// Whether a packet of this command for a volume that is not configured here is consumed and
    /// ignored (section 3.11); every other packet for an unknown volume ends the connection.
    pub fn ignorable_without_volume(self) -> bool {
        matches!(
            self,
            Self::SyncParam | Self::Sizes | Self::Uuids | Self::State
        )
    }

    /// Features without which the packet may not be sent (section 2.5).
    const fn needed_features(self) -> Features {
        match self {
            Self::Trim => Features::TRIM,
            Self::Zeroes => Features::WZEROES,
            Self::RsThinRequest | Self::RsDeallocated => Features::THIN_RESYNC,
            _ => Features::NONE,
        }
    }

    /// Whether the agreed features allow the packet.
    pub(super) fn check_features(self, agreed: &Agreed) -> Result<(), WireError> {
        if agreed.features.contains(self.needed_features()) {
            return Ok(());
        }
        let expected = Expected::Text("a packet of an agreed feature");
        Err(WireError::new(
            self.name(),
            "command",
            u64::from(self.to_wire()),
            expected,
        ))
    }

    /// Splits `length`, the number of bytes after the header, into body and payload.
    ///
    /// This is the only place where lengths from the peer are judged.
    ///
    /// # Errors
    ///
    /// `length`, if a packet of this command cannot have it under the terms agreed with the peer.
    pub(super) fn split_length(
        self,
        length: u32,
        agreed: &Agreed,
    ) -> Result<(u32, u32), WireError> {
        let exactly = |body: u32| {
            if length == body {
                Ok((body, 0))
            } else {
                Err(self.bad_length(length, Expected::Exactly(u64::from(body))))
            }
        };
        let Entry { body, .. } = self.entry();
        match body {
            Body::Exact(body) => exactly(body),
            Body::Between(low, high) if (low..=high).contains(&length) => Ok((length, 0)),
            Body::Between(low, high) => {
                Err(self.bad_length(length, Expected::Between(u64::from(low), u64::from(high))))
            }
            Body::Sizes => exactly(super::layout::sizes_len(agreed)),
            // An empty digest would equal another empty one: without an algorithm nothing is
            // accepted.
            Body::AuthResponse if agreed.auth_digest_len == 0 => Err(self.no_algorithm(length)),
            Body::AuthResponse => exactly(u32::from(agreed.auth_digest_len)),
            Body::BlockData(fixed) => self.split_block_data(length, fixed, agreed),
            Body::VerifyDigest(_) if agreed.verify_digest_len == 0 => {
                Err(self.no_algorithm(length))
            }
            Body::VerifyDigest(fixed) => {
                exactly(fixed.saturating_add(u32::from(agreed.verify_digest_len)))
            }
            // A source without the algorithm answers with the data, whatever the digest (section
            // 5.5).
            Body::ChecksumDigest(fixed) if agreed.checksum_digest_len == 0 => {
                let longest = u64::from(fixed) + MAX_DIGEST_LEN as u64;
                if length > fixed && u64::from(length) <= longest {
                    Ok((length, 0))
                } else {
                    let expected = Expected::Between(u64::from(fixed) + 1, longest);
                    Err(self.bad_length(length, expected))
                }
            }
            Body::ChecksumDigest(fixed) => {
                exactly(fixed.saturating_add(u32::from(agreed.checksum_digest_len)))
            }
        }
    }

    fn split_block_data(
        self,
        length: u32,
        fixed: u32,
        agreed: &Agreed,
    ) -> Result<(u32, u32), WireError> {
        let body = fixed.saturating_add(u32::from(agreed.integrity_digest_len));
        match length.checked_sub(body) {
            Some(payload) if super::block::is_request_size(payload, MAX_REQUEST_BYTES) => {
                Ok((body, payload))
            }
            _ => {
                let low = u64::from(body) + 512;
                let high = u64::from(body) + u64::from(MAX_REQUEST_BYTES);
                Err(self.bad_length(length, Expected::Between(low, high)))
            }
        }
    }

    const fn no_algorithm(self, length: u32) -> WireError {
        self.bad_length(
            length,
            Expected::Text("no such packet: no algorithm is agreed"),
        )
    }

    const fn bad_length(self, length: u32, expected: Expected) -> WireError {
        WireError::new(self.name(), "length", length as u64, expected)
    }
}
