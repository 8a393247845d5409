use std::ops::RangeInclusive;
use std::time::Duration;

use crate::{LostCause, Moment};

/// How long before its lease ends a hold stops being valid (C8), whatever the clocks' rates.
pub(super) fn margin(lease: Duration) -> Duration {
    (lease / 20).max(Duration::from_millis(100))
}

/// The leases that may be asked for. Much shorter ones than these leave nothing beside the margin.
pub(super) const LEASES: RangeInclusive<Duration> =
    Duration::from_millis(300)..=Duration::from_secs(86_400);

/// Until when a hold may be trusted, when its lease is renewed, and how it was lost.
///
/// It knows no thread, no store and no clock: it is told what happened when.
///
/// I1: `valid_until` is the send time of the newest step whose acknowledgement has arrived, plus
/// the lease, less the margin. The send time, not that of the reply: the store counts from some
/// instant between the two, and only the earlier one is safe. I2: `lost` never goes back to `None`,
/// however late an acknowledgement arrives. I3: `over_at` is `hold_at_most` after the send time of
/// the earliest claim that may have begun the hold. No renewal moves it, at the store either.
#[derive(Debug)]
pub(super) struct Renewal {
    lease: Duration,
    valid_until: Moment,
    over_at: Option<Moment>,
    renew_at: Moment,
    /// A hint has made the next renewal due.
    is_hastened: bool,
    /// I4: a fortieth of the lease for each renewal that a hint has made due, less the time since
    /// then.
    hastened: Moment,
    failures: u32,
    lost: Option<LostCause>,
}

impl Renewal {
    /// A lease that was granted, or renewed, by a step sent at `sent`.
    pub(super) fn granted(lease: Duration, sent: Moment) -> Self {
        Self {
            lease,
            valid_until: sent.after(lease - margin(lease)),
            over_at: None,
            renew_at: sent.after(lease / 3),
            is_hastened: false,
            hastened: sent,
            failures: 0,
            lost: None,
        }
    }

    /// The store ends the hold at this time at the earliest, whatever is renewed.
    pub(super) fn bounded(mut self, over_at: Option<Moment>) -> Self {
        self.over_at = over_at;
        self
    }

    /// The step sent at `sent` was acknowledged, and that is known `now`.
    pub(super) fn acknowledged(&mut self, sent: Moment, now: Moment) {
        if self.check(now).is_some() {
            return;
        }
        self.failures = 0;
        self.valid_until = self.valid_until.max(sent.after(self.lease - margin(self.lease)));
        self.renew_at = sent.after(self.lease / 3);
    }

    /// A step failed, or was given up: its outcome is not known.
    pub(super) fn failed(&mut self, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        // A fortieth, a twentieth, then a tenth of the lease: half a dozen tries in the time that
        // is left, none of them a storm.
        let pause = self.lease / 10 / (1 << 2_u32.saturating_sub(self.failures - 1));
        self.renew_at = now.after(pause);
    }

    /// The lease should be renewed without delay: there is a hint that it may be gone. Of many
    /// hints the first few are heeded at once, and then one in each fortieth of the lease.
    pub(super) fn hasten(&mut self, now: Moment) {
        const AT_ONCE: u32 = 8;
        let ahead = self.hastened.since(now).saturating_sub(self.lease / 40 * AT_ONCE);
        let at = now.after(ahead);
        if at < self.renew_at {
            (self.renew_at, self.is_hastened) = (at, true);
        }
    }

    /// The store says that the hold is gone.
    pub(super) fn gone(&mut self, cause: LostCause, now: Moment) {
        if self.check(now).is_none() {
            self.lost = Some(cause);
        }
    }

    /// How the hold was lost, if it is `now`; its validity may end by this very call.
    pub(super) fn check(&mut self, now: Moment) -> Option<LostCause> {
        if self.lost.is_none() && now >= self.lost_at() {
            let bound = self.over_at.is_some_and(|over_at| over_at <= self.valid_until);
            self.lost = Some(if bound { LostCause::HeldTooLong } else { LostCause::Expired });
        }
        self.lost
    }

    /// For how long it may be trusted from `now` on, if it is not renewed and has no bound; not at
    /// all once it is lost.
    pub(super) fn left(&mut self, now: Moment) -> Option<Duration> {
        self.check(now).is_none().then(|| self.valid_until.since(now))
    }

    /// When to renew next; never again once it is lost.
    pub(super) fn renew_at(&self) -> Option<Moment> {
        self.lost.is_none().then_some(self.renew_at)
    }

    /// A step is sent. Returns for how long to wait for its answer before it is taken to have
    /// failed: a hung one must leave time for others.
    pub(super) fn begin(&mut self, now: Moment) -> Duration {
        let patience = self.lease / 4;
        if std::mem::take(&mut self.is_hastened) {
            self.hastened = self.hastened.max(now).after(self.lease / 40);
        }
        // Should nothing be heard of it at all, because no thread could be started to send it.
        self.renew_at = now.after(patience * 2);
        patience
    }

