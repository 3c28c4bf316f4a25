// SPDX-License-Identifier: GPL-2.0

//! Outcome of a block request.

use crate::bindings;
use kernel::error::{to_result, Error, Result};

/// Outcome of a block request: `blk_status_t`.
///
/// Every function here may be called in any context.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Status(bindings::blk_status_t);

impl Status {
    /// The request was carried out.
    pub const OK: Status = Status(0);
    /// Error without a better name.
    pub const IOERR: Status = Status(bindings::BLK_STS_IOERR);
    /// The device does not know this operation.
    pub const NOTSUPP: Status = Status(bindings::BLK_STS_NOTSUPP);
    /// No space left on the device (thin provisioning).
    pub const NOSPC: Status = Status(bindings::BLK_STS_NOSPC);
    /// The device did not answer in time.
    pub const TIMEOUT: Status = Status(bindings::BLK_STS_TIMEOUT);
    /// The way to the device is broken.
    pub const TRANSPORT: Status = Status(bindings::BLK_STS_TRANSPORT);
    /// The device is broken, whichever way is taken to it.
    pub const TARGET: Status = Status(bindings::BLK_STS_TARGET);
    /// The medium is bad at this place.
    pub const MEDIUM: Status = Status(bindings::BLK_STS_MEDIUM);
    /// Checksum or protection information do not match.
    pub const PROTECTION: Status = Status(bindings::BLK_STS_PROTECTION);
    /// Not enough memory or other resources.
    pub const RESOURCE: Status = Status(bindings::BLK_STS_RESOURCE);
    /// The request would have had to wait, and must not.
    pub const AGAIN: Status = Status(bindings::BLK_STS_AGAIN);
    /// The device is not there any more.
    pub const OFFLINE: Status = Status(bindings::BLK_STS_OFFLINE);
    /// The request makes no sense to the device.
    pub const INVAL: Status = Status(bindings::BLK_STS_INVAL);

    pub(crate) const fn from_raw(raw: bindings::blk_status_t) -> Self {
        Status(raw)
    }

    pub(crate) const fn as_raw(self) -> bindings::blk_status_t {
        self.0
    }

    /// Whether the request was carried out.
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// The outcome as an errno, as the block layer maps it.
    pub fn to_result(self) -> Result {
        // SAFETY: A mere table look-up, which takes any value.
        to_result(unsafe { bindings::blk_status_to_errno(self.0) })
    }

    /// The status which stands for `error`, as the block layer maps it; `IOERR` for those without
    /// one.
    pub fn from_error(error: Error) -> Status {
        // SAFETY: A mere table look-up, which takes any value.
        Status(unsafe { bindings::errno_to_blk_status(error.to_errno()) })
    }
}

impl From<Result> for Status {
    fn from(result: Result) -> Self {
        match result {
            Ok(()) => Status::OK,
            Err(e) => Status::from_error(e),
        }
    }
}

impl core::fmt::Debug for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.to_result() {
            Ok(()) => f.write_str("OK"),
            Err(e) => write!(f, "{e:?}"),
        }
    }
}
