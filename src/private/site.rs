//! Where a lock is asked for, and the way from there to its backend.

use std::borrow::Borrow;
use std::panic::Location;

use locks_core::{
    Backend, CallSite, FunctionSite, Guard, Kind, LockBuilder, LockError, PinnedCell, PinnedKey,
    Scope,
};

use super::{Acquisition, Asked, Key};
use crate::choice::default_backend;

/// The options of a request, written as calls on its builder. Only made where they can matter.
pub trait Options: FnOnce(LockBuilder<'_>) -> LockBuilder<'_> {}

impl<F: FnOnce(LockBuilder<'_>) -> LockBuilder<'_>> Options for F {}

/// Options that are all written out, and so take nothing along: as a function they are one type for
/// all sites, which the compiler has not to work out for each.
pub type Fixed = for<'k> fn(LockBuilder<'k>) -> LockBuilder<'k>;

/// `options` as what they are.
pub const fn fixed(options: Fixed) -> Fixed {
    options
}

/// No options.
pub const fn plain(lock: LockBuilder<'_>) -> LockBuilder<'_> {
    lock
}

/// What is known of a call site when the program is compiled.
pub trait Place {
    /// The site as holds remember it.
    fn call(&'static self) -> CallSite;
}

impl Place for FunctionSite {
    #[inline]
    fn call(&'static self) -> CallSite {
        CallSite::within(self)
    }
}

/// The place of a block, whose function is not known.
#[derive(Debug)]
pub struct Here(&'static Location<'static>);

impl Here {
    /// The caller's position.
    #[expect(clippy::new_without_default, reason = "only expansions make one")]
    #[track_caller]
    pub const fn new() -> Self {
        Self(Location::caller())
    }
}

impl Place for Here {
    #[inline]
    fn call(&'static self) -> CallSite {
        CallSite::at(self.0)
    }
}

/// A call site whose keys are made up anew by each call, or whose backend is its own.
#[derive(Debug)]
pub struct Site<P>(P);

impl<P: Place> Site<P> {
    /// The site at `place`.
    pub const fn new(place: P) -> Self {
        Self(place)
    }

    /// Acquires `key`, blocking.
    ///
    /// # Errors
    /// As [`LockBuilder::acquire`].
    #[inline]
    pub fn acquire(
        &'static self,
        key: impl Key,
        options: impl Options,
    ) -> Result<Guard, LockError> {
        key.lend(|lock| options(lock.on_choice(default_backend)).acquire_at(self.0.call()))
    }

    /// Begins to acquire `key` for a function, in a scope of its own.
    #[inline]
    pub fn ask(&'static self, key: impl Key, options: Fixed) -> Asked {
        self.ask_with(key, options)
    }

    /// [`ask`](Self::ask) with options that take something along.
    #[inline]
    pub fn ask_with(&'static self, key: impl Key, options: impl Options) -> Asked {
        let scope = Scope::open();
        let begun = self.begin(key, options, Some(&scope));
        Asked { scope, begun }
    }

    /// Begins to acquire `key` for a block, which is anonymous (C9).
    #[inline]
    pub fn ask_here(&'static self, key: impl Key, options: impl Options) -> Acquisition {
        self.begin(key, options, None)
    }

    #[inline]
    fn begin(
        &'static self,
        key: impl Key,
        options: impl Options,
        scope: Option<&Scope>,
    ) -> Acquisition {
        key.lend(|lock| begin(options(lock.on_choice(default_backend)), scope, self.0.call()))
    }
}

#[inline]
fn begin(lock: LockBuilder<'_>, scope: Option<&Scope>, site: CallSite) -> Acquisition {
    match lock.take_in(scope, site) {
        Ok(guard) => Acquisition::Granted(guard),
        Err(lock) => Acquisition::Asked(lock.begin_in(scope, site)),
    }
}

/// A call site with one literal key at the default backend. It finds the key once (A6).
#[derive(Debug)]
pub struct Pinned<P> {
    site: Site<P>,
    key: &'static str,
    kind: Kind,
    /// Set by the first call that finds the engine of this process to be the default backend, and
    /// the key free to be pinned.
    pinned: PinnedCell,
}

impl<P: Place> Pinned<P> {
    /// The site at `place`, whose key is `key`.
    pub const fn new(place: P, key: &'static str, kind: Kind) -> Self {
        Self { site: Site(place), key, kind, pinned: PinnedCell::new() }
    }

    /// Acquires the key, blocking. `options` do not keep a free key from being granted.
    ///
    /// # Errors
    /// As [`LockBuilder::acquire`].
    #[inline]
    pub fn acquire(&'static self, options: impl Options) -> Result<Guard, LockError> {
        if let Some(key) = self.pinned.get()
            && let Some(guard) = key.try_acquire(self.site.0.call())
        {
            return Ok(guard);
        }
        // Moved once more, so that the guard from above need not be in memory for this one's sake.
        match self.acquire_slowly(options) {
            Ok(guard) => Ok(guard.moved()),
            Err(error) => Err(error),
        }
    }

    /// Begins to acquire the key for a function, in a scope of its own.
    #[inline]
    pub fn ask(&'static self, options: Fixed) -> Asked {
        self.ask_with(options)
    }

    /// [`ask`](Self::ask) with options that take something along.
    #[inline]
    pub fn ask_with(&'static self, options: impl Options) -> Asked {
        let scope = Scope::open();
        let begun = self.begin(options, Some(&scope));
        Asked { scope, begun }
    }

    /// Begins to acquire the key for a block, which is anonymous (C9).
    #[inline]
    pub fn ask_here(&'static self, options: impl Options) -> Acquisition {
        self.begin(options, None)
    }

    #[inline]
    fn begin(&'static self, options: impl Options, scope: Option<&Scope>) -> Acquisition {
        if let Some(key) = self.pinned.get()
            && let Some(guard) = key.try_acquire_in(scope, self.site.0.call())
        {
            return Acquisition::Granted(guard);
        }
        self.begin_slowly(options, scope)
    }

    #[cold]
    #[inline(never)]
    fn acquire_slowly(&'static self, options: impl Options) -> Result<Guard, LockError> {
        match self.find()? {
            Some(key) => options(LockBuilder::pinned(key)).acquire_at(self.site.0.call()),
            None => self.site.acquire(self.key, options),
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_slowly(&'static self, options: impl Options, scope: Option<&Scope>) -> Acquisition {
        match self.find() {
            Ok(Some(key)) => begin(options(LockBuilder::pinned(key)), scope, self.site.0.call()),
            // An error of the default backend comes up again there.
            Ok(None) | Err(_) => self.site.begin(self.key, options, scope),
        }
    }

    /// The key, if the default backend is the engine of this process.
    fn find(&'static self) -> Result<Option<PinnedKey>, LockError> {
        if let Some(key) = self.pinned.get() {
            return Ok(Some(key));
        }
        if !default_backend(self.kind)?.is_process() {
            return Ok(None);
        }
        // While others are at the key by its name, so is this one, this time.
        let key = PinnedKey::new(self.key)?;
        if let Some(key) = key {
            self.pinned.set(key);
        }
        Ok(key)
    }
}

/// `lock` at the backend that `backend = …` names.
pub fn on<'k>(lock: LockBuilder<'k>, backend: impl Borrow<Backend>) -> LockBuilder<'k> {
    lock.on(backend.borrow())
}
