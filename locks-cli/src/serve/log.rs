//! Lines for the operator, on standard error: `level=warn event="refused" text="…"`.

use std::io::Write;

use locks::net::{LogLevel, LogLine};

/// Which lines are told: those that matter at least as much; `None`: no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Least(Option<LogLevel>);

/// What the setting may be.
const SHAPE: &str = "a level is `off`, `error`, `warn` or `info`";

impl Least {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "off" => None,
            "error" => Some(LogLevel::Error),
            "warn" => Some(LogLevel::Warn),
            // There is nothing beyond.
            "info" | "debug" | "trace" => Some(LogLevel::Info),
            _ => return Err(SHAPE.to_owned()),
        }))
    }

    /// What `RUST_LOG` says, as other programs read it: a level, or one for this program after `locks=`, of several
    /// with commas between. Whatever else there is, is for others.
    pub(super) fn of_environment(text: &str) -> Option<Self> {
        let said = text.split(',').map(str::trim);
        let own = said.clone().find_map(|part| part.strip_prefix("locks="));
        let all = said.clone().find(|part| !part.contains('='));
        Self::parse(&own.or(all)?.to_ascii_lowercase()).ok()
    }

    pub(super) fn tells(self, level: LogLevel) -> bool {
        self.0.is_some_and(|least| level <= least)
    }
}

impl Default for Least {
    fn default() -> Self {
        Self(Some(LogLevel::Info))
    }
}

/// Writes a line, in one piece.
pub(super) fn write(line: &LogLine) {
    let level = match line.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
    };
    let text = line.text.replace('\\', "\\\\").replace('"', "\\\"");
    let written = format!("level={level} event=\"{}\" text=\"{text}\"\n", line.event);
    // Whoever read it may be gone; the server is not.
    let _ = std::io::stderr().lock().write_all(written.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_elsewhere() {
        let tells = |least: Least| {
            [LogLevel::Error, LogLevel::Warn, LogLevel::Info].map(|level| least.tells(level))
        };
        for (text, told) in [
            ("off", [false, false, false]),
            ("error", [true, false, false]),
            ("warn", [true, true, false]),
            ("info", [true, true, true]),
        ] {
            assert_eq!(tells(Least::parse(text).unwrap()), told, "{text}");
        }
        Least::parse("loud").unwrap_err();
        assert_eq!(Least::of_environment("hyper=debug,WARN"), Some(Least(Some(LogLevel::Warn))));
        assert_eq!(Least::of_environment("debug,locks=error"), Some(Least(Some(LogLevel::Error))));
        assert_eq!(Least::of_environment("hyper=debug"), None);
    }
}
