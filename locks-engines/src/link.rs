//! The connection of a client, made when a step needs it and made anew when it is lost.

#[cfg(any(feature = "postgres", feature = "redis"))]
mod silence;

use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use locks_core::fork::PerProcess;
use locks_core::{AcquisitionId, LockError, Op, Wake, WakeSink};

#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) use self::silence::{SILENCE, renewal_silence};
use crate::driver;

/// The pause before a connection is tried again after a failure, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How long it may take to reach a server at most: as long as anybody waits, and short enough to be
/// multiplied and added to a time.
pub(crate) const LONGEST_CONNECT: Duration = Duration::from_secs(86_400);

/// What is added at most for a slow link.
const LONGEST_GRACE: Duration = Duration::from_secs(5);

/// The state of the connection to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// No request has needed the connection yet.
    Idle,
    /// It is connected to a server of this version.
    Connected {
        /// The version that the server reports, as in `16.4`; at Redis also what it is and how it
        /// was found, as in `Redis 7.0.15, RESP3`, and at PostgreSQL why waiters are not called
        /// where `listen` fails.
        version: String,
    },
    /// It is not connected.
    Lost {
        /// Why not.
        why: String,
    },
}

/// What a client connects to, whichever process it is in.
pub(crate) trait Target: Send + Sync + Sized + 'static {
    /// What steps are sent by.
    type Connection: Clone + Send + Sync + 'static;

    /// Connects once, on the driver; to the connection and the server's version.
    ///
    /// `number` is that of the connection: what the task that reads it says when it is
    /// [lost](Link::lost), which it may do at once.
    fn connect(
        link: &Arc<Link<Self>>,
        number: u64,
    ) -> impl Future<Output = Result<(Self::Connection, String), LockError>> + Send;
}

/// The connections of a client: one for each process that has it by forks.
pub(crate) struct Links<T: Target> {
    /// What the backend is called.
    pub(crate) name: String,
    pub(crate) target: Arc<T>,
    hints: Arc<Hints>,
    links: PerProcess<Arc<Link<T>>>,
}

/// The one connection of a client, which is of one process.
pub(crate) struct Link<T: Target> {
    /// What the backend is called.
    pub(crate) name: String,
    pub(crate) target: Arc<T>,
    /// The name of this client, by which it is called.
    pub(crate) client: String,
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) trip: Trip,
    hints: Arc<Hints>,
    /// Called when a connection is given up that is silent: nothing else ends what is asked on it.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    fell_silent: tokio::sync::Notify,
    /// Held for moments only, and never while anything is waited for.
    now: Mutex<Now<T::Connection>>,
    /// Held by the step that connects, so that the others wait for it.
    connecting: tokio::sync::Mutex<Pause>,
}

/// How long answers have taken of late, in microseconds.
#[derive(Default)]
pub(crate) struct Trip(AtomicU64);

/// A connection, and which of its [`Link`]'s it is.
#[derive(Clone)]
pub(crate) struct Connected<C> {
    connection: C,
    number: u64,
}

/// Where a store's hints go: each process that has it has an adapter of its own.
#[derive(Default)]
struct Hints(PerProcess<WakeSink>);

struct Now<C> {
    connected: Option<Connected<C>>,
    state: LinkState,
    /// Of the connection that was tried last.
    number: u64,
    /// The last one that is lost.
    lost: u64,
}

/// When the next attempt may be made.
struct Pause {
    next: Option<Instant>,
    length: Duration,
    /// What came of the last one, if it failed, and when.
    failed: Option<(Instant, LockError)>,
}

impl<T: Target> Links<T> {
    pub(crate) fn new(name: String, target: T) -> Arc<Self> {
        Arc::new(Self {
            name,
            target: Arc::new(target),
            hints: Arc::default(),
            links: PerProcess::new(),
        })
    }

