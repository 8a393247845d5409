use std::fmt;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::{
    BackendInfo, Engine, Granted, Hold, HolderInfo, LockBackend, LockError, LockInfo, LostCause,
    Op, Query, Request, Token,
};

/// A handle to a backend; clones refer to the same one.
///
/// Made by `locks::open` from a URL, or from any [`LockBackend`]. One word wide. The backend of
/// call sites that name none is `locks::default_backend`; [`default`](Self::default) is another
/// one.
///
/// # Examples
/// ```
/// use locks::Backend;
/// use locks::backend::Engine;
///
/// let backend = Backend::new(Engine::new());
/// let guard = backend.named("invoice:42").wait(false).acquire()?;
/// assert!(backend.named("invoice:42").wait(false).acquire().unwrap_err().is_contended());
/// drop(guard);
/// backend.named("invoice:42").wait(false).acquire()?;
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone)]
pub struct Backend(Option<Arc<Arbiter>>);

impl Default for Backend {
    /// Returns the engine of this process, as [`process`](Self::process) does: it excludes the
    /// threads and tasks of this process alone, whatever `LOCKS_URL` and `locks::install` say.
    fn default() -> Self {
        Self(None)
    }
}

enum Arbiter {
    /// Apart from the others, so that no virtual call lies on the engine's paths.
    Engine(Engine),
    Other(Box<dyn LockBackend>),
}

/// The backend behind a handle, with the engine told apart.
pub(crate) enum Behind<'a> {
    Engine(&'a Engine),
    Other(&'a dyn LockBackend),
}

/// A handle that does not keep its backend.
#[doc(hidden)]
#[derive(Clone)]
pub struct WeakBackend(Weak<Arbiter>);

impl WeakBackend {
    /// Returns `true` if there is no handle to the backend any more. Makes none meanwhile, which
    /// could be the last.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Returns a handle to the backend, if there still is one.
    pub fn upgrade(&self) -> Option<Backend> {
        self.0.upgrade().map(|arbiter| Backend(Some(arbiter)))
    }
}

impl fmt::Debug for WeakBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakBackend")
    }
}

impl Backend {
    /// Creates a handle to `backend`: an [`Engine`], or any [`LockBackend`].
    pub fn new(backend: impl Into<Self>) -> Self {
        backend.into()
    }

    /// Returns a handle to the engine of this process.
    pub const fn process() -> Self {
        Self(None)
    }

    /// Returns every key of this backend that is held, waited for or reserved.
    ///
    /// Blocks until a remote backend has answered
    /// ([C12](crate::contract#c12-holder-information)).
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the backend cannot list,
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if it does not answer.
    ///
    /// # Examples
    /// ```
    /// let backend = locks::open("memory:")?;
    /// let _guard = backend.named("report").acquire()?;
    /// for lock in backend.list()? {
    ///     println!("{lock}");
    /// }
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn list(&self) -> Result<Vec<LockInfo>, LockError> {
        self.inspect(Query::All).block()
    }

    /// Returns every key that is held, waited for or reserved, without blocking; see
    /// [`list`](Self::list).
    ///
    /// # Errors
    /// As [`list`](Self::list).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn list_async(&self) -> Result<Vec<LockInfo>, LockError> {
        self.inspect(Query::All).await
    }

    /// Returns a handle that does not keep the backend; `None` for the engine of this process,
    /// which stays.
    #[doc(hidden)]
    pub fn downgrade(&self) -> Option<WeakBackend> {
        self.0.as_ref().map(|arbiter| WeakBackend(Arc::downgrade(arbiter)))
    }

    /// Returns `true` for the in-process engine of this process, where keys can be pinned.
    #[doc(hidden)]
    pub const fn is_process(&self) -> bool {
        self.0.is_none()
    }

    /// Whether an engine arbitrates here: a backend in front of one hears of every release, also of
    /// those that its engine could do without being asked.
    #[inline]
    pub(crate) fn is_engine(&self) -> bool {
        !matches!(self.0.as_deref(), Some(Arbiter::Other(_)))
    }

    /// [Releases](LockBackend::release) a guard's hold, which was granted here.
    #[inline]
    pub(crate) fn release_own(&self, hold: Hold) -> Op<'static, ()> {
        match self.behind() {
            Behind::Engine(engine) => engine.release_own(hold),
            Behind::Other(other) => other.release(hold),
        }
    }

    /// [`poll_lost`](LockBackend::poll_lost) for a guard's hold, which was granted here.
    pub(crate) fn poll_own(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        match self.behind() {
            Behind::Engine(engine) => engine.poll_own(hold, cx),
            Behind::Other(other) => other.poll_lost(hold, cx),
        }
    }

    #[inline]
    pub(crate) fn behind(&self) -> Behind<'_> {
        match self.0.as_deref() {
            None => Behind::Engine(Engine::process()),
            Some(Arbiter::Engine(engine)) => Behind::Engine(engine),
            Some(Arbiter::Other(other)) => Behind::Other(&**other),
        }
    }
}

impl From<Engine> for Backend {
    fn from(engine: Engine) -> Self {
        Self(Some(Arc::new(Arbiter::Engine(engine))))
    }
}

impl<B: LockBackend> From<B> for Backend {
    fn from(backend: B) -> Self {
        Self(Some(Arc::new(Arbiter::Other(Box::new(backend)))))
    }
}

