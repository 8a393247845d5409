//! Locks kept by a PostgreSQL server, version 13 or later.
//!
//! ```no_run
//! # mod locks { pub use {locks_core::LockError, locks_engines as engines}; }
//! use locks::engines::postgres::Postgres;
//!
//! let backend = Postgres::builder("127.0.0.1").database("billing").build()?.into_backend();
//! let guard = backend.named("invoice:42").acquire()?;
//! # Ok::<(), locks::LockError>(())
//! ```
//!
//! Every step is one statement, which calls a function in the schema `locks`; clients make the
//! schema on first use where they may, and else [`schema`] has its text. Waiters queue at the
//! server, first come, first served among all clients, and are called by `NOTIFY` when their turn
//! has come; one connection serves all threads and tasks of a process.
//!
//! Rows are not logged unless [asked for](Durability): they are gone after a crash or a promotion
//! of a standby, which is how it is known that holds may have been lost. Then nothing is granted
//! for as long as the longest lease, and tokens go on above the earlier ones.
//!
//! Inside a transaction, `SELECT locks.take('invoice:42')` takes the same key until its end, by any
//! client of the database.

mod fault;
mod host;
mod listener;
mod reply;
mod schema;
mod security;
mod session;
mod statements;
mod store;
mod target;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use locks_core::{Backend, BackendInfo, ErrorKind, LeaseStore, Leased, LockError};
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::listener::ListenTarget;
use self::schema::Schema;
pub use self::schema::schema;
pub use self::security::{Durability, Tls};
use self::statements::Texts;
use self::store::PostgresStore;
use self::target::{HintsBy, PostgresServer};
use crate::LinkState;
use crate::link::{LONGEST_CONNECT, Links};

/// A backend of locks at a PostgreSQL server; clones are handles to the same client.
///
/// ```no_run
/// # mod locks { pub use {locks_core::LockError, locks_engines as engines}; }
/// use locks::engines::postgres::Postgres;
///
/// let postgres = Postgres::builder("/var/run/postgresql").database("billing").build()?;
/// let backend = postgres.clone().into_backend();
/// // For a health check: it does not connect by itself.
/// println!("{:?}", postgres.state());
/// # drop(backend);
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone)]
pub struct Postgres {
    backend: Backend,
    links: Arc<Links<PostgresServer>>,
}

/// A builder of a [`Postgres`].
///
/// ```no_run
/// # mod locks { pub use {locks_core::LockError, locks_engines as engines}; }
/// use std::time::Duration;
/// use locks::engines::postgres::{Durability, Postgres, Tls};
///
/// let backend = Postgres::builder("db.example.com")
///     .database("billing")
///     .user("locks")
///     .password(std::env::var("PGPASSWORD").unwrap_or_default())
///     .tls(Tls::Verified)
///     .durability(Durability::Logged)
///     .lease(Duration::from_secs(30))
///     .build()?
///     .into_backend();
/// # drop(backend);
/// # Ok::<(), locks::LockError>(())
/// ```
#[must_use = "a builder connects to nothing until `build`"]
#[derive(Clone)]
pub struct PostgresBuilder {
    hosts: Vec<(String, u16)>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    tls: Option<Tls>,
    authority: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    schema: String,
    label: String,
    lease: Duration,
    connect: Duration,
    listen: Vec<(String, u16)>,
    poll: bool,
    fresh: bool,
    durability: Durability,
}

/// Where PostgreSQL listens, unless told otherwise.
const PORT: u16 = 5432;

