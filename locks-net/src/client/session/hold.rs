//! What the server has granted and the caller has fetched.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use locks_core::{ErrorKind, HolderInfo, LockError, LostCause, Moment, Token, report_lost};

use super::ask::RequestOutcome;
use super::wakers::take;
use super::{ClientSession, Deferred};
use crate::wire::Call;

/// One guard.
pub(super) struct ClientHold {
    pub(super) keys: Vec<String>,
    pub(super) token: Token,
    /// The lease that was asked for, if any.
    lease: Option<Duration>,
    /// As it is counted in `leases`, until it is lost.
    counted: Duration,
    /// As it stands in `bounds`, until it is lost.
    ends_at: Option<Moment>,
    pub(super) lost: Option<LostCause>,
    /// Its `End` is under way already.
    pub(super) ended: bool,
    /// It belongs to no thread any more.
    pub(super) disowned: bool,
    /// What is done under it has succeeded (C14).
    pub(super) done: bool,
    /// Whom it was stolen from (C6).
    stolen_from: Vec<HolderInfo>,
    pub(super) watchers: Vec<Waker>,
}

impl ClientHold {
    /// Whether the server need not keep it.
    pub(super) fn is_given_up(&self) -> bool {
        self.lost.is_some()
    }

    #[cold]
    fn lost_error(&self, cause: LostCause) -> LockError {
        lost(&self.keys, self.token, cause)
    }
}

/// The error of a hold that is lost.
#[cold]
pub(super) fn lost(keys: &[String], token: Token, cause: LostCause) -> LockError {
    LockError::new(ErrorKind::Lost { cause }, keys.join("`, `")).with_token(token)
}

impl ClientSession {
    /// Whether the hold is lost, by what has come in and by the clock (C8); otherwise, with a
    /// context, the task is woken when it becomes so.
    pub(crate) fn poll_lost(&mut self, request: u64, waker: Option<&mut Waker>) -> Poll<LostCause> {
        self.expire_holds(self.now());
        let Some(held) = self.holds.get_mut(&request) else {
            return Poll::Ready(LostCause::Forgotten);
        };
        if let Some(cause) = held.lost {
            return Poll::Ready(cause);
        }
        if let Some(waker) = waker
            && !held.watchers.iter().any(|watcher| watcher.will_wake(waker))
        {
            // Those who do not look any more have no use for being woken.
            self.watched += usize::from(held.watchers.is_empty());
            held.watchers.push(take(waker));
        }
        Poll::Pending
    }

    /// Returns the lease of a hold, and until when it is known to be there whatever becomes of the
    /// server; `None` where no end is known, or nothing of it any more.
    pub(crate) fn validity(&self, request: u64) -> Option<(Duration, Moment)> {
        let held = self.holds.get(&request).filter(|held| held.lost.is_none())?;
        let until = self.established.as_ref()?.trust.until(held.lease)?;
        Some((held.counted, until))
    }

    /// Forgets a waker that [`poll_lost`](Self::poll_lost) has left.
    pub(crate) fn unwatch(&mut self, request: u64, waker: &Waker) -> Option<Waker> {
        let held = self.holds.get_mut(&request)?;
        let found = held.watchers.iter().position(|watcher| watcher.will_wake(waker))?;
        let forgotten = held.watchers.swap_remove(found);
        self.watched -= usize::from(held.watchers.is_empty());
        Some(forgotten)
    }

    /// The keys of a hold, or of a request that is not answered yet.
    pub(crate) fn keys(&self, request: u64) -> Vec<String> {
        if let Some(held) = self.holds.get(&request) {
            return held.keys.clone();
        }
        match self.unanswered.get(&request).map(|asked| &asked.call) {
            Some(Call::Acquire(acquire)) => acquire.keys.clone(),
            _ => Vec::new(),
        }
    }

    /// Whom a hold was stolen from.
    pub(crate) fn stolen_from(&self, request: u64) -> Vec<HolderInfo> {
        self.holds.get(&request).map_or_else(Vec::new, |held| held.stolen_from.clone())
    }

    /// What is done under the hold has succeeded: the server is told of it with the end (C14).
    pub(crate) fn mark_done(&mut self, request: u64) {
        if let Some(held) = self.holds.get_mut(&request) {
            held.done = true;
        }
    }

    /// The hold's guard may leave its thread (C9).
    pub(crate) fn detach_owner(&mut self, request: u64) {
        let Some(held) = self.holds.get_mut(&request) else { return };
        if held.is_given_up() || std::mem::replace(&mut held.disowned, true) {
            return;
        }
        if self.is_open() {
            self.transmit(&Call::Disown { request });
        } else {
            self.deferred.push_back(Deferred::Disown(request));
        }
    }

    pub(super) fn check_hold(&mut self, request: u64) -> Result<(), LockError> {
        match self.poll_lost(request, None) {
            Poll::Pending => Ok(()),
            Poll::Ready(cause) => Err(match self.holds.get(&request) {
                Some(held) => held.lost_error(cause),
                None => LockError::new(ErrorKind::Lost { cause }, ""),
            }),
        }
    }

