//! The store's hints: whom they reach, and how long one does without.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::client::Client;
use super::clock::sleep;
use super::waiting::Backoff;
use crate::{AcquisitionId, LeaseStore, Wake};

impl<S: LeaseStore> Client<S> {
    /// Listens for the store's hints as long as there is anything to keep, if it gives any.
    pub(super) fn listen(self: &Arc<Self>) {
        if self.hints && !self.listening.swap(true, Ordering::SeqCst) {
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

    /// How long a waiter goes without looking.
    pub(super) fn longest_pause(&self) -> Duration {
        let hinted = self.hints.then_some(Duration::from_secs(1));
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

/// Passes the store's hints on: to those who wait for a key, and to those who hold it, who may
/// have been robbed.
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
                client.waiters.hint(&wake);
                let holds = client.holds.lock().values().cloned().collect::<Vec<_>>();
                for held in holds.iter().filter(|held| wake.concerns(&held.key)) {
                    held.hasten();
                }
            }
            Err(_) => sleep(&*client.clock, client.clock.now().after(backoff.next())).await,
        }
    }
}
