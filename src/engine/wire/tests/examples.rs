// SPDX-License-Identifier: GPL-2.0

//! Appendix B of the specification, both ways.

use std::string::String;
use std::vec::Vec;

use super::super::*;
use super::{decode, encode, hex, AGREED};

fn repeat(byte: &str, count: usize) -> String {
    byte.repeat(count)
}

/// The bytes decode to the packet, and the packet encodes to the bytes.
fn both_ways(bytes: &str, packet: &Packet<'_>) {
    let bytes = hex(bytes);
    let (frame, decoded) = decode(&bytes, HeaderFormat::P100, &AGREED).expect("decodes");
    assert_eq!(decoded, *packet);
    assert_eq!(frame.payload_len, packet.payload_len());
    assert_eq!(
        encode(packet, HeaderFormat::P100, frame.volume),
        bytes,
        "{packet:?}"
    );
}

const ID: BlockId = BlockId([1, 2, 3, 4, 5, 6, 7, 8]);

#[test]
fn first_packets() {
    let cases = [
        ("83 74 02 67 ff f2 00 00", Packet::InitialData),
        ("83 74 02 67 ff f1 00 00", Packet::InitialMeta),
    ];
    for (bytes, packet) in cases {
        let bytes = hex(bytes);
        assert_eq!(encode(&packet, HeaderFormat::P80, 0), bytes);
        let (_, decoded) = decode(&bytes, HeaderFormat::P80, &Agreed::NOTHING).unwrap();
        assert_eq!(decoded, packet);
        // The receiver does not know yet what the socket is for.
        let header = Header::decode(HeaderFormat::P80, &bytes).unwrap();
        header.frame(Socket::Data, &Agreed::NOTHING).unwrap();
        header.frame(Socket::Meta, &Agreed::NOTHING).unwrap();
    }
}

#[test]
fn features_of_the_reference() {
    let text = "83 74 02 67 ff fe 00 48 00 00 00 56 00 00 00 0f 00 00 00 65 00 00 00 00";
    let bytes = hex(&(String::from(text) + &repeat("00", 56)));
    let reference = ConnectionFeatures {
        versions: VersionRange { min: 86, max: 101 },
        features: Features::ALL,
    };
    let packet = Packet::ConnectionFeatures(reference);
    assert_eq!(encode(&packet, HeaderFormat::P80, 0), bytes);
    let (_, decoded) = decode(&bytes, HeaderFormat::P80, &Agreed::NOTHING).unwrap();
    assert_eq!(decoded, packet);
    let agreed = ConnectionFeatures::own(Features::ALL)
        .agree(&reference)
        .unwrap();
    assert_eq!(agreed, AGREED);
    assert_eq!(agreed.header_format(), HeaderFormat::P100);
}

#[test]
fn protocol() {
    let mut protocol = Protocol {
        protocol: ReplicationProtocol::C,
        after_split_brain: [AfterSplitBrain::Disconnect; 3],
        flags: ConnectFlags::NONE,
        two_primaries: false,
        integrity: AlgorithmName::NONE,
    };
    both_ways(
        "86 20 ec 20 00 00 00 0b 00 00 00 19 00 00 00 00 \
         00 00 00 03 00 00 00 00 00 00 00 00 00 00 00 00 \
         00 00 00 00 00 00 00 00 00",
        &Packet::Protocol(protocol),
    );
    protocol.integrity = AlgorithmName::new("crc32c").unwrap();
    both_ways(
        "86 20 ec 20 00 00 00 0b 00 00 00 1f 00 00 00 00 \
         00 00 00 03 00 00 00 00 00 00 00 00 00 00 00 00 \
         00 00 00 00 00 00 00 00 63 72 63 33 32 63 00",
        &Packet::Protocol(protocol),
    );
}

#[test]
fn sync_param_defaults() {
    let text = String::from("86 20 ec 20 00 00 00 23 00 00 00 94 00 00 00 00 00 00 00 fa")
        + &repeat("00", 128)
        + "00 00 00 14 00 00 00 0a 00 00 00 64 00 01 90 00";
    both_ways(&text, &Packet::SyncParam(SyncParam::DEFAULT));
}

