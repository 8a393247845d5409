//! Private servers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::Backend;
use locks_engines::etcd::{Etcd, EtcdBuilder};

use super::support::free_port;
use super::support::process::{Directory, Process};

/// A member that ends with its value.
pub(crate) struct Server {
    pub(crate) process: Process,
    ports: Ports,
    directory: Directory,
    arguments: Vec<String>,
    /// Where it tells of itself, if not where it listens to clients.
    tells: u16,
}

/// Where a member listens.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) clients: u16,
    pub(crate) peers: u16,
}

impl Ports {
    pub(crate) fn free() -> Self {
        Self { clients: free_port(), peers: free_port() }
    }

    pub(crate) fn peer_url(self) -> String {
        format!("http://127.0.0.1:{}", self.peers)
    }
}

impl Server {
    /// A server for whoever needs one that nobody stops: each test has a namespace of its own
    /// there.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with settings, as on the command line.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        // A port may be taken between its being found and being used.
        for _ in 0..20 {
            let ports = Ports::free();
            let cluster = format!("default={}", ports.peer_url());
            let mut all = vec!["--initial-cluster", &cluster];
            all.extend(arguments);
            let mut server = Self::launch(ports, "default", &all);
            if server.answers() {
                return server;
            }
        }
        panic!("no server came up");
    }

    /// A member, which may still be coming up.
    pub(crate) fn launch(ports: Ports, name: &str, arguments: &[&str]) -> Self {
        let directory = Directory::in_memory("etcd");
        let mut all = vec!["--name".to_owned(), name.to_owned()];
        all.extend(arguments.iter().map(|&text| text.to_owned()));
        let process = spawn(ports, directory.path(), &all);
        Self { process, ports, directory, arguments: all, tells: ports.clients }
    }

    /// A server that speaks TLS, and to clients only that `authority` vouches for.
    pub(crate) fn start_encrypted(authority: &Path, certificate: &Path, key: &Path) -> Self {
        for _ in 0..20 {
            let (ports, tells) = (Ports::free(), free_port());
            let path = |path: &Path| path.display().to_string();
            let (cluster, at) = (
                format!("default={}", ports.peer_url()),
                format!("https://127.0.0.1:{}", ports.clients),
            );
            let metrics = format!("http://127.0.0.1:{tells}");
            let mut server = Self::launch(
                ports,
                "default",
                &[
                    "--initial-cluster",
                    &cluster,
                    "--listen-client-urls",
                    &at,
                    "--advertise-client-urls",
                    &at,
                    "--listen-metrics-urls",
                    &metrics,
                    "--client-cert-auth",
                    "--trusted-ca-file",
                    &path(authority),
                    "--cert-file",
                    &path(certificate),
                    "--key-file",
                    &path(key),
                ],
            );
            server.tells = tells;
            if server.answers() {
                return server;
            }
        }
        panic!("no server came up");
    }

    /// Has it begin anew with what a snapshot says. It is not running.
    pub(crate) fn restore(&mut self, snapshot: &Path) {
        let data = self.directory.path().join("data");
        std::fs::remove_dir_all(&data).expect("it was there");
        let (snapshot, data) = (snapshot.display().to_string(), data.display().to_string());
        let peers = self.ports.peer_url();
        let cluster = format!("default={peers}");
        self.command(&[
            "snapshot",
            "restore",
            &snapshot,
            "--data-dir",
            &data,
            "--name",
            "default",
            "--initial-cluster",
            &cluster,
            "--initial-advertise-peer-urls",
            &peers,
        ]);
        self.start_again();
        assert!(self.answers(), "it is started with the snapshot");
    }

    /// Whether it is the member that leads.
    pub(crate) fn leads(&self) -> bool {
        let metrics = self.get("/metrics").unwrap_or_default();
        metrics.lines().any(|line| line == "etcd_server_is_leader 1")
    }

    /// Starts it anew, by its directory and ports.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(self.ports, self.directory.path(), &self.arguments);
    }

    /// Kills it and starts it anew.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.start_again();
        assert!(self.answers(), "it is started once more");
    }

    pub(crate) fn peer_url(&self) -> String {
        self.ports.peer_url()
    }

    pub(crate) fn member(&self) -> String {
        format!("127.0.0.1:{}", self.ports.clients)
    }

    pub(crate) fn data(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn builder(&self) -> EtcdBuilder {
        Etcd::builder([self.member()])
    }

    /// A client in this namespace, with time for a busy machine to answer.
    pub(crate) fn client(&self, namespace: &str) -> Backend {
        let builder = self.builder().namespace(namespace).connect(Duration::from_secs(15));
        builder.build().expect("a client").into_backend()
    }

    /// Stops it, and waits until it has stopped.
    pub(crate) fn stop(&self) {
        self.process.signal("-STOP");
        let state = format!("/proc/{}/stat", self.process.pid());
        super::support::until(|| {
            std::fs::read_to_string(&state).is_ok_and(|stat| stat.contains(") T "))
        });
    }

    /// Waits until it answers; `false` if it has ended.
    pub(crate) fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let healthy = self.get("/health").is_ok_and(|answer| answer.contains("true"));
            if self.process.has_ended() {
                return false;
            }
            if healthy {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// How many calls of these names have been answered.
    pub(crate) fn calls(&self, names: &[&str]) -> u64 {
        self.count("grpc_server_handled_total", names)
    }

    /// How many messages calls of this name, which are streams, have brought it.
    pub(crate) fn messages(&self, name: &str) -> u64 {
        self.count("grpc_server_msg_received_total", &[name])
    }

    fn count(&self, what: &str, names: &[&str]) -> u64 {
        let metrics = self.get("/metrics").expect("it tells");
        let lines = metrics.lines().filter(|line| line.starts_with(what));
        let counted = lines.filter(|line| {
            names.iter().any(|name| line.contains(&format!("grpc_method=\"{name}\"")))
        });
        counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Returns what it tells of itself by this name.
    pub(crate) fn gauge(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").expect("it tells");
        let line = metrics.lines().find(|line| line.split(' ').next() == Some(name));
        let value = line.and_then(|line| line.split(' ').nth(1)?.parse().ok());
        value.unwrap_or_else(|| panic!("it does not tell `{name}`"))
    }

    /// Runs `etcdctl` at it; to what it says.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Runs `etcdctl` at it; to what it says, or complains of.
    pub(crate) fn try_command(&self, words: &[&str]) -> Result<String, String> {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", self.member())
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| {
                panic!("`etcdctl` cannot be started ({error}): install the package etcd-client")
            });
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Has a shell run a line with `etcdctl` in it, at this server.
    pub(crate) fn shell(&self, line: &str) {
        let output = Command::new("sh")
            .args(["-c", line])
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", self.member())
            .stdin(Stdio::null())
            .output()
            .expect("there is a shell");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.tells))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// A namespace that no other test has.
pub(crate) fn namespace() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn spawn(ports: Ports, directory: &Path, arguments: &[String]) -> Process {
    let log = std::fs::File::create(directory.join("log")).expect("a log");
    let clients = format!("http://127.0.0.1:{}", ports.clients);
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(directory.join("data"));
    if !arguments.iter().any(|argument| argument == "--listen-client-urls") {
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    }
    command
        .args(["--listen-peer-urls", &ports.peer_url()])
        .args(["--initial-advertise-peer-urls", &ports.peer_url()])
        .args(["--logger", "zap", "--log-level", "warn", "--log-outputs", "stderr"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Process::start(&mut command, "etcd-server")
}
