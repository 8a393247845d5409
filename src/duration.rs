//! Durations as people write them, for URLs and for the command `locks`.

use std::time::Duration;

/// What a duration may look like, for errors.
pub const SHAPE: &str = "a number and a unit, as in `500ms`, `5s`, `1m30s`, `2h` or `1d`";

/// Parses a duration as in `1m30s`: whole numbers with the units `ms`, `s`, `m`, `h` and `d`, each
/// at most once and the greatest first; the same spelling as in the attribute.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters =
            after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let millis = in_millis(unit)?;
        if millis >= smallest {
            return None;
        }
        let part = number.parse::<u64>().ok()?.checked_mul(millis)?;
        total = total.checked_add(Duration::from_millis(part))?;
        (smallest, rest) = (millis, after);
    }
    (smallest != u64::MAX).then_some(total)
}

const fn in_millis(unit: &str) -> Option<u64> {
    match unit.as_bytes() {
        b"ms" => Some(1),
        b"s" => Some(1_000),
        b"m" => Some(60_000),
        b"h" => Some(3_600_000),
        b"d" => Some(86_400_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_attribute_reads() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("5s", 5_000), ("1m30s", 90_000), ("1d2h", 93_600_000)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1.5s",
            "5parsecs",
            "5s1m",
            "5s5s",
            "99999999999999999999s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("{}d", u64::MAX)), None, "overflow");
    }
}
