// SPDX-License-Identifier: GPL-2.0

//! Bitmap exchange (sections 5.2 and 5.3): the worked examples, every level of the code, and whole
//! series.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::*;
use super::{decode, hex, AGREED};
use crate::bits::{words_of, BitSlice, BitSliceMut, Words, WordsMut};

/// Every level of the code at both ends: run length, code word, bits.
const CODE_WORDS: [(u64, u64, u32); 19] = [
    (1, 0x0, 2),
    (2, 0x2, 2),
    (3, 0x1, 3),
    (4, 0x5, 3),
    (5, 0x3, 5),
    (8, 0x1B, 5),
    (9, 0x7, 7),
    (16, 0x77, 7),
    (17, 0xF, 10),
    (48, 0x3EF, 10),
    (49, 0x1F, 14),
    (304, 0x3FDF, 14),
    (305, 0x3F, 21),
    (8496, 0x1F_FF3F, 21),
    (8497, 0x7F, 29),
    (2_105_648, 0x1FFF_FF7F, 29),
    (2_105_649, 0xBF, 42),
    (17_181_974_832, 0x3FF_FFFF_FFBF, 42),
    (17_181_974_833, 0xFF, 64),
];

const LONGEST_RUN: u64 = 72_057_611_219_902_768;

#[test]
fn code_words_of_the_specification() {
    for (length, word, bits) in CODE_WORDS {
        let mut out = [0xAA; 9];
        let mut encoder = RunEncoder::new(&mut out);
        assert!(encoder.push(length), "{length}");
        let (bytes, pad) = encoder.finish();
        assert_eq!(bytes as u32 * 8 - u32::from(pad), bits, "{length}");
        let mut expected = word.to_le_bytes().to_vec();
        expected.truncate(bytes);
        assert_eq!(out[..bytes], expected, "{length}");
        let decoded: Vec<_> = RunDecoder::new(&out[..bytes], pad, true).collect();
        assert_eq!(decoded, [Ok((true, length))]);
    }
}

#[test]
fn lengths_that_have_no_code_word() {
    let mut out = [0; 16];
    let mut encoder = RunEncoder::new(&mut out);
    assert!(!encoder.push(0));
    assert!(encoder.push(LONGEST_RUN));
    assert!(!encoder.push(LONGEST_RUN + 1));
    assert!(!encoder.push(u64::MAX));
    assert_eq!(encoder.finish(), (8, 0));
}

/// Sends a bitmap as packets; their commands and bodies.
fn send(bitmap: &impl Words, use_run_lengths: bool) -> Vec<(Command, Vec<u8>)> {
    let mut sender = BitmapSender::new(bitmap.bits(), use_run_lengths);
    let mut packets = Vec::new();
    let mut buffer = vec![0xAA; 4096];
    while let Some(len) = sender.next_packet(bitmap, 3, &mut buffer).unwrap() {
        let (frame, _) = decode(&buffer[..len], HeaderFormat::P100, &AGREED).unwrap();
        assert_eq!(frame.volume, 3);
        packets.push((frame.command, buffer[16..len].to_vec()));
    }
    packets
}

/// Receives packets into an empty bitmap.
fn receive(packets: &[(Command, Vec<u8>)], bits: u64) -> Result<(Vec<u64>, bool), WireError> {
    let mut words = vec![0; words_of(bits) as usize];
    let mut bitmap = BitSliceMut::new(&mut words, bits);
    let mut receiver = BitmapReceiver::new(bits);
    for (command, body) in packets {
        match *command {
            Command::Bitmap => receiver.plain(body, &mut bitmap)?,
            _ => {
                let chunk = CompressedBitmap::decode(command.name(), body)?;
                receiver.compressed(&chunk, &mut bitmap)?
            }
        };
    }
    Ok((words, receiver.is_complete()))
}

#[test]
fn worked_examples() {
    let example = |bits: u64, ranges: &[(u64, u64)], expected: &str| {
        let mut words = vec![0; words_of(bits) as usize];
        let mut bitmap = BitSliceMut::new(&mut words, bits);
        for &(first, end) in ranges {
            bitmap.set(first..end);
        }
        let packets = send(&bitmap, true);
        assert_eq!(packets, [(Command::CompressedBitmap, hex(expected))]);
        assert_eq!(receive(&packets, bits), Ok((words, true)));
    };
    example(100, &[(3, 5), (50, 100)], "32 f1 f1 2f 00");
    example(262_144, &[(0, 262_144)], "b2 7f cf de 03");
    example(262_144, &[], "32 7f cf de 03");
    example(262_144, &[(1000, 1008)], "12 3f b7 62 ff 7d 6b 0f");
}

