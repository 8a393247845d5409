//! An acquisition that is polled by hand: in the tests of the file backend and of the lock server.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use locks_core::{Acquire, LockBuilder, LockError, OwnedGuard};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A pending acquisition. Dropping it withdraws it.
pub(crate) struct Polled(Pin<Box<Acquire<'static>>>);

impl Polled {
    pub(crate) fn begin(lock: LockBuilder<'static>) -> Self {
        Self(Box::pin(lock.acquire_async()))
    }

    pub(crate) fn poll(&mut self) -> Option<Result<OwnedGuard, LockError>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        match self.0.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// Polls it for as long as it takes to be at work, at most `limit`: it goes on until it is
    /// woken.
    pub(crate) fn poll_for(&mut self, limit: Duration) -> Option<Result<OwnedGuard, LockError>> {
        let outcome = self.poll();
        if outcome.is_none() {
            thread::park_timeout(limit);
        }
        outcome
    }
}
