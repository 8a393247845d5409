//! What a server counts (N12).

use std::time::Duration;

use locks_core::{ErrorKind, LostCause, Mode, Moment};

use super::Arbiter;

/// Counts of what a server has done since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Grants of exclusive locks.
    pub exclusive: u64,
    /// Grants of shared locks.
    pub shared: u64,
    /// Grants of permits.
    pub permits: u64,
    /// Requests that were queued, since a hold or a waiter was in the way.
    pub waits: u64,
    /// Requests that were refused.
    pub refusals: Refusals,
    /// Holds that their clients gave up.
    pub releases: u64,
    /// Holds that were taken away from their clients.
    pub losses: Losses,
    /// Administrative releases of holds and reservations.
    pub evictions: u64,
    /// Sessions that clients began; not those that were resumed.
    pub sessions: u64,
    /// The waiting times of queued requests that were granted.
    pub waited: Histogram,
    /// The durations of holds, from the grant, or the server's start, to their end.
    pub held: Histogram,
}

/// Requests that were refused, by the [kind](ErrorKind) of the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// [`ErrorKind::Contended`].
    pub contended: u64,
    /// [`ErrorKind::Timeout`].
    pub timeout: u64,
    /// [`ErrorKind::Deadlock`].
    pub deadlock: u64,
    /// [`ErrorKind::LimitExceeded`].
    pub limit: u64,
    /// [`ErrorKind::Unavailable`].
    pub unavailable: u64,
    /// All others.
    pub other: u64,
}

/// Holds that were taken away, by [cause](LostCause).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Losses {
    /// [`LostCause::Stolen`].
    pub stolen: u64,
    /// [`LostCause::HeldTooLong`].
    pub held_too_long: u64,
    /// [`LostCause::Expired`].
    pub expired: u64,
    /// [`LostCause::Evicted`].
    pub evicted: u64,
    /// [`LostCause::SessionEnded`].
    pub session_ended: u64,
    /// All others.
    pub other: u64,
}

/// Durations, counted by length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// The upper bounds of its buckets, the longest excepted, which has none.
    pub const BOUNDS: [Duration; 12] = [
        Duration::from_millis(1),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(5),
        Duration::from_secs(10),
        Duration::from_secs(60),
        Duration::from_secs(300),
        Duration::from_secs(3600),
    ];

    /// Returns the number of durations in each bucket; each duration is in one bucket.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns the number of durations.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns their sum.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    fn add(&mut self, duration: Duration) {
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < duration);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(duration);
    }
}

impl Figures {
    /// Returns the number of locks and permits that were granted.
    pub fn grants(&self) -> u64 {
        self.exclusive + self.shared + self.permits
    }

    fn refused(&mut self, kind: ErrorKind) {
        let count = match kind {
            ErrorKind::Contended => &mut self.refusals.contended,
            ErrorKind::Timeout => &mut self.refusals.timeout,
            ErrorKind::Deadlock => &mut self.refusals.deadlock,
            ErrorKind::LimitExceeded => &mut self.refusals.limit,
            ErrorKind::Unavailable => &mut self.refusals.unavailable,
            _ => &mut self.refusals.other,
        };
        *count += 1;
    }

    fn ended(&mut self, cause: Option<LostCause>) {
        let count = match cause {
            None => &mut self.releases,
            Some(LostCause::Stolen) => &mut self.losses.stolen,
            Some(LostCause::HeldTooLong) => &mut self.losses.held_too_long,
            Some(LostCause::Expired) => &mut self.losses.expired,
            Some(LostCause::Evicted) => &mut self.losses.evicted,
            Some(LostCause::SessionEnded) => &mut self.losses.session_ended,
            Some(_) => &mut self.losses.other,
        };
        *count += 1;
    }
}

impl Losses {
    /// Returns the number of refusals.
    pub fn total(&self) -> u64 {
        let Self { stolen, held_too_long, expired, evicted, session_ended, other } = *self;
        stolen + held_too_long + expired + evicted + session_ended + other
    }
}

/// A moment in the four bytes that there are for it in a hold: milliseconds, which begin again
/// after 49 days.
pub(super) fn stamp(at: Moment) -> u32 {
    (at.nanos() / 1_000_000) as u32
}

impl Arbiter {
    /// `asked`: when the request was queued, if it was.
    pub(super) fn count_grant(&mut self, mode: Mode, asked: Option<Moment>) {
        let count = match mode {
            Mode::Exclusive => &mut self.figures.exclusive,
            Mode::Shared => &mut self.figures.shared,
            Mode::Permit { .. } => &mut self.figures.permits,
        };
        *count += 1;
        if let Some(asked) = asked {
            self.figures.waited.add(self.time_awake().since(asked));
        }
    }

    pub(super) fn count_wait(&mut self) {
        self.figures.waits += 1;
    }

    pub(super) fn count_refusal(&mut self, kind: ErrorKind) {
        self.figures.refused(kind);
    }

    /// A hold that was granted at `granted` has ended at `at`; of itself, if there is no cause.
    pub(super) fn count_end(&mut self, granted: u32, at: Moment, cause: Option<LostCause>) {
        self.figures.ended(cause);
        let millis = stamp(at).wrapping_sub(granted);
        self.figures.held.add(Duration::from_millis(millis.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n12_durations_are_counted_in_the_first_bucket_that_has_room_for_them() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 5_000, 5_001, 4_000_000] {
            histogram.add(Duration::from_millis(millis));
        }
        let filled = histogram.counts().iter().enumerate().filter(|(_, count)| **count > 0);
        assert_eq!(
            filled.map(|(at, n)| (at, *n)).collect::<Vec<_>>(),
            [(0, 2), (1, 1), (7, 1), (8, 1), (12, 1)]
        );
        assert_eq!((histogram.total(), histogram.sum()), (6, Duration::from_millis(4_010_004)));
    }

    #[test]
    fn n12_a_hold_across_the_end_of_the_four_bytes_is_as_long_as_it_was() {
        let at = |millis: u64| Moment::from_nanos(millis * 1_000_000);
        let before = u64::from(u32::MAX) - 9;
        assert_eq!(stamp(at(before + 30)).wrapping_sub(stamp(at(before))), 30);
    }
}
