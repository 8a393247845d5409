//! Acquisitions polled by hand, on a clock that stands still until told.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use locks_core::{Acquire, Backend, Engine, LockBuilder, LockError, ManualClock, OwnedGuard};

/// An engine of its own, and the clock it follows.
pub(crate) fn engine() -> (Engine, Backend, ManualClock) {
    let clock = ManualClock::new();
    let engine = Engine::builder().clock(Arc::new(clock.clone())).build();
    (engine.clone(), Backend::new(engine), clock)
}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// An acquisition that is polled only when the test says so.
pub(crate) struct Polled {
    acquire: Acquire<'static>,
    wakes: Arc<Wakes>,
    seen: usize,
}

impl Polled {
    #[track_caller]
    pub(crate) fn new(builder: LockBuilder<'static>) -> Self {
        Self { acquire: builder.acquire_async(), wakes: Arc::default(), seen: 0 }
    }

    /// One that has been polled once and has to wait.
    #[track_caller]
    pub(crate) fn waiting(builder: LockBuilder<'static>) -> Self {
        let mut polled = Self::new(builder);
        if let Poll::Ready(outcome) = polled.poll() {
            panic!("it had to wait and got {outcome:?}");
        }
        polled
    }

    /// What it is granted at its first poll, in whoever's name it is: no thread has to go on for
    /// that to be released.
    #[track_caller]
    pub(crate) fn at_once(builder: LockBuilder<'static>) -> OwnedGuard {
        match Self::new(builder).poll() {
            Poll::Ready(outcome) => outcome.unwrap(),
            Poll::Pending => panic!("it has to wait"),
        }
    }

    pub(crate) fn poll(&mut self) -> Poll<Result<OwnedGuard, LockError>> {
        self.seen = self.wakes.0.load(Ordering::SeqCst);
        let waker = Waker::from(self.wakes.clone());
        Pin::new(&mut self.acquire).poll(&mut Context::from_waker(&waker))
    }

    /// Whether it has been woken since it was last polled.
    pub(crate) fn is_woken(&self) -> bool {
        self.wakes.0.load(Ordering::SeqCst) > self.seen
    }

    /// It has been woken, and what it gets when it is polled then.
    #[track_caller]
    pub(crate) fn outcome(&mut self) -> Result<OwnedGuard, LockError> {
        assert!(self.is_woken(), "it was not woken");
        match self.poll() {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("it was woken for nothing"),
        }
    }

    /// It has been woken and is granted the lock when it is polled then.
    #[track_caller]
    pub(crate) fn granted(&mut self) -> OwnedGuard {
        self.outcome().unwrap_or_else(|error| panic!("refused: {error}"))
    }
}
