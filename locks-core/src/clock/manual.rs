use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::{Alarm, Alarms, Clock, Moment};

/// A clock for tests, which stands still until it is [advanced](Self::advance).
///
/// Clones show the same time.
#[derive(Clone)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
    alarms: Arc<Alarms>,
}

impl ManualClock {
    /// Creates a clock.
    pub fn new() -> Self {
        let start = Duration::from_secs(1000).as_nanos() as u64;
        Self { nanos: Arc::new(AtomicU64::new(start)), alarms: Alarms::new() }
    }

    /// Advances the clock by `by`, and wakes the alarms that this passes, in order. Wakers are
    /// called on this thread; the woken tasks run later.
    pub fn advance(&self, by: Duration) {
        let end = self.now().after(by);
        while let Some(next) = self.alarms.next().filter(|next| *next <= end) {
            self.nanos.fetch_max(next.nanos(), Ordering::SeqCst);
            self.alarms.fire(next);
        }
        self.nanos.fetch_max(end.nanos(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.nanos.load(Ordering::SeqCst))
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        let alarm = self.alarms.set(at, waker);
        if at <= self.now() {
            // Not here: the caller may hold a lock that the waker wants.
            let clock = self.clone();
            std::thread::spawn(move || clock.alarms.fire(clock.now()));
        }
        alarm
    }

    fn sleep_until(&self, _: Moment) -> Option<Duration> {
        None
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({:?})", self.now())
    }
}