#[test]
fn a_plain_series_has_full_packets_and_an_empty_end() {
    let bits = 64 * 1021 - 7;
    let words = vec![0x5555_5555_5555_5555; 1021];
    let bitmap = BitSlice::new(&words, bits);
    let packets = send(&bitmap, false);
    let lengths: Vec<usize> = packets.iter().map(|(_, body)| body.len()).collect();
    assert_eq!(lengths, [4080, 4080, 8, 0]);
    assert!(packets
        .iter()
        .all(|(command, _)| *command == Command::Bitmap));
    let (received, complete) = receive(&packets, bits).unwrap();
    assert!(complete);
    // 0x55 repeated has no bit in the highest place, so seven bits fewer means three set bits
    // fewer.
    assert_eq!(BitSlice::new(&received, bits).count_all(), 1021 * 32 - 3);
    // Alternating bits are longer as runs: the sender falls back to plain words by itself.
    assert_eq!(send(&bitmap, true), packets);
}

#[test]
fn an_empty_volume_has_an_empty_series() {
    let packets = send(&BitSlice::new(&[], 0), true);
    assert_eq!(packets, [(Command::Bitmap, vec![])]);
    assert_eq!(receive(&packets, 0), Ok((vec![], true)));
}

#[test]
fn plain_packets_of_the_wrong_length() {
    let bits = 64 * 600;
    for body in [0, 8, 4072, 4079, 4088] {
        let packets = [(Command::Bitmap, vec![0; body])];
        assert_eq!(
            receive(&packets, bits).unwrap_err().field,
            "length",
            "{body}"
        );
    }
    let good = [
        (Command::Bitmap, vec![0; 4080]),
        (Command::Bitmap, vec![0; 720]),
    ];
    assert_eq!(
        receive(&good, bits).map(|(_, complete)| complete),
        Ok(false)
    );
    let mut ended = good.to_vec();
    ended.push((Command::Bitmap, vec![]));
    assert_eq!(
        receive(&ended, bits).map(|(_, complete)| complete),
        Ok(true)
    );
    ended.push((Command::Bitmap, vec![]));
    assert_eq!(receive(&ended, bits).unwrap_err().field, "position");
}

#[test]
fn compressed_packets_that_are_wrong() {
    let error = |body: &str, bits| {
        receive(&[(Command::CompressedBitmap, hex(body))], bits).expect_err(body)
    };
    assert_eq!(
        error("b2 7f cf de 03", 262_143).field,
        "run",
        "set run too long"
    );
    assert_eq!(
        error("32 7f cf de 03", 262_143).field,
        "run",
        "clear run too long"
    );
    assert_eq!(error("b2 7f cf de", 262_144).field, "code", "cut off");
    assert_eq!(error("b2 ff ff", 262_144).field, "code", "prefix only");
    for encoding in [0x30, 0x31, 0x33, 0x3A] {
        let body = [encoding, 0x7F, 0xCF, 0xDE, 0x03];
        assert_eq!(
            CompressedBitmap::decode("", &body).unwrap_err().field,
            "encoding"
        );
    }
    assert!(CompressedBitmap::decode("", &[0x32]).is_err());
    assert!(CompressedBitmap::decode("", &[]).is_err());
}

#[test]
fn plain_words_after_runs_repeat_the_bits_of_their_first_word() {
    // 70 set bits as runs, then plain words from word 1 on.
    let mut first = [0; 8];
    let mut encoder = RunEncoder::new(&mut first[1..]);
    assert!(encoder.push(70));
    let (len, pad) = encoder.finish();
    first[0] = 0x82 | (pad << 4);
    let bits = 130;
    let plain: Vec<u8> = [u64::MAX, u64::MAX]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let packets = [
        (Command::CompressedBitmap, first[..=len].to_vec()),
        (Command::Bitmap, plain),
        (Command::Bitmap, vec![]),
    ];
    let (words, complete) = receive(&packets, bits).unwrap();
    assert!(complete);
    assert_eq!(words, [u64::MAX, u64::MAX, 0x3]);
}

