//! The store's hints: whom they reach, and how long one does without.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::client::Client;
use super::clock::sleep;
use super::waiting::Backoff;
use crate::{AcquisitionId, LeaseStore, Wake};

/// Where a store pushes its hints; see [`LeaseStore::subscribe`].
///
/// Cheap to clone. It does not keep the adapter: once that is gone, hints go nowhere.
#[derive(Clone)]
pub struct WakeSink(Weak<dyn TakesHints>);

pub(super) trait TakesHints: Send + Sync {
    fn hint(&self, wake: &Wake);
}

impl WakeSink {
    /// Has those look again whom the hint concerns, on this thread: it runs their wakers, so the
    /// store calls it with no lock of its own held.
    pub fn wake(&self, wake: &Wake) {
        if let Some(client) = self.0.upgrade() {
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
    /// Passes a hint on: to those who wait for a key, and to those who hold it, who may have been
    /// robbed.
    fn hint(&self, wake: &Wake) {
        self.waiters.hint(wake);
        let holds = self.holds.lock().values().cloned().collect::<Vec<_>>();
        for held in holds.iter().filter(|held| wake.concerns(&held.keys)) {
            held.hasten();
        }
    }
}

impl<S: LeaseStore> Client<S> {
    pub(super) fn sink(self: &Arc<Self>) -> WakeSink {
        let client: Weak<Self> = Arc::downgrade(self);
        WakeSink(client)
    }

    /// Listens for the store's hints as long as there is anything to keep, if it gives any.
    pub(super) fn listen(self: &Arc<Self>) {
        let pushed = self.pushed.load(Ordering::Relaxed);
        if self.hints && !pushed && !self.listening.swap(true, Ordering::SeqCst) {
            self.keeper.accompany(listen(Listening(self.clone())));
        }
    }

    /// Waiters of this process for `key`, thieves beside a turn, look again. In the background,
    /// because the engine calls with a mutex held that whoever is woken may want.
    pub(super) fn hint_later(self: &Arc<Self>, key: &str) {
        if self.waiters.any(key) {
            let (client, key) = (self.clone(), key.to_owned());
            self.keeper.spawn(async move { client.waiters.hint(&Wake::Key(key)) });
        }
    }

    pub(super) fn gives_hints(&self) -> bool {
        self.hints || self.pushed.load(Ordering::Relaxed)
    }

    /// How long a place in the store's queue is kept for a waiter that has not asked again.
    pub(super) fn place_keep(&self) -> Duration {
        self.longest_pause() * 2 + self.settings.reach
    }

    /// How long a waiter goes without looking.
    pub(super) fn longest_pause(&self) -> Duration {
        let hinted = self.gives_hints().then_some(Duration::from_secs(1));
        self.settings.poll.or(hinted).unwrap_or(Duration::from_millis(50))
    }
}

/// That the store's hints are being listened for.
struct Listening<S: LeaseStore>(Arc<Client<S>>);

impl<S: LeaseStore> Drop for Listening<S> {
    fn drop(&mut self) {
        self.0.listening.store(false, Ordering::SeqCst);
    }
}

/// Passes on the hints of a store that is asked for them.
async fn listen<S: LeaseStore>(listening: Listening<S>) {
    let client = &listening.0;
    let pauses = || {
        let id = AcquisitionId::unique();
        Backoff::new(Duration::from_millis(10), Duration::from_secs(5), id)
    };
    let mut backoff = pauses();
    while let Some(wakes) = client.store.wakes() {
        match wakes.await {
            Ok(wake) => {
                backoff = pauses();
                client.hint(&wake);
            }
            Err(_) => sleep(&*client.clock, client.clock.now().after(backoff.next())).await,
        }
    }
}
