//! Where clients find a server, and the process that is it.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use locks_core::{Backend, LockError};
use locks_net::{
    Authority, Certificate, Client, Clients, Limits, NetBackend, Secret, Server, Status,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::directory::{Directory, until};
use crate::peer::Peer;
use crate::program::{program, program_after};

const TOLD: &str = "LOCKS_NET_TOLD";
/// In the place's directory.
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
const SAYS: &str = "locks-net says: ";

/// How clients reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Unix,
    /// With a secret.
    Tcp,
    /// TCP without a secret: with a certificate, which both sides have and know.
    Certified,
    /// One of the processes serves.
    Machine,
}

/// All but that by certificates, which differs from TCP in how it begins and in nothing behind
/// that.
pub(crate) const WAYS: [Way; 3] = [Way::Unix, Way::Tcp, Way::Machine];

/// What a process has to know of a place.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) way: Way,
    /// Of the server's state, and, of a [machine's](Way::Machine), everything.
    pub(crate) directory: PathBuf,
    pub(crate) socket: PathBuf,
    /// Of TCP; port 0 until there is one.
    pub(crate) address: String,
    secret: String,
    /// As [`limits`] reads it.
    limits: String,
}

/// Where one server after the other may be, in a directory of its own.
#[derive(Debug)]
pub(crate) struct Place {
    directory: Directory,
    told: Mutex<Told>,
}

/// A process that is a server. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Told {
    pub(crate) fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let Self { way, directory, socket, address, secret, limits } = self;
        let (directory, socket) = (directory.display(), socket.display());
        let told = format!("{way:?}|{directory}|{socket}|{address}|{secret}|{limits}");
        command.env(TOLD, told)
    }

    /// What this process was told.
    pub(crate) fn heard() -> Self {
        let told = env::var(TOLD).expect("whoever starts it says where");
        let parts = Vec::from_iter(told.split('|'));
        let [way, directory, socket, address, secret, limits] = parts[..] else {
            panic!("`{told}`")
        };
        let ways = WAYS.into_iter().chain([Way::Certified]);
        let way = ways.into_iter().find(|it| format!("{it:?}") == way).expect("a way");
        Self {
            way,
            directory: directory.into(),
            socket: socket.into(),
            address: address.to_owned(),
            secret: secret.to_owned(),
            limits: limits.to_owned(),
        }
    }

    pub(crate) fn secret(&self) -> Secret {
        Secret::parse(&self.secret).unwrap()
    }

    /// A client of its own.
    pub(crate) fn client(&self) -> NetBackend {
        // Processes are started all the time on machines that have other things to do.
        self.client_within(Duration::from_secs(10)).unwrap()
    }

    /// One that has so much time to reach the server.
    pub(crate) fn client_within(&self, connect: Duration) -> Result<NetBackend, LockError> {
        let client = match self.way {
            Way::Unix => NetBackend::unix(&self.socket),
            Way::Tcp => NetBackend::tcp(&self.address, self.secret()),
            Way::Certified => {
                let certificate = self.certificate();
                let pin = certificate.fingerprint();
                NetBackend::tcp(&self.address, None).certificate(certificate).pin(pin)
            }
            Way::Machine => NetBackend::machine(&self.directory),
        };
        client.connect(connect).build()
    }

    /// A server in this process.
    pub(crate) fn serve(&self) -> Result<Server, LockError> {
        let server = Server::builder().state(&self.directory).limits(limits(&self.limits));
        let server = server.unix(&self.socket);
        match self.way {
            Way::Tcp => server.tcp(self.address.parse().unwrap()).clients(self.secret()).start(),
            Way::Certified => {
                let certificate = self.certificate();
                let client = Client::new().certificate(certificate.fingerprint()).steal().admin();
                let clients = Clients::new().client("certified", client)?;
                let server = server.tcp(self.address.parse().unwrap()).clients(clients);
                let authority = Authority::read(self.directory.join(CERTIFICATE))?;
                server.certificate(certificate).client_authority(authority).start()
            }
            Way::Unix | Way::Machine => server.start(),
        }
    }

    fn certificate(&self) -> Certificate {
        let path = |name| self.directory.join(name);
        Certificate::read(path(CERTIFICATE), path(KEY)).unwrap()
    }
}

