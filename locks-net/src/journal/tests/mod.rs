//! Records that tests write, and histories made of them.

mod bytes;
mod directory;
mod disk;
mod history;
mod holds;
mod processes;
mod scratch;

use std::time::Duration;

use locks_core::{LostCause, Mode, Moment, OwnerId, ProcessInfo, Token};

use super::*;
use crate::pidfd::Process;

pub(super) fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

pub(super) fn session(realm: u32) -> Record {
    let mut party = ProcessInfo::default();
    party.label = Some(format!("client {realm}"));
    party.pid = (realm.is_multiple_of(2)).then_some(4711);
    let kept = match realm % 2 {
        0 => SessionKind::ByProcess(Process {
            pid: 4711,
            started: 88,
            inode: 9,
            ..Process::default()
        }),
        _ => SessionKind::ByLease,
    };
    let secret = [u8::try_from(realm % 251).unwrap(); 16];
    let client = (kept == SessionKind::ByLease).then(|| "deploy".to_owned());
    let lease = Duration::from_secs(10);
    Record::Session(SessionRecord { realm, secret, party, kept, lease, client })
}

/// A key of a guard that opens a hold.
pub(super) fn member(key: &str, token: u64) -> Member {
    Member {
        if_done: false,
        is_done: false,
        key: key.into(),
        token: Token::new(token),
        outer: Token::new(token),
        nested: false,
        mode: Mode::Exclusive,
        owner: OwnerId::from_parts(7, 1, 3),
        runs_as: OwnerId::from_parts(7, 1, 3),
        label: Some("order 17".into()),
        site: Some("src/pay.rs:88".into()),
        since: Some(at(token)),
        reserved_until: None,
        ends_at: None,
    }
}

/// A key of a guard within the hold of another.
pub(super) fn nested(key: &str, outer: u64, mode: Mode) -> Member {
    Member { nested: true, mode, ..member(key, outer) }
}

/// With a reservation until then.
pub(super) fn until(end: u64, member: Member) -> Member {
    Member { reserved_until: Some(at(end)), ..member }
}

pub(super) fn grant(realm: u32, request: u64, members: impl Into<Vec<Member>>) -> Record {
    let lease = Duration::from_millis(1500);
    Record::Grant(Grant { realm, request, lease, members: members.into() })
}

pub(super) fn released(realm: u32, request: u64, now: u64) -> Record {
    Record::Ended { realm, request, cause: None, at: at(now) }
}

pub(super) fn taken(realm: u32, request: u64, cause: LostCause, now: u64) -> Record {
    Record::Ended { realm, request, cause: Some(cause), at: at(now) }
}

pub(super) fn encode<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    let mut bytes = Vec::new();
    records.into_iter().for_each(|record| record.encode(&mut bytes));
    bytes
}

pub(super) fn ledger(records: impl IntoIterator<Item = Record>) -> Ledger {
    let mut ledger = Ledger::default();
    records.into_iter().for_each(|record| ledger.apply(record).unwrap());
    ledger
}

/// All of a ledger, to compare.
pub(super) fn state(ledger: &Ledger) -> Vec<Record> {
    ledger.records(at(0))
}
