//! A server that processes of one machine run for each other (N3): the first that needs one serves,
//! the others connect, and when it is gone one of them takes over.
//!
//! Who may serve is decided by the lock of the directory ([`Store`](crate::journal::Store)), and
//! where to connect by the socket in it, which whoever has the lock puts in the place of its
//! predecessor's.

mod here;
#[cfg(test)]
#[cfg(feature = "tcp")]
mod tests;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::directory::await_usable;
use locks_core::{ErrorKind, LockError};
use rustix::io::Errno;

use crate::client::{Dial, Stream, Unreached, check_server};
use crate::journal::serving_pid;
use crate::server::{Server, process, socket_file};

/// Reaches the server of a directory, or becomes it.
#[derive(Clone, Debug)]
pub(crate) struct MachineDial {
    directory: PathBuf,
    socket: PathBuf,
    name: String,
    serves: bool,
}

/// In the directory, put there by whoever serves.
const SOCKET: &str = "server.sock";

/// While somebody is about to serve: first, and longest.
const PAUSES: [Duration; 2] = [Duration::from_micros(500), Duration::from_millis(10)];

/// Why there is no connection.
#[derive(Debug)]
enum Missing {
    /// Nobody serves. The inode of the process that has, if that is known.
    Nobody(io::Error, Option<u64>),
    /// Whoever serves is too busy just now.
    Busy,
    /// It makes no sense to try again.
    Failed(LockError),
}

impl Dial for MachineDial {
    fn name(&self) -> &str {
        &self.name
    }

    fn dial(&self, by: Instant) -> Result<Stream, Unreached> {
        let [mut pause, longest] = PAUSES;
        loop {
            match self.connect() {
                Ok(stream) => return Ok(Stream::Unix(stream)),
                Err(Missing::Failed(error)) => return Err(Unreached::Failed(error)),
                Err(Missing::Nobody(error, _)) if !self.serves => {
                    return Err(Unreached::NobodyListens(error));
                }
                Err(Missing::Busy) => {}
                Err(Missing::Nobody(_, dead)) => match self.serve_here(dead) {
                    Ok(()) if Instant::now() < by => continue,
                    Ok(()) => {}
                    // Somebody else is about to.
                    Err(error) if error.kind() == ErrorKind::Contended => {}
                    Err(error) => return Err(Unreached::Failed(error)),
                },
            }
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Unreached::Failed(self.unanswered()));
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(longest);
        }
    }

    fn nobody(&self, _: &io::Error) -> String {
        "nobody serves there now, and this process does not serve: nobody holds a lock there, and what is \
         reserved is listed and released while somebody serves, as in `locks run look -- locks ls` with \
         the same backend"
            .to_owned()
    }
}

impl MachineDial {
    /// The server of this directory, which has to be this user's own and is made if it is missing.
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        let socket = directory.join(SOCKET);
        let name = format!("net://{}", directory.display());
        Self { directory, socket, name, serves: true }
    }

    /// Whether this process serves if nobody does.
    #[must_use]
    pub(crate) fn serve(mut self, serves: bool) -> Self {
        self.serves = serves;
        self
    }

    /// Nobody has answered in time: who serves, and why that may be.
    pub(crate) fn unanswered(&self) -> LockError {
        let who = match serving_pid(&self.directory) {
            Some(pid) => process::describe(pid),
            None => "nobody".to_owned(),
        };
        LockError::unavailable(&self.name, format!("{who} serves there and does not answer"))
    }

    fn connect(&self) -> Result<UnixStream, Missing> {
        let connected = socket_file::connect(&self.socket).or_else(|error| match error.kind() {
            // The directory may be in the making (F12).
            io::ErrorKind::PermissionDenied => {
                await_usable(&self.directory);
                socket_file::connect(&self.socket)
            }
            _ => Err(error),
        });
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                return Err(match Errno::from_io_error(&error) {
                    Some(Errno::NOENT | Errno::CONNREFUSED) => Missing::Nobody(error, None),
                    Some(Errno::AGAIN | Errno::INTR) => Missing::Busy,
                    _ => Missing::Failed(self.unusable(error)),
                });
            }
        };
        check_server(&stream, &self.socket, None)
            .map_err(|error| Missing::Failed(error.with_backend(&*self.name)))?;
        // A child that it forked may keep its listener open.
        socket_file::server_lives(&stream)
            .map_err(|dead| Missing::Nobody(Errno::CONNREFUSED.into(), Some(dead)))?;
        Ok(stream)
    }

    fn serve_here(&self, dead: Option<u64>) -> Result<(), LockError> {
        here::serve(&self.directory, || self.connect().is_ok(), || start(&self.directory, dead))
            .map_err(|error| error.with_backend(&*self.name))
    }

    fn unusable(&self, error: io::Error) -> LockError {
        let mut why = format!("`{}` cannot be connected to: {error}", self.socket.display());
        if error.kind() == io::ErrorKind::PermissionDenied {
            why += "; `net:` is for processes of one user: name a directory of this user's own, or let \
                    several meet at `locks serve --allow-user`";
        }
        LockError::new(ErrorKind::Io, "")
            .with_backend(&*self.name)
            .with_message(why)
            .with_source(error)
    }
}

fn start(directory: &Path, dead: Option<u64>) -> Result<Server, LockError> {
    let builder = Server::builder().unix(directory.join(SOCKET)).state(directory);
    builder.replacing_any_socket().succeeding(dead).start()
}
