//! From a builder to a lock: the ways to acquire, and their fast path.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cancel::{CancelToken, UntilCancelled, cancelled};
use super::started::{self, StartedAcquire};
use super::{Choice, KeyInput, LockBuilder};
use crate::engine;
use crate::handle::Behind;
use crate::identity::SmallOwner;
use crate::observe::{self, Since};
use crate::request::FastHolder;
use crate::{
    Backend, CallSite, Caller, Guard, Hold, LockError, Op, Options, OwnedGuard, OwnerId, PinnedKey,
    Request, Scope, Wait,
};

#[expect(clippy::result_large_err, reason = "what is always inlined moves nothing")]
impl<'k> LockBuilder<'k> {
    /// Acquires the lock, blocking this thread while it has to wait.
    ///
    /// In async code use [`acquire_async`](Self::acquire_async): a blocked thread holds up every
    /// other task on it.
    ///
    /// # Errors
    /// - [`Contended`](crate::ErrorKind::Contended) and [`Timeout`](crate::ErrorKind::Timeout) if
    ///   another holder has the lock and [`wait`](Self::wait) is `false` or over;
    /// - [`Deadlock`](crate::ErrorKind::Deadlock) if the wait would never end;
    /// - [`InvalidKey`](crate::ErrorKind::InvalidKey),
    ///   [`Unsupported`](crate::ErrorKind::Unsupported) and
    ///   [`PermitsMismatch`](crate::ErrorKind::PermitsMismatch) for what cannot be granted;
    /// - [`Unavailable`](crate::ErrorKind::Unavailable) and the other kinds if the backend cannot
    ///   answer.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// match locks::named("nightly").wait(Duration::from_millis(10)).acquire() {
    ///     Ok(_guard) => println!("running"),
    ///     Err(error) if error.is_contended() => println!("another run is under way: {error}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[track_caller]
    pub fn acquire(self) -> Result<Guard, LockError> {
        let site = CallSite::caller();
        self.acquire_at(site)
    }

