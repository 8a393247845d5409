//! Guards: of this thread, of any thread, and the future that tells of their loss.

mod lost;
mod owned;

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

pub use self::lost::Lost;
pub use self::owned::OwnedGuard;
use crate::{HolderInfo, LockError, Token};

/// An RAII guard of a lock that this thread holds; dropping it releases the lock.
///
/// Returned by [`LockBuilder::acquire`](crate::LockBuilder::acquire). Like the guards of the
/// standard library it is not `Send`; [`into_owned`](Self::into_owned) turns it into one that is.
///
/// Dropping the guard never blocks and never panics ([C4](crate::contract#c4-release)). At a remote
/// backend the release can fail after the drop: that is recorded as an event and a metric (features
/// `tracing` and `metrics`). Use [`release`](Self::release) to get the error instead.
///
/// # Examples
/// ```
/// let guard = locks::named("invoice:42").acquire()?;
/// // … the work …
/// drop(guard); // the next waiter is granted the lock
/// # Ok::<(), locks::LockError>(())
/// ```
#[must_use = "the lock is released as soon as its guard is dropped: bind it as `let _guard = …`; `let _ = …` binds nothing and releases at once"]
pub struct Guard {
    owned: OwnedGuard,
    on_its_thread: PhantomData<*const ()>,
}

// SAFETY: a shared `Guard` only tells of its hold, as a shared `OwnedGuard` does.
unsafe impl Sync for Guard {}

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
const _: () = assert!(size_of::<Guard>() <= 32 && size_of::<OwnedGuard>() <= 32);

impl Guard {
    #[inline]
    pub(crate) const fn new(owned: OwnedGuard) -> Self {
        Self { owned, on_its_thread: PhantomData }
    }

