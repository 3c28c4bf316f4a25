// SPDX-License-Identifier: GPL-2.0

//! The file `authkeys`: which keys sign and verify packets (specification, section 3).

use super::diagnostic::{Diagnostics, Place, words};
use std::collections::BTreeMap;
use std::fmt;

/// The methods, for messages.
const METHODS: &str = "crc, md5, sha1 or sha256";

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A checksum: protects against damage only.
    Crc,
    /// HMAC with MD5.
    Md5,
    /// HMAC with SHA-1.
    Sha1,
    /// HMAC with SHA-256 (not known to heartbeat 3.0.6).
    Sha256,
}

impl Method {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "crc" => Some(Self::Crc),
            "md5" => Some(Self::Md5),
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// How it signs.
    pub method: Method,
    /// The secret; empty for `crc`.
    pub secret: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A secret has no place in a log.
        f.debug_struct("Key")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// The keys by number (0 to 15), and which of them signs what is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthKeys {
    /// Number of the key that signs; it is in `keys`.
    pub sending: u8,
    /// Every key that is accepted.
    pub keys: BTreeMap<u8, Key>,
}

/// Reads the text of an `authkeys` file; problems go to `problems`, and with an error among them
/// the answer is `None`.
pub fn parse(text: &str, problems: &mut Diagnostics) -> Option<AuthKeys> {
    let mut sending: Option<(u8, Place)> = None;
    let mut keys = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let words = words(line, index + 1);
        let Some(first) = words.first() else { continue };
        if first.text == "auth" {
            match words.get(1).and_then(|w| number(w.text)) {
                Some(_) if sending.is_some() => {
                    problems.error(first.place, "a second `auth` line: expected only one");
                }
                Some(number) => sending = Some((number, first.place)),
                None => problems.error(first.place, "expected `auth N`, N a key number 0..15"),
            }
            continue;
        }
        let Some(id) = number(first.text) else {
            let text = format!(
                "`{}` is neither `auth` nor a key number 0..15: expected `auth N` or `N METHOD \
                 [SECRET]`",
                first.text
            );
            problems.error(first.place, text);
            continue;
        };
        let (method, secret) = (words.get(1), words.get(2));
        let Some(method) = method else {
            problems.error(
                first.place,
                format!("key {id} has no method: expected {METHODS}"),
            );
            continue;
        };
        let key = match (Method::from_name(method.text), secret) {
            (None, _) => {
                let text = format!("unknown method `{}`: expected {METHODS}", method.text);
                problems.error(method.place, text);
                continue;
            }
            (Some(Method::Crc), Some(extra)) => {
                problems.error(extra.place, "method `crc` takes no secret");
                continue;
            }
            (Some(Method::Crc), None) => Key {
                method: Method::Crc,
                secret: Vec::new(),
            },
            (Some(_), None) => {
                let text = format!("method `{}` needs a secret after it", method.text);
                problems.error(method.place, text);
                continue;
            }
            (Some(method), Some(secret)) => Key {
                method,
                secret: secret.text.into(),
            },
        };
        match sending {
            None => {
                let text = format!("key {id} comes before the `auth` line: `auth N` must be first");
                problems.error(first.place, text);
            }
            Some(_) if keys.contains_key(&id) => {
                problems.error(first.place, format!("key {id} is there twice"));
            }
            Some(_) => {
                keys.insert(id, key);
            }
        }
    }
    finish(sending, keys, problems)
}

fn number(text: &str) -> Option<u8> {
    text.parse().ok().filter(|n| *n <= 15)
}

fn finish(
    sending: Option<(u8, Place)>,
    keys: BTreeMap<u8, Key>,
    problems: &mut Diagnostics,
) -> Option<AuthKeys> {
    let Some((sending, place)) = sending else {
        problems.error(
            Place::default(),
            "no `auth N` line: it selects the key that signs",
        );
        return None;
    };
    match keys.get(&sending) {
        None if !problems.has_errors() => {
            problems.error(
                place,
                format!("`auth {sending}`, but no key {sending} after it"),
            );
        }
        Some(key) if key.method == Method::Crc => problems.note(
            place,
            "`crc` protects against damage only, not against forged packets; use sha1 or sha256 \
             unless the link is private",
        ),
        _ => {}
    }
    (!problems.has_errors()).then_some(AuthKeys { sending, keys })
}
