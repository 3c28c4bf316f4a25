// SPDX-License-Identifier: GPL-2.0

//! Bit ranges against a bitmap that is one boolean a bit.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

#[test]
fn ranges_of_sectors() {
    // Section 4.5: touched blocks are set, covered blocks are cleared, the last block may be a
    // part.
    assert_eq!(out_of_sync_bits(0, 1, 100), 0..1);
    assert_eq!(out_of_sync_bits(7, 2, 100), 0..2);
    assert_eq!(out_of_sync_bits(8, 8, 100), 1..2);
    assert_eq!(out_of_sync_bits(96, 8, 100), 12..13);
    assert_eq!(out_of_sync_bits(100, 8, 100), 0..0);
    assert_eq!(out_of_sync_bits(u64::MAX, u64::MAX, 100), 0..0);
    assert_eq!(in_sync_bits(0, 8, 100), 0..1);
    assert_eq!(in_sync_bits(0, 7, 100).count(), 0);
    assert_eq!(in_sync_bits(1, 15, 100), 1..2);
    assert_eq!(in_sync_bits(96, 4, 100), 12..13);
    assert_eq!(in_sync_bits(97, 3, 100).count(), 0);
    assert_eq!(in_sync_bits(96, 3, 100).count(), 0);
    assert_eq!(in_sync_bits(0, u64::MAX, 100), 0..13);
}

#[test]
fn sizes() {
    assert_eq!((bits_of(0), bits_of(1), bits_of(262_064)), (0, 1, 32758));
    assert_eq!((words_of(0), words_of(64), words_of(65)), (0, 1, 2));
    assert_eq!((pages_of(0), pages_of(32768), pages_of(32769)), (0, 1, 2));
    // A multiple of 64 bits keeps its last word: the reference loses it (appendix B, row 1).
    let words = [u64::MAX; 512];
    assert_eq!(BitSlice::new(&words, 32768).count_all(), 32768);
}

#[test]
fn a_view_is_never_larger_than_its_memory() {
    assert_eq!(BitSlice::new(&[0; 2], u64::MAX).bits(), 128);
    assert_eq!(DiskBits::new(&[0xFF; 23], u64::MAX).count_all(), 128);
    assert_eq!(DiskBitsMut::new(&mut [0xFF; 7], 8).count_all(), 0);
    assert_eq!(BitSlice::new(&[], 5).find(0, 5, false), None);
}

#[test]
fn merging_leaves_the_padding_alone() {
    let mut words = [0_u64; 2];
    let mut bitmap = BitSliceMut::new(&mut words, 70);
    assert_eq!(bitmap.merge_word(1, u64::MAX), 6);
    assert_eq!(bitmap.merge_word(1, u64::MAX), 0);
    assert_eq!(bitmap.merge_word(2, u64::MAX), 0);
    assert_eq!(words, [0, 0x3F]);
}

/// What the driver's bytes look like (metadata, section 4.1).
#[test]
fn byte_order_on_disk() {
    let mut bytes = [0; 16];
    let mut bitmap = DiskBitsMut::new(&mut bytes, 128);
    assert_eq!(bitmap.set(0..1) + bitmap.set(127..128), 2);
    assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
}

#[derive(Clone, Debug)]
enum Step {
    Set(u64, u64),
    Clear(u64, u64),
    Merge(u64, u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let place = || prop_oneof![0_u64..300, any::<u64>()];
    prop_oneof![
        (place(), place()).prop_map(|(first, end)| Step::Set(first, end)),
        (place(), place()).prop_map(|(first, end)| Step::Clear(first, end)),
        (0_u64..6, any::<u64>()).prop_map(|(index, word)| Step::Merge(index, word)),
    ]
}

proptest! {
    #[test]
    fn operations_follow_the_model(
        bits in 0_u64..260,
        steps in proptest::collection::vec(any_step(), 0..20),
        from in 0_u64..300,
        end in 0_u64..300,
    ) {
        let mut model = vec![false; bits as usize];
        let mut words = [0_u64; 5];
        let mut bytes = [0_u8; 40];
        let mut bitmap = BitSliceMut::new(&mut words, bits);
        let mut on_disk = DiskBitsMut::new(&mut bytes, bits);
        for step in steps {
            let (expected, changed, changed_on_disk) = match step {
                Step::Set(first, end) => {
                    let expected = change(&mut model, first, end, true);
                    (expected, bitmap.set(first..end), on_disk.set(first..end))
                }
                Step::Clear(first, end) => {
                    let expected = change(&mut model, first, end, false);
                    (expected, bitmap.clear(first..end), on_disk.clear(first..end))
                }
                Step::Merge(index, word) => {
                    let expected = (0..64)
                        .filter(|bit| word & (1 << bit) != 0)
                        .map(|bit| change(&mut model, index * 64 + bit, index * 64 + bit + 1, true))
                        .sum();
                    (expected, bitmap.merge_word(index, word), on_disk.merge_word(index, word))
                }
            };
            prop_assert_eq!(changed, expected);
            prop_assert_eq!(changed_on_disk, expected);
        }
        let set: Vec<u64> = (0..bits).filter(|&bit| model[bit as usize]).collect();
        prop_assert_eq!(bitmap.count_all(), set.len() as u64);
        let is_set: Vec<u64> = (0..300).filter(|&bit| bitmap.is_set(bit)).collect();
        prop_assert_eq!(&is_set, &set);
        let in_range = |bit: &&u64| **bit >= from && **bit < end;
        prop_assert_eq!(bitmap.count(from..end), set.iter().filter(in_range).count() as u64);
        prop_assert_eq!(bitmap.find(from, end, true), set.iter().find(in_range).copied());
        let clear = (from..end.min(bits)).find(|&bit| !model[bit as usize]);
        prop_assert_eq!(bitmap.find(from, end, false), clear);
        for index in 0..5 {
            prop_assert_eq!(on_disk.word(index), bitmap.word(index));
        }
    }

    #[test]
    fn sector_ranges_stay_within_the_volume(sector: u64, sectors: u64, capacity in 0_u64..1 << 51) {
        let set = out_of_sync_bits(sector, sectors, capacity);
        let clear = in_sync_bits(sector, sectors, capacity);
        prop_assert!(set.end <= bits_of(capacity));
        prop_assert!(clear.is_empty() || (set.start <= clear.start && clear.end <= set.end));
    }
}

fn change(model: &mut [bool], first: u64, end: u64, value: bool) -> u64 {
    let mut changed = 0;
    for bit in first..end.min(model.len() as u64) {
        changed += u64::from(model[bit as usize] != value);
        model[bit as usize] = value;
    }
    changed
}
