//! The connection of a client, made when a step needs it and made anew when it is lost.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use locks_core::{AcquisitionId, ErrorKind, LockError, Wake, WakeSink};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, PushInfo, PushKind, Value};
use tokio::sync::mpsc::UnboundedReceiver;

use super::fault::Fault;
use super::info::Info;
use super::layout::Layout;
use super::scripts::Scripts;

/// How long a command may go unanswered before its connection is given up. The adapter gives up on a step
/// sooner; this is for connections that nothing else finds out about.
const SILENCE: Duration = Duration::from_secs(5);
/// The pause before a connection is tried again after a failure, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What a client is connected to, and what it knows of it.
#[derive(Clone)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    pub(super) scripts: Arc<Scripts>,
    /// For how long an isolated server goes on to take writes (`min-replicas-max-lag`).
    pub(super) lag: Duration,
    /// Which of the connections of its [`Link`] it is.
    number: u64,
}

/// The state of a connection, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Nothing has asked for it yet.
    Idle,
    /// It is connected to a server of this version.
    Connected {
        /// What the server says of itself, as in `7.0.15`.
        version: String,
    },
    /// It is not connected.
    Lost {
        /// Why not.
        why: String,
    },
}

/// Where a client connects to, whichever process it is in.
pub(super) struct Target {
    /// What the backend is called.
    pub(super) name: String,
    pub(super) info: ConnectionInfo,
    pub(super) layout: Layout,
    /// Whether a server may be one that evicts any key.
    pub(super) evictable: bool,
    /// How long an attempt to connect may take.
    pub(super) reach: Duration,
    /// Where hints go.
    pub(super) sink: OnceLock<WakeSink>,
}

/// The one connection of a client, which is of one process.
pub(super) struct Link {
    target: Arc<Target>,
    /// The name of this client, by which it is called.
    pub(super) client: String,
    /// Held for moments only, and never while anything is waited for.
    now: Mutex<Now>,
    /// Held by the step that connects, so that the others wait for it.
    connecting: tokio::sync::Mutex<Pause>,
}

struct Now {
    connected: Option<Connected>,
    state: LinkState,
    number: u64,
}

/// When the next attempt may be made.
struct Pause {
    next: Option<Instant>,
    length: Duration,
}

impl Link {
    pub(super) fn new(target: &Arc<Target>) -> Arc<Self> {
        Arc::new(Self {
            target: target.clone(),
            client: AcquisitionId::unique().to_string(),
            now: Mutex::new(Now { connected: None, state: LinkState::Idle, number: 0 }),
            connecting: tokio::sync::Mutex::new(Pause { next: None, length: PAUSES.0 }),
        })
    }

    pub(super) fn state(&self) -> LinkState {
        self.now().state.clone()
    }

    pub(super) fn name(&self) -> &str {
        &self.target.name
    }

    /// Returns the connection, making it if there is none.
    ///
    /// # Errors
    /// What keeps it from being made: the step was not sent.
    pub(super) async fn connected(self: &Arc<Self>) -> Result<Connected, LockError> {
        if let Some(connected) = &self.now().connected {
            return Ok(connected.clone());
        }
        let mut pause = self.connecting.lock().await;
        if let Some(connected) = &self.now().connected {
            return Ok(connected.clone());
        }
        if let Some(next) = pause.next {
            tokio::time::sleep_until(next.into()).await;
        }
        match self.connect().await {
            Ok(connected) => {
                *pause = Pause { next: None, length: PAUSES.0 };
                Ok(connected)
            }
            Err(error) => {
                pause.next = Some(Instant::now() + pause.length);
                pause.length = (pause.length * 2).min(PAUSES.1);
                self.now().state = LinkState::Lost { why: error.to_string() };
                Err(error)
            }
        }
    }

    /// Takes a failed command into account, and returns its error.
    pub(super) fn failed(&self, connected: &Connected, error: redis::RedisError) -> LockError {
        let Fault { error, reconnect } = Fault::of(&self.target.name, error);
        if reconnect {
            self.lost(connected.number, &error.to_string());
        }
        error
    }

    /// Gives a connection up that leads to another server than it did, and returns that as an error.
    pub(super) fn replaced(&self, connected: &Connected) -> LockError {
        let why = "another server answers at its address";
        self.lost(connected.number, why);
        LockError::unavailable(&self.target.name, why)
    }

