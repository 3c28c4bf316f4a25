// SPDX-License-Identifier: GPL-2.0

//! Sending and receiving the bitmap of a volume (sections 5.2 and 5.3).
//!
//! A bitmap travels as a series of plain and compressed packets whose positions are implicit;
//! nothing else may be sent on the data socket before the series is complete.

use zerocopy::byteorder::{LittleEndian, U64};
use zerocopy::FromBytes;

use super::header::no_room;
use super::packet::append;
use super::run_length::{RunDecoder, RunEncoder};
use super::{Expected, HeaderFormat, WireError, BITMAP_CHUNK_LEN};
use crate::bits::{words_of, Words, WordsMut};

/// Words of the longest plain packet.
const CHUNK_WORDS: u64 = (BITMAP_CHUNK_LEN / 8) as u64;

/// A sender looks at this many bits at most for one packet, so that the time for it is bounded.
const SCAN_BITS: u64 = 1 << 26;

const PLAIN: &str = "P_BITMAP";
const COMPRESSED: &str = "P_COMPRESSED_BITMAP";

/// `P_COMPRESSED_BITMAP`: runs of set and clear bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressedBitmap<'a> {
    encoding: u8,
    code: &'a [u8],
}

impl<'a> CompressedBitmap<'a> {
    /// The only code that is defined.
    const CODE: u8 = 2;

    /// The runs as `(set, length)`.
    pub fn runs(&self) -> RunDecoder<'a> {
        RunDecoder::new(
            self.code,
            (self.encoding >> 4) & 7,
            self.encoding & 0x80 != 0,
        )
    }

    pub(super) fn decode(packet: &'static str, bytes: &'a [u8]) -> Result<Self, WireError> {
        match bytes.split_first() {
            Some((&encoding, code)) if encoding & 0xF == Self::CODE && !code.is_empty() => {
                Ok(Self { encoding, code })
            }
            Some((&encoding, code)) if !code.is_empty() => {
                let expected = Expected::Text("code number 2 in the low four bits");
                Err(WireError::new(
                    packet,
                    "encoding",
                    u64::from(encoding),
                    expected,
                ))
            }
            _ => {
                let expected = Expected::Text("at least one byte of code");
                Err(WireError::new(
                    packet,
                    "length",
                    bytes.len() as u64,
                    expected,
                ))
            }
        }
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        append(out, 0, &[self.encoding])?;
        append(out, 1, self.code)
    }
}

/// Position in a series.
#[derive(Clone, Copy, Debug)]
struct Position {
    bits: u64,
    /// Bits up to this one are described.
    bit: u64,
    /// Word with which a plain packet would begin.
    word: u64,
    complete: bool,
}

impl Position {
    const fn start(bits: u64) -> Self {
        Self {
            bits,
            bit: 0,
            word: 0,
            complete: false,
        }
    }

    /// Words of the next plain packet.
    fn plain_words(&self) -> u64 {
        words_of(self.bits)
            .saturating_sub(self.word)
            .min(CHUNK_WORDS)
    }

    /// A plain packet without words ends the series.
    fn after_plain(&mut self, words: u64) {
        self.word = self.word.saturating_add(words);
        self.bit = self.word.saturating_mul(64).min(self.bits);
        self.complete = words == 0;
    }

    fn after_compressed(&mut self, bit: u64) {
        self.bit = bit;
        self.word = bit / 64;
        self.complete = bit == self.bits;
    }
}

/// Merges the peer's bitmap, packet by packet, into the own one.
#[derive(Clone, Copy, Debug)]
pub struct BitmapReceiver {
    position: Position,
}

impl BitmapReceiver {
    /// A series that describes `bits` bits.
    pub const fn new(bits: u64) -> Self {
        Self {
            position: Position::start(bits),
        }
    }

    /// Whether the series has ended. Packets after that belong to another series.
    pub const fn is_complete(&self) -> bool {
        self.position.complete
    }

    /// Takes the body of a `P_BITMAP`. Returns how many bits it set that were clear.
    ///
    /// # Errors
    ///
    /// `length`, if it is not exactly what is due at this position; a packet after the end of the
    /// series.
    pub fn plain(&mut self, bytes: &[u8], bitmap: &mut impl WordsMut) -> Result<u64, WireError> {
        self.check_open(PLAIN)?;
        let words = self.position.plain_words();
        let chunk = <[U64<LittleEndian>]>::ref_from_bytes(bytes).unwrap_or_default();
        if bytes.len() as u64 != words * 8 {
            let expected = Expected::Exactly(words * 8);
            return Err(WireError::new(
                PLAIN,
                "length",
                bytes.len() as u64,
                expected,
            ));
        }
        let mut added: u64 = 0;
        for (index, word) in (self.position.word..).zip(chunk) {
            added = added.saturating_add(bitmap.merge_word(index, word.get()));
        }
        self.position.after_plain(words);
        Ok(added)
    }

