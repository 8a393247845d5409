//! What goes on beside a plain hold, which stays the fast path's.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::ask::{BARGE_WINDOW, KeyRequest};
use super::queue::QueuePosition;
use super::{Grant, QueueEntry, State, Tally, Waiter};
use crate::clock::Moment;
use crate::request::FastHolder;
use crate::{Mode, Token};

/// What becomes of a key at the release of a plain hold.
pub(in crate::engine) enum Passed {
    /// It is free, and the first waiter was woken for it.
    Woken(Moment, Option<Waker>),
    /// The first waiter has it, once [`State::grant_handed`] was called.
    Handed(FastHolder, Moment, Option<Waker>),
    /// Nobody waits.
    ToNobody,
    /// That takes more than this.
    Unknown,
}

impl State {
    /// Whether the fast path may go on beside those who wait: nobody but the first of them has a
    /// say, and that one lets others barge (C3).
    pub(super) fn lets_barge(&self) -> bool {
        self.barges
            && self.tally == Tally::default()
            && self.thieves_are_seen_to()
            && self.queue.first().is_none_or(|(_, first)| first.can_be_barged_past())
    }

    /// Decides at the release of a plain hold who is next, where that is simple: as
    /// [`grant_waiters`](Self::grant_waiters) does. While the first waiter is on its way the time
    /// is read `roughly`, which is cheap: newcomers, who read it exactly, keep off in time.
    pub(in crate::engine) fn pass_on(
        &mut self,
        roughly: impl FnOnce() -> Moment,
        now: impl FnOnce() -> Moment,
    ) -> Passed {
        let Some((place, first)) = self.queue.first() else { return Passed::ToNobody };
        if let Some(at) = first.hinted
            && roughly().since(self.barge_from) < BARGE_WINDOW
        {
            return Passed::Woken(at, None);
        }
        self.now = self.now.max(now());
        if self.may_barge_past(first) {
            let now = self.now;
            let first = self.queue.get_mut(place).expect("it is the first");
            return Passed::Woken(*first.hinted.get_or_insert(now), first.waker.take());
        }
        let Some(holder) = first.waiter.plain else { return Passed::Unknown };
        if self.queue.iter().nth(1).is_some_and(|(_, next)| !next.can_be_barged_past()) {
            return Passed::Unknown;
        }
        let entry = self.dequeue(place).expect("it is the first");
        self.barge_from = self.now;
        self.handed = Some(entry.waiter);
        Passed::Handed(holder, self.now, entry.waker)
    }

    /// Lets the waiter that the key was handed to have it; last of all.
    pub(in crate::engine) fn grant_handed(&mut self, token: Token) {
        self.token = token;
        if let Some(waiter) = &self.handed {
            waiter.grant(Grant { token, level: 0 });
        }
    }

    /// Whether a request may queue beside a hold that has begun at `since`: if it steals, the alarm
    /// is early enough for it. `now` may lag.
    pub(in crate::engine) fn may_join(&self, ask: &KeyRequest, since: Moment, now: Moment) -> bool {
        const LAG: Duration = Duration::from_millis(20);
        ask.steal_after.is_none_or(|age| {
            let due = since.after(age);
            due > now.after(LAG) && self.has_alarm_by(due)
        })
    }

    /// Queues a plain request.
    pub(in crate::engine) fn join(
        &mut self,
        waiter: &mut Arc<Waiter>,
        waker: Waker,
        now: Moment,
    ) -> QueuePosition {
        self.now = self.now.max(now);
        let place = self.enqueue(waiter, None);
        self.leave(place, waker);
        place
    }

    /// A waiter has found the key held. Exchanges its waker, unless it is no waiter any more.
    pub(in crate::engine) fn stay(
        &mut self,
        place: QueuePosition,
        waker: &mut Option<Waker>,
    ) -> bool {
        let Some(entry) = self.queue.get_mut(place) else { return false };
        entry.hinted = None;
        std::mem::swap(&mut entry.waker, waker);
        true
    }
}

impl QueueEntry {
    /// Whether a newcomer may be quicker (C3).
    fn can_be_barged_past(&self) -> bool {
        self.waiter.ask.mode == Mode::Exclusive && self.waiter.upgrades.is_none()
    }
}

impl KeyRequest {
    /// Who will hold the key, if it asks for no more than the fast path has to give.
    pub(super) fn as_plain(&self) -> Option<FastHolder> {
        let plain = self.mode == Mode::Exclusive
            && self.waits
            && !self.reentrant
            && !self.provisional
            && !self.has_upstream
            && self.fair.is_none()
            && self.requested_at.is_none()
            && [self.at_least, self.at_most] == [None; 2];
        self.caller.as_fast_holder().filter(|_| plain)
    }
}
