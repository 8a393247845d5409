use std::fmt;
use std::future::Future;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::Fixture;
use super::pending::{Driven, Pending};
use super::running::Running;
use locks_core::{
    Backend, Capabilities, ErrorKind, Exclusion, HolderInfo, LockBuilder, LockError, LockInfo,
    LostCause, OwnedGuard, Query, Token, WaiterOrder,
};

/// A fixture in the hands of a case, with what every case does to it.
///
/// A case that has a conflict has two sides, `ours` and `theirs`. It is run once with both of them
/// at one client, and once more with theirs at the fixture's rival.
#[derive(Clone)]
pub(super) struct Subject {
    fixture: Arc<dyn Fixture>,
    backend: Backend,
    /// The rival, where the case is run with one.
    theirs: Option<Backend>,
}

impl Subject {
    pub(super) fn new(fixture: Arc<dyn Fixture>) -> Self {
        let backend = fixture.backend();
        Self { fixture, backend, theirs: None }
    }

    /// The same with the other side at another client; `None` if no holder can be one.
    ///
    /// # Panics
    /// If the fixture has no other client although the backend promises exclusion beyond the
    /// process.
    pub(super) fn with_rival(self) -> Option<Self> {
        let theirs = self.rival()?.backend;
        Some(Self { theirs: Some(theirs), ..self })
    }

    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(super) fn fixture(&self) -> &dyn Fixture {
        &*self.fixture
    }

    pub(super) fn can(&self) -> Capabilities {
        self.backend.about().capabilities
    }

    /// Whether the waiters of the two sides are served in their order.
    pub(super) fn orders(&self) -> bool {
        match self.theirs {
            Some(_) => self.can().order == WaiterOrder::All,
            None => self.ranks(),
        }
    }

    /// Whether there is an order at all, and with it `fair`.
    pub(super) fn ranks(&self) -> bool {
        self.can().order != WaiterOrder::None
    }

    /// The same arbiter seen by another client.
    ///
    /// # Panics
    /// If the fixture has none although the backend promises exclusion beyond the process.
    pub(super) fn rival(&self) -> Option<Self> {
        let backend = self.fixture.rival();
        self.needs(backend.is_some(), "rival");
        backend.map(|backend| Self { fixture: self.fixture.clone(), backend, theirs: None })
    }

    /// The program that serves the kit in another process.
    ///
    /// # Panics
    /// As [`rival`](Self::rival).
    pub(super) fn child(&self) -> Option<Command> {
        let child = self.fixture.child();
        self.needs(child.is_some(), "child");
        child
    }

    fn needs(&self, given: bool, hook: &str) {
        assert!(
            given || self.can().exclusion == Exclusion::Process,
            "the backend promises exclusion beyond its process: give the fixture a `{hook}`"
        );
    }

