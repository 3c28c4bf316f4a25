//! Writes stamped blocks past the page cache and says which writes were acknowledged:
//! `rdb-iowriter DEVICE GENERATION [--threads N] [--writes N]`.
//!
//! Each acknowledged write is a line `A GENERATION PLACE COUNT SEQUENCE` on standard output, printed after the
//! write returned and before the thread's next write begins. Places and counts are in blocks of 4096 bytes. Each
//! thread has a part of the device to itself, so that the last acknowledged write of a block is well defined.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use clap::Parser;
use rdb_testbed::stamp::{self, BLOCK, Stamp};

/// Writes stamped blocks and reports each acknowledged write.
#[derive(Parser)]
struct Arguments {
    /// Block device
    device: String,
    /// Number of this run
    generation: u64,
    /// Writes under way at once
    #[arg(long, default_value_t = 4)]
    threads: u64,
    /// Stop after this many writes; 0 goes on for ever
    #[arg(long, default_value_t = 0)]
    writes: u64,
    /// Longest write in blocks
    #[arg(long, default_value_t = 16)]
    longest: u64,
    /// Write only to the first so many MiB; 0 is the whole device
    #[arg(long, default_value_t = 0)]
    area: u64,
    /// Acknowledge only what is durable
    #[arg(long)]
    sync: bool,
}

fn main() -> ExitCode {
    let arguments = Arc::new(Arguments::parse());
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rdb-iowriter: {}: {error}", arguments.device);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arc<Arguments>) -> io::Result<()> {
    let mut flags = rustix::fs::OFlags::DIRECT;
    flags.set(rustix::fs::OFlags::DSYNC, arguments.sync);
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let mut device = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(&arguments.device)?;
    let whole = device.seek(SeekFrom::End(0))?;
    let used = match arguments.area {
        0 => whole,
        area => whole.min(area << 20),
    };
    let blocks = used / BLOCK as u64;
    let device = Arc::new(device);
    let sequence = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..arguments.threads)
        .map(|number| {
            let (arguments, device, sequence) = (
                Arc::clone(arguments),
                Arc::clone(&device),
                Arc::clone(&sequence),
            );
            thread::spawn(move || write_part(&arguments, number, &device, blocks, &sequence))
        })
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| io::Error::other("a writing thread died"))??;
    }
    Ok(())
}

fn write_part(
    arguments: &Arguments,
    number: u64,
    device: &File,
    blocks: u64,
    sequence: &AtomicU64,
) -> io::Result<()> {
    let part = blocks / arguments.threads;
    let longest = arguments.longest.clamp(1, part.max(1));
    let mut buffer = vec![0; (longest as usize + 1) * BLOCK];
    let aligned = buffer.as_ptr().align_offset(BLOCK);
    let mut random = arguments.generation.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number << 32) | 1;
    loop {
        let sequence = sequence.fetch_add(1, Ordering::Relaxed) + 1;
        if arguments.writes > 0 && sequence > arguments.writes {
            return Ok(());
        }
        // xorshift: repeatable, and good enough to spread the writes.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let count = 1 + (random >> 40) % longest;
        let place = number * part + random % (part - count + 1);
        let data = &mut buffer[aligned..aligned + count as usize * BLOCK];
        for (block, place) in data.chunks_exact_mut(BLOCK).zip(place..) {
            stamp::stamp(
                block,
                place,
                Stamp {
                    generation: arguments.generation,
                    sequence,
                },
            );
        }
        device.write_all_at(data, place * BLOCK as u64)?;
        let line = format!("A {} {place} {count} {sequence}\n", arguments.generation);
        io::stdout().lock().write_all(line.as_bytes())?;
    }
}
