//! Stamped blocks: what the writer puts on a device, and how a reader tells a right block from a stale, a torn
//! and a misplaced one.

use std::collections::HashMap;

/// Size of a stamped block in bytes.
pub const BLOCK: usize = 4096;

/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// More than the threads of a writer: so many writes may have been begun after the last acknowledged one.
const IN_FLIGHT: u64 = 64;

const MAGIC: u64 = 0x7264_622d_7374_616d;
const WORDS: usize = BLOCK / 8;

/// Which write a block is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Run of the writer; later runs have larger numbers.
    pub generation: u64,
    /// Number of the write within the run.
    pub sequence: u64,
}

/// What is found in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing was ever written there.
    Empty,
    /// A whole block of that write.
    Whole(Stamp),
    /// Neither: torn, misplaced or foreign.
    Damaged,
}

/// Fills `block` for its place.
pub fn stamp(block: &mut [u8], place: u64, stamp: Stamp) {
    for (index, word) in block.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&word_of(index as u64, place, stamp).to_le_bytes());
    }
}

/// The first three words name the write, and every later one depends on all of them, so that no mixture of two
/// blocks passes for one.
fn word_of(index: u64, place: u64, stamp: Stamp) -> u64 {
    match index {
        0 => MAGIC ^ place,
        1 => stamp.generation,
        2 => stamp.sequence,
        _ => {
            let mixed = place
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(stamp.generation.wrapping_mul(0xc2b2_ae3d_27d4_eb4f))
                .wrapping_add(stamp.sequence.wrapping_mul(0x1656_67b1_9e37_79f9))
                .wrapping_add(index);
            (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        }
    }
}

/// Looks at the block at `place`.
pub fn look(block: &[u8], place: u64) -> Found {
    let words: Vec<u64> = block
        .chunks_exact(8)
        .map(|word| {
            word.iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte))
        })
        .collect();
    if words.iter().all(|word| *word == 0) {
        return Found::Empty;
    }
    let [magic, generation, sequence, ..] = words[..] else {
        return Found::Damaged;
    };
    let stamp = Stamp {
        generation,
        sequence,
    };
    let right = magic == MAGIC ^ place
        && words.len() == WORDS
        && (3..WORDS).all(|index| words[index] == word_of(index as u64, place, stamp));
    if right {
        Found::Whole(stamp)
    } else {
        Found::Damaged
    }
}

/// The outside record: for each block the last write that was acknowledged.
#[derive(Debug, Default)]
pub struct Record {
    last: HashMap<u64, Stamp>,
    /// The highest acknowledged sequence of each generation.
    highest: HashMap<u64, u64>,
    /// The power may have gone in the middle of a write.
    may_tear: bool,
    /// Acknowledged writes of the present generation.
    pub acknowledged: u64,
}

impl Record {
    /// Takes in a line `A GENERATION PLACE COUNT SEQUENCE` of the writer; other lines are passed over.
    pub fn take_line(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("A ") else {
            return;
        };
        let numbers: Vec<u64> = rest
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        let [generation, place, count, sequence] = numbers[..] else {
            return;
        };
        for place in place..place + count {
            self.last.insert(
                place,
                Stamp {
                    generation,
                    sequence,
                },
            );
        }
        let highest = self.highest.entry(generation).or_default();
        *highest = sequence.max(*highest);
        self.acknowledged += 1;
    }

    /// From now on a block may be torn, each sector being of the acknowledged write or of a later one: a disk that loses its power
    /// while it is given a write may keep any sectors of it.
    pub fn allow_torn(&mut self) {
        self.may_tear = true;
    }