    pub(crate) fn of_this_process(&self) -> &Arc<Link<T>> {
        self.links.get_or_init(|| {
            Arc::new(Link {
                name: self.name.clone(),
                target: self.target.clone(),
                client: AcquisitionId::unique().to_string(),
                #[cfg(any(feature = "postgres", feature = "redis"))]
                trip: Trip::default(),
                #[cfg(any(feature = "postgres", feature = "redis"))]
                fell_silent: tokio::sync::Notify::new(),
                hints: self.hints.clone(),
                now: Mutex::new(Now {
                    connected: None,
                    state: LinkState::Idle,
                    number: 0,
                    lost: 0,
                }),
                connecting: tokio::sync::Mutex::new(Pause::none()),
            })
        })
    }

    /// The server at the other end, if it is connected, after `what` it is.
    pub(crate) fn served_by(&self, what: &str) -> Option<String> {
        match self.of_this_process().state() {
            LinkState::Connected { version } => Some(format!("{what}{version}")),
            _ => None,
        }
    }

    /// Has hints go there from now on. `false` if they already go elsewhere.
    pub(crate) fn subscribe(&self, sink: WakeSink) -> bool {
        let mut sink = Some(sink);
        let _ = self.hints.0.get_or_init(|| sink.take().expect("it is asked for once"));
        sink.is_none()
    }

    /// Runs on the driver what needs the connection. It goes on if the operation is dropped.
    pub(crate) fn drive<'a, A, F>(&self, step: impl FnOnce(Arc<Link<T>>) -> F) -> Op<'a, A>
    where
        A: Send + 'static,
        F: Future<Output = Result<A, LockError>> + Send + 'static,
    {
        let link = self.of_this_process().clone();
        match driver::run(step(link.clone())) {
            Ok(outcome) => Op::later(async move {
                outcome.await.unwrap_or_else(|| {
                    let why = "its client ended in the middle of a step; if it panicked, standard \
                               error says where";
                    Err(LockError::unavailable(&link.name, why))
                })
            }),
            Err(error) => Op::failed(LockError::unavailable(&self.name, error)),
        }
    }
}

impl<T: Target> Link<T> {
    pub(crate) fn state(&self) -> LinkState {
        self.now().state.clone()
    }

    /// Passes a hint on.
    pub(crate) fn wake(&self, wake: &Wake) {
        if let Some(sink) = self.hints.0.get() {
            sink.wake(wake);
        }
    }

