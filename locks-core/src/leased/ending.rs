//! How holds and claims end: told to the store until it has heard.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, lost};
use super::clock::{by, sleep};
use super::held::Held;
use super::renewal::margin;
use super::waiting::Backoff;
use crate::observe::report_release;
use crate::{
    ErrorKind, LeaseClaim, LeaseEnd, LeaseEnding, LeaseStore, LockError, LostCause, Op, Wake,
};

impl<S: LeaseStore> Client<S> {
    /// Ends a hold that is over here (C4).
    pub(super) fn release(
        self: &Arc<Self>,
        key: &str,
        id: u64,
        next: Option<Duration>,
    ) -> Op<'static, ()> {
        // In a forked child the hold is the parent's.
        if self.is_forked() {
            return Op::ready(());
        }
        let Some(held) = self.holds.lock().remove(&id) else { return Op::ready(()) };
        if let Some(cause) = held.end() {
            if cause == LostCause::Expired {
                // The store may have heard more than it has answered. The holder is left the
                // margin to notice, and nobody is held up: this may be the timer's thread.
                let client = self.clone();
                let (ending, lease) = (held.ending(None), held.lease);
                self.keeper.spawn(async move {
                    let clock = &*client.clock;
                    sleep(clock, clock.now().after(margin(lease))).await;
                    client.end_surely(&ending, lease).await;
                });
            }
            return Op::failed(lost(&held, cause));
        }
        let ended = self.end(held.ending(next), held.lease);
        self.hint_later(key);
        match ended {
            Op::Now(ended) => Op::Now(ended.and_then(|was| confirm(&held, was))),
            later => Op::later(async move { later.await.and_then(|was| confirm(&held, was)) }),
        }
    }

    /// Ends an acquisition. Begun on return; tried again in the background, for as long as its
    /// lease could run, if the store cannot be reached.
    pub(super) fn end(self: &Arc<Self>, ending: LeaseEnding, lease: Duration) -> Op<'static, bool> {
        let untold: fn(&LockError) = match ending.how {
            LeaseEnd::Release { .. } => report_release,
            // Of a claim that was withdrawn: perhaps there was never anything to end.
            LeaseEnd::Remove => |_| {},
        };
        let client = self.clone();
        let ended = async move {
            let error = match client.end_once(&ending).await {
                Err(error) => error.with_key(&*ending.keys[0]),
                ended => return ended,
            };
            if !is_refusal(&error) {
                let again = client.clone();
                client.keeper.spawn(async move { again.end_surely(&ending, lease).await });
            }
            Err(error)
        };
        self.keeper.begin(ended, untold)
    }

    /// Withdraws a claim, whether or not it was answered: a late grant is ended as well (C5).
    pub(super) fn withdraw<F>(self: &Arc<Self>, claim: &LeaseClaim, outstanding: Option<F>)
    where
        F: Future + Send + Unpin + 'static,
    {
        if self.is_forked() {
            return;
        }
        let ending = LeaseEnding::new(claim.keys.clone(), claim.id, LeaseEnd::Remove);
        let lease = claim.lease;
        drop(self.end(ending.clone(), lease));
        if let Some(step) = outstanding {
            let client = self.clone();
            self.keeper.spawn(async move {
                // The claim may reach the store after the end that followed it.
                let until = client.clock.now().after(lease);
                if by(&*client.clock, until, step).await.is_some() {
                    client.end_surely(&ending, lease).await;
                    for key in ending.keys {
                        client.waiters.hint(&Wake::Key(key));
                    }
                }
            });
        }
    }

    async fn end_once(&self, ending: &LeaseEnding) -> Result<bool, LockError> {
        self.within_reach(self.store.end(ending)).await
    }

    async fn end_surely(&self, ending: &LeaseEnding, lease: Duration) {
        let give_up = self.clock.now().after(lease);
        let mut backoff =
            Backoff::new(Duration::from_millis(10), Duration::from_secs(1), ending.id);
        while let Err(error) = self.end_once(ending).await {
            let again = self.clock.now().after(backoff.next());
            if is_refusal(&error) || again >= give_up {
                return;
            }
            sleep(&*self.clock, again).await;
        }
    }
}

/// Whether the store refused the step, so that there is no use in repeating it.
pub(super) fn is_refusal(error: &LockError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermitsMismatch
            | ErrorKind::InvalidKey
            | ErrorKind::Unsupported
            | ErrorKind::Unauthorized
            | ErrorKind::LimitExceeded
    )
}

/// A hold that was not there any more when it was released had been lost.
fn confirm(held: &Held, was_there: bool) -> Result<(), LockError> {
    if was_there { Ok(()) } else { Err(lost(held, LostCause::Forgotten)) }
}
