// SPDX-License-Identifier: GPL-2.0

//! What must be refused (sections 2.6, 10.2 and 10.3), and the words it is refused with.

use std::string::ToString;
use std::vec;
use std::vec::Vec;

use super::super::*;
use super::{decode, encode, socket_of, AGREED};

/// Agreed terms with digests of every kind.
const WITH_DIGESTS: Agreed = Agreed {
    auth_digest_len: 20,
    integrity_digest_len: 4,
    verify_digest_len: 16,
    checksum_digest_len: 32,
    ..AGREED
};

fn frame(command: Command, length: u32, agreed: &Agreed) -> Result<Frame, WireError> {
    Header {
        command,
        volume: 0,
        length,
    }
    .frame(socket_of(command), agreed)
}

/// Every length from 0 to 200 and around the limits that `command` accepts.
fn accepted(command: Command, agreed: &Agreed) -> Vec<u32> {
    let around = [
        4000,
        4080,
        4081,
        4088,
        4096,
        1 << 20,
        (1 << 20) + 24,
        u32::MAX,
    ];
    (0..=200)
        .chain(around)
        .filter(|&length| frame(command, length, agreed).is_ok())
        .collect()
}

#[test]
fn lengths_of_fixed_packets() {
    let fixed = [
        (Command::Barrier, 8),
        (Command::UnplugRemote, 0),
        (Command::DataRequest, 24),
        (Command::Uuids, 48),
        (Command::Sizes, 56),
        (Command::State, 4),
        (Command::SyncUuid, 8),
        (Command::StateChangeRequest, 8),
        (Command::Ping, 0),
        (Command::WriteAck, 24),
        (Command::BarrierAck, 8),
        (Command::StateChangeReply, 4),
        (Command::SyncParam, 148),
        (Command::DelayProbe, 8),
        (Command::OutOfSync, 16),
        (Command::Trim, 28),
        (Command::Zeroes, 28),
        (Command::RsDeallocated, 16),
        (Command::ConnectionFeatures, 72),
        (Command::InitialData, 0),
    ];
    for (command, length) in fixed {
        assert_eq!(accepted(command, &AGREED), [length], "{}", command.name());
        let frame = frame(command, length, &AGREED).unwrap();
        assert_eq!((frame.body_len, frame.payload_len), (length as usize, 0));
    }
    let without_limits = Agreed {
        features: Features::TRIM,
        ..AGREED
    };
    assert_eq!(accepted(Command::Sizes, &without_limits), [32]);
}

#[test]
fn lengths_of_variable_packets() {
    assert_eq!(
        accepted(Command::Protocol, &AGREED),
        (25..=88).collect::<Vec<_>>()
    );
    assert_eq!(
        accepted(Command::AuthChallenge, &AGREED),
        (64..=128).collect::<Vec<_>>()
    );
    assert_eq!(accepted(Command::AuthResponse, &WITH_DIGESTS), [20]);
    assert_eq!(accepted(Command::AuthResponse, &AGREED), []);
    assert_eq!(accepted(Command::OvReply, &WITH_DIGESTS), [40]);
    assert_eq!(accepted(Command::OvReply, &AGREED), []);
    assert_eq!(accepted(Command::CsumRsRequest, &WITH_DIGESTS), [56]);
    assert_eq!(
        accepted(Command::CsumRsRequest, &AGREED),
        (25..=88).collect::<Vec<_>>()
    );
    let bitmap = (0..=200).chain([4000, 4080]);
    assert_eq!(
        accepted(Command::Bitmap, &AGREED),
        bitmap.collect::<Vec<_>>()
    );
    let compressed = (2..=200).chain([4000, 4080]);
    assert_eq!(
        accepted(Command::CompressedBitmap, &AGREED),
        compressed.collect::<Vec<_>>()
    );
}

#[test]
fn lengths_of_packets_with_block_data() {
    for command in [Command::Data, Command::DataReply, Command::RsDataReply] {
        for (agreed, body) in [(AGREED, 24), (WITH_DIGESTS, 28)] {
            let parts = |payload: u32| {
                frame(command, body + payload, &agreed)
                    .map(|frame| (frame.body_len as u32, frame.payload_len))
                    .ok()
            };
            for payload in [512, 4096, 4608, MAX_REQUEST_BYTES] {
                assert_eq!(parts(payload), Some((body, payload)));
            }
            for payload in [
                0,
                1,
                511,
                513,
                MAX_REQUEST_BYTES + 1,
                MAX_REQUEST_BYTES + 512,
            ] {
                assert_eq!(parts(payload), None, "{payload}");
            }
            assert!(frame(command, body - 1, &agreed).is_err());
            assert!(frame(command, u32::MAX, &agreed).is_err());
        }
    }
}

