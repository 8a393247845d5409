//! Locks kept by an etcd cluster, version 3.4 or later.
//!
//! ```no_run
//! # mod locks { pub use {locks_core::LockError, locks_engines as engines}; }
//! use locks::engines::etcd::Etcd;
//!
//! let members = ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"];
//! let backend = Etcd::builder(members).namespace("billing").build()?.into_backend();
//! let guard = backend.named("invoice:42").acquire()?;
//! # Ok::<(), locks::LockError>(())
//! ```
//!
//! Every step is a transaction, which a majority of the members has written to disk before it is
//! answered: nothing that was acknowledged is lost while most of them come back. Each acquisition
//! has a lease of its own there, and its token is the revision of the transaction that granted it.
//!
//! etcd tells no time and counts leases in whole seconds, so the shortest lease has two. Each has a
//! second to spare, so that one that was used a moment ago need not be kept alive for the next
//! claim: leases end up to two seconds late. Ages are read off one lease that is never renewed;
//! they start anew when another member comes to lead, but for those of holders that go on renewing.

mod claim;
mod client;
mod clock;
mod cluster;
mod end;
mod fault;
mod keep_alive;
mod layout;
mod list;
mod order;
mod record;
mod renew;
mod rpc;
mod standing;
mod store;
mod txn;
mod watch;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use locks_core::fork::PerProcess;
use locks_core::{
    Backend, BackendInfo, Capabilities, ErrorKind, Exclusion, LeaseStore, Leased, LockError,
    TokenScope, WaiterOrder,
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use self::cluster::Cluster;
use self::layout::EtcdLayout;
use self::rpc::Login;
use self::store::EtcdStore;
use crate::link::{LONGEST_CONNECT, LinkState, Links};

/// The shortest lease that etcd has.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);

/// A backend of locks in an etcd cluster; clones are handles to the same client.
///
/// ```no_run
/// # mod locks { pub use {locks_core::LockError, locks_engines as engines}; }
/// use locks::engines::etcd::Etcd;
///
/// let etcd = Etcd::builder(["127.0.0.1:2379"]).build()?;
/// let backend = etcd.clone().into_backend();
/// // For a health check: it does not connect by itself.
/// println!("{:?}", etcd.state());
/// # drop(backend);
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone)]
pub struct Etcd {
    backend: Backend,
    links: Arc<Links<Cluster>>,
}

