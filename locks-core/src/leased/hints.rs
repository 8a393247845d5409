//! The store's hints: how they come in, and whom they reach.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::client::Client;
use super::clock::sleep;
use super::waiting::{Backoff, unless};
use super::wake_sink::TakesHints;
use crate::{AcquisitionId, LeaseStore, Op, Wake};

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