    /// Like [`acquire`](Self::acquire), in the name of `site`.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    // Always inlined where the program is optimized: at most call sites the options are known then,
    // and no builder is ever made. Elsewhere it would only be compiled again for each call site.
    #[doc(hidden)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn acquire_at(self, site: CallSite) -> Result<Guard, LockError> {
        let asked = Since::at(site);
        match self.try_acquire_fast(SmallOwner::current, site, &asked) {
            Ok(owned) => Ok(Guard::new(owned)),
            Err(slow) => slow.acquire_slowly(site, asked),
        }
    }

    /// The guard for a free key if nothing but a plain lock is asked for, at an engine.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn try_acquire_fast(
        self,
        owner: impl FnOnce() -> SmallOwner,
        site: CallSite,
        asked: &Since,
    ) -> Result<OwnedGuard, Self> {
        let Self { keys, options, choice, rare } = self;
        if rare.is_some() {
            return Err(Self { keys, options, choice, rare });
        }
        // By value, so that a key that is merely lent is at hand, and not in a builder.
        let (keys, took) = match keys {
            KeyInput::One(Cow::Borrowed(key)) => {
                let took = try_acquire_fast(key, &options, choice, owner, site);
                (KeyInput::One(Cow::Borrowed(key)), took)
            }
            KeyInput::One(Cow::Owned(key)) => {
                let took = try_acquire_fast(&key, &options, choice, owner, site);
                (KeyInput::One(Cow::Owned(key)), took)
            }
            KeyInput::Pinned(key) => {
                let took = match &choice {
                    Choice::Given(at) if at.is_process() => key.barge(&options, owner, site),
                    _ => None,
                };
                let took = took.map(|hold| Took::Hold(hold, Backend::process()));
                (KeyInput::Pinned(key), took.unwrap_or(Took::Nothing(choice)))
            }
            keys @ KeyInput::Several(_) => (keys, Took::Nothing(choice)),
        };
        match took {
            Took::Hold(hold, backend) => Ok(OwnedGuard::new(hold, backend, asked)),
            Took::Nothing(choice) => Err(Self { keys, options, choice, rare }),
        }
    }

    #[cold]
    #[inline(never)]
    fn acquire_slowly(mut self, site: CallSite, asked: Since) -> Result<Guard, LockError> {
        let asked = asked.labelled(|| self.request_label());
        if let Some(token) = self.take_cancel() {
            return self.acquire_until(token, site, asked);
        }
        let waiting = observe::WaitGauge::begin(&asked);
        let acquired = self.acquire_hold(site);
        drop(waiting);
        match acquired {
            Ok((hold, backend)) => Ok(Guard::new(OwnedGuard::new(hold, backend, &asked))),
            Err(error) => refused(error, &asked),
        }
    }

    fn acquire_until(
        self,
        token: CancelToken,
        site: CallSite,
        asked: Since,
    ) -> Result<Guard, LockError> {
        let key = self.keys.text();
        if token.is_cancelled() {
            return Err(cancelled(&key, &asked));
        }
        let begun = self.begin_on_thread(site);
        crate::park::block_on(UntilCancelled::new(begun, token, key, asked)).map(Guard::new)
    }

    fn take_cancel(&mut self) -> Option<CancelToken> {
        self.rare.as_mut().and_then(|rare| rare.cancel.take())
    }

    fn request_label(&self) -> Option<Arc<str>> {
        self.rare.as_ref().and_then(|rare| rare.label.clone())
    }

    fn acquire_hold(mut self, site: CallSite) -> Result<(Hold, Backend), LockError> {
        self.options.check()?;
        let backend = self.take_choice().resolve(self.options.kind)?;
        let request = self.request(site, Caller::blocking);
        let hold = match backend.behind() {
            Behind::Engine(engine) => engine.acquire_blocking(request, self.pinned_at(&backend))?,
            Behind::Other(other) => other.acquire(request).block()?.hold,
        };
        Ok((hold, backend))
    }

    /// Returns a future that acquires the lock without blocking, on any executor.
    ///
    /// Nothing happens before its first poll, from which the deadline counts as well.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire). A deadlock of a thread with itself is not detected where a
    /// runtime's `block_on` polls the future on a thread that holds the lock: set a limit by
    /// [`wait`](Self::wait) there.
    ///
    /// # Cancel safety
    /// Dropping the future at any point withdraws the request: it leaves no hold and no place in
    /// the queue, and the next waiter is woken ([C5](crate::contract#c5-cancellation)).
    ///
    /// # Examples
    /// ```
    /// # async fn run() -> Result<(), locks::LockError> {
    /// let guard = locks::named("invoice:42").acquire_async().await?;
    /// // … the work, with awaits …
    /// drop(guard);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn acquire_async(self) -> Acquire<'k> {
        let (site, caller) = (CallSite::caller(), Caller::polling);
        Acquire(AcquireStage::Asked { builder: self, site, caller })
    }

    /// Returns the guard of an annotated function, which opens `scope` with it, or of a block of
    /// asynchronous code, which is anonymous (C9), if the key is free.
    ///
    /// # Errors
    /// Itself, for [`begin_in`](Self::begin_in).
    #[doc(hidden)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn take_in(self, scope: Option<&Scope>, site: CallSite) -> Result<OwnedGuard, Self> {
        self.take_polled(scope, site, &Since::at(site))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn take_polled(
        self,
        scope: Option<&Scope>,
        site: CallSite,
        asked: &Since,
    ) -> Result<OwnedGuard, Self> {
        // Who is nobody has nothing to re-enter, and is told so (C9).
        if scope.is_none() && self.options.reentrant {
            return Err(self);
        }
        self.try_acquire_fast(|| scope.map_or(SmallOwner::NOBODY, Scope::small), site, asked)
    }

    /// Returns the acquisition of an annotated function, which opens `scope` with it, or of a block
    /// of asynchronous code, which is anonymous (C9). It asks when it is first polled.
    #[doc(hidden)]
    pub fn begin_in(self, scope: Option<&Scope>, site: CallSite) -> StartedAcquire {
        let caller = |explicit| match scope {
            Some(scope) => Caller::opening(scope, explicit),
            None => Caller::polling(explicit),
        };
        self.begin(site, caller, Since::at(site))
    }

    /// Returns the acquisition of a thread that looks at other things as well while it waits: what
    /// [`acquire`](Self::acquire) is, but polled, and on the thread that begins it. Its guard is
    /// one [of the thread](Guard::of_thread).
    #[doc(hidden)]
    pub fn begin_on_thread(self, site: CallSite) -> StartedAcquire {
        self.begin(site, Caller::blocking, Since::at(site))
    }

    /// See [`Backend::current_guard`].
    ///
    /// # Errors
    /// As [`Backend::current_guard`].
    #[doc(hidden)]
    pub fn current_guard_at(mut self, site: CallSite) -> Result<Option<Guard>, LockError> {
        self.only_nest();
        match self.acquire_hold(site) {
            Ok((hold, backend)) => {
                Ok(Some(Guard::new(OwnedGuard::new(hold, backend, &Since::at(site)))))
            }
            Err(error) if error.is_contended() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See [`Backend::current_guard_async`].
    ///
    /// # Errors
    /// As [`Backend::current_guard_async`].
    #[doc(hidden)]
    pub async fn current_guard_async_at(
        mut self,
        site: CallSite,
    ) -> Result<Option<OwnedGuard>, LockError> {
        if !crate::current().is_scope() {
            return Ok(None);
        }
        self.only_nest();
        let backend = self.take_choice().resolve(self.options.kind)?;
        // Not as a request of somebody who wants the lock, which would be told of and counted.
        let granted = backend.acquire(self.request(site, Caller::blocking)).await;
        match granted {
            Ok(granted) => {
                Ok(Some(OwnedGuard::new(granted.hold, backend.clone(), &Since::at(site))))
            }
            Err(error) if error.is_contended() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn only_nest(&mut self) {
        (self.options.reentrant, self.options.only_nests) = (true, true);
        self.options.wait = Some(Wait::Try);
    }

    fn request<'a>(
        &'a self,
        site: CallSite,
        caller: impl FnOnce(Option<OwnerId>) -> Caller,
    ) -> Request<'a> {
        Request::new(self.keys.lend(), self.options, self.caller(site, caller))
    }

    fn caller(&self, site: CallSite, caller: impl FnOnce(Option<OwnerId>) -> Caller) -> Caller {
        let shared = self.rare.as_ref().and_then(|rare| rare.shared_owner);
        // In place of the owner, not beside it.
        let owner = self.options.owner.filter(|_| shared.is_none());
        let caller = caller(owner).at(site).labelled(self.request_label());
        match shared {
            Some(shared) => caller.sharing(shared),
            None => caller,
        }
    }

    /// The key, if its call site has looked it up, and this is where.
    fn pinned_at(&self, backend: &Backend) -> Option<PinnedKey> {
        match &self.keys {
            KeyInput::Pinned(key) if backend.is_process() => Some(*key),
            _ => None,
        }
    }

    /// What is left is not asked for its backend any more.
    fn take_choice(&mut self) -> Choice {
        std::mem::replace(&mut self.choice, Choice::Given(Backend::process()))
    }

    #[inline(never)]
    fn begin_asked<'s>(
        mut self,
        site: CallSite,
        caller: fn(Option<OwnerId>) -> Caller,
        asked: Since,
    ) -> Result<AcquireStage<'s>, LockError> {
        let Some(token) = self.take_cancel() else {
            return Ok(AcquireStage::Started(self.begin(site, caller, asked)));
        };
        let key = self.keys.text();
        let asked = asked.labelled(|| self.request_label());
        if token.is_cancelled() {
            return Err(cancelled(&key, &asked));
        }
        let begun = self.begin(site, caller, asked.clone());
        Ok(AcquireStage::Cancellable(Box::new(UntilCancelled::new(begun, token, key, asked))))
    }

    fn begin(
        mut self,
        site: CallSite,
        caller: impl FnOnce(Option<OwnerId>) -> Caller,
        asked: Since,
    ) -> StartedAcquire {
        let asked = asked.labelled(|| self.request_label());
        let checked = self.options.check();
        let backend = match checked.and_then(|()| self.take_choice().resolve(self.options.kind)) {
            Ok(backend) => backend,
            Err(error) => {
                return StartedAcquire::new(
                    started::StartedStage::Refused(error),
                    Backend::process(),
                    asked,
                );
            }
        };
        if let Behind::Engine(engine) = backend.behind() {
            let pinned = self.pinned_at(&backend);
            let stage = match engine.begin(self.request(site, caller), pinned) {
                engine::Attempt::Granted(hold) => started::StartedStage::Granted(hold),
                engine::Attempt::Pending(waiting) => started::StartedStage::Waiting(waiting),
                engine::Attempt::Refused(error) => started::StartedStage::Refused(error),
            };
            return StartedAcquire::new(stage, backend, asked);
        }
        let caller = self.caller(site, caller);
        let (keys, options, at) = (self.keys.into_owned(), self.options, backend.clone());
        let granted =
            Op::later(async move { at.acquire(Request::new(keys.lend(), options, caller)).await });
        StartedAcquire::new(started::StartedStage::Elsewhere(granted), backend, asked)
    }
}

