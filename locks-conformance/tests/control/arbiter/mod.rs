//! An arbiter as plain as can be: one list of requests, gone through from the beginning whenever
//! anything changes. It shares nothing with the engine but the contract, so that the kit is not
//! tested against the code that it was written for, and it can be given one [`Defect`].

mod cycle;
mod defect;
mod grant;
mod info;
mod state;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_conformance::Fixture;
use locks_core::{
    Backend, BackendInfo, Capabilities, ErrorKind, Granted, Hold, HolderInfo, LockBackend,
    LockError, LockInfo, LostCause, Mode, Op, OwnerId, Query, Request, Reserve, Token, Wait,
};

pub(crate) use defect::Defect;
use state::{Ask, Stage, State};

/// The arbiter, and itself the fixture: its clock is set by hand.
#[derive(Clone)]
pub(crate) struct Arbiter {
    about: Arc<BackendInfo>,
    /// What it says of itself while a key is in use, for the defect that says another thing.
    in_use: Arc<BackendInfo>,
    state: Arc<Mutex<State>>,
    patience: Duration,
    /// Which client it is: the owners of two clients are not the same (C9).
    client: u32,
}

impl Arbiter {
    pub(crate) fn sound() -> Self {
        let about = Arc::new(BackendInfo::new("plain", Capabilities::process()));
        let (in_use, state) = (about.clone(), Arc::default());
        Self { about, in_use, state, patience: Duration::from_secs(10), client: 0 }
    }

    pub(crate) fn with(defect: Defect) -> Self {
        let mut capabilities = Capabilities::process();
        if matches!(defect, Defect::OptionIgnored) {
            capabilities.steal = false;
        }
        let state = Arc::new(Mutex::new(State { defect: Some(defect), ..State::default() }));
        let about = Arc::new(BackendInfo::new("broken", capabilities));
        let in_use = Arc::new(BackendInfo::new("in use", capabilities));
        Self { about, in_use, state, patience: Duration::from_millis(400), client: 0 }
    }

    /// Whether it has broken down by a fault of its own, and not by its defect.
    pub(crate) fn has_panicked(&self) -> bool {
        self.state.is_poisoned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A guard that is dropped in a panic has to get through.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, draws the conclusions, and wakes whom they concern.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (value, wakers) = {
            let mut state = self.state();
            let value = change(&mut state);
            state.conclude();
            (value, std::mem::take(&mut state.wakers))
        };
        let through = self.is(Defect::WakersPanicThrough);
        for waker in wakers {
            // What a waker does is its own affair.
            let woken = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            if let (true, Err(panic)) = (through, woken) {
                resume_unwind(panic);
            }
        }
        value
    }

    fn refuse_undeclared(&self, request: &Request<'_>) -> Result<(), LockError> {
        let (can, options) = (self.about.capabilities, &request.options);
        let refuse = |option: &str| Err(LockError::unsupported(&self.about.name, option, ""));
        if options.steal_after.is_some() && !can.steal && !self.is(Defect::OptionIgnored) {
            return refuse("steal_after");
        }
        if options.reentrant && request.caller.owner.is_none() && !self.is(Defect::AnonymousNests) {
            return refuse("reentrant");
        }
        let only_its_id = request.caller.owner.is_some_and(OwnerId::is_shared)
            && request.caller.shared.is_none()
            && !self.is(Defect::SharedOwnersAreTheirIds);
        if only_its_id {
            return refuse("owner");
        }
        let taken = self.is(Defect::NonsenseTaken);
        if options.reserve == Reserve::IfDone && options.mode == Mode::Shared && !taken {
            return refuse("once_per");
        }
        Ok(())
    }

    fn is(&self, defect: Defect) -> bool {
        self.state().has(defect)
    }
}

impl LockBackend for Arbiter {
    fn about(&self) -> &BackendInfo {
        let state = self.state();
        let varies = state.has(Defect::DescriptionVaries) && !state.asks.is_empty();
        if varies { &self.in_use } else { &self.about }
    }

    fn acquire<'a>(&'a self, mut request: Request<'a>) -> Op<'a, Granted> {
        if !self.is(Defect::OwnersOfClientsMeet) {
            let caller = &mut request.caller;
            caller.owner = caller.owner.map(|owner| owner.in_realm(self.client));
            caller.within.iter_mut().for_each(|owner| *owner = owner.in_realm(self.client));
        }
        if self.is(Defect::SharedOwnersAreApart) && request.caller.shared.is_some() {
            let number = |owner: OwnerId| OwnerId::from(owner.to_parts().2);
            let owner = request.caller.owner.map(|owner| number(owner).in_realm(self.client));
            request.caller.owner = owner;
        }
        let checked = if self.is(Defect::BadKeysTaken) { Ok(()) } else { request.keys.check() };
        let options = || match self.is(Defect::NonsenseTaken) {
            true => Ok(()),
            false => request.options.check(),
        };
        let checked = checked.and_then(|()| options());
        if let Err(error) = checked.and_then(|()| self.refuse_undeclared(&request)) {
            return Op::failed(error);
        }
        let id = self.change(|state| state.ask(&request, self.client));
        let mut asked = Asked { arbiter: self.clone(), id, done: false };
        match asked.take(None) {
            Poll::Ready(outcome) => Op::Now(outcome),
            Poll::Pending if request.wait() == Wait::Try && !self.is(Defect::NoWaitQueues) => {
                let error = self.state().error(ErrorKind::Contended, id);
                Op::failed(error)
            }
            Poll::Pending => Op::later(asked),
        }
    }