#[test]
fn long_bitmaps_are_scanned_in_bounded_steps() {
    struct Uniform(u64, u64);
    impl Words for Uniform {
        fn bits(&self) -> u64 {
            self.0
        }
        fn word(&self, _: u64) -> u64 {
            self.1
        }
    }
    for (word, first_byte) in [(0, 0x32), (u64::MAX, 0xB2)] {
        let bitmap = Uniform((1 << 28) + 500, word);
        let packets = send(&bitmap, true);
        assert_eq!(packets.len(), 5, "one per 2^26 bits");
        assert!(packets
            .iter()
            .all(|(command, _)| *command == Command::CompressedBitmap));
        assert!(packets
            .iter()
            .all(|(_, body)| body[0] & 0x8F == first_byte & 0x8F));
    }
}

/// Bitmaps as runs, so that both codes get their turn.
fn any_bitmap() -> impl Strategy<Value = (Vec<u64>, u64)> {
    let run = prop_oneof![1_u64..4, 1_u64..100, 1_u64..20_000];
    proptest::collection::vec(run, 1..400).prop_map(|runs| {
        let bits: u64 = runs.iter().sum();
        let mut words = vec![0; words_of(bits) as usize];
        let mut bitmap = BitSliceMut::new(&mut words, bits);
        let mut at = 0;
        for (index, run) in runs.iter().enumerate() {
            if index % 2 == 0 {
                bitmap.set(at..at + run);
            }
            at += run;
        }
        (words, bits)
    })
}

proptest! {
    #[test]
    fn a_series_carries_any_bitmap((words, bits) in any_bitmap(), use_run_lengths: bool) {
        let packets = send(&BitSlice::new(&words, bits), use_run_lengths);
        let (received, complete) = receive(&packets, bits).unwrap();
        prop_assert!(complete);
        prop_assert_eq!(received, words);
        // No packet but the last is the end.
        let (_, complete) = receive(&packets[..packets.len() - 1], bits).unwrap();
        prop_assert!(!complete);
    }

    #[test]
    fn random_words_survive(
        words in proptest::collection::vec(any::<u64>(), 1..1200),
        spare in 0_u64..64,
    ) {
        let bits = words.len() as u64 * 64 - spare;
        let packets = send(&BitSlice::new(&words, bits), true);
        let mut expected = words.clone();
        let last = expected.len() - 1;
        expected[last] &= u64::MAX >> spare;
        prop_assert_eq!(receive(&packets, bits), Ok((expected, true)));
    }

    #[test]
    fn run_lengths_round_trip(
        runs in proptest::collection::vec(prop_oneof![1_u64..1000, 1..=LONGEST_RUN], 1..200),
        first_set: bool,
    ) {
        let mut out = vec![0xAA; 1600];
        let mut encoder = RunEncoder::new(&mut out);
        for &run in &runs {
            prop_assert!(encoder.push(run));
        }
        let (len, pad) = encoder.finish();
        let decoded: Vec<_> = RunDecoder::new(&out[..len], pad, first_set).collect();
        let expected: Vec<_> = runs
            .iter()
            .enumerate()
            .map(|(index, &run)| Ok(((index % 2 == 0) == first_set, run)))
            .collect();
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn arbitrary_code_never_panics_and_never_leaves_the_bitmap(
        body in proptest::collection::vec(any::<u8>(), 0..400),
        bits in 0_u64..5000,
        plain_too: bool,
    ) {
        let mut body = body;
        if let Some(encoding) = body.first_mut() {
            *encoding = (*encoding & 0xF0) | 2;
        }
        // One word more than the bitmap has: it must stay as it is.
        let mut words = vec![0; words_of(bits) as usize + 1];
        let mut bitmap = BitSliceMut::new(&mut words, bits);
        let mut receiver = BitmapReceiver::new(bits);
        if plain_too {
            let _ = receiver.plain(&body, &mut bitmap);
        }
        if let Ok(chunk) = CompressedBitmap::decode("", &body) {
            if let Ok(added) = receiver.compressed(&chunk, &mut bitmap) {
                prop_assert_eq!(added, bitmap.count_all());
            }
        }
        let set: u64 = words.iter().map(|word| u64::from(word.count_ones())).sum();
        prop_assert_eq!(set, BitSlice::new(&words, bits).count_all());
    }
}