/// What comes of trying the fast path.
enum Took {
    Hold(Hold, Backend),
    /// What is left to choose from.
    Nothing(Choice),
}

/// Takes the key if it is free and nothing but a plain lock is asked for, at an engine.
#[cfg_attr(not(debug_assertions), inline(always))]
fn try_acquire_fast(
    key: &str,
    options: &Options,
    choice: Choice,
    owner: impl FnOnce() -> SmallOwner,
    site: CallSite,
) -> Took {
    if !options.is_plain() {
        return Took::Nothing(choice);
    }
    let backend = match choice {
        Choice::Given(backend) => backend,
        Choice::Asked(choose) => match choose(options.kind) {
            Ok(backend) => backend,
            // It comes up again.
            Err(_) => return Took::Nothing(choice),
        },
    };
    // No more of the options than that, so that they need not be in memory.
    let (steals, is_fair) = (options.steal_after.is_some(), options.fair == Some(true));
    if let Behind::Engine(engine) = backend.behind()
        && let holder = (FastHolder { owner: owner(), site })
        && let Some((slot, token)) = engine.try_acquire_fast(key, steals, is_fair, holder)
    {
        return Took::Hold(Hold::plain(slot, token), backend);
    }
    Took::Nothing(Choice::Given(backend))
}

#[cold]
fn refused<T>(error: LockError, asked: &Since) -> Result<T, LockError> {
    observe::refused(&error, asked);
    Err(error)
}

