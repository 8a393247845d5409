//! Calls as bytes.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{Mode, Options, OwnerChain, Query, Reserve, SharedOwner, Wait};

use super::bytes::{MessageReader, Put};
use super::info::{
    MAX_NAME, MAX_SITE, MAX_TEXT, put_own, put_permits, put_text, take_own, take_permits,
};
use super::{Acquire, Call, MAX_WITHIN, Malformed, Publish};

impl Call {
    /// Appends the call's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Call::Acquire(acquire) if acquire.is_common() => {
                out.u8(1);
                acquire.encode(out);
            }
            Call::Acquire(acquire) => {
                out.u8(13);
                acquire.encode(out);
                acquire.encode_more(out);
            }
            Call::Done { request } => {
                out.u8(14);
                out.u64(*request);
            }
            Call::Share { call, request } => {
                out.u8(15);
                out.u64(*call);
                out.u64(*request);
            }
            Call::End { request } => {
                out.u8(2);
                out.u64(*request);
            }
            Call::Refresh { call, request } => {
                out.u8(3);
                out.u64(*call);
                out.u64(*request);
            }
            Call::Disown { request } => {
                out.u8(4);
                out.u64(*request);
            }
            Call::Inspect { call, query } => {
                out.u8(5);
                out.u64(*call);
                put_query(out, query);
            }
            Call::Evict { call, key, token } => {
                out.u8(6);
                out.u64(*call);
                out.key(key);
                out.token(*token);
            }
            Call::Status { call } => {
                out.u8(7);
                out.u64(*call);
            }
            Call::Site { id, text } => {
                out.u8(8);
                out.u32(*id);
                out.text(text, MAX_SITE);
            }
            Call::Name { thread, text } => {
                out.u8(9);
                out.u64(*thread);
                out.text(text, MAX_NAME);
            }
            Call::Holding { held, pending, more } => {
                out.u8(10);
                out.bool(*more);
                out.list(held, usize::MAX, |out, &request| out.u64(request));
                out.list(pending, usize::MAX, |out, &request| out.u64(request));
            }
            Call::Ping => out.u8(11),
            Call::Bye => out.u8(12),
            Call::Publish { call, publish } => {
                out.u8(16);
                out.u64(*call);
                publish.encode(out);
            }
            Call::Mailbox { call, open, count, bytes } => {
                out.u8(17);
                out.u64(*call);
                out.bool(*open);
                out.u32(*count);
                out.u64(*bytes);
            }
            Call::Taken { count, bytes } => {
                out.u8(18);
                out.u32(*count);
                out.u64(*bytes);
            }
        }
    }

    /// The call with these bytes, all of them.
    pub(crate) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut from = MessageReader::new(message);
        let call = match from.u8()? {
            1 => Call::Acquire(Box::new(Acquire::decode(&mut from)?)),
            2 => Call::End { request: from.u64()? },
            3 => Call::Refresh { call: from.u64()?, request: from.u64()? },
            4 => Call::Disown { request: from.u64()? },
            5 => Call::Inspect { call: from.u64()?, query: take_query(&mut from)? },
            6 => Call::Evict { call: from.u64()?, key: from.key()?, token: from.token()? },
            7 => Call::Status { call: from.u64()? },
            8 => match from.u32()? {
                0 => return Err(Malformed("call site 0 is none")),
                id => Call::Site { id, text: from.text(MAX_SITE)? },
            },
            9 => Call::Name { thread: from.u64()?, text: from.text(MAX_NAME)? },
            10 => Call::Holding {
                more: from.bool()?,
                held: from.list(usize::MAX, 8, MessageReader::u64)?,
                pending: from.list(usize::MAX, 8, MessageReader::u64)?,
            },
            11 => Call::Ping,
            12 => Call::Bye,
            13 => {
                let mut acquire = Acquire::decode(&mut from)?;
                acquire.decode_more(&mut from)?;
                Call::Acquire(Box::new(acquire))
            }
            14 => Call::Done { request: from.u64()? },
            15 => Call::Share { call: from.u64()?, request: from.u64()? },
            16 => {
                let call = from.u64()?;
                Call::Publish { call, publish: Box::new(Publish::decode(&mut from)?) }
            }
            17 => Call::Mailbox {
                call: from.u64()?,
                open: from.bool()?,
                count: from.u32()?,
                bytes: from.u64()?,
            },
            18 => Call::Taken { count: from.u32()?, bytes: from.u64()? },
            _ => return Err(Malformed("no such call")),
        };
        from.end()?;
        Ok(call)
    }
}

