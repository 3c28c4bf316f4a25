//! A peer that does not keep to the protocol: `rdb-hostile OWN PEER --sectors N [--stage STAGE] [--on data|meta] [--bytes HEX]
//! [--close-after N]`.
//!
//! It calls the other node as rdb does, and talks as a node with an empty disk of N sectors would, up to a stage. Then it
//! sends the given bytes on one of the two streams and waits until the other node has hung up on both. With
//! `--close-after` it sends that many bytes of a flawless conversation on the data stream and hangs up itself.
//!
//! At stage `connected` it prints `standing` and waits for a line on standard input before it goes on.

use std::{
    io::{self, BufRead, Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use rdb_engine::wire::{
    AfterSplitBrain, AlgorithmName, Command, ConnState, ConnectFlags, ConnectionFeatures,
    DiskState, Features, Header, HeaderFormat, Packet, Protocol, QueueLimits, ReplicationProtocol,
    ResizeFlags, Sizes, State, SyncParam, UUID_JUST_CREATED, UuidFlags, Uuids,
};

/// How long the other node may take to listen, or to hang up.
const LIMIT: Duration = Duration::from_secs(120);

/// A peer that does not keep to the protocol.
#[derive(Parser)]
struct Arguments {
    /// Address of the node under test
    peer: SocketAddr,
    /// Sectors of the disk that it pretends to have
    #[arg(long)]
    sectors: u64,
    /// What to do properly before the bytes are sent
    #[arg(long, value_enum, default_value_t = Stage::Called)]
    stage: Stage,
    /// Stream that carries the bytes
    #[arg(long, value_enum, default_value_t = On::Data)]
    on: On,
    /// What to send
    #[arg(long, default_value = "", value_parser = parse_hex)]
    bytes: Hex,
    /// Hang up after so many bytes of a flawless conversation
    #[arg(long)]
    close_after: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Stage {
    /// A TCP connection
    Called,
    /// Both streams stand, no packet was exchanged
    Streams,
    /// Version and features agreed
    Features,
    /// Parameters of the connection told
    Protocol,
    /// The volume is connected
    Connected,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    Data,
    Meta,
}

#[derive(Clone)]
struct Hex(Vec<u8>);

fn parse_hex(text: &str) -> Result<Hex, String> {
    ensure_even(text)?;
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2).unwrap_or("?"), 16);
    (0..text.len())
        .step_by(2)
        .map(digit)
        .collect::<Result<_, _>>()
        .map(Hex)
        .map_err(|error| error.to_string())
}

fn ensure_even(text: &str) -> Result<(), String> {
    if text.len() % 2 == 0 {
        Ok(())
    } else {
        Err("an odd number of digits".into())
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(what) => {
            println!("{what}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rdb-hostile: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<&'static str> {
    if let Some(count) = arguments.close_after {
        return close_after(arguments, count);
    }
    if arguments.stage == Stage::Called {
        let mut stream = dial(arguments.peer)?;
        stream.write_all(&arguments.bytes.0)?;
        until_closed(&mut stream)?;
        return Ok("dropped");
    }
    let (data, meta) = streams(arguments.peer)?;
    let said: Vec<u8> = conversation(arguments.sectors)?
        .into_iter()
        .filter(|(stage, _)| *stage <= arguments.stage)
        .flat_map(|(_, bytes)| bytes)
        .collect();
    (&data).write_all(&said)?;
    let meta = Arc::new(Mutex::new(meta));
    let pings = thread::spawn({
        let meta = Arc::clone(&meta);
        move || answer_pings(&meta)
    });
    let reading = thread::spawn({
        let mut data = data.try_clone()?;
        move || until_closed(&mut data)
    });
    if arguments.stage == Stage::Connected {
        println!("standing");
        io::stdin().lock().read_line(&mut String::new())?;
    }
    // The other node may hang up while it still receives: that is what is asked of it.
    let _ = match arguments.on {
        On::Data => (&data).write_all(&arguments.bytes.0),
        On::Meta => lock(&meta).write_all(&arguments.bytes.0),
    };
    for thread in [reading, pings] {
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("a thread died"))??;
    }
    Ok("dropped")
}

fn close_after(arguments: &Arguments, count: usize) -> Result<&'static str> {
    let mut all = first_packet(&Packet::InitialData)?;
    let begin = all.len();
    all.extend(
        conversation(arguments.sectors)?
            .into_iter()
            .flat_map(|(_, bytes)| bytes),
    );
    let bytes = all
        .get(..count)
        .with_context(|| format!("the conversation has {} bytes", all.len()))?;
    if count <= begin {
        dial(arguments.peer)?.write_all(bytes)?;
    } else {
        let (data, _meta) = streams(arguments.peer)?;
        (&data).write_all(&bytes[begin..])?;
    }
    Ok(if count == all.len() {
        "all sent"
    } else {
        "closed"
    })
}

/// What a node says on the data stream, after its first packet, until the volume is connected.
fn conversation(sectors: u64) -> Result<Vec<(Stage, Vec<u8>)>> {
    let features = Features::TRIM
        .union(Features::WSAME)
        .union(Features::WZEROES);
    let policies = [AfterSplitBrain::Disconnect; 3];
    let protocol = Protocol {
        protocol: ReplicationProtocol::C,
        after_split_brain: policies,
        flags: ConnectFlags::from_bits(0),
        two_primaries: false,
        integrity: AlgorithmName::NONE,
    };
    let limits = QueueLimits {
        physical_block_size: 512,
        logical_block_size: 512,
        alignment_offset: 0,
        io_min: 512,
        io_opt: 0,
        discard_enabled: false,
    };
    let sizes = Sizes {
        disk_sectors: sectors,
        user_sectors: 0,
        current_sectors: sectors,
        max_bio_size: 1 << 20,
        flags: ResizeFlags::from_bits(0),
        limits: Some(limits),
    };
    let uuids = Uuids {
        current: UUID_JUST_CREATED,
        bitmap: 0,
        history: [0; 2],
        dirty_bits: sectors / 8,
        flags: UuidFlags::from_bits(0),
    };
    let state = State {
        conn: ConnState::WFReportParams,
        disk: DiskState::Inconsistent,
        ..State::INITIAL
    };
    let short = HeaderFormat::P80;
    let long = HeaderFormat::P100;
    Ok(vec![
        (
            Stage::Features,
            encoded(
                &Packet::ConnectionFeatures(ConnectionFeatures::own(features)),
                short,
            )?,
        ),
        (Stage::Protocol, encoded(&Packet::Protocol(protocol), long)?),
        (
            Stage::Connected,
            encoded(&Packet::SyncParam(SyncParam::DEFAULT), long)?,
        ),
        (Stage::Connected, encoded(&Packet::Sizes(sizes), long)?),
        (Stage::Connected, encoded(&Packet::Uuids(uuids), long)?),
        (Stage::Connected, encoded(&Packet::State(state), long)?),
    ])
}

fn encoded(packet: &Packet<'_>, format: HeaderFormat) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 512];
    let length = packet
        .encode(format, 0, &mut bytes)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    bytes.truncate(length);
    Ok(bytes)
}

fn first_packet(packet: &Packet<'_>) -> Result<Vec<u8>> {
    encoded(packet, HeaderFormat::P80)
}

/// Calls until the other node listens.
fn dial(peer: SocketAddr) -> Result<TcpStream> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match TcpStream::connect(peer) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(LIMIT))?;
                return Ok(stream);
            }
            Err(error) if Instant::now() > deadline => bail!("{peer}: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Both streams, once the other node has said its first word on the data stream: then it has taken both.
fn streams(peer: SocketAddr) -> Result<(TcpStream, TcpStream)> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut data = dial(peer)?;
        data.write_all(&first_packet(&Packet::InitialData)?)?;
        let mut meta = dial(peer)?;
        meta.write_all(&first_packet(&Packet::InitialMeta)?)?;
        let mut features = [0; 80];
        // It may have a socket of an earlier call still, and not take this one.
        match data.read_exact(&mut features) {
            Ok(()) => {
                let header = Header::decode(HeaderFormat::P80, &features)
                    .map_err(|error| anyhow::anyhow!("{error}"))?;
                ensure!(
                    header.command == Command::ConnectionFeatures,
                    "{} came first",
                    header.command.name()
                );
                return Ok((data, meta));
            }
            Err(error) if Instant::now() > deadline => {
                bail!("the other node takes no streams: {error}")
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Reads and drops what comes until the other node hangs up.
fn until_closed(stream: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => bail!("the other node did not hang up: {error}"),
        }
    }
}

/// Keeps the other node from giving up for another reason than the one that is being tested.
fn answer_pings(meta: &Mutex<TcpStream>) -> Result<()> {
    let mut reader = lock(meta).try_clone()?;
    let answer = encoded(&Packet::PingAck, HeaderFormat::P100)?;
    let mut bytes = [0; 16];
    loop {
        match reader.read_exact(&mut bytes) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Ok(());
            }
            Err(error) => bail!("the other node did not hang up: {error}"),
            Ok(()) => {
                let header = Header::decode(HeaderFormat::P100, &bytes);
                let header = header.map_err(|error| anyhow::anyhow!("{error}"))?;
                let mut body = vec![0; header.length as usize];
                if header.length > 0 && reader.read_exact(&mut body).is_err() {
                    return Ok(());
                }
                if header.command == Command::Ping {
                    let _ = lock(meta).write_all(&answer);
                }
            }
        }
    }
}

fn lock(meta: &Mutex<TcpStream>) -> std::sync::MutexGuard<'_, TcpStream> {
    meta.lock().unwrap_or_else(PoisonError::into_inner)
}