    /// Takes a `P_COMPRESSED_BITMAP`. Returns how many bits it set that were clear.
    ///
    /// # Errors
    ///
    /// A code word that is cut off, a run (set or clear) that goes beyond the bitmap, or a packet
    /// after the end of the series. Runs before the error are merged: too many set bits cost a
    /// resync, never data.
    pub fn compressed(
        &mut self,
        chunk: &CompressedBitmap<'_>,
        bitmap: &mut impl WordsMut,
    ) -> Result<u64, WireError> {
        self.check_open(COMPRESSED)?;
        let mut bit = self.position.bit;
        let mut added: u64 = 0;
        for run in chunk.runs() {
            let (set, length) = run?;
            let end = bit
                .checked_add(length)
                .filter(|&end| end <= self.position.bits)
                .ok_or({
                    let left = self.position.bits.saturating_sub(bit);
                    WireError::new(COMPRESSED, "run", length, Expected::AtMost(left))
                })?;
            if set {
                added = added.saturating_add(bitmap.set(bit..end));
            }
            bit = end;
        }
        if bit == self.position.bit {
            let expected = Expected::Text("at least one run");
            return Err(WireError::new(COMPRESSED, "code", 0, expected));
        }
        self.position.after_compressed(bit);
        Ok(added)
    }

    fn check_open(&self, packet: &'static str) -> Result<(), WireError> {
        if self.position.complete {
            let expected = Expected::Text("no packet after the end of the bitmap");
            return Err(WireError::new(
                packet,
                "position",
                self.position.bit,
                expected,
            ));
        }
        Ok(())
    }
}

/// Cuts the own bitmap into packets.
#[derive(Clone, Copy, Debug)]
pub struct BitmapSender {
    position: Position,
    use_run_lengths: bool,
}

impl BitmapSender {
    /// A series that describes `bits` bits; `use_run_lengths` is the option `use-rle`.
    pub const fn new(bits: u64, use_run_lengths: bool) -> Self {
        Self {
            position: Position::start(bits),
            use_run_lengths,
        }
    }

    /// Bits of the whole series.
    pub const fn bits(&self) -> u64 {
        self.position.bits
    }

    /// Bits described so far, for progress.
    pub const fn bits_sent(&self) -> u64 {
        self.position.bit
    }

    /// Writes the next packet, header included, to the front of `out` (4096 bytes are enough) and
    /// returns its length; `None` if the series is complete. Each packet is made from the
    /// bitmap as it is now.
    ///
    /// # Errors
    ///
    /// A buffer that is too small.
    pub fn next_packet(
        &mut self,
        bitmap: &impl Words,
        volume: u16,
        out: &mut [u8],
    ) -> Result<Option<usize>, WireError> {
        if self.position.complete {
            return Ok(None);
        }
        let header_len = HeaderFormat::P100.len();
        let room = out.len() as u64;
        let body_end = header_len + BITMAP_CHUNK_LEN;
        let out = out.get_mut(..body_end).ok_or(no_room(room))?;
        let (header, body) = out.split_at_mut_checked(header_len).ok_or(no_room(room))?;
        let compressed = match self.compress(bitmap, body) {
            Some((len, bit)) => {
                self.position.after_compressed(bit);
                Some(len)
            }
            None => None,
        };
        let (command, len) = match compressed {
            Some(len) => (super::Command::CompressedBitmap, len),
            None => (super::Command::Bitmap, self.plain(bitmap, body)),
        };
        let length = u32::try_from(len).map_err(|_| no_room(room))?;
        super::Header {
            command,
            volume,
            length,
        }
        .encode(HeaderFormat::P100, header)?;
        Ok(Some(header_len + len))
    }

    /// Tries a compressed packet: its length and the bit behind it, or `None` if plain words are
    /// shorter.
    fn compress(&self, bitmap: &impl Words, body: &mut [u8]) -> Option<(usize, u64)> {
        let start = self.position.bit;
        if !self.use_run_lengths || start >= self.position.bits {
            return None;
        }
        let end = start.saturating_add(SCAN_BITS).min(self.position.bits);
        let (encoding, code) = body.split_first_mut()?;
        let first_set = bitmap.is_set(start);
        let mut encoder = RunEncoder::new(code);
        let mut set = first_set;
        let mut bit = start;
        while bit < end {
            let run_end = bitmap.find(bit, end, !set).unwrap_or(end);
            if !encoder.push(run_end - bit) {
                break;
            }
            bit = run_end;
            set = !set;
        }
        let (code_len, pad) = encoder.finish();
        if bit - start < 8 * code_len as u64 {
            return None;
        }
        *encoding = CompressedBitmap::CODE | (pad << 4) | (u8::from(first_set) << 7);
        Some((1 + code_len, bit))
    }

    fn plain(&mut self, bitmap: &impl Words, body: &mut [u8]) -> usize {
        let words = self.position.plain_words();
        let mut len = 0;
        for (index, bytes) in
            (self.position.word..self.position.word + words).zip(body.chunks_exact_mut(8))
        {
            bytes.copy_from_slice(&bitmap.masked_word(index).to_le_bytes());
            len += 8;
        }
        self.position.after_plain(words);
        len
    }
}