    /// Returns the connection, making it if there is none.
    ///
    /// # Errors
    /// What keeps it from being made: the step was not sent.
    pub(crate) async fn connected(self: &Arc<Self>) -> Result<Connected<T::Connection>, LockError> {
        if let Some(connected) = &self.now().connected {
            return Ok(connected.clone());
        }
        let begun = Instant::now();
        let mut pause = self.connecting.lock().await;
        if let Some(connected) = &self.now().connected {
            return Ok(connected.clone());
        }
        // Whoever has waited for an attempt has its answer. If each tried for itself, one after the
        // other, they would become ever more for as long as a server is away, and come upon it all
        // at once.
        if let Some((_, error)) = pause.failed.as_ref().filter(|(at, _)| *at >= begun) {
            return Err(again(error));
        }
        if let Some(next) = pause.next {
            tokio::time::sleep_until(next.into()).await;
        }
        // Seldom, and large: no step has to have room for it.
        match Box::pin(self.connect()).await {
            Ok(connected) => {
                *pause = Pause::none();
                Ok(connected)
            }
            Err(error) => {
                pause.next = Some(Instant::now() + pause.length);
                pause.length = (pause.length * 2).min(PAUSES.1);
                self.now().state = LinkState::Lost { why: error.to_string() };
                pause.failed = Some((Instant::now(), again(&error)));
                Err(error)
            }
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<Connected<T::Connection>, LockError> {
        let number = {
            let mut now = self.now();
            now.number += 1;
            now.number
        };
        let (connection, version) = T::connect(self, number).await?;
        let connected = Connected { connection, number };
        {
            let mut now = self.now();
            if now.lost == number {
                return Err(LockError::unavailable(&self.name, "the connection was lost at once"));
            }
            now.connected = Some(connected.clone());
            now.state = LinkState::Connected { version };
        }
        // Whoever was called while there was no connection has not heard of it.
        self.wake(&Wake::Any);
        Ok(connected)
    }

    /// Gives the connection of that number up, unless there is another one by now.
    /// Returns whether it was this one.
    pub(crate) fn lost(&self, number: u64, why: &str) -> bool {
        let mut now = self.now();
        let is_news = now.number == number && now.lost != number;
        if is_news {
            now.lost = number;
            let gone = now.connected.take();
            now.state = LinkState::Lost { why: why.to_owned() };
            drop(now);
            drop(gone);
        }
        is_news
    }

    /// Sets the version that people are shown, of the connection of that number.
    #[cfg(feature = "postgres")]
    pub(crate) fn describe(&self, number: u64, version: String) {
        let mut now = self.now();
        if now.connected.as_ref().is_some_and(|connected| connected.number == number) {
            now.state = LinkState::Connected { version };
        }
    }

    /// Whether the connection of that number is the last one that was made or tried, and is not
    /// lost.
    #[cfg(feature = "redis")]
    pub(crate) fn is_current(&self, number: u64) -> bool {
        let now = self.now();
        now.number == number && now.lost != number
    }

    fn now(&self) -> MutexGuard<'_, Now<T::Connection>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trip {
    /// Notes that one took so long: the longest counts, and fades.
    pub(crate) fn took(&self, time: Duration) {
        let took = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.store(took.max(self.0.load(Ordering::Relaxed) / 8 * 7), Ordering::Relaxed);
    }

    /// How much longer than others one that waits here may take to claim when it is called: the
    /// call has to come, and the claim has to arrive.
    pub(crate) fn grace(&self) -> Duration {
        let trip = Duration::from_micros(self.0.load(Ordering::Relaxed));
        trip.saturating_mul(2).min(LONGEST_GRACE)
    }
}

impl Pause {
    fn none() -> Self {
        Self { next: None, length: PAUSES.0, failed: None }
    }
}

/// The same error once more.
fn again(error: &LockError) -> LockError {
    let mut same = LockError::new(error.kind(), error.key());
    if let Some(backend) = error.backend() {
        same = same.with_backend(backend);
    }
    if let Some(message) = error.message() {
        same = same.with_message(message.to_owned());
    }
    match error.inner() {
        Some(source) => same.with_source(source.to_string()),
        None => same,
    }
}

impl<C> Connected<C> {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl<C> Deref for Connected<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use locks_core::ErrorKind;
    use tokio::sync::Semaphore;

    use super::*;

    /// A server that is away: each attempt ends when it is told to.
    struct Away {
        attempts: AtomicU32,
        ends: Semaphore,
    }

    impl Target for Away {
        type Connection = ();

        async fn connect(link: &Arc<Link<Self>>, _: u64) -> Result<((), String), LockError> {
            link.target.attempts.fetch_add(1, Ordering::SeqCst);
            link.target.ends.acquire().await.expect("it is open").forget();
            Err(LockError::unavailable(&link.name, "it is away"))
        }
    }

    #[test]
    fn a_step_that_panics_names_its_backend() {
        let away = Away { attempts: AtomicU32::new(0), ends: Semaphore::new(0) };
        let links = Links::new("a server".into(), away);
        let step = links.drive(async |_| -> Result<(), LockError> { panic!("on purpose") });
        let error = step.block().expect_err("it panicked");
        assert_eq!((error.kind(), error.backend()), (ErrorKind::Unavailable, Some("a server")));
        assert!(error.to_string().contains("in the middle of a step"), "{error}");
    }

    #[tokio::test]
    async fn those_who_wait_for_an_attempt_share_its_failure() {
        let away = Away { attempts: AtomicU32::new(0), ends: Semaphore::new(0) };
        let links = Links::new("a server".into(), away);
        let link = links.of_this_process().clone();
        let steps: Vec<_> = (0..20)
            .map(|_| {
                let link = link.clone();
                tokio::spawn(async move { link.connected().await.map(drop).unwrap_err() })
            })
            .collect();
        while link.target.attempts.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        link.target.ends.add_permits(20);
        for step in steps {
            let error = step.await.expect("it does not panic");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("it is away"), "{error}");
        }
        assert_eq!(link.target.attempts.load(Ordering::SeqCst), 1);
        assert!(link.connected().await.is_err(), "who comes later tries anew");
        assert_eq!(link.target.attempts.load(Ordering::SeqCst), 2);
    }
}
