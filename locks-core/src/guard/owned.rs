use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::task::Poll;

use crate::observe::{self, Ending, Since};
use crate::{
    Backend, ErrorKind, Exclusion, Hold, HolderInfo, LockError, LostCause, Op, Query, Token,
};

/// An RAII guard of a lock that can be sent to another thread; dropping it releases the lock.
///
/// Returned by [`LockBuilder::acquire_async`](crate::LockBuilder::acquire_async) and
/// [`Guard::into_owned`](crate::Guard::into_owned). It can be dropped on any thread, with or
/// without an async runtime; see [`Guard`](crate::Guard) for what becomes of a release that fails.
///
/// # Examples
/// ```
/// let guard = locks::named("invoice:42").acquire()?.into_owned();
/// std::thread::spawn(move || {
///     // … the rest of the work …
///     drop(guard);
/// });
/// # Ok::<(), locks::LockError>(())
/// ```
#[must_use = "the lock is released as soon as its guard is dropped: bind it as `let _guard = …`; `let _ = …` binds nothing and releases at once"]
pub struct OwnedGuard {
    /// I1: this, `backend` and `granted` are taken out once: by the function that takes the guard
    /// apart, or by its `drop`.
    pub(super) hold: ManuallyDrop<Hold>,
    pub(super) backend: ManuallyDrop<Backend>,
    pub(super) granted: ManuallyDrop<Since>,
}

impl OwnedGuard {
    #[inline]
    pub(crate) fn new(hold: Hold, backend: Backend, asked: &Since) -> Self {
        let guard = Self {
            hold: ManuallyDrop::new(hold),
            backend: ManuallyDrop::new(backend),
            granted: ManuallyDrop::new(asked.again()),
        };
        // A subscriber that panics drops the guard.
        observe::acquired(&guard.hold, asked);
        guard
    }

