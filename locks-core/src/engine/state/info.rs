//! Describes holders and waiters for lists and errors (C12).

use std::sync::Arc;
use std::time::Duration;

use super::ask::KeyRequest;
use super::hold::HoldEntry;
use super::waiter::Waiter;
use crate::clock::Moment;
use crate::{HolderInfo, OwnerId, ProcessInfo, WaiterInfo};

impl HoldEntry {
    pub(in crate::engine) fn holder_info(&self, now: Moment) -> HolderInfo {
        let level = self.outermost();
        HolderInfo {
            token: Some(self.token),
            owner: level.owner,
            who: level.owner.and_then(OwnerId::describe),
            label: label(level.label.as_ref()),
            depth: self.levels.len(),
            party: party(level.party.as_deref()),
            site: level.site,
            age: self.since.map(|since| now.since(since)),
            ..HolderInfo::new(self.mode)
        }
    }

    /// Describes a provisional hold as the wait that it is until the upstream grants it.
    pub(in crate::engine) fn waiter_info(&self) -> WaiterInfo {
        let level = self.outermost();
        WaiterInfo {
            owner: level.owner,
            who: level.owner.and_then(OwnerId::describe),
            label: label(level.label.as_ref()),
            party: party(level.party.as_deref()),
            site: level.site,
            ..WaiterInfo::new(self.mode, Duration::ZERO)
        }
    }
}

impl Waiter {
    pub(in crate::engine) fn info(&self, now: Moment) -> WaiterInfo {
        self.ask.waiter_info(now.since(self.since))
    }
}

impl KeyRequest {
    pub(in crate::engine) fn waiter_info(&self, waited: Duration) -> WaiterInfo {
        let caller = &self.caller;
        WaiterInfo {
            owner: caller.owner,
            who: caller.owner.and_then(OwnerId::describe),
            label: label(caller.label.as_ref()),
            party: party(caller.party.as_deref()),
            site: caller.site,
            ..WaiterInfo::new(self.mode, waited)
        }
    }
}

fn party(party: Option<&ProcessInfo>) -> ProcessInfo {
    party.cloned().unwrap_or_default()
}

fn label(label: Option<&Arc<str>>) -> Option<String> {
    label.map(|label| label.to_string())
}
