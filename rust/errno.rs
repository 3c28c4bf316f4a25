// SPDX-License-Identifier: GPL-2.0

//! Error numbers that the kernel crates of some versions have no name for.
//!
//! `e == EOPNOTSUPP` and `EOPNOTSUPP.into()` work as with the kernel crate's constants.

use crate::bindings;
use kernel::prelude::*;

/// An error number without a constant in `kernel::error::code`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Errno(u32);

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        // Error numbers are small.
        Error::from_errno(c_int::try_from(errno.0).map_or(0, |n| -n))
    }
}

/// The error of an error number.
pub fn error(errno: Errno) -> Error {
    errno.into()
}

impl PartialEq<Errno> for Error {
    fn eq(&self, other: &Errno) -> bool {
        *self == Error::from(*other)
    }
}

macro_rules! errno {
    ($($name:ident $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: Errno = Errno(bindings::$name);)*
    };
}

errno! {
    EADDRINUSE "The address is in use already.";
    EADDRNOTAVAIL "This machine does not have the address.";
    EAFNOSUPPORT "The kernel does not know this family of addresses.";
    EBADMSG "The message is garbled.";
    ECONNREFUSED "Nobody listens there.";
    ECONNRESET "The peer has reset the connection.";
    EHOSTUNREACH "There is no way to the machine.";
    EINPROGRESS "It has begun and not ended.";
    EMEDIUMTYPE "The medium is of the wrong kind.";
    ENETUNREACH "There is no way to the network.";
    ENOBUFS "There is no memory for the network.";
    ENODATA "There is nothing.";
    ENOTCONN "There is no connection.";
    EOPNOTSUPP "The device or socket does not know this operation.";
    EPROTO "The other side does not keep to the protocol.";
    ESHUTDOWN "The connection was shut down on this side.";
}
