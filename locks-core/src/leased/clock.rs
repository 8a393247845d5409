//! Time that leases are measured in: it goes on while the machine sleeps.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::{Alarm, Clock, Moment, SystemClock};

/// The machine's time including suspend, which is what a store's clock measures meanwhile
/// ([C8](crate::contract#c8-loss)).
///
/// Alarms come from a timer that stops in suspend, so one set for far ahead goes off late by the
/// time slept. The adapter therefore sets them at most a second ahead, and reads the clock again.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

/// How far ahead an alarm is set, and so by how much it can be late after a suspend.
const ALARM_AT_MOST: Duration = Duration::from_secs(1);

impl Clock for BootClock {
    fn now(&self) -> Moment {
        boot::now()
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        SystemClock.wake_at(SystemClock.now().after(at.since(self.now())), waker)
    }

    fn sleep_until(&self, at: Moment) -> Option<Duration> {
        Some(at.since(self.now()).min(ALARM_AT_MOST))
    }
}

/// Sets an alarm at `at`, or sooner: whoever is woken has to look at the clock.
pub(super) fn alarm(clock: &dyn Clock, at: Moment, waker: Waker) -> Alarm {
    clock.wake_at(at.min(clock.now().after(ALARM_AT_MOST)), waker)
}

/// Resolves at `at`.
pub(super) async fn sleep(clock: &dyn Clock, at: Moment) {
    let mut set = None;
    poll_fn(|cx| {
        if clock.now() >= at {
            return Poll::Ready(());
        }
        set = Some(alarm(clock, at, cx.waker().clone()));
        Poll::Pending
    })
    .await;
    drop(set);
}

/// What `future` comes to, or `None` if it has not by `at`.
pub(super) async fn by<F: Future>(clock: &dyn Clock, at: Moment, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut end = pin!(sleep(clock, at));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

#[cfg(unix)]
mod boot {
    use crate::Moment;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    /// Elsewhere this one counts suspend, or the system has none that does.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

    pub(super) fn now() -> Moment {
        let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `spec` is a timespec to write to.
        let failed = unsafe { libc::clock_gettime(CLOCK, &raw mut spec) };
        assert_eq!(failed, 0, "the system has no clock that leases can be measured by");
        Moment::from_nanos(spec.tv_sec as u64 * 1_000_000_000 + spec.tv_nsec as u64)
    }
}

#[cfg(not(unix))]
mod boot {
    use crate::{Clock, Moment, SystemClock};

    pub(super) fn now() -> Moment {
        SystemClock.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn what_hangs_is_given_up_at_its_time_and_not_before() {
        let clock = ManualClock::new();
        let at = clock.now().after(Duration::from_secs(5));
        let mut waiting = Box::pin(by(&clock, at, std::future::pending::<()>()));
        let mut poll = || waiting.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        clock.advance(Duration::from_millis(4999));
        assert!(poll().is_pending());
        clock.advance(Duration::from_millis(1));
        assert_eq!(poll(), Poll::Ready(None));
    }

    #[test]
    fn the_boot_clock_advances() {
        let before = BootClock.now();
        crate::park::block_on(sleep(&BootClock, before.after(Duration::from_millis(2))));
        assert!(BootClock.now().since(before) >= Duration::from_millis(2));
    }
}
