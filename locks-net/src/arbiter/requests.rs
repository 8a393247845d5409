//! What clients ask for.

use std::task::{Context, Poll};
use std::time::Duration;

use locks_core::{
    Caller, ErrorKind, Granted, Hold, KeySet, Keys, LockError, LostCause, Mode, Moment, Op,
    OwnerId, Query, Request, Token, Wait,
};

use super::connection::CloseReason;
use super::figures;
use super::leases::DIFFERENT_LEASES;
use super::lists::ListCall;
use super::session::{Journaled, MessageTotals, Requested, ServerHold, WaitingRequest};
use super::{Arbiter, ConnId};
use crate::journal::{Grant, Member, Record};
use crate::wire::{Acquire, Call, Event, Malformed};

/// The kind of [owners](OwnerId::to_parts) that are of one acquisition and nobody else.
pub(super) const ACQUISITION: u8 = 3;

impl Arbiter {
    pub(super) fn apply(&mut self, id: ConnId, realm: u32, call: Call) -> Result<(), CloseReason> {
        match call {
            Call::Acquire(acquire) => self.acquire(realm, *acquire)?,
            Call::End { request } => {
                let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
                if session.requests.get(&request).is_some_and(Requested::is_held) {
                    session.owe_word(false);
                }
                self.end(realm, request);
            }
            Call::Refresh { call, request } => self.refresh(realm, call, request),
            Call::Disown { request } => self.detach_owner(realm, request),
            Call::Done { request } => self.done(realm, request),
            Call::Share { call, request } => self.share(realm, call, request),
            Call::Inspect { call, query } => self.list(realm, call, ListCall::Locks(query)),
            Call::Evict { call, key, token } => self.evict(realm, call, key, token),
            Call::Status { call } => self.list(realm, call, ListCall::Status),
            Call::Site { id, text } => {
                let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
                if !session.add_site(id, &text) {
                    return Err(Malformed("the number of a call site is not the next one").into());
                }
            }
            Call::Name { thread, text } => {
                self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?.name(thread, text);
            }
            Call::Holding { held, pending, more } => {
                let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
                if !session.name_requests(held, pending, self.setup.limits.requests_per_session) {
                    return Err(Malformed("more is said to be held than was granted").into());
                }
                if !more {
                    self.keep_only(realm);
                }
            }
            Call::Publish { call, publish } => self.publish(realm, call, *publish),
            Call::Mailbox { call, open, count, bytes } => {
                self.set_mailbox(realm, open, mail_of(count, bytes));
                self.tell(realm, &Event::Done { call });
            }
            Call::Taken { count, bytes } => self.taken(realm, mail_of(count, bytes)),
            Call::Ping => self.acknowledge(id, 1),
            Call::Bye => {
                self.end_session(realm, None);
                return Err(CloseReason::Over);
            }
        }
        Ok(())
    }

