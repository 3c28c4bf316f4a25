//! Reads and writes a block device in sizes and at places that file systems seldom use, and knows what must be there:
//! `rdb-iopattern DEVICE [--operations N] [--seed N] [--longest BYTES]`.
//!
//! Everything goes past the page cache: writes and reads from one logical block to `--longest` bytes, at any logical
//! block, from memory that begins anywhere a device may be asked to read, in one piece or scattered over many; zeroes
//! written and holes punched by the device. After all operations the whole device is read back in odd pieces.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice, IoSliceMut, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    process::ExitCode,
};

use clap::Parser;
use rustix::fs::{FallocateFlags, OFlags};

/// Reads and writes a block device in unusual sizes, and compares.
#[derive(Parser)]
struct Arguments {
    /// Block device; what it holds is lost
    device: String,
    /// Reads, writes and zeroings
    #[arg(long, default_value_t = 400)]
    operations: u32,
    /// Another seed makes other operations
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Longest operation in bytes
    #[arg(long, default_value_t = 4 << 20)]
    longest: u64,
    /// Logical block size in bytes
    #[arg(long, default_value_t = 512)]
    block: u64,
}

/// Room in front of a buffer for beginning it off a page.
const LEAD: usize = 4096;
/// Blocks on devices ask for memory at multiples of this.
const MEMORY: usize = 512;

struct Pattern {
    device: File,
    block: u64,
    longest: u64,
    random: u64,
    /// What the device must hold.
    model: Vec<u8>,
    buffer: Vec<u8>,
    counts: [u32; 4],
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rdb-iopattern: {}: {error}", arguments.device);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<String> {
    let direct = OFlags::DIRECT.bits() as i32;
    let mut device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(direct)
        .open(&arguments.device)?;
    let bytes = device.seek(SeekFrom::End(0))?;
    let longest = arguments.longest.min(bytes);
    let size = usize::try_from(bytes).map_err(io::Error::other)?;
    let room = usize::try_from(longest).map_err(io::Error::other)? + 2 * LEAD;
    let mut pattern = Pattern {
        device,
        block: arguments.block,
        longest,
        random: arguments.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        model: vec![0; size],
        buffer: vec![0; room],
        counts: [0; 4],
    };
    pattern.zero(0, size, FallocateFlags::ZERO_RANGE)?;
    for number in 0..arguments.operations {
        pattern
            .one(number)
            .map_err(|error| io::Error::other(format!("operation {number}: {error}")))?;
    }
    pattern.read_all()?;
    let [writes, reads, zeroes, holes] = pattern.counts;
    Ok(format!(
        "{writes} writes, {reads} reads, {zeroes} zeroings, {holes} holes, {bytes} bytes compared"
    ))
}

impl Pattern {
    /// xorshift: repeatable, and good enough to spread things.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound.max(1)
    }

    fn one(&mut self, number: u32) -> io::Result<()> {
        let blocks = self.model.len() as u64 / self.block;
        let longest = self.longest / self.block;
        // Mostly short, sometimes up to the longest.
        let most = match self.below(4) {
            0 => longest,
            1 => longest.min(1024 * 1024 / self.block + 3),
            _ => longest.min(64),
        };
        let count = 1 + self.below(most);
        let first = self.below(blocks - count + 1);
        let (at, length) = ((first * self.block) as usize, (count * self.block) as usize);
        match self.below(16) {
            0 => self.zero(at, length, FallocateFlags::ZERO_RANGE),
            1 => self.zero(at, length, FallocateFlags::PUNCH_HOLE),
            2..10 => self.write(at, length, number),
            _ => self.compare(at, length),
        }
    }

    /// A part of the buffer of that length which begins at a multiple of [`MEMORY`], seldom at a page.
    fn place(&mut self, length: usize) -> std::ops::Range<usize> {
        let skew = self.below((LEAD / MEMORY) as u64) as usize * MEMORY;
        let begin = self.buffer.as_ptr().align_offset(MEMORY) + skew;
        begin..begin + length
    }

    /// Lengths of the pieces of an operation: one, or up to 200.
    fn pieces(&mut self, length: usize) -> Vec<usize> {
        if self.below(3) > 0 {
            return vec![length];
        }
        let (mut rest, mut pieces) = (length, Vec::new());
        while rest > 0 && pieces.len() < 200 {
            let piece = ((1 + self.below(24) as usize) * MEMORY).min(rest);
            pieces.push(piece);
            rest -= piece;
        }
        if rest > 0 {
            pieces.push(rest);
        }
        pieces
    }

    fn write(&mut self, at: usize, length: usize, number: u32) -> io::Result<()> {
        self.counts[0] += 1;
        for (index, word) in self.model[at..at + length].chunks_exact_mut(8).enumerate() {
            let value = (u64::from(number) << 40) ^ ((at + index * 8) as u64);
            word.copy_from_slice(&value.to_le_bytes());
        }
        let (place, pieces) = (self.place(length), self.pieces(length));
        let data = &mut self.buffer[place];
        data.copy_from_slice(&self.model[at..at + length]);
        let mut rest = &*data;
        let mut slices = Vec::new();
        for piece in pieces {
            let (head, tail) = rest.split_at(piece);
            slices.push(IoSlice::new(head));
            rest = tail;
        }
        let done = rustix::io::pwritev(&self.device, &slices, at as u64)?;
        if done != length {
            return Err(io::Error::other(format!(
                "wrote {done} of {length} bytes at {at}"
            )));
        }
        Ok(())
    }

    fn zero(&mut self, at: usize, length: usize, how: FallocateFlags) -> io::Result<()> {
        let how = how | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.device, how, at as u64, length as u64) {
            // A device may be unable to punch holes that read as zeroes; zeroing always works.
            Err(rustix::io::Errno::OPNOTSUPP) if how.contains(FallocateFlags::PUNCH_HOLE) => {
                return Ok(());
            }
            result => result?,
        }
        self.counts[if how.contains(FallocateFlags::PUNCH_HOLE) {
            3
        } else {
            2
        }] += 1;
        self.model[at..at + length].fill(0);
        Ok(())
    }

    fn compare(&mut self, at: usize, length: usize) -> io::Result<()> {
        self.counts[1] += 1;
        let (place, pieces) = (self.place(length), self.pieces(length));
        let data = &mut self.buffer[place.clone()];
        data.fill(0xa5);
        let mut rest = data;
        let mut slices = Vec::new();
        for piece in pieces {
            let (head, tail) = rest.split_at_mut(piece);
            slices.push(IoSliceMut::new(head));
            rest = tail;
        }
        let done = rustix::io::preadv(&self.device, &mut slices, at as u64)?;
        if done != length {
            return Err(io::Error::other(format!(
                "read {done} of {length} bytes at {at}"
            )));
        }
        let (found, wanted) = (&self.buffer[place], &self.model[at..at + length]);
        match found
            .iter()
            .zip(wanted)
            .position(|(found, wanted)| found != wanted)
        {
            None => Ok(()),
            Some(byte) => Err(io::Error::other(format!(
                "read of {length} bytes at {at}: byte {} is {:#x}, {:#x} was written",
                at + byte,
                found[byte],
                wanted[byte]
            ))),
        }
    }

    fn read_all(&mut self) -> io::Result<()> {
        let step = (self.longest / self.block).clamp(1, 777) * self.block;
        let mut at = 0;
        while at < self.model.len() {
            let length = (step as usize).min(self.model.len() - at);
            self.compare(at, length)?;
            at += length;
        }
        Ok(())
    }
}
