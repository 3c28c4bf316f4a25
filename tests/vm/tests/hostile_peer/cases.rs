//! What a peer must not send, and what the log must say of it.

use rdb_engine::wire::{
    Ack, BarrierAck, BarrierNumber, BlockData, BlockId, BlockRequest, DataFlags, HeaderFormat,
    Packet, Range, RangeWrite, State,
};

const LONG: HeaderFormat = HeaderFormat::P100;
/// Sectors that may be named but that no test disk has.
const BEYOND: Range = Range {
    sector: 1 << 40,
    bytes: 4096,
};
const HERE: Range = Range {
    sector: 64,
    bytes: 4096,
};

/// Something that a peer must not do.
pub struct Case {
    /// What the peer does properly before.
    pub stage: &'static str,
    /// Stream that carries it.
    pub on: &'static str,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Regular expression for a line of the log.
    pub reason: &'static str,
}

fn case(
    stage: &'static str,
    on: &'static str,
    bytes: impl Into<Vec<u8>>,
    reason: &'static str,
) -> Case {
    Case {
        stage,
        on,
        bytes: bytes.into(),
        reason,
    }
}

/// A packet for volume 0, with its block data.
fn packet(packet: &Packet<'_>) -> Vec<u8> {
    packet_of(0, packet)
}

fn packet_of(volume: u16, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    let length = packet
        .encode(LONG, volume, &mut bytes)
        .expect("a packet that can be encoded");
    bytes.truncate(length);
    bytes.resize(length + packet.payload_len() as usize, 0xd7);
    bytes
}

/// A header of 16 bytes with whatever in it.
fn header(magic: u32, volume: u16, command: u16, length: u32, pad: u32) -> Vec<u8> {
    let mut bytes = magic.to_be_bytes().to_vec();
    bytes.extend(volume.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(pad.to_be_bytes());
    bytes
}

/// A header of 8 bytes, and a body.
fn short(magic: u32, command: u16, length: u16, body: usize) -> Vec<u8> {
    let mut bytes = magic.to_be_bytes().to_vec();
    bytes.extend(command.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.resize(8 + body, 0);
    bytes
}

const MAGIC: u32 = 0x8620_ec20;
const SHORT_MAGIC: u32 = 0x8374_0267;

/// Bytes that look like nothing, the same in every run.
fn noise(seed: u64) -> Vec<u8> {
    let mut random = seed | 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 32) as u8
    };
    std::iter::repeat_with(&mut next).take(700).collect()
}

fn write_data(range: Range) -> Packet<'static> {
    Packet::Data(BlockData {
        range,
        block_id: BlockId::from_u64(1),
        seq_num: 1,
        flags: DataFlags::from_bits(0),
        digest: &[],
    })
}

