//! Any message at all.

use std::time::Duration;

use locks_core::{
    DeadlockStep, ErrorKind, HolderInfo, LockError, LockInfo, LostCause, Mode, Options, OwnerId,
    ProcessInfo, Query, Reserve, SharedOwner, Token, Wait, WaiterInfo,
};
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;

use super::super::{
    Acquire, Call, ClientHello, ClientProof, Event, How, Keep, MAX_WITHIN, Note, Open, Opened,
    Publish, Published, Rejected, Resume, ServerHello, ServerProof, Status, Versions, Why,
};

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn token() -> impl Strategy<Value = Token> {
    any::<u64>().prop_map(Token::new)
}

fn text() -> impl Strategy<Value = String> {
    "[a-zé\u{0} ]{0,12}"
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[a-c]{1,3}", 1 => "[é:/🔒]{1,9}", 1 => Just("k".repeat(1024))]
}

fn mode() -> impl Strategy<Value = Mode> {
    let permit = (1..=u32::MAX, 1..=u32::MAX)
        .prop_map(|(a, b)| Mode::Permit { take: a.min(b), of: a.max(b) });
    prop_oneof![Just(Mode::Exclusive), Just(Mode::Shared), permit]
}

fn own() -> impl Strategy<Value = OwnerId> {
    (1..=5_u8, any::<u64>())
        .prop_map(|(kind, number)| OwnerId::from_parts(0, kind, number).unwrap())
}

fn foreign() -> impl Strategy<Value = OwnerId> {
    (1..=6_u8, any::<u64>(), any::<u32>())
        .prop_map(|(kind, number, realm)| OwnerId::from_parts(realm, kind, number).unwrap())
}

/// The owner of a request: the session's, or one that is shared.
fn named() -> impl Strategy<Value = (Option<OwnerId>, Option<SharedOwner>)> {
    prop_oneof![
        3 => of(own()).prop_map(|owner| (owner, None)),
        1 => any::<[u8; 16]>().prop_map(|bytes| (None, Some(SharedOwner::from_bytes(bytes)))),
    ]
}

fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![Just(Wait::Forever), Just(Wait::Try), duration().prop_map(Wait::AtMost)]
}

fn options() -> impl Strategy<Value = Options> {
    let durations = (of(duration()), of(duration()), of(duration()), of(duration()));
    let rare = prop_oneof![3 => Just((false, false)), 1 => any::<(bool, bool)>()];
    (of(wait()), mode(), any::<bool>(), of(any::<bool>()), durations, rare).prop_map(
        |(wait, mode, reentrant, fair, durations, (only_nests, if_done))| {
            let mut options = Options::default();
            options.only_nests = only_nests;
            options.reserve = if if_done { Reserve::IfDone } else { Reserve::Always };
            (options.wait, options.mode) = (wait, mode);
            (options.reentrant, options.fair) = (reentrant, fair);
            (options.steal_after, options.lease, options.hold_at_least, options.hold_at_most) =
                durations;
            options
        },
    )
}

fn acquire() -> impl Strategy<Value = Acquire> {
    let keys = btree_set(key(), 1..4).prop_map(Vec::from_iter);
    let whose = (named(), vec(own(), 0..=MAX_WITHIN), any::<bool>());
    let rest = (prop_oneof![Just(0), any::<u32>()], of(duration()), of(text()));
    (any::<u64>(), keys, options(), whose, rest).prop_map(
        |(
            request,
            keys,
            options,
            ((owner, shared), within, opens_scope),
            (site, waited, label),
        )| Acquire {
            request,
            keys,
            options,
            owner,
            shared,
            within: within.into(),
            opens_scope,
            site,
            waited: waited.unwrap_or_default(),
            label: label.map(std::sync::Arc::from),
        },
    )
}

fn query() -> impl Strategy<Value = Query> {
    prop_oneof![Just(Query::All), text().prop_map(Query::Key), text().prop_map(Query::Prefix)]
}

