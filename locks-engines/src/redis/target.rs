//! Redis servers as what a client connects to.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use locks_core::fork::PerProcess;
use locks_core::{ErrorKind, LockError, Wake};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_stream::StreamExt;

use super::dial::{Address, Dialer};
use super::fault::RedisFault;
use super::info::Info;
use super::layout::RedisLayout;
use super::scripts::Scripts;
use super::sentinel::Sentinels;
use super::settings::{Lag, Settings};
use crate::link::{Connected, Link, Target};

/// How often a node may name another one in a row.
pub(super) const HOPS: usize = 5;

/// The connection, and what a client knows of the server at its other end.
#[derive(Clone)]
pub(super) struct RedisConnection {
    pub(super) at: Address,
    pub(super) commands: MultiplexedConnection,
    pub(super) scripts: Arc<Scripts>,
    pub(super) lag: Lag,
    /// For how long at least a server that was promoted can be seen to have been.
    pub(super) memory: Duration,
    pub(super) is_cluster: bool,
    /// The node that keys are being moved to.
    pub(super) aside: Arc<tokio::sync::Mutex<Option<RedisConnection>>>,
}

/// A server, and what is asked of it.
pub(super) struct RedisServer {
    pub(super) place: Discovery,
    pub(super) dialer: Dialer,
    pub(super) layout: RedisLayout,
    /// Whether it may be one that evicts keys.
    pub(super) evictable: bool,
    /// What its users say of its [`Lag`].
    pub(super) max_lag: Option<Duration>,
    /// The node of a cluster that was said to have the keys of the namespace. Each process has
    /// heard for itself: a forked child may find its parent's mutex locked.
    pub(super) home: PerProcess<Mutex<Option<Address>>>,
}

/// Where servers are found.
pub(super) enum Discovery {
    /// A server, or nodes of a cluster; at least one.
    Servers(Vec<Address>),
    /// The one that Sentinels name.
    Watched(Arc<Sentinels>),
}

/// What a server turned out to be.
enum Joined {
    /// The one that keeps the namespace, and what to call it.
    Here(RedisConnection, Pushes, String),
    /// Of a cluster, in which another one keeps it.
    Elsewhere(Address),
}

/// By what way a client is called.
enum Pushes {
    Here(UnboundedReceiver<PushInfo>),
    /// By a connection of their own.
    Apart(Box<PubSub>),
}

impl Target for RedisServer {
    type Connection = RedisConnection;

    async fn connect(
        link: &Arc<Link<Self>>,
        number: u64,
    ) -> Result<(RedisConnection, String), LockError> {
        let server = &link.target;
        let (connection, pushes, mut found) = match &server.place {
            Discovery::Servers(servers) => server.find(link, servers).await?,
            Discovery::Watched(sentinels) => {
                let named = sentinels.find(&link.name).await?;
                let joined = server.join(link, &named.primary).await?;
                let Joined::Here(connection, pushes, mut found) = joined else {
                    return Err(refused(&link.name, "Sentinels watch no node of a cluster".into()));
                };
                let (answers, all) = (named.answers, sentinels.at.len());
                _ = write!(
                    found,
                    ", primary `{}` at {} by {answers} of {all} Sentinels",
                    sentinels.primary, named.primary
                );
                let watch = sentinels.clone().watch(
                    Arc::downgrade(link),
                    link.name.clone(),
                    number,
                    named.primary,
                );
                tokio::spawn(watch);
                (connection, pushes, found)
            }
        };
        match pushes {
            Pushes::Here(pushed) => {
                found.push_str(", RESP3");
                tokio::spawn(listen(Arc::downgrade(link), number, pushed));
            }
            Pushes::Apart(subscriber) => {
                found.push_str(", RESP2 by two connections");
                tokio::spawn(hear(Arc::downgrade(link), number, *subscriber));
            }
        }
        Ok((connection, found))
    }
}

/// Takes a failed command into account, and returns its error.
pub(super) fn failed(
    link: &Link<RedisServer>,
    connected: &Connected<RedisConnection>,
    error: redis::RedisError,
) -> LockError {
    let RedisFault { error, reconnect } = RedisFault::of(&link.name, error);
    if reconnect {
        link.lost(connected.number(), &error.to_string());
    }
    error
}

