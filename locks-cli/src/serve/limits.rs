//! What clients may have, by name.

use std::time::Duration;

use locks::duration;
use locks::net::Limits;

/// The names, in the order in which the help has them.
pub(super) const NAMES: [&str; 16] = [
    "sessions",
    "newcomers",
    "keys",
    "waiters",
    "requests_per_session",
    "frame",
    "write_buffer",
    "message",
    "messages_per_client",
    "message_bytes_per_client",
    "messages",
    "message_bytes",
    "patience",
    "shortest_lease",
    "longest_lease",
    "longest_hold",
];

/// Sets the limit of that name.
///
/// # Errors
/// What is wrong with it.
pub(super) fn set(limits: &mut Limits, name: &str, value: &str) -> Result<(), String> {
    match name {
        "sessions" => number(value).map(|value| limits.sessions = value),
        "newcomers" => number(value).map(|value| limits.newcomers = value),
        "keys" => number(value).map(|value| limits.keys = value),
        "waiters" => number(value).map(|value| limits.waiters = value),
        "requests_per_session" => number(value).map(|value| limits.requests_per_session = value),
        "frame" => number(value).map(|value| limits.frame = value),
        "write_buffer" => number(value).map(|value| limits.write_buffer = value),
        "message" => number(value).map(|value| limits.message = value),
        "messages_per_client" => number(value).map(|value| limits.messages_per_client = value),
        "message_bytes_per_client" => {
            number(value).map(|value| limits.message_bytes_per_client = value)
        }
        "messages" => number(value).map(|value| limits.messages = value),
        "message_bytes" => number(value).map(|value| limits.message_bytes = value),
        "patience" => time(value).map(|value| limits.patience = value),
        "shortest_lease" => time(value).map(|value| limits.shortest_lease = value),
        "longest_lease" => time(value).map(|value| limits.longest_lease = value),
        "longest_hold" => time(value).map(|value| limits.longest_hold = Some(value)),
        "lease" => Err("the lease is a setting of its own, `lease`".to_owned()),
        _ => Err(format!("no limit `{name}`: there are `{}`", NAMES.join("`, `"))),
    }
    .map_err(|why| if NAMES.contains(&name) { format!("`{name}`: {why}") } else { why })
}

fn number(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "a limit is a whole number, and not 0".to_owned())
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    duration::parse_positive(text).map_err(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_sets_a_limit_of_its_own() {
        let mut before = format!("{:?}", Limits::default());
        let mut limits = Limits::default();
        for name in NAMES {
            let value = if set(&mut Limits::default(), name, "77").is_ok() { "77" } else { "77s" };
            set(&mut limits, name, value).unwrap();
            let after = format!("{limits:?}");
            assert!(after != before && after.contains(&format!("{name}: ")), "{name}: {after}");
            before = after;
        }
        for name in ["write_buffer: 77", "longest_hold: Some(77s)", "sessions: 77"] {
            assert!(before.contains(name), "{name}: {before}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_limit_is_told() {
        for (name, value, expected) in [
            ("key", "1", "no limit `key`: there are `sessions`, `newcomers`, `keys`"),
            ("keys", "0", "`keys`: a limit is a whole number, and not 0"),
            ("keys", "1s", "`keys`: a limit is a whole number"),
            ("patience", "5", "`patience`: a duration is"),
            ("patience", "0s", "`patience`: it has to be longer than 0"),
            ("patience", "0.5s", "`patience`: a duration has whole numbers"),
            ("lease", "5s", "`lease`"),
        ] {
            let why = set(&mut Limits::default(), name, value).unwrap_err();
            assert!(why.contains(expected), "{name}={value}: {why}");
        }
    }
}
