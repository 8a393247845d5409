use super::super::effects::Effects;
use super::ask::is_out_of_patience;
use super::queue::{Place, Waiter};
use super::{Settled, State, Units};
use crate::Mode;
use crate::clock::Moment;

impl State {
    /// Grants what can be granted, after something was given back (S5).
    pub(in crate::engine) fn settle(&mut self, now: Moment, effects: &mut Effects) {
        self.reserved.retain(|reservation| reservation.until > now);
        if self.queue.is_empty() {
            return;
        }
        while self.settle_one(now, effects) {}
        self.wake_thieves(effects);
    }

    fn settle_one(&mut self, now: Moment, effects: &mut Effects) -> bool {
        if let Some(thief) = self.first_due_thief(now) {
            return self
                .settle_with(thief, effects, |state, ask, effects| state.steal(ask, now, effects));
        }
        if let Some((place, hold)) = self.first_open_nest() {
            return self.settle_with(place, effects, |state, ask, _| match ask.mode {
                mode if mode.outranks(state.holds[hold].mode) => state.upgrade(hold, ask),
                _ => state.nest(hold, ask),
            });
        }
        let Some((first, waiter)) = self.queue.first() else { return false };
        match waiter.upgrades {
            // Its shared hold was lost meanwhile: it is a request like any other. If it was not,
            // `first_open_nest` sees to the upgrade.
            Some(token) if self.holds.iter().any(|hold| hold.token == token) => {}
            _ if !self.fits(waiter.ask.mode) => {}
            None if self.leaves_it_to_chance(waiter, now) => self.hint(first, effects),
            _ => return self.settle_with(first, effects, |state, ask, _| state.grant(ask, now)),
        }
        match self.first_unfair().or_else(|| self.first_bypassing()) {
            Some(place) => self.settle_with(place, effects, |state, ask, _| state.grant(ask, now)),
            None => false,
        }
    }

    /// Whether the first waiter is merely woken, and whoever comes first gets the key (C3).
    fn leaves_it_to_chance(&self, waiter: &Waiter, now: Moment) -> bool {
        waiter.ask.fair != Some(true)
            && self.tally.fair == 0
            && waiter.ask.mode == Mode::Exclusive
            && !is_out_of_patience(waiter.since, now)
    }

    fn hint(&mut self, place: Place, effects: &mut Effects) {
        let Some(waiter) = self.queue.get_mut(place) else { return };
        if !waiter.hinted {
            waiter.hinted = true;
            effects.wake(waiter.waker.take());
        }
    }

    /// Takes a waiter out of the queue and leaves its grant for it to fetch.
    fn settle_with(
        &mut self,
        place: Place,
        effects: &mut Effects,
        grant: impl FnOnce(&mut Self, &super::Ask, &mut Effects) -> Settled,
    ) -> bool {
        let Some(waiter) = self.dequeue(place) else { return false };
        let settled = grant(self, &waiter.ask, effects);
        self.settled.insert(place, settled);
        effects.wake(waiter.waker);
        true
    }

    /// The first queued of those whose steal is due (C6).
    pub(super) fn first_due_thief(&self, now: Moment) -> Option<Place> {
        if self.tally.thieves == 0 {
            return None;
        }
        let due = |ask| self.due(ask).is_some_and(|due| due <= now);
        let thief = self.queue.iter().find(|(_, waiter)| due(&waiter.ask));
        thief.map(|(place, _)| place)
    }

    /// A waiter that can nest in a hold of its own by now, and that hold (C9).
    fn first_open_nest(&self) -> Option<(Place, usize)> {
        if self.tally.reentrant == 0 {
            return None;
        }
        self.queue.iter().filter(|(_, waiter)| waiter.ask.reentrant).find_map(|(place, waiter)| {
            let ask = &waiter.ask;
            let own = self.holds.iter().position(|hold| hold.lets_in(&ask.caller))?;
            let needs_upgrade = ask.mode.outranks(self.holds[own].mode);
            let alone = self.used() == self.holds[own].mode.units();
            (!needs_upgrade || alone).then_some((place, own))
        })
    }

    fn first_unfair(&self) -> Option<Place> {
        if self.tally.unfair == 0 {
            return None;
        }
        let mut unfair = self.queue.iter().filter(|(_, waiter)| waiter.ask.fair == Some(false));
        unfair.find(|(_, waiter)| self.fits(waiter.ask.mode)).map(|(place, _)| place)
    }

    /// A thief that leaves it to the upstream who is next (C6).
    fn first_bypassing(&self) -> Option<Place> {
        if self.tally.thieves == 0 {
            return None;
        }
        self.queue.iter().find(|(_, waiter)| self.bypasses(&waiter.ask)).map(|(place, _)| place)
    }

    /// The holders have changed, and with them the times at which steals come due.
    pub(in crate::engine) fn wake_thieves(&mut self, effects: &mut Effects) {
        if self.tally.thieves == 0 {
            return;
        }
        for waiter in self.queue.values_mut().filter(|waiter| waiter.ask.steal_after.is_some()) {
            effects.wake(waiter.waker.take());
        }
    }
}
