//! Locks kept by a Redis server, version 7.0 or later, or by Valkey.
//!
//! ```no_run
//! # mod locks { pub use {locks_core::LockError, locks_engines as engines}; }
//! use locks::engines::redis::Redis;
//!
//! let backend = Redis::builder("127.0.0.1", 6379).namespace("billing").build()?.into_backend();
//! let guard = backend.named("invoice:42").acquire()?;
//! # Ok::<(), locks::LockError>(())
//! ```
//!
//! Every step is a script, which the server carries out at once and alone. Waiters queue at the
//! server, first come, first served among all clients, and are called when their turn has come; one
//! connection serves all threads and tasks of a process.
//!
//! Redis acknowledges before it has saved or replicated, so what it acknowledged can be lost with
//! the server. Therefore a server that may not have everything (another process, or a promoted
//! replica) grants nothing for as long as the longest lease of the namespace, and goes on with
//! tokens above the earlier ones; so does a namespace on its first use. What remains: two primaries
//! at a time after a partition of the network, for which `min-replicas-to-write` has to be set, and
//! clocks that are set by more than a second.

mod dial;
mod fault;
mod info;
mod layout;
mod reply;
mod scripts;
mod sentinel;
mod settings;
mod store;
mod target;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use locks_core::fork::PerProcess;
use locks_core::{
    Backend, BackendInfo, Capabilities, ErrorKind, Exclusion, LeaseStore, Leased, LockError,
    TokenScope, WaiterOrder,
};
use redis::RedisConnectionInfo;
use tokio_rustls::TlsConnector;

use self::dial::{Address, Dialer};
use self::fault::Remedy;
use self::layout::RedisLayout;
use self::sentinel::Sentinels;
use self::store::RedisStore;
use self::target::{Discovery, RedisServer};
use crate::LinkState;
use crate::link::{LONGEST_CONNECT, Links};

/// A backend of locks at a Redis server or cluster; clones are handles to the same client.
///
/// ```no_run
/// # mod locks { pub use {locks_core::LockError, locks_engines as engines}; }
/// use locks::engines::redis::Redis;
///
/// let redis = Redis::builder("127.0.0.1", 6379).build()?;
/// let backend = redis.clone().into_backend();
/// // For a health check: it does not connect by itself.
/// println!("{:?}", redis.state());
/// # drop(backend);
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone)]
pub struct Redis {
    backend: Backend,
    links: Arc<Links<RedisServer>>,
}

/// A builder of a [`Redis`].
///
/// ```no_run
/// # mod locks { pub use {locks_core::LockError, locks_engines as engines}; }
/// use std::time::Duration;
/// use locks::engines::redis::Redis;
///
/// // The primary that three Sentinels know as `billing`.
/// let backend = Redis::builder("10.0.0.1", 26379)
///     .or_node("10.0.0.2", 26379)
///     .or_node("10.0.0.3", 26379)
///     .sentinel("billing")
///     .password(std::env::var("REDIS_PASSWORD").unwrap_or_default())
///     .lease(Duration::from_secs(30))
///     .build()?
///     .into_backend();
/// # drop(backend);
/// # Ok::<(), locks::LockError>(())
/// ```
#[must_use = "a builder connects to nothing until `build`"]
pub struct RedisBuilder {
    servers: Vec<Address>,
    sentinel: Option<String>,
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
    database: u32,
    user: Option<String>,
    password: Option<String>,
    tls: bool,
    authority: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    namespace: String,
    label: String,
    lease: Duration,
    connect: Duration,
    fresh: bool,
    evictable: bool,
    max_lag: Option<Duration>,
}

impl Redis {
    /// Returns a builder for locks at this server, or in the cluster of which it is a node, or at
    /// the primary of which it is a [Sentinel](RedisBuilder::sentinel).
    pub fn builder(host: impl Into<String>, port: u16) -> RedisBuilder {
        RedisBuilder {
            servers: vec![Address { host: host.into(), port }],
            sentinel: None,
            sentinel_user: None,
            sentinel_password: None,
            database: 0,
            user: None,
            password: None,
            tls: false,
            authority: None,
            identity: None,
            namespace: "locks".into(),
            label: String::new(),
            lease: Duration::from_secs(10),
            connect: Duration::from_secs(2),
            fresh: false,
            evictable: false,
            max_lag: None,
        }
    }

    /// Returns a handle to the backend.
    pub fn into_backend(self) -> Backend {
        self.backend
    }

