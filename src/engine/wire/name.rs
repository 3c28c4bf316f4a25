// SPDX-License-Identifier: GPL-2.0

//! Names of hash algorithms in packets.

use core::fmt;

use super::{Expected, WireError};

/// Name of a hash in the kernel's crypto API, at most 63 printable bytes; empty for none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AlgorithmName {
    // Zero from `len` on, so that equality of the arrays is equality of the names.
    bytes: [u8; Self::FIELD_LEN],
    len: u8,
}

impl AlgorithmName {
    /// No algorithm.
    pub const NONE: Self = Self {
        bytes: [0; Self::FIELD_LEN],
        len: 0,
    };

    /// Bytes of a name field, terminating NUL included.
    pub const FIELD_LEN: usize = 64;

    /// The name `name`.
    ///
    /// # Errors
    ///
    /// `algorithm`, if it is longer than 63 bytes or has others than printable ASCII without
    /// blanks.
    pub fn new(name: &str) -> Result<Self, WireError> {
        Self::parse("configuration", "algorithm", name.as_bytes())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Whether there is no algorithm.
    pub const fn is_none(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the name with its terminating NUL.
    pub(super) fn with_nul(&self) -> &[u8] {
        // `len` is at most 63, so the range is never out of bounds.
        self.bytes
            .get(..usize::from(self.len) + 1)
            .unwrap_or_default()
    }

    /// The fixed field, zero padded.
    pub(super) const fn field(&self) -> [u8; Self::FIELD_LEN] {
        self.bytes
    }

    /// A NUL-terminated name; bytes behind the NUL are ignored.
    pub(super) fn from_terminated(
        packet: &'static str,
        field: &'static str,
        bytes: &[u8],
    ) -> Result<Self, WireError> {
        match bytes.iter().position(|&byte| byte == 0) {
            Some(end) => Self::parse(packet, field, bytes.get(..end).unwrap_or_default()),
            None => {
                let expected = Expected::Text("a terminating NUL");
                Err(WireError::new(packet, field, bytes.len() as u64, expected))
            }
        }
    }

    /// A fixed field, whose last byte counts as NUL whatever it is (section 3.7).
    pub(super) fn from_field(
        packet: &'static str,
        field: &'static str,
        bytes: &[u8; Self::FIELD_LEN],
    ) -> Result<Self, WireError> {
        let mut terminated = *bytes;
        terminated[Self::FIELD_LEN - 1] = 0;
        Self::from_terminated(packet, field, &terminated)
    }

    fn parse(packet: &'static str, field: &'static str, name: &[u8]) -> Result<Self, WireError> {
        let mut bytes = [0; Self::FIELD_LEN];
        let too_long = WireError::new(
            packet,
            field,
            name.len() as u64,
            Expected::Text("a name of at most 63 bytes"),
        );
        if name.len() >= Self::FIELD_LEN {
            return Err(too_long);
        }
        if let Some(&byte) = name.iter().find(|byte| !byte.is_ascii_graphic()) {
            let expected = Expected::Text("printable ASCII without blanks");
            return Err(WireError::new(packet, field, u64::from(byte), expected));
        }
        let len = u8::try_from(name.len()).map_err(|_| too_long)?;
        bytes
            .get_mut(..name.len())
            .ok_or(too_long)?
            .copy_from_slice(name);
        Ok(Self { bytes, len })
    }
}

impl fmt::Display for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