    /// Returns the guard of a hold that belongs to this thread.
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
        let (hold, backend, granted) = unsafe { this.take_apart() };
        Self::new(OwnedGuard {
            hold: ManuallyDrop::new(hold),
            backend: ManuallyDrop::new(backend),
            granted: ManuallyDrop::new(granted),
        })
    }

    /// Converts the guard into one that can be sent to another thread.
    ///
    /// The hold no longer belongs to this thread: it cannot be re-entered
    /// ([C9](crate::contract#c9-re-entry)), and deadlock detection no longer counts it as blocked
    /// when this thread waits ([C10](crate::contract#c10-deadlocks)).
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("upload").acquire()?.into_owned();
    /// std::thread::spawn(move || drop(guard)).join().unwrap();
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn into_owned(self) -> OwnedGuard {
        self.owned.detach_owner();
        self.owned
    }

    /// Returns the fencing token of the grant: a number that grows with each grant of the key.
    ///
    /// Send it along with writes to a store that refuses a smaller token than the greatest it has
    /// seen. It stays the same for as long as the guard lives
    /// ([C7](crate::contract#c7-fencing-tokens)).
    ///
    /// # Examples
    /// ```
    /// let first = locks::named("ledger").acquire()?.token();
    /// let second = locks::named("ledger").acquire()?.token();
    /// assert!(first < second);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn token(&self) -> Token {
        self.owned.token()
    }

    /// Returns the keys that the guard holds, in ascending order.
    ///
    /// A namespace of the backend is part of each key. The list is empty once a remote backend has
    /// forgotten the hold. Allocates.
    ///
    /// # Examples
    /// ```
    /// let guard = locks::all(["b", "a"]).acquire()?;
    /// assert_eq!(guard.keys(), ["a", "b"]);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn keys(&self) -> Vec<String> {
        self.owned.keys()
    }

    /// Returns `true` if the lock has been lost: stolen, evicted, expired, or left behind by a
    /// fork.
    ///
    /// The answer is true of the instant of the call and never blocks
    /// ([C8](crate::contract#c8-loss)). [`check`](Self::check) also gives the cause.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let slow = locks::named("report").acquire()?;
    /// let thief = locks::named("report").wait(false).steal_after(Duration::ZERO);
    /// let _stolen = std::thread::spawn(|| thief.acquire().map(|guard| guard.into_owned())).join().unwrap()?;
    /// assert!(slow.is_lost());
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn is_lost(&self) -> bool {
        self.owned.is_lost()
    }

    /// Returns an error if the lock has been lost.
    ///
    /// Call it before an effect that must not happen twice. `Ok` is true of the instant of the
    /// call: the lock can be lost right after it, so pass [`token`](Self::token) along with writes
    /// to a store that can compare tokens ([C8](crate::contract#c8-loss)). Never blocks.
    ///
    /// # Errors
    /// [`Lost`](crate::ErrorKind::Lost), with the cause and, where this process knows them, the
    /// present holders.
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("payout").acquire()?;
    /// for transfer in 0..3 {
    ///     guard.check()?;
    ///     // … pay out this transfer …
    ///     # let _ = transfer;
    /// }
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn check(&self) -> Result<(), LockError> {
        self.owned.check()
    }

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
    /// let guard = locks::named("leader").acquire()?;
    /// // With `tokio::select!` or alike: stop the work as soon as the lock is lost.
    /// select(work(), guard.lost()).await;
    /// # Ok(()) }
    /// ```
    pub fn lost(&self) -> Lost<'_> {
        self.owned.lost()
    }

    /// Resets the age of the hold to zero, so that `steal_after` of others counts from now.
    ///
    /// Call it from the loop that does the work, so that a stuck holder is still stolen from
    /// ([C6](crate::contract#c6-stealing)). A lease needs no refresh: it is renewed in the
    /// background. Blocks until a remote backend has answered.
    ///
    /// # Errors
    /// [`Lost`](crate::ErrorKind::Lost) if the lock has been lost,
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the backend does not answer.
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("import").acquire()?;
    /// for batch in 0..3 {
    ///     guard.refresh()?;
    ///     // … import one batch …
    ///     # let _ = batch;
    /// }
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn refresh(&self) -> Result<(), LockError> {
        self.owned.refresh()
    }

    /// Returns the holds from which this lock was stolen, with holder, age and call site as they
    /// were then ([C6](crate::contract#c6-stealing)); empty if it was granted otherwise. With it a
    /// thief can clean up after its victim. A custom `LeaseStore` may not know them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use locks::Backend;
    ///
    /// let backend = Backend::process();
    /// let stuck = backend.named("import").label("batch 7").acquire()?;
    /// std::thread::sleep(Duration::from_millis(2));
    /// let guard = backend.named("import").steal_after(Duration::from_millis(1)).acquire()?;
    /// assert_eq!(guard.stolen_from()[0].label.as_deref(), Some("batch 7"));
    /// assert!(stuck.is_lost());
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn stolen_from(&self) -> Vec<HolderInfo> {
        self.owned.stolen_from()
    }

    /// Downgrades the lock to a shared one without releasing the key in between: shared waiters are
    /// granted, and no exclusive holder can have changed what was written before. Token and age are
    /// unchanged. Of nested guards the strongest one counts.
    ///
    /// ```
    /// use locks::Backend;
    ///
    /// let backend = Backend::process();
    /// let guard = backend.named("cache").acquire()?;
    /// // … writes …
    /// guard.downgrade()?;
    /// let reader = backend.named("cache").shared().wait(false).acquire()?;
    /// # Ok::<(), locks::LockError>(())
    /// ```
    ///
    /// # Errors
    /// [`Lost`](crate::ErrorKind::Lost); [`Unsupported`](crate::ErrorKind::Unsupported) for
    /// permits, and at lock files and stores with leases (`memory:`, `net:` and lock servers
    /// support it); `Unavailable` or another kind if the backend cannot answer.
    pub fn downgrade(&self) -> Result<(), LockError> {
        self.owned.downgrade()
    }

    /// Marks the work under the lock as done: with [`once_per`](crate::LockBuilder::once_per) the
    /// key stays reserved for the rest of the period once the guard is released or dropped. The
    /// macros do this for `Ok`, `Some`, and any other value that a function returns without a
    /// panic.
    ///
    /// The mark is sent with the release. At a remote backend it can be lost if the process ends
    /// right after dropping the guard; [`release`](Self::release) waits until the backend has
    /// confirmed it, as the macros do.
    ///
    /// The mark of a nested guard counts if it is the outermost one when it is released. Without
    /// `once_per` it changes nothing.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let once = locks::named("guard:mark_done").once_per(Duration::from_secs(3600)).wait(false);
    /// let guard = once.clone().acquire()?;
    /// guard.mark_done();
    /// guard.release()?;
    /// assert!(once.acquire().is_err(), "it was done within the hour");
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn mark_done(&self) {
        self.owned.mark_done();
    }

    /// Releases the lock and returns any error, which dropping the guard can only log.
    ///
    /// Blocks until a remote backend has confirmed the release.
    ///
    /// # Errors
    /// [`Lost`](crate::ErrorKind::Lost) if the lock had been lost before: then another holder may
    /// have run meanwhile. [`Unavailable`](crate::ErrorKind::Unavailable) if the backend does not
    /// confirm.
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("invoice:42").acquire()?;
    /// // … the work …
    /// guard.release()?;
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn release(self) -> Result<(), LockError> {
        self.owned.release()
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
