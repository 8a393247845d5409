use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use locks_core::{ErrorKind, LockError};

use super::log::{Log, LogLine};
use super::machine_time::MachineTime;
use super::socket_file::{self, Replace};
#[cfg(feature = "tcp")]
use super::tcp::OnTcp;
use super::{Listening, Server, ServerTask};
use crate::arbiter::Limits;
use crate::journal::Store;

/// A builder of a [`Server`].
///
/// ```
/// use locks::net::{Limits, Server};
///
/// # let directory = std::env::temp_dir().join(format!("locks-builder-{}", std::process::id()));
/// let mut limits = Limits::default();
/// limits.sessions = 100;
/// let server = Server::builder()
///     .state(&directory)
///     .unix(directory.join("locks.sock"))
///     .limits(limits)
///     .log(|line| eprintln!("{}: {}", line.event, line.text))
///     .start()?;
/// assert!(server.is_running());
/// # drop(server);
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Debug)]
pub struct ServerBuilder {
    unix: Vec<PathBuf>,
    #[cfg(feature = "tcp")]
    pub(super) tcp: OnTcp,
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
            #[cfg(feature = "tcp")]
            tcp: OnTcp::default(),
            users: BTreeSet::from([rustix::process::geteuid().as_raw()]),
            state: None,
            limits: Limits::default(),
            replace: Replace::Stale,
            dead: None,
            log: Log::default(),
        }
    }

    /// Listens on a Unix socket, for the processes of this machine
    /// ([N1](locks_core::contract#n1-sessions)). A socket file on which no process listens is
    /// replaced.
    #[must_use]
    pub fn unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix.push(path.into());
        self
    }

    /// Lets another user of this machine in, over Unix sockets.
    #[must_use]
    pub fn allow_user(mut self, uid: u32) -> Self {
        self.users.insert(uid);
        self
    }

    /// Sets the directory of the server's journal and tokens
    /// ([N4](locks_core::contract#n4-the-journal)). It is created if it is missing.
    #[must_use]
    pub fn state(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state = Some(directory.into());
        self
    }

    /// Sets the resource limits of clients ([N6](locks_core::contract#n6-limits)), in place of the
    /// [default](Limits::default).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets a function that receives the server's log: its start and end, refusals and their
    /// reasons, shortages, administrative releases. It runs on the server's thread, which waits for
    /// it. It receives at most ten lines of a kind per second; the next line has the number of
    /// those left out.
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

    /// Starts the server: restores what the journal has, listens, and serves from a thread of its
    /// own.
    ///
    /// # Errors
    /// `NotConfigured` if there is no address or no directory, if they are not fit, or if no client
    /// could be let in over TCP; `Contended` if another server uses one of them; `Unavailable` if
    /// the journal cannot be used; `Io` if the system refuses.
    pub fn start(self) -> Result<Server, LockError> {
        let state = self.check()?;
        let on_tcp = self.is_on_tcp().then(|| state.to_owned());
        let boot_clock = MachineTime::new().boot;
        let (store, recovered) = Store::open(state, self.is_on_tcp(), &*boot_clock, self.dead)?;
        let mut listening = Vec::new();
        let mut addresses = Vec::new();
        #[cfg(feature = "tcp")]
        for (address, listener) in self.tcp.listen(state, &self.log)? {
            addresses.push(address);
            listening.push(listener);
        }
        for path in self.unix {
            let for_others = self.users.len() > 1;
            let (listener, file) = socket_file::listen(&path, self.replace, for_others)?;
            addresses.push(format!("unix://{}", file.path().display()));
            listening.push(Listening::Unix(listener, file, self.users.clone()));
        }
        #[cfg(feature = "tcp")]
        let clients = self.tcp.clients;
        #[cfg(not(feature = "tcp"))]
        let clients = crate::Clients::new();
        let Self { limits, log, .. } = self;
        let task = ServerTask { store, recovered, limits, clients, listening, log };
        Server::spawn(task, addresses, on_tcp)
    }

    #[cfg(feature = "tcp")]
    fn is_on_tcp(&self) -> bool {
        self.tcp.is_wanted()
    }

    #[cfg(not(feature = "tcp"))]
    fn is_on_tcp(&self) -> bool {
        false
    }

    fn check(&self) -> Result<&Path, LockError> {
        if self.unix.is_empty() && !self.is_on_tcp() {
            return Err(unfit("the server has no address: name one by `unix` or `tcp`"));
        }
        #[cfg(feature = "tcp")]
        self.tcp.check()?;
        let limits = &self.limits;
        if limits.frame < 4096 {
            return Err(unfit("`Limits::frame` is less than 4 KiB"));
        }
        if limits.message > crate::wire::MAX_MESSAGE {
            return Err(unfit("`Limits::message` is more than 128 KiB"));
        }
        let leases = limits.shortest_lease..=limits.longest_lease;
        if !leases.contains(&limits.lease) || limits.shortest_lease.is_zero() {
            return Err(unfit("`Limits::lease` is not between its shortest and longest"));
        }
        let why = "the server has no directory for its journal: name one by `state`";
        self.state.as_deref().ok_or_else(|| unfit(why))
    }
}

pub(super) fn unfit(why: &str) -> LockError {
    LockError::new(ErrorKind::NotConfigured, "").with_message(why.to_owned())
}
