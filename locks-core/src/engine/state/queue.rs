use std::task::Waker;

use super::super::effects::Effects;
use super::ask::Ask;
use super::{Ended, Settled, State};
use crate::Token;
use crate::clock::Moment;

/// A place in the queue, in the order in which they are served: upgrades first (C9), then by the
/// moment they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Place {
    rank: u64,
    /// There is no other place with this one.
    ticket: u64,
}

impl Place {
    const NORMAL: u64 = 1 << 63;

    pub(super) fn new(since: Moment, upgrades: bool, ticket: u64) -> Self {
        let since = since.nanos() & !Self::NORMAL;
        Self { rank: if upgrades { since } else { since | Self::NORMAL }, ticket }
    }
}

/// A request that waits.
pub(in crate::engine) struct Waiter {
    pub(in crate::engine) ask: Ask,
    /// Since when it stands in the queue.
    pub(in crate::engine) since: Moment,
    /// The token of its shared hold, if it waits to make that exclusive (C9).
    pub(in crate::engine) upgrades: Option<Token>,
    pub(super) waker: Option<Waker>,
    /// It has been woken to take the key, which is free; others may be quicker (C3).
    pub(super) hinted: bool,
}

impl Waiter {
    /// One that is yet to ask.
    pub(in crate::engine) fn new(ask: Ask) -> Box<Self> {
        let since = Moment::from_nanos(0);
        Box::new(Self { ask, since, upgrades: None, waker: None, hinted: false })
    }
}

/// What a waiter sees when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Look {
    Granted(Settled),
    /// It will be woken; but it should look again at this time, when a steal comes due.
    Waiting {
        due: Option<Moment>,
    },
}

impl State {
    pub(super) fn enqueue(
        &mut self,
        mut waiter: Box<Waiter>,
        upgrades: Option<Token>,
        now: Moment,
    ) -> Place {
        // Who comes later stands later, whatever the clock said before the mutex was had; only who
        // asks once more stands elsewhere.
        let since = match waiter.ask.asked {
            Some(asked) => asked.min(now),
            None => {
                self.latest = self.latest.max(now);
                self.latest
            }
        };
        let place = Place::new(since, upgrades.is_some(), self.next_ticket);
        self.next_ticket += 1;
        self.count(&waiter.ask, true);
        waiter.since = waiter.ask.asked.map_or(now, |_| since);
        waiter.upgrades = upgrades;
        self.queue.insert(place, waiter);
        place
    }

    /// Leaves the waker that a new waiter is to be woken with.
    pub(in crate::engine) fn leave(&mut self, place: Place, waker: &Waker) {
        if let Some(waiter) = self.queue.get_mut(place) {
            waiter.waker = Some(waker.clone());
        }
    }

    /// Takes a waiter out of the queue, with the tally kept.
    pub(super) fn dequeue(&mut self, place: Place) -> Option<Box<Waiter>> {
        let waiter = self.queue.remove(place)?;
        self.count(&waiter.ask, false);
        Some(waiter)
    }

    /// Looks after a waiter: fetches its grant, or leaves the waker to be woken with.
    pub(in crate::engine) fn look(
        &mut self,
        place: Place,
        waker: &Waker,
        now: Moment,
        effects: &mut Effects,
    ) -> Look {
        self.expire(now, effects);
        if let Some(settled) = self.fetch(place) {
            return Look::Granted(settled);
        }
        if let Some(settled) = self.claim(place, now, effects) {
            return Look::Granted(settled);
        }
        let Some(waiter) = self.queue.get_mut(place) else {
            unreachable!("S4: a waiter is in the queue until it is settled")
        };
        waiter.hinted = false;
        if waiter.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            effects.discard(waiter.waker.replace(waker.clone()));
        }
        Look::Waiting { due: self.due_at(place, now) }
    }

    /// When the steal of a waiter comes due, if that is still to come.
    pub(in crate::engine) fn due_at(&self, place: Place, now: Moment) -> Option<Moment> {
        if self.tally.thieves == 0 {
            return None;
        }
        let due = self.waiter(place).and_then(|waiter| self.due(&waiter.ask));
        due.filter(|due| *due > now)
    }

    /// The grant of a waiter, if it has one.
    pub(in crate::engine) fn fetch(&mut self, place: Place) -> Option<Settled> {
        if self.settled.is_empty() { None } else { self.settled.remove(place) }
    }

    /// A waiter gives up: it leaves the queue, or gives back what it was granted meanwhile (C5).
    pub(in crate::engine) fn withdraw(&mut self, place: Place, now: Moment, effects: &mut Effects) {
        if let Some(settled) = self.settled.remove(place) {
            if settled.level == 0
                && let Some(hold) = self.hold_mut(settled.token, 0)
            {
                // Nobody has ever held it, so there is nothing to reserve (C14).
                hold.reserved_until = None;
            }
            if let Ended::Released(turn) = self.release(settled.token, settled.level, now, effects)
            {
                effects.end(turn);
            }
        } else if let Some(waiter) = self.dequeue(place) {
            effects.discard(waiter.waker);
            self.settle(now, effects);
        }
    }

    pub(in crate::engine) fn waiter(&self, place: Place) -> Option<&Waiter> {
        self.queue.get(place).map(|waiter| &**waiter)
    }

    /// A waiter that looks takes what it can have: it heads the queue and fits, or its steal is
    /// due.
    pub(super) fn claim(
        &mut self,
        place: Place,
        now: Moment,
        effects: &mut Effects,
    ) -> Option<Settled> {
        let (first, head) = self.queue.first()?;
        let fits = if first == place {
            head.upgrades.is_none() && self.fits(head.ask.mode)
        } else if self.tally.unfair > 0 {
            let waiter = self.queue.get(place)?;
            waiter.ask.fair == Some(false)
                && waiter.upgrades.is_none()
                && self.fits(waiter.ask.mode)
        } else {
            false
        };
        if !fits && self.first_due_thief(now) != Some(place) {
            return None;
        }
        let mut waiter = self.dequeue(place)?;
        effects.discard(waiter.waker.take());
        let settled =
            if fits { self.grant(&waiter.ask, now) } else { self.steal(&waiter.ask, now, effects) };
        self.settle(now, effects);
        Some(settled)
    }

    fn count(&mut self, ask: &Ask, more: bool) {
        let step = |counter: &mut usize, applies: bool| {
            if applies {
                *counter = if more { *counter + 1 } else { *counter - 1 };
            }
        };
        step(&mut self.tally.fair, ask.fair == Some(true));
        step(&mut self.tally.unfair, ask.fair == Some(false));
        step(&mut self.tally.thieves, ask.steal_after.is_some());
        step(&mut self.tally.reentrant, ask.reentrant);
    }
}