#[test]
fn packets_of_the_other_socket() {
    for &command in Command::ALL {
        let mut lengths = (0..=200).filter(|&length| frame(command, length, &WITH_DIGESTS).is_ok());
        let length = lengths.next_back().unwrap_or(24 + 4 + 512);
        let header = Header {
            command,
            volume: 0,
            length,
        };
        for socket in [Socket::Data, Socket::Meta] {
            let result = header.frame(socket, &WITH_DIGESTS);
            assert_eq!(
                result.is_ok(),
                command.travels_on(socket),
                "{}",
                command.name()
            );
        }
    }
}

#[test]
fn commands_without_a_packet() {
    let known: Vec<u16> = Command::ALL
        .iter()
        .map(|command| command.to_wire())
        .collect();
    assert_eq!(known.len(), 48);
    for code in 0..=u16::MAX {
        assert_eq!(
            Command::from_wire(code).is_ok(),
            known.contains(&code),
            "{code:#x}"
        );
    }
    for code in [
        0x05, 0x06, 0x0A, 0x25, 0x26, 0x2E, 0x34, 0x35, 0x37, 0x40, 0x100, 0x101, 0xFFFF,
    ] {
        assert!(Command::from_wire(code).is_err(), "{code:#x}");
    }
}

#[test]
fn header_fields() {
    let good = encode(&Packet::UnplugRemote, HeaderFormat::P100, 7);
    let spoilt = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        decode(&bytes, HeaderFormat::P100, &AGREED).err()
    };
    assert_eq!(Header::decode(HeaderFormat::P100, &good).unwrap().volume, 7);
    assert_eq!(spoilt(0, 0).unwrap().field, "magic");
    for at in 12..16 {
        assert_eq!(spoilt(at, 0x80).unwrap().field, "pad");
    }
    assert_eq!(spoilt(7, 0x34).unwrap().field, "command");
    assert_eq!(spoilt(11, 1).unwrap().field, "length");
    let last = encode(&Packet::UnplugRemote, HeaderFormat::P100, u16::MAX);
    assert_eq!(
        decode(&last, HeaderFormat::P100, &AGREED)
            .unwrap_err()
            .field,
        "volume"
    );
    // The volume field of a packet of the connection is ignored.
    let ping = encode(&Packet::Ping, HeaderFormat::P100, 9);
    assert_eq!(Header::decode(HeaderFormat::P100, &ping).unwrap().volume, 0);
    for len in 0..16 {
        assert!(Header::decode(HeaderFormat::P100, &good[..len]).is_err());
    }
}

fn refused(packet: &Packet<'_>, at: usize, bytes: &[u8]) -> WireError {
    let mut encoded = encode(packet, HeaderFormat::P100, 0);
    encoded[16 + at..16 + at + bytes.len()].copy_from_slice(bytes);
    decode(&encoded, HeaderFormat::P100, &AGREED).expect_err("refused")
}

const RANGE: Range = Range {
    sector: 8,
    bytes: 4096,
};

#[test]
fn ranges() {
    let request = Packet::DataRequest(BlockRequest {
        range: RANGE,
        block_id: BlockId::from_u64(1),
    });
    for size in [0, 511, 4097, MAX_REQUEST_BYTES + 512, u32::MAX] {
        assert_eq!(
            refused(&request, 16, &size.to_be_bytes()).field,
            "size",
            "{size}"
        );
    }
    for sector in [MAX_CAPACITY_SECTORS - 7, u64::MAX, u64::MAX - 6] {
        assert_eq!(
            refused(&request, 0, &sector.to_be_bytes()).field,
            "sector",
            "{sector}"
        );
    }
    let trim = Packet::Trim(RangeWrite {
        range: RANGE,
        block_id: BlockId::from_u64(1),
        seq_num: 1,
        flags: DataFlags::DISCARD,
    });
    assert_eq!(
        refused(&trim, 24, &(MAX_TRIM_BYTES + 512).to_be_bytes()).field,
        "size"
    );
    assert_eq!(refused(&trim, 20, &[0; 4]).field, "dp_flags");
    assert!(request.check_capacity(16).is_ok());
    assert_eq!(
        request.check_capacity(15).unwrap_err().packet,
        "P_DATA_REQUEST"
    );
}