/// Gives a connection up that leads to another server than it did, and returns that as an error.
pub(super) fn replaced(
    link: &Link<RedisServer>,
    connected: &Connected<RedisConnection>,
) -> LockError {
    let why = "another server answers at its address";
    link.lost(connected.number(), why);
    LockError::unavailable(&link.name, why)
}

fn refused(name: &str, why: String) -> LockError {
    LockError::new(ErrorKind::NotConfigured, "").with_backend(name).with_message(why)
}

impl RedisServer {
    /// Finds the server of the namespace: the single server, or the cluster's node that has its
    /// slot.
    async fn find(
        &self,
        link: &Link<Self>,
        servers: &[Address],
    ) -> Result<(RedisConnection, Pushes, String), LockError> {
        let home = self.home().take();
        let mut failed = None;
        for first in home.iter().chain(servers) {
            let mut at = first.clone();
            for _ in 0..HOPS {
                match self.join(link, &at).await {
                    Ok(Joined::Elsewhere(other)) => at = other,
                    Ok(Joined::Here(connection, pushes, found)) => {
                        *self.home() = (servers.len() > 1 || &at != first).then_some(at);
                        return Ok((connection, pushes, found));
                    }
                    // Another one is no better.
                    Err(error) if error.kind() != ErrorKind::Unavailable => return Err(error),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
        }
        let circular = || LockError::unavailable(&link.name, "its nodes refer to each other");
        Err(failed.unwrap_or_else(circular))
    }

    fn home(&self) -> std::sync::MutexGuard<'_, Option<Address>> {
        self.home.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers which node has the keys.
    pub(super) fn moved(&self, to: Address) {
        *self.home() = Some(to);
    }

    /// Connects to one server and looks what it is.
    async fn join(&self, link: &Link<Self>, at: &Address) -> Result<Joined, LockError> {
        let (name, dialer) = (&link.name, &self.dialer);
        let unspoken = |error| dialer.unspoken(name, at, error);
        let (pushes, pushed) = unbounded_channel();
        let (mut commands, are_pushed) = dialer.commands(name, at, Some(pushes)).await?;
        let sent = Instant::now();
        let text =
            redis::cmd("INFO").query_async::<String>(&mut commands).await.map_err(unspoken)?;
        link.trip.took(sent.elapsed());
        let info = Info::parse(&text);
        let is_cluster = info.mode == "cluster";
        if is_cluster {
            // Whatever node has the slot, its replicas name it as well.
            let mut ask = redis::cmd("EXISTS");
            ask.arg(self.layout.meta());
            match ask.query_async::<u8>(&mut commands).await {
                Err(error) if error.code() == Some("MOVED") => {
                    let to = redirected(&error, at);
                    let to = to.ok_or_else(|| {
                        LockError::unavailable(name, format!("{at} does not say who has the keys"))
                    })?;
                    return Ok(Joined::Elsewhere(to));
                }
                // Its keys are being moved, and this one is still asked first.
                Err(error) if error.code() == Some("ASK") => {}
                Err(error) => return Err(unspoken(error)),
                Ok(_) => {}
            }
        }
        self.check(name, at, &info)?;
        let channel = self.layout.channel(&link.client);
        let pushes = if are_pushed {
            commands.subscribe(&channel).await.map_err(unspoken)?;
            Pushes::Here(pushed)
        } else {
            Pushes::Apart(Box::new(dialer.subscriber(name, at, &channel).await?))
        };
        let product = match info.product {
            "" | "redis" => "Redis",
            "valkey" => "Valkey",
            other => other,
        };
        let mut found = format!("{product} {}", info.version);
        if is_cluster {
            _ = write!(found, ", node {at} of a cluster");
        }
        let connection = self.know(name, at, commands, &info).await?;
        _ = write!(found, "{}", connection.lag);
        Ok(Joined::Here(connection, pushes, found))
    }

    /// Learns about a server what steps need, and teaches it the scripts.
    async fn know(
        &self,
        name: &str,
        at: &Address,
        mut commands: MultiplexedConnection,
        info: &Info<'_>,
    ) -> Result<RedisConnection, LockError> {
        let settings = Settings::of(&mut commands).await;
        let settings = settings.map_err(|error| self.dialer.unspoken(name, at, error))?;
        let (lag, memory) = (Lag::of(settings.lag, self.max_lag, info), settings.memory);
        let scripts = Arc::new(Scripts::new(info.run, info.replication));
        let mut load = redis::pipe();
        for script in scripts.for_any_server() {
            load.cmd("SCRIPT").arg("LOAD").arg(&script.text).ignore();
        }
        let loaded = load.exec_async(&mut commands).await;
        loaded.map_err(|error| self.dialer.unspoken(name, at, error))?;
        let is_cluster = info.mode == "cluster";
        let (at, aside) = (at.clone(), Arc::default());
        Ok(RedisConnection { at, commands, scripts, lag, memory, is_cluster, aside })
    }

    /// The connection to the node that keys of the namespace are being moved to, for those that are
    /// there by now.
    pub(super) async fn beside(
        &self,
        name: &str,
        connection: &RedisConnection,
        to: Address,
    ) -> Result<RedisConnection, LockError> {
        let mut aside = connection.aside.lock().await;
        if let Some(aside) = aside.as_ref().filter(|aside| aside.at == to) {
            return Ok(aside.clone());
        }
        let (mut commands, _) = self.dialer.commands(name, &to, None).await?;
        let text = redis::cmd("INFO").query_async::<String>(&mut commands).await;
        let text = text.map_err(|error| self.dialer.unspoken(name, &to, error))?;
        let info = Info::parse(&text);
        self.check(name, &to, &info)?;
        let known = self.know(name, &to, commands, &info).await?;
        *aside = Some(known.clone());
        Ok(known)
    }

    /// Refuses a server that cannot keep locks.
    fn check(&self, name: &str, at: &Address, info: &Info<'_>) -> Result<(), LockError> {
        let several = matches!(&self.place, Discovery::Servers(servers) if servers.len() > 1);
        if info.mode == "sentinel" {
            return Err(refused(
                name,
                format!(
                    "{at} is a Sentinel: name the primary that it watches by `?sentinel=`, as in \
                     `?sentinel=mymaster`"
                ),
            ));
        }
        if several && info.mode != "cluster" {
            return Err(refused(
                name,
                format!(
                    "{at} is no node of a cluster, and locks are at one server: name that one alone, or \
                     the Sentinels that watch it, and its name by `?sentinel=`"
                ),
            ));
        }
        if info.major().is_none_or(|major| major < 7) {
            return Err(refused(
                name,
                format!(
                    "`{name}` is version {} of Redis, and locks need 7.0 or later, or Valkey",
                    info.version
                ),
            ));
        }
        if info.role != "master" {
            let why = match &self.place {
                Discovery::Servers(_) => {
                    format!("{at} is a replica, which takes no writes: name the primary")
                }
                Discovery::Watched(_) => {
                    format!("{at} is a replica, and Sentinels do not know a primary yet")
                }
            };
            return Err(LockError::unavailable(name, why));
        }
        if info.loading {
            return Err(LockError::unavailable(name, format!("{at} is loading its data")));
        }
        // Locks have a time to live, so `volatile-*` evicts them as well, and sooner than other
        // keys.
        if !matches!(info.policy, "" | "noeviction") && !self.evictable {
            return Err(refused(
                name,
                format!(
                    "`{name}` evicts keys when its memory is full (`maxmemory-policy {}`), also those of \
                     held locks: set `noeviction`, or accept it by `?evictable=allow`",
                    info.policy
                ),
            ));
        }
        Ok(())
    }
}

/// The node that an answer refers to.
pub(super) fn redirected(error: &redis::RedisError, from: &Address) -> Option<Address> {
    error.redirect_node().and_then(|(to, _)| Address::parse(to, from))
}

/// Passes hints on, until the connection ends.
async fn listen(
    link: Weak<Link<RedisServer>>,
    number: u64,
    mut pushed: UnboundedReceiver<PushInfo>,
) {
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

/// The same from a connection that has nothing else to say.
async fn hear(link: Weak<Link<RedisServer>>, number: u64, subscriber: PubSub) {
    let mut messages = subscriber.into_on_message();
    loop {
        let heard = tokio::time::timeout(Duration::from_secs(5), messages.next()).await;
        let Some(link) = link.upgrade().filter(|link| link.is_current(number)) else { return };
        match heard {
            Ok(Some(message)) => link.wake(&message.get_payload().map_or(Wake::Any, Wake::Key)),
            Ok(None) => {
                link.lost(number, "the connection for calls was lost");
                return;
            }
            Err(_) => {}
        }
    }
}
