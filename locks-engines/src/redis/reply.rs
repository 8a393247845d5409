//! The answers of scripts.

use std::time::Duration;

use locks_core::{
    Claimed, EntryState, ErrorKind, LeaseEntry, LockError, LostCause, Mode, Refusal, Renewed, Token,
};
use redis::Value;

/// An answer that no script of ours gives.
fn unintelligible() -> LockError {
    let text = "the server's answer was not understood: do other programs write to this namespace?";
    LockError::new(ErrorKind::Protocol, "").with_message(text)
}

/// The answer to a claim of `keys`, in a namespace whose leases are at most `longest`.
pub(super) fn claimed(
    value: Value,
    keys: &[String],
    longest: Duration,
) -> Result<Claimed, LockError> {
    let mut parts = array(value)?.into_iter();
    let mut next = || parts.next().ok_or_else(unintelligible);
    match number(next()?)? {
        0 => {
            let placed = number(next()?)? == 1;
            let again_in = micros(next()?)?;
            let mut refusal = Refusal::new(entries(next()?, keys)?);
            (refusal.placed, refusal.again_in) = (placed, Some(again_in));
            Ok(Claimed::Refused(refusal))
        }
        1 => Ok(Claimed::Granted(token(next()?)?)),
        2 => Ok(Claimed::NotYet(micros(next()?)?)),
        3 => {
            let index = number(next()?)?.wrapping_sub(1);
            let key = usize::try_from(index).ok().and_then(|index| keys.get(index));
            let key = key.ok_or_else(unintelligible)?;
            let text = format!(
                "`{key}` is in use in another way: permits and locks do not mix on one key at a time"
            );
            Err(LockError::new(ErrorKind::PermitsMismatch, key).with_message(text))
        }
        4 => {
            let theirs = micros(next()?)?;
            let text = format!(
                "the longest lease of this namespace is {theirs:?}, and this client would have \
                 {longest:?}: give all clients the same `?lease=`"
            );
            Err(LockError::new(ErrorKind::NotConfigured, "").with_message(text))
        }
        6 => {
            let token = token(next()?)?;
            Ok(Claimed::Stolen { token, from: entries(next()?, keys)? })
        }
        _ => Err(unintelligible()),
    }
}

/// Whether a claim came to another server than it was written for; then it has done nothing.
pub(super) fn is_of_another_server(value: &Value) -> bool {
    matches!(value, Value::Array(parts) if parts.first() == Some(&Value::Int(5)))
}

/// The answer to a batch of renewals.
pub(super) fn renewed(value: Value) -> Result<Vec<Renewed>, LockError> {
    let answer = |value| {
        Ok(match number(value)? {
            0 => Renewed::Gone(LostCause::Forgotten),
            1 => Renewed::Kept,
            2 => Renewed::Gone(LostCause::Stolen),
            3 => Renewed::Gone(LostCause::Evicted),
            4 => Renewed::Gone(LostCause::HeldTooLong),
            5 => Renewed::Gone(LostCause::Expired),
            _ => return Err(unintelligible()),
        })
    };
    array(value)?.into_iter().map(answer).collect()
}

/// The answer to an end.
pub(super) fn ended(value: Value) -> Result<bool, LockError> {
    Ok(number(value)? == 1)
}

/// Holds, reservations and places of `keys`.
pub(super) fn entries(value: Value, keys: &[String]) -> Result<Vec<LeaseEntry>, LockError> {
    array(value)?.into_iter().map(|value| entry(value, keys)).collect()
}

fn entry(value: Value, keys: &[String]) -> Result<LeaseEntry, LockError> {
    let mut parts = array(value)?.into_iter();
    let mut next = || parts.next().ok_or_else(unintelligible);
    let index = usize::try_from(number(next()?)?.wrapping_sub(1)).map_err(|_| unintelligible())?;
    let key = keys.get(index).ok_or_else(unintelligible)?;
    let state = match text(next()?)?.as_str() {
        "h" => EntryState::Held,
        "r" => EntryState::Reserved,
        "w" => EntryState::Waiting,
        _ => return Err(unintelligible()),
    };
    let id = text(next()?)?.parse().map_err(|_| unintelligible())?;
    let token = token(next()?)?;
    let mode = match number(next()?)? {
        0 => Mode::Exclusive,
        -1 => Mode::Shared,
        of => Mode::Permit { take: 1, of: of.try_into().map_err(|_| unintelligible())? },
    };
    let (age, ends_in) = (micros(next()?)?, micros(next()?)?);
    let mut entry = LeaseEntry::new(key, id, token, ends_in);
    (entry.mode, entry.age, entry.state) = (mode, Some(age), state);
    entry.note = text(next()?)?;
    Ok(entry)
}

fn array(value: Value) -> Result<Vec<Value>, LockError> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(unintelligible()),
    }
}

fn text(value: Value) -> Result<String, LockError> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| unintelligible()),
        Value::SimpleString(text) => Ok(text),
        _ => Err(unintelligible()),
    }
}

fn number(value: Value) -> Result<i64, LockError> {
    match value {
        Value::Int(number) => Ok(number),
        other => text(other)?.parse().map_err(|_| unintelligible()),
    }
}

fn token(value: Value) -> Result<Token, LockError> {
    u64::try_from(number(value)?).map(Token::new).map_err(|_| unintelligible())
}

/// A duration in microseconds; one that is past is over.
fn micros(value: Value) -> Result<Duration, LockError> {
    Ok(Duration::from_micros(number(value)?.try_into().unwrap_or(0)))
}
