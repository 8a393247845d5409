//! What is asked for, option by option.

use std::sync::Arc;
use std::time::Duration;

use super::{CancelToken, LockBuilder};
use crate::{Mode, Options, OwnerId, Reserve, SharedOwner, Wait};

impl LockBuilder<'_> {
    /// Sets how long to wait for the lock: `true` for ever, `false` not at all, or at most a
    /// [`Duration`].
    ///
    /// Without it the backend's default applies, which is for ever unless its URL says otherwise.
    /// With a duration of zero the request is queued and fails as soon as it would have to wait.
    /// One deadline covers all keys; it counts from the call of `acquire`, or from the first poll
    /// ([C2](crate::contract#c2-waiting)).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let guard = locks::named("report").wait(Duration::from_secs(2)).acquire()?;
    /// let error = locks::named("report").wait(false).acquire().unwrap_err();
    /// assert!(error.is_contended());
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
        self.options.wait = Some(wait.into());
        self
    }

    /// Steals the lock from a conflicting holder that has had it for longer than `age`.
    ///
    /// The age counts from the grant, or from the holder's last [`refresh`](crate::Guard::refresh).
    /// The holder's guard is lost at once, but its code runs on until it looks: protect each effect
    /// by [`check`](crate::Guard::check) or by the fencing token
    /// ([C6](crate::contract#c6-stealing)).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// // A refresh that has been going for more than five seconds is taken to be stuck.
    /// let guard = locks::named("refresh_7").steal_after(Duration::from_secs(5)).acquire()?;
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn steal_after(mut self, age: Duration) -> Self {
        self.options.steal_after = Some(age);
        self
    }

    /// Acquires a shared lock: any number of shared holders at a time, but no exclusive one.
    ///
    /// Together with [`permits`](Self::permits) or [`take`](Self::take) the acquisition fails with
    /// [`PermitsMismatch`](crate::ErrorKind::PermitsMismatch).
    ///
    /// # Examples
    /// ```
    /// let reader = locks::named("config").shared().acquire()?;
    /// let another = locks::named("config").shared().acquire()?;
    /// assert!(locks::named("config").wait(false).acquire().is_err());
    /// # drop((reader, another));
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn shared(mut self) -> Self {
        self.options.mixed |= matches!(self.options.mode, Mode::Permit { .. });
        self.options.mode = Mode::Shared;
        self
    }

    /// Acquires one of `of` permits, as of a semaphore: up to `of` holders at a time.
    ///
    /// Each request obeys its own number: it is granted while fewer than `of` permits of the key
    /// are held, so a fleet of programs can be rolled from one number to another while it runs
    /// ([C16](crate::contract#c16-permits)). With [`take`](Self::take) one hold has several of
    /// them. The acquisition fails with [`PermitsMismatch`](crate::ErrorKind::PermitsMismatch) if
    /// `of` is 0 or the key is in use without permits.
    ///
    /// # Examples
    /// ```
    /// let first = locks::named("downloads").permits(2).acquire()?;
    /// let second = locks::named("downloads").permits(2).acquire()?;
    /// assert!(locks::named("downloads").permits(2).wait(false).acquire().is_err());
    /// # drop((first, second));
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn permits(mut self, of: u32) -> Self {
        let (take, _) = self.permits_so_far();
        self.options.mode = Mode::Permit { take, of };
        self
    }

    /// Acquires `count` of the [`permits`](Self::permits) at once, for one guard, as a semaphore's
    /// `acquire_many` does.
    ///
    /// The request is granted, all or none, once the permits held and these together are no more
    /// than its own `permits`. It keeps its place in the queue, so smaller requests behind it do
    /// not starve it. The guard returns all of them at once ([C16](crate::contract#c16-permits)). A
    /// [re-entrant](Self::reentrant) request nests in a hold of its owner that has at least as many
    /// permits, and that hold keeps its own number until its last guard is gone; otherwise the
    /// request acquires permits of its own.
    ///
    /// The acquisition fails with [`PermitsMismatch`](crate::ErrorKind::PermitsMismatch) if `count`
    /// is 0 or more than there are permits, or without `permits`, and with
    /// [`Unsupported`](crate::ErrorKind::Unsupported) at backends that grant
    /// [one permit at a time](crate::Capabilities::several_permits).
    ///
    /// # Examples
    /// ```
    /// // A job takes as many of the eight processors as it uses.
    /// let large = locks::named("processors").permits(8).take(6).acquire()?;
    /// let small = locks::named("processors").permits(8).take(2).acquire()?;
    /// assert!(locks::named("processors").permits(8).wait(false).acquire().is_err());
    /// # drop((large, small));
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn take(mut self, count: u32) -> Self {
        let (_, of) = self.permits_so_far();
        self.options.mode = Mode::Permit { take: count, of };
        self
    }

    /// Returns the number to acquire and the number there are; (1, 0) if neither was set.
    #[inline]
    fn permits_so_far(&mut self) -> (u32, u32) {
        self.options.mixed |= matches!(self.options.mode, Mode::Shared);
        match self.options.mode {
            Mode::Permit { take, of } => (take, of),
            Mode::Exclusive | Mode::Shared => (1, 0),
        }
    }

    /// Makes the request re-enter a lock that its thread, scope or [`owner`](Self::owner) holds,
    /// instead of failing with [`Deadlock`](crate::ErrorKind::Deadlock).
    ///
    /// The lock is released with the last guard ([C9](crate::contract#c9-re-entry)).
    ///
    /// # Examples
    /// ```
    /// let outer = locks::named("ledger").acquire()?;
    /// let inner = locks::named("ledger").reentrant().acquire()?;
    /// # drop((inner, outer));
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn reentrant(mut self) -> Self {
        self.options.reentrant = true;
        self
    }

    /// Sets the queueing policy: `true` never overtakes a waiter, `false` ignores the queue
    /// whenever the current holders permit it.
    ///
    /// By default a newcomer may take a lock that it finds free for half a millisecond before it is
    /// handed to the first waiter ([C3](crate::contract#c3-fairness)). With `false`, waiters can
    /// starve.
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("printer").fair(true).acquire()?;
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn fair(mut self, fair: bool) -> Self {
        self.options.fair = Some(fair);
        self
    }

    /// Sets the lease: how long a remote backend keeps the lock for a holder that no longer
    /// answers.
    ///
    /// It is renewed in the background for as long as the guard lives. It has no effect on backends
    /// whose holds cannot expire, such as the engine of this process.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let guard = locks::named("import").lease(Duration::from_secs(30)).acquire()?;
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = Some(lease);
        self
    }

    /// Keeps the key reserved until `least` after the grant, even if the guard is dropped sooner.
    ///
    /// So the work runs at most once in `least` ([C14](crate::contract#c14-bounds-of-a-hold)). A
    /// nested hold has the bounds of the outer one.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// drop(locks::named("digest").hold_at_least(Duration::from_secs(60)).acquire()?);
    /// assert!(locks::named("digest").wait(false).acquire().is_err());
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn hold_at_least(mut self, least: Duration) -> Self {
        self.options.hold_at_least = Some(least);
        self.options.reserve = Reserve::Always;
        self
    }

    /// Keeps the key reserved until `period` after the grant if the work succeeded: like
    /// [`hold_at_least`](Self::hold_at_least), but only if the guard was [marked as
    /// done](crate::Guard::mark_done) before it was released. If it was dropped without the mark
    /// (by `?`, a panic, a cancelled future), was lost, or its process died, the key is not
    /// reserved. While it is held, nothing is stolen before `period` has passed
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    ///
    /// ```
    /// use std::time::Duration;
    /// use locks::Backend;
    ///
    /// let backend = Backend::process();
    /// let job = || backend.named("daily-report").once_per(Duration::from_secs(86_400)).wait(false);
    ///
    /// drop(job().acquire()?); // It failed: the next one may try.
    /// let guard = job().acquire()?;
    /// // … and this one succeeds.
    /// guard.mark_done();
    /// drop(guard);
    /// assert!(job().acquire().unwrap_err().is_contended());
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn once_per(mut self, period: Duration) -> Self {
        self.options.hold_at_least = Some(period);
        self.options.reserve = Reserve::IfDone;
        self
    }

    /// Ends the hold `most` after the grant; its guard is lost then. With a duration of zero the
    /// acquisition fails with `LimitExceeded`.
    ///
    /// The code that holds the guard runs on until it looks
    /// ([C14](crate::contract#c14-bounds-of-a-hold)). A nested hold has the bounds of the outer
    /// one.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let guard = locks::named("import").hold_at_most(Duration::from_secs(600)).acquire()?;
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn hold_at_most(mut self, most: Duration) -> Self {
        self.options.hold_at_most = Some(most);
        self
    }

    /// Sets the identity that holds the lock, in place of the thread or scope: all requests that
    /// name `owner` count as one holder.
    ///
    /// With [`reentrant`](Self::reentrant), several threads or tasks can share one hold that way
    /// ([C9](crate::contract#c9-re-entry)). For deadlock detection, a wait still blocks only the
    /// thread or scope that waits ([C10](crate::contract#c10-deadlocks)). Tasks outside of any
    /// scope are known by their owner alone: run each in a [`scope`](crate::scope) if several name
    /// one owner.
    ///
    /// # Examples
    /// ```
    /// let outer = locks::named("order:17").owner(17).acquire()?;
    /// std::thread::spawn(|| {
    ///     let inner = locks::named("order:17").owner(17).reentrant().acquire();
    ///     assert!(inner.is_ok());
    /// })
    /// .join()
    /// .unwrap();
    /// # drop(outer);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn owner(mut self, owner: impl Into<OwnerId>) -> Self {
        self.options.owner = Some(owner.into());
        self
    }

    /// Sets the identity that holds the lock to one that other processes can be given as well: with
    /// [`reentrant`](Self::reentrant), each of them enters what the others hold, and the lock is
    /// free when all of them have released it or ended ([C9](crate::contract#c9-re-entry)).
    ///
    /// `None` changes nothing. Without `reentrant` a request waits for the others' guards as for
    /// any other; it is a [`Deadlock`](crate::ErrorKind::Deadlock) only if the thread or scope that
    /// waits has the guard itself. For deadlock detection, a wait in the owner's name blocks only
    /// that thread or scope ([C10](crate::contract#c10-deadlocks)). Takes precedence over
    /// [`owner`](Self::owner). Needs a backend that knows owners of other processes, such as `net:`
    /// or a lock server; `memory:` serves only this process.
    ///
    /// # Examples
    /// ```
    /// use locks::SharedOwner;
    ///
    /// let owner = SharedOwner::random();
    /// let guard = locks::named("deploy").shared_owner(owner).acquire()?;
    /// let inner = locks::named("deploy").shared_owner(owner).reentrant().acquire()?;
    /// drop(guard); // the lock is held still
    /// assert!(locks::named("deploy").wait(false).acquire().is_err());
    /// # drop(inner);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn shared_owner(mut self, owner: impl Into<Option<SharedOwner>>) -> Self {
        if let Some(owner) = owner.into() {
            self.rare.get_or_insert_default().shared_owner = Some(owner);
        }
        self
    }

    /// Labels the request, as in `order 17`: errors, lists and events show it for holders and
    /// waiters ([C12](crate::contract#c12-holder-information)). It is cut off after 120 bytes, and
    /// a control character in it becomes a space.
    ///
    /// ```
    /// use locks::Backend;
    ///
    /// let backend = Backend::process();
    /// let guard = backend.named("warehouse").label("order 17").acquire()?;
    /// let error = backend.named("warehouse").wait(false).acquire().unwrap_err();
    /// assert!(error.to_string().contains("for `order 17`"));
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.rare.get_or_insert_default().label = Some(one_line(label.into()));
        self
    }

    /// Cancels the acquisition when `token` is cancelled: it fails with
    /// [`Cancelled`](crate::ErrorKind::Cancelled); see [`CancelToken`].
    ///
    /// # Examples
    /// ```
    /// use locks::{CancelToken, ErrorKind};
    ///
    /// let token = CancelToken::new();
    /// token.cancel();
    /// let error = locks::named("builder:cancel_on").cancel_on(&token).acquire().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Cancelled);
    /// ```
    pub fn cancel_on(mut self, token: &CancelToken) -> Self {
        self.rare.get_or_insert_default().cancel = Some(token.clone());
        self
    }

    /// Replaces all options given so far by `options`.
    ///
    /// # Examples
    /// ```
    /// use locks::{Mode, Options};
    ///
    /// let mut options = Options::default();
    /// options.mode = Mode::Shared;
    /// let guard = locks::named("config").options(options).acquire()?;
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[inline]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }
}

/// What is put in errors and logs as it is: on one line, and no longer than every backend keeps it.
fn one_line(label: Arc<str>) -> Arc<str> {
    const LONGEST: usize = 120;
    if label.len() <= LONGEST && !label.contains(char::is_control) {
        return label;
    }
    let end = (0..=label.len().min(LONGEST)).rfind(|&end| label.is_char_boundary(end));
    let shown = label[..end.unwrap_or(0)].chars();
    shown.map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().into()
}
