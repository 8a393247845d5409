//! A Redis of this program's own, and the locks that one makes of it.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::address::{Address, PATIENCE, Transport};
use super::child::Started;
use super::client::{Client, Service};
use super::resp::{Connection, Reply};
use super::tls::Identity;

/// How long a lock outlives a holder that has died.
pub(super) const EXPIRY: &str = "30000";

/// Deletes the key if it is the caller's: what a release has to be.
pub(super) const RELEASE: &str =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

/// The same, and tells those who wait.
const RELEASE_AND_TELL: &str = "if redis.call('get',KEYS[1])==ARGV[1] then \
     redis.call('del',KEYS[1]) redis.call('publish',KEYS[1],'free') return 1 else return 0 end";

/// How long a client that polls sleeps between two looks: what `redis-py` does.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// A server that keeps nothing and that nobody else uses.
#[derive(Debug)]
pub(super) struct Redis {
    _keeper: Started,
    pub(super) id: u32,
    unix: Address,
    tcp: Address,
    tls: Address,
}

impl Redis {
    /// Starts it, or says what is missing.
    pub(super) fn start(directory: &Path) -> Result<Self, String> {
        let there = |program: &&str| {
            let mut command = Command::new(program);
            command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let program = ["redis-server", "valkey-server"].into_iter().find(there);
        let program = program.ok_or("no Redis: install `redis-server` or `valkey-server`")?;
        Self::run(program, directory).map_err(|error| format!("no Redis: `{program}`: {error}"))
    }

    fn run(program: &str, directory: &Path) -> io::Result<Self> {
        let unix = directory.join("redis");
        let tcp = Transport::Tcp.free(directory, "")?;
        let tls = Transport::Tcp.free(directory, "")?.secured();
        let [port, tls_port] = [&tcp, &tls].map(|address| {
            let text = address.to_string();
            text.rsplit(':').next().expect("an address ends with its port").to_owned()
        });
        Identity::new()?.write(directory)?;
        // In its directory.
        let certificate = ["--tls-cert-file", "certificate.pem", "--tls-key-file", "key.pem"];
        let clients = ["--tls-ca-cert-file", "certificate.pem", "--tls-auth-clients", "no"];
        let mut keeper = Started::start(
            ["keeper", program, "--save", "", "--appendonly", "no", "--loglevel", "warning"]
                .map(std::ffi::OsStr::new)
                .into_iter()
                .chain(["--dir".as_ref(), directory.as_os_str()])
                .chain(["--bind", "127.0.0.1", "--port", &port].map(std::ffi::OsStr::new))
                .chain(["--tls-port", &tls_port].map(std::ffi::OsStr::new))
                .chain(certificate.into_iter().chain(clients).map(std::ffi::OsStr::new))
                .chain(["--unixsocket".as_ref(), unix.as_os_str()]),
        )?;
        let id = keeper.hear()?.parse().map_err(io::Error::other)?;
        let unix = Address::Unix(unix);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Connection::open(&unix).and_then(|mut redis| redis.ask(&["PING"])) {
                Ok(_) => return Ok(Self { _keeper: keeper, id, unix, tcp, tls }),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// By TLS where it is by TCP, as ours is.
    pub(super) fn at(&self, transport: Transport) -> Address {
        match transport {
            Transport::Unix => self.unix.clone(),
            Transport::Tcp => self.tls.clone(),
        }
    }

    /// Without TLS.
    pub(super) fn plain(&self, transport: Transport) -> Address {
        match transport {
            Transport::Unix => self.unix.clone(),
            Transport::Tcp => self.tcp.clone(),
        }
    }

    /// A lock of the documented kind: `SET NX PX`, and a script that compares and deletes.
    pub(super) fn locks(&self, transport: Transport, wait: Wait) -> Locks {
        Locks { address: self.at(transport), wait }
    }

    /// A lock that is an element of a list, which whoever holds it has taken out.
    pub(super) fn lists(&self, transport: Transport) -> Lists {
        Lists(self.at(transport))
    }
}

/// What a client does when somebody else has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It looks again after a while.
    Poll,
    /// It hears of a release, and looks again.
    Subscribe,
}

pub(super) struct Locks {
    address: Address,
    wait: Wait,
}

impl Service for Locks {
    fn connect(&self, key: &str) -> io::Result<Box<dyn Client>> {
        let mut redis = Connection::open(&self.address)?;
        let (told, script) = match self.wait {
            Wait::Poll => (None, RELEASE),
            Wait::Subscribe => {
                let mut told = Connection::open(&self.address)?;
                told.ask(&["SUBSCRIBE", key])?;
                (Some(told), RELEASE_AND_TELL)
            }
        };
        let Reply::Text(script) = redis.ask(&["SCRIPT", "LOAD", script])? else {
            return Err(io::Error::other("a script has a name"));
        };
        Ok(Box::new(Lock {
            redis,
            told,
            key: key.to_owned(),
            script,
            holds: 0,
            mine: String::new(),
        }))
    }
}

struct Lock {
    redis: Connection,
    told: Option<Connection>,
    key: String,
    script: String,
    holds: u64,
    /// What stands under the key while this client holds it.
    mine: String,
}

impl Client for Lock {
    fn take(&mut self) -> io::Result<()> {
        self.holds += 1;
        self.mine = format!("{:p}-{:012x}", &raw const *self, self.holds);
        while self.redis.ask(&["SET", &self.key, &self.mine, "NX", "PX", EXPIRY])? == Reply::Nothing
        {
            match &mut self.told {
                None => thread::sleep(POLL),
                Some(told) => told.hear()?,
            }
        }
        Ok(())
    }

    fn give(&mut self) -> io::Result<()> {
        match self.redis.ask(&["EVALSHA", &self.script, "1", &self.key, &self.mine])? {
            Reply::Number(1) => Ok(()),
            other => Err(io::Error::other(format!("the lock was lost: {other:?}"))),
        }
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        self.give()
    }
}

pub(super) struct Lists(Address);

impl Service for Lists {
    fn connect(&self, key: &str) -> io::Result<Box<dyn Client>> {
        let mut redis = Connection::open(&self.0)?;
        let key = format!("list {key}");
        if redis.ask(&["SET", &format!("{key} is there"), "", "NX"])? != Reply::Nothing {
            redis.ask(&["LPUSH", &key, "free"])?;
        }
        Ok(Box::new(List { redis, key }))
    }
}

struct List {
    redis: Connection,
    key: String,
}

impl Client for List {
    fn take(&mut self) -> io::Result<()> {
        match self.redis.ask(&["BLPOP", &self.key, "0"])? {
            Reply::List(_) => Ok(()),
            other => Err(io::Error::other(format!("no element: {other:?}"))),
        }
    }

    fn give(&mut self) -> io::Result<()> {
        self.redis.ask(&["LPUSH", &self.key, "free"]).map(drop)
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        self.give()
    }
}
