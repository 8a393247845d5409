//! From one holder's release to the next one's grant.

/// When a turn was granted and when it was released, in nanoseconds of one clock.
pub(super) type Turn = (i64, i64);

/// Microseconds from each release to the next grant, in ascending order.
pub(super) struct Latencies(Vec<f64>);

impl Latencies {
    /// Those between `turns`, which may come in any order, without the first `warm` ones.
    ///
    /// # Panics
    /// If two holders had the lock at once.
    pub(super) fn between(mut turns: Vec<Turn>, warm: usize) -> Self {
        turns.sort_unstable();
        let latencies = turns.windows(2).map(|pair| {
            let [(_, released), (granted, _)] = pair else { unreachable!("windows of two") };
            assert!(granted >= released, "two had the lock at once");
            (granted - released) as f64 / 1e3
        });
        let mut latencies = latencies.skip(warm).collect::<Vec<_>>();
        latencies.sort_unstable_by(f64::total_cmp);
        Self(latencies)
    }

    /// The latency that a fraction of all hand-overs did not exceed.
    pub(super) fn quantile(&self, fraction: f64) -> f64 {
        let last = self.0.len() - 1;
        self.0[(last as f64 * fraction).round() as usize]
    }

    pub(super) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }
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
