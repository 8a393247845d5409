use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of time awake, on a clock that all processes of the machine share (C6).
pub(crate) type Nanos = u64;

/// The time.
pub(crate) fn now() -> Nanos {
    let time = clock_gettime(ClockId::Monotonic);
    let (secs, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// How long it is until then; zero if that has been.
pub(crate) fn duration_until(at: Nanos) -> Duration {
    Duration::from_nanos(at.saturating_sub(now()))
}
