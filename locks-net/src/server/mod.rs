//! The server: sockets, threads and timers around the [arbiter](crate::arbiter).

mod accept;
mod builder;
mod connection;
mod descriptor;
mod driver;
mod handshakes;
mod log;
mod machine_time;
mod observer;
pub(crate) mod process;
mod processes;
mod proof_attempts;
mod ready_queue;
pub(crate) mod socket_file;
mod task;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(test)]
#[cfg(feature = "tcp")]
pub(crate) mod tests;
mod timer;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use locks_core::{ErrorKind, LockError, fork, thread};

pub use self::builder::ServerBuilder;
pub use self::log::{LogLevel, LogLine};
use self::observer::Inquiries;
pub use self::observer::ServerObserver;
use self::ready_queue::ReadyQueue;
use self::task::{Listening, ServerTask};

/// A lock server in this process.
///
/// It runs in a thread of its own, `locks-serve`, and [stops](Self::stop) when it is dropped, which
/// takes up to a second. Clients keep their locks meanwhile: the next server on the same directory
/// continues from the journal ([N4](locks_core::contract#n4-the-journal)), also if this one was
/// killed.
///
/// In a forked child it is inert: the parent goes on serving.
///
/// ```
/// use locks::net::{NetBackend, Server};
///
/// # let directory = std::env::temp_dir().join(format!("locks-server-{}", std::process::id()));
/// let socket = directory.join("locks.sock");
/// let server = Server::builder().state(&directory).unix(&socket).start()?;
/// assert_eq!(server.addresses(), [format!("unix://{}", socket.display())]);
///
/// let backend = NetBackend::unix(&socket).build()?.into_backend();
/// let guard = backend.named("invoice:42").acquire()?;
/// # drop((guard, backend));
/// server.stop();
/// assert!(!server.is_running());
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), locks::LockError>(())
/// ```
pub struct Server {
    shared: Arc<ServerControl>,
    addresses: Vec<String>,
    /// Its directory, if it is on TCP.
    state: Option<PathBuf>,
    /// The process that started it.
    process: u64,
}

#[derive(Debug)]
struct ServerControl {
    ready_queue: Arc<ReadyQueue>,
    inquiries: Arc<Inquiries>,
    outcome: Mutex<Option<ServerOutcome>>,
    ended: Condvar,
}

/// How it ended; for an error, its kind and text.
type ServerOutcome = Result<(), (ErrorKind, String)>;

impl Server {
    /// Creates a builder without addresses and directory.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }

    fn spawn(
        task: ServerTask,
        addresses: Vec<String>,
        state: Option<PathBuf>,
    ) -> Result<Self, LockError> {
        let shared = Arc::new(ServerControl::new());
        let (begun, has_begun) = std::sync::mpsc::channel();
        let theirs = Arc::clone(&shared);
        let serve = move || {
            /// Tells of a panic, too.
            struct Ends(Arc<ServerControl>, ServerOutcome);
            impl Drop for Ends {
                fn drop(&mut self) {
                    let outcome = std::mem::replace(&mut self.1, Ok(()));
                    *self.0.lock() = Some(outcome);
                    self.0.ended.notify_all();
                }
            }
            let panicked = (ErrorKind::Io, "the server has panicked".to_owned());
            let mut ends = Ends(theirs, Err(panicked));
            let outcome = task.run(&ends.0.ready_queue, &ends.0.inquiries, || {
                // Nobody waits for it any more, then.
                let _ = begun.send(());
            });
            ends.1 = outcome.map_err(|error| (error.kind(), error.to_string()));
        };
        thread::start("locks-serve", 2 << 20, serve).map_err(|error| {
            let why = format!("the server's thread cannot be started: {error}");
            LockError::new(ErrorKind::Io, "").with_message(why).with_source(error)
        })?;
        let server = Self { shared, addresses, state, process: fork::generation() };
        match has_begun.recv() {
            Ok(()) => Ok(server),
            // It has ended instead.
            Err(_) => {
                server.wait()?;
                let why = "the server has ended before it began";
                Err(LockError::new(ErrorKind::Io, "").with_message(why))
            }
        }
    }

