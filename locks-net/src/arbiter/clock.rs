use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use locks_core::{Alarm, Alarms, Clock, Moment};

/// The engine's clock: the time comes from outside, and alarms go off when the arbiter runs and at no
/// other time, so that nothing happens behind its back.
pub(super) struct OwnTime {
    time: Arc<dyn Clock>,
    alarms: Arc<Alarms>,
}

impl OwnTime {
    pub(super) fn new(time: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { time, alarms: Alarms::new() })
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
        self.time.now()
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        self.alarms.set(at, waker)
    }

    fn sleep_until(&self, at: Moment) -> Option<Duration> {
        self.time.sleep_until(at)
    }
}