    fn lost(&self, number: u64, why: &str) {
        let mut now = self.now();
        if now.number == number && now.connected.is_some() {
            let gone = now.connected.take();
            now.state = LinkState::Lost { why: why.to_owned() };
            drop(now);
            drop(gone);
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<Connected, LockError> {
        let fault = |error| Fault::of(&self.target.name, error).error;
        let (pushes, pushed) = tokio::sync::mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.target.reach))
            .set_response_timeout(Some(SILENCE))
            .set_push_sender(pushes);
        let client = Client::open(self.target.info.clone()).map_err(fault)?;
        let mut connection =
            client.get_multiplexed_async_connection_with_config(&config).await.map_err(fault)?;
        let text =
            redis::cmd("INFO").query_async::<String>(&mut connection).await.map_err(fault)?;
        let info = Info::parse(&text);
        self.check(&info)?;
        let lag = lag(&mut connection).await;
        let scripts = Arc::new(Scripts::new(info.run, info.replication));
        let mut load = redis::pipe();
        for script in scripts.for_any_server() {
            load.cmd("SCRIPT").arg("LOAD").arg(&script.text).ignore();
        }
        load.exec_async(&mut connection).await.map_err(fault)?;
        connection.subscribe(self.target.layout.channel(&self.client)).await.map_err(fault)?;
        let mut now = self.now();
        now.number += 1;
        let connected = Connected { connection, scripts, lag, number: now.number };
        now.connected = Some(connected.clone());
        now.state = LinkState::Connected { version: info.version.to_owned() };
        drop(now);
        tokio::spawn(listen(Arc::downgrade(self), connected.number, pushed));
        // Whoever was called while there was no connection has not heard of it.
        if let Some(sink) = self.target.sink.get() {
            sink.wake(&Wake::Any);
        }
        Ok(connected)
    }

    /// Refuses a server that cannot keep locks.
    fn check(&self, info: &Info<'_>) -> Result<(), LockError> {
        let name = &self.target.name;
        let refused = |why: String| {
            Err(LockError::new(ErrorKind::NotConfigured, "").with_backend(name).with_message(why))
        };
        if info.major().is_none_or(|major| major < 7) {
            return refused(format!(
                "`{name}` is version {} of Redis, and locks need 7.0 or later, or Valkey",
                info.version
            ));
        }
        if info.role != "master" {
            let why = "it is a replica, which takes no writes: name the primary";
            return Err(LockError::unavailable(name, why));
        }
        if info.loading {
            return Err(LockError::unavailable(name, "it is loading its data"));
        }
        if info.policy.starts_with("allkeys") && !self.target.evictable {
            return refused(format!(
                "`{name}` evicts any key when its memory is full (`maxmemory-policy {}`), also that \
                 of a held lock: set `noeviction`, or accept it by `?evictable=allow`",
                info.policy
            ));
        }
        Ok(())
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long a server without its replicas goes on to take writes; zero where it does so for ever, or
/// does not say.
async fn lag(connection: &mut MultiplexedConnection) -> Duration {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg("min-replicas-*");
    let Ok(settings) = ask.query_async::<std::collections::HashMap<String, u64>>(connection).await
    else {
        return Duration::ZERO;
    };
    let of = |name| settings.get(name).copied().unwrap_or(0);
    match of("min-replicas-to-write") {
        0 => Duration::ZERO,
        _ => Duration::from_secs(of("min-replicas-max-lag")),
    }
}

/// Passes hints on, until the connection ends.
async fn listen(link: std::sync::Weak<Link>, number: u64, mut pushed: UnboundedReceiver<PushInfo>) {
    while let Some(push) = pushed.recv().await {
        let Some(link) = link.upgrade() else { return };
        match push.kind {
            PushKind::Message => {
                let key = match push.data.get(1) {
                    Some(Value::BulkString(key)) => String::from_utf8(key.clone()).ok(),
                    Some(Value::SimpleString(key)) => Some(key.clone()),
                    _ => None,
                };
                if let Some(sink) = link.target.sink.get() {
                    sink.wake(&key.map_or(Wake::Any, Wake::Key));
                }
            }
            PushKind::Disconnection => return link.lost(number, "the connection was lost"),
            _ => {}
        }
    }
}
