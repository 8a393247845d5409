//! Ways to reach a server.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use locks_core::{ErrorKind, LockError};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::pidfd;
use crate::secret::Secret;
use crate::server::socket_file;

/// A way to reach a server; made use of whenever there is no connection and something to say.
pub(crate) trait Dial: Send + Sync + 'static {
    /// What the backend is called: a URL, without secrets.
    fn name(&self) -> &str;

    /// What both sides are to prove that they know.
    fn secret(&self) -> Option<Arc<Secret>> {
        None
    }

    /// Connects, or gives up `by` then.
    ///
    /// # Errors
    /// The attempt is made again, after a pause.
    fn dial(&self, by: Instant) -> Result<Line, Unreached>;

    /// That nobody listens, in words: what is missing, and what would mend it.
    fn nobody(&self, error: &io::Error) -> String;
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Line {
    Unix(UnixStream),
    /// One that is still being made: writable once it is.
    Tcp(Arc<OwnedFd>),
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Unreached {
    /// Nobody is there: it was refused, or there is no socket. So nobody counts anybody's lease either.
    NobodyListens(io::Error),
    /// `Unavailable`, after which it is worth to try again until those who wait have waited enough; or
    /// anything else, which they are told at once.
    Failed(LockError),
}

/// A server at a Unix socket.
pub(super) struct AtPath {
    path: PathBuf,
    name: String,
    /// Whose servers are trusted, besides this user's and root's.
    allowed: Option<u32>,
}

/// A server at a TCP port of this machine.
pub(super) struct AtPort {
    address: SocketAddr,
    name: String,
    secret: Arc<Secret>,
}

impl AtPath {
    pub(super) fn new(path: PathBuf, allowed: Option<u32>) -> Self {
        let name = format!("unix://{}", path.display());
        Self { path, name, allowed }
    }
}

impl AtPort {
    /// # Errors
    /// `NotConfigured`, where it is not an address of this machine.
    pub(super) fn new(address: &str, secret: Arc<Secret>) -> Result<Self, LockError> {
        let name = format!("locks://{address}");
        let refused = |why: String| {
            LockError::new(ErrorKind::NotConfigured, "").with_backend(&*name).with_message(why)
        };
        let mut addresses = address
            .to_socket_addrs()
            .map_err(|error| refused(format!("`{address}` is no address with a port: {error}")))?;
        let Some(address) = addresses.find(|address| address.ip().is_loopback()) else {
            return Err(refused(format!(
                "`{address}` is not an address of this machine: without TLS, which is still to come, \
                 a server is reached by `127.0.0.1` or `[::1]` only, or through a tunnel that ends there"
            )));
        };
        Ok(Self { address, name, secret })
    }
}

impl Dial for AtPath {
    fn name(&self) -> &str {
        &self.name
    }

    fn dial(&self, _: Instant) -> Result<Line, Unreached> {
        // Not waiting: a server that is stopped has a full backlog at some time, and nobody to empty it.
        let stream = socket_file::connect(&self.path);
        let stream = stream.map_err(|error| Unreached::of(&self.name, error))?;
        check_server(&stream, &self.path, self.allowed).map_err(Unreached::Failed)?;
        if socket_file::server_lives(&stream).is_err() {
            // A child that it forked keeps its listener open.
            return Err(Unreached::NobodyListens(io::ErrorKind::ConnectionRefused.into()));
        }
        Ok(Line::Unix(stream))
    }

    fn nobody(&self, error: &io::Error) -> String {
        if std::fs::metadata(&self.path).is_ok_and(|found| !found.file_type().is_socket()) {
            return "what is at that path is no socket: name the one at which `locks serve` listens"
                .to_owned();
        }
        let path = self.path.display();
        format!(
            "nobody listens there ({error}): start a server by `locks serve --listen unix:{path}`"
        )
    }
}

impl Dial for AtPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn secret(&self) -> Option<Arc<Secret>> {
        Some(self.secret.clone())
    }

    fn dial(&self, _: Instant) -> Result<Line, Unreached> {
        begin(&self.address)
            .map(|socket| Line::Tcp(Arc::new(socket)))
            .map_err(|error| Unreached::of(&self.name, error.into()))
    }

    fn nobody(&self, error: &io::Error) -> String {
        let address = self.address;
        format!(
            "nobody listens there ({error}): start a server by `locks serve --listen tcp:{address}`"
        )
    }
}

fn begin(address: &SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Refuses a server of another user than this one, root and `allowed` (N5).
///
/// # Errors
/// `Unauthorized`.
pub(crate) fn check_server(
    stream: &UnixStream,
    path: &Path,
    allowed: Option<u32>,
) -> Result<(), LockError> {
    let refused = |why: String| LockError::new(ErrorKind::Unauthorized, "").with_message(why);
    let path = path.display();
    let (_, uid) = pidfd::peer_credentials(stream).map_err(|error| {
        refused(format!("the system does not say who serves at `{path}`: {error}"))
    })?;
    let me = rustix::process::geteuid().as_raw();
    if uid == me || uid == 0 || allowed == Some(uid) {
        return Ok(());
    }
    Err(refused(format!(
        "the server at `{path}` is run by user {uid}, not by this user ({me}) or root: if it is to be \
         trusted, say so by `?user={uid}`"
    )))
}

impl Unreached {
    /// Why the backend of this name was not reached.
    pub(super) fn of(name: &str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Unreached::NobodyListens(error)
            }
            io::ErrorKind::PermissionDenied => {
                let me = rustix::process::geteuid().as_raw();
                let why = format!(
                    "this user ({me}) may not connect to `{name}` ({error}): whoever runs the server lets it in by \
                 `locks serve --allow-user {me}`, in a directory that it may enter"
                );
                let refused = LockError::new(ErrorKind::Unauthorized, "").with_message(why);
                Unreached::Failed(refused.with_source(error))
            }
            _ => Unreached::Failed(LockError::unavailable(name, error)),
        }
    }
}

impl fmt::Debug for dyn Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
