use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::clock::alarm;
use super::renewal::Renewal;
use crate::engine::WeakEngine;
use crate::sync::plain::Mutex;
use crate::{
    AcquisitionId, Alarm, Clock, LeaseClaim, LeaseEnd, LeaseEnding, LeaseRenewal, LostCause, Mode,
    Moment, Token,
};

/// One hold of the store's, for as long as it has not been released here.
///
/// Whether it is lost is worked out by whoever asks, from the clock; those who wait to be told
/// are woken by the clock's alarm. Neither needs the renewals to get anywhere (C8).
pub(super) struct Held {
    pub(super) keys: Vec<String>,
    pub(super) id: AcquisitionId,
    pub(super) token: Token,
    pub(super) lease: Duration,
    mode: Mode,
    steals: bool,
    pub(super) reserves: bool,
    clock: Arc<dyn Clock>,
    engine: OnceLock<WeakEngine>,
    state: Mutex<State>,
}

struct State {
    renewal: Renewal,
    /// Whoever renews it.
    keeper: Option<Waker>,
    /// Whoever waits for its loss.
    watchers: Vec<Waker>,
    /// For the end of its validity.
    alarm: Option<Alarm>,
    /// Whether the engine still has to hear that it is lost.
    untold: bool,
}

impl Held {
    /// The hold that `claim` was granted, trusted as from `sent`.
    pub(super) fn new(
        claim: &LeaseClaim,
        token: Token,
        sent: Moment,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let state = State {
            renewal: Renewal::granted(claim.lease, sent),
            keeper: None,
            watchers: Vec::new(),
            alarm: None,
            untold: true,
        };
        Arc::new(Self {
            keys: claim.keys.clone(),
            id: claim.id,
            token,
            lease: claim.lease,
            mode: claim.mode,
            steals: claim.steal_after.is_some(),
            reserves: claim.hold_at_least.is_some(),
            clock,
            engine: OnceLock::new(),
            state: Mutex::new(state),
        })
    }

    /// Has the engine told of its loss, from now on.
    pub(super) fn watch(self: &Arc<Self>, engine: Option<WeakEngine>) {
        if let Some(engine) = engine {
            self.engine.get_or_init(|| engine);
        }
        let mut state = self.state.lock();
        let at = state.renewal.valid_until();
        self.set_alarm(&mut state, at);
    }

    /// Whether the two cannot both stand.
    pub(super) fn conflicts(&self, other: &Held) -> bool {
        let alone = |held: &Held| held.mode == Mode::Exclusive;
        let meet = self.keys.iter().any(|key| other.keys.contains(key));
        meet && (alone(self) || alone(other))
    }

    pub(super) fn ending(&self, next: Option<Duration>) -> LeaseEnding {
        let how = LeaseEnd::Release { reserve: self.reserves };
        let mut ending = LeaseEnding::new(self.keys.clone(), self.id, how);
        ending.next = next;
        ending
    }

    /// How those were lost that it took the key from.
    pub(super) fn takes_by(&self) -> LostCause {
        if self.steals { LostCause::Stolen } else { LostCause::Forgotten }
    }

    pub(super) fn renewal_step(&self, refresh: bool) -> LeaseRenewal {
        let mut step = LeaseRenewal::new(self.keys.clone(), self.id, self.lease);
        step.refresh = refresh;
        step
    }

    /// How it was lost, if it is; with a context, its task is woken when it becomes so.
    pub(super) fn poll_lost(self: &Arc<Self>, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        let mut state = self.state.lock();
        if let Some(cause) = state.renewal.check(self.clock.now()) {
            return Poll::Ready(cause);
        }
        if let Some(cx) = cx {
            state.watchers.retain(|watcher| !watcher.will_wake(cx.waker()));
            state.watchers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Forgets a waker that [`poll_lost`](Self::poll_lost) has left.
    pub(super) fn unwatch(&self, waker: &Waker) {
        let mut state = self.state.lock();
        let found = state.watchers.iter().position(|watcher| watcher.will_wake(waker));
        let forgotten = found.map(|index| state.watchers.swap_remove(index));
        drop(state);
        drop(forgotten);
    }

    /// Resolves when it is time to renew; to `false` if it never will be again.
    pub(super) async fn due(&self) -> bool {
        let mut set = None;
        poll_fn(|cx| {
            let mut state = self.state.lock();
            match state.renewal.renew_at() {
                None => Poll::Ready(false),
                Some(at) if at <= self.clock.now() => Poll::Ready(true),
                Some(at) => {
                    state.keeper = Some(cx.waker().clone());
                    drop(state);
                    set = Some(alarm(&*self.clock, at, cx.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// For how long to wait for the answer to a renewal.
    pub(super) fn patience(&self) -> Duration {
        self.state.lock().renewal.patience()
    }

    pub(super) fn acknowledged(self: &Arc<Self>, sent: Moment) {
        self.change(|renewal, now| renewal.acknowledged(sent, now));
    }

    pub(super) fn failed(self: &Arc<Self>) {
        self.change(Renewal::failed);
    }

    pub(super) fn hasten(self: &Arc<Self>) {
        self.change(Renewal::hasten);
    }

    pub(super) fn gone(self: &Arc<Self>, cause: LostCause) {
        self.change(|renewal, now| renewal.gone(cause, now));
    }

    /// It is being released: how it had been lost, if it had.
    pub(super) fn end(self: &Arc<Self>) -> Option<LostCause> {
        let mut lost = None;
        self.change(|renewal, now| {
            lost = renewal.check(now);
            renewal.end();
        });
        // The alarm's waker keeps this alive.
        let alarm = self.state.lock().alarm.take();
        drop(alarm);
        lost
    }

    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Renewal, Moment)) {
        let mut state = self.state.lock();
        let now = self.clock.now();
        change(&mut state.renewal, now);
        let keeper = state.keeper.take();
        let lost = state.renewal.check(now).is_some();
        drop(state);
        if let Some(keeper) = keeper {
            keeper.wake();
        }
        if lost {
            self.tell();
        }
    }

    /// Tells of its loss: those who wait for that, and the engine, so that others get their turn.
    fn tell(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let Some(cause) = state.renewal.check(self.clock.now()) else { return };
        let watchers = std::mem::take(&mut state.watchers);
        let untold = state.untold && !state.renewal.is_over();
        drop(state);
        watchers.into_iter().for_each(Waker::wake);
        let engine = self.engine.get().and_then(WeakEngine::upgrade);
        if let Some(engine) = engine.filter(|_| untold) {
            let told = engine.lose(&self.keys[0], self.token, cause);
            let mut state = self.state.lock();
            state.untold = !told && !state.renewal.is_over();
            if state.untold {
                // The engine is still on its way to making a hold of this grant.
                self.set_alarm(&mut state, self.clock.now().after(Duration::from_millis(10)));
            }
        }
    }

    fn set_alarm(self: &Arc<Self>, state: &mut State, at: Moment) {
        state.alarm = Some(alarm(&*self.clock, at, Waker::from(self.clone())));
    }
}

/// Its validity may have ended.
impl Wake for Held {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.lock();
        if state.renewal.is_over() {
            return;
        }
        let at = state.renewal.valid_until();
        if state.renewal.check(self.clock.now()).is_none() {
            return self.set_alarm(&mut state, at);
        }
        state.alarm = None;
        drop(state);
        self.tell();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("keys", &self.keys)
            .field("id", &self.id)
            .field("token", &self.token)
            .field("renewal", &self.state.lock().renewal)
            .finish_non_exhaustive()
    }
}
