//! Records as bytes:
//! `[length u32][checksum of the payload u32][checksum of these eight bytes u32]`, and then the
//! payload.
//!
//! A server that is killed, or a disk that is full, leaves the beginning of what it wrote last: the
//! record at the end may be cut off. A header has a checksum of its own, so that a length that was
//! damaged is not taken for a record that was cut off, with all that came after it.

use std::fmt;

use locks_core::{LostCause, Mode, OwnerId, ProcessInfo, Token};

use super::fields::{FieldReader, Read, Writer};
use super::record::{Grant, Member, Record, Reserved, SessionKind, SessionRecord};
use crate::pidfd::{PidfdHandle, Process};

const HEADER: usize = 12;

/// A journal that is damaged otherwise than at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt {
    /// Where the record begins that is not what it should be.
    pub(crate) offset: usize,
    pub(crate) why: &'static str,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged at byte {}: {}", self.offset, self.why)
    }
}

impl std::error::Error for Corrupt {}

impl Record {
    /// Appends the record to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        write_payload(&mut Writer(out), self);
        let payload = &out[start + HEADER..];
        let len =
            u32::try_from(payload.len()).expect("a record is made of frames, which are bounded");
        let checksum = crc32fast::hash(payload);
        let header = &mut out[start..start + HEADER];
        header[..4].copy_from_slice(&len.to_le_bytes());
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
        let own = crc32fast::hash(&header[..8]);
        header[8..].copy_from_slice(&own.to_le_bytes());
    }
}

/// Records one after another. What is cut off at the end, is full of zeros from some point on, or
/// is a last record that is not whole, was never written.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Records<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// The next record; `None`: that was all.
    ///
    /// # Errors
    /// Anything wrong that has more behind it.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Corrupt> {
        let offset = self.offset;
        let corrupt = |why| Corrupt { offset, why };
        let split = self.bytes[offset..].split_first_chunk::<HEADER>();
        let Some((header, rest)) = split else { return Ok(None) };
        let (sums, own) = header.split_at(HEADER - 4);
        if own != crc32fast::hash(sums).to_le_bytes() {
            // No payload begins with a zero, so that a header which was written in full is seen.
            return torn(rest).ok_or(corrupt("the record's header has a wrong checksum"));
        }
        let mut fields = FieldReader(sums);
        let (len, checksum) = (fields.u32().map_err(corrupt)?, fields.u32().map_err(corrupt)?);
        let Some((payload, rest)) = rest.split_at_checked(len as usize) else { return Ok(None) };
        if checksum != crc32fast::hash(payload) {
            return torn(rest).ok_or(corrupt("the record has a wrong checksum"));
        }
        self.offset += HEADER + payload.len();
        read_payload(payload).map(Some).map_err(corrupt)
    }

    /// Where the next one begins: how long the journal is, after the last one.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }
}

/// The end of the records, if nothing was written behind it.
fn torn(rest: &[u8]) -> Option<Option<Record>> {
    rest.iter().all(|byte| *byte == 0).then_some(None)
}

fn write_payload(to: &mut Writer<'_>, record: &Record) {
    match record {
        Record::Session(session) => {
            to.u8(1);
            write_session(to, session);
        }
        Record::Gone { realm } => {
            to.u8(2);
            to.u32(*realm);
        }
        Record::Grant(grant) => {
            to.u8(3);
            to.u32(grant.realm);
            to.u64(grant.request);
            to.duration(grant.lease);
            for member in &grant.members {
                write_member(to, member);
            }
        }
        Record::Ended { realm, request, cause, at } => {
            to.u8(4);
            to.u32(*realm);
            to.u64(*request);
            to.u8(cause.map_or(0, cause_number));
            to.moment(*at);
        }
        Record::Refreshed { realm, request, at } => {
            to.u8(5);
            to.u32(*realm);
            to.u64(*request);
            to.moment(*at);
        }
        Record::Disowned { realm, request } => {
            to.u8(6);
            to.u32(*realm);
            to.u64(*request);
        }
        Record::Reserved(reserved) => {
            to.u8(7);
            to.text(&reserved.key);
            write_mode(to, reserved.mode);
            to.u64(reserved.token.get());
            to.moment(reserved.until);
        }
        Record::Done { realm, request } => {
            to.u8(9);
            to.u32(*realm);
            to.u64(*request);
        }
        Record::Shared { realm, request } => {
            to.u8(10);
            to.u32(*realm);
            to.u64(*request);
        }
        Record::Freed { key, token } => {
            to.u8(8);
            to.text(key);
            to.u64(token.get());
        }
    }
}

