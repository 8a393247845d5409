//! What the engine tells of holders and waiters (C12).

use std::sync::Arc;
use std::time::Duration;

use crate::engine::state::{KeyRequest, QueuePosition};
use crate::engine::table::{Core, Frozen, PinnedSlot};
use crate::{CallSite, DeadlockStep, ErrorKind, HolderInfo, LockError, LockInfo, Query};

/// Errors name so many holders and waiters, and count the rest.
const NAMED: usize = 16;

/// Who holds the key.
pub(in crate::engine) fn holders(frozen: &Frozen<'_>) -> Vec<HolderInfo> {
    let now = frozen.now();
    let granted = frozen.holds().iter().filter(|hold| hold.is_granted());
    granted.take(NAMED).map(|hold| hold.holder_info(now)).collect()
}

/// The error for a request that does not get in, with everybody who is in its way.
#[cold]
pub(in crate::engine) fn in_the_way(
    kind: ErrorKind,
    frozen: &Frozen<'_>,
    except: Option<QueuePosition>,
    site: Option<CallSite>,
) -> LockError {
    let now = frozen.now();
    let holders = holders(frozen);
    let others = || frozen.waiters().filter(|(place, _)| Some(*place) != except);
    let waiters = others().take(NAMED).map(|(_, waiter)| waiter.info(now)).collect();
    let error = LockError::new(kind, frozen.slot().key())
        .with_holders(holders)
        .with_waiters(waiters)
        .with_waiting(others().count())
        .with_reserved_for(frozen.reserved_until().map(|until| until.since(now)));
    match site {
        Some(site) => error.with_site(site),
        None => error,
    }
}

/// What is going on around a key; `None` if nothing is.
pub(in crate::engine) fn info(frozen: &Frozen<'_>) -> Option<LockInfo> {
    let now = frozen.now();
    let mut info = LockInfo::new(frozen.slot().key());
    for hold in frozen.holds() {
        if hold.is_granted() {
            info.holders.push(hold.holder_info(now));
        } else {
            info.waiters.push(hold.waiter_info());
        }
    }
    info.waiters.extend(frozen.waiters().map(|(_, waiter)| waiter.info(now)));
    info.reserved_for = frozen.reserved_until().map(|until| until.since(now));
    info.reserved_by = frozen.reserved_by();
    let empty = info.holders.is_empty() && info.waiters.is_empty() && info.reserved_for.is_none();
    (!empty).then_some(info)
}

/// Returns the error for a request whose owner holds the key already (C9).
#[cold]
pub(in crate::engine) fn own(
    frozen: &Frozen<'_>,
    ask: &KeyRequest,
    why: Option<&str>,
) -> LockError {
    let now = frozen.now();
    let key = frozen.slot().key();
    let asked = ask.waiter_info(Duration::ZERO);
    let own = frozen
        .holds()
        .iter()
        .find(|hold| hold.levels.iter().any(|level| ask.caller.counts_as(level.owner)));
    let steps = own.map(|hold| DeadlockStep::new(key, asked, hold.holder_info(now)));
    let error = LockError::new(ErrorKind::Deadlock, key).with_cycle(steps.into_iter().collect());
    match why {
        Some(why) => error.with_message(format!("waiting for `{key}` would deadlock: {why}")),
        None => error,
    }
}

impl Core {
    /// What is going on around the keys that `query` asks for, in ascending order.
    pub(in crate::engine) fn list(self: &Arc<Self>, query: &Query) -> Vec<LockInfo> {
        let mut found = Vec::new();
        let mut slots = Vec::new();
        // SAFETY: under the mutex of its shard, with an inline slot fixed.
        self.registry.select(query, |slot| slots.push(unsafe { PinnedSlot::new(self, slot) }));
        for slot in slots {
            found.extend(info(&self.freeze(&slot)));
        }
        found.sort_by(|a: &LockInfo, b: &LockInfo| a.key.cmp(&b.key));
        found
    }
}
