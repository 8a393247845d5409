//! Who arbitrates between the workers, and how that one is killed among them.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

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
                let arguments: [OsString; 2] = ["--serve-in".into(), locks.clone().into()];
                // The pipe tells it when we are gone.
                let start =
                    move || Ok(itself(arguments.to_vec())?.stdin(Stdio::piped()).spawn()?);
                (url, Server::Beside(Beside::start(start)?))
            }
            "etcd:" => {
                let (clients, peers) = (free_port()?, free_port()?);
                // Long enough to reach it, and to keep what is held, while it is started anew.
                let url = format!("etcd://127.0.0.1:{clients}/transfers?lease=5s&connect=60s");
                let start = move || start_etcd(&locks, clients, peers);
                (url, Server::Beside(Beside::start(start)?))
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
    start: Box<dyn Fn() -> Result<Child, Failure>>,
    process: Child,
}

impl Beside {
    fn start(start: impl Fn() -> Result<Child, Failure> + 'static) -> Result<Self, Failure> {
        let process = start()?;
        Ok(Self { start: Box::new(start), process })
    }

    fn kill_and_start(&mut self) -> Result<(), Failure> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = (self.start)()?;
        Ok(())
    }
}

/// An etcd of one member, which keeps what it knows in `directory`.
fn start_etcd(directory: &Path, clients: u16, peers: u16) -> Result<Child, Failure> {
    let at = |port: u16| format!("http://127.0.0.1:{port}");
    let (clients, peers) = (at(clients), at(peers));
    let mut etcd = Command::new("etcd");
    etcd.arg("--data-dir")
        .arg(directory.join("etcd"))
        .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("default={peers}")])
        .args(["--logger", "zap", "--log-level", "error"])
        .stdin(Stdio::null());
    Ok(etcd.spawn().map_err(|error| format!("`etcd` cannot be started: {error}"))?)
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
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
