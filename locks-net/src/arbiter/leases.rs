use std::time::Duration;

/// So many different leases of single requests a session can have at a time (N6): all of them are
/// looked at for its next deadline.
pub(super) const DIFFERENT_LEASES: usize = 64;

/// The leases of single requests of a session that is kept by its lease.
#[derive(Default)]
pub(super) struct RequestLeases {
    /// L1: each lease once, and for as long as a request has it.
    counts: Vec<LeaseCount>,
}

struct LeaseCount {
    lease: Duration,
    holds: usize,
    waiting: usize,
}

impl RequestLeases {
    pub(super) fn count(&mut self, lease: Option<Duration>, is_held: bool) {
        let Some(lease) = lease else { return };
        let known = self.counts.iter().position(|count| count.lease == lease);
        let index = known.unwrap_or_else(|| {
            self.counts.push(LeaseCount { lease, holds: 0, waiting: 0 });
            self.counts.len() - 1
        });
        *self.counts[index].of(is_held) += 1;
    }

    pub(super) fn discount(&mut self, lease: Option<Duration>, is_held: bool) {
        let Some(lease) = lease else { return };
        let known = self.counts.iter().position(|count| count.lease == lease);
        let Some(index) = known else { return };
        let count = &mut self.counts[index];
        *count.of(is_held) -= 1;
        if count.holds + count.waiting == 0 {
            self.counts.swap_remove(index);
        }
    }

    /// Whether there is no room for this one.
    pub(super) fn are_too_many_with(&self, lease: Duration) -> bool {
        let lease = in_millis(lease);
        self.counts.len() >= DIFFERENT_LEASES
            && self.counts.iter().all(|count| count.lease != lease)
    }

    /// Those of holds.
    pub(super) fn of_holds(&self) -> impl Iterator<Item = Duration> {
        self.counts.iter().filter(|count| count.holds > 0).map(|count| count.lease)
    }
}

impl LeaseCount {
    fn of(&mut self, is_held: bool) -> &mut usize {
        if is_held { &mut self.holds } else { &mut self.waiting }
    }
}

/// A lease as it is kept.
pub(super) fn in_millis(lease: Duration) -> Duration {
    Duration::from_millis(millis(lease).into())
}

pub(super) fn millis(lease: Duration) -> u32 {
    u32::try_from(lease.as_millis()).unwrap_or(u32::MAX)
}
