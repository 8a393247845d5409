//! Giving up a wait from elsewhere.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use super::StartedAcquire;
use crate::calls::Calls;
use crate::observe::{self, Since};
use crate::sync::plain::Mutex;
use crate::{ErrorKind, LockError, OwnedGuard};

/// A token that cancels acquisitions from another thread; clones are the same token.
///
/// Async code drops the future instead. A thread that is blocked in
/// [`acquire`](crate::LockBuilder::acquire) cannot, so another thread cancels for it:
///
/// ```
/// use locks::{Backend, CancelToken, ErrorKind};
///
/// let backend = Backend::process();
/// let held = backend.named("printer").acquire()?;
/// let cancel = CancelToken::new();
/// std::thread::scope(|scope| {
///     let waits = scope.spawn(|| backend.named("printer").cancel_on(&cancel).acquire().map(drop));
///     cancel.cancel();
///     assert_eq!(waits.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
/// });
/// # drop(held);
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_cancelled: AtomicBool,
    /// Those who wait, by number.
    waiting: Mutex<(u64, Vec<(u64, Waker)>)>,
}

impl CancelToken {
    /// Creates a token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the token for good: acquisitions that [name it](crate::LockBuilder::cancel_on) fail
    /// with [`Cancelled`](ErrorKind::Cancelled), the waiting ones and all later ones. A lock that
    /// has been granted by then is kept.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut self.0.waiting.lock().1);
        let mut calls = Calls::default();
        waiting.into_iter().for_each(|(_, waker)| calls.wake(waker));
        calls.end();
    }

    /// Returns `true` if the token was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Acquire)
    }

    fn join(&self, number: Option<u64>, waker: &Waker) -> u64 {
        let mut guard = self.0.waiting.lock();
        let (next, waiting) = &mut *guard;
        let found = number.and_then(|own| waiting.iter_mut().find(|(other, _)| *other == own));
        let before = match found {
            Some((number, before)) => (*number, Some(std::mem::replace(before, waker.clone()))),
            None => {
                *next += 1;
                waiting.push((*next, waker.clone()));
                (*next, None)
            }
        };
        drop(guard);
        before.0
    }

    fn leave(&self, number: u64) {
        let mut guard = self.0.waiting.lock();
        let found = guard.1.iter().position(|(other, _)| *other == number);
        let left = found.map(|index| guard.1.swap_remove(index));
        drop(guard);
        drop(left);
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

/// An acquisition that a token can cancel.
pub(super) struct UntilCancelled {
    begun: StartedAcquire,
    token: CancelToken,
    number: Option<u64>,
    key: String,
    asked: Since,
}

impl UntilCancelled {
    pub(super) fn new(
        begun: StartedAcquire,
        token: CancelToken,
        key: String,
        asked: Since,
    ) -> Self {
        Self { begun, token, number: None, key, asked }
    }
}

/// The error of an acquisition that was cancelled.
#[cold]
pub(super) fn cancelled(key: &str, asked: &Since) -> LockError {
    let why = format!("`{key}` was not acquired: its `CancelToken` was cancelled");
    let error = LockError::new(ErrorKind::Cancelled, key).with_message(why);
    observe::refused(&error, asked);
    error
}

impl Future for UntilCancelled {
    type Output = Result<OwnedGuard, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Before it looks, so that a cancellation in between wakes it.
        self.number = Some(self.token.join(self.number, cx.waker()));
        let polled = Pin::new(&mut self.begun).poll(cx);
        if polled.is_pending() && self.token.is_cancelled() {
            // Withdrawn before anybody hears of it (C5).
            self.begun = StartedAcquire::over(self.asked.clone());
            return Poll::Ready(Err(cancelled(&self.key, &self.asked)));
        }
        polled
    }
}

impl Drop for UntilCancelled {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.token.leave(number);
        }
    }
}