/// A builder of an [`Etcd`].
///
/// ```no_run
/// # mod locks { pub use {locks_core::LockError, locks_engines as engines}; }
/// use std::time::Duration;
/// use locks::engines::etcd::Etcd;
///
/// let backend = Etcd::builder(["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"])
///     .namespace("billing")
///     .user("locks")
///     .password(std::env::var("ETCD_PASSWORD").unwrap_or_default())
///     .lease(Duration::from_secs(30))
///     .build()?
///     .into_backend();
/// # drop(backend);
/// # Ok::<(), locks::LockError>(())
/// ```
#[must_use = "a builder connects to nothing until `build`"]
pub struct EtcdBuilder {
    members: Vec<String>,
    namespace: String,
    label: String,
    lease: Duration,
    connect: Duration,
    user: Option<String>,
    password: Option<String>,
    tls: bool,
    authority: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Etcd {
    /// Returns a builder for locks in the cluster of these members, each a host and a port, as in
    /// `10.0.0.1:2379`. One of them suffices; with several, the client goes on with another one if
    /// one fails.
    pub fn builder<M: Into<String>>(members: impl IntoIterator<Item = M>) -> EtcdBuilder {
        EtcdBuilder {
            members: members.into_iter().map(Into::into).collect(),
            namespace: "locks".into(),
            label: String::new(),
            lease: Duration::from_secs(10),
            connect: Duration::from_secs(2),
            user: None,
            password: None,
            tls: false,
            authority: None,
            identity: None,
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

impl EtcdBuilder {
    /// Sets the prefix of these locks among the cluster's keys; `locks` unless set. Clients of
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

    /// Sets the default lease: the time for which the cluster keeps a lock for a process that has
    /// gone silent. Ten seconds unless set, two at least. A request can set its own.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the time after which a request to an unreachable cluster fails with `Unavailable`; two
    /// seconds unless set. A member that is silent for as long, or for a third of the lease if that
    /// is less, is given up for the next. More than a day is taken for a day.
    pub fn connect(mut self, connect: Duration) -> Self {
        self.connect = connect.min(LONGEST_CONNECT);
        self
    }

    /// Sets the user, where the cluster has users.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the password of the user.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Encrypts the connection, and trusts the authorities that the system trusts, unless
    /// [others](Self::authority) are named.
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Encrypts the connection, and trusts the authorities whose certificates these are, as PEM.
    pub fn authority(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(certificates.into());
        self
    }

    /// Encrypts the connection, and authenticates the client by its certificate and key, both as
    /// PEM.
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Builds the backend, which does not connect before the first request.
    ///
    /// # Errors
    /// [`NotConfigured`](ErrorKind::NotConfigured) if a member, the namespace, the lease or a
    /// certificate is invalid.
    pub fn build(self) -> Result<Etcd, LockError> {
        let (lease, connect, label) = (self.lease, self.connect, self.label.clone());
        let store = self.store()?;
        let links = store.links.clone();
        let leased = Leased::builder(store).lease(lease).connect(connect).label(label).build();
        Ok(Etcd { backend: leased.into_backend(), links })
    }

    /// Builds the store alone, for an adapter of your own.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn into_store(self) -> Result<Arc<dyn LeaseStore>, LockError> {
        self.store().map(|store| Arc::new(store) as Arc<dyn LeaseStore>)
    }

    fn store(self) -> Result<EtcdStore, LockError> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_.:/-".contains(letter);
        if !(1..=128).contains(&self.namespace.len()) || !self.namespace.chars().all(plain) {
            return refused(
                "a namespace at etcd has 1 to 128 letters, digits, `_`, `.`, `:`, `/` and `-`",
            );
        }
        if self.lease < SHORTEST_LEASE {
            return refused("the shortest lease at etcd is `2s`: set `lease=` to that or more");
        }
        if self.members.is_empty() {
            return refused("etcd needs a member, as in `etcd://10.0.0.1:2379`");
        }
        let login = match (&self.user, &self.password) {
            (None, None) => None,
            (None, Some(_)) => {
                return refused("a password for etcd needs a user, as in `etcd://app@host:2379`");
            }
            (Some(_), None) => {
                return refused(
                    "the user of etcd needs a password: name a file by `password_file=`, or put it into \
                     the variable `LOCKS_PASSWORD`",
                );
            }
            (Some(user), Some(password)) => {
                Some(Login { user: user.clone(), password: password.clone() })
            }
        };
        let members = self.members.iter().map(|member| self.endpoint(member));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        let name = format!("etcd://{}", self.members.join(","));
        let cluster = Cluster {
            members,
            login,
            layout: EtcdLayout::new(&self.namespace),
            reach: self.connect,
            // Two tries before a renewal has to have succeeded.
            silence: self.connect.min(self.lease / 3).max(Duration::from_secs(1)),
            next: AtomicUsize::new(0),
            clients: PerProcess::new(),
        };
        let links = Links::new(name.clone(), cluster);
        Ok(EtcdStore { about: BackendInfo::new(name, capabilities()), links })
    }

    fn endpoint(&self, member: &str) -> Result<Endpoint, LockError> {
        let is_encrypted = self.tls || self.authority.is_some() || self.identity.is_some();
        let scheme = if is_encrypted { "https" } else { "http" };
        // Not repeated: a password may be before it.
        if member.contains(['@', '/']) {
            return refused(
                "a member of etcd is a host and a port alone, as in `10.0.0.1:2379`: a user and encryption \
                 are named apart from it",
            );
        }
        let endpoint = Endpoint::from_shared(format!("{scheme}://{member}")).map_err(|error| {
            let text = format!("`{member}` is no member of a cluster: it takes a host and a port");
            LockError::new(ErrorKind::NotConfigured, "").with_message(text).with_source(error)
        })?;
        let endpoint = endpoint.tcp_nodelay(true);
        if !is_encrypted {
            return Ok(endpoint);
        }
        let mut tls = match &self.authority {
            Some(authority) => {
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        endpoint.tls_config(tls).map_err(|error| {
            let text = format!(
                "the certificates for etcd cannot be used: {}; they and the key are PEM files",
                fault::whole(&error)
            );
            LockError::new(ErrorKind::NotConfigured, "").with_message(text)
        })
    }
}

fn refused<T>(why: &str) -> Result<T, LockError> {
    Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why.to_owned()))
}

fn capabilities() -> Capabilities {
    let mut can = Capabilities::plain(Exclusion::Lease, TokenScope::Durable);
    can.order = WaiterOrder::WithinProcess;
    (can.shared, can.permits, can.steal, can.bounds) = (true, true, true, true);
    (can.several_keys, can.listing, can.evict, can.ages) = (true, true, true, true);
    can
}

impl From<Etcd> for Backend {
    fn from(etcd: Etcd) -> Self {
        etcd.into_backend()
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("at", &self.links.name).field("state", &self.state()).finish()
    }
}

impl fmt::Debug for EtcdBuilder {
    /// Without password and key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdBuilder")
            .field("members", &self.members)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
