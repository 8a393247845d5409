use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::OwnedGuard;
use crate::LostCause;
use crate::clock::attend;
use crate::sync::plain::Mutex;

/// A future that completes when the lock of a guard is lost; see [`OwnedGuard::lost`].
#[must_use = "futures do nothing unless polled"]
pub struct Lost<'a> {
    guard: &'a OwnedGuard,
    /// Its own waker, by which the backend knows it from others of the same task.
    watch: Option<Arc<LastWaker>>,
}

/// Wakes the task that polled last.
#[derive(Default)]
struct LastWaker(Mutex<Option<Waker>>);

impl Wake for LastWaker {
    fn wake(self: Arc<Self>) {
        let waker = self.0.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl OwnedGuard {
    /// Returns a future that completes with the cause when the lock is lost, and never otherwise.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect and leaves nothing behind
    /// ([C8](crate::contract#c8-loss)).
    ///
    /// # Examples
    /// ```
    /// # async fn work() {}
    /// # async fn select<A, B>(_: A, _: B) {}
    /// # async fn run() -> Result<(), locks::LockError> {
    /// let guard = locks::named("leader").acquire_async().await?;
    /// // With `tokio::select!` or alike: stop the work as soon as the lock is lost.
    /// select(work(), guard.lost()).await;
    /// # Ok(()) }
    /// ```
    pub fn lost(&self) -> Lost<'_> {
        Lost { guard: self, watch: None }
    }
}

impl Future for Lost<'_> {
    type Output = LostCause;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LostCause> {
        let watch = self.watch.get_or_insert_default().clone();
        let waker = cx.waker().clone();
        let before = watch.0.lock().replace(waker);
        drop(before);
        let waker = Waker::from(watch);
        let OwnedGuard { backend, hold, .. } = self.guard;
        let lost = backend.poll_own(hold, Some(&mut Context::from_waker(&waker)));
        if lost.is_pending() {
            attend(cx.waker());
        }
        lost
    }
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.guard.backend.unwatch(&self.guard.hold, &Waker::from(watch));
        }
    }
}

impl fmt::Debug for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lost").field("guard", self.guard).finish_non_exhaustive()
    }
}
