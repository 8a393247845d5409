//! When the command has to end, where that is known beforehand.

use std::time::{Duration, Instant};

/// How long before the end of the lock KILL comes, where there is time enough: those who are killed
/// have to be scheduled once more, and a busy machine takes its time with that.
const MARGIN: Duration = Duration::from_millis(500);

/// How long a command has between the two at most, unless told otherwise.
const LONGEST: Duration = Duration::from_secs(5);

/// How long before the end of what lasts so long a command gets TERM.
pub(super) fn kill_after_for(given: Option<Duration>, lasts: Option<Duration>) -> Duration {
    given.unwrap_or_else(|| LONGEST.min(lasts.unwrap_or_default() / 10))
}

/// The two steps that end a command before its lock ends: TERM, then KILL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    term: Option<Instant>,
    kill: Option<Instant>,
    /// The end of the lock.
    end: Option<Instant>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Term,
    Kill,
}

impl Schedule {
    /// For a lock that was granted at `granted` and lasts `most`.
    pub(crate) fn new(
        granted: Instant,
        most: Option<Duration>,
        kill_after: Option<Duration>,
    ) -> Self {
        let kill_after = kill_after_for(kill_after, most);
        // Too far off to be an instant is never.
        let end = most.and_then(|most| granted.checked_add(most));
        let margin = MARGIN.min(kill_after / 2);
        Self {
            term: end.and_then(|end| end.checked_sub(kill_after)),
            kill: end.and_then(|end| end.checked_sub(margin)),
            end,
        }
    }

    /// For a lock of which no end is known.
    pub(crate) fn none() -> Self {
        Self { term: None, kill: None, end: None }
    }

    pub(crate) fn end(&self) -> Option<Instant> {
        self.end
    }

    /// The time to look at it again.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.term.or(self.kill)
    }

    /// What is due now, each step once.
    pub(crate) fn take_due(&mut self, now: Instant) -> Due {
        if self.kill.is_some_and(|at| at <= now) {
            (self.term, self.kill) = (None, None);
            Due::Kill
        } else if self.term.is_some_and(|at| at <= now) {
            self.term = None;
            Due::Term
        } else {
            Due::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_comes_before_the_end_and_kill_just_before_it() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let (most, kill_after) = (Duration::from_secs(10), Duration::from_secs(1));
        let mut schedule = Schedule::new(start, Some(most), Some(kill_after));
        assert_eq!(schedule.next(), Some(after(9_000)));
        assert_eq!(schedule.take_due(after(8_999)), Due::Nothing);
        assert_eq!(schedule.take_due(after(9_000)), Due::Term);
        assert_eq!(schedule.next(), Some(after(9_500)));
        assert_eq!(schedule.take_due(after(9_499)), Due::Nothing);
        assert_eq!(schedule.take_due(after(9_500)), Due::Kill);
        assert_eq!((schedule.next(), schedule.take_due(after(20_000))), (None, Due::Nothing));
    }

    #[test]
    fn whoever_looks_too_late_kills_at_once() {
        let start = Instant::now();
        let mut schedule =
            Schedule::new(start, Some(Duration::from_secs(1)), Some(Duration::from_millis(10)));
        assert_eq!(schedule.take_due(start + Duration::from_millis(995)), Due::Kill);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn without_an_end_nothing_is_ever_due() {
        for most in [None, Some(Duration::MAX)] {
            let schedule = Schedule::new(Instant::now(), most, None);
            assert_eq!(schedule.next(), None);
        }
    }
}
