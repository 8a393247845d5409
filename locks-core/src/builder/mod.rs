//! The builder of a lock: its keys, its options, its backend.

mod acquire;
mod at_backend;
mod cancel;
mod options;
mod started;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use self::acquire::Acquire;
pub use self::cancel::CancelToken;
#[doc(hidden)]
pub use self::started::StartedAcquire;
use crate::{Backend, KeySet, Keys, Kind, LockError, Options, PinnedKey, SharedOwner};

/// A builder for one acquisition: the keys, the options and the backend.
///
/// Made by `locks::named`, `locks::all` and the methods of the same names of [`Backend`]. Nothing
/// happens before [`acquire`](Self::acquire) or [`acquire_async`](Self::acquire_async). A builder
/// can be cloned, to acquire the same lock again.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let guard = locks::named("invoice:42")
///     .wait(Duration::from_secs(2))
///     .steal_after(Duration::from_secs(60))
///     .acquire()?;
/// println!("fencing token {}", guard.token());
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder acquires nothing until `acquire` or `acquire_async`"]
pub struct LockBuilder<'k> {
    keys: KeyInput<'k>,
    options: Options,
    choice: Choice,
    /// What hardly any request asks for.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Debug, Default)]
struct Rare {
    label: Option<Arc<str>>,
    shared_owner: Option<SharedOwner>,
    cancel: Option<CancelToken>,
}

#[derive(Clone, Debug)]
enum KeyInput<'k> {
    One(Cow<'k, str>),
    /// Of the in-process engine of this process.
    Pinned(PinnedKey),
    Several(KeySet),
}

#[derive(Clone)]
enum Choice {
    Given(Backend),
    /// Asked at the acquisition, with the kind of lock.
    Asked(fn(Kind) -> Result<Backend, LockError>),
}

impl<'k> LockBuilder<'k> {
    /// Creates a builder for the lock `key` at the engine of this process.
    ///
    /// `locks::named` does so for the default backend.
    #[inline]
    pub fn named(key: impl Into<Cow<'k, str>>) -> Self {
        Self {
            keys: KeyInput::One(key.into()),
            options: Options::default(),
            choice: Choice::Given(Backend::process()),
            rare: None,
        }
    }

    /// Returns a builder for a key that its call site has looked up.
    #[doc(hidden)]
    pub fn pinned(key: PinnedKey) -> Self {
        Self {
            keys: KeyInput::Pinned(key),
            options: Options::default(),
            choice: Choice::Given(Backend::process()),
            rare: None,
        }
    }

    /// Creates a builder for all of `keys`, granted all or none, at the engine of this process.
    ///
    /// `locks::all` does so for the default backend. The order of the keys does not matter, and a
    /// key that is given twice counts once ([C11](crate::contract#c11-several-keys)).
    pub fn all<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self {
            keys: KeyInput::Several(KeySet::new(keys)),
            options: Options::default(),
            choice: Choice::Given(Backend::process()),
            rare: None,
        }
    }

    /// Acquires the lock from `backend` instead of the default one.
    ///
    /// Takes a [`Backend`], a reference to one, an [`Engine`](crate::Engine), or any
    /// [`LockBackend`](crate::LockBackend).
    ///
    /// # Examples
    /// ```
    /// let backend = locks::open("memory:")?;
    /// let guard = locks::named("report").on(&backend).acquire()?;
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn on(mut self, backend: impl Into<Backend>) -> Self {
        self.choice = Choice::Given(backend.into());
        self
    }

    /// Acquires the lock from the backend that `choose` names at that moment.
    #[doc(hidden)]
    #[inline]
    pub fn on_choice(mut self, choose: fn(Kind) -> Result<Backend, LockError>) -> Self {
        self.choice = Choice::Asked(choose);
        self
    }

    /// Sets whether the lock is for correctness or only saves work, and so which backend serves it.
    ///
    /// [`Kind::Weak`] asks the backend that was installed for weak locks, if there is one. It has
    /// no effect after [`on`](Self::on).
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("warm_cache").kind(locks::Kind::Weak).acquire()?;
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.options.kind = kind;
        self
    }
}

impl KeyInput<'_> {
    /// For people.
    fn text(&self) -> String {
        self.lend().iter().collect::<Vec<_>>().join("`, `")
    }

    fn lend(&self) -> Keys<'_> {
        match self {
            KeyInput::One(key) => Keys::one(key),
            KeyInput::Pinned(key) => Keys::one(key.key()),
            KeyInput::Several(set) => Keys::all(set),
        }
    }

    fn into_owned(self) -> KeyInput<'static> {
        match self {
            KeyInput::One(key) => KeyInput::One(Cow::Owned(key.into_owned())),
            KeyInput::Pinned(key) => KeyInput::Pinned(key),
            KeyInput::Several(set) => KeyInput::Several(set),
        }
    }
}

impl Choice {
    #[inline]
    fn resolve(self, kind: Kind) -> Result<Backend, LockError> {
        match self {
            Choice::Given(backend) => Ok(backend),
            Choice::Asked(choose) => choose(kind),
        }
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Given(backend) => backend.fmt(f),
            Choice::Asked(_) => f.write_str("default"),
        }
    }
}
