use std::time::Duration;

use syn::{Error, LitStr, Result};

/// Largest first, which is also the order in which they have to come.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// `500ms`, `5s`, `1m30s`.
///
/// # Errors
/// They name the units and show how it is written.
pub(super) fn parse(literal: &LitStr) -> Result<Duration> {
    let text = literal.value();
    read(&text).map_err(|why| {
        Error::new(
            literal.span(),
            format!("`{text}` is not a duration: {why}; write it as `500ms`, `5s` or `1m30s`"),
        )
    })
}

fn read(text: &str) -> std::result::Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("it is empty".into());
    }
    let mut total = Duration::ZERO;
    let mut units = &UNITS[..];
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(format!("`{rest}` does not begin with a whole number"));
        }
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let unit = tail[..letters].trim();
        let Some(&(_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(if unit.is_empty() {
                format!("`{number}` has no unit (`d`, `h`, `m`, `s`, `ms`, `us`, `ns`)")
            } else {
                format!("`{unit}` is not a unit (`d`, `h`, `m`, `s`, `ms`, `us`, `ns`)")
            });
        };
        let Some(at) = units.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("`{unit}` has to come before smaller units, and once"));
        };
        let too_long = || "it is too long".to_owned();
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(nanos));
        total = total
            .checked_add(Duration::from_nanos(part.ok_or_else(too_long)?))
            .ok_or_else(too_long)?;
        units = &units[at + 1..];
        rest = tail[letters..].trim_start();
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1h 30m", 5_400_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0s", 0),
            ("1s500ms", 1_500),
        ] {
            assert_eq!(read(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(read("7us3ns"), Ok(Duration::from_nanos(7_003)));
    }

    #[test]
    fn refuses_what_is_none() {
        for (text, why) in [
            ("", "empty"),
            ("5", "no unit"),
            ("5 parsecs", "`parsecs` is not a unit"),
            ("1.5s", "`.` is not a unit"),
            ("s", "whole number"),
            ("-5s", "whole number"),
            ("30s1m", "before smaller units"),
            ("1s1s", "before smaller units"),
            ("99999999999999999999s", "too long"),
            ("999999999d", "too long"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