    /// Whether each sector of the block is of the write that was acknowledged last, or of one that was begun after it and not
    /// acknowledged, as no such write to the same place was.
    fn is_torn(&self, block: &[u8], place: u64, wanted: Stamp) -> bool {
        let later = self.highest.iter().flat_map(|(&generation, &highest)| {
            (1..=highest + IN_FLIGHT).map(move |sequence| Stamp {
                generation,
                sequence,
            })
        });
        let whole = |found: Stamp| {
            let mut block = vec![0; BLOCK];
            stamp(&mut block, place, found);
            block
        };
        let candidates: Vec<_> = later.filter(|later| *later >= wanted).map(whole).collect();
        block.len() == BLOCK
            && block.chunks(SECTOR).enumerate().all(|(index, sector)| {
                let begin = index * SECTOR;
                candidates
                    .iter()
                    .any(|whole| &whole[begin..begin + SECTOR] == sector)
            })
    }

    /// Blocks that an acknowledged write went to.
    pub fn places(&self) -> impl Iterator<Item = u64> + '_ {
        self.last.keys().copied()
    }

    /// Compares with what a device holds (`data` begins at block 0): every acknowledged write, or a later one
    /// that was not acknowledged any more, must be there. Blocks checked.
    ///
    /// # Errors
    ///
    /// The blocks that are wrong.
    pub fn check(
        &self,
        mut block_at: impl FnMut(u64) -> anyhow::Result<Vec<u8>>,
    ) -> anyhow::Result<usize> {
        let mut wrong = Vec::new();
        for (place, wanted) in &self.last {
            let block = block_at(*place)?;
            match look(&block, *place) {
                Found::Whole(found) if found >= *wanted => {}
                Found::Damaged if self.may_tear && self.is_torn(&block, *place, *wanted) => {}
                found => wrong.push(format!(
                    "block {place}: acknowledged {wanted:?}, found {found:?}"
                )),
            }
        }
        anyhow::ensure!(
            wrong.is_empty(),
            "{} of {} blocks lost an acknowledged write:\n{}",
            wrong.len(),
            self.last.len(),
            wrong
                .iter()
                .take(10)
                .cloned()
                .collect::<Vec<_>>()
                .join("\n")
        );
        Ok(self.last.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(place: u64, generation: u64, sequence: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        stamp(
            &mut block,
            place,
            Stamp {
                generation,
                sequence,
            },
        );
        block
    }

    #[test]
    fn right_stale_torn_and_misplaced_are_told_apart() {
        let good = block(9, 1, 5);
        assert_eq!(
            look(&good, 9),
            Found::Whole(Stamp {
                generation: 1,
                sequence: 5
            })
        );
        assert_eq!(look(&good, 10), Found::Damaged);
        assert_eq!(look(&[0; BLOCK], 9), Found::Empty);
        let mut torn = good.clone();
        torn[BLOCK - 512..].copy_from_slice(&block(9, 1, 6)[BLOCK - 512..]);
        assert_eq!(look(&torn, 9), Found::Damaged);
    }

    #[test]
    fn a_lost_write_is_found() {
        let mut record = Record::default();
        record.take_line("A 1 9 2 5");
        record.take_line("noise");
        let disk = |sequence| move |place| Ok(block(place, 1, sequence));
        assert_eq!(record.check(disk(5)).unwrap(), 2);
        assert_eq!(record.check(disk(6)).unwrap(), 2);
        assert!(
            record
                .check(disk(4))
                .unwrap_err()
                .to_string()
                .contains("2 of 2")
        );
        assert!(record.check(|_| Ok(vec![0; BLOCK])).is_err());
    }

    #[test]
    fn a_torn_block_is_of_the_acknowledged_write_and_later_ones() {
        let mut record = Record::default();
        record.take_line("A 1 9 1 5");
        let torn = |with: u64| {
            let mut torn = block(9, 1, 5);
            torn[512..1024].copy_from_slice(&block(9, 1, with)[512..1024]);
            torn
        };
        assert!(record.check(|_| Ok(torn(6))).is_err(), "no power was lost");
        record.allow_torn();
        assert_eq!(record.check(|_| Ok(torn(6))).unwrap(), 1);
        assert!(record.check(|_| Ok(torn(4))).is_err(), "a stale sector");
        let mut foreign = torn(6);
        foreign[4000] ^= 1;
        assert!(record.check(|_| Ok(foreign.clone())).is_err());
        assert!(record.check(|_| Ok(vec![0; BLOCK])).is_err());
    }
}
