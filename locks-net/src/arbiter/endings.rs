//! How what clients have comes to an end.

use locks_core::LockBackend;

use super::Arbiter;
use super::session::Requested;

/// A hold that is not given back keeps its slot for ever. Nothing of it is written down: what the journal
/// has is its successor's.
impl Drop for Arbiter {
    fn drop(&mut self) {
        let sessions =
            self.sessions.drain().flat_map(|(_, session)| session.requests.into_values());
        // Those who wait first: none of them is to be granted what the others give back.
        let (held, waiting): (Vec<_>, Vec<_>) =
            sessions.partition(|requested| matches!(requested, Requested::Held(_)));
        drop(waiting);
        for requested in held {
            if let Requested::Held(held) = requested {
                drop(self.engine.release(held.hold));
            }
        }
        // Those that are over by the time that the others are listed at go by their alarms.
        let reservations = self.engine.reservations();
        self.time.fire();
        for (key, _, token, _) in reservations {
            drop(self.engine.evict(&key, token));
        }
    }
}
