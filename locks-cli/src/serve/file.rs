//! Settings in a file, in TOML.

use std::path::Path;

use toml::{Table, Value};

use super::settings::Settings;
use crate::status::Failure;

/// What the file says.
pub(super) fn read(path: &Path) -> Result<Settings, Failure> {
    let refused = |why: &dyn std::fmt::Display| {
        // What is no TOML is shown as it is written there.
        Failure::in_lines(format!("settings in `{}`: {why}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(&error))?;
    parse(&text).map_err(|why| refused(&why))
}

pub(super) fn parse(text: &str) -> Result<Settings, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut settings = Settings::default();
    for (name, value) in &table {
        for text in texts(name, value).map_err(|why| format!("`{name}`: {why}"))? {
            settings.add(name, &text).map_err(|why| match why.starts_with("no setting") {
                true => why,
                false => format!("`{name}`: {why}"),
            })?;
        }
    }
    Ok(settings)
}

/// The values of a setting, as flags would say them.
fn texts(name: &str, value: &Value) -> Result<Vec<String>, String> {
    match (name, value) {
        ("limits", Value::Table(limits)) => limits
            .iter()
            .map(|(limit, value)| {
                let value = text(value).ok_or_else(|| format!("`{limit}` is no number or text"))?;
                Ok(format!("{limit}={value}"))
            })
            .collect(),
        ("limits", _) => Err("limits are a table, `[limits]`, of names and values".to_owned()),
        (name, Value::Array(values)) if super::settings::LISTS.contains(&name) => {
            let one =
                |value| text(value).ok_or_else(|| "it is no list of numbers or texts".to_owned());
            values.iter().map(one).collect()
        }
        // What is wrong with a name is told before what is wrong with its value.
        (name, _) if !super::settings::NAMES.contains(&name) => Ok(vec![String::new()]),
        // A number would name a directory, or a file.
        (
            "state" | "secret_file" | "clients" | "cert" | "key" | "client_ca" | "listen" | "log"
            | "http_token_file" | "http_host",
            Value::Integer(_),
        ) => Err("it is no text, but integer".to_owned()),
        (_, value) => {
            let why = || format!("it is no text, but {}", value.type_str());
            Ok(vec![text(value).ok_or_else(why)?])
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_flags_say() {
        let text = r#"
            listen = ["unix:/run/locks/locks.sock", "tcp:127.0.0.1:7420"]
            secret_file = "/etc/locks/secret"
            state = "/var/lib/locks"
            allow_user = [1000, 1001]
            lease = "20s"
            [limits]
            keys = 5_000
            patience = "3s"
        "#;
        let mut meant = Settings::default();
        for (name, value) in [
            ("listen", "unix:/run/locks/locks.sock"),
            ("listen", "tcp:127.0.0.1:7420"),
            ("secret_file", "/etc/locks/secret"),
            ("state", "/var/lib/locks"),
            ("allow_user", "1000"),
            ("allow_user", "1001"),
            ("lease", "20s"),
            ("limits", "keys=5000"),
            ("limits", "patience=3s"),
        ] {
            meant.add(name, value).unwrap();
        }
        assert_eq!(parse(text), Ok(meant));
        assert!(parse("listen = 'unix:'\nallow_user = 7").is_ok(), "one of a list may stand alone");
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_and_no_value_of_an_unknown_name() {
        for (text, expected) in [
            ("listn = 'unix:/a'", "no setting `listn`: there are `listen`, `secret_file`"),
            ("secret = 'hunter2'", "no setting `secret`"),
            ("secret = ['hunter2']", "no setting `secret`"),
            ("listen = 'a'", "`listen`: an address is"),
            ("listen = [['a']]", "`listen`: it is no list"),
            ("lease = 5.5", "`lease`: it is no text, but float"),
            ("state = 7", "`state`: it is no text, but integer"),
            ("limits = 5", "limits are a table"),
            ("[limits]\nkey = 5", "`limits`: no limit `key`"),
            ("[limits]\nkeys = []", "`keys` is no number or text"),
            ("[limits]\nkeys = -5", "`keys`: a limit is a whole number"),
            ("listen =", "line 1"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(expected) && !why.contains("hunter2"), "{text}: {why}");
        }
    }
}