fn read_payload(payload: &[u8]) -> Read<Record> {
    let from = &mut FieldReader(payload);
    let record = match from.u8()? {
        1 => Record::Session(read_session(from)?),
        2 => Record::Gone { realm: from.u32()? },
        3 => {
            let (realm, request, lease) = (from.u32()?, from.u64()?, from.duration()?);
            let mut members = Vec::new();
            while from.end().is_err() {
                members.push(read_member(from)?);
            }
            Record::Grant(Grant { realm, request, lease, members })
        }
        4 => {
            let (realm, request) = (from.u32()?, from.u64()?);
            let cause = match from.u8()? {
                0 => None,
                number => Some(cause(number)?),
            };
            Record::Ended { realm, request, cause, at: from.moment()? }
        }
        5 => Record::Refreshed { realm: from.u32()?, request: from.u64()?, at: from.moment()? },
        6 => Record::Disowned { realm: from.u32()?, request: from.u64()? },
        7 => Record::Reserved(Reserved {
            key: from.text()?,
            mode: read_mode(from)?,
            token: Token::new(from.u64()?),
            until: from.moment()?,
        }),
        8 => Record::Freed { key: from.text()?, token: Token::new(from.u64()?) },
        9 => Record::Done { realm: from.u32()?, request: from.u64()? },
        10 => Record::Shared { realm: from.u32()?, request: from.u64()? },
        _ => return Err("there is no such kind of record"),
    };
    from.end()?;
    Ok(record)
}

fn write_session(to: &mut Writer<'_>, session: &SessionRecord) {
    to.u32(session.realm);
    to.bytes(&session.secret);
    let ProcessInfo { label, host, pid, process, .. } = &session.party;
    for text in [label, host, process] {
        to.option(text.as_deref(), Writer::text);
    }
    to.option(*pid, Writer::u32);
    let process = match session.kept {
        SessionKind::ByProcess(process) => Some(process),
        SessionKind::ByLease => None,
    };
    to.option(process, write_process);
    to.duration(session.lease);
    to.option(session.client.as_deref(), Writer::text);
}

fn read_session(from: &mut FieldReader<'_>) -> Read<SessionRecord> {
    let (realm, secret) = (from.u32()?, from.array()?);
    let mut party = ProcessInfo::default();
    for text in [&mut party.label, &mut party.host, &mut party.process] {
        *text = from.option(FieldReader::text)?;
    }
    party.pid = from.option(FieldReader::u32)?;
    let kept = from.option(read_process)?.map_or(SessionKind::ByLease, SessionKind::ByProcess);
    let (lease, client) = (from.duration()?, from.option(FieldReader::text)?);
    Ok(SessionRecord { realm, secret, party, kept, lease, client })
}

pub(super) fn write_process(to: &mut Writer<'_>, process: Process) {
    to.u32(process.pid);
    for number in [process.started, process.seen_from, process.inode] {
        to.u64(number);
    }
    to.option(process.handle, |to, handle| {
        to.u32(handle.kind.cast_unsigned());
        to.bytes(&handle.bytes);
    });
}

