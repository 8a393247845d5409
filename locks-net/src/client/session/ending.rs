//! Releases, and what confirms them (C4).

use std::task::{Poll, Waker};

use locks_core::{LockError, LostCause, Moment, Token};

use super::hold::lost;
use super::wakers::leave;
use super::{ClientSession, Deferred};
use crate::wire::Call;

/// A hold that was released, while somebody may want to hear of it.
pub(super) struct Ending {
    keys: Vec<String>,
    token: Token,
    /// The frame that ends it, once it was sent, or one behind it: what the server acknowledges
    /// with that confirms it.
    pub(super) sent: Option<u64>,
    state: State,
    /// What was done under it has succeeded: it ends so, whichever server hears of it (C14).
    done: bool,
    /// Nobody wants to hear of it any more; it is here until the server has.
    unheard: bool,
    deadline: Option<Moment>,
    waker: Option<Waker>,
}

enum State {
    Under,
    Done,
    Lost(LostCause),
    Silent,
}

impl Ending {
    pub(super) fn is_awaited(&self) -> bool {
        self.waker.is_some()
    }

    fn is_over(&self) -> bool {
        self.unheard && !matches!(self.state, State::Under)
    }

    /// A server that has been restarted has to be told of it: because none was yet, or because one
    /// that does not know that it was done would end it otherwise.
    pub(super) fn is_unsaid(&self) -> bool {
        (self.sent.is_none() || self.done) && matches!(self.state, State::Under)
    }
}

impl ClientSession {
    /// Releases a hold; what comes of it is for [`poll_ended`](Self::poll_ended), until
    /// [`forget_ending`](Self::forget_ending).
    pub(crate) fn end(&mut self, request: u64) {
        let now = self.now();
        self.expire_holds(now);
        let Some(held) = self.take_hold(request) else { return };
        self.wakers.put_away(held.watchers);
        let done = held.done && held.lost.is_none();
        if done && self.is_open() && !held.ended {
            self.transmit_at(now, &Call::Done { request });
        }
        let sent = if held.ended { None } else { self.send_end_in_turn(request, now) };
        let state = held.lost.map_or(State::Under, State::Lost);
        let (keys, token, unheard) = (held.keys, held.token, false);
        let ending =
            Ending { keys, token, sent, state, done, unheard, deadline: None, waker: None };
        self.endings.insert(request, ending);
    }

    /// Whether a release has been applied.
    pub(crate) fn poll_ended(
        &mut self,
        request: u64,
        waker: Option<&mut Waker>,
    ) -> Poll<Result<(), LockError>> {
        let now = self.now();
        self.expire_asks(now);
        let open = self.is_open();
        let connect = self.setup.connect;
        let Some(ending) = self.endings.get_mut(&request) else { return Poll::Ready(Ok(())) };
        let outcome = match ending.state {
            State::Under => {
                if let Some(waker) = waker {
                    leave(waker, &mut ending.waker);
                }
                if ending.deadline.is_none() {
                    let deadline = now.after(connect);
                    ending.deadline = Some(deadline);
                    self.deadlines.insert((deadline, request));
                }
                let sent = ending.sent;
                // What is acknowledged only with others is not waited for.
                if open && sent > self.last_ping.map(|(number, _)| number) {
                    self.ping();
                }
                return Poll::Pending;
            }
            State::Done => Ok(()),
            State::Lost(cause) => Err(lost(&ending.keys, ending.token, cause)),
            State::Silent => Err(self.unavailable("the release was not confirmed in time")),
        };
        self.forget_ending(request);
        Poll::Ready(outcome.map_err(|error| error.with_backend(&*self.setup.name)))
    }

    /// Nobody wants to hear of a release any more.
    pub(crate) fn forget_ending(&mut self, request: u64) {
        let Some(ending) = self.endings.get_mut(&request) else { return };
        if let Some(deadline) = ending.deadline.take() {
            self.deadlines.remove(&(deadline, request));
        }
        ending.unheard = true;
        self.wakers.put_away(ending.waker.take());
        if !(ending.done && matches!(ending.state, State::Under)) {
            self.endings.remove(&request);
        }
    }

    /// Ends a request at the server, now or once there is a connection.
    pub(super) fn send_end_in_turn(&mut self, request: u64, now: Moment) -> Option<u64> {
        if self.is_open() {
            self.urgent |= self.established.as_ref().is_some_and(|it| it.trust.renews);
            return Some(self.transmit_at(now, &Call::End { request }));
        }
        if self.established.is_some() {
            self.deferred.push_back(Deferred::End(request));
        }
        None
    }

    /// A deferred `End` is sent.
    pub(super) fn send_end(&mut self, request: u64) {
        if self.endings.get(&request).is_some_and(|ending| ending.done) {
            self.transmit(&Call::Done { request });
        }
        let sent = self.transmit(&Call::End { request });
        if let Some(ending) = self.endings.get_mut(&request) {
            ending.sent = Some(sent);
        }
    }

    /// The server has applied all frames before this one, or all there are.
    pub(super) fn confirm_endings(&mut self, first_unacknowledged: Option<u64>) {
        let applied = |sent: Option<u64>| {
            sent.is_some_and(|sent| first_unacknowledged.is_none_or(|first| sent < first))
        };
        for ending in self.endings.values_mut() {
            if matches!(ending.state, State::Under) && applied(ending.sent) {
                ending.state = State::Done;
                self.wakers.wake(ending.waker.take());
            }
        }
        self.endings.retain(|_, ending| !ending.is_over());
    }

    /// A released hold turns out to have been lost before.
    pub(super) fn ending_lost(&mut self, request: u64, cause: LostCause) {
        // What one server has ended as done is not there for the next one.
        let was_done = self.endings.get(&request).is_some_and(|ending| ending.done);
        let state = match cause {
            LostCause::Forgotten if was_done => State::Done,
            cause => State::Lost(cause),
        };
        self.resolve_ending(request, state);
    }

    /// Whoever waits for a confirmation has waited enough. Whether it is one of those.
    pub(super) fn expire_ending(&mut self, request: u64) -> bool {
        self.resolve_ending(request, State::Silent)
    }

    pub(super) fn fail_endings(&mut self, cause: LostCause) {
        let requests = self.endings.keys().copied().collect::<Vec<_>>();
        for request in requests {
            self.ending_lost(request, cause);
        }
    }

    fn resolve_ending(&mut self, request: u64, state: State) -> bool {
        let Some(ending) = self.endings.get_mut(&request) else { return false };
        if let Some(deadline) = ending.deadline.take() {
            self.deadlines.remove(&(deadline, request));
        }
        if matches!(ending.state, State::Under) {
            ending.state = state;
            self.wakers.wake(ending.waker.take());
        }
        if ending.is_over() {
            self.endings.remove(&request);
        }
        true
    }
}
