//! How the command ends: exit statuses, and what is said on the way.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use locks::LockError;

use crate::shown::{shown, shown_in_lines};

/// The status of a conflict, unless `-E` says otherwise: `EX_TEMPFAIL`, "try again later".
pub(crate) const CONFLICT: u8 = 75;

/// How a task ended that did what it was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Done,
    /// There was nothing to do it to.
    Nothing,
    /// Somebody else has the lock.
    Conflict(u8),
    /// The command ended with this.
    Exited(u8),
    /// The command, or the wait for the lock, was ended by this signal.
    Signalled(i32),
    /// The lock was lost, or had to be given up, while the command ran.
    Lost,
    /// There is such a command, but it cannot be run.
    NotExecutable,
    /// There is no such command.
    NotFound,
    /// Something else was wrong: told already.
    Failed,
}

/// Why a task was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    /// Its line breaks are its own, and not some name's.
    has_lines: bool,
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), has_lines: false }
    }

    /// In lines: what was written, and marks below it.
    pub(crate) fn in_lines(text: impl Into<String>) -> Self {
        Self { text: text.into(), has_lines: true }
    }

    /// What was being done, and what came in the way.
    pub(crate) fn during(what: &str, error: impl Display) -> Self {
        Self::new(format!("{what}: {error}"))
    }

    /// The same, with what it is about before it.
    pub(crate) fn behind(self, what: &str) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Says it.
    pub(crate) fn report(&self) -> Status {
        match self.has_lines {
            true => say_as(&self.text, shown_in_lines),
            false => say(&self.text),
        }
        Status::Failed
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(u8::from(status))
    }
}

impl From<Status> for u8 {
    fn from(status: Status) -> Self {
        match status {
            Status::Done => 0,
            Status::Nothing => 1,
            Status::Conflict(code) | Status::Exited(code) => code,
            Status::Signalled(number) => 128 | u8::try_from(number & 127).unwrap_or(0),
            Status::Lost => 124,
            Status::Failed => 125,
            Status::NotExecutable => 126,
            Status::NotFound => 127,
        }
    }
}

/// A line of the command's own on standard error, or wherever that is [collected](collect).
pub(crate) fn say(text: impl Display) {
    say_as(&text.to_string(), shown);
}

fn say_as(text: &str, shown: impl Fn(&str) -> String) {
    let text = shown(text);
    if let Some(said) = COLLECTED.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        return said.push(text);
    }
    // Nobody is left to be told that standard error is closed.
    let _ = io::stderr().write_all(begun(&text).as_bytes());
}

/// The line. What came from elsewhere, a key or a name, is in it as it is
/// [shown](mod@crate::shown).
pub(crate) fn line(text: impl Display) -> String {
    begun(&shown(&text.to_string()))
}

fn begun(text: &str) -> String {
    format!("locks: {text}\n")
}

/// What is said, where another process says it.
static COLLECTED: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// From now on what is said is collected.
pub(crate) fn collect() -> Collected {
    *COLLECTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    Collected
}

/// What has been said since.
pub(crate) struct Collected;

impl Collected {
    /// From now on it is said again.
    pub(crate) fn take(self) -> Vec<String> {
        COLLECTED.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}
