// SPDX-License-Identifier: GPL-2.0

//! Signatures of packets: every packet ends with a line `auth NUMBER HEX`, made with key NUMBER of
//! `authkeys` over all bytes before that line.

use crate::config::authkeys::{AuthKeys, Key, Method};
use hmac::{Hmac, Mac};
use std::fmt::Write;
use subtle::ConstantTimeEq;

/// Why a packet is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// There is no signature line at the end.
    Missing,
    /// The number of the key is not in our `authkeys`.
    UnknownKey(u8),
    /// The signature does not fit: wrong secret, or damaged on the way.
    Wrong(u8),
}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("no signature at its end"),
            Self::UnknownKey(n) => write!(f, "signed with key {n}, which authkeys does not list"),
            Self::Wrong(n) => write!(f, "signature with key {n} is wrong (is authkeys the same?)"),
        }
    }
}

impl std::error::Error for AuthError {}

/// Appends the signature line of the sending key.
pub fn seal(mut body: Vec<u8>, keys: &AuthKeys) -> Vec<u8> {
    if let Some(key) = keys.keys.get(&keys.sending) {
        let line = format!("auth {} {}\n", keys.sending, digest(key, &body));
        body.extend_from_slice(line.as_bytes());
    }
    body
}

/// The part before the signature line, if any listed key made that signature.
///
/// # Errors
///
/// [`AuthError`]: the packet must be dropped unread.
pub fn open<'a>(datagram: &'a [u8], keys: &AuthKeys) -> Result<&'a [u8], AuthError> {
    let line_end = datagram.strip_suffix(b"\n").ok_or(AuthError::Missing)?;
    let start = line_end
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let (body, line) = (&datagram[..start], &line_end[start..]);
    let line = std::str::from_utf8(line).map_err(|_| AuthError::Missing)?;
    let (number, found) = line
        .strip_prefix("auth ")
        .and_then(|r| r.split_once(' '))
        .ok_or(AuthError::Missing)?;
    let number: u8 = number.parse().map_err(|_| AuthError::Missing)?;
    let key = keys
        .keys
        .get(&number)
        .ok_or(AuthError::UnknownKey(number))?;
    // Constant time: how long it takes must not tell how much of a forged signature is right.
    let good: bool = digest(key, body).as_bytes().ct_eq(found.as_bytes()).into();
    if good {
        Ok(body)
    } else {
        Err(AuthError::Wrong(number))
    }
}

fn digest(key: &Key, body: &[u8]) -> String {
    match key.method {
        Method::Crc => format!("{:08x}", crc32fast::hash(body)),
        Method::Md5 => keyed::<Hmac<md5::Md5>>(key, body),
        Method::Sha1 => keyed::<Hmac<sha1::Sha1>>(key, body),
        Method::Sha256 => keyed::<Hmac<sha2::Sha256>>(key, body),
    }
}

fn keyed<M: Mac + hmac::digest::KeyInit>(key: &Key, body: &[u8]) -> String {
    // HMAC takes keys of any length, so there is nothing that could fail.
    let Ok(mut mac) = <M as Mac>::new_from_slice(&key.secret) else {
        return String::new();
    };
    mac.update(body);
    mac.finalize()
        .into_bytes()
        .iter()
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn keys(sending: u8, list: &[(u8, Method, &str)]) -> AuthKeys {
        let key = |m: Method, s: &str| Key {
            method: m,
            secret: s.into(),
        };
        let keys = list
            .iter()
            .map(|(n, m, s)| (*n, key(*m, s)))
            .collect::<BTreeMap<_, _>>();
        AuthKeys { sending, keys }
    }

    #[test]
    fn digests_are_the_published_ones() {
        // RFC 2202 and RFC 4231, test case 2; CRC-32 check value.
        let (secret, text) = ("Jefe", b"what do ya want for nothing?");
        let make = |m: Method| {
            digest(
                &Key {
                    method: m,
                    secret: secret.into(),
                },
                text,
            )
        };
        assert_eq!(make(Method::Md5), "750c783e6ab0b503eaa86e310a5db738");
        assert_eq!(
            make(Method::Sha1),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
        assert_eq!(
            make(Method::Sha256),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            digest(
                &Key {
                    method: Method::Crc,
                    secret: vec![]
                },
                b"123456789"
            ),
            "cbf43926"
        );
    }

    #[test]
    fn every_listed_key_is_accepted_and_no_other() {
        let old = keys(1, &[(1, Method::Sha1, "old")]);
        let both = keys(2, &[(1, Method::Sha1, "old"), (2, Method::Sha256, "new")]);
        let body = b"rdb-ha 1\nsrc a\n".to_vec();
        assert_eq!(open(&seal(body.clone(), &old), &both), Ok(&body[..]));
        assert_eq!(
            open(&seal(body.clone(), &both), &old),
            Err(AuthError::UnknownKey(2))
        );
        let wrong = keys(1, &[(1, Method::Sha1, "other")]);
        assert_eq!(
            open(&seal(body.clone(), &wrong), &old),
            Err(AuthError::Wrong(1))
        );
        assert_eq!(open(&body, &old), Err(AuthError::Missing));
        assert_eq!(open(b"", &old), Err(AuthError::Missing));
    }

    #[test]
    fn one_changed_byte_is_noticed() {
        for method in [Method::Crc, Method::Md5, Method::Sha1, Method::Sha256] {
            let keys = keys(1, &[(1, method, "secret")]);
            let sealed = seal(b"rdb-ha 1\nsrc a\ngen 1\n".to_vec(), &keys);
            for at in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1;
                assert!(open(&damaged, &keys).is_err(), "{method:?}, byte {at}");
            }
        }
    }
}
