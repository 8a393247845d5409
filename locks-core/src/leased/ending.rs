//! How holds and claims end: the store is told until it has confirmed.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::clock::{by, sleep};
use super::exit::Unconfirmed;
use super::holds::Released;
use super::renewal::margin;
use super::waiting::Backoff;
use crate::observe::report_release;
use crate::{
    ErrorKind, LeaseClaim, LeaseEnd, LeaseEnding, LeaseStore, LockError, LostCause, Op,
    UpstreamEnd, Wake,
};

impl<S: LeaseStore> Client<S> {
    /// Ends a hold of `key` that is over here (C4).
    pub(super) fn release(
        self: &Arc<Self>,
        key: &str,
        id: u64,
        how: UpstreamEnd,
    ) -> Op<'static, ()> {
        let released = self.holds.release(id, key, how);
        let Released::Wholly { endings, token, lease, lost, is_set } = released else {
            return Op::ready(());
        };
        let error = {
            let key = key.to_owned();
            move |cause| LockError::new(ErrorKind::Lost { cause }, &*key).with_token(token)
        };
        match lost {
            None => {
                // All are begun before the first is waited for.
                let ends = endings.into_iter().map(|ending| self.end(ending, lease));
                let ends: Vec<Op<'static, bool>> = ends.collect();
                Op::all(ends.into_iter().map(|end| match end {
                    Op::Now(ended) => Op::Now(ended.and_then(|was| confirm(was, error.clone()))),
                    later => {
                        let error = error.clone();
                        Op::later(async move { later.await.and_then(|was| confirm(was, error)) })
                    }
                }))
            }
            // The store may have heard more than it has answered. The holder is left the margin
            // to notice.
            Some(LostCause::Expired) => {
                for ending in endings {
                    self.end_later(ending, lease, margin(lease));
                }
                Op::failed(error(LostCause::Expired))
            }
            Some(cause) => {
                // The loss of one key is the loss of all, but the others stand at the store.
                for ending in endings.into_iter().filter(|_| is_set) {
                    self.end_later(ending, lease, Duration::ZERO);
                }
                Op::failed(error(cause))
            }
        }
    }

    /// Ends what an acquisition has. Begun on return; tried again in the background, for as long
    /// as its lease could run, if the store does not confirm.
    pub(super) fn end(self: &Arc<Self>, ending: LeaseEnding, lease: Duration) -> Op<'static, bool> {
        let on_unobserved: fn(&LockError) = match ending.how {
            LeaseEnd::Release { .. } => report_release,
            // Of a claim that was withdrawn: perhaps there was never anything to end.
            LeaseEnd::Remove => |_| {},
        };
        let (client, unconfirmed) = (self.clone(), Unconfirmed::new());
        let ended = async move {
            let ended =
                client.end_once(&ending).await.map_err(|error| error.with_key(&*ending.keys[0]));
            if ended.is_err() {
                let again = client.clone();
                client
                    .executor
                    .spawn(async move { again.end_surely(ending, lease, unconfirmed).await });
            }
            ended
        };
        self.executor.begin(ended, on_unobserved)
    }

    /// Ends it in the background, after a while.
    pub(super) fn end_later(
        self: &Arc<Self>,
        ending: LeaseEnding,
        lease: Duration,
        pause: Duration,
    ) {
        let (client, unconfirmed) = (self.clone(), Unconfirmed::new());
        self.executor.spawn(async move {
            if !pause.is_zero() {
                sleep(&*client.clock, client.clock.now().after(pause)).await;
            }
            client.end_surely(ending, lease, unconfirmed).await;
        });
    }

    /// Withdraws a claim, whether or not it was answered: a late grant is ended as well (C5).
    pub(super) fn withdraw(
        self: &Arc<Self>,
        claim: &LeaseClaim,
        outstanding: Option<impl Future + Send + Unpin + 'static>,
    ) {
        let ending = LeaseEnding::new(claim.keys.clone(), claim.id, LeaseEnd::Remove);
        let lease = claim.lease;
        drop(self.end(ending.clone(), lease));
        if let Some(step) = outstanding {
            let (client, unconfirmed) = (self.clone(), Unconfirmed::new());
            self.executor.spawn(async move {
                // The claim may reach the store after the end that followed it.
                let until = client.clock.now().after(lease);
                if by(&*client.clock, until, step).await.is_some() {
                    client.end_surely(ending, lease, unconfirmed).await;
                }
            });
        }
    }

    pub(super) async fn end_once(&self, ending: &LeaseEnding) -> Result<bool, LockError> {
        // The store keeps the keys for the one that has waited longest here. That may be one of
        // those whom it has placed behind another client's: it claims again, or the store calls
        // neither.
        let placed = ending.next.filter(|_| self.hints).map(|_| self.waiters.present(&ending.keys));
        let keeps = ending.next.is_some() && self.hints && self.queues();
        if keeps {
            self.holds.keep(ending);
        }
        let ended = self.step(self.settings.connect, || self.store.end(ending)).await;
        if keeps {
            self.holds.kept(ending, ended.is_ok());
        }
        // A waker that panics is nobody's business here: the end goes on.
        let hint = || {
            placed.unwrap_or_default().hint();
            // Others of this process may wait for it, thieves, who stand beside a turn; unless the
            // store calls those whose turn it is.
            if !self.hints {
                for key in &ending.keys {
                    self.waiters.hint(&Wake::Key(key.clone()));
                }
            }
        };
        let _ = catch_unwind(AssertUnwindSafe(hint));
        ended
    }

    async fn end_surely(&self, ending: LeaseEnding, lease: Duration, _unconfirmed: Unconfirmed) {
        let give_up = self.clock.now().after(lease);
        let mut backoff =
            Backoff::new(Duration::from_millis(10), Duration::from_secs(1), ending.id);
        // Whatever the error: what is not ended stands in the way of others for a whole lease.
        while self.end_once(&ending).await.is_err() {
            let again = self.clock.now().after(backoff.next());
            if again >= give_up {
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
fn confirm(was_there: bool, lost: impl FnOnce(LostCause) -> LockError) -> Result<(), LockError> {
    if was_there { Ok(()) } else { Err(lost(LostCause::Forgotten)) }
}
