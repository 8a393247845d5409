use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::clock::{Alarm, Moment, Stamp};
use crate::{Clock, SystemClock};

/// The engine's clock, without a virtual call for the usual one.
pub(in crate::engine) enum Time {
    System,
    Other(Arc<dyn Clock>),
}

impl Time {
    /// The time, for the record of a hold.
    #[inline]
    pub(in crate::engine) fn stamp(&self) -> Stamp {
        match self {
            Time::System => SystemClock::stamp(),
            Time::Other(clock) => Stamp::exact(clock.now()),
        }
    }

    /// The time, or a little before: for what only people look at, and what has an order of its own
    /// besides.
    pub(in crate::engine) fn about_now(&self) -> Moment {
        match self {
            Time::System => SystemClock::coarse_now(),
            Time::Other(clock) => clock.now(),
        }
    }

    pub(in crate::engine) fn now(&self) -> Moment {
        match self {
            Time::System => SystemClock::precise_now(),
            Time::Other(clock) => clock.now(),
        }
    }

    pub(in crate::engine) fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        match self {
            Time::System => SystemClock.wake_at(at, waker),
            Time::Other(clock) => clock.wake_at(at, waker),
        }
    }

    /// How long to sleep until then, in real time; `None`: only an alarm tells.
    pub(in crate::engine) fn sleep_until(&self, at: Moment) -> Option<Duration> {
        match self {
            Time::System => SystemClock.sleep_until(at),
            Time::Other(clock) => clock.sleep_until(at),
        }
    }
}
