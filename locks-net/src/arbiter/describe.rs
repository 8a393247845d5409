//! Who is who, for people (C12): the engine knows owners, and whose they are is known here.

use locks_core::{DeadlockStep, HolderInfo, LockError, LockInfo, OwnerId, ProcessInfo, WaiterInfo};

use super::Arbiter;

impl Arbiter {
    pub(super) fn describe_error(&self, mut error: LockError) -> LockError {
        let waiting = error.waiting();
        if !error.holders().is_empty() {
            let holders =
                error.holders().iter().map(|holder| self.holder(holder.clone())).collect();
            error = error.with_holders(holders);
        }
        if !error.waiters().is_empty() {
            let waiters =
                error.waiters().iter().map(|waiter| self.waiter(waiter.clone())).collect();
            error = error.with_waiters(waiters).with_waiting(waiting);
        }
        if !error.cycle().is_empty() {
            let steps = error.cycle().iter().map(|step| {
                let (waiter, holder) = (step.waiter.clone(), step.holder.clone());
                DeadlockStep::new(step.wants.clone(), self.waiter(waiter), self.holder(holder))
            });
            let steps = steps.collect();
            error = error.with_cycle(steps);
        }
        error
    }

    pub(super) fn describe_info(&self, mut info: LockInfo) -> LockInfo {
        info.holders = info.holders.into_iter().map(|holder| self.holder(holder)).collect();
        info.waiters = info.waiters.into_iter().map(|waiter| self.waiter(waiter)).collect();
        info
    }

    pub(super) fn describe_holder(&self, holder: &HolderInfo) -> HolderInfo {
        self.holder(holder.clone())
    }

    fn holder(&self, mut holder: HolderInfo) -> HolderInfo {
        if let Some((party, who)) = self.whose(holder.owner) {
            (holder.party, holder.who) = (party, who);
        }
        holder
    }

    fn waiter(&self, mut waiter: WaiterInfo) -> WaiterInfo {
        if let Some((party, who)) = self.whose(waiter.owner) {
            (waiter.party, waiter.who) = (party, who);
        }
        waiter
    }

    fn whose(&self, owner: Option<OwnerId>) -> Option<(ProcessInfo, Option<String>)> {
        let owner = owner?;
        let session = self.sessions.get(&owner.realm())?;
        Some((session.party.clone(), session.describe(owner)))
    }
}