#[test]
fn flags_of_a_write() {
    let write = Packet::Data(BlockData::reply(RANGE, BlockId::from_u64(1), &[]));
    for flag in [0x40_u32, 0x200, 0x400] {
        assert_eq!(refused(&write, 20, &flag.to_be_bytes()).field, "dp_flags");
    }
    let mut bytes = encode(&write, HeaderFormat::P100, 0);
    bytes[36..40].copy_from_slice(&0xFFFF_F93F_u32.to_be_bytes());
    let (_, Packet::Data(decoded)) = decode(&bytes, HeaderFormat::P100, &AGREED).unwrap() else {
        panic!("not a write");
    };
    assert_eq!(
        decoded.flags.bits(),
        0x136,
        "unknown and obsolete bits are dropped"
    );
}

#[test]
fn packets_of_features_that_are_not_agreed() {
    let cases = [
        (Command::Trim, Features::TRIM, 28),
        (Command::Zeroes, Features::WZEROES, 28),
        (Command::RsThinRequest, Features::THIN_RESYNC, 24),
        (Command::RsDeallocated, Features::THIN_RESYNC, 16),
    ];
    for (command, feature, length) in cases {
        let without = Agreed {
            features: Features::ALL.without(feature),
            ..AGREED
        };
        let body = vec![0; length as usize];
        let error = frame(command, length, &without)
            .unwrap()
            .decode(&body, &without)
            .unwrap_err();
        assert_eq!(error.field, "command", "{}", command.name());
        let error = frame(command, length, &AGREED)
            .unwrap()
            .decode(&body, &AGREED)
            .unwrap_err();
        assert_ne!(error.field, "command", "{}", command.name());
    }
}

#[test]
fn configuration_fields() {
    let protocol = Packet::Protocol(Protocol {
        protocol: ReplicationProtocol::C,
        after_split_brain: [AfterSplitBrain::DiscardLocal; 3],
        flags: ConnectFlags::NONE,
        two_primaries: true,
        integrity: AlgorithmName::new("sha1").unwrap(),
    });
    let word = |value: u32| value.to_be_bytes();
    assert_eq!(refused(&protocol, 0, &word(0)).field, "protocol");
    assert_eq!(refused(&protocol, 0, &word(4)).field, "protocol");
    assert_eq!(refused(&protocol, 4, &word(11)).field, "after_sb_0p");
    assert_eq!(refused(&protocol, 12, &word(11)).field, "after_sb_2p");
    assert_eq!(refused(&protocol, 20, &word(2)).field, "two_primaries");
    assert_eq!(refused(&protocol, 28, b"x").field, "integrity_alg");
    assert_eq!(refused(&protocol, 24, b" ").field, "integrity_alg");
    let sizes = Packet::Sizes(Sizes {
        disk_sectors: 8,
        user_sectors: 0,
        current_sectors: 0,
        max_bio_size: 4096,
        flags: ResizeFlags::NONE,
        limits: Some(QueueLimits {
            physical_block_size: 512,
            logical_block_size: 512,
            alignment_offset: -1,
            io_min: 512,
            io_opt: 0,
            discard_enabled: false,
        }),
    });
    for (at, name) in [(0, "d_size"), (8, "u_size"), (16, "c_size")] {
        assert_eq!(
            refused(&sizes, at, &(MAX_CAPACITY_SECTORS + 1).to_be_bytes()).field,
            name
        );
    }
    let mut small = encode(&sizes, HeaderFormat::P100, 0);
    small[16 + 24..16 + 28].fill(0);
    assert_eq!(
        decode(&small, HeaderFormat::P100, &AGREED).unwrap().1,
        sizes
    );
    assert!(AlgorithmName::new(&"a".repeat(63)).is_ok());
    assert!(AlgorithmName::new(&"a".repeat(64)).is_err());
    assert_eq!(
        AfterSplitBrain::DiscardLocal.mirrored(),
        AfterSplitBrain::DiscardRemote
    );
    assert_eq!(
        AfterSplitBrain::Consensus.mirrored(),
        AfterSplitBrain::Consensus
    );
}

