use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::clock::attend;
use crate::observe::{self, Ending, Since};
use crate::sync::plain::Mutex;
use crate::{Backend, ErrorKind, Hold, LockError, LostCause, Op, Query, Token};

/// Proof that this thread holds a lock; dropping it releases the lock (C4).
///
/// It stays on its thread, as the standard library's guards do; [`into_owned`](Self::into_owned)
/// makes it one that can be sent.
///
/// Where the arbiter is elsewhere a release can fail. [`release`](Self::release) returns that; a drop
/// does not wait for the arbiter, and tells of a failure by an event and a metric, if the features
/// `tracing` and `metrics` are on.
#[must_use = "the lock is released as soon as its guard is dropped: bind it as `let _guard = …`; `let _ = …` binds nothing and releases at once"]
pub struct Guard {
    owned: OwnedGuard,
    on_its_thread: PhantomData<*const ()>,
}

// SAFETY: a shared `Guard` only tells of its hold, as a shared `OwnedGuard` does.
unsafe impl Sync for Guard {}

/// Proof that its owner holds a lock; dropping it releases the lock, wherever that is (C4). A release
/// that fails is told of as [`Guard`] says.
#[must_use = "the lock is released as soon as its guard is dropped: bind it as `let _guard = …`; `let _ = …` binds nothing and releases at once"]
pub struct OwnedGuard {
    /// I1: this and `backend` are taken out once: by whoever has taken the guard itself apart, or by
    /// its `drop`.
    hold: ManuallyDrop<Hold>,
    backend: ManuallyDrop<Backend>,
    granted: Since,
}

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
const _: () = assert!(size_of::<Guard>() <= 32 && size_of::<OwnedGuard>() <= 32);

impl Guard {
    #[inline]
    pub(crate) const fn new(owned: OwnedGuard) -> Self {
        Self { owned, on_its_thread: PhantomData }
    }

    /// The guard of a hold that belongs to this thread.
    #[doc(hidden)]
    pub const fn of_thread(owned: OwnedGuard) -> Self {
        Self::new(owned)
    }

    /// The same guard, piece by piece: whoever gets it does not see where it was before.
    #[doc(hidden)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn moved(self) -> Self {
        let mut this = ManuallyDrop::new(self.owned);
        // SAFETY: I1: `this` is never dropped.
        let (hold, backend) =
            unsafe { (ManuallyDrop::take(&mut this.hold), ManuallyDrop::take(&mut this.backend)) };
        Self::new(OwnedGuard {
            hold: ManuallyDrop::new(hold),
            backend: ManuallyDrop::new(backend),
            granted: this.granted,
        })
    }

    /// The same hold as a guard that can be sent to another thread.
    ///
    /// A hold that belonged to the thread becomes anonymous: nobody re-enters it, and waits of
    /// this thread are no longer taken to block it (C9, C10).
    pub fn into_owned(self) -> OwnedGuard {
        self.owned.disown();
        self.owned
    }

    /// The fencing token of the grant (C7).
    pub fn token(&self) -> Token {
        self.owned.token()
    }

    /// Returns the keys that are held, in ascending order, as the backend names them: with a
    /// namespace, that is in front. Allocates; none once a remote arbiter has forgotten the hold.
    ///
    /// ```
    /// let guard = locks_core::Backend::process().all(["b", "a"]).acquire()?;
    /// assert_eq!(guard.keys(), ["a", "b"]);
    /// # Ok::<(), locks_core::LockError>(())
    /// ```
    pub fn keys(&self) -> Vec<String> {
        self.owned.keys()
    }

    /// Whether the lock has been lost (C8); see [`check`](Self::check).
    pub fn is_lost(&self) -> bool {
        self.owned.is_lost()
    }

    /// Fails if the lock has been lost (C8). It speaks of the instant at which it looked.
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost), with the cause.
    pub fn check(&self) -> Result<(), LockError> {
        self.owned.check()
    }

    /// Waits until the lock is lost; for ever if it never is (C8).
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn lost(&self) -> Lost<'_> {
        self.owned.lost()
    }

    /// Renews the hold's age: `steal_after` of others counts from now (C6).
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost), and whatever keeps the arbiter from answering.
    pub fn refresh(&self) -> Result<(), LockError> {
        self.owned.refresh()
    }

    /// Releases the lock and says how that went (C4).
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost) if it had been lost before, and whatever keeps the arbiter from
    /// confirming.
    pub fn release(self) -> Result<(), LockError> {
        self.owned.release()
    }
}

impl OwnedGuard {
    #[inline]
    pub(crate) fn new(hold: Hold, backend: Backend, asked: Since) -> Self {
        let guard = Self {
            hold: ManuallyDrop::new(hold),
            backend: ManuallyDrop::new(backend),
            granted: Since::now(),
        };
        // A subscriber that panics drops the guard.
        observe::acquired(&guard.hold, asked);
        guard
    }

    /// The fencing token of the grant (C7).
    pub fn token(&self) -> Token {
        self.hold.token()
    }

    /// Returns the keys that are held; see [`Guard::keys`].
    pub fn keys(&self) -> Vec<String> {
        self.backend.keys(&self.hold)
    }

    /// Whether the lock has been lost (C8); see [`check`](Self::check).
    pub fn is_lost(&self) -> bool {
        self.backend.poll_own(&self.hold, None).is_ready()
    }