impl Postgres {
    /// Returns a builder for locks at this server: a name, an address, or, beginning with a slash,
    /// the directory of its socket.
    pub fn builder(host: impl Into<String>) -> PostgresBuilder {
        PostgresBuilder {
            hosts: vec![(host.into(), PORT)],
            user: None,
            password: None,
            database: None,
            tls: None,
            authority: None,
            identity: None,
            schema: schema::DEFAULT.into(),
            label: String::new(),
            lease: Duration::from_secs(10),
            connect: Duration::from_secs(2),
            listen: Vec::new(),
            poll: false,
            fresh: false,
            durability: Durability::Unlogged,
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

impl PostgresBuilder {
    /// Sets the port of the host that was named last; 5432 unless set.
    pub fn port(mut self, port: u16) -> Self {
        if let Some((_, of)) = self.hosts.last_mut() {
            *of = port;
        }
        self
    }

    /// Adds another host. One of them is the primary at a time: the first that accepts writes is
    /// used.
    pub fn or_host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push((host.into(), PORT));
        self
    }

    /// Sets the user; that of the process unless set.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the password.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets the database; the one named like the user unless set.
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// Sets the encryption of the connection. Unless set, it is [`Verified`](Tls::Verified) to
    /// other machines, and [`Off`](Tls::Off) on this one.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the file (PEM) of the authorities to trust for the server's certificate, in place of
    /// the system's.
    pub fn authority(mut self, path: impl Into<PathBuf>) -> Self {
        self.authority = Some(path.into());
        self
    }

    /// Sets the files (PEM) of this client's certificate and key.
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Sets the schema of these locks; `locks` unless set. Clients of different schemas do not
    /// meet.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets the label of this process in the errors and lists of others.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the lease: the time for which the server keeps a lock for a process that has gone
    /// silent; ten seconds unless set. A request can set a shorter one. All clients of a schema
    /// must have the same: for one lease nothing is granted after holds may have been lost.
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

    /// Adds an address of the server itself, for the connection that notifies waiters, where
    /// statements go through a pooler in transaction mode. Called again, it adds another one, of
    /// which one is the primary at a time. While none can be listened to, waiters poll, and
    /// [`state`](Postgres::state) says why.
    pub fn listen(mut self, host: impl Into<String>, port: u16) -> Self {
        self.listen.push((host.into(), port));
        self
    }

    /// Makes waiters poll, twenty times a second, instead of being notified.
    pub fn poll(mut self, poll: bool) -> Self {
        self.poll = poll;
        self
    }

    /// Grants at once in a schema that was just made. Without it, nothing is granted for one lease
    /// then, since an earlier schema may have been dropped with the holds in it. Set it only where
    /// the schema is known to be new.
    pub fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// Sets the fate of holds when the server crashes.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Builds the backend, which does not connect before the first request.
    ///
    /// # Errors
    /// [`NotConfigured`](ErrorKind::NotConfigured) if a host or the schema is invalid, a TLS file
    /// cannot be used, or two options contradict each other.
    pub fn build(self) -> Result<Postgres, LockError> {
        let store = self.store()?;
        let links = store.links.clone();
        let leased = Leased::builder(store)
            .lease(self.lease)
            .connect(self.connect)
            .label(self.label)
            .build();
        Ok(Postgres { backend: leased.into_backend(), links })
    }

    /// Builds the store alone, for an adapter of your own.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn into_store(self) -> Result<Arc<dyn LeaseStore>, LockError> {
        Ok(Arc::new(self.store()?))
    }

    fn store(&self) -> Result<PostgresStore, LockError> {
        let schema = Schema::new(&self.schema)?;
        if self.hosts.iter().chain(&self.listen).any(|(host, _)| host.is_empty()) {
            return refused("PostgreSQL needs a host, as in `postgres://127.0.0.1/db`");
        }
        // Not repeated: a password may be before it.
        if self.hosts.iter().chain(&self.listen).any(|(host, _)| host.contains('@')) {
            return refused("a host of PostgreSQL is named alone: the user is named apart from it");
        }
        if let Err(why) = host::check(self.hosts.iter().chain(&self.listen)) {
            return refused(&why);
        }
        if self.poll && !self.listen.is_empty() {
            return refused(
                "`listen` names where waiters are called, and `poll` says that they are not",
            );
        }
        let for_tls = self.authority.is_some() || self.identity.is_some();
        if self.tls == Some(Tls::Off) && for_tls {
            return refused(
                "`sslmode=disable` uses no certificates: leave out `sslrootcert`, `sslcert` and `sslkey`, \
                 or ask for `sslmode=verify-full`",
            );
        }
        let name = self.name();
        let (config, tls) = (self.config(&self.hosts), self.connector()?);
        let place = |at: &(String, u16)| {
            let mut config = self.config(std::slice::from_ref(at));
            // Nobody is called at a standby.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
            ListenTarget { config, name: host::shown(at) }
        };
        let hints = match self.listen.as_slice() {
            [] if self.poll => HintsBy::Polling,
            [] => HintsBy::Same,
            hosts => HintsBy::Apart(hosts.iter().map(place).collect()),
        };
        let server = PostgresServer {
            config,
            tls,
            hints,
            texts: Texts::new(&schema),
            schema,
            durability: self.durability,
            reach: self.connect,
            proven: AtomicBool::new(false),
            unset: AtomicBool::new(false),
        };
        let links = Links::new(name.clone(), server);
        let about = BackendInfo::new(name, self.durability.capabilities());
        Ok(PostgresStore { about, links, longest: self.lease, fresh: self.fresh })
    }

    /// What errors and logs call it: without user and password.
    fn name(&self) -> String {
        host::url(&self.hosts, self.database.as_deref().unwrap_or(""))
    }

    fn config(&self, hosts: &[(String, u16)]) -> Config {
        let mut config = Config::new();
        for (host, port) in hosts {
            config.host(host).port(*port);
        }
        if hosts.len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if let Some(user) = &self.user {
            config.user(user);
        }
        if let Some(password) = &self.password {
            config.password(password);
        }
        if let Some(database) = &self.database {
            config.dbname(database);
        }
        config
            .application_name(match self.label.as_str() {
                "" => "locks".to_owned(),
                label => format!("locks: {label}"),
            })
            .connect_timeout(self.connect)
            .tcp_user_timeout(self.connect * 2)
            .keepalives_idle(Duration::from_secs(10))
            .ssl_mode(match self.tls_wanted(hosts) {
                Tls::Off => SslMode::Disable,
                Tls::Unverified | Tls::Verified => SslMode::Require,
            });
        config
    }

    fn tls_wanted(&self, hosts: &[(String, u16)]) -> Tls {
        let here = |(host, _): &(String, u16)| {
            let address = host.parse::<std::net::IpAddr>();
            host.starts_with('/') || host == "localhost" || address.is_ok_and(|at| at.is_loopback())
        };
        let wanted = self.authority.is_some() || self.identity.is_some();
        self.tls.unwrap_or(match hosts.iter().all(here) && !wanted {
            true => Tls::Off,
            false => Tls::Verified,
        })
    }

    fn connector(&self) -> Result<Option<MakeRustlsConnect>, LockError> {
        // Of several addresses some may be on this machine, and others not.
        let listen = self.listen.as_slice();
        let tls = match self.tls_wanted(&self.hosts) {
            Tls::Off => self.tls_wanted(listen),
            tls => tls,
        };
        if tls == Tls::Off {
            return Ok(None);
        }
        let identity = self.identity.as_ref().map(|(of, key)| (of.as_path(), key.as_path()));
        match crate::tls::client(tls == Tls::Verified, self.authority.as_deref(), identity) {
            Ok(config) => Ok(Some(MakeRustlsConnect::new(config))),
            Err(why) => refused(&format!("the TLS of `{}`: {why}", self.name())),
        }
    }
}

/// Returns the name of the user that this process runs as, which is the default user of a client.
///
/// # Errors
/// If the user has no name.
#[doc(hidden)]
pub fn own_user() -> std::io::Result<String> {
    Ok(whoami::username()?)
}

fn refused<T>(why: &str) -> Result<T, LockError> {
    Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why.to_owned()))
}

