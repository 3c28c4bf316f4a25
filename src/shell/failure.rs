// SPDX-License-Identifier: GPL-2.0

//! Why a request of the administrator was not carried out.

use core::fmt::{self, Write};

use kernel::prelude::*;
use rdb_engine::admin::Refusal;

/// Longest text, in bytes; what is longer is cut.
const TEXT: usize = 160;

/// A code of admin-tool section 5 (positive: message code, negative: state code) with a text for people.
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    code: i32,
    text: [u8; TEXT],
    len: usize,
}

impl Failure {
    /// A failure with a formatted text.
    pub(crate) fn new(code: i32, text: fmt::Arguments<'_>) -> Self {
        let mut failure = Self {
            code,
            text: [0; TEXT],
            len: 0,
        };
        // Cut, never failing: see `write_str`.
        let _ = failure.write_fmt(text);
        failure
    }

    /// Length of the text in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The code.
    pub(crate) fn code(&self) -> i32 {
        self.code
    }
}

impl From<Error> for Failure {
    /// An error of the kernel that nobody has said more of.
    fn from(error: Error) -> Self {
        match error {
            error if error == ENOMEM => no_memory(),
            error if error == EINTR || error == ERESTARTSYS => {
                Self::new(129, format_args!("interrupted"))
            }
            // Messages that cannot be sent and the like: `errno` of the answer says it, see control.
            _ => Self::new(162, format_args!("{error:?}")),
        }
    }
}

impl Write for Failure {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            let mut utf8 = [0; 4];
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            let end = self.len.saturating_add(bytes.len());
            match self.text.get_mut(self.len..end) {
                Some(room) => room.copy_from_slice(bytes),
                None => break,
            }
            self.len = end;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            core::str::from_utf8(self.text.get(..self.len).unwrap_or_default()).unwrap_or_default(),
        )
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, format_args!("{}", refusal.text))
    }
}

/// No memory.
pub(crate) fn no_memory() -> Failure {
    Failure::new(122, format_args!("not enough memory"))
}
