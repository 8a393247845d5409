//! Time as the engine sees it: taken from outside, so that a test or a server can bring its own.

mod alarms;
mod manual;
mod stamp;
mod system;

use std::fmt;
use std::task::Waker;
use std::time::Duration;

pub use alarms::{Alarm, Alarms};
pub use manual::ManualClock;
pub(crate) use stamp::Stamp;
pub use system::SystemClock;
pub(crate) use system::attend;

/// A point in time on one [`Clock`], in nanoseconds from an origin of the clock's choosing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Creates the moment this many nanoseconds after the clock's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the clock's origin.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Returns the moment `by` later, or the last one that can be represented.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the time from `earlier` until this moment; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// A clock of an engine: it measures the time that the machine was awake
/// ([C6](crate::contract#c6-stealing)).
///
/// # Contract
/// `now` never goes back. An alarm wakes its waker once `now` has reached its moment, and soon
/// after that. It is called with mutexes of the engine held, and does not call the engine; nor does
/// it wake anybody from within `wake_at`.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Moment;

    /// Wakes `waker` at `at`, unless the alarm is dropped before.
    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm;

    /// Returns the real time for which a thread has to sleep until `at`; `None` if it has to wait
    /// for an alarm instead.
    fn sleep_until(&self, at: Moment) -> Option<Duration>;
}