/// From the first byte until the volume is connected.
pub fn before_the_handshake_ends() -> Vec<Case> {
    let features = |min: u32, max: u32| {
        let mut bytes = short(SHORT_MAGIC, 0xfffe, 72, 72);
        bytes[8..12].copy_from_slice(&min.to_be_bytes());
        bytes[16..20].copy_from_slice(&max.to_be_bytes());
        bytes
    };
    vec![
        case(
            "called",
            "data",
            short(0x1234_5678, 0xfff2, 0, 0),
            "first packet: header: magic is 0x12345678, expected",
        ),
        case(
            "called",
            "data",
            short(SHORT_MAGIC, 0x1234, 0, 0),
            "first packet: header: command is 0x1234, expected",
        ),
        case(
            "called",
            "data",
            short(SHORT_MAGIC, 0xfffe, 72, 72),
            "first packet is P_CONNECTION_FEATURES, expected P_INITIAL",
        ),
        case(
            "called",
            "data",
            short(SHORT_MAGIC, 0xfff2, 9, 9),
            "first packet: P_INITIAL_DATA: length is 9, expected 0",
        ),
        case("called", "data", noise(1), "first packet: header: magic is"),
        case(
            "streams",
            "data",
            short(0x1234_5678, 0xfffe, 72, 72),
            "handshake: header: magic is 0x12345678, expected",
        ),
        case(
            "streams",
            "data",
            short(SHORT_MAGIC, 0xfffe, 71, 71),
            "handshake: P_CONNECTION_FEATURES: length is 71, expected 72",
        ),
        case(
            "streams",
            "data",
            short(SHORT_MAGIC, 0x0b, 60, 60),
            "handshake: P_PROTOCOL received, expected P_CONNECTION_FEATURES",
        ),
        case(
            "streams",
            "data",
            short(SHORT_MAGIC, 0x00, 536, 536),
            "handshake: unexpected P_DATA",
        ),
        case(
            "streams",
            "data",
            features(101, 86),
            "P_CONNECTION_FEATURES: protocol_max is 86, expected at least protocol_min",
        ),
        case("streams", "data", noise(2), "handshake: header: magic is"),
        case(
            "features",
            "data",
            header(SHORT_MAGIC, 0, 0x0b, 25, 0),
            "data stream: header: magic is 0x83740267, expected 0x8620ec20",
        ),
        case(
            "features",
            "data",
            packet(&Packet::State(State::INITIAL)),
            "P_STATE: .*before P_PROTOCOL",
        ),
        case(
            "features",
            "data",
            header(MAGIC, 0, 0x0b, 89, 0),
            "data stream: P_PROTOCOL: length is 89, expected 25 to 88",
        ),
        case(
            "features",
            "data",
            [header(MAGIC, 0, 0x0b, 25, 0), vec![0xff; 25]].concat(),
            "P_PROTOCOL: protocol is 4294967295, expected 1 to 3",
        ),
        case(
            "features",
            "data",
            noise(3),
            "data stream: header: magic is",
        ),
        case(
            "features",
            "meta",
            noise(4),
            "meta stream: header: magic is",
        ),
        case(
            "features",
            "meta",
            packet(&Packet::BarrierAck(BarrierAck {
                barrier: BarrierNumber([0, 0, 0, 1]),
                set_size: 1,
            })),
            "P_BARRIER_ACK: .*before P_PROTOCOL",
        ),
        case(
            "protocol",
            "data",
            packet(&write_data(HERE)),
            "P_DATA: data before the handshake of the volume is complete",
        ),
        case(
            "protocol",
            "data",
            [header(MAGIC, 0, 0x0d, 56, 0), vec![0xff; 56]].concat(),
            "P_SIZES: d_size is 18446744073709551615, expected at most",
        ),
        case(
            "protocol",
            "data",
            header(MAGIC, 0, 0x0c, 47, 0),
            "P_UUIDS: length is 47, expected 48",
        ),
        case(
            "protocol",
            "data",
            [header(MAGIC, 0, 0x0e, 4, 0), vec![0xff; 4]].concat(),
            "P_STATE: role is 3, expected at most 2",
        ),
        case(
            "protocol",
            "data",
            packet_of(7, &write_data(HERE)),
            "P_DATA: .*volume that is not configured",
        ),
    ]
}