    fn release(&self, hold: Hold) -> Op<'static, ()> {
        let (id, lazy) = (hold.id().expect("its own holds have one"), self.is(Defect::LazyRelease));
        if lazy {
            let arbiter = self.clone();
            return Op::later(async move { arbiter.change(|state| state.release(id)) });
        }
        Op::Now(self.change(|state| state.release(id)))
    }

    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        let waker = cx.map(|cx| cx.waker().clone());
        let id = hold.id().expect("its own holds have one");
        self.change(|state| state.poll_lost(id, waker))
    }

    fn unwatch(&self, hold: &Hold, waker: &Waker) {
        let id = hold.id().expect("its own holds have one");
        if !self.is(Defect::WatchersStay) {
            self.change(|state| state.unwatch(id, waker));
        }
    }

    fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        let id = hold.id().expect("its own holds have one");
        Op::Now(self.change(|state| state.refresh(id)))
    }

    fn detach_owner(&self, hold: &Hold) {
        let id = hold.id().expect("its own holds have one");
        self.change(|state| state.detach_owner(id));
    }

    fn mark_done(&self, hold: &Hold) {
        let id = hold.id().expect("its own holds have one");
        self.change(|state| state.mark_done(id));
    }

    fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo> {
        self.state().stolen_from(hold.id().expect("its own holds have one"))
    }

    fn share(&self, hold: &Hold) -> Op<'static, ()> {
        let id = hold.id().expect("its own holds have one");
        Op::Now(self.change(|state| state.share(id)))
    }

    fn keys(&self, _: &Hold) -> Vec<String> {
        Vec::new()
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        if self.is(Defect::ListWaits) && self.state().asks.values().any(Ask::is_waiting) {
            return Op::later(std::future::pending());
        }
        Op::ready(self.state().list(&query))
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        Op::ready(self.change(|state| state.evict(&state.name(key, self.client), token)))
    }
}

/// A request under way; dropping it withdraws it.
struct Asked {
    arbiter: Arbiter,
    id: u64,
    done: bool,
}

impl Asked {
    fn take(&mut self, waker: Option<&Waker>) -> Poll<Result<Granted, LockError>> {
        let id = self.id;
        let outcome = self.arbiter.change(|state| {
            let leaks = state.has(Defect::TimeoutLeaksGrant) && state.is_past_deadline(id);
            let ask = state.asks.get_mut(&id).expect("it has not been taken yet");
            match &mut ask.stage {
                Stage::Waiting => {
                    ask.waker = waker.cloned();
                    return Poll::Pending;
                }
                Stage::Refused(error) => {
                    let error = error.take().expect("it has not been taken yet");
                    state.asks.remove(&id);
                    return Poll::Ready(Err(error));
                }
                Stage::Held(_) if leaks => {}
                Stage::Held(held) | Stage::Lost(held, _) => {
                    held.seen = true;
                    return Poll::Ready(Ok(Granted::new(Hold::new(id, held.token))));
                }
            }
            Poll::Ready(Err(state.error(ErrorKind::Timeout, id)))
        });
        self.done = outcome.is_ready();
        outcome
    }
}

impl Future for Asked {
    type Output = Result<Granted, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.take(Some(cx.waker()))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.done {
            let id = self.id;
            let quiet = self.arbiter.is(Defect::CancelWakesNobody);
            if quiet {
                self.arbiter.state().asks.remove(&id);
            } else {
                self.arbiter.change(|state| state.withdraw(id));
            }
        }
    }
}

impl Fixture for Arbiter {
    fn backend(&self) -> Backend {
        Backend::new(self.clone())
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn rival(&self) -> Option<Backend> {
        Some(Backend::new(Self { client: 1, ..self.clone() }))
    }

    fn now(&self) -> Duration {
        self.state().now
    }

    /// Stops at every moment at which something is due, as real time does.
    fn advance(&self, by: Duration) {
        let end = self.now() + by;
        loop {
            let now = self.change(|state| {
                state.now = state.next_event().map_or(end, |next| next.min(end));
                state.now
            });
            if now == end {
                return;
            }
        }
    }

    /// It goes through all of them whenever anything changes.
    fn crowd(&self) -> usize {
        100
    }

    fn live_keys(&self) -> Option<usize> {
        let state = self.state();
        let used = state.asks.values().flat_map(|ask| &ask.keys).collect::<Vec<_>>();
        Some(used.len() + state.remembered.len() + state.reserved.len())
    }
}

/// What one hold of this mode leaves for others.
fn conflict(one: Mode, other: Mode) -> bool {
    one == Mode::Exclusive || other == Mode::Exclusive
}