/// `waiters=5 lease=500`: numbers and milliseconds.
fn limits(told: &str) -> Limits {
    let mut limits = Limits::default();
    for word in told.split_whitespace() {
        let (what, value) = word.split_once('=').unwrap();
        let value: u64 = value.parse().unwrap();
        let (count, span) = (usize::try_from(value).unwrap(), Duration::from_millis(value));
        match what {
            "sessions" => limits.sessions = count,
            "newcomers" => limits.newcomers = count,
            "keys" => limits.keys = count,
            "waiters" => limits.waiters = count,
            "requests" => limits.requests_per_session = count,
            "buffer" => limits.write_buffer = count,
            "patience" => limits.patience = span,
            "lease" => {
                limits.lease = span;
                limits.shortest_lease = limits.shortest_lease.min(span);
            }
            _ => panic!("`{what}` is no limit"),
        }
    }
    limits
}

impl Place {
    pub(crate) fn new(way: Way) -> Self {
        Self::with_limits(way, "")
    }

    pub(crate) fn with_limits(way: Way, limits: &str) -> Self {
        let directory = Directory::new();
        let told = Told {
            way,
            directory: directory.path().to_owned(),
            socket: directory.path().join("socket"),
            address: "127.0.0.1:0".to_owned(),
            secret: Secret::generate().unwrap().to_text().to_string(),
            limits: limits.to_owned(),
        };
        if way == Way::Certified {
            make_certificate(directory.path());
        }
        Self { directory, told: Mutex::new(told) }
    }

    /// The server's address, with port 0, instead of one of this machine's own.
    pub(crate) fn listen_at(&self, address: &str) {
        address.clone_into(&mut self.told.lock().unwrap().address);
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }

    /// As seen by those who go another way: through a proxy, or by the Unix socket of a server that
    /// listens on TCP as well.
    pub(crate) fn told_by(&self, way: Way, socket: &Path, address: &str) -> Told {
        let told = self.told();
        Told { way, socket: socket.to_owned(), address: address.to_owned(), ..told }
    }

    pub(crate) fn client(&self) -> NetBackend {
        self.told().client()
    }

    pub(crate) fn backend(&self) -> Backend {
        Backend::new(self.client())
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::start(&self.told())
    }

    pub(crate) fn peers<const N: usize>(&self) -> [Peer; N] {
        std::array::from_fn(|_| self.peer())
    }

    /// A process that will serve when it is [told](Self::let_serve) to.
    pub(crate) fn standby(&self) -> Serving {
        let name = if self.told().way == Way::Machine { "host" } else { "server" };
        self.standby_as(program(name))
    }

    pub(crate) fn standby_as(&self, mut command: Command) -> Serving {
        self.told().tell(&mut command);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut serving = Serving { process, input, output };
        assert_eq!(serving.says(), "ready");
        serving
    }

    /// Returns when it serves.
    pub(crate) fn let_serve(&self, serving: &mut Serving) {
        serving.tell("serve");
        let says = serving.says();
        let serves = says.strip_prefix("serves ").unwrap_or_else(|| panic!("{says}"));
        if let Some(address) = serves.strip_prefix("locks://") {
            address.clone_into(&mut self.told.lock().unwrap().address);
        }
    }

    /// A server, which serves.
    pub(crate) fn start(&self) -> Serving {
        let mut serving = self.standby();
        self.let_serve(&mut serving);
        serving
    }

    /// The same after the shell has run `script`.
    pub(crate) fn start_after(&self, script: &str) -> Serving {
        let name = if self.told().way == Way::Machine { "host" } else { "server" };
        let mut serving = self.standby_as(program_after(name, script));
        self.let_serve(&mut serving);
        serving
    }
}

