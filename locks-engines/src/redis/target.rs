//! A Redis server as what a client connects to.

use std::sync::{Arc, Weak};
use std::time::Duration;

use locks_core::{ErrorKind, LockError, Wake};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, PushInfo, PushKind, Value};
use tokio::sync::mpsc::UnboundedReceiver;

use super::fault::Fault;
use super::info::Info;
use super::layout::Layout;
use super::scripts::Scripts;
use crate::link::{Connected, Link, Target};

/// How long a command may go unanswered before its connection is given up. The adapter gives up on a step
/// sooner; this is for connections that nothing else finds out about.
const SILENCE: Duration = Duration::from_secs(5);

/// The connection, and what a client knows of the server at its other end.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    pub(super) scripts: Arc<Scripts>,
    /// For how long an isolated server goes on to take writes (`min-replicas-max-lag`).
    pub(super) lag: Duration,
}

/// A server, and what is asked of it.
pub(super) struct Server {
    pub(super) info: ConnectionInfo,
    pub(super) layout: Layout,
    /// Whether it may be one that evicts any key.
    pub(super) evictable: bool,
    /// How long an attempt to connect may take.
    pub(super) reach: Duration,
}

impl Target for Server {
    type Connection = Connection;

    async fn connect(
        link: &Arc<Link<Self>>,
        number: u64,
    ) -> Result<(Connection, String), LockError> {
        let server = &link.target;
        let fault = |error| Fault::of(&link.name, error).error;
        let (pushes, pushed) = tokio::sync::mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(server.reach))
            .set_response_timeout(Some(SILENCE))
            .set_push_sender(pushes);
        let client = Client::open(server.info.clone()).map_err(fault)?;
        let mut commands =
            client.get_multiplexed_async_connection_with_config(&config).await.map_err(fault)?;
        let text = redis::cmd("INFO").query_async::<String>(&mut commands).await.map_err(fault)?;
        let info = Info::parse(&text);
        server.check(&link.name, &info)?;
        let lag = lag(&mut commands).await;
        let scripts = Arc::new(Scripts::new(info.run, info.replication));
        let mut load = redis::pipe();
        for script in scripts.for_any_server() {
            load.cmd("SCRIPT").arg("LOAD").arg(&script.text).ignore();
        }
        load.exec_async(&mut commands).await.map_err(fault)?;
        commands.subscribe(server.layout.channel(&link.client)).await.map_err(fault)?;
        tokio::spawn(listen(Arc::downgrade(link), number, pushed));
        Ok((Connection { commands, scripts, lag }, info.version.to_owned()))
    }
}

/// Takes a failed command into account, and returns its error.
pub(super) fn failed(
    link: &Link<Server>,
    connected: &Connected<Connection>,
    error: redis::RedisError,
) -> LockError {
    let Fault { error, reconnect } = Fault::of(&link.name, error);
    if reconnect {
        link.lost(connected.number(), &error.to_string());
    }
    error
}

/// Gives a connection up that leads to another server than it did, and returns that as an error.
pub(super) fn replaced(link: &Link<Server>, connected: &Connected<Connection>) -> LockError {
    let why = "another server answers at its address";
    link.lost(connected.number(), why);
    LockError::unavailable(&link.name, why)
}

impl Server {
    /// Refuses a server that cannot keep locks.
    fn check(&self, name: &str, info: &Info<'_>) -> Result<(), LockError> {
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
        if info.policy.starts_with("allkeys") && !self.evictable {
            return refused(format!(
                "`{name}` evicts any key when its memory is full (`maxmemory-policy {}`), also that \
                 of a held lock: set `noeviction`, or accept it by `?evictable=allow`",
                info.policy
            ));
        }
        Ok(())
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
async fn listen(link: Weak<Link<Server>>, number: u64, mut pushed: UnboundedReceiver<PushInfo>) {
    while let Some(push) = pushed.recv().await {
        let Some(link) = link.upgrade() else { return };
        match push.kind {
            PushKind::Message => {
                let key = match push.data.get(1) {
                    Some(Value::BulkString(key)) => String::from_utf8(key.clone()).ok(),
                    Some(Value::SimpleString(key)) => Some(key.clone()),
                    _ => None,
                };
                link.wake(&key.map_or(Wake::Any, Wake::Key));
            }
            PushKind::Disconnection => {
                link.lost(number, "the connection was lost");
                return;
            }
            _ => {}
        }
    }
}