#[test]
fn sizes() {
    let limits = QueueLimits {
        physical_block_size: 4096,
        logical_block_size: 512,
        alignment_offset: 0,
        io_min: 4096,
        io_opt: 0,
        discard_enabled: true,
    };
    let sizes = Sizes {
        disk_sectors: 2_097_152,
        user_sectors: 0,
        current_sectors: 2_097_152,
        max_bio_size: 1 << 20,
        flags: ResizeFlags::NONE,
        limits: Some(limits),
    };
    both_ways(
        "86 20 ec 20 00 00 00 0d 00 00 00 38 00 00 00 00 \
         00 00 00 00 00 20 00 00 00 00 00 00 00 00 00 00 \
         00 00 00 00 00 20 00 00 00 10 00 00 00 00 00 00 \
         00 00 10 00 00 00 02 00 00 00 00 00 00 00 10 00 \
         00 00 00 00 01 00 00 00",
        &Packet::Sizes(sizes),
    );
}

#[test]
fn uuids_and_state_of_a_fresh_node() {
    let uuids = Uuids {
        current: UUID_JUST_CREATED,
        bitmap: 0,
        history: [0; 2],
        dirty_bits: 262_144,
        flags: UuidFlags::NONE,
    };
    let text =
        String::from("86 20 ec 20 00 00 00 0c 00 00 00 30 00 00 00 00 00 00 00 00 00 00 00 04")
            + &repeat("00", 24)
            + "00 00 00 00 00 04 00 00 00 00 00 00 00 00 00 00";
    both_ways(&text, &Packet::Uuids(uuids));
    let state = State {
        conn: ConnState::WFConnection,
        disk: DiskState::Inconsistent,
        ..State::INITIAL
    };
    both_ways(
        "86 20 ec 20 00 00 00 0e 00 00 00 04 00 00 00 00 00 00 c8 82",
        &Packet::State(state),
    );
}

#[test]
fn write_and_its_ack() {
    let range = Range {
        sector: 2048,
        bytes: 4096,
    };
    let write = BlockData {
        range,
        block_id: ID,
        seq_num: 1,
        flags: DataFlags::RW_SYNC | DataFlags::SEND_WRITE_ACK,
        digest: &[],
    };
    both_ways(
        "86 20 ec 20 00 00 00 00 00 00 10 18 00 00 00 00 \
         00 00 00 00 00 00 08 00 01 02 03 04 05 06 07 08 \
         00 00 00 01 00 00 01 02",
        &Packet::Data(write),
    );
    let ack = Ack {
        sector: 2048,
        block_id: ID,
        blksize: 4096,
        seq_num: 1,
    };
    both_ways(
        "86 20 ec 20 00 00 00 16 00 00 00 18 00 00 00 00 \
         00 00 00 00 00 00 08 00 01 02 03 04 05 06 07 08 \
         00 00 10 00 00 00 00 01",
        &Packet::WriteAck(ack),
    );
    assert_eq!(ack.range_within(2056), Some(range));
    assert_eq!(ack.range_within(2055), None);
}

#[test]
fn barrier_and_its_ack() {
    // A little-endian reference node writes its number in its own order; the count is big endian.
    let barrier = BarrierNumber([0x2A, 0, 0, 0]);
    both_ways(
        "86 20 ec 20 00 00 00 03 00 00 00 08 00 00 00 00 2a 00 00 00 00 00 00 00",
        &Packet::Barrier(barrier),
    );
    both_ways(
        "86 20 ec 20 00 00 00 1c 00 00 00 08 00 00 00 00 2a 00 00 00 00 00 00 01",
        &Packet::BarrierAck(BarrierAck {
            barrier,
            set_size: 1,
        }),
    );
}

#[test]
fn trim() {
    let trim = RangeWrite {
        range: Range {
            sector: 0,
            bytes: 1 << 20,
        },
        block_id: BlockId([1, 2, 3, 4, 5, 6, 7, 9]),
        seq_num: 2,
        flags: DataFlags::DISCARD | DataFlags::SEND_WRITE_ACK,
    };
    both_ways(
        "86 20 ec 20 00 00 00 31 00 00 00 1c 00 00 00 00 \
         00 00 00 00 00 00 00 00 01 02 03 04 05 06 07 09 \
         00 00 00 02 00 00 01 40 00 10 00 00",
        &Packet::Trim(trim),
    );
}

