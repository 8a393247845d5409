//! How commands and replies are written.

use locks_core::LockError;

/// What replies begin with: a test writes its own lines to the same output.
pub(super) const REPLY: &str = "a peer says: ";

/// Keys travel as hexadecimal numbers: they may have anything in them.
pub(crate) fn encoded(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn decoded(text: &str) -> String {
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    String::from_utf8(bytes.map(Result::unwrap).collect()).unwrap()
}

pub(super) fn done(outcome: Result<(), LockError>) -> String {
    outcome.map_or_else(|error| refused(&error), |()| "done".to_owned())
}

pub(crate) fn refused(error: &LockError) -> String {
    format!("refused {:?}|{error}", error.kind())
}
