//! A backend for tests of code that uses locks, which does as the test says. The manual's page on
//! [testing](crate::manual::testing) shows how to bring it to the code under test.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{
    Backend, BackendInfo, Capabilities, Engine, Granted, Hold, HolderInfo, LockBackend, LockError,
    LockInfo, LostCause, ManualClock, Op, OwnedGuard, Query, Request, Token,
};

/// How long, in real time, [`TestBackend::until_waiting`] has patience.
const PATIENCE: Duration = Duration::from_secs(10);

/// A backend for tests: the in-process engine with a clock that stands still, holds that can be
/// taken away, and an arbiter that can go out of reach.
///
/// It shares no lock with any other backend, so tests that run at the same time and have one each
/// do not meet. Clones are the same backend.
///
/// ```
/// use locks::LostCause;
/// use locks::testing::TestBackend;
///
/// let locks = TestBackend::new();
/// let guard = locks.backend().named("report").acquire()?;
/// locks.lose("report", LostCause::Expired);
/// assert!(guard.is_lost());
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone)]
pub struct TestBackend {
    engine: Engine,
    clock: ManualClock,
    reach: Arc<Reach>,
    backend: Backend,
}

impl TestBackend {
    /// Creates a backend without holds.
    pub fn new() -> Self {
        let clock = ManualClock::new();
        let about = BackendInfo::new("test:", Capabilities::process());
        let engine = Engine::builder().about(about).clock(Arc::new(clock.clone())).build();
        let reach = Arc::new(Reach(Mutex::new(Ok(()))));
        let arbiter = Arbiter { engine: engine.clone(), reach: reach.clone() };
        Self { engine, clock, reach, backend: Backend::new(arbiter) }
    }

    /// Returns the backend, for the attribute's `backend`, the builder's `on`, or
    /// [`install`](crate::install).
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Acquires `key` for an unrelated holder: no request re-enters the hold, and no wait for it is
    /// a deadlock.
    ///
    /// # Panics
    /// If the key is held already, or is not a valid key.
    #[track_caller]
    pub fn contend(&self, key: &str) -> OwnedGuard {
        match Backend::new(self.engine.clone()).named(key).wait(false).acquire() {
            Ok(guard) => guard.into_owned(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Revokes all holds of `key`, as if for this `cause`: their guards are lost. Returns their
    /// number.
    pub fn lose(&self, key: &str, cause: LostCause) -> usize {
        let holders = self.found(key).into_iter().flat_map(|lock| lock.holders);
        let tokens = holders.filter_map(|holder| holder.token);
        tokens.filter(|token| self.engine.lose(key, *token, cause)).count()
    }

    /// Advances the clock, which otherwise stands still: waits time out, holds become old enough to
    /// be stolen, bounds run out. A wait counts from its beginning, so let it begin first; see
    /// [`until_waiting`](Self::until_waiting). The threads and tasks that it wakes may run only
    /// after it has returned.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Returns the number of requests that queue for `key` at this moment.
    pub fn waiting(&self, key: &str) -> usize {
        self.found(key).iter().map(|lock| lock.waiters.len()).sum()
    }

    /// Blocks until another thread queues for `key`. A task on this thread cannot run meanwhile;
    /// for those use [`until_waiting_async`](Self::until_waiting_async).
    ///
    /// # Panics
    /// If none does for ten seconds of real time.
    #[track_caller]
    pub fn until_waiting(&self, key: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.waiting(key) == 0 {
            assert!(Instant::now() < deadline, "nobody waits for `{key}` after {PATIENCE:?}");
            thread::yield_now();
        }
    }

    /// Waits until a request queues for `key`, letting other tasks run meanwhile: for requests of
    /// this thread's own executor.
    ///
    /// ```
    /// use locks::testing::TestBackend;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let locks = TestBackend::new();
    /// let other = locks.contend("report");
    /// let request = locks.backend().named("report");
    /// let waiting = tokio::spawn(async move { request.acquire_async().await.map(drop) });
    /// locks.until_waiting_async("report").await;
    /// drop(other);
    /// waiting.await.unwrap().unwrap();
    /// # });
    /// ```
    ///
    /// # Panics
    /// If none does for ten seconds of real time.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn until_waiting_async(&self, key: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.waiting(key) == 0 {
            assert!(Instant::now() < deadline, "nobody waits for `{key}` after {PATIENCE:?}");
            let mut yielded = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut yielded, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }

    /// Sets whether the backend can be reached. With `false`, every request and release fails with
    /// [`Unavailable`](crate::ErrorKind::Unavailable) from now on, as if the arbiter were out of
    /// reach. Holds remain. A release that is made meanwhile takes effect once the backend can be
    /// reached again; until then the key stays held.
    pub fn set_reachable(&self, reachable: bool) {
        let mut reach = self.reach.lock();
        let unsent = match (&mut *reach, reachable) {
            (Ok(()), false) => {
                *reach = Err(Vec::new());
                return;
            }
            (Err(unsent), true) => std::mem::take(unsent),
            (Ok(()), true) | (Err(_), false) => return,
        };
        *reach = Ok(());
        drop(reach);
        for hold in unsent {
            drop(self.engine.release(hold));
        }
    }

    fn found(&self, key: &str) -> Vec<LockInfo> {
        let found = self.engine.inspect(Query::Key(key.to_owned())).block();
        found.expect("the engine can list")
    }
}

impl Default for TestBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestBackend({:?}, {:?})", self.engine, self.clock)
    }
}