#[test]
fn resync_request_and_its_ack() {
    let range = Range {
        sector: 0,
        bytes: 1 << 20,
    };
    both_ways(
        "86 20 ec 20 00 00 00 09 00 00 00 18 00 00 00 00 \
         00 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff \
         00 10 00 00 00 00 00 00",
        &Packet::RsDataRequest(BlockRequest::syncer(range)),
    );
    let ack = Ack {
        sector: 0,
        block_id: BlockId::SYNCER,
        blksize: 1 << 20,
        seq_num: 1,
    };
    both_ways(
        "86 20 ec 20 00 00 00 17 00 00 00 18 00 00 00 00 \
         00 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff \
         00 10 00 00 00 00 00 01",
        &Packet::RsWriteAck(ack),
    );
}

#[test]
fn ping_and_state_changes() {
    both_ways(
        "86 20 ec 20 00 00 00 13 00 00 00 00 00 00 00 00",
        &Packet::Ping,
    );
    both_ways(
        "86 20 ec 20 00 00 00 2a 00 00 00 08 00 00 00 00 00 00 01 f0 00 00 00 10",
        &Packet::ConnStateChangeRequest(StateChange::DISCONNECT),
    );
    both_ways(
        "86 20 ec 20 00 00 00 2b 00 00 00 04 00 00 00 00 00 00 00 01",
        &Packet::ConnStateChangeReply(ReturnCode::SUCCESS),
    );
    both_ways(
        "86 20 ec 20 00 00 00 1d 00 00 00 04 00 00 00 00 ff ff ff ff",
        &Packet::StateChangeReply(ReturnCode::TWO_PRIMARIES),
    );
}

#[test]
fn verify_results_are_numbers() {
    for (in_sync, code) in [(true, "12 67"), (false, "12 68")] {
        let result = VerifyResult {
            sector: 8,
            blksize: 4096,
            in_sync,
            seq_num: 3,
        };
        let text =
            String::from("86 20 ec 20 00 05 00 20 00 00 00 18 00 00 00 00 00 00 00 00 00 00 00 08")
                + &repeat("00", 6)
                + code
                + "00 00 10 00 00 00 00 03";
        both_ways(&text, &Packet::OvResult(result));
    }
}

#[test]
fn headers_of_older_versions() {
    let long = Header {
        command: Command::Data,
        volume: 0,
        length: 32769,
    };
    let short = Header {
        length: 32768,
        ..long
    };
    let encoded = |header: &Header, format| {
        let mut out = [0; 16];
        header
            .encode(format, &mut out)
            .map(|len| Vec::from(&out[..len]))
    };
    assert_eq!(
        encoded(&long, HeaderFormat::P95).unwrap(),
        hex("83 5a 00 00 00 00 80 01")
    );
    assert_eq!(
        encoded(&short, HeaderFormat::P95).unwrap(),
        hex("83 74 02 67 00 00 80 00")
    );
    assert_eq!(
        encoded(&long, HeaderFormat::P80).unwrap(),
        hex("83 74 02 67 00 00 80 01")
    );
    assert!(encoded(
        &Header {
            length: 65536,
            ..long
        },
        HeaderFormat::P80
    )
    .is_err());
    assert!(encoded(&Header { volume: 1, ..long }, HeaderFormat::P95).is_err());
    for format in [HeaderFormat::P80, HeaderFormat::P95] {
        let bytes = hex("83 5a 00 00 00 00 80 01");
        assert_eq!(Header::decode(format, &bytes), Ok(long));
        assert!(Header::decode(format, &hex("86 20 ec 20 00 00 00 00")).is_err());
    }
    assert!(Header::decode(HeaderFormat::P100, &[0x83; 16]).is_err());
    let formats = [86, 94, 95, 99, 100, 101].map(HeaderFormat::of_version);
    use HeaderFormat::{P100, P80, P95};
    assert_eq!(formats, [P80, P80, P95, P95, P100, P100]);
}
