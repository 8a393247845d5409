//! Leader election: a lock for as long as one leads.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use locks_core::{
    Alarm, Backend, Clock, LockBuilder, LockError, Lost, LostCause, Moment, OwnedGuard,
    SystemClock, Token,
};

/// Creates a candidate for the leadership `name` at the default backend, of which one at a time
/// leads, across all programs.
///
/// Leadership is a lock on the key `name`: it passes on when the leader resigns, ends, or its
/// process dies. Against a leader that is still there and does nothing (stopped, hung, without
/// network) there is the lease, where the backend has one (TCP, Redis and other stores), and
/// [`stuck_after`](Election::stuck_after) everywhere else. At `net:` one of the candidates may be
/// the process that runs the server: while that one is stopped, leadership does not pass on. If
/// candidates may be stopped, use another backend.
///
/// ```
/// use std::time::Duration;
///
/// let election = locks::elect("scheduler").stuck_after(Duration::from_secs(30));
/// let leader = election.lead()?; // waits for its turn
/// for job in ["a", "b"] {
///     leader.check()?; // still the leader? And tells the others that it is alive
///     println!("{job}, as leader {}", leader.token());
/// }
/// leader.resign()?;
/// # Ok::<(), locks::LockError>(())
/// ```
///
/// After a steal, or when a lease has run out, the next leader may begin before the last one
/// notices, and for that time two run. [Check](Leader::check) before each effect, and pass the
/// [token](Leader::token) to the store that the effect is on, which refuses the smaller one.
pub fn elect(name: impl Into<String>) -> Election {
    // Whatever the backend's URL says of requests that do not.
    Election { lock: crate::named(name.into()).wait(true), stuck_after: None }
}

/// A candidate for a leadership, with its options; made by [`elect`].
///
/// ```
/// use std::time::Duration;
/// use locks::Backend;
///
/// let election = locks::elect("rotation").on(Backend::process()).label("node-a").stuck_after(Duration::from_secs(60));
/// let leader = election.try_lead()?.expect("there is no other candidate");
/// assert!(election.try_lead()?.is_none(), "a name has one leader");
/// leader.resign()?;
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nobody is elected before `lead`, `try_lead` or `run`"]
pub struct Election {
    lock: LockBuilder<'static>,
    stuck_after: Option<Duration>,
}

impl Election {
    /// Holds the election at `backend` instead of the default one.
    pub fn on(mut self, backend: impl Into<Backend>) -> Self {
        self.lock = self.lock.on(backend);
        self
    }

    /// Takes over from a leader that has not checked its leadership for `limit`. A leader does so
    /// by [`check`](Leader::check), or by polling [`lost`](Leader::lost), and has to do it several
    /// times in `limit`, so choose that longer than the longest step between two checks. All
    /// candidates should have the same.
    pub fn stuck_after(mut self, limit: Duration) -> Self {
        self.lock = self.lock.steal_after(limit);
        self.stuck_after = Some(limit);
        self
    }

