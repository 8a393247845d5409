//! Clocks of machines: too fast or too slow by little, and of two kinds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use locks_core::{Alarm, Alarms, Clock, Moment};

/// The clocks of one machine.
pub(super) struct SimulatedMachine {
    /// Goes on in suspend.
    pub(super) boot: Arc<SimulatedClock>,
    /// Stands still in suspend.
    pub(super) awake: Arc<SimulatedClock>,
    /// What it showed at `origin`.
    base: Moment,
    origin: Moment,
    /// How much faster than real time it goes, in millionths.
    drift: i64,
    asleep: Duration,
    asleep_until: Moment,
}

/// What one clock shows.
pub(super) struct SimulatedClock {
    nanos: AtomicU64,
    alarms: Arc<Alarms>,
}

impl SimulatedMachine {
    /// One that was started `uptime` before `now`.
    pub(super) fn new(now: Moment, uptime: Duration, drift: i64) -> Self {
        let base = Moment::from_nanos(0).after(uptime);
        let (boot, awake) = (SimulatedClock::new(base), SimulatedClock::new(base));
        Self { boot, awake, base, origin: now, drift, asleep: Duration::ZERO, asleep_until: now }
    }

    /// Has the clocks show what they show at `now`.
    pub(super) fn show(&self, now: Moment) {
        let boot = self.local(now);
        self.boot.set(boot);
        let asleep = u64::try_from(self.asleep.as_nanos()).unwrap_or(0);
        self.awake.set(Moment::from_nanos(boot.nanos().saturating_sub(asleep)));
    }

    /// It sleeps from `now` on.
    pub(super) fn sleeps(&mut self, now: Moment, until: Moment) {
        self.asleep += until.since(self.asleep_until.max(now));
        self.asleep_until = self.asleep_until.max(until);
    }

    /// When the clock that goes on in suspend shows `local`, or a little later.
    pub(super) fn real(&self, local: Moment) -> Moment {
        let elapsed = i128::from(local.since(self.base).as_nanos() as i64);
        let real = elapsed * 1_000_000 / i128::from(1_000_000 + self.drift) + 1000;
        self.origin.after(Duration::from_nanos(u64::try_from(real).unwrap_or(u64::MAX)))
    }

    fn local(&self, now: Moment) -> Moment {
        let elapsed = i128::from(now.since(self.origin).as_nanos() as i64);
        let local = elapsed * i128::from(1_000_000 + self.drift) / 1_000_000;
        self.base.after(Duration::from_nanos(u64::try_from(local).unwrap_or(0)))
    }
}

impl SimulatedClock {
    fn new(at: Moment) -> Arc<Self> {
        Arc::new(Self { nanos: AtomicU64::new(at.nanos()), alarms: Alarms::new() })
    }

    fn set(&self, at: Moment) {
        self.nanos.fetch_max(at.nanos(), Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        self.alarms.set(at, waker)
    }

    fn sleep_until(&self, _: Moment) -> Option<Duration> {
        None
    }
}
