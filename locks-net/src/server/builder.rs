use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use locks_core::{ErrorKind, LockError};

use super::log::{Log, LogLine};
use super::machine_time::MachineTime;
use super::socket_file::{self, Replace};
use super::{Life, Listening, Server};
use crate::arbiter::Limits;
use crate::journal::Store;
use crate::secret::Secret;

/// How a [`Server`] is to be.
#[derive(Debug)]
pub struct ServerBuilder {
    unix: Vec<PathBuf>,
    tcp: Vec<(SocketAddr, Arc<Secret>)>,
    users: BTreeSet<u32>,
    state: Option<PathBuf>,
    limits: Limits,
    replace: Replace,
    dead: Option<u64>,
    log: Log,
}

impl ServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            unix: Vec::new(),
            tcp: Vec::new(),
            users: BTreeSet::from([rustix::process::geteuid().as_raw()]),
            state: None,
            limits: Limits::default(),
            replace: Replace::Stale,
            dead: None,
            log: Log::default(),
        }
    }

    /// Listens on a Unix socket, for the processes of this machine (N1 b). A socket that is there and on
    /// which nobody listens is replaced.
    #[must_use]
    pub fn unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix.push(path.into());
        self
    }

    /// Listens on TCP, on an address of this machine's own (N5): clients have to know the secret, and
    /// keep their sessions by renewing their leases (N1 c). With port 0 the system chooses one.
    #[must_use]
    pub fn tcp(mut self, address: SocketAddr, secret: Secret) -> Self {
        self.tcp.push((address, Arc::new(secret)));
        self
    }

    /// Lets another user of this machine in, over Unix sockets.
    #[must_use]
    pub fn allow_user(mut self, uid: u32) -> Self {
        self.users.insert(uid);
        self
    }

    /// The directory of the server's journal and tokens (N4). It is made if it is missing.
    #[must_use]
    pub fn state(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state = Some(directory.into());
        self
    }

    /// What clients may have (N6).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Tells of what happens to the server: its start and end, whom it refuses and why, what is short, what is released
    /// by an administrator. `tell` is called on the server's thread, which waits for it; lines of a kind come ten a
    /// second at most, and say how many there were besides.
    #[must_use]
    pub fn log(mut self, tell: impl Fn(&LogLine) + Send + Sync + 'static) -> Self {
        self.log = Log::new(tell);
        self
    }

    /// Whoever has the directory's lock serves at its socket, whatever is there.
    pub(crate) fn replacing_any_socket(mut self) -> Self {
        self.replace = Replace::Any;
        self
    }

    /// This process, by its inode, has ended; it may have been the server before.
    pub(crate) fn succeeding(mut self, dead: Option<u64>) -> Self {
        self.dead = dead;
        self
    }

    /// Takes up what the journal tells of, listens, and serves from a thread of its own.
    ///
    /// # Errors
    /// `NotConfigured` if there is no address or no directory, if they are not fit, and for an address
    /// that other machines reach; `Contended` if another server uses one of them; `Unavailable` if the
    /// journal cannot be used; `Io` if the system refuses.
    pub fn start(self) -> Result<Server, LockError> {
        let state = self.check()?;
        let boot_clock = MachineTime::new().boot;
        let (store, recovered) = Store::open(state, !self.tcp.is_empty(), &*boot_clock, self.dead)?;
        let mut listening = Vec::new();
        let mut addresses = Vec::new();
        for (address, secret) in self.tcp {
            let listener = listen_tcp(address)?;
            let address = listener.local_addr().unwrap_or(address);
            addresses.push(format!("locks://{address}"));
            listening.push(Listening::Tcp(listener, secret));
        }
        for path in self.unix {
            let for_others = self.users.len() > 1;
            let (listener, file) = socket_file::listen(&path, self.replace, for_others)?;
            addresses.push(format!("unix://{}", file.path().display()));
            listening.push(Listening::Unix(listener, file, self.users.clone()));
        }
        let life = Life { store, recovered, limits: self.limits, listening, log: self.log };
        Server::spawn(life, addresses)
    }

    fn check(&self) -> Result<&Path, LockError> {
        if self.unix.is_empty() && self.tcp.is_empty() {
            return Err(unfit("the server has no address: name one by `unix` or `tcp`"));
        }
        for (address, _) in &self.tcp {
            if !address.ip().to_canonical().is_loopback() {
                return Err(unfit(&format!(
                    "other machines reach `{address}`, and this server does not encrypt: listen on \
                     `127.0.0.1` or `[::1]`, and let a tunnel (`ssh -L`, stunnel) bring others there"
                )));
            }
        }
        let limits = &self.limits;
        if limits.frame < 4096 {
            return Err(unfit("`Limits::frame` is less than 4 KiB"));
        }
        let leases = limits.shortest_lease..=limits.longest_lease;
        if !leases.contains(&limits.lease) || limits.shortest_lease.is_zero() {
            return Err(unfit("`Limits::lease` is not between its shortest and longest"));
        }
        let why = "the server has no directory for its journal: name one by `state`";
        self.state.as_deref().ok_or_else(|| unfit(why))
    }
}

fn listen_tcp(address: SocketAddr) -> Result<TcpListener, LockError> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        // The standard library's are 128, and one too many is tried again after a second.
        rustix::net::listen(&listener, 1024)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| {
        let mend = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "; somebody listens there already: name another port, or end it"
            }
            io::ErrorKind::PermissionDenied => "; name a port from 1024 on",
            _ => "",
        };
        LockError::new(ErrorKind::Io, "")
            .with_backend(format!("locks://{address}"))
            .with_message(format!("cannot listen at `{address}`: {error}{mend}"))
            .with_source(error)
    })
}

fn unfit(why: &str) -> LockError {
    LockError::new(ErrorKind::NotConfigured, "").with_message(why.to_owned())
}
