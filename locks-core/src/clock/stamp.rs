use std::time::Duration;

use super::Moment;

/// When a hold began, as a slot's record has it: one word, and zero for nothing.
///
/// The lowest bit tells whether it is exact. A coarse clock is several times cheaper to read, and
/// lags: by its tick, or by more where a virtual processor had to wait for a real one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp(u64);

const EXACT: u64 = 1;

/// No clock reads as much.
const NO_STAMP: u64 = 1 << 63;

impl Stamp {
    /// How far a coarse clock is taken to lag at most, so that nothing is stolen early (C6).
    const LAG: Duration = Duration::from_millis(100);

    /// In place of a stamp: that one will follow in a moment.
    pub(crate) const UNDATED: u64 = u64::MAX;

    #[inline]
    pub(crate) const fn exact(now: Moment) -> Self {
        Self((now.nanos() << 1) | EXACT)
    }

    #[inline]
    pub(crate) const fn coarse(now: Moment) -> Self {
        // Zero is nothing; a nanosecond later makes no difference to a coarse clock.
        Self((now.nanos() | 1) << 1)
    }

    #[inline]
    pub(crate) const fn to_raw(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_raw(raw: u64) -> Option<Self> {
        if raw == 0 || raw & NO_STAMP != 0 { None } else { Some(Self(raw)) }
    }

    /// In place of a stamp, while nobody holds the key: when a waiter was woken for it.
    pub(crate) const fn of_woken(at: Moment) -> u64 {
        NO_STAMP | at.nanos()
    }

    pub(crate) const fn woken(raw: u64) -> Option<Moment> {
        let is_moment = raw & NO_STAMP != 0 && raw != Self::UNDATED;
        if is_moment { Some(Moment::from_nanos(raw & !NO_STAMP)) } else { None }
    }

    pub(crate) const fn moment(self) -> Moment {
        Moment::from_nanos(self.0 >> 1)
    }

    /// How much later it may have been, given that it is over by now.
    pub(crate) fn slack(self, now: Moment) -> Duration {
        if self.0 & EXACT == EXACT {
            Duration::ZERO
        } else {
            Self::LAG.min(now.since(self.moment()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c6_a_coarse_stamp_leaves_room_and_an_exact_one_does_not() {
        let at = Moment::from_nanos(1_000_000_001);
        let later = |millis| at.after(Duration::from_millis(millis));
        assert_eq!(Stamp::exact(at).slack(later(500)), Duration::ZERO);
        assert_eq!(Stamp::coarse(at).slack(later(500)), Stamp::LAG);
        assert_eq!(Stamp::coarse(at).slack(later(30)), Duration::from_millis(30));
        for stamp in [Stamp::coarse, Stamp::exact] {
            assert!(Stamp::from_raw(stamp(Moment::from_nanos(0)).to_raw()).is_some());
        }
    }
}
