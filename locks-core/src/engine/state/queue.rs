use std::sync::Arc;
use std::task::Waker;

use super::ask::KeyRequest;
use super::waiter::Outcome;
use super::{Grant, State, Waiter};
use crate::Token;
use crate::clock::Moment;

/// A place in the queue, in the order in which they are served: upgrades first (C9), then by the
/// moment they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine) struct QueuePosition {
    rank: u64,
    /// There is no other place with this one.
    ticket: u64,
}

impl QueuePosition {
    const NORMAL: u64 = 1 << 63;

    pub(super) fn new(since: Moment, upgrades: bool, ticket: u64) -> Self {
        let since = since.nanos() & !Self::NORMAL;
        Self { rank: if upgrades { since } else { since | Self::NORMAL }, ticket }
    }
}

/// What the queue knows of a waiter.
pub(in crate::engine) struct QueueEntry {
    pub(super) waiter: Arc<Waiter>,
    pub(super) waker: Option<Waker>,
    /// When it was woken to take the key, which was free; others may be quicker (C3).
    pub(super) hinted: Option<Moment>,
    /// Whether it has seen an errand out, and the key was not for it.
    pub(super) has_seen_errand: bool,
}

impl State {
    pub(super) fn enqueue(
        &mut self,
        waiter: &mut Arc<Waiter>,
        upgrades: Option<Token>,
    ) -> QueuePosition {
        // Queue times are made monotonic under the mutex; only who asks once more stands elsewhere.
        let since = waiter.ask.requested_at.map_or(self.now, |asked| asked.min(self.now));
        let own = Arc::get_mut(waiter).expect("a waiter is its request's own until it queues");
        (own.since, own.upgrades) = (since, upgrades);
        let place = QueuePosition::new(since, upgrades.is_some(), self.next_ticket);
        self.next_ticket += 1;
        if self.queue.is_empty() {
            self.barge_from = self.now;
        }
        self.count(&waiter.ask, place, true);
        let entry = QueueEntry {
            waiter: waiter.clone(),
            waker: None,
            hinted: None,
            has_seen_errand: false,
        };
        self.queue.insert(place, entry);
        place
    }

    /// Leaves the waker that a new waiter is to be woken with.
    pub(in crate::engine) fn leave(&mut self, place: QueuePosition, waker: Waker) {
        if let Some(entry) = self.queue.get_mut(place) {
            entry.waker = Some(waker);
        }
    }

    /// Takes a waiter out of the queue, with the tally kept.
    pub(in crate::engine) fn dequeue(&mut self, place: QueuePosition) -> Option<QueueEntry> {
        let entry = self.queue.remove(place)?;
        self.count(&entry.waiter.ask, place, false);
        Some(entry)
    }

    /// Looks after a waiter: takes what it can have, or leaves the waker to be woken with.
    pub(in crate::engine) fn look(
        &mut self,
        place: QueuePosition,
        waiter: &Waiter,
        waker: Waker,
    ) -> Outcome {
        let outcome = waiter.take();
        if outcome != Outcome::Waiting {
            self.effects.discard(Some(waker));
            return outcome;
        }
        if let Some(grant) = self.claim(place) {
            self.effects.discard(Some(waker));
            return Outcome::Granted(grant);
        }
        if let Some(entry) = self.queue.get_mut(place) {
            entry.hinted = None;
            let before = entry.waker.replace(waker);
            self.effects.discard(before);
        }
        Outcome::Waiting
    }

    /// Has a waiter whose time is over woken at the end of an errand, but for which it might have
    /// the key. Returns `false` if there is none, or it has seen one out.
    pub(in crate::engine) fn watch_errands(&mut self, place: QueuePosition) -> bool {
        let is_new = |entry: &QueueEntry| !entry.has_seen_errand;
        let sees = self.has_errand() && self.queue.get(place).is_some_and(is_new);
        if sees && !self.errand_watchers.contains(&place) {
            self.errand_watchers.push(place);
        }
        sees
    }

    /// What the errands left is granted: those who saw them out look for the last time.
    pub(in crate::engine) fn show_errands_end(&mut self) {
        if self.has_errand() {
            return;
        }
        for place in std::mem::take(&mut self.errand_watchers) {
            if let Some(entry) = self.queue.get_mut(place) {
                entry.has_seen_errand = true;
                let waker = entry.waker.take();
                self.effects.wake(waker);
            }
        }
    }

    /// A waiter gives up: it leaves the queue, or gives back what it was granted meanwhile (C5).
    pub(in crate::engine) fn withdraw(&mut self, place: QueuePosition, waiter: &Waiter) {
        match waiter.take() {
            Outcome::Granted(Grant { token, level }) => {
                if level == 0
                    && let Some(hold) = self.hold_mut(token, 0)
                {
                    // Whoever asked for the reservation never held it (C14); a guard that was
                    // nested in it meanwhile has asked for none.
                    hold.reserved_until = None;
                }
                self.release(token, level);
            }
            Outcome::Revoked => {}
            Outcome::Waiting => {
                let waker = self.dequeue(place).and_then(|entry| entry.waker);
                self.effects.discard(waker);
                self.grant_waiters();
            }
        }
    }

    pub(in crate::engine) fn waiter(&self, place: QueuePosition) -> Option<&Waiter> {
        self.queue.get(place).map(|entry| &*entry.waiter)
    }

    /// A waiter that looks takes what it can have: it heads the queue and fits, or lets itself in
    /// beside the holders.
    pub(super) fn claim(&mut self, place: QueuePosition) -> Option<Grant> {
        if self.has_errand() || self.lacks_token() {
            return None;
        }
        let (first, _) = self.queue.first()?;
        let waiter = &self.queue.get(place)?.waiter;
        let is_next = first == place || waiter.ask.fair == Some(false);
        if !is_next || waiter.upgrades.is_some() || !self.fits(waiter.ask.mode) {
            return None;
        }
        let entry = self.dequeue(place)?;
        self.effects.discard(entry.waker);
        let grant = self.grant(&entry.waiter.ask);
        self.grant_waiters();
        Some(grant)
    }

    fn count(&mut self, ask: &KeyRequest, place: QueuePosition, more: bool) {
        let step = |counter: &mut usize, applies: bool| {
            if applies {
                *counter = if more { *counter + 1 } else { *counter - 1 };
            }
        };
        step(&mut self.tally.fair, ask.fair == Some(true));
        step(&mut self.tally.unfair, ask.fair == Some(false));
        step(&mut self.tally.reentrant, ask.reentrant);
        self.thieves.count(ask, place, more);
    }
}
