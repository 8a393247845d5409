//! Messages among clients (N8), as values and as bytes.

use std::time::Duration;

use locks_core::ProcessInfo;

use super::Malformed;
use super::bytes::{MessageReader, Put};
use super::info::{MAX_NAME, put_party, take_party};

/// So many clients a message may name.
pub(crate) const MAX_RECEIVERS: usize = 64;

/// The longest subject, in bytes.
pub(crate) const MAX_SUBJECT: usize = 1024;

/// The longest message, subject and content, whatever the server's limit is.
pub(crate) const MAX_MESSAGE: usize = 128 * 1024;

/// What a message says, and how those who get it are to take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) subject: String,
    pub(crate) content: Vec<u8>,
    /// For how long it is of use, on its receiver's clock.
    pub(crate) timeout: Option<Duration>,
    pub(crate) keep: Keep,
}

/// What becomes of messages with the same subject that a receiver has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    #[default]
    Both,
    /// The new one is dropped, if there is one.
    Older,
    /// They are dropped.
    Newer,
}

/// A message on its way to those who are to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) note: Note,
    pub(crate) to_self: bool,
    /// Names; none for everybody.
    pub(crate) receivers: Vec<String>,
}

/// The outcome of publishing a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The number of clients to which it was sent.
    pub delivered: u32,
    /// The number of clients that had no room for it, full of messages that they have not taken.
    pub full: u32,
}

impl Note {
    /// Bytes that count against limits.
    pub(crate) fn size(&self) -> usize {
        self.subject.len() + self.content.len() + OVERHEAD
    }

    fn flags(&self) -> [bool; 3] {
        [self.timeout.is_some(), self.keep == Keep::Older, self.keep == Keep::Newer]
    }

    fn put_rest(&self, out: &mut Vec<u8>) {
        out.text(&self.subject, MAX_SUBJECT);
        out.list(&self.content, usize::MAX, |out, byte| out.u8(*byte));
        if let Some(timeout) = self.timeout {
            out.duration(timeout);
        }
    }

    fn take_rest(
        from: &mut MessageReader<'_>,
        [timeout, older, newer]: [bool; 3],
    ) -> Result<Self, Malformed> {
        let keep = match (older, newer) {
            (false, false) => Keep::Both,
            (true, false) => Keep::Older,
            (false, true) => Keep::Newer,
            (true, true) => {
                return Err(Malformed("both the older and the newer message is to be kept"));
            }
        };
        let subject = from.text(MAX_SUBJECT)?;
        if subject.is_empty() {
            return Err(Malformed("a message without a subject"));
        }
        let content = from.list(MAX_MESSAGE, 1, MessageReader::u8)?;
        let timeout = from.if_set(timeout, MessageReader::duration)?;
        Ok(Self { subject, content, timeout, keep })
    }
}

/// What a message takes beside its bytes.
const OVERHEAD: usize = 64;

impl Publish {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let [timeout, older, newer] = self.note.flags();
        out.flags([timeout, older, newer, self.to_self, !self.receivers.is_empty()]);
        self.note.put_rest(out);
        if !self.receivers.is_empty() {
            out.list(&self.receivers, MAX_RECEIVERS, |out, name| out.text(name, MAX_NAME));
        }
    }

    pub(super) fn decode(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        let [timeout, older, newer, to_self, named] = from.flags()?;
        let note = Note::take_rest(from, [timeout, older, newer])?;
        let names =
            |from: &mut MessageReader<'_>| from.list(MAX_RECEIVERS, 2, |from| from.text(MAX_NAME));
        let receivers = from.if_set(named, names)?;
        if receivers.as_ref().is_some_and(Vec::is_empty) {
            return Err(Malformed("a message to named clients names none"));
        }
        Ok(Self { note, to_self, receivers: receivers.unwrap_or_default() })
    }
}

/// A message as it comes to a receiver, with who has published it.
pub(super) fn put_note(out: &mut Vec<u8>, note: &Note, from: &ProcessInfo) {
    out.flags(note.flags());
    note.put_rest(out);
    put_party(out, from, None);
}

pub(super) fn take_note(from: &mut MessageReader<'_>) -> Result<(Note, ProcessInfo), Malformed> {
    let flags = from.flags()?;
    Ok((Note::take_rest(from, flags)?, take_party(from)?))
}
