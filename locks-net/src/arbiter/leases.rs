use std::time::Duration;

use super::session::{Requested, in_millis};

/// So many different leases of single requests a session can have at a time (N6): all of them are looked
/// at for its next deadline.
pub(super) const DIFFERENT_LEASES: usize = 64;

/// The leases of single requests of a session that is kept by its lease.
#[derive(Default)]
pub(super) struct Leases {
    /// L1: each lease once, and for as long as a request has it.
    counts: Vec<Count>,
}

struct Count {
    lease: Duration,
    holds: usize,
    waiting: usize,
}

impl Leases {
    pub(super) fn count(&mut self, requested: &Requested) {
        let Some(lease) = requested.lease() else { return };
        let known = self.counts.iter().position(|count| count.lease == lease);
        let index = known.unwrap_or_else(|| {
            self.counts.push(Count { lease, holds: 0, waiting: 0 });
            self.counts.len() - 1
        });
        *self.counts[index].of(requested) += 1;
    }

    pub(super) fn discount(&mut self, requested: &Requested) {
        let Some(lease) = requested.lease() else { return };
        let known = self.counts.iter().position(|count| count.lease == lease);
        let Some(index) = known else { return };
        let count = &mut self.counts[index];
        *count.of(requested) -= 1;
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

impl Count {
    fn of(&mut self, requested: &Requested) -> &mut usize {
        match requested {
            Requested::Waiting(_) => &mut self.waiting,
            Requested::Held(_) => &mut self.holds,
        }
    }
}