#[test]
fn the_last_byte_of_a_name_field_counts_as_its_end() {
    let mut bytes = encode(
        &Packet::SyncParam(SyncParam::DEFAULT),
        HeaderFormat::P100,
        0,
    );
    bytes[16 + 4..16 + 4 + 64].fill(b'v');
    let (_, Packet::SyncParam(param)) = decode(&bytes, HeaderFormat::P100, &AGREED).unwrap() else {
        panic!("not sync parameters");
    };
    assert_eq!(param.verify.as_str(), "v".repeat(63));
}

#[test]
fn feature_exchange() {
    let own = ConnectionFeatures::own(Features::ALL);
    let peer = |min, max| ConnectionFeatures {
        versions: VersionRange { min, max },
        features: Features::TRIM,
    };
    assert_eq!(
        own.agree(&peer(86, 101)).map(|agreed| agreed.version),
        Ok(101)
    );
    assert_eq!(
        own.agree(&peer(86, 100)).map(|agreed| agreed.version),
        Ok(100)
    );
    assert_eq!(
        own.agree(&peer(101, 118)).map(|agreed| agreed.version),
        Ok(101)
    );
    assert_eq!(
        own.agree(&peer(86, 101)).map(|agreed| agreed.features),
        Ok(Features::TRIM)
    );
    assert_eq!(own.agree(&peer(86, 99)).unwrap_err().field, "protocol_max");
    assert_eq!(
        own.agree(&peer(102, 118)).unwrap_err().field,
        "protocol_min"
    );
    let decode_range = |min: u32, max: u32| {
        let mut bytes = encode(
            &Packet::ConnectionFeatures(peer(86, 101)),
            HeaderFormat::P80,
            0,
        );
        bytes[8..12].copy_from_slice(&min.to_be_bytes());
        bytes[16..20].copy_from_slice(&max.to_be_bytes());
        match decode(&bytes, HeaderFormat::P80, &Agreed::NOTHING) {
            Ok((_, Packet::ConnectionFeatures(features))) => Ok(features.versions),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        }
    };
    assert_eq!(
        decode_range(101, 0),
        Ok(VersionRange { min: 101, max: 101 })
    );
    assert_eq!(decode_range(101, 100).unwrap_err().field, "protocol_max");
}

#[test]
fn buffers_that_are_too_small() {
    let packet = Packet::SyncParam(SyncParam::DEFAULT);
    for len in 0..164 {
        assert!(
            packet
                .encode(HeaderFormat::P100, 0, &mut vec![0; len])
                .is_err(),
            "{len}"
        );
    }
    assert_eq!(packet.encode(HeaderFormat::P100, 0, &mut [0; 164]), Ok(164));
    assert!(Packet::DelayProbe
        .encode(HeaderFormat::P100, 0, &mut [0; 64])
        .is_err());
    let long = [0; MAX_DIGEST_LEN + 1];
    let reply = Packet::OvReply(DigestRequest {
        request: BlockRequest::syncer(RANGE),
        digest: &long,
    });
    assert!(reply.encode(HeaderFormat::P100, 0, &mut [0; 256]).is_err());
    let empty = Packet::Data(BlockData::reply(
        Range { bytes: 0, ..RANGE },
        BlockId::SYNCER,
        &[],
    ));
    assert!(empty.encode(HeaderFormat::P100, 0, &mut [0; 256]).is_err());
}

#[test]
fn errors_name_packet_field_value_and_expectation() {
    let cases = [
        (
            frame(Command::Uuids, 47, &AGREED).unwrap_err(),
            "P_UUIDS: length is 47, expected 48",
        ),
        (
            Header::decode(HeaderFormat::P100, &[0; 16]).unwrap_err(),
            "header: magic is 0x0, expected 0x8620ec20",
        ),
        (
            Command::from_wire(0x34).unwrap_err(),
            "header: command is 0x34, expected a known packet",
        ),
        (
            refused(
                &Packet::DataRequest(BlockRequest::syncer(RANGE)),
                16,
                &[0, 0, 0, 1],
            ),
            "P_DATA_REQUEST: size is 1, expected a multiple of 512 from 512 to 1048576",
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}
