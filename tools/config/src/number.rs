// SPDX-License-Identifier: GPL-2.0

//! Numbers with unit letters (configuration.md, section 2).

use rdb_engine::options::Unit;

/// Why a text is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// Not digits with at most one letter.
    NotANumber,
    /// The letter behind the digits is none of k, m, g, s.
    UnknownUnit(char),
    /// It does not fit into 64 bits.
    TooLarge,
}

impl std::fmt::Display for NumberError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotANumber => {
                f.write_str("not a valid number: digits and at most one of k, M, G, s are expected")
            }
            Self::UnknownUnit(letter) => {
                write!(
                    f,
                    "'{letter}' is not a valid unit: k, M, G or s (sectors) is expected"
                )
            }
            Self::TooLarge => f.write_str("the number is too large"),
        }
    }
}

impl std::error::Error for NumberError {}

/// Reads a number and converts it to `unit`, rounding up.
///
/// A bare number counts units. With a letter it is a count of bytes (or bytes per second), or, for units that are not made of
/// bytes, the letter multiplies.
pub fn parse(text: &str, unit: Unit) -> Result<u64, NumberError> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, letter) = text.split_at(digits);
    let mut letters = letter.chars();
    let letter = match (number.is_empty(), letters.next(), letters.next()) {
        (true, _, _) | (_, _, Some(_)) => return Err(NumberError::NotANumber),
        (false, letter, None) => letter,
    };
    let number: u64 = number.parse().map_err(|_| NumberError::TooLarge)?;
    let factor: u64 = match letter.map(|letter| letter.to_ascii_lowercase()) {
        None => return Ok(number),
        Some('k') => 1 << 10,
        Some('m') => 1 << 20,
        Some('g') => 1 << 30,
        Some('s') => 512,
        Some(_) => return Err(NumberError::UnknownUnit(letter.unwrap_or_default())),
    };
    let bytes = number.checked_mul(factor).ok_or(NumberError::TooLarge)?;
    Ok(bytes.div_ceil(unit.scale()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("10M", Unit::KibPerSecond), Ok(10240));
        assert_eq!(parse("100000s", Unit::KibPerSecond), Ok(50000));
        assert_eq!(parse("1M", Unit::Bytes), Ok(1_048_576));
        assert_eq!(parse("4K", Unit::Pages), Ok(4096));
        assert_eq!(parse("1g", Unit::Sectors), Ok(2_097_152));
        assert_eq!(parse("1s", Unit::KibPerSecond), Ok(1));
        assert_eq!(parse("250", Unit::KibPerSecond), Ok(250));
    }

    #[test]
    fn refused() {
        assert_eq!(parse("10MB", Unit::One), Err(NumberError::NotANumber));
        assert_eq!(parse("1.5M", Unit::One), Err(NumberError::NotANumber));
        assert_eq!(parse("", Unit::One), Err(NumberError::NotANumber));
        assert_eq!(parse("M", Unit::One), Err(NumberError::NotANumber));
        assert_eq!(parse("5x", Unit::One), Err(NumberError::UnknownUnit('x')));
        assert_eq!(
            parse("99999999999999999999", Unit::One),
            Err(NumberError::TooLarge)
        );
        assert_eq!(
            parse("18446744073709551615G", Unit::One),
            Err(NumberError::TooLarge)
        );
    }
}