    /// Returns the present state of the connection, without connecting.
    pub fn state(&self) -> LinkState {
        self.links.of_this_process().state()
    }
}

impl RedisBuilder {
    /// Adds another node of the same cluster, or another Sentinel of the same primary; one that
    /// answers suffices. Several independent servers are refused, since a lock is at one server.
    pub fn or_node(mut self, host: impl Into<String>, port: u16) -> Self {
        self.servers.push(Address { host: host.into(), port });
        self
    }

    /// Treats the given hosts as Sentinels, and uses the primary that they know by this name.
    pub fn sentinel(mut self, primary: impl Into<String>) -> Self {
        self.sentinel = Some(primary.into());
        self
    }

    /// Sets the user at the Sentinels, where it is not the default one; without a password it is
    /// one that has none.
    pub fn sentinel_user(mut self, user: impl Into<String>) -> Self {
        self.sentinel_user = Some(user.into());
        self
    }

    /// Sets the password at the Sentinels, where they require one. The servers' password is not
    /// sent to them.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// Encrypts the connections, those to Sentinels as well, and trusts the authorities that the
    /// system trusts, unless [others](Self::authority) are named.
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Encrypts the connections, and sets the file (PEM) of the authorities to trust for the
    /// certificates of servers.
    pub fn authority(mut self, path: impl Into<PathBuf>) -> Self {
        self.authority = Some(path.into());
        self
    }

    /// Encrypts the connections, and sets the files (PEM) of this client's certificate and key.
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Sets the number of the server's database; 0 unless set.
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// Sets the user, where it is not the default one; without a password it is one that has none.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the password.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets the prefix of these locks among the server's keys; `locks` unless set. Clients of
    /// different namespaces do not meet.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the label of this process in the errors and lists of others.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the lease: the time for which the server keeps a lock for a process that has gone
    /// silent; ten seconds unless set. A request can set a shorter one. All clients of a namespace
    /// must have the same: for one lease nothing is granted after data may have been lost.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the time after which a request to a silent server fails with `Unavailable`; two seconds
    /// unless set. More than a day is taken for a day.
    pub fn connect(mut self, connect: Duration) -> Self {
        self.connect = connect.min(LONGEST_CONNECT);
        self
    }

    /// Grants at once in a namespace that the server does not know, until this client has seen it.
    /// Without it, nothing is granted for one lease then, since its data may have been lost. Set it
    /// only while the namespace is known to be new.
    pub fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// Accepts a server that evicts keys when its memory is full (`maxmemory-policy allkeys-*` or
    /// `volatile-*`), and with them locks that are held.
    pub fn evictable(mut self, evictable: bool) -> Self {
        self.evictable = evictable;
        self
    }

    /// Sets the time for which a primary that is cut off from its replicas keeps granting: its
    /// `min-replicas-max-lag`, or the `cluster-node-timeout` of a cluster. A promoted replica
    /// grants nothing for that time plus one lease. Needed where the user may not read the server's
    /// settings; otherwise the longer of both counts.
    pub fn max_lag(mut self, max_lag: Duration) -> Self {
        self.max_lag = Some(max_lag);
        self
    }

    /// Builds the backend, which does not connect before the first request.
    ///
    /// # Errors
    /// [`NotConfigured`](ErrorKind::NotConfigured) if the namespace or a host is invalid, or a TLS
    /// file cannot be used.
    pub fn build(self) -> Result<Redis, LockError> {
        let (lease, connect, label) = (self.lease, self.connect, self.label.clone());
        let store = self.store()?;
        let links = store.links.clone();
        let leased = Leased::builder(store).lease(lease).connect(connect).label(label).build();
        Ok(Redis { backend: leased.into_backend(), links })
    }