    /// Returns the fencing token of the grant; see [`Guard::token`](crate::Guard::token).
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("owned:token").acquire()?.into_owned();
    /// let first = guard.token();
    /// drop(guard);
    /// assert!(locks::named("owned:token").acquire()?.token() > first);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn token(&self) -> Token {
        self.hold.token()
    }

    /// Returns the keys that the guard holds, in ascending order; see
    /// [`Guard::keys`](crate::Guard::keys).
    ///
    /// # Examples
    /// ```
    /// let guard = locks::all(["owned:b", "owned:a"]).acquire()?.into_owned();
    /// assert_eq!(guard.keys(), ["owned:a", "owned:b"]);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn keys(&self) -> Vec<String> {
        self.backend.keys(&self.hold)
    }

    /// Returns `true` if the lock has been lost; see [`Guard::is_lost`](crate::Guard::is_lost).
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("owned:is_lost").acquire()?.into_owned();
    /// assert!(!guard.is_lost());
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn is_lost(&self) -> bool {
        self.backend.poll_own(&self.hold, None).is_ready()
    }

    /// Returns an error if the lock has been lost; see [`Guard::check`](crate::Guard::check).
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost), with the cause.
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("owned:check").acquire()?.into_owned();
    /// std::thread::spawn(move || guard.check()).join().unwrap()?;
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn check(&self) -> Result<(), LockError> {
        match self.backend.poll_own(&self.hold, None) {
            Poll::Ready(cause) => Err(self.lost_error(cause)),
            Poll::Pending => Ok(()),
        }
    }

    /// Resets the age of the hold to zero; see [`Guard::refresh`](crate::Guard::refresh). Blocks
    /// until a remote backend has answered.
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost) if the lock has been lost, [`Unavailable`](ErrorKind::Unavailable)
    /// if the backend does not answer.
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("owned:refresh").acquire()?.into_owned();
    /// for _chunk in 0..3 {
    ///     guard.refresh()?;
    /// }
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn refresh(&self) -> Result<(), LockError> {
        self.backend.refresh(&self.hold).block()
    }

    /// Resets the age of the hold to zero, without blocking; see
    /// [`Guard::refresh`](crate::Guard::refresh).
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    ///
    /// # Cancel safety
    /// Once polled, the request is on its way; dropping the future discards the answer only.
    ///
    /// # Examples
    /// ```
    /// # async fn run() -> Result<(), locks::LockError> {
    /// let guard = locks::named("import").acquire_async().await?;
    /// guard.refresh_async().await?;
    /// # Ok(()) }
    /// ```
    pub async fn refresh_async(&self) -> Result<(), LockError> {
        self.backend.refresh(&self.hold).await
    }

    /// Returns the holds from which this lock was stolen; see
    /// [`Guard::stolen_from`](crate::Guard::stolen_from).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let victim = locks::named("owned:stolen_from").label("nightly").acquire()?.into_owned();
    /// let thief = locks::named("owned:stolen_from").steal_after(Duration::ZERO);
    /// # std::thread::scope(|scope| scope.spawn(move || {
    /// let guard = thief.acquire()?.into_owned();
    /// assert_eq!(guard.stolen_from()[0].label.as_deref(), Some("nightly"));
    /// # Ok::<(), locks::LockError>(())
    /// # }).join().unwrap())?;
    /// assert!(victim.is_lost());
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn stolen_from(&self) -> Vec<HolderInfo> {
        self.backend.stolen_from(&self.hold)
    }

    /// Downgrades the lock to a shared one; see [`Guard::downgrade`](crate::Guard::downgrade).
    /// Blocks until a remote backend has answered.
    ///
    /// # Errors
    /// As [`Guard::downgrade`](crate::Guard::downgrade).
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("owned:downgrade").acquire()?.into_owned();
    /// guard.downgrade()?;
    /// assert!(locks::named("owned:downgrade").shared().wait(false).acquire().is_ok());
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn downgrade(&self) -> Result<(), LockError> {
        self.backend.share(&self.hold).block()
    }

    /// Downgrades the lock to a shared one, without blocking; see [`downgrade`](Self::downgrade).
    ///
    /// # Errors
    /// As [`Guard::downgrade`](crate::Guard::downgrade).
    ///
    /// # Cancel safety
    /// Once polled, the request is on its way; dropping the future discards the answer only.
    ///
    /// # Examples
    /// ```
    /// # async fn run() -> Result<(), locks::LockError> {
    /// let guard = locks::named("owned:downgrade_async").acquire_async().await?;
    /// guard.downgrade_async().await?;
    /// assert!(locks::named("owned:downgrade_async").shared().wait(false).acquire().is_ok());
    /// # Ok(()) }
    /// ```
    pub async fn downgrade_async(&self) -> Result<(), LockError> {
        self.backend.share(&self.hold).await
    }

    /// Marks the work under the lock as done; see [`Guard::mark_done`](crate::Guard::mark_done).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let once = locks::named("owned:mark_done").once_per(Duration::from_secs(3600)).wait(false);
    /// let guard = once.clone().acquire()?.into_owned();
    /// guard.mark_done();
    /// guard.release()?;
    /// assert!(once.acquire().is_err(), "it was done within the hour");
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn mark_done(&self) {
        self.backend.mark_done(&self.hold);
    }

    /// Releases the lock and returns any error; see [`Guard::release`](crate::Guard::release).
    /// Blocks until a remote backend has confirmed the release.
    ///
    /// # Errors
    /// As [`Guard::release`](crate::Guard::release).
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("owned:release").acquire()?.into_owned();
    /// guard.release()?;
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn release(self) -> Result<(), LockError> {
        self.begin_release().block()
    }

    /// Releases the lock and returns any error, without blocking.
    ///
    /// # Errors
    /// As [`Guard::release`](crate::Guard::release).
    ///
    /// # Cancel safety
    /// The lock is released whether or not the future is polled to its end: dropping it before the
    /// first poll drops the guard, dropping it later discards the answer only.
    ///
    /// # Examples
    /// ```
    /// # async fn run() -> Result<(), locks::LockError> {
    /// let guard = locks::named("invoice:42").acquire_async().await?;
    /// // … the work …
    /// guard.release_async().await?;
    /// # Ok(()) }
    /// ```
    pub async fn release_async(self) -> Result<(), LockError> {
        self.begin_release().await
    }

    /// Returns `true` if dropping the guard is all there is to a release: nobody has to be waited
    /// for, and nothing is to be reported that dropping does not.
    #[doc(hidden)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn is_plain(&self) -> bool {
        self.backend.is_engine() && self.hold.is_plain()
    }

    /// Whether nothing but this process's memory is asked about the hold.
    #[doc(hidden)]
    pub fn is_of_memory(&self) -> bool {
        self.backend.about().capabilities.exclusion == Exclusion::Process
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
        // SAFETY: I1: `this` is never dropped.
        let (hold, backend, granted) = unsafe { this.take_apart() };
        let ending = Ending::of(&hold, granted);
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
    pub(super) unsafe fn take_apart(&mut self) -> (Hold, Backend, Since) {
        // SAFETY: by the caller.
        unsafe {
            (
                ManuallyDrop::take(&mut self.hold),
                ManuallyDrop::take(&mut self.backend),
                ManuallyDrop::take(&mut self.granted),
            )
        }
    }

    pub(super) fn detach_owner(&self) {
        self.backend.detach_owner(&self.hold);
    }
}

impl Drop for OwnedGuard {
    // Always inlined, and with everything passed on by value: so the guard of an uncontended lock
    // need not be in memory.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drop(&mut self) {
        // SAFETY: I1: nobody looks at it after this.
        let (hold, backend, granted) = unsafe { self.take_apart() };
        let ending = Ending::of(&hold, granted);
        if backend.is_process() {
            // Its handle has nothing to give back. So this is short enough that the compiler
            // inlines the guard's end too.
            mem::forget(backend);
            if !hold.release_in_place() {
                release(hold, Backend::process());
            }
        } else {
            release(hold, backend);
        }
        ending.released();
    }
}

#[inline(never)]
fn release(hold: Hold, backend: Backend) {
    observe::report_unobserved(backend.release_own(hold));
}

impl fmt::Debug for OwnedGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedGuard").field("hold", &*self.hold).field("at", &*self.backend).finish()
    }
}
