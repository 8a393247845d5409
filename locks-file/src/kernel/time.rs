use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of time awake, on a clock that all processes of the machine share (C6): that of the
/// first time namespace.
pub(crate) type Nanos = u64;

/// By how much the clocks of this process's time namespace are ahead of the first one's: of time
/// awake, and of time since the start of the machine.
static AHEAD: (AtomicI64, AtomicI64) = (AtomicI64::new(0), AtomicI64::new(0));

/// The time.
pub(crate) fn now() -> Nanos {
    nanos(clock_gettime(ClockId::Monotonic)).saturating_add_signed(-AHEAD.0.load(Ordering::Relaxed))
}

/// How long it is until then; zero if that has been.
pub(crate) fn duration_until(at: Nanos) -> Duration {
    Duration::from_nanos(at.saturating_sub(now()))
}

/// Looks which time namespace this process is in. It is done whenever a directory is opened, so
/// also after a fork, which is when a process comes into another.
pub(crate) fn look_at_namespace() {
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    // They are those of the namespace for children, which can be another until there is one.
    if fs::read_link("/proc/self/ns/time").ok()
        != fs::read_link("/proc/self/ns/time_for_children").ok()
    {
        return;
    }
    let ahead = |clock| offset(&offsets, clock).unwrap_or(0);
    AHEAD.0.store(ahead("monotonic"), Ordering::Relaxed);
    AHEAD.1.store(ahead("boottime"), Ordering::Relaxed);
}

/// By how many of the kernel's ticks the starts of processes look later here.
pub(super) fn ticks_ahead() -> i64 {
    const TICK: i64 = 10_000_000;
    AHEAD.1.load(Ordering::Relaxed) / TICK
}

/// When the machine started, as far as the clock on the wall can tell.
#[cfg(target_os = "linux")]
pub(super) fn started_at() -> SystemTime {
    let up = nanos(clock_gettime(ClockId::Boottime));
    let up = up.saturating_add_signed(-AHEAD.1.load(Ordering::Relaxed));
    SystemTime::now().checked_sub(Duration::from_nanos(up)).unwrap_or(UNIX_EPOCH)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn started_at() -> SystemTime {
    UNIX_EPOCH
}

fn nanos(time: Timespec) -> Nanos {
    let (secs, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Lines such as `monotonic       10000         0`: seconds and nanoseconds.
fn offset(offsets: &str, clock: &str) -> Option<i64> {
    let mut words = offsets.lines().find_map(|line| line.strip_prefix(clock))?.split_whitespace();
    let (secs, nanos): (i64, i64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    secs.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_offsets_of_a_time_namespace_are_understood() {
        let text = "monotonic      -10000         5\nboottime         2 500000000\n";
        assert_eq!(offset(text, "monotonic"), Some(-9_999_999_999_995));
        assert_eq!(offset(text, "boottime"), Some(2_500_000_000));
        assert_eq!(offset("", "boottime"), None);
    }
}
