//! Events as bytes.

use std::mem;

use locks_core::LockInfo;

use super::bytes::{MessageReader, Put};
use super::error::{put_error, take_error};
use super::info::{
    LEAST_INFO, MAX_NAME, MAX_TOLD, put_cause, put_holders, put_info, take_cause, take_holders,
    take_info,
};
use super::note::{put_note, take_note};
use super::{Event, Malformed, Published, Status};

/// A server sends no frame longer than this: its clients need not take longer ones.
pub(crate) const MAX_EVENT_FRAME: usize = 256 * 1024;

impl Event {
    /// The answer to an inspection: as many events as its parts need, of about `enough` bytes at
    /// most.
    pub(crate) fn listed(
        call: u64,
        infos: impl IntoIterator<Item = LockInfo>,
        enough: usize,
    ) -> Vec<Self> {
        // One entry takes less than the other half, whatever is in it.
        let enough = enough.min(MAX_EVENT_FRAME / 4);
        let mut events = Vec::new();
        let (mut part, mut bytes) = (Vec::new(), Vec::new());
        for info in infos.into_iter().flat_map(pieces) {
            if bytes.len() > enough {
                events.push(Event::Listed { call, infos: mem::take(&mut part), more: true });
                bytes.clear();
            }
            put_info(&mut bytes, &info);
            part.push(info);
        }
        events.push(Event::Listed { call, infos: part, more: false });
        events
    }

    /// Appends the event's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Event::Granted { request, token, stolen_from } => {
                out.u8(if stolen_from.is_empty() { 1 } else { 9 });
                out.u64(*request);
                out.token(*token);
                if !stolen_from.is_empty() {
                    put_holders(out, stolen_from);
                }
            }
            Event::Refused { call, error } => {
                out.u8(2);
                out.u64(*call);
                put_error(out, error);
            }
            Event::Done { call } => {
                out.u8(3);
                out.u64(*call);
            }
            Event::Listed { call, infos, more } => {
                out.u8(4);
                out.u64(*call);
                out.bool(*more);
                out.list(infos, usize::MAX, put_info);
            }
            Event::Evicted { call, found } => {
                out.u8(5);
                out.u64(*call);
                out.bool(*found);
            }
            Event::Status { call, status } => {
                out.u8(6);
                out.u64(*call);
                status.encode(out);
            }
            Event::Lost { request, cause } => {
                out.u8(7);
                out.u64(*request);
                put_cause(out, *cause);
            }
            Event::Closing => out.u8(8),
            Event::Message { note, from } => {
                out.u8(10);
                put_note(out, note, from);
            }
            Event::Published { call, published } => {
                out.u8(11);
                out.u64(*call);
                out.u32(published.delivered);
                out.u32(published.full);
            }
        }
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes.len()
    }

    /// The event with these bytes, all of them.
    pub(crate) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut from = MessageReader::new(message);
        let event = match from.u8()? {
            1 => Event::Granted {
                request: from.u64()?,
                token: from.token()?,
                stolen_from: Vec::new(),
            },
            2 => Event::Refused { call: from.u64()?, error: take_error(&mut from)? },
            3 => Event::Done { call: from.u64()? },
            4 => Event::Listed {
                call: from.u64()?,
                more: from.bool()?,
                infos: from.list(usize::MAX, LEAST_INFO, take_info)?,
            },
            5 => Event::Evicted { call: from.u64()?, found: from.bool()? },
            6 => Event::Status { call: from.u64()?, status: Status::decode(&mut from)? },
            7 => Event::Lost { request: from.u64()?, cause: take_cause(&mut from)? },
            8 => Event::Closing,
            9 => Event::Granted {
                request: from.u64()?,
                token: from.token()?,
                stolen_from: match take_holders(&mut from)? {
                    none if none.is_empty() => return Err(Malformed("stolen from nobody")),
                    some => some,
                },
            },
            10 => {
                let (note, from) = take_note(&mut from)?;
                Event::Message { note: Box::new(note), from }
            }
            11 => Event::Published {
                call: from.u64()?,
                published: Published { delivered: from.u32()?, full: from.u32()? },
            },
            _ => return Err(Malformed("no such event")),
        };
        from.end()?;
        Ok(event)
    }
}

/// One entry for as many holders and waiters as fit into one; those that follow go on with it.
fn pieces(mut info: LockInfo) -> Vec<LockInfo> {
    let longest = info.holders.len().max(info.waiters.len()).max(info.reserved_by.len());
    let mut pieces = Vec::with_capacity(longest.div_ceil(MAX_TOLD).max(1));
    loop {
        let mut rest = LockInfo::new(info.key.clone());
        rest.holders = info.holders.split_off(info.holders.len().min(MAX_TOLD));
        rest.waiters = info.waiters.split_off(info.waiters.len().min(MAX_TOLD));
        rest.reserved_by = info.reserved_by.split_off(info.reserved_by.len().min(MAX_TOLD));
        let is_over =
            rest.holders.is_empty() && rest.waiters.is_empty() && rest.reserved_by.is_empty();
        pieces.push(std::mem::replace(&mut info, rest));
        if is_over {
            return pieces;
        }
    }
}

impl Status {
    fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.pid);
        out.text(&self.process, MAX_NAME);
        out.text(&self.version, MAX_NAME);
        out.duration(self.serving_for);
        out.u64(self.sessions);
        out.u64(self.keys);
        out.u64(self.waiters);
    }

    fn decode(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            pid: from.u32()?,
            process: from.text(MAX_NAME)?,
            version: from.text(MAX_NAME)?,
            serving_for: from.duration()?,
            sessions: from.u64()?,
            keys: from.u64()?,
            waiters: from.u64()?,
        })
    }
}
