//! How long to wait for the books: for as long as those before get on.

use std::sync::{Mutex, PoisonError};

use crate::kernel::Nanos;

/// For how long nothing may happen before whoever has the books is taken to stand still.
pub(crate) const STALL_TIMEOUT: Nanos = 10_000_000_000;
/// Who has not asked for so long has not been waiting.
const ASIDE: Nanos = 1_000_000_000;

/// What this process has seen of the books while it could not have them.
#[derive(Debug, Default)]
pub(super) struct ProgressWatch(Mutex<Option<Observed>>);

#[derive(Clone, Copy, Debug)]
struct Observed {
    /// How often they had been opened.
    visits: u64,
    /// Since when that has been the same.
    since: Nanos,
    /// When this process asked last.
    asked: Nanos,
}

impl ProgressWatch {
    /// They could not be had at `now`; `visits`: how often anybody has had them, if that is known.
    pub(super) fn refused(&self, visits: Option<u64>, now: Nanos) {
        let mut observed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = observed.filter(|before| now < before.asked + ASIDE);
        let visits = visits.or(before.map(|before| before.visits)).unwrap_or(0);
        let since = match before {
            Some(before) if before.visits == visits => before.since,
            _ => now,
        };
        *observed = Some(Observed { visits, since, asked: now });
    }

    /// This process has had them.
    pub(super) fn served(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether this process is waiting for them, at `now`.
    pub(super) fn is_waiting(&self, now: Nanos) -> bool {
        let observed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        observed.is_some_and(|it| now < it.asked + ASIDE)
    }

    /// Whether those before have not got on for so long, at `now`.
    pub(super) fn is_stalled(&self, timeout: Nanos, now: Nanos) -> bool {
        let observed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        observed.is_some_and(|it| now > it.since + timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_patient_as_long_as_others_get_on() {
        let progress = ProgressWatch::default();
        let mut now = 1;
        for visits in 0..100 {
            for _ in 0..20 {
                now += ASIDE / 2;
                progress.refused(Some(visits), now);
                assert!(!progress.is_stalled(STALL_TIMEOUT, now), "after {now} ns");
            }
        }
        for _ in 0..3 {
            now += ASIDE / 2;
            progress.refused(None, now);
        }
        assert!(progress.is_stalled(STALL_TIMEOUT, now), "nothing has happened for long");
        progress.served();
        assert!(!progress.is_stalled(STALL_TIMEOUT, now));
    }

    #[test]
    fn who_has_not_asked_for_long_begins_anew() {
        let progress = ProgressWatch::default();
        progress.refused(Some(7), 1);
        let now = 1 + 10 * STALL_TIMEOUT;
        progress.refused(Some(7), now);
        assert!(!progress.is_stalled(STALL_TIMEOUT, now));
        progress.refused(Some(7), now + ASIDE / 2);
        assert!(!progress.is_stalled(STALL_TIMEOUT, now + ASIDE / 2));
    }
}
