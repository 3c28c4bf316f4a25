// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family `rdb`: numbers that module and programs share.
//!
//! `Documentation/netlink/specs/rdb.yaml` is the definition; the numbers here are made from it and a test of the netlink crate
//! holds both together. This file has the types, [`OPS`] says which attributes each request takes and each reply carries, and
//! [`ATTRS`] how each attribute looks, in a form from which an `nla_policy` can be filled.
//!
//! # Requests
//!
//! All attributes are flat, in one set. Integers are in host byte order, strings end with NUL, addresses are in network byte
//! order. A switch among the options is a `u32` of 0 or 1, so that "off" and "not mentioned" differ; flags of a single request
//! are attributes without value.
//!
//! | request | address | further attributes | notes |
//! | --- | --- | --- | --- |
//! | resource-add | resource-name | resource options | existing: success, unchanged |
//! | resource-set | resource-name | \[set-defaults\] resource options | |
//! | resource-del | resource-name | | |
//! | volume-add | resource-name | volume, minor | same again: success |
//! | volume-del | minor | | |
//! | attach | minor | lower-disk, meta-disk, meta-index, disk options with `size` | absent options: default |
//! | detach | minor | \[force\] | |
//! | disk-set | minor | \[set-defaults\] disk options without `size` | |
//! | connect | resource-name | local-addr, local-port, peer-addr, peer-port, \[local-scope, peer-scope\], \[discard-my-data\], \[tentative\], net options | returns at once |
//! | disconnect | resource-name | \[force\] | |
//! | net-set | resource-name | \[set-defaults\] net options | |
//! | down | resource-name | | all of it; unknown: success |
//! | primary | minor | \[force\] | |
//! | secondary, invalidate, invalidate-remote, pause-sync, resume-sync, suspend-io, resume-io, outdate | minor | | |
//! | new-current-uuid | minor | \[clear-bitmap\] | |
//! | verify | minor | \[start-sector, stop-sector\] | |
//! | resize | minor | \[size\] \[assume-clean\] \[assume-peer-has-space\] | |
//! | resource-get | resource-name, or dump | | |
//! | volume-get | minor, or dump | | |
//! | module-get | | | |
//!
//! Disk options are the attributes `size` to `rs-discard-granularity`, net options `protocol` to `socket-check-timeout`, resource
//! options `cpu-mask` and `on-no-data-accessible`; defaults are in the option tables. With `set-defaults` an absent option goes
//! back to its default, without it stays as it is.
//!
//! # Refusals
//!
//! The errno is for programs that look no closer: `ENOENT` no such resource, volume or minor, `EEXIST` it exists already, `EBUSY`
//! in use or not in this state, `EINVAL` an attribute is wrong, `ENODEV` lower device, `EIO` metadata, `ENODATA` no metadata,
//! `EPERM`, `ENOMEM`, `EINTR`. The extended acknowledgement says more: its text begins with the number of the refusal in
//! parentheses ([`ErrorCode`], or the negative code of a refused state change), then the object, then what is wrong:
//! `(-12) r0/0: device is held open`. The kernel has 79 bytes for this text; more can be sent as messages of the same command
//! with [`attr::INFO_TEXT`] in front of the error.

/// Defines an enumeration of the family together with its conversions.
macro_rules! enumeration {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $value:literal, $text:literal, $doc:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum $name {
            $(#[doc = $doc] $variant = $value,)*
        }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Name in the specification.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }

        impl TryFrom<u32> for $name {
            type Error = UnknownNumber;

            fn try_from(number: u32) -> Result<Self, UnknownNumber> {
                match number {
                    $($value => Ok($name::$variant),)*
                    _ => Err(UnknownNumber(number)),
                }
            }
        }
    };
}

mod numbers;
mod tables;

pub use self::{numbers::*, tables::*};

/// Name of the family.
pub const FAMILY_NAME: &str = "rdb";
/// Version of the family.
pub const FAMILY_VERSION: u8 = 1;
/// Name of the multicast group that carries the events.
pub const EVENTS_GROUP: &str = "events";

/// Form of an attribute and the values that it accepts; bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Padding, carries nothing.
    Pad,
    /// Present or absent, without value.
    Flag,
    /// `u16` in host byte order.
    U16 {
        /// Smallest value.
        min: u16,
        /// Largest value.
        max: u16,
    },
    /// `u32` in host byte order.
    U32 {
        /// Smallest value.
        min: u32,
        /// Largest value.
        max: u32,
    },
    /// `s32` in host byte order.
    S32 {
        /// Smallest value.
        min: i32,
        /// Largest value.
        max: i32,
    },
    /// `u64` in host byte order.
    U64 {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// String with NUL.
    Text {
        /// Most bytes without the NUL.
        max: u16,
    },
    /// Bytes.
    Bytes {
        /// Most bytes.
        max: u16,
    },
}

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its number, see [`attr`].
    pub number: u16,
    /// Its name in the specification.
    pub name: &'static str,
    /// Its form.
    pub kind: Kind,
}

impl Attribute {
    const fn new(number: u16, name: &'static str, kind: Kind) -> Self {
        Self { number, name, kind }
    }
}

const fn u16(min: u16, max: u16) -> Kind {
    Kind::U16 { min, max }
}

const fn u32(min: u32, max: u32) -> Kind {
    Kind::U32 { min, max }
}

const fn s32(min: i32, max: i32) -> Kind {
    Kind::S32 { min, max }
}

const fn u64(min: u64, max: u64) -> Kind {
    Kind::U64 { min, max }
}

const fn text(max: u16) -> Kind {
    Kind::Text { max }
}

const fn bytes(max: u16) -> Kind {
    Kind::Bytes { max }
}

/// How a message of the family is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Request for everybody.
    Read,
    /// Request for everybody; as a dump it lists all.
    ReadOrDump,
    /// Request that needs CAP_NET_ADMIN.
    Change,
    /// Multicast in the group [`EVENTS_GROUP`].
    Event,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number, see [`cmd`].
    pub number: u8,
    /// Its name in the specification.
    pub name: &'static str,
    /// Who sends it, and when.
    pub usage: Use,
    /// Attributes of the request; others are to be refused.
    pub request: &'static [u16],
    /// Attributes of the reply or event.
    pub reply: &'static [u16],
}

/// The attribute with this number.
pub fn attribute(number: u16) -> Option<&'static Attribute> {
    ATTRS.iter().find(|known| known.number == number)
}

/// The operation with this number.
pub fn operation(number: u8) -> Option<&'static Operation> {
    OPS.iter().find(|known| known.number == number)
}

/// A number that the enumeration does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownNumber(pub u32);