/// Clones the handle.
impl From<&Self> for Backend {
    fn from(backend: &Self) -> Self {
        backend.clone()
    }
}

/// The operations of a [`LockBackend`], for backends that wrap another.
impl Backend {
    /// Returns the name and the capabilities of the backend.
    pub fn about(&self) -> &BackendInfo {
        match self.behind() {
            Behind::Engine(engine) => engine.about(),
            Behind::Other(other) => other.about(),
        }
    }

    /// Grants the request's keys, all or none; see [`LockBackend::acquire`].
    ///
    /// # Errors
    /// As [`LockBackend::acquire`].
    ///
    /// # Cancel safety
    /// Dropping the operation withdraws the request ([C5](crate::contract#c5-cancellation)).
    pub fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        match self.behind() {
            Behind::Engine(engine) => engine.acquire(request),
            Behind::Other(other) => other.acquire(request),
        }
    }

    /// Ends the hold; see [`LockBackend::release`].
    ///
    /// # Errors
    /// `Lost` if the hold was lost before; then nothing is touched.
    ///
    /// # Cancel safety
    /// Dropping the operation discards its outcome; the hold ends all the same.
    pub fn release(&self, hold: Hold) -> Op<'static, ()> {
        match self.behind() {
            Behind::Engine(engine) => engine.release(hold),
            Behind::Other(other) => other.release(hold),
        }
    }

    /// Returns the cause if the hold is lost; see [`LockBackend::poll_lost`].
    pub fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        match self.behind() {
            Behind::Engine(engine) => engine.poll_lost(hold, cx),
            Behind::Other(other) => other.poll_lost(hold, cx),
        }
    }

    /// Removes a waker that [`poll_lost`](Self::poll_lost) registered.
    pub fn unwatch(&self, hold: &Hold, waker: &Waker) {
        match self.behind() {
            Behind::Engine(engine) => engine.unwatch(hold, waker),
            Behind::Other(other) => other.unwatch(hold, waker),
        }
    }

    /// Returns the lease of the hold, and the time from now for which it is certain to last; see
    /// [`LockBackend::validity`].
    pub fn validity(&self, hold: &Hold) -> Option<(Duration, Duration)> {
        match self.behind() {
            Behind::Engine(engine) => engine.validity(hold),
            Behind::Other(other) => other.validity(hold),
        }
    }

    /// Resets the age of the hold to zero; see [`LockBackend::refresh`].
    ///
    /// # Errors
    /// `Lost` if the hold is lost, `Unavailable` or another kind if the backend cannot answer.
    pub fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        match self.behind() {
            Behind::Engine(engine) => engine.refresh(hold),
            Behind::Other(other) => other.refresh(hold),
        }
    }

    /// Detaches the hold from its owner; see [`LockBackend::detach_owner`].
    pub fn detach_owner(&self, hold: &Hold) {
        match self.behind() {
            Behind::Engine(engine) => engine.detach_owner(hold),
            Behind::Other(other) => other.detach_owner(hold),
        }
    }

    /// Marks the work under the hold as done; see [`LockBackend::mark_done`].
    pub fn mark_done(&self, hold: &Hold) {
        match self.behind() {
            Behind::Engine(engine) => engine.mark_done(hold),
            Behind::Other(other) => other.mark_done(hold),
        }
    }

    /// Returns the holds from which the hold was stolen; see [`LockBackend::stolen_from`].
    pub fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo> {
        match self.behind() {
            Behind::Engine(engine) => engine.stolen_from(hold),
            Behind::Other(other) => other.stolen_from(hold),
        }
    }

    /// Downgrades an exclusive hold to a shared one; see [`LockBackend::share`].
    ///
    /// # Errors
    /// Those of [`LockBackend::share`].
    pub fn share(&self, hold: &Hold) -> Op<'static, ()> {
        match self.behind() {
            Behind::Engine(engine) => engine.share(hold),
            Behind::Other(other) => other.share(hold),
        }
    }

    /// Returns the keys of a hold that was not released.
    pub fn keys(&self, hold: &Hold) -> Vec<String> {
        match self.behind() {
            Behind::Engine(engine) => engine.keys(hold),
            Behind::Other(other) => other.keys(hold),
        }
    }

    /// Returns the holders and waiters of the keys of `query`; see [`LockBackend::inspect`].
    ///
    /// # Errors
    /// `Unsupported` if the backend cannot do that, `Unavailable` or another kind if it does not
    /// answer.
    pub fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        match self.behind() {
            Behind::Engine(engine) => engine.inspect(query),
            Behind::Other(other) => other.inspect(query),
        }
    }

    /// Revokes the hold or the reservation of `key` with this token; see [`LockBackend::evict`].
    ///
    /// # Errors
    /// `Unsupported` if the backend cannot do that, `Unavailable` or another kind if it does not
    /// answer.
    pub fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        match self.behind() {
            Behind::Engine(engine) => engine.evict(key, token),
            Behind::Other(other) => other.evict(key, token),
        }
    }

    /// Returns a description of the server behind the backend; see [`LockBackend::served_by`].
    pub fn served_by(&self) -> Option<String> {
        match self.behind() {
            Behind::Engine(engine) => engine.served_by(),
            Behind::Other(other) => other.served_by(),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.about().name)
    }
}