    fn acquire(&mut self, realm: u32, acquire: Acquire) -> Result<(), CloseReason> {
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

    /// Looks after a request that waits.
    pub(super) fn poll_request(&mut self, realm: u32, request: u64) {
        let mut granted = self.granted(realm, request).into_iter().collect::<Vec<_>>();
        if granted.iter().any(Arrival::is_nested) {
            // The guards around it may have been granted in the same moment, and be woken later;
            // those of a shared owner also at other clients.
            let Some(session) = self.sessions.get(&realm) else { return };
            let waiting = session.requests.iter().filter_map(|(request, requested)| {
                matches!(requested, Requested::Waiting(_)).then_some((realm, *request))
            });
            let waiting = waiting.collect::<Vec<_>>();
            let woken = self.take_woken();
            for (realm, request) in waiting.into_iter().chain(woken) {
                granted.extend(self.granted(realm, request));
            }
            // From the outside in, in the journal too: a nest's tokens do not grow outwards.
            granted
                .sort_by_key(|arrival| (arrival.granted.granted.hold.token(), arrival.is_nested()));
        }
        for Arrival { realm, request, granted, .. } in granted {
            self.grant(realm, request, granted, None);
        }
    }

    /// The grant of a request that waits, if it has one; a refusal is told.
    fn granted(&mut self, realm: u32, request: u64) -> Option<Arrival> {
        let session = self.sessions.get_mut(&realm)?;
        let Some(Requested::Waiting(waiting)) = session.requests.get_mut(&request) else {
            return None;
        };
        let waker = self.happened.waker(realm, request);
        let polled = std::pin::Pin::new(&mut waiting.op).poll(&mut Context::from_waker(&waker));
        let Poll::Ready(outcome) = polled else { return None };
        let (lease, asked) = (waiting.lease, Some(waiting.asked));
        session.take_request(request);
        self.waiting -= 1;
        // What it took from others has ended before.
        let lost = self.happened.take_lost();
        self.tell_of_losses(lost);
        match outcome {
            Ok(granted) => {
                let nested = self.members(&granted.hold).iter().any(|member| member.nested);
                Some(Arrival {
                    realm,
                    request,
                    granted: Grantable { granted, lease, asked },
                    nested,
                })
            }
            Err(error) => {
                self.refuse(realm, request, error);
                None
            }
        }
    }

    fn refuse(&mut self, realm: u32, request: u64, error: LockError) {
        self.count_refusal(error.kind());
        let error = self.bounded(realm, self.describe_error(error));
        self.tell(realm, &Event::Refused { call: request, error });
    }

    /// `member`: what is to be known of its only key, if that is known already.
    fn grant(
        &mut self,
        realm: u32,
        request: u64,
        Grantable { granted, lease, asked }: Grantable,
        member: Option<Member>,
    ) {
        // What it took from others has ended before.
        let lost = self.happened.take_lost();
        self.tell_of_losses(lost);
        let hold = granted.hold;
        let token = hold.token();
        let Some(session) = self.sessions.get_mut(&realm) else {
            drop(self.engine.release(hold));
            return;
        };
        let leased = session.is_leased();
        let promise = session.promise(lease);
        self.promised.0 = self.promised.0.max(token);
        if leased {
            self.promised.1 = self.promised.1.max(promise);
        }
        let member_since = member.as_ref().and_then(|member| member.since);
        let members = match member {
            Some(member) => vec![member],
            None => self.members(&hold),
        };
        let lost = if members.is_empty() { self.cause(&hold) } else { None };
        self.count_grant(members.first().map_or(Mode::Exclusive, |member| member.mode), asked);
        self.next_order += 1;
        let own_lease = lease.filter(|_| leased);
        let now = member_since.unwrap_or_else(|| self.time_awake());
        let mut held = ServerHold::new(hold, self.next_order, own_lease, now);
        held.lost = lost;
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        session.put_request(request, Requested::Held(held));
        if own_lease.is_some() {
            self.set_session_deadline(realm);
        }
        if !members.is_empty()
            && !self.write_grant(Grant { realm, request, lease: promise, members })
        {
            let session = self.sessions.get_mut(&realm);
            if let Some(Requested::Held(held)) =
                session.and_then(|it| it.requests.get_mut(&request))
            {
                held.is_untold = true;
            }
            return;
        }
        self.tell_granted(realm, request, token);
        if let Some(cause) = lost {
            self.paper.lost += 1;
            self.count_end(figures::stamp(now), now, Some(cause));
            self.tell(realm, &Event::Lost { request, cause });
        }
    }

    /// Tells of a grant, and whom it was stolen from.
    pub(super) fn tell_granted(&mut self, realm: u32, request: u64, token: Token) {
        let held = self.held(realm, request);
        let stolen_from = held.map_or_else(Vec::new, |held| self.engine.stolen_from(&held.hold));
        let stolen_from = stolen_from.into_iter().map(|holder| self.describe_holder(&holder));
        let stolen_from = stolen_from.collect();
        self.tell(realm, &Event::Granted { request, token, stolen_from });
    }

    /// Why a hold is lost.
    fn cause(&self, hold: &Hold) -> Option<LostCause> {
        match self.engine.poll_lost(hold, None) {
            Poll::Ready(cause) => Some(cause),
            Poll::Pending => None,
        }
    }

    fn refresh(&mut self, realm: u32, call: u64, request: u64) {
        let at = self.time_awake();
        if let Err(why) = self.has_room_to_write(REFRESHED) {
            let why =
                format!("the lock server cannot write down that the hold was refreshed: {why}");
            let error = LockError::new(ErrorKind::Unavailable, "").with_message(why);
            return self.tell(realm, &Event::Refused { call, error });
        }
        let held = self.held(realm, request);
        let refreshed = held.map(|held| self.engine.refresh(&held.hold));
        let event = match refreshed {
            Some(Op::Now(Ok(()))) => {
                self.record(&Record::Refreshed { realm, request, at });
                Event::Done { call }
            }
            Some(Op::Now(Err(error))) => Event::Refused { call, error: self.describe_error(error) },
            Some(Op::Later(_)) => unreachable!("an engine without an upstream refreshes at once"),
            None => Event::Refused { call, error: forgotten() },
        };
        self.tell(realm, &event);
    }

    /// What was done under a hold has succeeded (C14).
    fn done(&mut self, realm: u32, request: u64) {
        if let Some(held) = self.held(realm, request).filter(|held| held.lost.is_none()) {
            self.engine.mark_done(&held.hold);
            if self.is_first(realm, request, |said| &mut said.done) {
                self.record(&Record::Done { realm, request });
            }
        }
    }

    /// A hold is a shared one from now on (C9). Those who get in by that are told afterwards.
    fn share(&mut self, realm: u32, call: u64, request: u64) {
        let held = self.held(realm, request);
        let event = match held.map(|held| self.engine.share(&held.hold)) {
            Some(Op::Now(Ok(()))) => {
                if self.is_first(realm, request, |said| &mut said.shared) {
                    self.record(&Record::Shared { realm, request });
                }
                Event::Done { call }
            }
            Some(Op::Now(Err(error))) => {
                let error = self.bounded(realm, self.describe_error(error));
                Event::Refused { call, error }
            }
            Some(Op::Later(_)) => unreachable!("an engine without an upstream shares at once"),
            None => Event::Refused { call, error: forgotten() },
        };
        self.tell(realm, &event);
    }

    fn detach_owner(&mut self, realm: u32, request: u64) {
        if let Some(held) = self.held(realm, request).filter(|held| held.lost.is_none()) {
            // It remains this session's.
            self.engine
                .detach_owner_to(&held.hold, OwnerId::from_parts(realm, ACQUISITION, request));
            if self.is_first(realm, request, |said| &mut said.disowned) {
                self.record(&Record::Disowned { realm, request });
            }
        }
    }

    /// Whether that is said of a guard for the first time: it is written down then, as there is
    /// room for it once.
    fn is_first(
        &mut self,
        realm: u32,
        request: u64,
        which: impl FnOnce(&mut Journaled) -> &mut bool,
    ) -> bool {
        let session = self.sessions.get_mut(&realm);
        match session.and_then(|it| it.requests.get_mut(&request)) {
            Some(Requested::Held(held)) => !std::mem::replace(which(&mut held.said), true),
            Some(Requested::Waiting(_)) | None => false,
        }
    }

    fn held(&self, realm: u32, request: u64) -> Option<&ServerHold> {
        match self.sessions.get(&realm)?.requests.get(&request)? {
            Requested::Held(held) if !held.is_untold => Some(held),
            Requested::Held(_) | Requested::Waiting(_) => None,
        }
    }
}

/// What is written of a refreshed hold, in bytes.
const REFRESHED: usize = 64;

/// A grant that a request has waited for, on its way to the session.
struct Arrival {
    realm: u32,
    request: u64,
    granted: Grantable,
    nested: bool,
}

/// What the engine has granted, before its session knows.
struct Grantable {
    granted: Granted,
    lease: Option<Duration>,
    /// Since when it has waited, if it has.
    asked: Option<Moment>,
}

/// What a client says that it has of messages.
fn mail_of(count: u32, bytes: u64) -> MessageTotals {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    MessageTotals { count, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Arrival {
    /// Whether it is nested in another guard, by one of its keys at least.
    fn is_nested(&self) -> bool {
        self.nested
    }
}

fn forgotten() -> LockError {
    LockError::new(ErrorKind::Lost { cause: LostCause::Forgotten }, "")
}