/// From a peer that is connected.
pub fn after_the_handshake() -> Vec<Case> {
    let trim = |range| RangeWrite {
        range,
        block_id: BlockId::from_u64(9),
        seq_num: 1,
        flags: DataFlags::DISCARD,
    };
    let ack = |block_id| Ack {
        sector: 64,
        block_id,
        blksize: 4096,
        seq_num: 1,
    };
    let unaligned = [header(MAGIC, 0, 0x00, 24 + 513, 0), vec![0; 600]].concat();
    let no_size = [header(MAGIC, 0, 0x09, 24, 0), vec![0; 24]].concat();
    vec![
        case(
            "connected",
            "data",
            header(0xdead_beef, 0, 0x00, 4120, 0),
            "data stream: header: magic is 0xdeadbeef, expected 0x8620ec20",
        ),
        case(
            "connected",
            "data",
            header(MAGIC, 0, 0x00, 4120, 7),
            "data stream: header: pad is 7, expected 0",
        ),
        case(
            "connected",
            "data",
            header(MAGIC, 0, 0x0ff0, 0, 0),
            "data stream: header: command is 0xff0, expected a known packet",
        ),
        case(
            "connected",
            "data",
            header(MAGIC, 0, 0x00, u32::MAX, 0),
            "data stream: P_DATA: length is 4294967295, expected 536 to 1048600",
        ),
        case(
            "connected",
            "data",
            header(MAGIC, 0, 0x04, 4081, 0),
            "data stream: P_BITMAP: length is 4081, expected 0 to 4080",
        ),
        case(
            "connected",
            "data",
            header(MAGIC, 0, 0x13, 0, 0),
            "data stream: P_PING: command is 0x13, expected a packet of the data socket",
        ),
        case(
            "connected",
            "data",
            unaligned,
            "data stream: P_DATA: length is 537",
        ),
        case(
            "connected",
            "data",
            no_size,
            "data stream: P_RS_DATA_REQUEST: size is 0, expected a multiple of 512",
        ),
        case(
            "connected",
            "data",
            packet(&write_data(BEYOND)),
            "P_DATA: .*beyond the end of the volume",
        ),
        case(
            "connected",
            "data",
            packet(&Packet::Trim(trim(BEYOND))),
            "P_TRIM: .*beyond the end of the volume",
        ),
        case(
            "connected",
            "data",
            packet(&Packet::RsDataRequest(BlockRequest::syncer(BEYOND))),
            "P_RS_DATA_REQUEST: .*beyond the end",
        ),
        case(
            "connected",
            "data",
            packet_of(7, &write_data(HERE)),
            "P_DATA: .*volume that is not configured",
        ),
        case(
            "connected",
            "data",
            packet(&Packet::DataReply(BlockData {
                range: HERE,
                block_id: BlockId::from_u64(77),
                seq_num: 0,
                flags: DataFlags::from_bits(0),
                digest: &[],
            })),
            "P_DATA_REPLY: .*unknown request",
        ),
        case(
            "connected",
            "data",
            [header(MAGIC, 0, 0xfffe, 72, 0), vec![0; 72]].concat(),
            "P_CONNECTION_FEATURES: .*does not belong here",
        ),
        case(
            "connected",
            "data",
            [header(MAGIC, 0, 0x24, 2, 0), vec![0xff; 2]].concat(),
            "P_COMPRESSED_BITMAP: ",
        ),
        case(
            "connected",
            "data",
            noise(5),
            "data stream: header: magic is",
        ),
        case(
            "connected",
            "meta",
            header(MAGIC, 0, 0x00, 536, 0),
            "meta stream: P_DATA: command is 0x0, expected a packet of the meta socket",
        ),
        case(
            "connected",
            "meta",
            header(MAGIC, 0, 0x0ff0, 0, 0),
            "meta stream: header: command is 0xff0, expected a known packet",
        ),
        case(
            "connected",
            "meta",
            header(MAGIC, 0, 0x16, 25, 0),
            "meta stream: P_WRITE_ACK: length is 25, expected 24",
        ),
        case(
            "connected",
            "meta",
            packet(&Packet::WriteAck(ack(BlockId::from_u64(4711)))),
            "P_WRITE_ACK: .*unknown write",
        ),
        case(
            "connected",
            "meta",
            packet(&Packet::BarrierAck(BarrierAck {
                barrier: BarrierNumber([0, 0, 0, 99]),
                set_size: 3,
            })),
            "P_BARRIER_ACK: .*oldest open epoch",
        ),
        case(
            "connected",
            "meta",
            packet(&Packet::NegDreply(ack(BlockId::from_u64(4712)))),
            "P_NEG_DREPLY: .*unknown request",
        ),
        case(
            "connected",
            "meta",
            noise(6),
            "meta stream: header: magic is",
        ),
    ]
}
