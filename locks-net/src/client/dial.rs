//! Ways to reach a server.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use locks_core::{ErrorKind, LockError};

use super::session::UNREACHED;
use crate::pidfd;
use crate::server::socket_file;
use crate::tls::ClientTls;

/// A way to reach a server; made use of whenever there is no connection and something to say.
pub(crate) trait Dial: Send + Sync + 'static {
    /// What the backend is called: a URL, without secrets.
    fn name(&self) -> &str;

    /// How TLS is begun over it; `None` over a Unix socket.
    fn tls(&self) -> Option<&ClientTls> {
        None
    }

    /// Connects, or gives up `by` then.
    ///
    /// # Errors
    /// The attempt is made again, after a pause.
    fn dial(&self, by: Instant) -> Result<Stream, Unreached>;

    /// That nothing has come of it in time, in words.
    fn unreached(&self) -> &'static str {
        UNREACHED
    }

    /// That nobody listens, in words: what is missing, and what would mend it.
    fn nobody(&self, error: &io::Error) -> String;
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    /// One that is still being made: writable once it is.
    Tcp(Arc<OwnedFd>),
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Unreached {
    /// Nobody is there: it was refused, or there is no socket. So nobody counts anybody's lease
    /// either.
    NobodyListens(io::Error),
    /// `Unavailable`, after which it is worth to try again until those who wait have waited enough;
    /// or anything else, which they are told at once.
    Failed(LockError),
}

/// A server at a Unix socket.
pub(super) struct AtPath {
    path: PathBuf,
    name: String,
    /// Whose servers are trusted, besides this user's and root's.
    allowed: Option<u32>,
}

impl AtPath {
    pub(super) fn new(path: PathBuf, allowed: Option<u32>) -> Self {
        let name = format!("unix://{}", path.display());
        Self { path, name, allowed }
    }
}

impl Dial for AtPath {
    fn name(&self) -> &str {
        &self.name
    }

    fn dial(&self, _: Instant) -> Result<Stream, Unreached> {
        // Not waiting: a server that is stopped has a full backlog at some time, and nobody to
        // empty it.
        let stream = socket_file::connect(&self.path);
        let stream = stream.map_err(|error| Unreached::of(&self.name, error))?;
        check_server(&stream, &self.path, self.allowed).map_err(Unreached::Failed)?;
        if socket_file::server_lives(&stream).is_err() {
            // A child that it forked keeps its listener open.
            return Err(Unreached::NobodyListens(io::ErrorKind::ConnectionRefused.into()));
        }
        Ok(Stream::Unix(stream))
    }

    fn nobody(&self, error: &io::Error) -> String {
        if std::fs::metadata(&self.path).is_ok_and(|found| !found.file_type().is_socket()) {
            return "what is at that path is no socket: name the one at which `locks serve` listens"
                .to_owned();
        }
        let path = self.path.display();
        let start = format!(
            "start its server again as it was started, or a first one by `locks serve --listen \
             unix:{path}"
        );
        let me = rustix::process::geteuid().as_raw();
        let options = match self.allowed {
            Some(user) if user != me => format!(" --allow-user {me}` as user {user}"),
            _ => "`".to_owned(),
        };
        format!("nobody listens there ({error}): {start}{options}")
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