    pub(super) fn lock(&self, key: &str) -> LockBuilder<'static> {
        self.backend.named(key.to_owned())
    }

    /// The lock on `key`, without waiting.
    pub(super) fn try_lock(&self, key: &str) -> LockBuilder<'static> {
        self.lock(key).wait(false)
    }

    /// Whether the two sides are two clients.
    pub(super) fn is_apart(&self) -> bool {
        self.theirs.is_some()
    }

    /// The client of the other side.
    pub(super) fn their_backend(&self) -> &Backend {
        self.theirs.as_ref().unwrap_or(&self.backend)
    }

    /// The lock on `key`, for the other side.
    pub(super) fn theirs(&self, key: &str) -> LockBuilder<'static> {
        self.their_backend().named(key.to_owned())
    }

    /// The lock on `key` for the other side, without waiting.
    pub(super) fn try_theirs(&self, key: &str) -> LockBuilder<'static> {
        self.theirs(key).wait(false)
    }

    /// The lock on `key`, for either side in turn.
    pub(super) fn turns(&self, turn: usize, key: &str) -> LockBuilder<'static> {
        if turn.is_multiple_of(2) { self.lock(key) } else { self.theirs(key) }
    }

    // Time.

    pub(super) fn tick(&self) -> Duration {
        self.fixture.tick()
    }

    /// A stretch of the arbiter's time that is long beside a tick.
    pub(super) fn unit(&self) -> Duration {
        self.tick() * 20
    }

    /// How late the arbiter may be, with something to spare.
    pub(super) fn late(&self) -> Duration {
        self.tick() * 3
    }

    pub(super) fn now(&self) -> Duration {
        self.fixture.now()
    }

    pub(super) fn advance(&self, by: Duration) {
        self.fixture.advance(by);
    }

    /// Lets whoever waits have waited for so long that newcomers no longer barge in (C3).
    pub(super) fn outwait(&self) {
        self.advance(self.tick().max(Duration::from_millis(1)));
    }

    pub(super) fn patience(&self) -> Duration {
        self.fixture.patience()
    }

    // Acquisitions.

    /// Drives the acquisition to its end.
    ///
    /// # Panics
    /// If it does not end although nothing is in its way, or if nothing wakes it.
    #[track_caller]
    pub(super) fn outcome(&self, lock: LockBuilder<'_>) -> Result<OwnedGuard, LockError> {
        self.drive("the acquisition", lock.acquire_async())
    }

    /// A lock that has to be granted.
    #[track_caller]
    pub(super) fn take(&self, lock: LockBuilder<'_>) -> OwnedGuard {
        match self.outcome(lock) {
            Ok(guard) => guard,
            Err(error) => panic!("not granted: {error:?}"),
        }
    }

    /// A lock that has to be refused.
    #[track_caller]
    pub(super) fn refused(&self, lock: LockBuilder<'_>, kind: ErrorKind) -> LockError {
        match self.outcome(lock) {
            Ok(guard) => panic!("{guard:?} was granted, not refused as {kind:?}"),
            Err(error) => {
                assert_eq!(error.kind(), kind, "{error:?}");
                error
            }
        }
    }

    /// A lock that somebody else has to have.
    #[track_caller]
    pub(super) fn contended(&self, lock: LockBuilder<'_>) -> LockError {
        self.refused(lock.wait(false), ErrorKind::Contended)
    }

    /// Nobody holds, awaits or reserves `key`.
    #[track_caller]
    pub(super) fn assert_free(&self, key: &str) {
        self.meet();
        self.release(self.take(self.lock(key)));
        if self.theirs.is_some() {
            self.release(self.take(self.theirs(key)));
        }
        if self.can().listing {
            let left = self.list(key);
            assert!(left.is_none(), "still listed: {left:?}");
        }
    }

    /// An acquisition that has to queue.
    #[track_caller]
    pub(super) fn queue(&self, lock: LockBuilder<'static>) -> Pending {
        let mut pending = Pending::begin(lock);
        pending.assert_waits(self);
        if self.theirs.is_some() && self.orders() {
            // Clients that are ordered by the time that they have waited do not tell apart what is
            // asked at the same moment.
            self.outwait();
        }
        pending
    }

    /// An acquisition that has to queue, for `after` since `since` at least. A machine that stands
    /// still for so long proves nothing.
    #[track_caller]
    pub(super) fn queue_until(
        &self,
        lock: LockBuilder<'static>,
        since: Duration,
        after: Duration,
    ) -> Pending {
        let mut pending = Pending::begin(lock);
        pending.may_end(since, after);
        pending.assert_waits(self);
        pending
    }

    /// Releases and waits for the confirmation.
    #[track_caller]
    pub(super) fn release(&self, guard: OwnedGuard) {
        if let Err(error) = self.drive("the release", guard.release_async()) {
            panic!("not released: {error:?}");
        }
    }

    /// Refreshes a hold that has to be there.
    #[track_caller]
    pub(super) fn refresh(&self, guard: &OwnedGuard) {
        if let Err(error) = self.drive("the refresh", guard.refresh_async()) {
            panic!("not refreshed: {error:?}");
        }
    }

    /// Has the other side end the hold of `key` with `token`; whether there was one.
    #[track_caller]
    pub(super) fn evict(&self, key: &str, token: Token) -> bool {
        match self.drive("the eviction", self.their_backend().evict(key, token)) {
            Ok(found) => found,
            Err(error) => panic!("not evicted: {error:?}"),
        }
    }

    /// Asserts that administrative release is refused by a backend that does not declare it.
    pub(super) fn assert_evict_unsupported(&self) {
        let evict = self.backend.evict("k", Token::new(1));
        let error = self.drive("the eviction", evict).expect_err("it is not declared");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }

    /// `future`'s output; polled only when woken.
    pub(super) fn drive<F: Future>(&self, what: &str, future: F) -> F::Output {
        Driven::new(future).finish(self.patience(), what)
    }

    /// Returns once everything that was asked of the arbiter so far has been answered, as far
    /// as clients can bring that about: by a round trip of each.
    pub(super) fn round_trip(&self) {
        for client in [Some(&self.backend), self.theirs.as_ref()].into_iter().flatten() {
            let probe = client.named("settle").wait(false).acquire_async();
            if let Ok(guard) = self.drive("a round trip", probe) {
                // Another case's thread may do the same meanwhile, so a refusal is an answer too.
                let _: Result<(), LockError> = self.drive("a round trip", guard.release_async());
            }
        }
    }

    /// Two clients that ask one after the other have been heard in this order.
    pub(super) fn meet(&self) {
        if self.theirs.is_some() {
            self.round_trip();
        }
    }

    /// Runs `body` on a thread of its own.
    pub(super) fn thread<T: Send + 'static>(
        &self,
        name: &str,
        body: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Running<T> {
        let subject = self.clone();
        Running::start(name, self.patience(), move || body(&subject))
    }

    // What the arbiter says.

    /// The error says that a hold was lost, and why; what another client of a store with leases did
    /// to it the store may have forgotten.
    #[track_caller]
    pub(super) fn assert_lost_error(&self, error: &LockError, cause: LostCause) {
        assert!(error.is_lost(), "{error:?}");
        let may_forget = self.theirs.is_some() && self.can().exclusion <= Exclusion::Lease;
        let forgotten = ErrorKind::Lost { cause: LostCause::Forgotten };
        if !(may_forget && error.kind() == forgotten) {
            assert_eq!(error.kind(), ErrorKind::Lost { cause }, "{error:?}");
        }
    }

    /// The lock has been taken from `guard`: it knows at once within a process, and elsewhere
    /// when it hears of it, at the latest when its lease is over (C8).
    #[track_caller]
    pub(super) fn assert_lost(&self, guard: &OwnedGuard, cause: LostCause) {
        let lost = ErrorKind::Lost { cause };
        if self.can().exclusion == Exclusion::Process {
            assert!(guard.is_lost(), "{guard:?} is not told of its loss");
            assert_eq!(guard.check().map_err(|error| error.kind()), Err(lost));
        }
        self.until("the guard learns of its loss", || {
            self.advance(self.tick());
            guard.is_lost()
        });
        assert!(guard.check().expect_err("it is lost").is_lost());
    }

    /// What is listed for `key`, if anything.
    #[track_caller]
    pub(super) fn list(&self, key: &str) -> Option<LockInfo> {
        self.list_at(&self.backend, key)
    }

    /// What the other side is told of `key`, if anything.
    #[track_caller]
    pub(super) fn their_list(&self, key: &str) -> Option<LockInfo> {
        self.list_at(self.their_backend(), key)
    }

    #[track_caller]
    fn list_at(&self, backend: &Backend, key: &str) -> Option<LockInfo> {
        let query = Query::Key(key.to_owned());
        let mut infos = match self.drive("the list", backend.inspect(query)) {
            Ok(infos) => infos,
            Err(error) => panic!("not listed: {error:?}"),
        };
        assert!(infos.len() <= 1, "one key is listed twice: {infos:?}");
        let info = infos.pop()?;
        assert_eq!(info.key, key, "another key is listed");
        Some(info)
    }

    /// Who holds `key`, by what the other side is told.
    #[track_caller]
    pub(super) fn holders(&self, key: &str) -> Vec<HolderInfo> {
        self.their_list(key).map(|info| info.holders).unwrap_or_default()
    }

    /// How many waiters are listed for `key`; `None` where waiters are not listed.
    #[track_caller]
    pub(super) fn waiters(&self, key: &str) -> Option<usize> {
        // Those of other clients are listed when the arbiter knows of them, if at all.
        let listed = self.can().listing && self.can().listing_waiters && self.theirs.is_none();
        listed.then(|| self.list(key).map_or(0, |info| info.waiters.len()))
    }

    /// Asserts that what the backend does not declare is refused by name (C15), also where it
    /// would make no difference: on a free key.
    #[track_caller]
    pub(super) fn assert_unsupported(&self, option: &str, lock: LockBuilder<'_>) {
        let error = self.refused(lock.wait(false), ErrorKind::Unsupported);
        let (text, name) = (error.to_string(), &self.backend.about().name);
        assert!(text.contains(option), "`{option}` is not named in «{text}»");
        assert!(text.contains(name.as_str()), "the backend `{name}` is not named in «{text}»");
        assert_eq!(error.backend(), Some(name.as_str()), "{error:?}");
    }

    /// Polls `met` until it is.
    #[track_caller]
    pub(super) fn until(&self, what: &str, mut met: impl FnMut() -> bool) {
        let start = std::time::Instant::now();
        while !met() {
            assert!(start.elapsed() < self.patience(), "it never came about that {what}");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({:?})", self.backend)
    }
}
