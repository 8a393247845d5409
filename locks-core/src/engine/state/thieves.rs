use std::collections::BTreeSet;
use std::time::Duration;

use super::ask::KeyRequest;
use super::queue::QueuePosition;
use super::{State, Units};
use crate::Mode;
use crate::clock::Moment;

/// The places of the waiters that steal, so that those whose steal comes due first are found
/// without a search.
///
/// What is in the way of exclusive requests is the same for all of them, and so for shared ones:
/// their steals come due in the order of their ages. A permit obeys its own number, and one that
/// upgrades does not rob itself: of those each is looked at.
#[derive(Default)]
pub(super) struct Thieves {
    by_age: [BTreeSet<(Duration, QueuePosition)>; 3],
}

const EXCLUSIVE: usize = 0;
const SHARED: usize = 1;
const PECULIAR: usize = 2;

impl Thieves {
    pub(super) fn count(&mut self, ask: &KeyRequest, place: QueuePosition, more: bool) {
        let Some(age) = ask.steal_after else { return };
        let among = match ask.mode {
            mode if mode.takes_permits() || ask.reentrant => PECULIAR,
            Mode::Exclusive => EXCLUSIVE,
            _ => SHARED,
        };
        if more {
            self.by_age[among].insert((age, place));
        } else {
            self.by_age[among].remove(&(age, place));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_age.iter().all(BTreeSet::is_empty)
    }
}

impl State {
    /// The first queued of those whose steal is due (C6).
    pub(super) fn first_due_thief(&self) -> Option<QueuePosition> {
        if self.thieves.is_empty() {
            return None;
        }
        let is_due = |place: &QueuePosition| self.due_at(*place).is_some_and(|due| due <= self.now);
        let [exclusive, shared, peculiar] = &self.thieves.by_age;
        let places = |(_, place): &(_, QueuePosition)| *place;
        let due = [exclusive, shared].map(|sorted| sorted.iter().map(places).take_while(is_due));
        due.into_iter().flatten().chain(peculiar.iter().map(places).filter(is_due)).min()
    }

    /// Whether the alarm goes off before the first steal can be due, from the present holder and
    /// from any later one. If so, a hand-over need not set it.
    pub(super) fn thieves_are_seen_to(&self) -> bool {
        if self.thieves.is_empty() {
            return true;
        }
        let [exclusive, shared, peculiar] = &self.thieves.by_age;
        let first = exclusive.first().into_iter().chain(shared.first()).map(|(age, _)| *age).min();
        let since = match self.holds.as_slice() {
            [] => Some(self.now),
            // Without its slack, which the next one may not have.
            [only] => only.since.filter(|_| !only.is_unrecorded()),
            _ => None,
        };
        let due = first.zip(since).map(|(age, since)| since.after(age));
        peculiar.is_empty() && due.is_some_and(|due| self.has_alarm_by(due))
    }

    /// When the first of them comes due, as things are.
    pub(super) fn next_theft(&self) -> Option<Moment> {
        let [exclusive, shared, peculiar] = &self.thieves.by_age;
        let first = exclusive.first().into_iter().chain(shared.first());
        first.chain(peculiar).filter_map(|(_, place)| self.due_at(*place)).min()
    }

    /// When the steal of a waiter comes due (C6).
    pub(in crate::engine) fn due_at(&self, place: QueuePosition) -> Option<Moment> {
        self.due(&self.queue.get(place)?.waiter.ask)
    }

    /// A thief that leaves it to the upstream who is next (C6).
    pub(super) fn first_bypassing(&self) -> Option<QueuePosition> {
        if self.thieves.is_empty() || self.holds.iter().any(|hold| hold.is_granted()) {
            return None;
        }
        self.queue
            .iter()
            .find(|(_, entry)| self.bypasses(&entry.waiter.ask))
            .map(|(place, _)| place)
    }
}
