use std::collections::BTreeMap;
use std::time::Duration;

/// Leases, of which the shortest counts.
#[derive(Debug, Default)]
pub(super) struct LeaseCounts(BTreeMap<Duration, usize>);

impl LeaseCounts {
    pub(super) fn remove(&mut self, lease: Duration) {
        if let Some(count) = self.0.get_mut(&lease) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&lease);
            }
        }
    }

    pub(super) fn shortest(&self) -> Option<Duration> {
        self.0.first_key_value().map(|(lease, _)| *lease)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<Duration> for LeaseCounts {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, leases: I) {
        for lease in leases {
            *self.0.entry(lease).or_default() += 1;
        }
    }
}