    /// Fails if the lock has been lost (C8). It speaks of the instant at which it looked.
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost), with the cause.
    pub fn check(&self) -> Result<(), LockError> {
        match self.backend.poll_own(&self.hold, None) {
            Poll::Ready(cause) => Err(self.lost_error(cause)),
            Poll::Pending => Ok(()),
        }
    }

    /// Waits until the lock is lost; for ever if it never is (C8).
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn lost(&self) -> Lost<'_> {
        Lost { guard: self, watch: None }
    }

    /// Renews the hold's age: `steal_after` of others counts from now (C6). Blocks where the
    /// arbiter is elsewhere.
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost), and whatever keeps the arbiter from answering.
    pub fn refresh(&self) -> Result<(), LockError> {
        self.backend.refresh(&self.hold).block()
    }

    /// Like [`refresh`](Self::refresh), without blocking.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    ///
    /// # Cancel safety
    /// The renewal has begun once this was polled; dropping it only means not to hear of it.
    pub async fn refresh_async(&self) -> Result<(), LockError> {
        self.backend.refresh(&self.hold).await
    }

    /// Releases the lock and says how that went (C4). Blocks where the arbiter is elsewhere.
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost) if it had been lost before, and whatever keeps the arbiter from
    /// confirming.
    pub fn release(self) -> Result<(), LockError> {
        self.begin_release().block()
    }

    /// Like [`release`](Self::release), without blocking.
    ///
    /// # Errors
    /// As [`release`](Self::release).
    ///
    /// # Cancel safety
    /// Once polled, the release is under way and ends whether or not it is polled again; before
    /// that, dropping it drops the guard, which releases as well.
    pub async fn release_async(self) -> Result<(), LockError> {
        self.begin_release().await
    }

    /// Releases a plain hold, which takes no more than an exchange and cannot fail.
    ///
    /// # Errors
    /// Itself, if it is not that simple.
    #[doc(hidden)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn try_release(self) -> Result<(), Self> {
        let ending = Ending::of(&self.hold, self.granted);
        if !self.backend.is_engine() || !self.hold.release_in_place() {
            return Err(self);
        }
        let mut this = ManuallyDrop::new(self);
        // SAFETY: I1: `this` is never dropped.
        drop(unsafe { this.take_apart() });
        ending.released();
        Ok(())
    }

    /// The error of a hold that is lost, with who has the key now where that is known here.
    #[cold]
    fn lost_error(&self, cause: LostCause) -> LockError {
        let keys = self.backend.keys(&self.hold);
        let error = LockError::new(ErrorKind::Lost { cause }, keys.join("`, `"))
            .with_token(self.hold.token());
        let [key] = keys.as_slice() else { return error };
        if self.hold.keys().next().is_none() {
            // Whoever has it is known elsewhere.
            return error;
        }
        match self.backend.inspect(Query::Key(key.clone())) {
            Op::Now(Ok(infos)) => {
                error.with_holders(infos.into_iter().flat_map(|info| info.holders).collect())
            }
            Op::Now(Err(_)) | Op::Later(_) => error,
        }
    }

    /// Begins the release, which ends whether or not the operation is polled.
    #[doc(hidden)]
    pub fn begin_release(self) -> Op<'static, ()> {
        let mut this = ManuallyDrop::new(self);
        let ending = Ending::of(&this.hold, this.granted);
        // SAFETY: I1: `this` is never dropped.
        let (hold, backend) = unsafe { this.take_apart() };
        let release = if backend.is_engine() && hold.release_in_place() {
            Op::ready(())
        } else {
            backend.release_own(hold)
        };
        ending.released();
        release
    }

    /// # Safety
    /// I1.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn take_apart(&mut self) -> (Hold, Backend) {
        // SAFETY: by the caller.
        unsafe { (ManuallyDrop::take(&mut self.hold), ManuallyDrop::take(&mut self.backend)) }
    }

    fn disown(&self) {
        self.backend.disown(&self.hold);
    }
}

impl Drop for OwnedGuard {
    // Always inlined, and with everything passed on by value: so the guard of an uncontended lock
    // need not be in memory.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drop(&mut self) {
        let ending = Ending::of(&self.hold, self.granted);
        // SAFETY: I1: nobody looks at it after this.
        let (hold, backend) = unsafe { self.take_apart() };
        if !(backend.is_engine() && hold.release_in_place()) {
            release(hold, backend);
        }
        ending.released();
    }
}

#[inline(never)]
fn release(hold: Hold, backend: Backend) {
    observe::unheard(backend.release_own(hold));
}

/// Resolves when the lock of a guard is lost, to the cause; see [`OwnedGuard::lost`].
#[must_use = "futures do nothing unless polled"]
pub struct Lost<'a> {
    guard: &'a OwnedGuard,
    /// Its own waker, by which the backend knows it from others of the same task.
    watch: Option<Arc<Watch>>,
}

/// Wakes the task that polled last.
#[derive(Default)]
struct Watch(Mutex<Option<Waker>>);

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        let waker = self.0.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
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

impl fmt::Debug for OwnedGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedGuard").field("hold", &*self.hold).field("at", &*self.backend).finish()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("hold", &*self.owned.hold)
            .field("at", &*self.owned.backend)
            .finish()
    }
}
