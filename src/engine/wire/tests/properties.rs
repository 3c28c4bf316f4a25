// SPDX-License-Identifier: GPL-2.0

//! What holds for every packet: it survives encoding and decoding, and no bytes make the decoder
//! panic or accept more than the limits allow.

use std::vec;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::{decode, encode, socket_of, AGREED};

fn any_range(most: u32) -> impl Strategy<Value = Range> {
    (
        0..MAX_CAPACITY_SECTORS - u64::from(most / 512),
        1..=most / 512,
    )
        .prop_map(|(sector, sectors)| Range {
            sector,
            bytes: sectors * 512,
        })
}

fn any_id() -> impl Strategy<Value = BlockId> {
    any::<[u8; 8]>().prop_map(BlockId)
}

fn any_name() -> impl Strategy<Value = AlgorithmName> {
    "[!-~]{0,63}".prop_map(|name| AlgorithmName::new(&name).unwrap())
}

fn any_flags(without: u32) -> impl Strategy<Value = DataFlags> {
    any::<u32>().prop_map(move |bits| DataFlags::from_bits(bits & !without))
}

fn any_ack() -> impl Strategy<Value = Ack> {
    (any::<u64>(), any_id(), any::<u32>(), any::<u32>()).prop_map(
        |(sector, block_id, blksize, seq_num)| Ack {
            sector,
            block_id,
            blksize,
            seq_num,
        },
    )
}

fn any_state() -> impl Strategy<Value = State> {
    let states = (select(Role::ALL), select(Role::ALL), select(ConnState::ALL));
    let disks = (select(DiskState::ALL), select(DiskState::ALL));
    (states, disks, any::<[bool; 6]>()).prop_map(|((role, peer, conn), (disk, pdsk), flags)| {
        State {
            role,
            peer,
            conn,
            disk,
            pdsk,
            susp: flags[0],
            aftr_isp: flags[1],
            peer_isp: flags[2],
            user_isp: flags[3],
            susp_nod: flags[4],
            susp_fen: flags[5],
        }
    })
}

fn any_change() -> impl Strategy<Value = StateChange> {
    use ConnState::{
        Connected, Disconnecting, StartingSyncS, StartingSyncT, VerifyS, WFReportParams,
    };
    let conns = vec![
        Connected,
        Disconnecting,
        StartingSyncS,
        StartingSyncT,
        VerifyS,
        WFReportParams,
    ];
    let role = || proptest::option::of(select(Role::ALL));
    let disk = || proptest::option::of(select(DiskState::ALL));
    (
        role(),
        role(),
        proptest::option::of(select(conns)),
        disk(),
        disk(),
    )
        .prop_map(|(role, peer, conn, disk, pdsk)| StateChange {
            role,
            peer,
            conn,
            disk,
            pdsk,
        })
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    let policy = || select(AfterSplitBrain::ALL);
    let policies = (policy(), policy(), policy());
    (
        select(ReplicationProtocol::ALL),
        policies,
        any::<u32>(),
        any::<bool>(),
        any_name(),
    )
        .prop_map(
            |(protocol, (zero, one, two), flags, two_primaries, integrity)| Protocol {
                protocol,
                after_split_brain: [zero, one, two],
                flags: ConnectFlags::from_bits(flags),
                two_primaries,
                integrity,
            },
        )
}

fn any_sizes() -> impl Strategy<Value = Sizes> {
    let sectors = || 0..=MAX_CAPACITY_SECTORS;
    let limits = (any::<[u32; 4]>(), any::<i32>(), any::<bool>());
    (
        (sectors(), sectors(), sectors()),
        4096_u32..,
        any::<u16>(),
        limits,
    )
        .prop_map(
            |((disk, user, current), max_bio_size, flags, (words, alignment_offset, discard))| {
                Sizes {
                    disk_sectors: disk,
                    user_sectors: user,
                    current_sectors: current,
                    max_bio_size,
                    flags: ResizeFlags::from_bits(flags),
                    limits: Some(QueueLimits {
                        physical_block_size: words[0],
                        logical_block_size: words[1],
                        alignment_offset,
                        io_min: words[2],
                        io_opt: words[3],
                        discard_enabled: discard,
                    }),
                }
            },
        )
}

