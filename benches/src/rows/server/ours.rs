//! Ours: the one file that knows how a server of ours is started and reached.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use locks::{Backend, OwnedGuard};

use super::TIMEOUT;
use super::address::{Address, PATIENCE, Transport};
use super::child::Started;
use super::client::{Client, Service};

/// A server that nobody else uses.
#[derive(Debug)]
pub(super) struct Ours {
    _keeper: Started,
    pub(super) id: u32,
    url: String,
}

impl Ours {
    /// Starts one that listens by `transport`, or says what is missing.
    pub(super) fn start(transport: Transport, directory: &Path) -> Result<Self, String> {
        Self::run(transport, directory).map_err(|error| format!("no server of ours: {error}"))
    }

    fn run(transport: Transport, directory: &Path) -> io::Result<Self> {
        let program = program()?;
        let address = transport.free(directory, "ours")?;
        let state = directory.join(format!("state-{transport:?}")).display().to_string();
        let mut arguments = vec!["serve", "--state", &state, "--listen"];
        let listen = address.to_string();
        arguments.push(&listen);
        let mut arguments = arguments.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let url = match &address {
            Address::Unix(path) => format!("unix://{}", path.display()),
            Address::Tcp(address) | Address::Tls(address) => {
                let secret = directory.join("secret");
                make_secret(&program, &secret)?;
                arguments.extend(["--secret-file".to_owned(), secret.display().to_string()]);
                format!("locks://{address}?secret_file={}", secret.display())
            }
        };
        let words = [OsStr::new("keeper"), program.as_os_str()];
        let mut keeper = Started::start(words.into_iter().chain(arguments.iter().map(OsStr::new)))?;
        let id = keeper.hear()?.parse().map_err(io::Error::other)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match locks::open(&url).and_then(|backend| backend.named("begin").acquire()) {
                Ok(_) => return Ok(Self { _keeper: keeper, id, url }),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// A client with a connection of its own, which its threads and tasks share.
    pub(super) fn client(&self) -> io::Result<Backend> {
        Ok(locks::open(&self.url)?)
    }

    pub(super) fn locks(&self) -> Locks {
        Locks { url: self.url.clone() }
    }
}

/// The `locks` command that was built beside this program, if it knows how to serve.
fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("locks");
    let mut help = Command::new(&program);
    help.args(["serve", "--help"]).stdout(Stdio::null()).stderr(Stdio::null());
    match help.status() {
        Ok(status) if status.success() => Ok(program),
        Ok(_) => Err(io::Error::other("the `locks` command beside this program has no `serve`")),
        Err(_) => Err(io::Error::other(
            "no `locks` command beside this program: run `cargo build --release -p locks-cli`",
        )),
    }
}

fn make_secret(program: &Path, path: &Path) -> io::Result<()> {
    let made = Command::new(program).arg("secret").output()?;
    if !made.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&made.stdout)
}

/// The URL of those who serve themselves in `directory`, or what is missing for that.
pub(super) fn self_serving(directory: &Path) -> Result<String, String> {
    let url = format!("net://{}", directory.display());
    let opened = locks::open(&url);
    opened.map(|_| url).map_err(|error| {
        let error = error.to_string();
        // What one could use instead is of no interest here.
        format!("no self-serving of ours: {}", error.split(';').next().unwrap_or_default())
    })
}

pub(super) struct Locks {
    url: String,
}

impl Service for Locks {
    fn connect(&self, key: &str) -> io::Result<Box<dyn Client>> {
        Ok(Box::new(Lock { backend: locks::open(&self.url)?, key: key.to_owned(), held: None }))
    }
}

struct Lock {
    backend: Backend,
    key: String,
    held: Option<OwnedGuard>,
}

impl Client for Lock {
    fn take(&mut self) -> io::Result<()> {
        let guard = self.backend.named(self.key.as_str()).wait(TIMEOUT).acquire()?;
        self.held = Some(guard.into_owned());
        Ok(())
    }

    fn give(&mut self) -> io::Result<()> {
        self.held = None;
        Ok(())
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        Ok(self.held.take().map_or(Ok(()), OwnedGuard::release)?)
    }
}