pub(super) fn call() -> impl Strategy<Value = Call> {
    let numbers = || vec(any::<u64>(), 0..5);
    prop_oneof![
        8 => acquire().prop_map(|acquire| Call::Acquire(Box::new(acquire))),
        1 => any::<u64>().prop_map(|request| Call::End { request }),
        1 => any::<(u64, u64)>().prop_map(|(call, request)| Call::Refresh { call, request }),
        1 => any::<u64>().prop_map(|request| Call::Disown { request }),
        1 => any::<u64>().prop_map(|request| Call::Done { request }),
        1 => any::<(u64, u64)>().prop_map(|(call, request)| Call::Share { call, request }),
        1 => (any::<u64>(), query()).prop_map(|(call, query)| Call::Inspect { call, query }),
        1 => (any::<u64>(), key(), token())
            .prop_map(|(call, key, token)| Call::Evict { call, key, token }),
        1 => any::<u64>().prop_map(|call| Call::Status { call }),
        1 => (1..=u32::MAX, text()).prop_map(|(id, text)| Call::Site { id, text }),
        1 => (any::<u64>(), text()).prop_map(|(thread, text)| Call::Name { thread, text }),
        1 => (numbers(), numbers(), any::<bool>())
            .prop_map(|(held, pending, more)| Call::Holding { held, pending, more }),
        2 => (any::<u64>(), publish())
            .prop_map(|(call, publish)| Call::Publish { call, publish: Box::new(publish) }),
        1 => any::<(u64, bool, u32, u64)>()
            .prop_map(|(call, open, count, bytes)| Call::Mailbox { call, open, count, bytes }),
        1 => any::<(u32, u64)>().prop_map(|(count, bytes)| Call::Taken { count, bytes }),
        1 => Just(Call::Ping),
        1 => Just(Call::Bye),
    ]
}

fn note() -> impl Strategy<Value = Note> {
    let keep = prop_oneof![Just(Keep::Both), Just(Keep::Older), Just(Keep::Newer)];
    (key(), vec(any::<u8>(), 0..9), of(duration()), keep)
        .prop_map(|(subject, content, timeout, keep)| Note { subject, content, timeout, keep })
}

fn publish() -> impl Strategy<Value = Publish> {
    (note(), any::<bool>(), vec(text(), 0..4)).prop_map(|(note, to_self, receivers)| Publish {
        note,
        to_self,
        receivers,
    })
}

fn party(site: bool) -> impl Strategy<Value = ProcessInfo> {
    let names = (of(text()), of(text()), of(text()), of(text()));
    (names, of(any::<u32>())).prop_map(move |((label, host, process, place), pid)| {
        let mut party = ProcessInfo::default();
        (party.label, party.host, party.process, party.pid) = (label, host, process, pid);
        party.site = place.filter(|_| site);
        party
    })
}

fn holder() -> impl Strategy<Value = HolderInfo> {
    let rest = (of(token()), of(foreign()), of(text()), of(duration()));
    let more = (of(text()), prop_oneof![Just(1), 2..9_usize]);
    (mode(), party(true), rest, more).prop_map(|(mode, party, (token, owner, who, age), more)| {
        let mut holder = HolderInfo::new(mode);
        (holder.label, holder.depth) = more;
        (holder.party, holder.token, holder.owner) = (party, token, owner);
        (holder.who, holder.age) = (who, age);
        holder
    })
}

fn waiter() -> impl Strategy<Value = WaiterInfo> {
    (mode(), party(true), of(foreign()), of(text()), duration(), of(text())).prop_map(
        |(mode, party, owner, who, waited, label)| {
            let mut waiter = WaiterInfo::new(mode, waited);
            waiter.label = label;
            (waiter.party, waiter.owner, waiter.who) = (party, owner, who);
            waiter
        },
    )
}

fn info() -> impl Strategy<Value = LockInfo> {
    let parties = (vec(holder(), 0..3), vec(waiter(), 0..3));
    (key(), parties, of(duration()), vec(token(), 0..3)).prop_map(
        |(key, (holders, waiters), reserved_for, reserved_by)| {
            let mut info = LockInfo::new(key);
            (info.holders, info.waiters) = (holders, waiters);
            (info.reserved_for, info.reserved_by) = (reserved_for, reserved_by);
            info
        },
    )
}

fn cause() -> impl Strategy<Value = LostCause> {
    prop::sample::select(vec![
        LostCause::Stolen,
        LostCause::HeldTooLong,
        LostCause::Expired,
        LostCause::Evicted,
        LostCause::SessionEnded,
        LostCause::Replaced,
        LostCause::Forgotten,
    ])
}

fn kind() -> impl Strategy<Value = ErrorKind> {
    let plain = prop::sample::select(vec![
        ErrorKind::Contended,
        ErrorKind::Timeout,
        ErrorKind::Deadlock,
        ErrorKind::InvalidKey,
        ErrorKind::Unsupported,
        ErrorKind::NotConfigured,
        ErrorKind::Unavailable,
        ErrorKind::PermitsMismatch,
        ErrorKind::Unauthorized,
        ErrorKind::LimitExceeded,
        ErrorKind::Protocol,
        ErrorKind::Io,
    ]);
    prop_oneof![12 => plain, 7 => cause().prop_map(|cause| ErrorKind::Lost { cause })]
}