impl From<Postgres> for Backend {
    fn from(postgres: Postgres) -> Self {
        postgres.into_backend()
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("at", &self.links.name)
            .field("state", &self.state())
            .finish()
    }
}

impl fmt::Debug for PostgresBuilder {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBuilder")
            .field("at", &self.name())
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_a_user_is_refused_and_not_shown() {
        let hosts = ["app:hunter2@db", "postgres://app:hunter2@db"];
        let first = hosts.map(|host| Postgres::builder(host).tls(Tls::Off));
        let then = hosts.map(|host| Postgres::builder("db").tls(Tls::Off).or_host(host));
        for builder in first.into_iter().chain(then) {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConfigured);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn what_only_tls_uses_is_refused_where_there_is_none() {
        let off = || Postgres::builder("db").tls(Tls::Off);
        for builder in [off().authority("/a"), off().identity("/a", "/b")] {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConfigured);
            assert!(error.to_string().contains("sslmode=disable"), "{error}");
        }
    }

    #[test]
    fn each_address_is_encrypted_that_is_on_another_machine() {
        let modes = |builder: &PostgresBuilder| {
            let mode = |hosts: &[_]| builder.config(hosts).get_ssl_mode();
            (mode(&builder.hosts), mode(builder.listen.as_slice()))
        };
        let (off, on) = (SslMode::Disable, SslMode::Require);
        let pooled = |host: &str| Postgres::builder(host).listen("db.example", 5432);
        assert_eq!(modes(&pooled("127.0.0.1")), (off, on));
        assert_eq!(modes(&pooled("pool.example")), (on, on));
        assert_eq!(modes(&pooled("127.0.0.1").tls(Tls::Off)), (off, off));
        assert_eq!(modes(&pooled("127.0.0.1").tls(Tls::Unverified)), (on, on));
        let back = Postgres::builder("pool.example").listen("localhost", 5432);
        assert_eq!(modes(&back), (on, off));
    }
}
