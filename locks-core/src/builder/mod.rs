//! What a caller says of the lock that it wants.

mod acquire;
mod begun;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

pub use self::acquire::Acquire;
#[doc(hidden)]
pub use self::begun::Begun;
use crate::{Backend, KeySet, Keys, Kind, LockError, Mode, Options, OwnerId, PinnedKey, Wait};

/// A lock to be acquired: its key or keys, and how (see [`Options`]).
///
/// ```
/// use std::time::Duration;
/// use locks_core::Backend;
///
/// let guard = Backend::process()
///     .named("invoice:42")
///     .wait(Duration::from_secs(2))
///     .steal_after(Duration::from_secs(60))
///     .acquire()?;
/// println!("fencing token {}", guard.token());
/// # Ok::<(), locks_core::LockError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder acquires nothing until `acquire` or `acquire_async`"]
pub struct LockBuilder<'k> {
    keys: KeyInput<'k>,
    options: Options,
    choice: Choice,
}

#[derive(Clone, Debug)]
enum KeyInput<'k> {
    One(Cow<'k, str>),
    /// Of the in-process engine of this process.
    Kept(PinnedKey),
    Several(KeySet),
}

#[derive(Clone)]
enum Choice {
    Given(Backend),
    /// Asked at the acquisition, with the kind of lock.
    Asked(fn(Kind) -> Result<Backend, LockError>),
}

impl<'k> LockBuilder<'k> {
    /// A lock on `key`, at the in-process engine unless [`on`](Self::on) says otherwise.
    #[inline]
    pub fn named(key: impl Into<Cow<'k, str>>) -> Self {
        Self {
            keys: KeyInput::One(key.into()),
            options: Options::default(),
            choice: Choice::Given(Backend::process()),
        }
    }

    /// A lock on a key that its call site has looked up.
    #[doc(hidden)]
    pub fn kept(key: PinnedKey) -> Self {
        Self {
            keys: KeyInput::Kept(key),
            options: Options::default(),
            choice: Choice::Given(Backend::process()),
        }
    }

    /// A lock on all of `keys`, granted all or none (C11).
    pub fn all<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self {
            keys: KeyInput::Several(KeySet::new(keys)),
            options: Options::default(),
            choice: Choice::Given(Backend::process()),
        }
    }

    /// Acquires the lock from `backend` instead of the default one: a [`Backend`] or a reference to one, or
    /// whatever becomes one.
    #[inline]
    pub fn on(mut self, backend: impl Into<Backend>) -> Self {
        self.choice = Choice::Given(backend.into());
        self
    }

    /// At the backend that `choose` names when the lock is acquired.
    #[doc(hidden)]
    #[inline]
    pub fn on_choice(mut self, choose: fn(Kind) -> Result<Backend, LockError>) -> Self {
        self.choice = Choice::Asked(choose);
        self
    }

    /// How long to queue: `true` for ever, `false` not at all, or at most a [`Duration`] (C2); with a
    /// duration of zero it queues, and gives up as soon as it has to wait.
    #[inline]
    pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
        self.options.wait = Some(wait.into());
        self
    }

    /// Takes over a conflicting hold that is older than `age` (C6).
    #[inline]
    pub fn steal_after(mut self, age: Duration) -> Self {
        self.options.steal_after = Some(age);
        self
    }

    /// Shares the key with other shared holds. Not together with [`permits`](Self::permits): that is
    /// refused with `PermitsMismatch`.
    #[inline]
    pub fn shared(mut self) -> Self {
        self.options.mixed |= matches!(self.options.mode, Mode::Permit { .. });
        self.options.mode = Mode::Shared;
        self
    }

    /// Takes one of `of` permits (C16): the request is granted while fewer than `of` hold the key,
    /// whatever numbers those have asked for. So a fleet of programs can be rolled from one number to
    /// another while it runs. With `of` 0, or on a key that is in use without permits, it is refused
    /// with `PermitsMismatch`.
    #[inline]
    pub fn permits(mut self, of: u32) -> Self {
        self.options.mixed |= matches!(self.options.mode, Mode::Shared);
        self.options.mode = Mode::Permit { of };
        self
    }

    /// Nests in a hold of the same identity instead of failing with `Deadlock` (C9).
    #[inline]
    pub fn reentrant(mut self) -> Self {
        self.options.reentrant = true;
        self
    }

    /// `true`: overtakes nobody. `false`: overtakes everybody it can run beside (C3).
    #[inline]
    pub fn fair(mut self, fair: bool) -> Self {
        self.options.fair = Some(fair);
        self
    }

    /// How long the arbiter keeps the lock for a holder that has gone silent. Without effect
    /// where holds cannot expire.
    #[inline]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = Some(lease);
        self
    }

    /// Keeps the key reserved until `least` after the grant, even once released (C14). A nested hold
    /// has the bounds of the one around it.
    #[inline]
    pub fn hold_at_least(mut self, least: Duration) -> Self {
        self.options.hold_at_least = Some(least);
        self
    }

    /// Ends the hold `most` after the grant; the guard is lost then (C14). A nested hold has the
    /// bounds of the one around it.
    #[inline]
    pub fn hold_at_most(mut self, most: Duration) -> Self {
        self.options.hold_at_most = Some(most);
        self
    }

    /// Asks in the name of `owner`: all who name it count as one (C9).
    ///
    /// What a wait blocks is still the thread or scope that waits (C10). Asynchronous code outside any
    /// scope is known by its owner alone: if several tasks name one, run each in a
    /// [`scope`](crate::scope), or a wait of one may be taken for a wait of all.
    #[inline]
    pub fn owner(mut self, owner: impl Into<OwnerId>) -> Self {
        self.options.owner = Some(owner.into());
        self
    }

    /// How much the lock matters, and so which backend serves it.
    #[inline]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.options.kind = kind;
        self
    }

    /// These options in place of those given so far.
    #[inline]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }
}

impl KeyInput<'_> {
    fn lend(&self) -> Keys<'_> {
        match self {
            KeyInput::One(key) => Keys::one(key),
            KeyInput::Kept(key) => Keys::one(key.key()),
            KeyInput::Several(set) => Keys::all(set),
        }
    }

    fn into_owned(self) -> KeyInput<'static> {
        match self {
            KeyInput::One(key) => KeyInput::One(Cow::Owned(key.into_owned())),
            KeyInput::Kept(key) => KeyInput::Kept(key),
            KeyInput::Several(set) => KeyInput::Several(set),
        }
    }
}

impl Choice {
    #[inline]
    fn settle(self, kind: Kind) -> Result<Backend, LockError> {
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
