// SPDX-License-Identifier: GPL-2.0

//! One message of the family: a command and its attributes.

use netlink_packet_core::{
    DecodeError, Emitable, ErrorContext, Nla, NlasIterator, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use rdb_engine::netlink::{FAMILY_NAME, FAMILY_VERSION, attribute, operation};

/// An attribute as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    number: u16,
    value: Vec<u8>,
}

impl Nla for Sent {
    fn value_len(&self) -> usize {
        self.value.len()
    }

    fn kind(&self) -> u16 {
        self.number
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.value);
    }
}

/// A command of the family with its attributes, in the order in which they were added.
///
/// Reading an attribute that is absent, or too short for what is asked, gives `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    command: u8,
    attributes: Vec<Sent>,
}

impl Message {
    /// A command without attributes; commands are in [`crate::cmd`].
    pub fn new(command: u8) -> Self {
        Self {
            command,
            attributes: Vec::new(),
        }
    }

    /// The command.
    pub fn command(&self) -> u8 {
        self.command
    }

    /// Name of the command, for messages.
    pub fn name(&self) -> &'static str {
        operation(self.command).map_or("unknown command", |operation| operation.name)
    }

    fn with(mut self, number: u16, value: &[u8]) -> Self {
        self.attributes.push(Sent {
            number,
            value: value.to_vec(),
        });
        self
    }

    /// Adds an attribute without value, if `set`.
    #[must_use]
    pub fn flag(self, number: u16, set: bool) -> Self {
        if set { self.with(number, &[]) } else { self }
    }

    /// Adds a `u16`.
    #[must_use]
    pub fn u16(self, number: u16, value: u16) -> Self {
        self.with(number, &value.to_ne_bytes())
    }

    /// Adds a `u32`.
    #[must_use]
    pub fn u32(self, number: u16, value: u32) -> Self {
        self.with(number, &value.to_ne_bytes())
    }

    /// Adds an `s32`.
    #[must_use]
    pub fn s32(self, number: u16, value: i32) -> Self {
        self.with(number, &value.to_ne_bytes())
    }

    /// Adds a `u64`.
    #[must_use]
    pub fn u64(self, number: u16, value: u64) -> Self {
        self.with(number, &value.to_ne_bytes())
    }

    /// Adds a string.
    #[must_use]
    pub fn text(self, number: u16, value: &str) -> Self {
        let bytes: Vec<u8> = value.bytes().filter(|byte| *byte != 0).chain([0]).collect();
        self.with(number, &bytes)
    }

    /// Adds bytes.
    #[must_use]
    pub fn bytes(self, number: u16, value: &[u8]) -> Self {
        self.with(number, value)
    }

    /// The value of an attribute as it came.
    pub fn get(&self, number: u16) -> Option<&[u8]> {
        let found = self
            .attributes
            .iter()
            .find(|attribute| attribute.kind() == number)?;
        Some(&found.value)
    }

    /// Whether an attribute is there.
    pub fn has(&self, number: u16) -> bool {
        self.get(number).is_some()
    }

    /// A `u16`.
    pub fn get_u16(&self, number: u16) -> Option<u16> {
        Some(u16::from_ne_bytes(*self.get(number)?.first_chunk()?))
    }

    /// A `u32`.
    pub fn get_u32(&self, number: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.get(number)?.first_chunk()?))
    }

    /// An `s32`.
    pub fn get_s32(&self, number: u16) -> Option<i32> {
        Some(i32::from_ne_bytes(*self.get(number)?.first_chunk()?))
    }

    /// A `u64`.
    pub fn get_u64(&self, number: u16) -> Option<u64> {
        Some(u64::from_ne_bytes(*self.get(number)?.first_chunk()?))
    }

    /// A string.
    pub fn get_text(&self, number: u16) -> Option<String> {
        let bytes = self.get(number)?;
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// A state or another enumeration of the family; unknown numbers count as absent.
    pub fn get_enum<T: TryFrom<u32>>(&self, number: u16) -> Option<T> {
        T::try_from(self.get_u32(number)?).ok()
    }

    /// Numbers of the attributes that are there.
    pub fn numbers(&self) -> impl Iterator<Item = u16> {
        self.attributes.iter().map(Nla::kind)
    }

    /// Name of the attribute that lies at this offset of the attributes as sent, for messages.
    pub(crate) fn name_at(&self, offset: usize) -> Option<&'static str> {
        let mut position = 0;
        for attribute_sent in &self.attributes {
            let end = position + attribute_sent.buffer_len();
            if (position..end).contains(&offset) {
                return attribute(attribute_sent.kind()).map(|known| known.name);
            }
            position = end;
        }
        None
    }
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        FAMILY_NAME
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        FAMILY_VERSION
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(
        bytes: &[u8],
        header: GenlHeader,
    ) -> std::result::Result<Self, DecodeError> {
        let mut message = Self::new(header.cmd);
        for attribute in NlasIterator::new(bytes) {
            let attribute = attribute.context("attribute of the family rdb")?;
            message.attributes.push(Sent {
                number: attribute.kind(),
                value: attribute.value().to_vec(),
            });
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attr, cmd};
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let message = Message::new(cmd::ATTACH)
            .u32(attr::MINOR, 7)
            .text(attr::LOWER_DISK, "/dev/sdb")
            .s32(attr::META_INDEX, -3)
            .u64(attr::SIZE, 1 << 40)
            .flag(attr::FORCE, true)
            .flag(attr::SET_DEFAULTS, false);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let header = GenlHeader {
            cmd: cmd::ATTACH,
            version: 1,
        };
        let again = Message::parse_with_param(&bytes, header).unwrap();
        assert_eq!(again, message);
        assert_eq!(again.get_u32(attr::MINOR), Some(7));
        assert_eq!(
            again.get_text(attr::LOWER_DISK).as_deref(),
            Some("/dev/sdb")
        );
        assert_eq!(again.get_s32(attr::META_INDEX), Some(-3));
        assert_eq!(again.get_u64(attr::SIZE), Some(1 << 40));
        assert!(again.has(attr::FORCE) && !again.has(attr::SET_DEFAULTS));
        assert_eq!(message.name_at(8), Some("lower-disk"));
        assert_eq!(message.name_at(9999), None);
    }

    proptest! {
        #[test]
        fn all_messages_survive(parts in proptest::collection::vec((1_u16..0x3fff, proptest::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            let message = parts.iter().fold(Message::new(cmd::CONNECT), |message, (number, value)| message.bytes(*number, value));
            let mut bytes = vec![0; message.buffer_len()];
            message.emit(&mut bytes);
            let header = GenlHeader { cmd: cmd::CONNECT, version: 1 };
            prop_assert_eq!(Message::parse_with_param(&bytes, header).unwrap(), message);
        }

        /// The kernel is trusted, but a reader must not fall over a message that it does not understand.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let header = GenlHeader { cmd: 1, version: 1 };
            if let Ok(message) = Message::parse_with_param(&bytes, header) {
                for number in message.numbers() {
                    let _ = (message.get_u64(number), message.get_text(number), message.get_u32(number));
                }
            }
        }
    }
}
