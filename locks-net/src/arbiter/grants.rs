//! Grants and refusals, on their way from the engine to their clients.

use std::task::{Context, Poll};
use std::time::Duration;

use locks_core::{Granted, Hold, LockError, LostCause, Mode, Moment, Token};

use super::session::{Requested, ServerHold};
use super::{Arbiter, figures};
use crate::journal::{Grant, Member};
use crate::wire::Event;

/// What the engine has granted, before its session knows.
pub(super) struct Grantable {
    pub(super) granted: Granted,
    pub(super) lease: Option<Duration>,
    /// Since when it has waited, if it has.
    pub(super) asked: Option<Moment>,
}

/// A grant that a request has waited for, on its way to the session.
struct Arrival {
    realm: u32,
    request: u64,
    granted: Grantable,
    nested: bool,
}

impl Arrival {
    /// Whether it is nested in another guard, by one of its keys at least.
    fn is_nested(&self) -> bool {
        self.nested
    }
}

impl Arbiter {
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

    pub(super) fn refuse(&mut self, realm: u32, request: u64, error: LockError) {
        self.count_refusal(error.kind());
        let error = self.bounded(realm, self.describe_error(error));
        self.tell(realm, &Event::Refused { call: request, error });
    }

    /// `member`: what is to be known of its only key, if that is known already.
    pub(super) fn grant(
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
}
