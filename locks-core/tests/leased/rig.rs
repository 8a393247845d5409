//! A store, clients of it, and a clock that all of them go by.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use locks_core::{
    Acquire, Backend, Clock, Leased, LeasedBuilder, LockError, ManualClock, OwnedGuard,
};

use crate::gate::Gate;
use crate::store::{Fault, MemoryStore, Step};

/// The lease of every hold here; its validity ends half a second earlier.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
pub(crate) const VALIDITY: Duration = Duration::from_millis(9500);
pub(crate) const MILLI: Duration = Duration::from_millis(1);

pub(crate) struct Rig {
    pub(crate) clock: ManualClock,
    /// The store's; the same one unless they were set apart.
    pub(crate) store_clock: ManualClock,
    pub(crate) store: MemoryStore,
    pub(crate) ours: Backend,
    pub(crate) theirs: Backend,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(false, |builder| builder)
    }

    pub(crate) fn with(
        hints: bool,
        settings: impl Fn(LeasedBuilder<MemoryStore>) -> LeasedBuilder<MemoryStore>,
    ) -> Self {
        let clock = ManualClock::new();
        Self::on(clock.clone(), clock, hints, settings)
    }

    /// With a store whose clock is so far ahead.
    pub(crate) fn apart(ahead: Duration) -> Self {
        let store_clock = ManualClock::new();
        store_clock.advance(ahead);
        Self::on(ManualClock::new(), store_clock, false, |builder| builder)
    }

    fn on(
        clock: ManualClock,
        store_clock: ManualClock,
        hints: bool,
        settings: impl Fn(LeasedBuilder<MemoryStore>) -> LeasedBuilder<MemoryStore>,
    ) -> Self {
        let store = MemoryStore::new(Arc::new(store_clock.clone()), hints);
        let client = || {
            let builder = Leased::builder(store.clone()).clock(Arc::new(clock.clone()));
            settings(builder.lease(LEASE)).build().into_backend()
        };
        let (ours, theirs) = (client(), client());
        Self { clock, store_clock, store, ours, theirs }
    }

    /// Lets time pass in small steps, in which those who renew keep up.
    pub(crate) fn pass(&self, by: Duration) {
        let mut left = by;
        while left > Duration::ZERO {
            let step = left.min(Duration::from_millis(50));
            let (ours, before) = (self.clock.now(), self.store_clock.now());
            self.clock.advance(step);
            if self.store_clock.now() == before && self.clock.now() > ours {
                self.store_clock.advance(step);
            }
            left -= step;
            self.store.await_renewals();
        }
    }

    /// Returns once the thread of our client has done what it had to do: it does one thing after
    /// the other, and the last is an end that has to be repeated.
    pub(crate) fn settle(&self) {
        let ends = self.store.count(Step::End);
        self.store.fail(Step::End, [Fault::Fail]);
        drop(take(&self.ours, "settle"));
        until("our client has settled", || self.store.count(Step::End) > ends);
    }

    /// Lets time pass, a millisecond in one of real time, until other threads have brought it
    /// about: too little for any lease to run out.
    #[track_caller]
    pub(crate) fn pass_until(&self, what: &str, mut met: impl FnMut() -> bool) {
        for _ in 0..5000 {
            if met() {
                return;
            }
            self.clock.advance(MILLI);
            std::thread::park_timeout(MILLI);
        }
        panic!("it never came about that {what}");
    }

    /// From now on no renewal gets to the store.
    pub(crate) fn cut_renewals(&self) {
        self.store.fail(Step::Renew, std::iter::repeat_n(Fault::Fail, 10_000));
    }

    /// From now on every renewal hangs.
    pub(crate) fn hang_renewals(&self) -> Gate {
        let gate = Gate::default();
        let hung = Fault::HoldStep(gate.clone());
        self.store.fail(Step::Renew, std::iter::repeat_n(hung, 10_000));
        gate
    }
}

pub(crate) fn take(backend: &Backend, key: &str) -> OwnedGuard {
    backend.named(key.to_owned()).wait(false).acquire().expect("it is free").into_owned()
}

/// A future polled by hand.
pub(crate) struct Driven<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> Driven<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future: Box::pin(future), woken: Arc::default() }
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(self.woken.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    pub(crate) fn wakes(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }
}

impl Driven<Acquire<'static>> {
    /// Waits, in real time, for the grant that other threads bring about.
    #[track_caller]
    pub(crate) fn granted(&mut self) -> OwnedGuard {
        let mut guard = None;
        until("it is granted", || match self.poll() {
            Poll::Ready(granted) => {
                guard = Some(granted.expect("nothing is in its way"));
                true
            }
            Poll::Pending => false,
        });
        guard.expect("it was granted")
    }

    /// Lets time pass until the acquisition ends.
    pub(crate) fn within(&mut self, rig: &Rig, limit: Duration) -> Result<OwnedGuard, LockError> {
        let mut left = limit;
        loop {
            if let Poll::Ready(outcome) = self.poll() {
                return outcome;
            }
            assert!(left > Duration::ZERO, "it has not ended within {limit:?}");
            let step = left.min(Duration::from_millis(10));
            rig.pass(step);
            left -= step;
        }
    }
}

/// Waits, in real time, for what other threads bring about.
#[track_caller]
pub(crate) fn until(what: &str, mut met: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !met() {
        assert!(Instant::now() < give_up, "it never came about that {what}");
        std::thread::yield_now();
    }
}
