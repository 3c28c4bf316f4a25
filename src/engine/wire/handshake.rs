// SPDX-License-Identifier: GPL-2.0

//! The feature exchange: which version and which features both nodes will use (sections 3.2 to
//! 3.4).

use zerocopy::byteorder::{BigEndian, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::header::write;
use super::layout::body;
use super::{Expected, HeaderFormat, WireError};

/// The versions that this implementation speaks.
pub const OWN_VERSIONS: VersionRange = VersionRange { min: 100, max: 101 };

flag_set! {
    /// Optional parts of the protocol (section 3.3).
    pub struct Features: u32 {
        /// `P_TRIM` may be sent.
        TRIM = 0x1;
        /// `P_RS_THIN_REQ` and `P_RS_DEALLOCATED` may be used.
        THIN_RESYNC = 0x2;
        /// `P_SIZES` carries the queue limits, `P_TRIM` may cover 128 MiB, and a crashed Primary
        /// may meet a Primary.
        WSAME = 0x4;
        /// `P_ZEROES` may be sent, and `P_TRIM` promises no zeroes.
        WZEROES = 0x8;
    }
}

/// An inclusive range of protocol versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// Lowest.
    pub min: u32,
    /// Highest, not below `min`.
    pub max: u32,
}

/// Payload of `P_CONNECTION_FEATURES` (section 3.2). Always sent with the p80 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionFeatures {
    /// The versions that the sender speaks.
    pub versions: VersionRange,
    /// The optional parts that the sender knows.
    pub features: Features,
}

impl ConnectionFeatures {
    /// What this implementation announces.
    ///
    /// `features` is [`Features::ALL`], unless a data-integrity algorithm is configured: then
    /// without [`Features::WZEROES`], because the reference misreads `P_ZEROES` in that case
    /// (section 4.8).
    pub const fn own(features: Features) -> Self {
        Self {
            versions: OWN_VERSIONS,
            features,
        }
    }

    /// Version and features of the connection, from the own announcement (`self`) and the peer's.
    ///
    /// # Errors
    ///
    /// `protocol_max` or `protocol_min`, if the two ranges do not overlap: the connection ends in
    /// StandAlone.
    pub fn agree(&self, peer: &Self) -> Result<Agreed, WireError> {
        let (own, other) = (self.versions, peer.versions);
        if own.max < other.min {
            let expected = Expected::AtMost(u64::from(own.max));
            return Err(WireError::new(
                NAME,
                "protocol_min",
                u64::from(other.min),
                expected,
            ));
        }
        if other.max < own.min {
            let expected = Expected::Between(u64::from(own.min), u64::from(own.max));
            return Err(WireError::new(
                NAME,
                "protocol_max",
                u64::from(other.max),
                expected,
            ));
        }
        Ok(Agreed {
            version: own.max.min(other.max),
            features: self.features.intersection(peer.features),
            ..Agreed::NOTHING
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: &Raw = body(NAME, bytes)?;
        let min = raw.protocol_min.get();
        let max = match raw.protocol_max.get() {
            0 => min,
            max => max,
        };
        if max < min {
            let expected = Expected::Text("at least protocol_min");
            return Err(WireError::new(
                NAME,
                "protocol_max",
                u64::from(max),
                expected,
            ));
        }
        Ok(Self {
            versions: VersionRange { min, max },
            features: Features::from_bits(raw.feature_flags.get()),
        })
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let raw = Raw {
            protocol_min: U32::new(self.versions.min),
            feature_flags: U32::new(self.features.bits()),
            protocol_max: U32::new(self.versions.max),
            pad: U32::ZERO,
            reserved: [0; 56],
        };
        write(&raw, out)
    }
}

/// What both nodes have agreed so far, as far as the form of packets depends on it.
///
/// Starts as [`Agreed::NOTHING`] for the first packets, comes from [`ConnectionFeatures::agree`]
/// after the feature exchange, and gets its digest lengths as algorithms are agreed. Each direction
/// has its own copy when `P_PROTOCOL_UPDATE` changes the integrity algorithm of one direction only
/// (section 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Protocol version; 0 before the feature exchange.
    pub version: u32,
    /// Optional parts that both nodes know.
    pub features: Features,
    /// Bytes of the authentication digest; 0 if no authentication is configured, then no
    /// response is accepted.
    pub auth_digest_len: u8,
    /// Bytes of the data-integrity digest in force; 0 for none.
    pub integrity_digest_len: u8,
    /// Bytes of a digest of the verify algorithm; 0 for none, then `P_OV_REPLY` is refused.
    pub verify_digest_len: u8,
    /// Bytes of a digest of the checksum algorithm of resync; 0 for none, then any digest is
    /// accepted, because it will not be looked at.
    pub checksum_digest_len: u8,
}

impl Agreed {
    /// Before the feature exchange.
    pub const NOTHING: Self = Self {
        version: 0,
        features: Features::NONE,
        auth_digest_len: 0,
        integrity_digest_len: 0,
        verify_digest_len: 0,
        checksum_digest_len: 0,
    };

    /// The header format in force.
    pub const fn header_format(&self) -> HeaderFormat {
        HeaderFormat::of_version(self.version)
    }

    /// Most bytes that a sender puts into one `P_TRIM` (section 2.3).
    pub const fn trim_limit_bytes(&self) -> u32 {
        if self.features.contains(Features::WSAME) {
            super::MAX_TRIM_BYTES
        } else {
            super::MAX_TRIM_BYTES_WITHOUT_WSAME
        }
    }

    /// Whether verify may stop before the end of the device and announces its end (section 6.3).
    pub const fn verify_may_stop_early(&self) -> bool {
        self.version >= 97 && self.version != 100
    }
}

const NAME: &str = "P_CONNECTION_FEATURES";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    protocol_min: U32<BigEndian>,
    feature_flags: U32<BigEndian>,
    protocol_max: U32<BigEndian>,
    pad: U32<BigEndian>,
    reserved: [u8; 56],
}
