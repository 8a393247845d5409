//! The store's hints: how they come in, and whom they reach.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::client::Client;
use super::clock::sleep;
use super::waiting::{Backoff, unless};
use crate::{AcquisitionId, LeaseStore, Op, Wake, fork};

/// A sink for the hints of a store; see [`LeaseStore::subscribe`].
///
/// Cheap to clone. It does not keep the adapter alive; once that is dropped, hints have no effect.
#[derive(Clone)]
pub struct WakeSink {
    client: Weak<dyn TakesHints>,
    /// The process whose client it is: in a forked child it leads nowhere.
    generation: u64,
}

trait TakesHints: Send + Sync {
    /// Passes the hint on; what a waker panics with ends there.
    fn hint(&self, wake: &Wake);
}

impl WakeSink {
    pub(super) fn new<S: LeaseStore>(client: Weak<Client<S>>) -> Self {
        Self { client, generation: fork::generation() }
    }

    /// Has those claim again whom the hint concerns.
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

impl<S: LeaseStore> TakesHints for Client<S> {
    fn hint(&self, wake: &Wake) {
        // The thread is the store's, or hears all hints: no user's waker may end it.
        let _ = catch_unwind(AssertUnwindSafe(|| self.holds.hasten(wake)));
        let _ = catch_unwind(AssertUnwindSafe(|| self.waiters.hint(wake)));
    }
}

impl<S: LeaseStore> Client<S> {
    /// Sees to it that the hints of a store that is asked for them are heard, from now on.
    pub(super) fn listen(self: &Arc<Self>) {
        if self.asks_for_hints && !self.listening.swap(true, Ordering::SeqCst) {
            let client = Arc::downgrade(self);
            self.executor.spawn(listen(client));
        }
    }

    /// How long a waiter goes without looking.
    pub(super) fn longest_pause(&self) -> Duration {
        let hinted = self.hints.then_some(Duration::from_secs(1));
        self.settings.poll.or(hinted).unwrap_or(Duration::from_millis(50))
    }

    /// How long a place in the store's queue is kept for a waiter that has not asked again.
    pub(super) fn place_keep(&self) -> Duration {
        self.longest_pause().saturating_mul(2).saturating_add(self.settings.connect)
    }
}

/// Passes on the hints of a store that is asked for them, until the adapter is closed.
async fn listen<S: LeaseStore>(client: Weak<Client<S>>) {
    let Some(client) = client.upgrade() else { return };
    let pauses =
        || Backoff::new(Duration::from_millis(10), Duration::from_secs(5), AcquisitionId::unique());
    let mut backoff = pauses();
    loop {
        let never = || Op::later(std::future::pending());
        let wakes = client.unbounded_step(|| client.store.wakes().unwrap_or_else(never));
        match unless(&client.closed, wakes).await {
            Some(Ok(wake)) => {
                backoff = pauses();
                client.hint(&wake);
            }
            Some(Err(_)) => {
                let pause = sleep(&*client.clock, client.clock.now().after(backoff.next()));
                if unless(&client.closed, pause).await.is_none() {
                    return;
                }
            }
            None => return,
        }
    }
}
