use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use locks_core::{Alarm, Alarms, Clock, Moment};

/// The engine's clock: the time comes from outside, and alarms go off when the arbiter runs and at
/// no other time, so that nothing happens behind its back.
pub(super) struct OwnTime {
    time: Arc<dyn Clock>,
    alarms: Arc<Alarms>,
    /// Nothing is over yet: what is put back has bounds that may have passed, and what is nested in
    /// it has to find it.
    is_restoring: AtomicBool,
}

impl OwnTime {
    /// One that stands still at the beginning, until [`go`](Self::go).
    pub(super) fn new(time: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { time, alarms: Alarms::new(), is_restoring: AtomicBool::new(true) })
    }

    /// All holds have been put back: it shows the time from now on.
    pub(super) fn go(&self) {
        self.is_restoring.store(false, Ordering::Relaxed);
    }

    /// The time, also while nothing is over yet.
    pub(super) fn real(&self) -> Moment {
        self.time.now()
    }

    /// Sets off what is due.
    pub(super) fn fire(&self) {
        self.alarms.fire(self.time.now());
    }

    /// How long it is until something is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.alarms.next().map(|at| at.since(self.time.now()))
    }
}

impl Clock for OwnTime {
    fn now(&self) -> Moment {
        if self.is_restoring.load(Ordering::Relaxed) {
            return Moment::from_nanos(0);
        }
        self.time.now()
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        self.alarms.set(at, waker)
    }

    fn sleep_until(&self, at: Moment) -> Option<Duration> {
        self.time.sleep_until(at)
    }
}
