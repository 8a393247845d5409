use std::time::Duration;

use smallvec::SmallVec;

use super::ask::KeyRequest;
use super::hold::HoldEntry;
use super::{Grant, PROVISIONAL, State, Units};
use crate::clock::Moment;
use crate::{HolderInfo, LostCause, Mode, Token};

/// A hold that a permit could be stolen from, in the order in which that is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Victim {
    due: Moment,
    token: Token,
    units: u64,
}

impl State {
    /// When `ask` may steal what is in its way (C6). `None`: it does not, or nothing is, or not
    /// as things are.
    pub(in crate::engine) fn due(&self, ask: &KeyRequest) -> Option<Moment> {
        let age = ask.steal_after?;
        if ask.mode.takes_permits() {
            return self.permits_due(ask);
        }
        let in_the_way = self.holds.iter().filter(|hold| self.is_in_the_way(hold, ask));
        let latest = in_the_way.map(|hold| hold.due(age));
        let due = latest.reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)))??;
        // What is reserved cannot be stolen, and ends by itself.
        Some(self.reserved_until().map_or(due, |until| due.max(until)))
    }

    pub(super) fn is_due(&self, ask: &KeyRequest) -> bool {
        self.due(ask).is_some_and(|due| due <= self.now)
    }

    /// Takes the key from those in the way, all of them, or for a permit from the oldest, as many
    /// as it takes (C6, C16).
    pub(super) fn steal(&mut self, ask: &KeyRequest) -> Grant {
        let victims = self.victims(ask);
        let mut stolen_from = Vec::new();
        for token in &victims {
            if let Some(index) = self.holds.iter().position(|hold| hold.token == *token) {
                stolen_from.push(self.holds[index].holder_info(self.now));
                self.revoke(index, LostCause::Stolen);
            }
        }
        let own = self.holds.iter().position(|hold| hold.lets_in(&ask.caller));
        let grant = match own {
            Some(index) if ask.upgrades() => self.upgrade(index, ask),
            _ => self.grant(ask),
        };
        if let Some(hold) = self.hold_mut(grant.token, grant.level) {
            hold.stolen_from = Some(stolen_from.into());
        }
        let waiter = ask.waiter_info(Duration::ZERO);
        let token = Some(grant.token).filter(|token| token.get() < PROVISIONAL);
        let thief = HolderInfo { token, ..HolderInfo::of_waiter(waiter) };
        let lost = self.effects.more().lost.iter_mut();
        for lost in lost.filter(|lost| victims.contains(&lost.token)) {
            lost.thief = Some(thief.clone());
        }
        grant
    }

    fn victims(&self, ask: &KeyRequest) -> SmallVec<[Token; 1]> {
        if ask.mode.takes_permits() {
            return self.permit_victims(ask);
        }
        let victims = self.holds.iter().filter(|hold| self.is_in_the_way(hold, ask));
        victims.map(|hold| hold.token).collect()
    }

    fn is_in_the_way(&self, hold: &HoldEntry, ask: &KeyRequest) -> bool {
        let conflicts = ask.mode == Mode::Exclusive || hold.mode == Mode::Exclusive;
        // Who upgrades does not steal from the hold that it upgrades.
        let upgrades = ask.upgrades() && hold.mode == Mode::Shared;
        let first = || self.holds.iter().find(|hold| hold.lets_in(&ask.caller));
        conflicts && !(upgrades && first().is_some_and(|first| first.token == hold.token))
    }

    /// The earliest moment at which so many holds are due that the request fits without them,
    /// beside what is reserved then.
    fn permits_due(&self, ask: &KeyRequest) -> Option<Moment> {
        let oldest = self.oldest(ask);
        let ends = self.reserved.iter().map(|left| (left.until, left.mode.units()));
        let mut ends = ends.collect::<SmallVec<[_; 4]>>();
        ends.sort_unstable();
        let (mut excess, mut ended) = (self.excess(ask.mode), None);
        let mut earliest = None;
        for end in ends.into_iter().map(Some).chain([None]) {
            // Where nothing is too much any more, there is nothing to steal.
            let victims = if excess == 0 { None } else { fewest(&oldest, excess) };
            let due = victims.and_then(<[Victim]>::last).map(|last| ended.max(Some(last.due)));
            earliest = [earliest, due.flatten()].into_iter().flatten().min();
            if let Some((until, units)) = end {
                (excess, ended) = (excess.saturating_sub(units), Some(until));
            }
        }
        earliest
    }

    /// Returns the holds that `ask` takes: the oldest that free enough, without those that turn out
    /// not to be needed, of which the youngest is spared first.
    fn permit_victims(&self, ask: &KeyRequest) -> SmallVec<[Token; 1]> {
        let (excess, oldest) = (self.excess(ask.mode), self.oldest(ask));
        let victims = fewest(&oldest, excess).unwrap_or_default();
        let freed = victims.iter().map(|victim| victim.units).sum::<u64>();
        let mut spare = freed.saturating_sub(excess);
        let mut tokens = SmallVec::new();
        for victim in victims.iter().rev() {
            if victim.units <= spare {
                spare -= victim.units;
            } else {
                tokens.push(victim.token);
            }
        }
        tokens.reverse();
        tokens
    }

    /// Returns how many permits would have to be given back before `mode` can be granted.
    fn excess(&self, mode: Mode) -> u64 {
        self.used().saturating_add(mode.units()).saturating_sub(mode.capacity())
    }

    /// The holds that `ask` can steal, by when that comes due.
    fn oldest(&self, ask: &KeyRequest) -> SmallVec<[Victim; 4]> {
        let age = ask.steal_after.unwrap_or_default();
        let victim = |hold: &HoldEntry| {
            Some(Victim { due: hold.due(age)?, token: hold.token, units: hold.mode.units() })
        };
        let mut oldest = self.holds.iter().filter_map(victim).collect::<SmallVec<_>>();
        oldest.sort_unstable();
        oldest
    }
}

/// The first of the victims, as many as it takes to free so many units; `None`: all are not enough.
fn fewest(oldest: &[Victim], excess: u64) -> Option<&[Victim]> {
    let mut freed = 0;
    let last = oldest.iter().position(|victim| {
        freed += victim.units;
        freed >= excess
    });
    Some(&oldest[..=last?])
}