    /// Sets the lease: the time for which the backend waits for a leader that has gone silent. It
    /// has no effect on backends whose holds cannot expire.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lock = self.lock.lease(lease);
        self
    }

    /// Labels the candidate, for errors and lists.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.lock = self.lock.label(label);
        self
    }

    /// Waits until elected, blocking the thread.
    ///
    /// # Errors
    /// `Unavailable`, and the other errors of
    /// [`LockBuilder::acquire`](crate::LockBuilder::acquire).
    #[track_caller]
    pub fn lead(&self) -> Result<Leader, LockError> {
        let guard = self.lock.clone().acquire()?.into_owned();
        Ok(Leader::new(guard, self.stuck_after))
    }

    /// Becomes the leader if there is none; returns `None` if there is one.
    ///
    /// # Errors
    /// As [`lead`](Self::lead).
    #[track_caller]
    pub fn try_lead(&self) -> Result<Option<Leader>, LockError> {
        match self.lock.clone().wait(false).acquire() {
            Ok(guard) => Ok(Some(Leader::new(guard.into_owned(), self.stuck_after))),
            Err(error) if error.is_contended() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until elected, without blocking.
    ///
    /// # Errors
    /// As [`lead`](Self::lead).
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the candidate.
    #[track_caller]
    pub fn lead_async(&self) -> impl Future<Output = Result<Leader, LockError>> + Send + use<> {
        let (acquire, stuck_after) = (self.lock.clone().acquire_async(), self.stuck_after);
        async move { Ok(Leader::new(acquire.await?, stuck_after)) }
    }

    /// Runs `lead` while leading. When the leadership is lost, its future is dropped and the
    /// candidate waits to be elected again. Returns when that future does, and resigns when the
    /// last handle to the leader is dropped, which is then unless a handle was kept. A future that
    /// waits for ever does not count as stuck: it is polled, and so keeps its leadership.
    ///
    /// ```
    /// # use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    /// # let run = async {
    /// let done = locks::elect("migrator").run(|leader| async move { leader.token() }).await?;
    /// # let _ = done; Ok::<(), locks::LockError>(()) };
    /// # let Poll::Ready(ran) = pin!(run).poll(&mut Context::from_waker(Waker::noop())) else { panic!() };
    /// # ran.unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`lead`](Self::lead).
    ///
    /// # Cancel safety
    /// Dropping the future drops that of `lead`, and resigns or withdraws.
    pub async fn run<F: Future>(
        &self,
        mut lead: impl FnMut(Arc<Leader>) -> F,
    ) -> Result<F::Output, LockError> {
        loop {
            let leader = Arc::new(self.lead_async().await?);
            // In this scope, so that what is dropped on a loss is dropped before the next election.
            let mut run = pin!(lead(leader.clone()));
            let mut lost = pin!(leader.lost());
            let outcome = poll_fn(|cx| {
                if lost.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                run.as_mut().poll(cx).map(Some)
            });
            if let Some(output) = outcome.await {
                return Ok(output);
            }
        }
    }
}

/// A leader, until it is lost or dropped; see [`elect`].
#[must_use = "a leader that is dropped has resigned"]
pub struct Leader {
    guard: OwnedGuard,
    /// How often to tell that it is alive, and when next.
    refresh: Option<Mutex<Refresh>>,
}

/// No leader has to tell more often than this that it is alive, however short its limit is.
const SHORTEST: Duration = Duration::from_millis(1);

struct Refresh {
    every: Duration,
    /// With a backend that nobody waits for each look tells; its clock may be another one
    /// (`TestBackend`).
    at_each_look: bool,
    next: Moment,
}

impl Leader {
    fn new(guard: OwnedGuard, stuck_after: Option<Duration>) -> Self {
        let at_each_look = guard.is_of_memory();
        let refresh = stuck_after.map(|limit| {
            let every = (limit / 4).max(SHORTEST);
            // The limit counts from the grant, which may have come long before this.
            Mutex::new(Refresh { every, at_each_look, next: SystemClock.now() })
        });
        Self { guard, refresh }
    }

    /// Returns the fencing token: each leader's is greater than that of every leader before.
    pub fn token(&self) -> Token {
        self.guard.token()
    }

    /// Returns an error if the leadership is lost. With [`stuck_after`](Election::stuck_after) it
    /// also refreshes the leadership every now and then, which blocks until a remote backend has
    /// answered.
    ///
    /// # Errors
    /// [`Lost`](locks_core::ErrorKind::Lost), with the cause; with `stuck_after` also `Unavailable`
    /// or another kind if the backend cannot answer.
    pub fn check(&self) -> Result<(), LockError> {
        self.guard.check()?;
        if self.is_due() {
            self.guard.refresh()?;
        }
        Ok(())
    }

    /// Returns an error if the leadership is lost, without blocking; see [`check`](Self::check).
    ///
    /// # Errors
    /// As [`check`](Self::check).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn check_async(&self) -> Result<(), LockError> {
        self.guard.check()?;
        if self.is_due() {
            self.guard.refresh_async().await?;
        }
        Ok(())
    }

    /// Returns a future that completes with the cause when the leadership is lost, and never
    /// otherwise. With [`stuck_after`](Election::stuck_after), polling it refreshes the leadership:
    /// a task that hangs between two polls counts as stuck.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn lost(&self) -> LeadershipLost<'_> {
        LeadershipLost { leader: self, lost: self.guard.lost(), refreshing: None, alarm: None }
    }

    /// Resigns, and blocks until the backend has confirmed it.
    ///
    /// # Errors
    /// [`Lost`](locks_core::ErrorKind::Lost) if the leadership was lost before; `Unavailable` if
    /// the backend does not confirm.
    pub fn resign(self) -> Result<(), LockError> {
        self.guard.release()
    }

    /// Resigns, without blocking; see [`resign`](Self::resign).
    ///
    /// # Errors
    /// As [`resign`](Self::resign).
    ///
    /// # Cancel safety
    /// Dropping the future resigns as well, and discards the outcome.
    pub async fn resign_async(self) -> Result<(), LockError> {
        self.guard.release_async().await
    }

    /// Whether it is time to tell that it is alive; that is the caller's to do then.
    fn is_due(&self) -> bool {
        let Some(refresh) = &self.refresh else { return false };
        let mut refresh = refresh.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemClock.now();
        let due = refresh.at_each_look || refresh.next <= now;
        if due {
            refresh.next = now.after(refresh.every);
        }
        due
    }

    fn next_refresh(&self) -> Option<Moment> {
        let refresh = self.refresh.as_ref()?;
        Some(refresh.lock().unwrap_or_else(PoisonError::into_inner).next)
    }
}

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// A future that completes when a leadership is lost; see [`Leader::lost`].
#[must_use = "futures do nothing unless polled"]
pub struct LeadershipLost<'a> {
    leader: &'a Leader,
    lost: Lost<'a>,
    refreshing: Option<Refreshing<'a>>,
    alarm: Option<Alarm>,
}

type Refreshing<'a> = Pin<Box<dyn Future<Output = Result<(), LockError>> + Send + 'a>>;

impl Future for LeadershipLost<'_> {
    type Output = LostCause;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LostCause> {
        let this = &mut *self;
        let mut has_looked = false;
        loop {
            if let Poll::Ready(cause) = Pin::new(&mut this.lost).poll(cx) {
                return Poll::Ready(cause);
            }
            if let Some(refreshing) = &mut this.refreshing {
                if refreshing.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                // Should it have failed, the next one comes soon; a loss is told of by the guard.
                this.refreshing = None;
            }
            if has_looked || !this.leader.is_due() {
                break;
            }
            has_looked = true;
            this.refreshing = Some(Box::pin(this.leader.guard.refresh_async()));
        }
        if let Some(next) = this.leader.next_refresh() {
            this.alarm = Some(SystemClock.wake_at(next, cx.waker().clone()));
        }
        Poll::Pending
    }
}

impl fmt::Debug for LeadershipLost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeadershipLost").field("leader", self.leader).finish_non_exhaustive()
    }
}
