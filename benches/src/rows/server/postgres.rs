//! A PostgreSQL of this program's own, and its advisory locks.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use super::address::{Address, PATIENCE, Stream, Transport};
use super::child::{Started, itself};
use super::client::{Client, Service};
use crate::rows::place::Place;

/// A server that nobody else uses.
pub(super) struct Postgres {
    // Before the directory that it uses.
    _keeper: Started,
    _place: Place,
    unix: Address,
    tcp: Address,
}

impl Postgres {
    /// Starts it, or says what is missing.
    pub(super) fn start(base: &Path) -> Result<Self, String> {
        let programs = programs().ok_or("no PostgreSQL: install `postgresql`")?;
        Self::run(&programs, base).map_err(|error| format!("no PostgreSQL: {error}"))
    }

    fn run(programs: &Path, base: &Path) -> io::Result<Self> {
        let place = Place::new(base, "postgres");
        let directory = place.path();
        // It refuses to run as root.
        let user = if geteuid().is_root() { Some(unprivileged()?) } else { None };
        if let Some((user, group)) = user {
            chown(directory, Some(user), Some(group))?;
        }
        let started_by = |command: &mut Command| {
            if let Some((user, group)) = user {
                command.uid(user).gid(group);
            }
            command.current_dir(directory);
        };
        let mut made = Command::new(programs.join("initdb"));
        made.args([
            "-D",
            "data",
            "-U",
            "locks",
            "-A",
            "trust",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        ]);
        made.stdout(Stdio::null());
        started_by(&mut made);
        if !made.status()?.success() {
            return Err(io::Error::other("`initdb` failed: its error is above"));
        }
        let tcp = Transport::Tcp.free(directory, "")?;
        let port = tcp.to_string();
        let port = port.rsplit(':').next().expect("an address ends with its port");
        let mut command = itself()?;
        command.arg("keeper").arg(programs.join("postgres")).args(["-D", "data", "-p", port]);
        command.args(["-h", "127.0.0.1", "-c", "fsync=off", "-c", "log_min_messages=panic", "-k"]);
        command.arg(directory);
        started_by(&mut command);
        let mut keeper = Started::spawn(&mut command)?;
        keeper.hear()?;
        let unix = Address::Unix(directory.join(format!(".s.PGSQL.{port}")));
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Session::open(&unix, "ledger") {
                Ok(_) => return Ok(Self { _keeper: keeper, _place: place, unix, tcp }),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// What clients by TCP name it by.
    pub(super) fn url(&self) -> String {
        let address = self.tcp.to_string();
        let port = address.rsplit(':').next().expect("an address ends with its port");
        format!("postgres://locks@127.0.0.1:{port}/postgres")
    }

    pub(super) fn locks(&self, transport: Transport) -> Locks {
        Locks(match transport {
            Transport::Unix => self.unix.clone(),
            Transport::Tcp => self.tcp.clone(),
        })
    }
}

/// The directory that `initdb` and `postgres` are in: not on the path of everybody who has them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = versions.map(|version| version.path().join("bin"));
    let complete = |path: &PathBuf| path.join("initdb").exists() && path.join("postgres").exists();
    on_path.into_iter().chain(versions).find(complete)
}

/// The numbers of a user who may do nothing else, and of its group.
fn unprivileged() -> io::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let numbers = |wanted: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut cells = line.split(':').skip(2).map(str::parse);
        Some((cells.next()?.ok()?, cells.next()?.ok()?))
    };
    let found = numbers("postgres").or_else(|| numbers("nobody"));
    found.ok_or_else(|| io::Error::other("it refuses to run as root, and there is no `nobody`"))
}

pub(super) struct Locks(Address);

impl Service for Locks {
    fn connect(&self, key: &str) -> io::Result<Box<dyn Client>> {
        Ok(Box::new(Session::open(&self.0, key)?))
    }
}

/// A connection with two prepared statements, which is as quick as it gets.
struct Session {
    stream: BufReader<Stream>,
    body: Vec<u8>,
}

const TAKE: &str = "take";
const GIVE: &str = "give";

impl Session {
    fn open(address: &Address, key: &str) -> io::Result<Self> {
        let stream = BufReader::new(address.connect()?);
        let mut session = Self { stream, body: Vec::new() };
        let hello = b"\0\x03\0\0user\0locks\0database\0postgres\0\0";
        let length = u32::try_from(hello.len() + 4).expect("it is short");
        session.stream.get_mut().write_all(&[&length.to_be_bytes()[..], hello].concat())?;
        session.until_ready()?;
        for (name, function) in [(TAKE, "pg_advisory_lock"), (GIVE, "pg_advisory_unlock")] {
            let statement =
                format!("{name}\0select {function}(hashtextextended('{key}', 0))\0\0\0");
            session.ask(&[(b'P', statement.as_bytes()), (b'S', b"")])?;
        }
        Ok(session)
    }

    fn execute(&mut self, statement: &str) -> io::Result<()> {
        let bind = format!("\0{statement}\0\0\0\0\0\0\0");
        self.ask(&[(b'B', bind.as_bytes()), (b'E', b"\0\0\0\0\0"), (b'S', b"")])
    }

    /// Sends messages, each of a kind and a body, and waits until all are done.
    fn ask(&mut self, messages: &[(u8, &[u8])]) -> io::Result<()> {
        let mut request = Vec::with_capacity(128);
        for (kind, body) in messages {
            request.push(*kind);
            let length = u32::try_from(body.len() + 4).expect("it is short");
            request.extend_from_slice(&length.to_be_bytes());
            request.extend_from_slice(body);
        }
        self.stream.get_mut().write_all(&request)?;
        self.until_ready()
    }

    fn until_ready(&mut self) -> io::Result<()> {
        let mut error = None;
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let [kind, length @ ..] = head;
            let length = u32::from_be_bytes(length) as usize;
            self.body.resize(length.saturating_sub(4), 0);
            self.stream.read_exact(&mut self.body)?;
            match kind {
                b'E' => error = Some(String::from_utf8_lossy(&self.body).replace('\0', " ")),
                b'Z' => break,
                _ => {}
            }
        }
        error.map_or(Ok(()), |error| Err(io::Error::other(error)))
    }
}

impl Client for Session {
    fn take(&mut self) -> io::Result<()> {
        self.execute(TAKE)
    }

    fn give(&mut self) -> io::Result<()> {
        self.execute(GIVE)
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        self.give()
    }
}
