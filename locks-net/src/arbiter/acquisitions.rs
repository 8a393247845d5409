//! Acquisitions: which are taken, and how the engine is asked.

use std::time::Duration;

use locks_core::{
    Caller, ErrorKind, KeySet, Keys, LockError, Mode, Moment, Op, OwnerId, Query, Request, Wait,
};

use super::Arbiter;
use super::connection::CloseReason;
use super::grants::Grantable;
use super::leases::DIFFERENT_LEASES;
use super::session::{Requested, WaitingRequest};
use crate::journal::Member;
use crate::wire::{Acquire, Event, Malformed};

/// The kind of [owners](OwnerId::to_parts) that are of one acquisition and nobody else.
pub(super) const ACQUISITION: u8 = 3;

impl Arbiter {
    pub(super) fn acquire(&mut self, realm: u32, acquire: Acquire) -> Result<(), CloseReason> {
        let request = acquire.request;
        let session = self.sessions.get(&realm).ok_or(CloseReason::Over)?;
        match session.requests.get(&request) {
            // Asked again after a restart, because the answer had not arrived.
            Some(Requested::Held(held)) => {
                let (token, lost) = (held.hold.token(), held.lost);
                self.tell_granted(realm, request, token);
                if let Some(cause) = lost {
                    self.tell(realm, &Event::Lost { request, cause });
                }
                return Ok(());
            }
            Some(Requested::Waiting(_)) => {
                return Err(Malformed("a request has the number of another one").into());
            }
            None => {}
        }
        let session_lease = session.lease;
        let site = session.site(acquire.site).ok_or(Malformed("an unknown call site"))?;
        if let Err(error) = self
            .allow(realm, &acquire)
            .and_then(|()| self.admit(realm, &acquire))
            .and_then(|()| self.can_write(realm, &acquire))
        {
            let event = if error.kind() == ErrorKind::LimitExceeded { "limit" } else { "disk" };
            self.say(event, error.to_string());
            self.count_refusal(error.kind());
            self.tell(realm, &Event::Refused { call: request, error });
            return Ok(());
        }
        let mut caller = Caller::anonymous();
        // One who has no name has one here, to be known as this session's.
        let acquisition = OwnerId::from_parts(realm, ACQUISITION, request);
        let named = acquire.shared.map(|shared| shared.id()).or(acquire.owner);
        let owner = named.or(acquisition).map(|owner| owner.in_realm(realm));
        caller.owner = owner;
        caller.shared = acquire.shared;
        caller.within = acquire.within.iter().map(|owner| owner.in_realm(realm)).collect();
        if (named.is_none() || caller.within.is_empty()) && acquire.keys.len() > 1 {
            // The keys taken so far are held by this wait for the next one (C10).
            caller.within.insert_many(0, acquisition);
        }
        let runs_as = caller.runs_as();
        caller.opens_scope = acquire.opens_scope;
        caller.site = site;
        caller.label.clone_from(&acquire.label);
        let mut options = acquire.options;
        let may_not_wait = self.lacks_room_to_wait(&acquire);
        if may_not_wait {
            // So it is answered without a trace in the queue.
            options.wait = Some(Wait::Try);
        }
        // Nobody overtakes at a server, unless asked to (C3).
        options.fair.get_or_insert(true);
        if let Some(longest) = self.setup.limits.longest_hold {
            options.hold_at_most =
                Some(options.hold_at_most.map_or(longest, |own| own.min(longest)));
        }
        let lease = options.lease.filter(|lease| *lease != session_lease);
        // What is to be known of such a hold is known without asking the engine.
        let is_plain = acquire.keys.len() == 1
            && options.mode == Mode::Exclusive
            && !options.reentrant
            && options.hold_at_least.is_none()
            && options.hold_at_most.is_none();
        let set;
        let keys = match acquire.keys.as_slice() {
            [key] => Keys::one(key),
            keys => {
                set = KeySet::new(keys.iter().cloned());
                Keys::all(&set)
            }
        };
        let mut asked = Request::new(keys, options, caller);
        if !acquire.waited.is_zero() {
            let now = self.time_awake();
            asked.requested_at =
                Some(Moment::from_nanos(now.nanos().saturating_sub(nanos(acquire.waited))));
        }
        match self.engine.request(asked) {
            Op::Now(Ok(granted)) => {
                let member = is_plain.then(|| {
                    let key = acquire.keys.into_iter().next().unwrap_or_default();
                    let (token, since) = (granted.hold.token(), Some(self.time_awake()));
                    let site = site.map(|site| site.to_string());
                    let label = acquire.label.as_deref().map(str::to_owned);
                    Member { since, owner, runs_as, site, label, ..Member::plain(key, token) }
                });
                self.grant(realm, request, Grantable { granted, lease, asked: None }, member);
            }
            Op::Now(Err(error)) if may_not_wait && error.kind() == ErrorKind::Contended => {
                let error = self.too_many_wait(error.key());
                self.refuse(realm, request, error);
            }
            Op::Now(Err(error)) => self.refuse(realm, request, error),
            Op::Later(future) => {
                let since = self.time_awake().nanos().saturating_sub(nanos(acquire.waited));
                let asked = Moment::from_nanos(since);
                let waiting = WaitingRequest { op: Op::Later(future), lease, asked };
                if let Some(session) = self.sessions.get_mut(&realm) {
                    session.put_request(request, Requested::Waiting(Box::new(waiting)));
                    self.waiting += 1;
                    self.count_wait();
                }
                self.poll_request(realm, request);
            }
        }
        Ok(())
    }