    /// When it is lost at the latest, if nothing happens.
    pub(super) fn lost_at(&self) -> Moment {
        match self.lost {
            Some(_) => Moment::from_nanos(0),
            None => self.over_at.map_or(self.valid_until, |over_at| over_at.min(self.valid_until)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn at(seconds: f64) -> Moment {
        Moment::from_nanos(0).after(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn c8_the_margin_is_a_twentieth_and_at_least_100_ms() {
        assert_eq!(margin(LEASE), Duration::from_millis(1500));
        assert_eq!(margin(Duration::from_millis(500)), Duration::from_millis(100));
    }

    #[test]
    fn c8_validity_counts_from_the_send_not_from_the_reply() {
        let mut hold = Renewal::granted(LEASE, at(0.0));
        hold.acknowledged(at(10.0), at(20.0));
        assert_eq!(hold.check(at(38.4)), None);
        assert_eq!(hold.check(at(38.5)), Some(LostCause::Expired));
    }

    #[test]
    fn c8_an_older_acknowledgement_shortens_nothing() {
        let mut hold = Renewal::granted(LEASE, at(0.0));
        hold.acknowledged(at(12.0), at(12.1));
        hold.acknowledged(at(10.0), at(12.2));
        assert_eq!(hold.lost_at(), at(40.5));
    }

    #[test]
    fn c8_a_lost_hold_stays_lost_when_the_answer_comes_late() {
        let mut hold = Renewal::granted(LEASE, at(0.0));
        hold.acknowledged(at(28.0), at(28.6));
        assert_eq!(hold.check(at(29.0)), Some(LostCause::Expired));
        assert_eq!(hold.renew_at(), None);
    }

    #[test]
    fn c8_it_is_renewed_at_a_third_and_soon_again_after_an_error() {
        let mut hold = Renewal::granted(LEASE, at(0.0));
        assert_eq!(hold.renew_at(), Some(at(10.0)));
        hold.failed(at(10.0));
        assert_eq!(hold.renew_at(), Some(at(10.75)));
        hold.failed(at(11.0));
        assert_eq!(hold.renew_at(), Some(at(12.5)));
        for _ in 0..40 {
            hold.failed(at(13.0));
        }
        assert_eq!(hold.renew_at(), Some(at(16.0)));
        hold.acknowledged(at(16.0), at(16.1));
        assert_eq!(hold.renew_at(), Some(at(26.0)));
        assert_eq!(hold.check(at(44.0)), None);
    }

    #[test]
    fn c8_hints_are_no_storm_of_renewals() {
        let mut hold = Renewal::granted(LEASE, at(0.0));
        for _ in 0..9 {
            hold.hasten(at(0.5));
            assert_eq!(hold.renew_at(), Some(at(0.5)), "the first are heeded at once");
            hold.begin(at(0.5));
            hold.acknowledged(at(0.5), at(0.5));
        }
        hold.hasten(at(0.5));
        assert_eq!(hold.renew_at(), Some(at(1.25)), "and then one in a fortieth of the lease");
        hold.begin(at(1.25));
        hold.hasten(at(1.3));
        assert_eq!(hold.renew_at(), Some(at(2.0)));
        hold.begin(at(2.0));
        hold.hasten(at(12.0));
        assert_eq!(hold.renew_at(), Some(at(12.0)));
    }

    #[test]
    fn c14_its_longest_time_counts_from_the_claim_and_no_renewal_moves_it() {
        let mut hold = Renewal::granted(LEASE, at(3.0)).bounded(Some(at(40.0)));
        hold.acknowledged(at(20.0), at(20.1));
        assert_eq!(hold.lost_at(), at(40.0));
        assert_eq!(hold.check(at(39.9)), None);
        assert_eq!(hold.check(at(40.0)), Some(LostCause::HeldTooLong));
        let mut cut_off = Renewal::granted(LEASE, at(3.0)).bounded(Some(at(40.0)));
        assert_eq!(cut_off.check(at(41.0)), Some(LostCause::Expired), "it was lost before that");
    }

    #[test]
    fn c8_how_it_was_lost_does_not_change() {
        let mut hold = Renewal::granted(LEASE, at(0.0));
        hold.gone(LostCause::Stolen, at(1.0));
        assert_eq!(hold.check(at(99.0)), Some(LostCause::Stolen));
    }

    /// A holder that is cut off after some renewals, against a store that grants to the next as
    /// soon as its lease has run out. Steps take `there` to the store and `back` to the holder.
    /// For how long both believe that they hold it, if `trusted` is what the holder counts from.
    fn overlap(there: f64, back: f64, trusted: fn(f64, f64) -> f64) -> Duration {
        let lease = LEASE.as_secs_f64();
        let (mut hold, mut sent) = (Renewal::granted(LEASE, at(trusted(0.0, there + back))), 0.0);
        for _ in 0..3 {
            sent = hold.renew_at.since(at(0.0)).as_secs_f64().max(sent + there + back);
            let reply = sent + there + back;
            assert_eq!(hold.check(at(reply)), None);
            hold.acknowledged(at(trusted(sent, reply)), at(reply));
        }
        let passed_on = at(sent + there + lease);
        hold.valid_until.since(passed_on)
    }

    #[test]
    fn f16_counting_from_the_send_never_overlaps_and_from_the_reply_does() {
        for (there, back) in [(0.0, 0.0), (0.1, 8.0), (8.0, 0.1), (4.0, 4.0)] {
            assert_eq!(overlap(there, back, |sent, _| sent), Duration::ZERO, "{there} {back}");
        }
        assert!(overlap(0.1, 8.0, |_, reply| reply) > Duration::from_secs(6));
    }
}