    /// Returns the URLs by which clients reach it, in the order in which addresses of a kind were
    /// given; TCP first.
    ///
    /// ```
    /// use locks::net::Server;
    ///
    /// # let directory = std::env::temp_dir().join(format!("locks-addresses-{}", std::process::id()));
    /// let socket = directory.join("locks.sock");
    /// let server = Server::builder().state(&directory).unix(&socket).start()?;
    /// assert_eq!(server.addresses(), [format!("unix://{}", socket.display())]);
    /// # drop(server);
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Returns an observer of the server, for use on any thread of this process.
    ///
    /// ```
    /// use locks::net::{NetBackend, Server};
    ///
    /// # let directory = std::env::temp_dir().join(format!("locks-observer-{}", std::process::id()));
    /// let server = Server::builder().state(&directory).unix(directory.join("locks.sock")).start()?;
    /// let backend = NetBackend::unix(directory.join("locks.sock")).build()?.into_backend();
    /// let guard = backend.named("invoice:42").acquire()?;
    ///
    /// let seen = server.observer().observe().block()?;
    /// assert_eq!((seen.figures.grants(), seen.holds), (1, 1));
    /// assert_eq!(seen.locks[0].key, "invoice:42");
    ///
    /// assert!(server.observer().release("invoice:42", guard.token()).block()?);
    /// assert!(guard.check().is_err());
    /// # drop((guard, backend, server));
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn observer(&self) -> ServerObserver {
        ServerObserver::new(&self.shared.inquiries)
    }

    /// Returns `true` while the server runs.
    ///
    /// ```
    /// use locks::net::Server;
    ///
    /// # let directory = std::env::temp_dir().join(format!("locks-is-running-{}", std::process::id()));
    /// let socket = directory.join("locks.sock");
    /// let server = Server::builder().state(&directory).unix(&socket).start()?;
    /// assert!(server.is_running());
    /// # drop(server);
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn is_running(&self) -> bool {
        self.process == fork::generation() && self.shared.lock().is_none()
    }

    /// Stops the server: notifies the clients, releases the addresses and the directory, and
    /// returns when that is done, within about a second. Holds stay in the journal for the next
    /// server on the directory.
    ///
    /// ```
    /// use locks::net::Server;
    ///
    /// # let directory = std::env::temp_dir().join(format!("locks-stop-{}", std::process::id()));
    /// let socket = directory.join("locks.sock");
    /// let server = Server::builder().state(&directory).unix(&socket).start()?;
    /// server.stop();
    /// assert!(!server.is_running() && !socket.exists());
    /// # drop(server);
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn stop(&self) {
        if self.process != fork::generation() {
            return;
        }
        self.shared.ready_queue.stop();
        let _ = self.wait();
    }

    /// Blocks until the server has ended, because it was stopped or has failed.
    ///
    /// ```no_run
    /// let server = locks::net::Server::builder().state("/var/lib/app").unix("/run/app/locks.sock").start()?;
    /// // For as long as the program is to serve, and nothing else.
    /// server.wait()?;
    /// # Ok::<(), locks::LockError>(())
    /// ```
    ///
    /// # Errors
    /// The reason for which the server has failed; `Unavailable` in a forked child.
    pub fn wait(&self) -> Result<(), LockError> {
        if self.process != fork::generation() {
            let why = "the server belongs to the parent of this forked process";
            return Err(LockError::new(ErrorKind::Unavailable, "").with_message(why));
        }
        let mut outcome = self.shared.lock();
        while outcome.is_none() {
            outcome = self.shared.ended.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
        let outcome = outcome.clone().unwrap_or(Ok(()));
        outcome.map_err(|(kind, text)| LockError::new(kind, "").with_message(text))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl ServerControl {
    fn new() -> Self {
        let ready_queue = Arc::<ReadyQueue>::default();
        let inquiries = Inquiries::new(&ready_queue);
        Self { ready_queue, inquiries, outcome: Mutex::default(), ended: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ServerOutcome>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
