// SPDX-License-Identifier: GPL-2.0

//! Why the module did not do what was asked.

use std::fmt;
use std::io;

use netlink_packet_core::{ErrorMessage, NlasIterator};
use rdb_engine::netlink::attribute;

use crate::Message;

/// Result of everything that talks to the module.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the module did not do what was asked.
#[derive(Debug)]
pub enum Error {
    /// The module is not loaded.
    NoModule,
    /// The module refused the request.
    Refused(Refusal),
    /// Events were lost because they came faster than they were read.
    Lost,
    /// The socket does not work.
    Socket(io::Error),
    /// The module sent something that is no message of the family.
    Malformed(String),
}

/// A refused request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Errno, positive.
    pub errno: i32,
    /// Number of the refusal: 102 to 170, or negative for a refused state change; absent if the module gave none.
    pub code: Option<i32>,
    /// What the module said, without the number.
    pub text: String,
    /// More lines of the module.
    pub info: Vec<String>,
}

/// Numbers of the attributes of an extended acknowledgement.
const ACK_TEXT: u16 = 1;
const ACK_OFFSET: u16 = 2;
const ACK_MISSING: u16 = 5;

/// Length of the header that an acknowledgement repeats.
const HEADER: usize = 16;
/// Header and command word in front of the attributes of a request.
const ATTRIBUTES: usize = 20;

impl Refusal {
    /// Reads an acknowledgement with an error; `request` is what it answers.
    pub(crate) fn decode(error: &ErrorMessage, request: &Message, info: Vec<String>) -> Self {
        let errno = error.raw_code().saturating_neg();
        let mut text = String::new();
        let mut hint = String::new();
        let extended = error.header.get(HEADER..).unwrap_or_default();
        for attribute_sent in NlasIterator::new(extended).map_while(std::result::Result::ok) {
            let value = attribute_sent.value();
            let number = || value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
            match attribute_sent.kind() {
                ACK_TEXT => {
                    text = String::from_utf8_lossy(value)
                        .trim_end_matches('\0')
                        .to_owned();
                }
                ACK_OFFSET => {
                    let offset = number().and_then(|offset| usize::try_from(offset).ok());
                    let offset = offset.and_then(|offset| offset.checked_sub(ATTRIBUTES));
                    let name = offset.and_then(|offset| request.name_at(offset));
                    hint = name.map_or(String::new(), |name| format!(" (attribute {name})"));
                }
                ACK_MISSING => {
                    let missing = number().and_then(|number| u16::try_from(number).ok());
                    let name = missing.and_then(attribute).map(|known| known.name);
                    hint = name.map_or(String::new(), |name| {
                        format!(" (attribute {name} is missing)")
                    });
                }
                _ => {}
            }
        }
        // A text that is too long for the acknowledgement comes whole as the first line in front of it.
        let mut info = info;
        if info.first().is_some_and(|line| line.starts_with('(')) {
            text = info.remove(0);
        }
        let (code, text) = split_code(&text);
        let text = match text.is_empty() {
            true => format!(
                "{}: {}",
                request.name(),
                io::Error::from_raw_os_error(errno)
            ),
            false => text.to_owned(),
        };
        Self {
            errno,
            code,
            text: text + &hint,
            info,
        }
    }
}

/// Splits `(119) text` into number and text.
fn split_code(text: &str) -> (Option<i32>, &str) {
    let parts = text.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    match parts.and_then(|(number, rest)| Some((number.parse().ok()?, rest))) {
        Some((number, rest)) => (Some(number), rest.trim_start()),
        None => (None, text),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoModule => f.write_str("the kernel module rdb is not loaded; run: modprobe rdb"),
            Self::Refused(refusal) => f.write_str(&refusal.text),
            Self::Lost => f.write_str("events were lost: they came faster than they were read"),
            Self::Socket(error) => write!(f, "netlink: {error}"),
            Self::Malformed(text) => write!(f, "netlink: malformed message: {text}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        // ENOBUFS of a netlink socket means that messages were dropped.
        match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::NOBUFS.raw_os_error() => Self::Lost,
            _ => Self::Socket(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attr, cmd};
    use netlink_packet_core::{DefaultNla, Emitable};
    use std::num::NonZeroI32;

    fn refusal(errno: i32, attributes: &[DefaultNla]) -> Refusal {
        refusal_with(errno, attributes, Vec::new())
    }

    fn refusal_with(errno: i32, attributes: &[DefaultNla], info: Vec<String>) -> Refusal {
        let mut header = vec![0; HEADER + attributes.buffer_len()];
        attributes.emit(&mut header[HEADER..]);
        let mut error = ErrorMessage::default();
        error.code = NonZeroI32::new(-errno);
        error.header = header;
        let request = Message::new(cmd::ATTACH)
            .u32(attr::MINOR, 1)
            .text(attr::LOWER_DISK, "/dev/x");
        Refusal::decode(&error, &request, info)
    }

    #[test]
    fn numbers_and_texts() {
        let text = |text: &str| DefaultNla::new(ACK_TEXT, [text.as_bytes(), &[0]].concat());
        let found = refusal(61, &[text("(119) r0/0: no valid metadata on /dev/x")]);
        assert_eq!((found.errno, found.code), (61, Some(119)));
        assert_eq!(found.text, "r0/0: no valid metadata on /dev/x");
        assert_eq!(refusal(16, &[text("(-12) r0/0: open")]).code, Some(-12));
        assert_eq!(
            refusal(22, &[text("Unsupported attribute")]).text,
            "Unsupported attribute"
        );
    }

    #[test]
    fn long_texts_replace_the_cut_ones() {
        let cut = DefaultNla::new(ACK_TEXT, b"(114) r0/0: /dev/x is in\0".to_vec());
        let info = vec![
            "(114) r0/0: /dev/x is in use by something".to_owned(),
            "more".into(),
        ];
        let found = refusal_with(16, &[cut], info);
        assert_eq!(
            (found.code, found.text.as_str()),
            (Some(114), "r0/0: /dev/x is in use by something")
        );
        assert_eq!(found.info, ["more"]);
    }

    #[test]
    fn attributes_are_named() {
        let offset = DefaultNla::new(ACK_OFFSET, (ATTRIBUTES as u32 + 8).to_ne_bytes().to_vec());
        assert!(
            refusal(34, &[offset])
                .text
                .ends_with("(attribute lower-disk)")
        );
        let missing = DefaultNla::new(
            ACK_MISSING,
            u32::from(attr::META_DISK).to_ne_bytes().to_vec(),
        );
        assert!(
            refusal(22, &[missing])
                .text
                .ends_with("(attribute meta-disk is missing)")
        );
    }

    #[test]
    fn without_extended_acknowledgement_the_errno_speaks() {
        let found = refusal(1, &[]);
        assert_eq!(found.code, None);
        assert!(found.text.starts_with("attach: "), "{}", found.text);
    }
}
