//! Lines for the operator, on standard error or in a file: `level=warn event="refused" text="…"`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use locks::net::{LogLevel, LogLine};

use crate::status::Failure;

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
            "info" => Some(LogLevel::Info),
            _ => return Err(SHAPE.to_owned()),
        }))
    }

    /// A level as other programs have them: of what is beyond `info` there is nothing here.
    pub(super) fn parse_any(text: &str) -> Result<Self, String> {
        Self::parse(if matches!(text, "debug" | "trace") { "info" } else { text })
    }

    /// What `RUST_LOG` says, as other programs read it: a level, or one for this program after
    /// `locks=`, of several with commas between. Whatever else there is, is for others.
    pub(super) fn of_environment(text: &str) -> Option<Self> {
        let said = text.split(',').map(str::trim);
        let own = said.clone().find_map(|part| part.strip_prefix("locks="));
        let all = said.clone().find(|part| !part.contains('='));
        Self::parse_any(&own.or(all)?.to_ascii_lowercase()).ok()
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

/// Where the lines go.
#[derive(Debug, Default)]
pub(super) struct Log {
    least: Least,
    /// `None`: standard error.
    file: Option<LogFile>,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl Log {
    /// Opens the file, if lines are to go to one, as `said_by` says.
    pub(super) fn open(
        least: Least,
        path: Option<PathBuf>,
        said_by: &str,
    ) -> Result<Self, Failure> {
        let file = path.map(|path| match open(&path) {
            Ok(file) => Ok(LogFile { path, file: Mutex::new(file) }),
            Err(error) => Err(Failure::during(
                said_by,
                format!("`{}` cannot be opened: {error}", path.display()),
            )),
        });
        Ok(Self { least, file: file.transpose()? })
    }

    /// Writes a line, in one piece, if it matters enough.
    pub(super) fn tell(&self, line: &LogLine) {
        if self.least.tells(line.level) {
            self.write(line.level, line.event, &line.text);
        }
    }

    /// Opens the file of that name anew: the one that was open may have been moved away.
    pub(super) fn reopen(&self) {
        let Some(log) = &self.file else { return };
        match open(&log.path) {
            Ok(file) => *log.lock() = file,
            Err(error) => {
                let path = log.path.display();
                let text =
                    format!("`{path}` cannot be opened anew: {error}; lines go where they went");
                self.write(LogLevel::Error, "log", &text);
            }
        }
    }

    fn write(&self, level: LogLevel, event: &str, text: &str) {
        let level = match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
        };
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        let line = format!("level={level} event=\"{event}\" text=\"{text}\"\n");
        if let Some(log) = &self.file {
            // What keeps journals of standard error adds the time by itself.
            let time = humantime::format_rfc3339_millis(SystemTime::now());
            if log.lock().write_all(format!("time={time} {line}").as_bytes()).is_ok() {
                return;
            }
        }
        // Whoever read it may be gone; the server is not.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

impl LogFile {
    fn lock(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines go to the end, and tell who uses which key: they are for this user and the group.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
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
        for text in ["loud", "debug", "trace", "INFO"] {
            assert_eq!(Least::parse(text), Err(SHAPE.to_owned()), "{text}");
        }
        assert_eq!(Least::of_environment("hyper=debug,WARN"), Some(Least(Some(LogLevel::Warn))));
        assert_eq!(Least::of_environment("debug,locks=error"), Some(Least(Some(LogLevel::Error))));
        assert_eq!(Least::of_environment("trace"), Some(Least(Some(LogLevel::Info))));
        assert_eq!(Least::of_environment("hyper=debug"), None);
    }
}