    /// Whether there is room for a request (N6), and whether grants are made at all (N4).
    fn admit(&mut self, realm: u32, acquire: &Acquire) -> Result<(), LockError> {
        let is_full = !self.has_room_for(&acquire.keys);
        let limits = &self.setup.limits;
        let key = acquire.keys.first().map_or("", String::as_str);
        if let Some(until) = self.silent_until {
            let left = until.since(self.now());
            let why = format!(
                "the lock server has lost what it knew of locks granted before, and grants nothing \
                 until the last of them is over, for another {} s",
                left.as_secs() + 1
            );
            return Err(LockError::new(ErrorKind::Unavailable, key).with_message(why));
        }
        let exceeded = |what: String| {
            let error = LockError::new(ErrorKind::LimitExceeded, key);
            Err(error.with_message(format!("`{key}` was not asked for: the lock server {what}")))
        };
        let Some(session) = self.sessions.get(&realm) else { return Ok(()) };
        if session.requests.len() >= limits.requests_per_session {
            let most = limits.requests_per_session;
            return exceeded(format!(
                "takes at most {most} requests of one client (`requests_per_session`)"
            ));
        }
        if self.lacks_room_to_wait(acquire)
            && acquire.options.steal_after.is_some()
            && acquire.keys.len() > 1
            && acquire.keys.iter().any(|key| self.is_in_use(key))
        {
            // It might take some of its keys from others, and then have to wait for the next one.
            return Err(self.too_many_wait(key));
        }
        if is_full {
            return exceeded(format!("knows at most {} keys at a time (`keys`)", limits.keys));
        }
        if let Some(lease) = acquire.options.lease
            && !(limits.shortest_lease..=limits.longest_lease).contains(&lease)
        {
            let (least, most) = (limits.shortest_lease, limits.longest_lease);
            return exceeded(format!(
                "gives leases between {least:?} and {most:?} (`shortest_lease`, `longest_lease`), not of \
                 {lease:?}"
            ));
        }
        if let Some(lease) = acquire.options.lease
            && lease != session.lease
            && session.leases.are_too_many_with(lease)
        {
            return exceeded(format!(
                "gives one client at most {DIFFERENT_LEASES} different leases at a time, and {lease:?} is \
                 none of those that this one has"
            ));
        }
        Ok(())
    }

    /// Whether a request may not wait, although it would, because too many do (N6).
    fn lacks_room_to_wait(&self, acquire: &Acquire) -> bool {
        self.waiting >= self.setup.limits.waiters
            && !matches!(acquire.options.wait, Some(Wait::Try | Wait::AtMost(Duration::ZERO)))
    }

    fn too_many_wait(&self, key: &str) -> LockError {
        let most = self.setup.limits.waiters;
        let why = format!(
            "`{key}` is in use, and the lock server lets at most {most} requests wait (`waiters`)"
        );
        LockError::new(ErrorKind::LimitExceeded, key).with_message(why)
    }

    /// Whether somebody holds the key, waits for it or has it reserved.
    pub(super) fn is_in_use(&self, key: &str) -> bool {
        match self.engine.inspect(Query::Key(key.to_owned())) {
            Op::Now(Ok(infos)) => !infos.is_empty(),
            Op::Now(Err(_)) | Op::Later(_) => false,
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
