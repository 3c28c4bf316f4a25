// SPDX-License-Identifier: GPL-2.0

//! The run-length code of compressed bitmaps (section 5.3).
//!
//! A stream of bits, least significant bit of each byte first, is a sequence of run lengths of
//! alternating polarity. A run length is a prefix, which names a level, and data bits: its distance
//! from the level's base.

use super::{Expected, WireError};

/// A row of the code table.
struct Level {
    /// First transmitted bit is the least significant one.
    prefix: u8,
    prefix_bits: u32,
    data_bits: u32,
    /// Smallest run length.
    base: u64,
}

const fn level(prefix: u8, prefix_bits: u32, data_bits: u32, base: u64) -> Level {
    Level {
        prefix,
        prefix_bits,
        data_bits,
        base,
    }
}

const LEVELS: [Level; 10] = [
    level(0x00, 1, 1, 1),
    level(0x01, 2, 1, 3),
    level(0x03, 3, 2, 5),
    level(0x07, 4, 3, 9),
    level(0x0F, 5, 5, 17),
    level(0x1F, 6, 8, 49),
    level(0x3F, 8, 13, 305),
    level(0x7F, 8, 21, 8497),
    level(0xBF, 8, 34, 2_105_649),
    level(0xFF, 8, 56, 17_181_974_833),
];

impl Level {
    /// Longest run length.
    const fn last(&self) -> u64 {
        self.base + ((1 << self.data_bits) - 1)
    }

    const fn matches(&self, bits: u64) -> bool {
        bits & ((1 << self.prefix_bits) - 1) == self.prefix as u64
    }
}

/// Reads the run lengths of a code stream.
///
/// As an iterator it gives `(set, length)` for each run, or an error once and then nothing more.
#[derive(Clone, Debug)]
pub struct RunDecoder<'a> {
    code: &'a [u8],
    /// Bits read from `code` and not used yet, the next one lowest.
    ahead: u64,
    ahead_bits: u32,
    /// Bits of the stream that are not used yet, including those in `ahead`.
    left: u64,
    set: bool,
}

impl<'a> RunDecoder<'a> {
    /// A stream of all of `code` but the last `pad` bits (0 to 7), beginning with a run of set bits
    /// if `first_set`.
    pub(super) fn new(code: &'a [u8], pad: u8, first_set: bool) -> Self {
        let all = (code.len() as u64).saturating_mul(8);
        Self {
            code,
            ahead: 0,
            ahead_bits: 0,
            left: all.saturating_sub(u64::from(pad)),
            set: first_set,
        }
    }

    /// Takes `count` (at most 56) bits off the stream.
    fn take(&mut self, count: u32) -> Option<u64> {
        self.left = self.left.checked_sub(u64::from(count))?;
        while self.ahead_bits < count {
            let (&byte, rest) = self.code.split_first()?;
            self.code = rest;
            self.ahead |= u64::from(byte) << self.ahead_bits;
            self.ahead_bits += 8;
        }
        let bits = self.ahead & ((1 << count) - 1);
        self.ahead >>= count;
        self.ahead_bits -= count;
        Some(bits)
    }

    fn next_run(&mut self) -> Option<u64> {
        // Prefixes grow by one bit each time up to six, and then have eight: at most eight one-bit
        // steps.
        let mut prefix = 0;
        for taken in 0..8 {
            prefix |= self.take(1)? << taken;
            let found = LEVELS
                .iter()
                .find(|level| level.prefix_bits == taken + 1 && level.matches(prefix));
            if let Some(level) = found {
                return Some(level.base + self.take(level.data_bits)?);
            }
        }
        None
    }
}

impl Iterator for RunDecoder<'_> {
    type Item = Result<(bool, u64), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let set = self.set;
        match self.next_run() {
            Some(length) => {
                self.set = !set;
                Some(Ok((set, length)))
            }
            None => {
                let left = core::mem::take(&mut self.left);
                let expected = Expected::Text("a whole code word");
                Some(Err(WireError::new(
                    "P_COMPRESSED_BITMAP",
                    "code",
                    left,
                    expected,
                )))
            }
        }
    }
}

/// Writes run lengths into a buffer.
#[derive(Debug)]
pub struct RunEncoder<'a> {
    out: &'a mut [u8],
    bits: usize,
}

impl<'a> RunEncoder<'a> {
    /// A stream that fills at most `out`.
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, bits: 0 }
    }

    /// Appends a run length. Returns false, and writes nothing, if it does not fit any more, or if
    /// it is 0 or above 2^56.
    pub(super) fn push(&mut self, length: u64) -> bool {
        let Some(level) = LEVELS
            .iter()
            .find(|level| (level.base..=level.last()).contains(&length))
        else {
            return false;
        };
        let needed = (level.prefix_bits + level.data_bits) as usize;
        if self.bits.saturating_add(needed) > self.out.len().saturating_mul(8) {
            return false;
        }
        self.put(u64::from(level.prefix), level.prefix_bits);
        self.put(length - level.base, level.data_bits);
        true
    }

    /// Bytes of code, and unused bits in the last of them.
    pub(super) fn finish(self) -> (usize, u8) {
        let bytes = self.bits.div_ceil(8);
        let pad = (bytes * 8 - self.bits) % 8;
        (bytes, pad as u8)
    }

    fn put(&mut self, mut value: u64, mut count: u32) {
        while count > 0 {
            let used = (self.bits % 8) as u32;
            let Some(byte) = self.out.get_mut(self.bits / 8) else {
                return;
            };
            if used == 0 {
                *byte = 0;
            }
            let now = count.min(8 - used);
            // Only the low byte matters: what does not fit is written by the next turn.
            *byte |= (((value & 0xFF) << used) & 0xFF) as u8;
            value >>= now;
            count -= now;
            self.bits += now as usize;
        }
    }
}