    /// Builds the store alone, for an adapter of your own.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn into_store(self) -> Result<Arc<dyn LeaseStore>, LockError> {
        Ok(Arc::new(self.store()?))
    }

    fn store(self) -> Result<RedisStore, LockError> {
        let refused = |why: &str| {
            Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why.to_owned()))
        };
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_.:-".contains(letter);
        if !(1..=128).contains(&self.namespace.len()) || !self.namespace.chars().all(plain) {
            return refused(
                "a namespace at Redis has 1 to 128 letters, digits, `_`, `.`, `:` and `-`",
            );
        }
        if self.servers.iter().any(|server| server.host.is_empty()) {
            return refused("Redis needs a host, as in `redis://127.0.0.1:6379`");
        }
        // Not repeated: a password may be before it.
        if self.servers.iter().any(|server| server.host.contains(['@', '/'])) {
            return refused(
                "a host of Redis is named alone: user and encryption are named apart from it",
            );
        }
        if self.sentinel.is_none()
            && (self.sentinel_user.is_some() || self.sentinel_password.is_some())
        {
            return refused(
                "a user or a password of Sentinels wants the name of the primary that they watch, by \
                 `sentinel=`",
            );
        }
        let name = self.name();
        let tls = self.connector(&name)?;
        let server = RedisServer {
            place: self.place(tls.as_ref()),
            dialer: self.dialer(
                tls,
                settings(self.user.as_deref(), self.password.as_deref())
                    .set_db(self.database.into()),
                fault::SERVER,
            ),
            layout: RedisLayout::new(&self.namespace),
            evictable: self.evictable,
            max_lag: self.max_lag,
            home: PerProcess::new(),
        };
        let links = Links::new(name.clone(), server);
        Ok(RedisStore {
            about: BackendInfo::new(name, capabilities()),
            links,
            longest: self.lease,
            fresh: Arc::new(AtomicBool::new(self.fresh)),
        })
    }

    /// What errors and logs call it: without user and password.
    fn name(&self) -> String {
        let servers: Vec<_> = self.servers.iter().map(Address::to_string).collect();
        let scheme = if self.is_encrypted() { "rediss" } else { "redis" };
        let sentinel = self.sentinel.as_ref().map(|of| format!("?sentinel={of}"));
        format!("{scheme}://{}{}", servers.join(","), sentinel.unwrap_or_default())
    }

    fn is_encrypted(&self) -> bool {
        self.tls || self.authority.is_some() || self.identity.is_some()
    }

    fn connector(&self, name: &str) -> Result<Option<TlsConnector>, LockError> {
        if !self.is_encrypted() {
            return Ok(None);
        }
        let identity = self.identity.as_ref().map(|(of, key)| (of.as_path(), key.as_path()));
        let config = crate::tls::client(true, self.authority.as_deref(), identity);
        config.map(|config| Some(TlsConnector::from(Arc::new(config)))).map_err(|why| {
            LockError::new(ErrorKind::NotConfigured, "")
                .with_message(format!("the TLS of `{name}`: {why}"))
        })
    }

    fn place(&self, tls: Option<&TlsConnector>) -> Discovery {
        let Some(primary) = &self.sentinel else { return Discovery::Servers(self.servers.clone()) };
        let settings = settings(self.sentinel_user.as_deref(), self.sentinel_password.as_deref());
        Discovery::Watched(Arc::new(Sentinels {
            at: self.servers.clone(),
            primary: primary.clone(),
            dialer: self.dialer(tls.cloned(), settings, fault::SENTINEL),
        }))
    }

    fn dialer(
        &self,
        tls: Option<TlsConnector>,
        settings: RedisConnectionInfo,
        remedy: Remedy,
    ) -> Dialer {
        // Nodes of a cluster are tried one after the other.
        let in_turn = if self.sentinel.is_some() { 1 } else { self.servers.len() };
        let share = self.connect / u32::try_from(in_turn).unwrap_or(u32::MAX).max(1);
        // Why it was not reached is said before a request gives up without a reason.
        let reach = (share * 3 / 4).max(SHORTEST.min(self.connect));
        let remedy = Remedy { is_without_password: settings.password() == Some(""), ..remedy };
        Dialer { tls, settings, reach, remedy, old: AtomicBool::new(false) }
    }
}

/// Long enough for a handshake with any server that answers at all.
const SHORTEST: Duration = Duration::from_millis(300);

fn settings(user: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default();
    if let Some(user) = user {
        settings = settings.set_username(user);
    }
    // Without a password the client would not name the user, and be the default one.
    if let Some(password) = password.or(user.map(|_| "")) {
        settings = settings.set_password(password);
    }
    settings
}

fn capabilities() -> Capabilities {
    let mut can =
        Capabilities::plain(Exclusion::LeaseUnlessDataIsLost, TokenScope::WhileDataIsKept);
    can.order = WaiterOrder::All;
    (can.shared, can.permits, can.steal, can.bounds) = (true, true, true, true);
    (can.several_keys, can.listing, can.evict, can.ages) = (true, true, true, true);
    can
}

impl From<Redis> for Backend {
    fn from(redis: Redis) -> Self {
        redis.into_backend()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("at", &self.links.name).field("state", &self.state()).finish()
    }
}

impl fmt::Debug for RedisBuilder {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("at", &self.name())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
