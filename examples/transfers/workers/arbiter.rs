//! Who arbitrates between the workers, and how that one is killed among them.

use std::path::Path;
use std::process::{Child, Stdio};

use super::Itself;
use super::place::Place;
use crate::Failure;

/// What `LOCKS_URL` is to the workers.
pub(super) struct Arbiter {
    url: String,
    server: Server,
    killed: usize,
}

enum Server {
    /// None that we could kill.
    None,
    /// One of the workers.
    AmongThem,
    /// A process beside them; dropping it ends it.
    Beside(Beside),
}

impl Arbiter {
    /// For a backend as `--backend` names it.
    pub(super) fn new(backend: &str, place: &Place, itself: Itself) -> Result<Self, Failure> {
        let locks = place.locks();
        let (url, server) = match backend {
            "file:" => (Place::url("file", &locks), Server::None),
            "net:" => (Place::url("net", &locks), Server::AmongThem),
            "unix:" => {
                let url = Place::url("unix", &socket(&locks));
                (url, Server::Beside(Beside::start(itself, &locks)?))
            }
            other => (other.to_owned(), Server::None),
        };
        // What is wrong with it is told once, and not by each worker.
        locks::open(&url)?;
        Ok(Self { url, server, killed: 0 })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// How often whoever serves has been killed.
    pub(super) fn killed(&self) -> usize {
        self.killed
    }

    pub(super) fn count(&mut self, killed: usize) {
        self.killed += killed;
    }

    /// Kills a server beside the workers without warning, if there is one, and starts another.
    pub(super) fn kill_server_beside(&mut self) -> Result<bool, Failure> {
        let Server::Beside(beside) = &mut self.server else { return Ok(false) };
        beside.kill_and_start()?;
        self.killed += 1;
        Ok(true)
    }

    /// The one of the workers that serves the others, if it can be found out just now.
    pub(super) fn serving_pid(&self) -> Option<u32> {
        match self.server {
            Server::AmongThem => serving_pid(&self.url),
            _ => None,
        }
    }
}

#[cfg(feature = "net")]
fn serving_pid(url: &str) -> Option<u32> {
    // Somebody may be about to take over.
    let (_, server) = locks::open_to_look(url).ok()?;
    Some(server?.status().block().ok()?.pid)
}

#[cfg(not(feature = "net"))]
fn serving_pid(_: &str) -> Option<u32> {
    None
}

/// A server, as a process of its own.
struct Beside {
    itself: Itself,
    arguments: [std::ffi::OsString; 2],
    process: Child,
}

impl Beside {
    fn start(itself: Itself, directory: &Path) -> Result<Self, Failure> {
        let arguments = ["--serve-in".into(), directory.into()];
        let process = Self::spawn(itself, &arguments)?;
        Ok(Self { itself, arguments, process })
    }

    fn spawn(itself: Itself, arguments: &[std::ffi::OsString]) -> Result<Child, Failure> {
        // The pipe tells it when we are gone.
        Ok(itself(arguments.to_vec())?.stdin(Stdio::piped()).spawn()?)
    }

    fn kill_and_start(&mut self) -> Result<(), Failure> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = Self::spawn(self.itself, &self.arguments)?;
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // One that has just ended needs no killing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket(directory: &Path) -> std::path::PathBuf {
    directory.join("locks.sock")
}

/// Serves in this process, until whoever has started it is gone.
#[cfg(feature = "net")]
pub(crate) fn serve(directory: &Path) -> Result<(), Failure> {
    let server = locks::net::Server::builder().unix(socket(directory)).state(directory);
    let server = server.start()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    server.stop();
    Ok(())
}

#[cfg(not(feature = "net"))]
pub(crate) fn serve(_: &Path) -> Result<(), Failure> {
    Err("this build lacks the feature `net`".into())
}
