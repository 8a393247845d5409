//! Durations as people write them, for URLs and for the command `locks`.

use std::time::Duration;

use locks_core::Wait;

const SHAPE: &str = "a duration is a number and a unit, as in `500ms`, `5s`, `1m30s`, `2h` or `1d`";
const SHAPE_OF_WAIT: &str = "it is `true`, `false` or a duration, which is a number and a unit, as in \
                             `500ms`, `5s`, `1m30s`, `2h` or `1d`";
const FRACTION: &str = "a duration has whole numbers, as `500ms` instead of `0.5s`";
const TOO_LONG: &str = "it is too long: a duration has at most `213503982334d`";
const ZERO: &str = "it has to be longer than 0";

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    Shape,
    Fraction,
    TooLong,
}

impl Unfit {
    const fn why(self) -> &'static str {
        match self {
            Self::Shape => SHAPE,
            Self::Fraction => FRACTION,
            Self::TooLong => TOO_LONG,
        }
    }
}

/// Parses a duration as in `1m30s`: whole numbers with the units `ms`, `s`, `m`, `h` and `d`, each
/// at most once and the greatest first; the same spelling as in the attribute.
///
/// # Errors
/// If the text is none, with the reason as a clause.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    read(text).map_err(Unfit::why)
}

/// Parses a duration that is longer than no time.
///
/// # Errors
/// As [`parse`], and for zero.
pub fn parse_positive(text: &str) -> Result<Duration, &'static str> {
    parse(text).and_then(|duration| if duration.is_zero() { Err(ZERO) } else { Ok(duration) })
}

/// Parses what the attribute's `wait` takes: a truth or a duration.
///
/// # Errors
/// As [`parse`].
pub fn parse_wait(text: &str) -> Result<Wait, &'static str> {
    match text {
        "true" => Ok(Wait::Forever),
        "false" => Ok(Wait::Try),
        _ => read(text).map(Wait::AtMost).map_err(|unfit| match unfit {
            Unfit::Shape => SHAPE_OF_WAIT,
            other => other.why(),
        }),
    }
}

fn read(text: &str) -> Result<Duration, Unfit> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(is_digit).len();
        let (number, after) = rest.split_at(digits);
        if after.strip_prefix(['.', ',']).is_some_and(|more| more.starts_with(is_digit)) {
            return Err(Unfit::Fraction);
        }
        let letters =
            after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let millis = in_millis(unit).ok_or(Unfit::Shape)?;
        if number.is_empty() || millis >= smallest {
            return Err(Unfit::Shape);
        }
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
        let part = Duration::from_millis(part.ok_or(Unfit::TooLong)?);
        total = total.checked_add(part).ok_or(Unfit::TooLong)?;
        (smallest, rest) = (millis, after);
    }
    if smallest == u64::MAX { Err(Unfit::Shape) } else { Ok(total) }
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

const fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_attribute_reads() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("5s", 5_000), ("1m30s", 90_000), ("1d2h", 93_600_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        parse("213503982334d").unwrap();
    }

    #[test]
    fn refuses_the_rest_for_what_is_wrong_with_it() {
        for text in ["", "5", "s", "5 s", "-5s", "5parsecs", "5s1m", "5s5s", "1.s", "."] {
            assert_eq!(parse(text), Err(SHAPE), "{text}");
        }
        for text in ["0.5s", "1.5s", "1,5s", ".5s", "1m1.5s"] {
            assert_eq!(parse(text), Err(FRACTION), "{text}");
        }
        let most = format!("{}s", u64::MAX);
        for text in ["99999999999999999999s", "213503982335d", &most] {
            assert_eq!(parse(text), Err(TOO_LONG), "{text}");
        }
        assert_eq!(parse_positive("0s"), Err(ZERO));
        assert_eq!(parse_positive("5"), Err(SHAPE));
        assert_eq!(parse_wait("5"), Err(SHAPE_OF_WAIT));
        assert_eq!(parse_wait("0s"), Ok(Wait::AtMost(Duration::ZERO)));
    }
}
