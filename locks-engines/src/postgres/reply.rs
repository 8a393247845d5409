//! The answers of functions.

use std::time::Duration;

use locks_core::{
    Claimed, EntryState, ErrorKind, LeaseEntry, LockError, LostCause, Mode, Refusal, Renewed, Token,
};
use tokio_postgres::Row;

/// How many values an entry has in the answer to a claim.
const ENTRY: usize = 8;

/// An answer that no function of ours gives.
pub(super) fn unintelligible() -> LockError {
    let text = "the server's answer was not understood: was its schema of locks changed by hand?";
    LockError::new(ErrorKind::Protocol, "").with_message(text)
}

/// The answer to a claim of `keys`.
pub(super) fn claimed(answer: &[String], keys: &[String]) -> Result<Claimed, LockError> {
    let words: Vec<&str> = answer.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["1", token] => Ok(Claimed::Granted(self::token(token)?)),
        ["6", token, entries @ ..] => {
            let from = entries.chunks(ENTRY).map(|parts| entry(parts, keys));
            Ok(Claimed::Stolen {
                token: self::token(token)?,
                from: from.collect::<Result<_, _>>()?,
            })
        }
        ["2", left] => Ok(Claimed::NotYet(micros(number(left)?))),
        ["3", index] => {
            let key = key(index, keys)?;
            let text = format!(
                "`{key}` is in use in another way: permits and locks do not mix on one key at a time"
            );
            Err(LockError::new(ErrorKind::PermitsMismatch, key).with_message(text))
        }
        ["0", placed, again, entries @ ..] => {
            let entries = entries.chunks(ENTRY).map(|parts| entry(parts, keys));
            let mut refusal = Refusal::new(entries.collect::<Result<_, _>>()?);
            (refusal.placed, refusal.again_in) = (*placed == "1", Some(micros(number(again)?)));
            Ok(Claimed::Refused(refusal))
        }
        _ => Err(unintelligible()),
    }
}

/// The answer to a batch of renewals.
pub(super) fn renewed(answers: &[i32]) -> Result<Vec<Renewed>, LockError> {
    let answer = |code: &i32| {
        Ok(match code {
            0 => Renewed::Gone(LostCause::Forgotten),
            1 => Renewed::Kept,
            2 => Renewed::Gone(LostCause::Stolen),
            3 => Renewed::Gone(LostCause::Evicted),
            4 => Renewed::Gone(LostCause::HeldTooLong),
            5 => Renewed::Gone(LostCause::Expired),
            _ => return Err(unintelligible()),
        })
    };
    answers.iter().map(answer).collect()
}

/// A row of a list.
pub(super) fn listed(row: &Row) -> Result<LeaseEntry, LockError> {
    let bad = |_| unintelligible();
    let text = |column| row.try_get::<_, &str>(column).map_err(bad);
    let long = |column| row.try_get::<_, i64>(column).map_err(bad);
    let parts = Parts {
        key: text(0)?,
        state: text(1)?,
        id: text(2)?,
        token: long(3)?,
        mode: long(4)?,
        age: Some(long(5)?),
        ends_in: long(6)?,
        note: text(7)?,
    };
    parts.entry()
}

fn entry(parts: &[&str], keys: &[String]) -> Result<LeaseEntry, LockError> {
    let &[index, state, id, token, mode, age, ends_in, note] = parts else {
        return Err(unintelligible());
    };
    let (mode, token) = (number(mode)?, number(token)?);
    // A transaction has no clock of its own.
    let age = Some(number(age)?).filter(|age| *age >= 0);
    Parts { key: key(index, keys)?, state, id, token, mode, age, ends_in: number(ends_in)?, note }
        .entry()
}

/// What is known of an entry.
struct Parts<'a> {
    key: &'a str,
    state: &'a str,
    id: &'a str,
    token: i64,
    mode: i64,
    age: Option<i64>,
    ends_in: i64,
    note: &'a str,
}

impl Parts<'_> {
    fn entry(self) -> Result<LeaseEntry, LockError> {
        let state = match self.state {
            "h" => EntryState::Held,
            "r" => EntryState::Reserved,
            "w" => EntryState::Waiting,
            _ => return Err(unintelligible()),
        };
        let mode = match self.mode {
            0 => Mode::Exclusive,
            -1 => Mode::Shared,
            of => Mode::Permit { take: 1, of: of.try_into().map_err(|_| unintelligible())? },
        };
        let id = self.id.parse().map_err(|_| unintelligible())?;
        let token = u64::try_from(self.token).map_err(|_| unintelligible())?;
        let mut entry = LeaseEntry::new(self.key, id, Token::new(token), micros(self.ends_in));
        (entry.mode, entry.age, entry.state) = (mode, self.age.map(micros), state);
        self.note.clone_into(&mut entry.note);
        Ok(entry)
    }
}

fn key<'k>(index: &str, keys: &'k [String]) -> Result<&'k str, LockError> {
    let index = usize::try_from(number(index)? - 1).map_err(|_| unintelligible())?;
    keys.get(index).map(String::as_str).ok_or_else(unintelligible)
}

fn token(text: &str) -> Result<Token, LockError> {
    u64::try_from(number(text)?).map(Token::new).map_err(|_| unintelligible())
}

fn number(text: &str) -> Result<i64, LockError> {
    text.parse().map_err(|_| unintelligible())
}

/// A duration in microseconds; one that is past is over.
fn micros(number: i64) -> Duration {
    Duration::from_micros(number.try_into().unwrap_or(0))
}
