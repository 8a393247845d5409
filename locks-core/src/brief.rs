//! Durations in words (C12).

use std::fmt;
use std::time::Duration;

/// What is too short to be told in numbers: a hold that looks a few microseconds old may be older
/// than that, since ages are coarse.
const MOMENT: Duration = Duration::from_millis(1);

/// How long something has been going on: `for 2.1 s`, or `since just now`.
pub(crate) struct Lasting(pub(crate) Duration);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tell(f, self.0, "since just now", "for")
    }
}

/// How long something will go on: `another 2.1 s`, or `another moment`.
pub(crate) struct Left(pub(crate) Duration);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tell(f, self.0, "another moment", "another")
    }
}

/// After what time something happened: `after 2.1 s`, or `at once`.
pub(crate) struct After(pub(crate) Duration);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tell(f, self.0, "at once", "after")
    }
}

fn tell(f: &mut fmt::Formatter<'_>, time: Duration, moment: &str, word: &str) -> fmt::Result {
    if time < MOMENT { f.write_str(moment) } else { write!(f, "{word} {}", Brief(time)) }
}

/// A duration as a person says it: `350 µs`, `12 ms`, `2.1 s`, `3 min 20 s`, `5 h 10 min`,
/// `2 d 3 h`.
pub(crate) struct Brief(pub(crate) Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.as_secs();
        let two = |f: &mut fmt::Formatter<'_>, large: u64, unit: &str, small: u64, part: &str| {
            write!(f, "{large} {unit}")?;
            if small > 0 { write!(f, " {small} {part}") } else { Ok(()) }
        };
        match self.0 {
            Duration::ZERO => f.write_str("0 s"),
            d if d < Duration::from_micros(1) => write!(f, "{} ns", d.as_nanos()),
            d if d < Duration::from_millis(1) => write!(f, "{} µs", d.as_micros()),
            d if whole < 1 => write!(f, "{} ms", d.as_millis()),
            d if whole < 60 => match d.subsec_millis() / 100 {
                0 => write!(f, "{whole} s"),
                tenths => write!(f, "{whole}.{tenths} s"),
            },
            _ if whole < 3600 => two(f, whole / 60, "min", whole % 60, "s"),
            _ if whole < 86_400 => two(f, whole / 3600, "h", whole % 3600 / 60, "min"),
            _ => two(f, whole / 86_400, "d", whole % 86_400 / 3600, "h"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c12_durations_read_as_a_person_says_them() {
        let brief = |micros| Brief(Duration::from_micros(micros)).to_string();
        let seconds = |seconds: u64| brief(seconds * 1_000_000);
        assert_eq!(brief(0), "0 s");
        assert_eq!(Brief(Duration::from_nanos(70)).to_string(), "70 ns");
        assert_eq!(brief(350), "350 µs");
        assert_eq!(brief(999_999), "999 ms");
        assert_eq!(brief(2_190_000), "2.1 s");
        assert_eq!([2, 59, 60, 200].map(seconds), ["2 s", "59 s", "1 min", "3 min 20 s"]);
        assert_eq!([3600, 18_600].map(seconds), ["1 h", "5 h 10 min"]);
        assert_eq!([86_400, 183_600].map(seconds), ["1 d", "2 d 3 h"]);
    }

    #[test]
    fn c12_what_is_too_short_for_numbers_is_told_in_words() {
        let (short, long) = (Duration::from_micros(999), MOMENT);
        assert_eq!(Lasting(short).to_string(), "since just now");
        assert_eq!(Lasting(long).to_string(), "for 1 ms");
        assert_eq!(Left(short).to_string(), "another moment");
        assert_eq!(Left(long).to_string(), "another 1 ms");
        assert_eq!(After(Duration::ZERO).to_string(), "at once");
        assert_eq!(After(long).to_string(), "after 1 ms");
    }
}
