//! How the command ends: exit statuses, and what is said on the way.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use locks::LockError;

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
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// What was being done, and what came in the way.
    pub(crate) fn during(what: &str, error: impl Display) -> Self {
        Self::new(format!("{what}: {error}"))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Says it.
    pub(crate) fn report(&self) -> Status {
        say(&self.text);
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
    if let Some(said) = COLLECTED.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        said.push(text.to_string());
        return;
    }
    // Nobody is left to be told that standard error is closed.
    let _ = io::stderr().write_all(line(text).as_bytes());
}

/// The line. What came from elsewhere, a key or a name, steers no terminal.
pub(crate) fn line(text: impl Display) -> String {
    let mut line = String::from("locks: ");
    for c in text.to_string().chars() {
        if c.is_control() && c != '\n' { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line.push('\n');
    line
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
