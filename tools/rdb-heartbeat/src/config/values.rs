// SPDX-License-Identifier: GPL-2.0

//! Values as the configuration writes them: times and booleans (specification, section 2.1).

use std::time::Duration;

/// What a time may look like, for messages.
pub const TIME_EXPECTED: &str =
    "expected a time such as `2`, `1.5` (seconds), `500ms`, `250us` or `250usec`";

/// Reads a time: a number with an optional fraction, then nothing (seconds), `ms`, `us` or `usec`.
///
/// # Errors
///
/// The text says what was found and what was expected.
pub fn time(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let nanoseconds_per_unit = match unit {
        "" => 1e9,
        "ms" => 1e6,
        "us" | "usec" => 1e3,
        other => {
            return Err(format!(
                "unknown unit `{other}` in time `{text}`: {TIME_EXPECTED}"
            ));
        }
    };
    let value: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a time: {TIME_EXPECTED}"))?;
    // More than ten years is a mistake, and would overflow what the timers can hold.
    let nanoseconds = value * nanoseconds_per_unit;
    if nanoseconds > 3.2e17 {
        return Err(format!("time `{text}` is too long (at most ten years)"));
    }
    Ok(Duration::from_nanos(nanoseconds.round() as u64))
}

/// Reads a boolean: true, on, yes, y, 1 or false, off, no, n, 0 in any case.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// A duration as people read it: `30 s`, `1.5 s`, `500 ms`.
pub fn show(time: Duration) -> String {
    let milliseconds = time.as_millis();
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else if milliseconds % 1000 == 0 {
        format!("{} s", milliseconds / 1000)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_units_of_the_specification() {
        assert_eq!(time("2"), Ok(Duration::from_secs(2)));
        assert_eq!(time("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(time("250usec"), Ok(Duration::from_micros(250)));
        for bad in [
            "",
            "2min",
            "ms",
            "1.2.3",
            "-1",
            "1e3",
            "9999999999999999999",
        ] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn booleans_in_any_case() {
        assert_eq!(boolean("ON"), Some(true));
        assert_eq!(boolean("n"), Some(false));
        assert_eq!(boolean("legacy"), None);
    }
}
