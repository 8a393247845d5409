//! The machine's clocks as the journal has them, whatever namespace of times its server is in.

use std::sync::Arc;
use std::task::Waker;

use locks_core::{Alarm, BootClock, Clock, Moment, SystemClock};

/// The time awake, and the one that goes on in suspend.
pub(super) struct MachineTime {
    pub(super) awake: Arc<dyn Clock>,
    pub(super) boot: Arc<dyn Clock>,
}

impl MachineTime {
    pub(super) fn new() -> Self {
        // Where there is no such file there are no such namespaces.
        let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        let ahead = |name| offset(&offsets, name).unwrap_or(0);
        Self {
            awake: Arc::new(Shifted { clock: SystemClock, ahead: ahead("monotonic") }),
            boot: Arc::new(Shifted { clock: BootClock, ahead: ahead("boottime") }),
        }
    }
}

/// A clock that is so many nanoseconds ahead of what is wanted.
struct Shifted<C> {
    clock: C,
    ahead: i64,
}

impl<C: Clock> Shifted<C> {
    fn on_clock(&self, at: Moment) -> Moment {
        Moment::from_nanos(at.nanos().saturating_add_signed(self.ahead))
    }
}

impl<C: Clock> Clock for Shifted<C> {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.clock.now().nanos().saturating_add_signed(-self.ahead))
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        self.clock.wake_at(self.on_clock(at), waker)
    }

    fn sleep_until(&self, at: Moment) -> Option<std::time::Duration> {
        self.clock.sleep_until(self.on_clock(at))
    }
}

/// `monotonic  3600  0`: seconds and nanoseconds, either of which may be negative.
fn offset(offsets: &str, name: &str) -> Option<i64> {
    let words = offsets.lines().map(str::split_ascii_whitespace);
    let mut words =
        words.into_iter().find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
    let mut number = || words.next()?.parse::<i64>().ok();
    number()?.checked_mul(1_000_000_000)?.checked_add(number()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn n1_times_in_a_journal_are_those_of_the_first_namespace() {
        let offsets = "monotonic           3600         5\nboottime         -86400         0\n";
        assert_eq!(offset(offsets, "monotonic"), Some(3_600_000_000_005));
        assert_eq!(offset(offsets, "boottime"), Some(-86_400_000_000_000));
        assert_eq!(offset("", "boottime"), None);
        let clock = locks_core::ManualClock::new();
        clock.advance(Duration::from_secs(5000));
        let shifted = Shifted { clock: clock.clone(), ahead: 3_600_000_000_000 };
        let at = clock.now();
        assert_eq!(at.since(shifted.now()), Duration::from_secs(3600));
        assert_eq!(shifted.on_clock(shifted.now()), at);
    }
}