pub(super) fn read_process(from: &mut FieldReader<'_>) -> Read<Process> {
    let (pid, started, seen_from, inode) = (from.u32()?, from.u64()?, from.u64()?, from.u64()?);
    let handle = from
        .option(|from| Ok(PidfdHandle { kind: from.u32()?.cast_signed(), bytes: from.array()? }))?;
    Ok(Process { pid, started, seen_from, inode, handle })
}

fn write_member(to: &mut Writer<'_>, member: &Member) {
    to.text(&member.key);
    to.u64(member.token.get());
    to.u64(member.outer.get());
    to.bool(member.nested);
    write_mode(to, member.mode);
    to.option(member.owner, write_owner);
    match member.runs_as {
        None => to.u8(0),
        same if same == member.owner => to.u8(1),
        Some(other) => {
            to.u8(2);
            write_owner(to, other);
        }
    }
    for text in [&member.site, &member.label] {
        to.option(text.as_deref(), Writer::text);
    }
    for moment in [member.since, member.reserved_until, member.ends_at] {
        to.option(moment, Writer::moment);
    }
    to.bool(member.if_done);
    to.bool(member.is_done);
}

fn write_owner(to: &mut Writer<'_>, owner: OwnerId) {
    let (realm, kind, number) = owner.to_parts();
    to.u32(realm);
    to.u8(kind);
    to.u64(number);
}

fn read_owner(from: &mut FieldReader<'_>) -> Read<OwnerId> {
    let (realm, kind, number) = (from.u32()?, from.u8()?, from.u64()?);
    OwnerId::from_parts(realm, kind, number).ok_or("there is no such kind of owner")
}

fn read_member(from: &mut FieldReader<'_>) -> Read<Member> {
    let (key, token, outer) = (from.text()?, Token::new(from.u64()?), Token::new(from.u64()?));
    let (nested, mode, owner) = (from.bool()?, read_mode(from)?, from.option(read_owner)?);
    let runs_as = match from.u8()? {
        0 => None,
        1 => owner,
        2 => Some(read_owner(from)?),
        _ => return Err("it is not said what a hold runs as"),
    };
    Ok(Member {
        key,
        token,
        outer,
        nested,
        mode,
        owner,
        runs_as,
        site: from.option(FieldReader::text)?,
        label: from.option(FieldReader::text)?,
        since: from.option(FieldReader::moment)?,
        reserved_until: from.option(FieldReader::moment)?,
        ends_at: from.option(FieldReader::moment)?,
        if_done: from.bool()?,
        is_done: from.bool()?,
    })
}

fn write_mode(to: &mut Writer<'_>, mode: Mode) {
    match mode {
        Mode::Exclusive => to.u8(0),
        Mode::Shared => to.u8(1),
        Mode::Permit { take, of } => {
            to.u8(2);
            to.u32(take);
            to.u32(of);
        }
    }
}

fn read_mode(from: &mut FieldReader<'_>) -> Read<Mode> {
    match from.u8()? {
        0 => Ok(Mode::Exclusive),
        1 => Ok(Mode::Shared),
        2 => match (from.u32()?, from.u32()?) {
            (take, of) if (1..=of).contains(&take) => Ok(Mode::Permit { take, of }),
            _ => Err("there are no such permits"),
        },
        _ => Err("there is no such mode"),
    }
}

const CAUSES: [LostCause; 7] = [
    LostCause::Stolen,
    LostCause::HeldTooLong,
    LostCause::Expired,
    LostCause::Evicted,
    LostCause::SessionEnded,
    LostCause::Replaced,
    LostCause::Forgotten,
];

fn cause_number(cause: LostCause) -> u8 {
    // A cause that is newer than this list is still a loss: the last one says no more than that.
    let index = CAUSES.iter().position(|known| *known == cause).unwrap_or(CAUSES.len() - 1);
    u8::try_from(index + 1).expect("there are few causes")
}

fn cause(number: u8) -> Read<LostCause> {
    let index = usize::from(number).checked_sub(1);
    let cause = index.and_then(|index| CAUSES.get(index));
    cause.copied().ok_or("there is no such cause of a loss")
}
