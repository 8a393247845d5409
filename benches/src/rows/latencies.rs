//! From one holder's release to the next one's grant.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// When a turn was granted and when it was released, in nanoseconds of one clock.
pub(crate) type Turn = (i64, i64);

/// Microseconds from each release to the next grant, in ascending order.
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    /// Those between `turns`, which may come in any order, without the first `warm` ones.
    ///
    /// # Panics
    /// If two holders had the lock at once.
    pub(crate) fn between(mut turns: Vec<Turn>, warm: usize) -> Self {
        turns.sort_unstable();
        let latencies = turns.windows(2).map(|pair| {
            let [(_, released), (granted, _)] = pair else { unreachable!("windows of two") };
            assert!(granted >= released, "two had the lock at once");
            (granted - released) as f64 / 1e3
        });
        latencies.skip(warm).collect()
    }

    pub(crate) fn micros(&self) -> &[f64] {
        &self.0
    }

    /// The latency that a fraction of all hand-overs did not exceed.
    pub(crate) fn quantile(&self, fraction: f64) -> f64 {
        let last = self.0.len() - 1;
        self.0[(last as f64 * fraction).round() as usize]
    }

    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }
}

/// Of microseconds in any order.
impl FromIterator<f64> for Latencies {
    fn from_iter<I: IntoIterator<Item = f64>>(latencies: I) -> Self {
        let mut latencies = latencies.into_iter().collect::<Vec<_>>();
        latencies.sort_unstable_by(f64::total_cmp);
        Self(latencies)
    }
}

/// From half a millisecond to `longest`: holds of one length would always end at the same point
/// of a poller's sleep.
pub(crate) fn hold(longest: Duration, dice: &mut u64) -> Duration {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let fraction = (*dice >> 33) as f64 / f64::from(1_u32 << 31);
    let least = Duration::from_micros(500);
    least + longest.saturating_sub(least).mul_f64(fraction)
}

/// Nanoseconds of the monotonic clock, which is the same for all processes.
pub(crate) fn now() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_from_a_release_to_the_next_grant() {
        // Told process by process, not in the order of the grants.
        let turns = vec![(0, 1_000), (9_000, 10_000), (3_000, 4_000), (14_000, 15_000)];
        let latencies = Latencies::between(turns.clone(), 0);
        assert_eq!(latencies.0, [2.0, 4.0, 5.0]);
        assert_eq!(Latencies::between(turns, 1).0, [4.0, 5.0]);
        assert!((latencies.mean() - 11.0 / 3.0).abs() < 1e-9);
        assert_eq!([0.0, 0.5, 1.0].map(|part| latencies.quantile(part)), [2.0, 4.0, 5.0]);
    }

    #[test]
    #[should_panic = "at once"]
    fn two_holders_at_once_are_noticed() {
        Latencies::between(vec![(0, 2_000), (1_000, 3_000)], 0);
    }
}
