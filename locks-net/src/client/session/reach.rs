//! When to try to reach the server, and with how many connections at a time (N7).

use std::collections::VecDeque;
use std::time::Duration;

use locks_core::Moment;

/// Attempts to reach the server: one after the other while there is no connection, and beside a
/// connection that is silent, which may be dead for all that is known here.
///
/// What an attempt is, is the driver's affair: they are known by numbers. With a lease to keep, the
/// pauses between them are no longer than a [beat](super::Session::beat), whatever has failed
/// before.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    failures: u32,
    failed_at: Option<Moment>,
    /// Not before then.
    not_before: Option<Moment>,
    /// When the connection was there that is there now, or was last.
    opened_at: Option<Moment>,
    /// How often something came in since.
    heard: u32,
    /// Those beside a connection, the oldest first.
    beside: VecDeque<(u64, Moment)>,
    next: u64,
}

impl Reach {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    /// So many attempts are made at a time, beside a connection.
    const ATTEMPTS: usize = 4;

    /// A connection that has been there for less is no proof that the next one will be.
    const PROOF: Duration = Duration::from_secs(1);

    /// How many attempts have failed since one was worth it.
    #[cfg(test)]
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Somebody new asks, who may not have as much time: not as long a pause as that.
    pub(crate) fn soon(&mut self) {
        if let (Some(at), Some(failed)) = (self.not_before, self.failed_at) {
            self.not_before = Some(at.min(failed.after(Self::FIRST)));
        }
    }

    /// When the next attempt is due where there is no connection; `None`: now.
    pub(crate) fn next_at(&self) -> Option<Moment> {
        self.not_before
    }

    pub(crate) fn is_due(&self, now: Moment) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// There is a connection, of which it is not known yet whether it is worth anything, or there
    /// is none: the next attempt has to wait. `chance`: of 256, so that not everybody comes at the
    /// same time.
    pub(crate) fn failed(&mut self, now: Moment, beat: Option<Duration>, chance: u8) {
        let pause = (Self::FIRST * (1 << self.failures.min(10))).min(Self::LONGEST);
        let pause = beat.map_or(pause, |beat| pause.min(beat));
        self.failures += 1;
        self.failed_at = Some(now);
        let jitter = pause.mul_f64(f64::from(u32::from(chance)) / 512.0);
        self.not_before = Some(now.after(pause.saturating_sub(jitter)));
    }

    /// The session is open, and something has come in.
    pub(crate) fn opened(&mut self, now: Moment) {
        self.opened_at.get_or_insert(now);
        self.heard = self.heard.saturating_add(1);
    }

    /// The connection is over. After one that has lasted the next attempt is made at once; after
    /// one over which something was answered, as soon as after a first failure; one that opens and
    /// ends again and again is not dialled any faster for that.
    pub(crate) fn lost(&mut self, now: Moment) {
        let lasted = self.opened_at.take().is_some_and(|at| now >= at.after(Self::PROOF));
        let has_answered = std::mem::take(&mut self.heard) > 1;
        if lasted {
            (self.failures, self.failed_at, self.not_before) = (0, None, None);
        } else if has_answered {
            self.failures = 0;
            self.soon();
        }
    }

    /// When the next attempt is to be made beside a connection that has been silent since `silent`;
    /// `None`: it is not.
    pub(crate) fn next_beside(
        &self,
        silent: Option<Moment>,
        beat: Option<Duration>,
    ) -> Option<Moment> {
        let (silent, beat) = (silent?, beat?);
        let newest = self.beside.back().map(|(_, at)| *at);
        Some(newest.map_or(silent, |at| at.max(silent)).after(beat))
    }

    /// An attempt is made beside the connection: its number, and that of one which is given up for
    /// it.
    pub(crate) fn begin_beside(&mut self, now: Moment) -> (u64, Option<u64>) {
        let given_up = match self.beside.len() {
            Self::ATTEMPTS => self.beside.pop_front().map(|(number, _)| number),
            _ => None,
        };
        self.next += 1;
        self.beside.push_back((self.next, now));
        (self.next, given_up)
    }

    /// The connection is not silent any more, or one of the attempts has taken its place.
    pub(crate) fn end_beside(&mut self) {
        self.beside.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    const BEAT: Option<Duration> = Some(Duration::from_millis(100));

    #[test]
    fn n7_with_a_lease_to_keep_no_pause_is_longer_than_a_beat() {
        let mut reach = Reach::default();
        let mut now = at(0);
        for _ in 0..20 {
            reach.failed(now, BEAT, 0);
            let next = reach.next_at().unwrap();
            assert!(next.since(now) <= Duration::from_millis(100));
            now = next;
        }
        reach.failed(now, None, 0);
        assert_eq!(reach.next_at().unwrap().since(now), Reach::LONGEST);
        reach.soon();
        assert_eq!(reach.next_at().unwrap().since(now), Reach::FIRST);
    }

    #[test]
    fn n7_who_opens_and_closes_is_not_dialled_any_faster_for_that() {
        let mut reach = Reach::default();
        let (mut now, mut dialled) = (at(0), 0);
        while now < at(3000) {
            dialled += 1;
            reach.failed(now, None, 0);
            reach.opened(now);
            reach.lost(now);
            now = reach.next_at().unwrap();
        }
        assert!(dialled < 15, "{dialled}");
        reach.opened(now);
        reach.lost(now.after(Duration::from_secs(2)));
        assert!(reach.is_due(now), "one that has lasted was worth it");
    }

    #[test]
    fn n7_who_answers_is_dialled_soon_again_and_not_all_the_time() {
        let mut reach = Reach::default();
        let (mut now, mut dialled) = (at(0), 0);
        while now < at(1000) {
            dialled += 1;
            reach.failed(now, None, 0);
            reach.opened(now);
            reach.opened(now);
            reach.lost(now);
            now = reach.next_at().unwrap();
        }
        assert_eq!(dialled, 100);
    }

    #[test]
    fn n7_four_attempts_are_made_beside_what_is_silent() {
        let mut reach = Reach::default();
        assert_eq!(reach.next_beside(None, BEAT), None);
        let mut given_up = Vec::new();
        for round in 1..=6 {
            assert_eq!(reach.next_beside(Some(at(0)), BEAT), Some(at(round * 100)));
            given_up.extend(reach.begin_beside(at(round * 100)).1);
        }
        assert_eq!(given_up, [1, 2]);
        reach.end_beside();
        assert_eq!(reach.next_beside(Some(at(900)), BEAT), Some(at(1000)));
    }
}
