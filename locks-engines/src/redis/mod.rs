//! Locks kept by a Redis server, version 7.0 or later, or by Valkey.
//!
//! ```no_run
//! use locks_engines::redis::Redis;
//!
//! let backend = Redis::builder("127.0.0.1", 6379).namespace("billing").build()?.into_backend();
//! let guard = backend.named("invoice:42").acquire()?;
//! # Ok::<(), locks_core::LockError>(())
//! ```
//!
//! Every step is a script, which the server carries out at once and alone. Waiters queue at the server,
//! first come, first served among all clients, and are called when their turn has come; one connection
//! serves all threads and tasks of a process.
//!
//! Redis acknowledges before it has saved or replicated, so what it acknowledged can be lost with the
//! server. Therefore a server that may not have everything (another process, or a promoted replica)
//! grants nothing for as long as the longest lease of the namespace, and goes on with tokens above the
//! earlier ones; so does a namespace on its first use. What remains: two primaries at a time after a
//! partition of the network, for which `min-replicas-to-write` has to be set, and clocks that are set
//! by more than a second.

mod fault;
mod info;
mod layout;
mod reply;
mod scripts;
mod store;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{
    Backend, BackendInfo, Capabilities, ErrorKind, Exclusion, LeaseStore, Leased, LockError,
    TokenScope, WaiterOrder,
};
use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use self::layout::Layout;
use self::store::Store;
use self::target::Server;
use crate::LinkState;
use crate::link::Links;

/// Locks at a Redis server. Clones are the same client.
#[derive(Clone)]
pub struct Redis {
    backend: Backend,
    links: Arc<Links<Server>>,
}

/// A builder of a [`Redis`].
#[must_use = "a builder connects to nothing until `build`"]
pub struct RedisBuilder {
    host: String,
    port: u16,
    database: u32,
    user: Option<String>,
    password: Option<String>,
    namespace: String,
    label: String,
    lease: Duration,
    connect: Duration,
    fresh: bool,
    evictable: bool,
}

impl Redis {
    /// Returns a builder for locks at this server.
    pub fn builder(host: impl Into<String>, port: u16) -> RedisBuilder {
        RedisBuilder {
            host: host.into(),
            port,
            database: 0,
            user: None,
            password: None,
            namespace: "locks".into(),
            label: String::new(),
            lease: Duration::from_secs(10),
            connect: Duration::from_secs(2),
            fresh: false,
            evictable: false,
        }
    }

    /// Returns a handle to it as a backend.
    pub fn into_backend(self) -> Backend {
        self.backend
    }

    /// Returns the state of the connection at this moment. It connects to nothing.
    pub fn state(&self) -> LinkState {
        self.links.of_this_process().state()
    }
}

impl RedisBuilder {
    /// Chooses one of the server's databases by number; 0 unless set.
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// Names the user, where it is not the default one.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the password.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Names the part of the server's keys that these locks are in; `locks` unless set. Clients of
    /// different namespaces do not meet.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Names this process in the errors and lists of others.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets how long the server keeps a lock for a process that has gone silent; ten seconds unless
    /// set. Requests may ask for less and not for more, and all clients of a namespace have the same:
    /// it is how long nothing is granted after data may have been lost.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how long the server may be silent before a request fails with `Unavailable`; two seconds
    /// unless set.
    pub fn connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Grants at once in a namespace that the server does not know. Without it, nothing is granted for
    /// one lease then, since its data may have been lost: say it where the namespace is known to be new.
    pub fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// Accepts a server that evicts keys when its memory is full (`maxmemory-policy allkeys-*`), and
    /// with them locks that are held.
    pub fn evictable(mut self, evictable: bool) -> Self {
        self.evictable = evictable;
        self
    }

    /// Puts it together. Nothing is connected to before the first request.
    ///
    /// # Errors
    /// [`NotConfigured`](ErrorKind::NotConfigured) if the namespace or the host is no name.
    pub fn build(self) -> Result<Redis, LockError> {
        let (lease, connect, label) = (self.lease, self.connect, self.label.clone());
        let store = self.store()?;
        let links = store.links.clone();
        let leased = Leased::builder(store).lease(lease).connect(connect).label(label).build();
        Ok(Redis { backend: leased.into_backend(), links })
    }

    /// Puts the store alone together, for an adapter of one's own.
    ///
    /// # Errors
    /// Those of [`build`](Self::build).
    pub fn into_store(self) -> Result<Arc<dyn LeaseStore>, LockError> {
        Ok(Arc::new(self.store()?))
    }

    fn store(self) -> Result<Store, LockError> {
        let refused = |why: &str| {
            Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why.to_owned()))
        };
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_.:-".contains(letter);
        if !(1..=128).contains(&self.namespace.len()) || !self.namespace.chars().all(plain) {
            return refused(
                "a namespace at Redis has 1 to 128 letters, digits, `_`, `.`, `:` and `-`",
            );
        }
        if self.host.is_empty() {
            return refused("Redis needs a host, as in `redis://127.0.0.1:6379`");
        }
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let name = format!("redis://{host}:{}", self.port);
        let mut settings = RedisConnectionInfo::default()
            .set_db(self.database.into())
            .set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        let info = ConnectionAddr::Tcp(self.host, self.port)
            .into_connection_info()
            .map_err(|error| LockError::unavailable(&name, error))?
            .set_redis_settings(settings);
        let server = Server {
            info,
            layout: Layout::new(&self.namespace),
            evictable: self.evictable,
            reach: self.connect,
        };
        let links = Links::new(name.clone(), server);
        Ok(Store {
            about: BackendInfo::new(name, capabilities()),
            links,
            longest: self.lease,
            fresh: self.fresh,
        })
    }
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
            .field("host", &self.host)
            .field("port", &self.port)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
