//! A server that processes of one machine run for each other (N3): the first that needs one serves, the
//! others connect, and when it is gone one of them takes over.
//!
//! Who may serve is decided by the lock of the directory ([`Store`](crate::journal::Store)), and where to
//! connect by the socket in it, which whoever has the lock puts in the place of its predecessor's.

mod here;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{ErrorKind, LockError};
use rustix::io::Errno;

use crate::journal::serving_pid;
use crate::server::{Server, process, socket_file};

/// Reaches the server of a directory, or becomes it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    directory: PathBuf,
    socket: PathBuf,
    name: String,
    serves: bool,
}

/// In the directory, put there by whoever serves.
const SOCKET: &str = "server.sock";

/// While somebody is about to serve: first, and longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];

/// Why there is no connection.
#[derive(Debug)]
enum Missing {
    /// Nobody serves.
    Nobody(io::Error),
    /// Whoever serves is too busy just now.
    Busy,
    /// It makes no sense to try again.
    Failed(LockError),
}

impl Machine {
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

    /// Its URL.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A connection, which may take until `by`.
    ///
    /// # Errors
    /// `Err` in the inner result: nobody serves, and this process does not either. Otherwise `Unavailable`
    /// if whoever serves cannot be reached, and whatever is wrong with the directory.
    pub(crate) fn dial(&self, by: Instant) -> Result<Result<UnixStream, io::Error>, LockError> {
        let [mut pause, longest] = PAUSES;
        loop {
            match self.connect() {
                Ok(stream) => return Ok(Ok(stream)),
                Err(Missing::Failed(error)) => return Err(error),
                Err(Missing::Nobody(error)) if !self.serves => return Ok(Err(error)),
                Err(Missing::Busy) => {}
                Err(Missing::Nobody(_)) => match self.serve_here() {
                    Ok(()) if Instant::now() < by => continue,
                    Ok(()) => {}
                    // Somebody else is about to.
                    Err(error) if error.kind() == ErrorKind::Contended => {}
                    Err(error) => return Err(error),
                },
            }
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.unanswered());
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(longest);
        }
    }

    /// Nobody has answered in time: who serves, and why that may be.
    pub(crate) fn unanswered(&self) -> LockError {
        let who = match serving_pid(&self.directory) {
            Some(pid) => process::describe(pid),
            None => "nobody".to_owned(),
        };
        let why = format!("`{}` cannot be reached: {who} serves it and does not answer", self.name);
        LockError::new(ErrorKind::Unavailable, "").with_backend(&*self.name).with_message(why)
    }

    fn connect(&self) -> Result<UnixStream, Missing> {
        let stream = match socket_file::connect(&self.socket) {
            Ok(stream) => stream,
            Err(error) => {
                return Err(match Errno::from_io_error(&error) {
                    Some(Errno::NOENT | Errno::CONNREFUSED) => Missing::Nobody(error),
                    Some(Errno::AGAIN | Errno::INTR) => Missing::Busy,
                    _ => Missing::Failed(self.unfit(&error.to_string()).with_source(error)),
                });
            }
        };
        let peer = rustix::net::sockopt::socket_peercred(&stream);
        let peer = peer.map_err(|error| Missing::Failed(self.unfit(&error.to_string())))?;
        let own = rustix::process::geteuid();
        if peer.uid != own {
            // N5: whoever it is could grant one lock to several.
            let uid = peer.uid.as_raw();
            let why =
                format!("user {uid} serves there, and this process is user {}'s", own.as_raw());
            return Err(Missing::Failed(self.unfit(&why)));
        }
        if !socket_file::server_lives(&stream) {
            // A child that it forked keeps its listener open.
            return Err(Missing::Nobody(Errno::CONNREFUSED.into()));
        }
        Ok(stream)
    }

    fn serve_here(&self) -> Result<(), LockError> {
        here::serve(&self.directory, || self.connect().is_ok(), || start(&self.directory))
            .map_err(|error| error.with_backend(&*self.name))
    }

    fn unfit(&self, why: &str) -> LockError {
        let why = format!("`{}` cannot be used: {why}", self.name);
        LockError::new(ErrorKind::Unavailable, "").with_backend(&*self.name).with_message(why)
    }
}

fn start(directory: &Path) -> Result<Server, LockError> {
    let builder = Server::builder().unix(directory.join(SOCKET)).state(directory);
    builder.replacing_any_socket().start()
}