/// One that has signed itself, and so is the authority for itself.
fn make_certificate(directory: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=certified"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-keyout", KEY, "-out", CERTIFICATE]).current_dir(directory);
    let made = openssl.stderr(Stdio::null()).status();
    let made = made.expect("`openssl` runs: install the package openssl");
    assert!(made.success(), "{openssl:?}");
}

pub(crate) fn status(client: &NetBackend) -> Result<Status, LockError> {
    client.status().block()
}

/// Nothing is left: of keys, and of who waits for any.
#[track_caller]
pub(crate) fn assert_nothing_left(client: &NetBackend) {
    until("nothing is held or waited for", || {
        let status = status(client).unwrap();
        (status.keys, status.waiters) == (0, 0)
    });
}

impl Serving {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    pub(crate) fn send_kill(&self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
    }

    /// Ends it as `kill -9` does, and waits for that.
    pub(crate) fn kill(mut self) {
        self.send_kill();
        self.process.wait().unwrap();
    }

    /// Lets it come to its end by itself.
    pub(crate) fn end(mut self) {
        drop(self.input.take());
        assert!(self.process.wait().unwrap().success(), "it ends well");
    }

    pub(crate) fn stop(&self) {
        crate::peer::stop(self.pid());
    }

    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    pub(crate) fn tell(&mut self, what: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{what}").and_then(|()| input.flush()).unwrap();
    }

    #[track_caller]
    pub(crate) fn says(&mut self) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some(says) = line.trim_end().strip_prefix(SAYS) {
                return says.to_owned();
            }
            line.clear();
        }
        panic!("it ended with {:?}", self.process.wait());
    }

    /// What it has in memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().split(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// The process's end.

pub(crate) fn say(what: &str) {
    // Not `print!`: a test's output would be caught and shown too late.
    let mut stdout = io::stdout().lock();
    // Whoever started it may be gone.
    let _ = writeln!(stdout, "\n{SAYS}{what}").and_then(|()| stdout.flush());
}

pub(crate) fn await_go() {
    say("ready");
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
    if line.is_empty() {
        std::process::exit(0);
    }
}

/// The server of a [`Place`] for as long as somebody has its input.
pub(crate) fn serve() {
    await_go();
    match Told::heard().serve() {
        Ok(server) => {
            say(&format!("serves {}", server.addresses()[0]));
            io::stdin().lines().for_each(drop);
        }
        Err(error) => say(&format!("refused {:?}|{error}", error.kind()).replace('\n', " ")),
    }
}

/// The first process that uses a [machine's](Way::Machine) server, and so the one that serves.
pub(crate) fn host() {
    await_go();
    let client = Told::heard().client();
    match status(&client) {
        Ok(status) => say(&format!("serves {}", status.pid)),
        Err(error) => say(&format!("refused {:?}|{error}", error.kind()).replace('\n', " ")),
    }
    for line in io::stdin().lines().map_while(Result::ok) {
        match &*line {
            "fork" => fork(),
            _ => panic!("`{line}`"),
        }
    }
    // As a program that comes to the end of its `main`.
    std::process::exit(0);
}

/// Forks a child that has a copy of everything, and lives on for a while whatever becomes of its
/// parent.
fn fork() {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("true");
    // SAFETY: between fork and exec it sleeps.
    #[expect(unsafe_code, reason = "the one way to run anything in a forked child")]
    unsafe {
        command.pre_exec(|| {
            std::thread::sleep(Duration::from_secs(10));
            Ok(())
        });
    }
    let before = children();
    // It does not come back before the child has gone on to `true`.
    std::thread::spawn(move || command.status());
    until("the child is there", || children() > before);
    say("forked");
}

fn children() -> usize {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|it| std::fs::read_to_string(it.path().join("stat")).ok());
    stats
        .filter(|stat| {
            stat.rsplit_once(") ").is_some_and(|(_, it)| it.split(' ').nth(1) == Some(&own))
        })
        .count()
}
