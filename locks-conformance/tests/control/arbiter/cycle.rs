//! C10 by the book: a wait is alive if everything in its way will go away by itself or by
//! somebody who is alive.

use std::collections::BTreeSet;

use locks_core::{DeadlockStep, ErrorKind, LockError, Mode, OwnerId};

use super::Defect;
use super::state::{Ask, State};

impl State {
    /// Refuses the waits that have come to close a cycle.
    pub(super) fn refuse_deadlocks(&mut self) {
        if self.has(Defect::DeadlockNotFound) {
            return;
        }
        let fresh = |ask: &&Ask| ask.is_waiting() && ask.checked != Some(ask.got);
        for id in Vec::from_iter(self.asks.values().filter(fresh).map(|ask| ask.id)) {
            let got = self.asks[&id].got;
            self.asks.get_mut(&id).expect("it is there").checked = Some(got);
            // One that does not wait is contended, never deadlocked.
            if self.asks[&id].options.wait == Some(locks_core::Wait::Try) {
                continue;
            }
            let alive = self.alive();
            if alive.contains(&id) {
                continue;
            }
            let mut cycle = Vec::new();
            let mut both = Vec::new();
            self.trace(id, id, &alive, &mut Vec::new(), &mut cycle, &mut both);
            if self.has(Defect::DeadlockUnnamed) {
                cycle.clear();
            }
            let key = self.asks[&id].wants().expect("it waits").to_owned();
            let error = LockError::new(ErrorKind::Deadlock, key).with_cycle(cycle);
            self.refuse(id, error);
            if self.has(Defect::DeadlockToldToBoth) {
                for other in both.into_iter().filter(|other| *other != id) {
                    let error = LockError::new(ErrorKind::Deadlock, "");
                    self.refuse(other, error);
                }
            }
        }
    }

    /// The waits that will end, found from nothing.
    fn alive(&self) -> BTreeSet<u64> {
        let mut alive = BTreeSet::new();
        loop {
            let before = alive.len();
            for ask in self.asks.values().filter(|ask| ask.is_waiting()) {
                if self.will_end(ask, &alive) {
                    alive.insert(ask.id);
                }
            }
            if alive.len() == before {
                return alive;
            }
        }
    }

    fn will_end(&self, ask: &Ask, alive: &BTreeSet<u64>) -> bool {
        let key = ask.wants().expect("it waits");
        let holders = self.conflicting(ask, key);
        let frees = |holder: &&Ask| self.will_be_freed(ask, holder, alive);
        let freed = match ask.options.mode {
            _ if self.has(Defect::ChainIsDeadlock) && !holders.is_empty() => {
                holders.iter().all(|holder| self.waits_of(holder).is_empty())
            }
            Mode::Permit { .. } if self.has(Defect::DeadlockByAllPermits) => {
                holders.is_empty() || holders.iter().any(frees)
            }
            Mode::Permit { take, of } if !self.has(Defect::DeadlockByOnePermit) => {
                let stuck = holders.iter().filter(|holder| !frees(holder));
                let permits = |holder: &&Ask| match self.has(Defect::DeadlockByHolders) {
                    true => 1,
                    false => self.permits(holder.options.mode),
                };
                stuck.map(permits).sum::<u64>() + u64::from(take) <= of.into()
            }
            _ => holders.iter().all(frees),
        };
        let stolen = ask.options.steal_after.is_some() && !self.has(Defect::DeadlockDespiteSteal);
        let ahead = self.ahead(ask, key);
        let upgrade_waits = self.has(Defect::SecondUpgradeWaits) && self.is_upgrade(ask, key);
        stolen || upgrade_waits || freed && ahead.iter().all(|first| alive.contains(&first.id))
    }

    fn will_be_freed(&self, ask: &Ask, holder: &Ask, alive: &BTreeSet<u64>) -> bool {
        let key = ask.wants().expect("it waits");
        let bounded =
            holder.options.hold_at_most.is_some() && !self.has(Defect::DeadlockDespiteBound);
        let thief = self
            .asks
            .values()
            .any(|thief| thief.wants() == Some(key) && thief.options.steal_after.is_some());
        let thief = thief && !self.has(Defect::DeadlockDespiteSteal);
        bounded || thief || self.waits_of(holder).iter().all(|wait| alive.contains(wait))
    }

    /// The waits that keep a holder from letting go.
    fn waits_of(&self, holder: &Ask) -> Vec<u64> {
        let shared = holder.caller.shared.is_some() && self.has(Defect::SharedOwnersDoNotWait);
        let runs_as = match self.has(Defect::OwnerIsBlocked) || shared {
            true => holder.caller.owner,
            false => holder.caller.runs_as(),
        };
        let blocks = |wait: &&Ask| {
            let blocks = |owner: OwnerId| {
                // Several threads may go by a name: of its waits, only one that is all there is to
                // it counts.
                let is_name = owner.to_string().starts_with("owner ");
                let within = &wait.caller.within;
                within.contains(&owner) && (within.len() == 1 || !is_name)
                    || wait.caller.owner == Some(owner)
                        && (shared || self.has(Defect::OwnerIsBlocked))
            };
            wait.is_waiting() && (wait.id == holder.id || runs_as.is_some_and(blocks))
        };
        self.asks.values().filter(blocks).map(|wait| wait.id).collect()
    }

    /// Walks what is not alive from `at` until it comes back to `start`; whether it does.
    fn trace(
        &self,
        start: u64,
        at: u64,
        alive: &BTreeSet<u64>,
        seen: &mut Vec<u64>,
        cycle: &mut Vec<DeadlockStep>,
        members: &mut Vec<u64>,
    ) -> bool {
        if seen.contains(&at) {
            return false;
        }
        seen.push(at);
        let ask = &self.asks[&at];
        let key = ask.wants().expect("it waits");
        let holders = self.conflicting(ask, key).into_iter().map(|h| (h, self.waits_of(h)));
        let first = self.ahead(ask, key).into_iter().map(|first| (first, vec![first.id]));
        for (holder, waits) in holders.chain(first) {
            for wait in waits.into_iter().filter(|wait| !alive.contains(wait)) {
                let step = DeadlockStep::new(key, self.waiter_info(ask), self.holder_info(holder));
                cycle.push(step);
                members.push(at);
                if wait == start || self.trace(start, wait, alive, seen, cycle, members) {
                    return true;
                }
                cycle.pop();
                members.pop();
            }
        }
        false
    }
}
