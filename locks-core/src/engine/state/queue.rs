use std::task::Waker;

use super::super::effects::Effects;
use super::ask::Ask;
use super::{Settled, State};
use crate::Token;
use crate::clock::Moment;

/// A place in the queue, in the order in which it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Place {
    pub(in crate::engine) class: Class,
    pub(in crate::engine) ticket: u64,
}

/// Upgrades come before everybody else (C9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Class {
    /// A shared holder that waits to become the exclusive one, and the token of its hold.
    Upgrade(Token),
    Normal,
}

/// A request that waits.
pub(in crate::engine) struct Waiter {
    pub(in crate::engine) ask: Ask,
    pub(in crate::engine) since: Moment,
    pub(super) waker: Option<Waker>,
    /// It has been woken to take the key, which is free; others may be quicker (C3).
    pub(super) hinted: bool,
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
    pub(super) fn enqueue(&mut self, ask: Ask, class: Class, now: Moment) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.count(&ask, true);
        let waiter = Waiter { ask, since: now, waker: None, hinted: false };
        self.queue.insert(Place { class, ticket }, waiter);
        ticket
    }

    /// Takes a waiter out of the queue, with the tally kept.
    pub(super) fn dequeue(&mut self, place: Place) -> Option<Waiter> {
        let waiter = self.queue.remove(&place)?;
        self.count(&waiter.ask, false);
        Some(waiter)
    }

    /// Looks after a waiter: fetches its grant, or leaves the waker to be woken with.
    pub(in crate::engine) fn look(
        &mut self,
        ticket: u64,
        waker: &Waker,
        now: Moment,
        effects: &mut Effects,
    ) -> Look {
        self.expire(now, effects);
        if let Some(settled) = self.settled.remove(&ticket) {
            return Look::Granted(settled);
        }
        let Some(place) = self.place(ticket) else {
            unreachable!("S4: a waiter is in the queue until it is settled")
        };
        if let Some(settled) = self.claim(place, now, effects) {
            return Look::Granted(settled);
        }
        let due = self.queue.get(&place).and_then(|waiter| self.due(&waiter.ask));
        if let Some(waiter) = self.queue.get_mut(&place) {
            waiter.hinted = false;
            if waiter.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
                effects.discard(waiter.waker.replace(waker.clone()));
            }
        }
        Look::Waiting { due: due.filter(|due| *due > now) }
    }

    /// A waiter gives up: it leaves the queue, or gives back what it was granted meanwhile (C5).
    pub(in crate::engine) fn withdraw(&mut self, ticket: u64, now: Moment, effects: &mut Effects) {
        if let Some(settled) = self.settled.remove(&ticket) {
            if settled.level == 0
                && let Some(hold) = self.hold_mut(settled.token, 0)
            {
                // Nobody has ever held it, so there is nothing to reserve (C14).
                hold.reserved_until = None;
            }
            let _ = self.release(settled.token, settled.level, now, effects);
        } else if let Some(place) = self.place(ticket) {
            effects.discard(self.dequeue(place).and_then(|waiter| waiter.waker));
            self.settle(now, effects);
        }
    }

    /// Where a ticket is in the queue.
    pub(in crate::engine) fn place(&self, ticket: u64) -> Option<Place> {
        let normal = Place { class: Class::Normal, ticket };
        if self.queue.contains_key(&normal) {
            return Some(normal);
        }
        // Upgrades come first, and there are few of them: at most one per shared hold.
        let upgrades = self.queue.keys().take_while(|place| place.class != Class::Normal);
        upgrades.copied().find(|place| place.ticket == ticket)
    }

    pub(in crate::engine) fn waiter(&self, ticket: u64) -> Option<(Place, &Waiter)> {
        let place = self.place(ticket)?;
        Some((place, &self.queue[&place]))
    }

    /// A waiter that looks takes what it can have: it heads the queue and fits, or its steal is
    /// due, or its nest is open.
    fn claim(&mut self, place: Place, now: Moment, effects: &mut Effects) -> Option<Settled> {
        let waiter = &self.queue[&place];
        let is_first = self.queue.keys().next() == Some(&place);
        let fits = match place.class {
            Class::Upgrade(_) => false,
            Class::Normal => {
                (is_first || waiter.ask.fair == Some(false)) && self.fits(waiter.ask.mode)
            }
        };
        let due = self.due(&waiter.ask).is_some_and(|due| due <= now);
        if !fits && !due {
            return None;
        }
        if !fits {
            let first_due = self.first_due_thief(now);
            if first_due != Some(place) {
                return None;
            }
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
