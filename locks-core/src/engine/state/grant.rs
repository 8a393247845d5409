use super::ask::{BARGE_WINDOW, KeyRequest};
use super::hold::HoldEntry;
use super::queue::{QueueEntry, QueuePosition};
use super::{Grant, State, Units};
use crate::Mode;

impl State {
    /// Grants what can be granted, after something was given back (S5).
    pub(in crate::engine) fn grant_waiters(&mut self) {
        while !self.queue.is_empty() && self.grant_one() {}
    }

    fn grant_one(&mut self) -> bool {
        if self.has_errand() || self.lacks_token() {
            // Whoever comes back from it does this.
            return false;
        }
        // Before thieves: one that can nest has nobody to rob (C9).
        if let Some((place, hold)) = self.first_open_nest() {
            return self.grant_to(place, |state, ask| match ask.mode {
                mode if mode.outranks(state.holds[hold].mode) => state.upgrade(hold, ask),
                _ => state.nest(hold, ask),
            });
        }
        if let Some(thief) = self.first_due_thief() {
            return self.grant_to(thief, Self::steal);
        }
        let Some((first, entry)) = self.queue.first() else { return false };
        let waiter = &*entry.waiter;
        match waiter.upgrades {
            // Its shared hold was lost meanwhile: it is a request like any other. If it was not,
            // `first_open_nest` sees to the upgrade.
            Some(token) if self.holds.iter().any(|hold| hold.token == token) => {}
            _ if !self.fits(waiter.ask.mode) => {}
            None if self.may_barge_past(entry) => self.wake_only(first),
            _ => {
                self.barge_from = self.now;
                return self.grant_to(first, Self::grant);
            }
        }
        let place = self.first_unfair().or_else(|| self.first_bypassing());
        place.is_some_and(|place| self.grant_to(place, Self::grant))
    }

    /// Whether the first waiter is merely woken, and whoever comes first gets the key (C3).
    pub(super) fn may_barge_past(&self, first: &QueueEntry) -> bool {
        self.tally.fair == 0
            && first.waiter.ask.waits
            && first.waiter.ask.mode == Mode::Exclusive
            && self.now.since(self.barge_from) < BARGE_WINDOW
    }

    fn wake_only(&mut self, place: QueuePosition) {
        let Some(entry) = self.queue.get_mut(place) else { return };
        if entry.hinted.is_none() {
            entry.hinted = Some(self.now);
            let waker = entry.waker.take();
            self.effects.wake(waker);
        }
    }

    /// Has the first waiter look for itself.
    pub(in crate::engine) fn wake_first(&mut self) {
        if let Some((first, _)) = self.queue.first() {
            self.wake_only(first);
        }
    }

    /// Whether the first waiter was woken for a key that is free, and does not come (C3).
    pub(super) fn has_stale_hint(&self) -> bool {
        let hinted = self.queue.first().and_then(|(_, entry)| entry.hinted);
        hinted.is_some_and(|at| self.now.since(at) >= BARGE_WINDOW) && !self.is_held()
    }

    /// Takes a waiter out of the queue and leaves its grant for it to take.
    fn grant_to(
        &mut self,
        place: QueuePosition,
        grant: impl FnOnce(&mut Self, &KeyRequest) -> Grant,
    ) -> bool {
        let Some(entry) = self.dequeue(place) else { return false };
        let granted = grant(self, &entry.waiter.ask);
        entry.waiter.grant(granted);
        if let Some((hold, level)) = self.find(granted.token, granted.level) {
            self.holds[hold].levels[level].pending = Some(entry.waiter);
        }
        self.effects.wake(entry.waker);
        true
    }

    /// A waiter that can nest in a hold of its own by now, and that hold (C9).
    fn first_open_nest(&self) -> Option<(QueuePosition, usize)> {
        if self.tally.reentrant == 0 {
            return None;
        }
        self.queue.iter().filter(|(_, entry)| entry.waiter.ask.reentrant).find_map(
            |(place, entry)| {
                let ask = &entry.waiter.ask;
                let opens =
                    |hold: &HoldEntry| hold.lets_in(&ask.caller) && !ask.mode.exceeds(hold.mode);
                let own = self.holds.iter().position(opens)?;
                let needs_upgrade = ask.mode.outranks(self.holds[own].mode);
                // One that had queued before there was a hold of its own, which the upstream does
                // not turn into another.
                let alone = !ask.has_upstream && self.used() == self.holds[own].mode.units();
                (!needs_upgrade || alone).then_some((place, own))
            },
        )
    }

    fn first_unfair(&self) -> Option<QueuePosition> {
        if self.tally.unfair == 0 {
            return None;
        }
        let unfair = |ask: &KeyRequest| ask.fair == Some(false) && self.fits(ask.mode);
        self.queue.iter().find(|(_, entry)| unfair(&entry.waiter.ask)).map(|(place, _)| place)
    }
}
