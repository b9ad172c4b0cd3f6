//! Sizes and times as people write them: a whole number and a unit.

use std::time::Duration;

const SIZES: [(&str, u64); 6] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

const TIMES: [(&str, u64); 4] = [
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
];

/// Bytes of a size such as `8GiB`.
///
/// # Errors
/// What is wrong and what would be right, in one sentence.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let right = "write a whole number and B, KiB, MiB, GiB, TiB or PiB, as in \"8GiB\"";
    let (number, factor) = split(text, &SIZES).map_err(|what| format!("{what}: {right}"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("\"{text}\" is too large: {right}"))
}

/// A time such as `10ms`.
///
/// # Errors
/// What is wrong and what would be right, in one sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let right = "write a whole number and us, ms, s or min, as in \"10ms\"";
    let (number, factor) = split(text, &TIMES).map_err(|what| format!("{what}: {right}"))?;
    number
        .checked_mul(factor)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("\"{text}\" is too long: {right}"))
}

fn split(text: &str, units: &[(&str, u64)]) -> Result<(u64, u64), String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err(format!("\"{text}\" does not begin with a number"));
    }
    let number = number
        .parse()
        .map_err(|_| format!("\"{text}\" is too large"))?;
    if unit.is_empty() {
        return Err(format!("\"{text}\" has no unit"));
    }
    units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| (number, *factor))
        .ok_or_else(|| format!("\"{text}\" has the unknown unit \"{unit}\""))
}

/// A size as `parse_size` reads it back: exact, in the largest unit that divides it.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    exact(bytes, &SIZES)
}

/// A time as `parse_duration` reads it back, cut to whole microseconds.
#[must_use]
pub fn format_duration(time: Duration) -> String {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / 1_000 * 1_000;
    exact(nanos, &TIMES)
}

fn exact(value: u64, units: &[(&str, u64)]) -> String {
    let (name, factor) = units
        .iter()
        .rev()
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
        .unwrap_or(&units[0]);
    format!("{}{name}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("4096B", 4096),
            ("1KiB", 1024),
            (" 8 GiB ", 8 << 30),
            ("3TiB", 3 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        for (text, why) in [
            ("", "does not begin with a number"),
            ("GiB", "does not begin with a number"),
            ("-1GiB", "does not begin with a number"),
            ("8", "has no unit"),
            ("8GB", "unknown unit \"GB\""),
            ("1.5GiB", "unknown unit"),
            ("99999999999999999999B", "too large"),
            ("99999999999PiB", "too large"),
        ] {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains("8GiB"), "says what is right: {error}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_duration("10ms"), Ok(Duration::from_millis(10)));
        assert_eq!(parse_duration("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(format_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(format_duration(Duration::from_secs(60)), "1min");
        assert!(parse_duration("10").unwrap_err().contains("no unit"));
        assert!(
            parse_duration("10 hours")
                .unwrap_err()
                .contains("unknown unit")
        );
    }
}
