//! Errors as bytes.

use locks_core::{DeadlockStep, ErrorKind, LockError};

use super::Malformed;
use super::bytes::{MessageReader, Put};
use super::info::{
    LEAST_HOLDER, LEAST_WAITER, MAX_TEXT, put_cause, put_holder, put_holders, put_text, put_waiter,
    put_waiters, take_cause, take_holder, take_holders, take_waiter, take_waiters,
};

/// So many steps of a deadlock are told of at most.
const MAX_STEPS: usize = 32;

/// The backend and the call site are for the client to add, which knows them.
pub(super) fn put_error(out: &mut Vec<u8>, error: &LockError) {
    let message = message(error);
    let (waited, token, left) = (error.waited(), error.token(), error.reserved_for());
    put_kind(out, error.kind());
    out.flags([message.is_some(), waited.is_some(), token.is_some(), left.is_some()]);
    out.text(error.key(), MAX_TEXT);
    put_text(out, message.as_deref(), MAX_TEXT);
    if let Some(waited) = waited {
        out.duration(waited);
    }
    if let Some(token) = token {
        out.token(token);
    }
    if let Some(left) = left {
        out.duration(left);
    }
    put_holders(out, error.holders());
    put_waiters(out, error.waiters());
    out.u64(error.waiting() as u64);
    out.list(error.cycle(), MAX_STEPS, put_step);
}

pub(super) fn take_error(from: &mut MessageReader<'_>) -> Result<LockError, Malformed> {
    let kind = take_kind(from)?;
    let [message, waited, token, left] = from.flags()?;
    let mut error = LockError::new(kind, from.text(MAX_TEXT)?);
    if message {
        error = error.with_message(from.text(MAX_TEXT)?);
    }
    if waited {
        error = error.with_waited(from.duration()?);
    }
    if token {
        error = error.with_token(from.token()?);
    }
    error = error.with_reserved_for(from.if_set(left, MessageReader::duration)?);
    error = error.with_holders(take_holders(from)?).with_waiters(take_waiters(from)?);
    let waiting = usize::try_from(from.u64()?);
    error = error.with_waiting(waiting.map_err(|_| Malformed("more wait than can be counted"))?);
    let least = 2 + LEAST_WAITER + LEAST_HOLDER;
    Ok(error.with_cycle(from.list(MAX_STEPS, least, take_step)?))
}

/// Its sentence, where that is not made of what else is sent. An error that lies behind it is known
/// by its text alone from here on.
fn message(error: &LockError) -> Option<String> {
    let Some(source) = error.inner() else { return error.message().map(str::to_owned) };
    let said = error.to_string();
    let source = source.to_string();
    Some(if said.ends_with(&source) { said } else { format!("{said}: {source}") })
}

fn put_step(out: &mut Vec<u8>, step: &DeadlockStep) {
    out.text(&step.wants, locks_core::MAX_KEY_LEN);
    put_waiter(out, &step.waiter);
    put_holder(out, &step.holder);
}

fn take_step(from: &mut MessageReader<'_>) -> Result<DeadlockStep, Malformed> {
    let wants = from.text(locks_core::MAX_KEY_LEN)?;
    let waiter = take_waiter(from)?;
    Ok(DeadlockStep::new(wants, waiter, take_holder(from)?))
}

fn put_kind(out: &mut Vec<u8>, kind: ErrorKind) {
    out.u8(match kind {
        ErrorKind::Contended => 1,
        ErrorKind::Timeout => 2,
        ErrorKind::Deadlock => 3,
        ErrorKind::Lost { .. } => 4,
        ErrorKind::InvalidKey => 5,
        ErrorKind::Unsupported => 6,
        ErrorKind::NotConfigured => 7,
        ErrorKind::Unavailable => 8,
        ErrorKind::PermitsMismatch => 9,
        ErrorKind::Unauthorized => 10,
        ErrorKind::LimitExceeded => 11,
        ErrorKind::Io => 13,
        // Also what this version has no number for.
        _ => 12,
    });
    if let ErrorKind::Lost { cause } = kind {
        put_cause(out, cause);
    }
}

fn take_kind(from: &mut MessageReader<'_>) -> Result<ErrorKind, Malformed> {
    Ok(match from.u8()? {
        1 => ErrorKind::Contended,
        2 => ErrorKind::Timeout,
        3 => ErrorKind::Deadlock,
        4 => ErrorKind::Lost { cause: take_cause(from)? },
        5 => ErrorKind::InvalidKey,
        6 => ErrorKind::Unsupported,
        7 => ErrorKind::NotConfigured,
        8 => ErrorKind::Unavailable,
        9 => ErrorKind::PermitsMismatch,
        10 => ErrorKind::Unauthorized,
        11 => ErrorKind::LimitExceeded,
        12 => ErrorKind::Protocol,
        13 => ErrorKind::Io,
        _ => return Err(Malformed("no such kind of error")),
    })
}