fn any_sync_param() -> impl Strategy<Value = SyncParam> {
    (any::<[u32; 5]>(), any_name(), any_name()).prop_map(|(words, verify, checksum)| SyncParam {
        resync_rate: words[0],
        verify,
        checksum,
        plan_ahead: words[1],
        delay_target: words[2],
        fill_target: words[3],
        max_rate: words[4],
    })
}

/// A packet without bytes of its own to borrow; those with digests follow in tests of their own.
fn any_packet() -> impl Strategy<Value = Packet<'static>> {
    let request = |syncer: bool| {
        (any_range(MAX_REQUEST_BYTES), any_id()).prop_map(move |(range, id)| BlockRequest {
            range,
            block_id: if syncer { BlockId::SYNCER } else { id },
        })
    };
    let block_data = || {
        (
            any_range(MAX_REQUEST_BYTES),
            any_id(),
            any::<u32>(),
            any_flags(0x640),
        )
            .prop_map(|(range, block_id, seq_num, flags)| BlockData {
                range,
                block_id,
                seq_num,
                flags,
                digest: &[],
            })
    };
    let range_write = |needed: DataFlags| {
        (
            any_range(MAX_TRIM_BYTES),
            any_id(),
            any::<u32>(),
            any_flags(0),
        )
            .prop_map(move |(range, block_id, seq_num, flags)| RangeWrite {
                range,
                block_id,
                seq_num,
                flags: flags | needed,
            })
    };
    let uuids = (any::<[u64; 6]>()).prop_map(|words| Uuids {
        current: words[0],
        bitmap: words[1],
        history: [words[2], words[3]],
        dirty_bits: words[4],
        flags: UuidFlags::from_bits(words[5]),
    });
    let barrier = || any::<[u8; 4]>().prop_map(BarrierNumber);
    let block_packets = prop_oneof![
        block_data().prop_map(Packet::Data),
        block_data().prop_map(Packet::DataReply),
        block_data().prop_map(Packet::RsDataReply),
        request(false).prop_map(Packet::DataRequest),
        request(true).prop_map(Packet::RsDataRequest),
        request(true).prop_map(Packet::RsThinRequest),
        request(true).prop_map(Packet::OvRequest),
        any_range(MAX_TRIM_BYTES).prop_map(Packet::OutOfSync),
        any_range(MAX_TRIM_BYTES).prop_map(Packet::RsDeallocated),
        range_write(DataFlags::DISCARD).prop_map(Packet::Trim),
        range_write(DataFlags::ZEROES).prop_map(Packet::Zeroes),
    ];
    let meta_packets = prop_oneof![
        any_ack().prop_map(Packet::RecvAck),
        any_ack().prop_map(Packet::WriteAck),
        any_ack().prop_map(Packet::RsWriteAck),
        any_ack().prop_map(Packet::Superseded),
        any_ack().prop_map(Packet::NegAck),
        any_ack().prop_map(Packet::NegDreply),
        any_ack().prop_map(Packet::NegRsDreply),
        any_ack().prop_map(Packet::RsIsInSync),
        any_ack().prop_map(Packet::RsCancel),
        any_ack().prop_map(Packet::RetryWrite),
        (any_ack(), any::<bool>()).prop_map(|(ack, in_sync)| Packet::OvResult(VerifyResult {
            sector: ack.sector,
            blksize: ack.blksize,
            in_sync,
            seq_num: ack.seq_num,
        })),
        (barrier(), any::<u32>())
            .prop_map(|(barrier, set_size)| Packet::BarrierAck(BarrierAck { barrier, set_size })),
        any::<i32>().prop_map(|code| Packet::StateChangeReply(ReturnCode(code))),
        any::<i32>().prop_map(|code| Packet::ConnStateChangeReply(ReturnCode(code))),
        Just(Packet::Ping),
        Just(Packet::PingAck),
    ];
    let other_packets = prop_oneof![
        barrier().prop_map(Packet::Barrier),
        any_protocol().prop_map(Packet::Protocol),
        any_protocol().prop_map(Packet::ProtocolUpdate),
        uuids.prop_map(Packet::Uuids),
        any_sizes().prop_map(Packet::Sizes),
        any_state().prop_map(Packet::State),
        any_sync_param().prop_map(Packet::SyncParam),
        any::<u64>().prop_map(Packet::SyncUuid),
        any_change().prop_map(Packet::StateChangeRequest),
        any_change().prop_map(Packet::ConnStateChangeRequest),
        Just(Packet::UnplugRemote),
    ];
    prop_oneof![block_packets, meta_packets, other_packets]
}