fn step() -> impl Strategy<Value = DeadlockStep> {
    (key(), waiter(), holder())
        .prop_map(|(wants, waiter, holder)| DeadlockStep::new(wants, waiter, holder))
}

fn error() -> impl Strategy<Value = LockError> {
    let parties = (vec(holder(), 0..3), vec(waiter(), 0..3), any::<u32>(), vec(step(), 0..3));
    let rest = (of(text()), of(duration()), of(token()), of(duration()));
    (kind(), text(), parties, rest).prop_map(
        |(kind, key, (holders, waiters, waiting, cycle), (message, waited, token, left))| {
            let mut error = LockError::new(kind, key)
                .with_holders(holders)
                .with_waiters(waiters)
                .with_waiting(waiting as usize)
                .with_cycle(cycle)
                .with_reserved_for(left);
            if let Some(message) = message {
                error = error.with_message(message);
            }
            if let Some(waited) = waited {
                error = error.with_waited(waited);
            }
            match token {
                Some(token) => error.with_token(token),
                None => error,
            }
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    (any::<u32>(), text(), text(), duration(), any::<[u64; 3]>()).prop_map(
        |(pid, process, version, serving_for, [sessions, keys, waiters])| Status {
            pid,
            process,
            version,
            serving_for,
            sessions,
            keys,
            waiters,
        },
    )
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (any::<u64>(), token(), vec(holder(), 0..3))
            .prop_map(|(request, token, stolen_from)| Event::Granted { request, token, stolen_from }),
        6 => (any::<u64>(), error()).prop_map(|(call, error)| Event::Refused { call, error }),
        1 => any::<u64>().prop_map(|call| Event::Done { call }),
        3 => (any::<u64>(), vec(info(), 0..3), any::<bool>())
            .prop_map(|(call, infos, more)| Event::Listed { call, infos, more }),
        1 => any::<(u64, bool)>().prop_map(|(call, found)| Event::Evicted { call, found }),
        1 => (any::<u64>(), status()).prop_map(|(call, status)| Event::Status { call, status }),
        1 => (any::<u64>(), cause()).prop_map(|(request, cause)| Event::Lost { request, cause }),
        2 => (note(), party(false))
            .prop_map(|(note, from)| Event::Message { note: Box::new(note), from }),
        1 => any::<(u64, u32, u32)>().prop_map(|(call, delivered, full)| {
            Event::Published { call, published: Published { delivered, full } }
        }),
        1 => Just(()).prop_map(|()| Event::Closing),
    ]
}

pub(super) fn client_hello() -> impl Strategy<Value = ClientHello> {
    any::<(u16, [u8; 32])>().prop_map(|(version, nonce)| ClientHello { version, nonce })
}

pub(super) fn server_hello() -> impl Strategy<Value = ServerHello> {
    any::<(u16, [u8; 16], [u8; 32], bool)>()
        .prop_map(|(version, server, nonce, secret)| ServerHello { version, server, nonce, secret })
}

pub(super) fn client_proof() -> impl Strategy<Value = ClientProof> {
    ("[a-z.-]{0,64}", any::<[u8; 32]>()).prop_map(|(name, proof)| ClientProof { name, proof })
}

pub(super) fn server_proof() -> impl Strategy<Value = ServerProof> {
    any::<[u8; 32]>().prop_map(ServerProof)
}

pub(super) fn open() -> impl Strategy<Value = Open> {
    let resume = any::<(u32, [u8; 16], [u8; 16], u64)>()
        .prop_map(|(realm, secret, server, received)| Resume { realm, secret, server, received });
    (of(resume), party(false), of(duration())).prop_map(|(resume, party, lease)| Open {
        resume,
        party,
        lease,
    })
}

pub(super) fn opened() -> impl Strategy<Value = Opened> {
    let how = prop::sample::select(vec![How::New, How::Resumed, How::Restored]);
    (how, any::<(u32, [u8; 16], u64, u32, bool)>(), duration()).prop_map(
        |(how, (realm, secret, applied, max_frame, renews), lease)| {
            let applied = if how == How::Resumed { applied } else { 0 };
            Opened { how, realm, secret, applied, max_frame, lease, renews }
        },
    )
}

pub(super) fn rejected() -> impl Strategy<Value = Rejected> {
    let others = vec![Why::Unauthorized, Why::LimitExceeded, Why::Unavailable, Why::Protocol];
    let version = any::<[u16; 2]>().prop_map(|[one, other]| {
        Why::Version(Versions { oldest: one.min(other), newest: one.max(other) })
    });
    let why = prop_oneof![1 => version, 4 => prop::sample::select(others)];
    (why, text()).prop_map(|(why, text)| Rejected { why, text })
}
