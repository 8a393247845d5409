//! What begins at a backend.

use std::borrow::Cow;
use std::future::Future;

use super::LockBuilder;
use crate::{Backend, CallSite, Guard, LockError, OwnedGuard};

impl Backend {
    /// Creates a builder for the lock `key` at this backend.
    ///
    /// # Examples
    /// ```
    /// let backend = locks::open("memory:?namespace=billing")?;
    /// let guard = backend.named("invoice:42").acquire()?;
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn named<'k>(&self, key: impl Into<Cow<'k, str>>) -> LockBuilder<'k> {
        LockBuilder::named(key).on(self)
    }

    /// Creates a builder for all of `keys` at this backend, granted all or none
    /// ([C11](crate::contract#c11-several-keys)).
    pub fn all<K: Into<String>>(&self, keys: impl IntoIterator<Item = K>) -> LockBuilder<'static> {
        LockBuilder::all(keys).on(self)
    }

    /// Returns another guard of the hold that this thread, or the innermost scope around, has of
    /// `key` ([C9](crate::contract#c9-re-entry)); `None` if it has none. With it, a function called
    /// by one with `#[lock]` can check and refresh the hold around it without being passed the
    /// guard. The lock stays held until the last of its guards goes.
    ///
    /// ```
    /// use locks::Backend;
    ///
    /// fn step(backend: &Backend) -> Result<(), locks::LockError> {
    ///     let guard = backend.current_guard("import")?.expect("it is called under the lock");
    ///     guard.check()?;
    ///     guard.refresh()
    /// }
    /// let backend = Backend::process();
    /// let guard = backend.named("import").acquire()?;
    /// step(&backend)?;
    /// drop(guard);
    /// assert!(backend.current_guard("import")?.is_none());
    /// # Ok::<(), locks::LockError>(())
    /// ```
    ///
    /// Holds that async code has acquired through a builder have no owner and are not found. Nor is
    /// a hold at a server that was lost with its whole session, so `None` is no permission to go
    /// on.
    ///
    /// # Errors
    /// [`Lost`](crate::ErrorKind::Lost) if the hold around was lost; `InvalidKey`; `Unavailable` or
    /// another kind if the backend cannot answer.
    #[track_caller]
    pub fn current_guard(&self, key: &str) -> Result<Option<Guard>, LockError> {
        self.named(key).current_guard_at(CallSite::caller())
    }

    /// Returns what [`current_guard`](Self::current_guard) returns, without blocking, of the
    /// innermost [scope](crate::scope) around: an annotated function, or `locks::scope`.
    ///
    /// # Errors
    /// As [`current_guard`](Self::current_guard).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    #[track_caller]
    pub fn current_guard_async(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<OwnedGuard>, LockError>> + Send + 'static {
        self.named(key.to_owned()).current_guard_async_at(CallSite::caller())
    }
}
