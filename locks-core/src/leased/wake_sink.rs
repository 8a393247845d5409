use std::fmt;
use std::sync::Weak;

use crate::{Wake, fork};

/// A sink for the hints of a store; see [`LeaseStore::subscribe`](crate::LeaseStore::subscribe).
///
/// Cheap to clone. It does not keep the adapter alive; once that is dropped, hints have no effect.
#[derive(Clone)]
pub struct WakeSink {
    client: Weak<dyn TakesHints>,
    /// The process whose client it is: in a forked child it leads nowhere.
    generation: u64,
}

/// What hints come to.
pub(super) trait TakesHints: Send + Sync {
    /// Passes the hint on; what a waker panics with ends there.
    fn hint(&self, wake: &Wake);
}

impl WakeSink {
    pub(super) fn new(client: Weak<dyn TakesHints>) -> Self {
        Self { client, generation: fork::generation() }
    }

    /// Wakes the waiters that the hint concerns, so that they claim again.
    ///
    /// Their wakers are called on this thread, so the store calls it with no lock of its own held.
    /// A waker that panics stops neither the others nor this thread: the panic ends here, after
    /// the panic hook has reported it.
    pub fn wake(&self, wake: &Wake) {
        let client = self.client.upgrade().filter(|_| self.generation == fork::generation());
        if let Some(client) = client {
            client.hint(wake);
        }
    }
}

impl fmt::Debug for WakeSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WakeSink")
    }
}