/// A future that acquires a lock; see [`LockBuilder::acquire_async`].
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<'k>(AcquireStage<'k>);

enum AcquireStage<'k> {
    Asked { builder: LockBuilder<'k>, site: CallSite, caller: fn(Option<OwnerId>) -> Caller },
    Started(StartedAcquire),
    Cancellable(Box<UntilCancelled>),
}

impl From<StartedAcquire> for Acquire<'_> {
    fn from(begun: StartedAcquire) -> Self {
        Self(AcquireStage::Started(begun))
    }
}

impl Future for Acquire<'_> {
    type Output = Result<OwnedGuard, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stage = &mut self.0;
        if let AcquireStage::Started(begun) = stage {
            let polled = Pin::new(begun).poll(cx);
            if polled.is_pending() {
                crate::clock::attend(cx.waker());
            }
            return polled;
        }
        if let AcquireStage::Cancellable(acquire) = stage {
            let polled = Pin::new(acquire).poll(cx);
            if polled.is_pending() {
                crate::clock::attend(cx.waker());
            }
            return polled;
        }
        if let AcquireStage::Asked { builder, site, caller } =
            std::mem::replace(stage, AcquireStage::Started(StartedAcquire::over(Since::now())))
        {
            let asked = Since::at(site);
            let builder = match builder.take_polled(None, site, &asked) {
                Ok(guard) => return Poll::Ready(Ok(guard)),
                Err(builder) => builder,
            };
            *stage = builder.begin_asked(site, caller, asked)?;
        }
        self.poll(cx)
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            AcquireStage::Asked { .. } => f.write_str("Acquire(not polled yet)"),
            AcquireStage::Started(begun) => begun.fmt(f),
            AcquireStage::Cancellable(_) => f.write_str("Acquire(cancellable)"),
        }
    }
}