/// Agreed terms of every kind.
fn any_agreed() -> impl Strategy<Value = Agreed> {
    (any::<u32>(), any::<[u8; 4]>()).prop_map(|(features, lens)| {
        let [auth, integrity, verify, checksum] = lens.map(|len| len % 65);
        Agreed {
            version: 101,
            features: Features::from_bits(features),
            auth_digest_len: auth,
            integrity_digest_len: integrity,
            verify_digest_len: verify,
            checksum_digest_len: checksum,
        }
    })
}

proptest! {
    #[test]
    fn packets_round_trip(packet in any_packet(), volume in 0..=MAX_VOLUME) {
        let bytes = encode(&packet, HeaderFormat::P100, volume);
        let (frame, decoded) = decode(&bytes, HeaderFormat::P100, &AGREED).unwrap();
        prop_assert_eq!(decoded, packet);
        let expected = match packet.command().scope() {
            Scope::Volume => volume,
            Scope::Connection => 0,
        };
        prop_assert_eq!(frame.volume, expected);
        prop_assert_eq!(frame.payload_len, packet.payload_len());
        prop_assert_eq!(frame.body_len + 16, bytes.len());
        // The same with the headers of older versions, which know no volume.
        let bytes = encode(&packet, HeaderFormat::P95, 0);
        prop_assert_eq!(decode(&bytes, HeaderFormat::P95, &AGREED).unwrap().1, packet);
    }

    #[test]
    fn digests_round_trip(
        range in any_range(MAX_REQUEST_BYTES),
        id in any_id(),
        digest in proptest::collection::vec(any::<u8>(), 1..=MAX_DIGEST_LEN),
    ) {
        let len = digest.len() as u8;
        let agreed = Agreed {
            auth_digest_len: len,
            integrity_digest_len: len,
            verify_digest_len: len,
            checksum_digest_len: len,
            ..AGREED
        };
        let request = DigestRequest { request: BlockRequest::syncer(range), digest: &digest };
        let challenge = [7; CHALLENGE_LEN];
        let packets = [
            Packet::Data(BlockData { digest: &digest, ..BlockData::reply(range, id, &[]) }),
            Packet::DataReply(BlockData::reply(range, id, &digest)),
            Packet::RsDataReply(BlockData::reply(range, BlockId::SYNCER, &digest)),
            Packet::OvReply(request),
            Packet::CsumRsRequest(request),
            Packet::AuthResponse(&digest),
            Packet::AuthChallenge(&challenge),
        ];
        for packet in packets {
            let bytes = encode(&packet, HeaderFormat::P100, 1);
            prop_assert_eq!(decode(&bytes, HeaderFormat::P100, &agreed).unwrap().1, packet);
        }
    }

    #[test]
    fn arbitrary_headers_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..20),
        magic in select(vec![[0x83, 0x74, 2, 0x67], [0x83, 0x5A, 0, 0], [0x86, 0x20, 0xEC, 0x20]]),
        keep_magic: bool,
    ) {
        let mut bytes = bytes;
        if keep_magic && bytes.len() >= 4 {
            bytes[..4].copy_from_slice(&magic);
        }
        for format in [HeaderFormat::P80, HeaderFormat::P95, HeaderFormat::P100] {
            if let Ok(header) = Header::decode(format, &bytes) {
                let _ = header.frame(Socket::Data, &AGREED);
                let _ = header.frame(Socket::Meta, &Agreed::NOTHING);
            }
        }
    }

    #[test]
    fn nothing_oversize_is_accepted(
        command in select(Command::ALL),
        length in prop_oneof![0_u32..5000, 1_048_000_u32..1_049_000, any::<u32>()],
        agreed in any_agreed(),
    ) {
        let header = Header { command, volume: 0, length };
        if let Ok(frame) = header.frame(socket_of(command), &agreed) {
            prop_assert!(frame.body_len <= MAX_BODY_LEN);
            prop_assert!(frame.payload_len <= MAX_REQUEST_BYTES);
            prop_assert_eq!(frame.payload_len % SECTOR_SIZE, 0);
            let total = frame.body_len as u64 + u64::from(frame.payload_len);
            prop_assert_eq!(total, u64::from(length));
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic_and_what_decodes_encodes(
        command in select(Command::ALL),
        seed in proptest::collection::vec(any::<u8>(), 0..160),
        fill in select(vec![0_u8, 1, 0x20, 0xFF]),
        payload in 1_u32..=2048,
        agreed in any_agreed(),
    ) {
        // Every length that the packet may have, up to some; block data get a payload too.
        for length in (0..=152_u32).chain([4080]) {
            let payload = match command {
                Command::Data | Command::DataReply | Command::RsDataReply => payload * 512,
                _ => 0,
            };
            let header = Header { command, volume: 0, length: length + payload };
            let Ok(frame) = header.frame(socket_of(command), &agreed) else { continue };
            let mut body = seed.clone();
            body.resize(frame.body_len, fill);
            let Ok(packet) = frame.decode(&body, &agreed) else { continue };
            let _ = packet.check_capacity(1 << 20);
            check_in_range(&packet)?;
            if command == Command::DelayProbe {
                continue;
            }
            let again = encode(&packet, HeaderFormat::P100, 0);
            let (_, decoded) = decode(&again, HeaderFormat::P100, &agreed).unwrap();
            prop_assert_eq!(decoded, packet);
        }
    }

    #[test]
    fn a_body_of_another_length_is_refused(command in select(Command::ALL), len in 0_usize..200) {
        let socket = socket_of(command);
        let frame = |length| Header { command, volume: 0, length }.frame(socket, &AGREED);
        for frame in (0..=600).filter_map(|length| frame(length).ok()) {
            if frame.body_len != len {
                prop_assert!(frame.decode(&vec![0; len], &AGREED).is_err());
            }
        }
    }

    #[test]
    fn state_words_round_trip(state in any_state(), word: u32) {
        prop_assert_eq!(State::from_word(state.to_word()), Ok(state));
        if let Ok(state) = State::from_word(word) {
            prop_assert_eq!(state.to_word(), word & 0x7F_FFFF);
        }
    }

    #[test]
    fn state_changes_round_trip(change in any_change(), mask: u32, val: u32) {
        let (own_mask, own_val) = change.to_words();
        prop_assert_eq!(StateChange::from_words(own_mask, own_val), Ok(change));
        if let Ok(change) = StateChange::from_words(mask, val & mask) {
            prop_assert_eq!(change.to_words(), (mask, val & mask));
        }
    }
}

/// Ranges that come out of a decoder are what their type promises.
fn check_in_range(packet: &Packet<'_>) -> Result<(), TestCaseError> {
    let (range, most) = match packet {
        Packet::Data(data) | Packet::DataReply(data) | Packet::RsDataReply(data) => {
            (data.range, MAX_REQUEST_BYTES)
        }
        Packet::Trim(write) | Packet::Zeroes(write) => (write.range, MAX_TRIM_BYTES),
        Packet::DataRequest(request)
        | Packet::RsDataRequest(request)
        | Packet::RsThinRequest(request)
        | Packet::OvRequest(request) => (request.range, MAX_REQUEST_BYTES),
        Packet::OvReply(reply) | Packet::CsumRsRequest(reply) => {
            (reply.request.range, MAX_REQUEST_BYTES)
        }
        Packet::OutOfSync(range) | Packet::RsDeallocated(range) => (*range, MAX_TRIM_BYTES),
        _ => return Ok(()),
    };
    prop_assert!(range.bytes > 0 && range.bytes % SECTOR_SIZE == 0 && range.bytes <= most);
    prop_assert!(range.end() <= MAX_CAPACITY_SECTORS);
    Ok(())
}