// The flags of an `Acquire`. Wait, mode and fairness take two bits each.
const WAIT_FOREVER: u16 = 1;
const WAIT_NO: u16 = 2;
const WAIT_AT_MOST: u16 = 3;
const SHARED: u16 = 1 << 2;
const PERMIT: u16 = 2 << 2;
const FAIR: u16 = 1 << 4;
const UNFAIR: u16 = 2 << 4;
const REENTRANT: u16 = 1 << 6;
const OPENS_SCOPE: u16 = 1 << 7;
const STEAL_AFTER: u16 = 1 << 8;
const LEASE: u16 = 1 << 9;
const HOLD_AT_LEAST: u16 = 1 << 10;
const HOLD_AT_MOST: u16 = 1 << 11;
const OWNER: u16 = 1 << 12;
const WITHIN: u16 = 1 << 13;
const SITE: u16 = 1 << 14;
const WAITED: u16 = 1 << 15;

impl Acquire {
    fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.request);
        out.u16(self.flags());
        out.list(&self.keys, usize::MAX, |out, key| out.key(key));
        let options = &self.options;
        if let Some(Wait::AtMost(limit)) = options.wait {
            out.duration(limit);
        }
        if let Mode::Permit { take, of } = options.mode {
            put_permits(out, take, of);
        }
        let Options { steal_after, lease, hold_at_least, hold_at_most, .. } = *options;
        for duration in [steal_after, lease, hold_at_least, hold_at_most].into_iter().flatten() {
            out.duration(duration);
        }
        if let Some(owner) = self.owner {
            put_own(out, owner);
        }
        let within = &self.within[..self.within.len().min(MAX_WITHIN)];
        if !within.is_empty() {
            out.u8(u8::try_from(within.len()).expect("at most `MAX_WITHIN`"));
            within.iter().for_each(|&owner| put_own(out, owner));
        }
        if self.site != 0 {
            out.u32(self.site);
        }
        if !self.waited.is_zero() {
            out.duration(self.waited);
        }
    }

    fn flags(&self) -> u16 {
        let Options { steal_after, lease, hold_at_least, hold_at_most, .. } = self.options;
        let wait = match self.options.wait {
            None => 0,
            Some(Wait::Forever) => WAIT_FOREVER,
            Some(Wait::Try) => WAIT_NO,
            Some(Wait::AtMost(_)) => WAIT_AT_MOST,
        };
        let mode = match self.options.mode {
            Mode::Exclusive => 0,
            Mode::Shared => SHARED,
            Mode::Permit { .. } => PERMIT,
        };
        let fair = match self.options.fair {
            None => 0,
            Some(true) => FAIR,
            Some(false) => UNFAIR,
        };
        [
            (self.options.reentrant, REENTRANT),
            (self.opens_scope, OPENS_SCOPE),
            (steal_after.is_some(), STEAL_AFTER),
            (lease.is_some(), LEASE),
            (hold_at_least.is_some(), HOLD_AT_LEAST),
            (hold_at_most.is_some(), HOLD_AT_MOST),
            (self.owner.is_some(), OWNER),
            (!self.within.is_empty(), WITHIN),
            (self.site != 0, SITE),
            (!self.waited.is_zero(), WAITED),
        ]
        .into_iter()
        .filter_map(|(is_set, flag)| is_set.then_some(flag))
        .fold(wait | mode | fair, |flags, flag| flags | flag)
    }

    fn decode(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        let request = from.u64()?;
        let flags = from.u16()?;
        let is_set = |flag| flags & flag != 0;
        let keys = from.list(usize::MAX, 3, MessageReader::key)?;
        if keys.is_empty() {
            return Err(Malformed("a request for no key"));
        }
        if !keys.is_sorted_by(|before, after| before < after) {
            return Err(Malformed("keys are not in ascending order, each once"));
        }
        let mut options = Options::default();
        options.wait = match flags & WAIT_AT_MOST {
            0 => None,
            WAIT_FOREVER => Some(Wait::Forever),
            WAIT_NO => Some(Wait::Try),
            _ => Some(Wait::AtMost(from.duration()?)),
        };
        options.mode = match flags & (SHARED | PERMIT) {
            0 => Mode::Exclusive,
            SHARED => Mode::Shared,
            PERMIT => take_permits(from)?,
            _ => return Err(Malformed("no such mode")),
        };
        options.fair = match flags & (FAIR | UNFAIR) {
            0 => None,
            FAIR => Some(true),
            UNFAIR => Some(false),
            _ => return Err(Malformed("both fair and not")),
        };
        options.reentrant = is_set(REENTRANT);
        options.steal_after = from.if_set(is_set(STEAL_AFTER), MessageReader::duration)?;
        options.lease = from.if_set(is_set(LEASE), MessageReader::duration)?;
        options.hold_at_least = from.if_set(is_set(HOLD_AT_LEAST), MessageReader::duration)?;
        options.hold_at_most = from.if_set(is_set(HOLD_AT_MOST), MessageReader::duration)?;
        Ok(Self {
            request,
            keys,
            options,
            owner: from.if_set(is_set(OWNER), take_own)?,
            within: from.if_set(is_set(WITHIN), take_within)?.unwrap_or_default(),
            opens_scope: is_set(OPENS_SCOPE),
            site: match from.if_set(is_set(SITE), MessageReader::u32)? {
                Some(0) => return Err(Malformed("call site 0 is none")),
                site => site.unwrap_or(0),
            },
            waited: match from.if_set(is_set(WAITED), MessageReader::duration)? {
                Some(Duration::ZERO) => return Err(Malformed("no time is said to have passed")),
                waited => waited.unwrap_or(Duration::ZERO),
            },
            label: None,
            shared: None,
        })
    }

    /// Whether it asks for nothing that [`encode_more`](Self::encode_more) has to say.
    fn is_common(&self) -> bool {
        self.more() == [false; 4]
    }

    fn more(&self) -> [bool; 4] {
        [
            self.options.reserve == Reserve::IfDone,
            self.options.only_nests,
            self.label.is_some(),
            self.shared.is_some(),
        ]
    }

    /// What hardly any request asks for.
    fn encode_more(&self, out: &mut Vec<u8>) {
        out.flags(self.more());
        put_text(out, self.label.as_deref(), MAX_NAME);
        if let Some(shared) = self.shared {
            out.bytes(&shared.to_bytes());
        }
    }

    fn decode_more(&mut self, from: &mut MessageReader<'_>) -> Result<(), Malformed> {
        let [if_done, only_nests, label, shared] = from.flags()?;
        if if_done {
            self.options.reserve = Reserve::IfDone;
        }
        self.options.only_nests = only_nests;
        self.label = from.if_set(label, |from| from.text(MAX_NAME))?.map(Arc::from);
        self.shared = from.if_set(shared, MessageReader::array)?.map(SharedOwner::from_bytes);
        if self.shared.is_some() && self.owner.is_some() {
            return Err(Malformed("two owners"));
        }
        if self.is_common() {
            return Err(Malformed("more is announced, and there is none"));
        }
        Ok(())
    }
}

fn take_within(from: &mut MessageReader<'_>) -> Result<OwnerChain, Malformed> {
    match usize::from(from.u8()?) {
        count @ 1..=MAX_WITHIN => (0..count).map(|_| take_own(from)).collect(),
        _ => Err(Malformed("none or too many enclosing identities")),
    }
}

fn put_query(out: &mut Vec<u8>, query: &Query) {
    let (kind, text) = match query {
        Query::Key(key) => (1, key),
        Query::Prefix(prefix) => (2, prefix),
        // Also what this version cannot say: whoever asks takes what matches.
        _ => return out.u8(0),
    };
    out.u8(kind);
    out.text(text, MAX_TEXT);
}

fn take_query(from: &mut MessageReader<'_>) -> Result<Query, Malformed> {
    Ok(match from.u8()? {
        0 => Query::All,
        1 => Query::Key(from.text(MAX_TEXT)?),
        2 => Query::Prefix(from.text(MAX_TEXT)?),
        _ => return Err(Malformed("no such query")),
    })
}