/// Whether the arbiter can be reached; if not, what was released meanwhile.
struct Reach(Mutex<Result<(), Vec<Hold>>>);

impl Reach {
    fn lock(&self) -> std::sync::MutexGuard<'_, Result<(), Vec<Hold>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine, as far as it can be reached.
struct Arbiter {
    engine: Engine,
    reach: Arc<Reach>,
}

impl Arbiter {
    fn reach(&self) -> Result<&Engine, LockError> {
        if self.reach.lock().is_ok() { Ok(&self.engine) } else { Err(self.unreachable()) }
    }

    fn unreachable(&self) -> LockError {
        let why = "the test said `set_reachable(false)`";
        LockError::unavailable(&self.engine.about().name, why)
    }
}

impl Drop for Arbiter {
    /// A hold is given back to its engine in the end.
    fn drop(&mut self) {
        let unsent = self.reach.lock().as_mut().err().map(std::mem::take);
        for hold in unsent.into_iter().flatten() {
            drop(self.engine.release(hold));
        }
    }
}

impl LockBackend for Arbiter {
    fn about(&self) -> &BackendInfo {
        self.engine.about()
    }

    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        let granted = match self.reach() {
            Ok(engine) => engine.acquire(request),
            Err(error) => return Op::failed(error),
        };
        Op::later(async move {
            // Of somebody who cannot ask it is not known whether the lock was to be had (C2).
            granted.await.map_err(|error| match self.reach() {
                Err(unreachable) if error.is_contended() => unreachable,
                _ => error,
            })
        })
    }

    fn release(&self, hold: Hold) -> Op<'static, ()> {
        if let Err(unsent) = &mut *self.reach.lock() {
            unsent.push(hold);
            return Op::failed(self.unreachable());
        }
        self.engine.release(hold)
    }

    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        self.engine.poll_lost(hold, cx)
    }

    fn unwatch(&self, hold: &Hold, waker: &Waker) {
        self.engine.unwatch(hold, waker);
    }

    fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        self.reach().map_or_else(Op::failed, |engine| engine.refresh(hold))
    }

    fn detach_owner(&self, hold: &Hold) {
        self.engine.detach_owner(hold);
    }

    fn mark_done(&self, hold: &Hold) {
        self.engine.mark_done(hold);
    }

    fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo> {
        self.engine.stolen_from(hold)
    }

    fn share(&self, hold: &Hold) -> Op<'static, ()> {
        self.reach().map_or_else(Op::failed, |engine| engine.share(hold))
    }

    fn keys(&self, hold: &Hold) -> Vec<String> {
        self.engine.keys(hold)
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        self.reach().map_or_else(Op::failed, |engine| engine.inspect(query))
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        self.reach().map_or_else(Op::failed, |engine| engine.evict(key, token))
    }
}