    /// An acquisition was granted and fetched: it is a hold.
    pub(super) fn hold(&mut self, request: u64, token: Token, lease: Option<Duration>) {
        let (keys, stolen_from, ends_at) = self.take_granted(request);
        let session = self.established.as_ref().map_or(Duration::ZERO, |it| it.trust.lease);
        let counted = lease.unwrap_or(session);
        self.leases.extend(Some(counted));
        self.bounds.extend(ends_at.map(|at| (at, request)));
        let held = ClientHold {
            keys,
            token,
            lease,
            counted,
            ends_at,
            lost: None,
            ended: false,
            disowned: false,
            done: false,
            stolen_from,
            watchers: Vec::new(),
        };
        self.holds.insert(request, held);
    }

    /// Takes a hold off the books.
    pub(super) fn take_hold(&mut self, request: u64) -> Option<ClientHold> {
        let held = self.holds.remove(&request)?;
        self.watched -= usize::from(!held.watchers.is_empty());
        if held.lost.is_none() {
            self.leases.remove(held.counted);
            held.ends_at.into_iter().for_each(|at| _ = self.bounds.remove(&(at, request)));
        }
        Some(held)
    }

    pub(super) fn lose(&mut self, request: u64, cause: LostCause) {
        let Some(held) = self.holds.get_mut(&request) else { return };
        if held.lost.is_some() {
            return;
        }
        held.lost = Some(cause);
        let (counted, ends_at) = (held.counted, held.ends_at);
        self.watched -= usize::from(!held.watchers.is_empty());
        self.wakers.wake(held.watchers.drain(..));
        let report = LossReport { keys: held.keys.join("`, `"), token: held.token, cause };
        self.wakers.wake([Waker::from(Arc::new(report))]);
        self.leases.remove(counted);
        ends_at.into_iter().for_each(|at| _ = self.bounds.remove(&(at, request)));
    }

    /// Declares those lost that are not known to be there any more, and tells the server to end
    /// them.
    pub(super) fn expire_holds(&mut self, now: Moment) {
        while let Some(&(at, request)) = self.bounds.first()
            && at <= now
        {
            // The server ends it, for whoever is next, in its own time.
            self.lose(request, LostCause::HeldTooLong);
        }
        let Some(shortest) = self.leases.shortest() else { return };
        let Some(established) = &self.established else { return };
        if established.trust.covers(Some(shortest), now) {
            return;
        }
        let over = self
            .holds
            .iter()
            .filter(|(_, held)| held.lost.is_none() && !established.trust.covers(held.lease, now));
        let mut over = over.map(|it| *it.0).collect::<Vec<_>>();
        over.sort_unstable();
        for request in over {
            self.lose(request, LostCause::Expired);
            if let Some(held) = self.holds.get_mut(&request) {
                held.ended = true;
            }
            self.send_end_in_turn(request, now);
        }
    }

    /// The session is over, and with it all that it held.
    #[cold]
    pub(super) fn lose_all(&mut self) {
        let holds = self.holds.keys().copied().collect::<Vec<_>>();
        for request in holds {
            self.lose(request, LostCause::SessionEnded);
            if let Some(held) = self.holds.get_mut(&request) {
                held.ended = true;
            }
        }
        self.fail_endings(LostCause::SessionEnded);
        for asked in self.unanswered.values_mut() {
            if matches!(asked.outcome, RequestOutcome::HeldTooLong(_)) {
                // No other session knows of it.
                asked.sent = None;
            }
        }
        let renewals = self.unanswered.iter().filter_map(|(number, asked)| match asked.call {
            Call::Refresh { request, .. } | Call::Share { request, .. } if asked.is_open() => {
                Some((*number, request))
            }
            _ => None,
        });
        for (number, request) in renewals.collect::<Vec<_>>() {
            let cause = LostCause::SessionEnded;
            let error = match self.holds.get(&request) {
                Some(held) => held.lost_error(cause),
                None => LockError::new(ErrorKind::Lost { cause }, ""),
            };
            self.fail(number, error);
        }
    }

    /// A grant that was not fetched yet, or a hold, was taken away.
    pub(super) fn told_lost(&mut self, request: u64, cause: LostCause) {
        self.lose(request, cause);
        self.ending_lost(request, cause);
        let Some(asked) = self.unanswered.get_mut(&request) else { return };
        let RequestOutcome::Granted(token) = asked.outcome else { return };
        if cause == LostCause::HeldTooLong && !asked.was_too_late() {
            // The next grant would end as soon, and so on for ever. Its caller was woken by the
            // grant, and is now owed no proof that it stands.
            asked.outcome = RequestOutcome::HeldTooLong(token);
            return self.call(request);
        }
        // What was over before anybody had it queues again (C8).
        asked.outcome = RequestOutcome::None;
        let now = self.now();
        self.send_end_in_turn(request, now);
        self.ask(request, now);
    }
}

/// Reports a loss to the subscribers of `tracing` and `metrics`, which are foreign code and run
/// where wakers do.
struct LossReport {
    keys: String,
    token: Token,
    cause: LostCause,
}

impl Wake for LossReport {
    fn wake(self: Arc<Self>) {
        report_lost(&self.keys, self.token, self.cause, None, None);
    }
}
