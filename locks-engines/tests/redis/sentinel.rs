//! Sentinels: those of a primary and a replica, and some that say what a test has them say.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use locks_core::{Backend, ErrorKind, LockError};
use locks_engines::LinkState;
use locks_engines::redis::{Redis, RedisBuilder};

use super::server::{Server, command};
use super::support::peer::Peer;
use super::support::process::{Directory, Process};
use super::support::storm::rage;
use super::support::{free_port, until};

/// What the Sentinels call the primary.
pub(crate) const NAME: &str = "ours";

/// A Sentinel that ends with its value.
struct Sentinel {
    port: u16,
    /// Its settings.
    text: String,
    _process: Process,
    _directory: Directory,
}

impl Sentinel {
    /// One that watches the server at `port`.
    fn start(port: u16, settings: impl Fn() -> String) -> Self {
        // The port may be taken between its being found and being used.
        for _ in 0..20 {
            let (at, directory) = (free_port(), Directory::new("sentinel"));
            let text = format!(
                "port {at}\nbind 127.0.0.1\nlogfile log\nsentinel monitor {NAME} 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 6000\n{}",
                settings()
            );
            let file = directory.path().join("sentinel.conf");
            std::fs::write(&file, &text).expect("a file");
            let mut sentinel = Command::new("redis-server");
            sentinel.current_dir(directory.path()).arg(&file).arg("--sentinel");
            sentinel.stdin(Stdio::null()).stdout(Stdio::null());
            let mut process = Process::start(&mut sentinel, "redis-server");
            let own = format!("process_id:{}\r\n", process.pid());
            loop {
                let answer = command(at, &["INFO", "server"]).unwrap_or_default();
                if answer.contains(&own) || answer.contains("-NOAUTH") {
                    return Self { port: at, text, _process: process, _directory: directory };
                }
                if process.has_ended() {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("no Sentinel came up");
    }

    fn command(&self, words: &[&str]) -> String {
        command(self.port, words).expect("it answers")
    }

    /// The port for others: that of TLS, if it speaks that.
    fn at(&self) -> u16 {
        let port = self.text.lines().find_map(|line| line.strip_prefix("tls-port "));
        port.map_or(self.port, |port| port.parse().expect("a port"))
    }

    /// Where it says that the primary is.
    fn primary(&self) -> u16 {
        let answer = self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        answer.lines().nth(4).and_then(|port| port.parse().ok()).expect("a port")
    }
}

/// Two servers, and three Sentinels that watch them.
pub(super) struct Watched {
    servers: Vec<Server>,
    sentinels: Vec<Sentinel>,
}

/// With these, a primary that has lost its replica takes no writes.
const CAREFUL: [&str; 4] = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"];

impl Watched {
    fn start() -> Self {
        Self::start_having(Vec::new, String::new)
    }

    /// The same with more settings of servers, as on the command line, and of Sentinels.
    pub(super) fn start_having(
        more: impl Fn() -> Vec<String>,
        sentinel: impl Fn() -> String,
    ) -> Self {
        let all = |words: &[&str]| {
            CAREFUL.iter().chain(words).map(|&word| word.to_owned()).chain(more()).collect()
        };
        let primary = Server::start_having(|| all(&[]));
        let of = primary.at().to_string();
        let replica = Server::start_having(|| all(&["--replicaof", "127.0.0.1", &of]));
        let sentinels = (0..3).map(|_| Sentinel::start(primary.at(), &sentinel)).collect();
        let watched = Self { servers: vec![primary, replica], sentinels };
        watched.wait();
        watched
    }

    /// Waits until each knows of all others, and a failover would come about.
    fn wait(&self) {
        for sentinel in &self.sentinels {
            until(|| {
                let told = sentinel.command(&["SENTINEL", "MASTER", NAME]);
                let says = |name: &str, value: &str| {
                    let mut lines = told.lines().skip_while(|line| *line != name);
                    lines.nth(2) == Some(value)
                };
                says("num-other-sentinels", "2") && says("flags", "master")
            });
        }
        until(|| {
            let primary = self.sentinels[0].primary();
            let agree = self.sentinels.iter().all(|sentinel| sentinel.primary() == primary);
            let server = self.servers.iter().find(|server| server.at() == primary);
            let port = server.expect("it is ours").port;
            let information = command(port, &["INFO", "replication"]).unwrap_or_default();
            agree && information.contains("role:master") && information.contains("state=online")
        });
    }

    pub(super) fn builder(&self) -> RedisBuilder {
        let ports: Vec<u16> = self.sentinels.iter().map(Sentinel::at).collect();
        at(&ports)
    }

    /// Waits for another primary than that one.
    fn promoted(&self, before: u16) -> u16 {
        until(|| self.sentinels.iter().all(|sentinel| sentinel.primary() != before));
        self.sentinels[0].primary()
    }

    /// Kills the primary, and has it come back as a replica of the one that took over.
    pub(super) fn kill_the_primary(&mut self) {
        let before = self.sentinels[0].primary();
        let at = self.servers.iter().position(|server| server.at() == before).expect("it is ours");
        self.servers[at].process.kill();
        let now = self.promoted(before).to_string();
        self.servers[at].restart_with(&["--replicaof", "127.0.0.1", &now]);
        self.wait();
    }

    /// Has the two change their roles, both alive.
    fn switch(&mut self) {
        let before = self.sentinels[0].primary();
        // It refuses for a while after one that went before, and on a busy machine it may give up
        // one that it has begun.
        until(|| {
            let is_over = self.sentinels[0].primary() != before;
            if !is_over {
                self.sentinels[0].command(&["SENTINEL", "FAILOVER", NAME]);
                std::thread::sleep(Duration::from_millis(200));
            }
            is_over
        });
        self.promoted(before);
        self.wait();
    }
}

/// A builder for these ports of Sentinels.
fn at(ports: &[u16]) -> RedisBuilder {
    let mut builder = Redis::builder("127.0.0.1", ports[0]);
    for port in &ports[1..] {
        builder = builder.or_node("127.0.0.1", *port);
    }
    // With time to answer on a busy machine.
    builder.sentinel(NAME).fresh(true).connect(Duration::from_secs(20))
}

fn refusal(builder: RedisBuilder) -> LockError {
    let backend = builder.build().expect("a client").into_backend();
    backend.named("k").wait(Duration::from_secs(2)).acquire().unwrap_err()
}

#[test]
fn a_primary_that_is_killed_loses_nothing_twice_and_its_replica_goes_on_above() {
    const LEASE: Duration = Duration::from_secs(2);
    let mut watched = Watched::start();
    let client = watched.builder().lease(LEASE).build().unwrap();
    let ours = client.clone().into_backend();
    let held = ours.named("k").wait(Duration::from_secs(60)).acquire().unwrap();
    let LinkState::Connected { version } = client.state() else { panic!("{:?}", client.state()) };
    assert!(version.contains("primary `ours` at 127.0.0.1:"), "{version}");
    assert!(version.contains("of 3 Sentinels") && version.ends_with(", RESP3"), "{version}");
    assert_eq!(ours.served_by(), Some(version));
    watched.kill_the_primary();
    let next = watched.builder().lease(LEASE).build().unwrap().into_backend();
    let next = next.named("k").wait(Duration::from_secs(60)).acquire().unwrap();
    assert!(held.is_lost(), "its holder has heard of it before another one got it");
    assert!(next.token() > held.token(), "{} after {}", next.token(), held.token());
    drop((held, next));
    // The first client has found the way as well.
    drop(ours.named("k").wait(Duration::from_secs(60)).acquire().unwrap());
}

#[test]
fn a_storm_of_failovers_grants_nothing_twice() {
    let peer = |watched: &Watched, role: &str| {
        let ports: Vec<String> =
            watched.sentinels.iter().map(|sentinel| sentinel.port.to_string()).collect();
        Peer::start(&format!("sentinels {}", ports.join(",")), role)
    };
    rage(&mut Watched::start(), peer, [Watched::kill_the_primary, Watched::switch]);
}

#[test]
fn what_is_no_sentinel_or_watches_another_primary_is_said_so() {
    let server = Server::start();
    let sentinel = Sentinel::start(server.port, String::new);
    let other = Redis::builder("127.0.0.1", sentinel.port).sentinel("theirs");
    for (builder, expected) in [
        (other, "watches no primary `theirs`, but `ours`"),
        (at(&[server.port]), "is no Sentinel"),
        (Redis::builder("127.0.0.1", sentinel.port), "`?sentinel="),
    ] {
        let error = refusal(builder);
        assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    // One of several suffices.
    let some = at(&[free_port(), sentinel.port]).build().unwrap().into_backend();
    drop(some.named("k").acquire().unwrap());
}

#[test]
fn sentinels_have_passwords_of_their_own() {
    let server = Server::start_with(&["--requirepass", "hunter2"]);
    let own = || format!("requirepass hunter3\nsentinel auth-pass {NAME} hunter2\n");
    let sentinel = Sentinel::start(server.port, own);
    let builder = || at(&[sentinel.port]);
    for wrong in [builder().password("hunter2"), builder().sentinel_password("hunter2")] {
        assert!(!format!("{wrong:?}").contains("hunter"), "{wrong:?}");
        let error = refusal(wrong);
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert!(error.to_string().contains("`sentinel_password_file=`"), "{error}");
        assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
    }
    let error = refusal(builder().sentinel_password("hunter3"));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("`password_file=`"), "{error}");
    let right = builder().sentinel_password("hunter3").password("hunter2");
    drop(right.build().unwrap().into_backend().named("k").acquire().unwrap());
    let error = Redis::builder("db", 6379).sentinel_password("hunter3").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
}

#[test]
fn a_user_without_the_rights_at_sentinels_hears_which_it_needs_there() {
    let server = Server::start();
    let rights = "+hello +sentinel|master +sentinel|masters +subscribe";
    let own = || format!("user low on >pw +hello\nuser watch on >pw {rights} &+switch-master\n");
    let sentinel = Sentinel::start(server.port, own);
    let user = |user| at(&[sentinel.port]).sentinel_user(user).sentinel_password("pw");
    let error = refusal(user("low"));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains(rights), "{error}");
    drop(user("watch").build().unwrap().into_backend().named("k").acquire().unwrap());
}

#[test]
fn a_user_at_sentinels_without_a_password_is_that_user() {
    let server = Server::start();
    let rights = "+hello +sentinel|master +sentinel|masters +subscribe";
    let own = || format!("user free on nopass {rights} &+switch-master\n");
    let sentinel = Sentinel::start(server.port, own);
    let user = |user| at(&[sentinel.port]).sentinel_user(user);
    let backend = user("free").build().unwrap().into_backend();
    let _guard = backend.named("k").acquire().unwrap();
    until(|| sentinel.command(&["CLIENT", "LIST"]).contains("user=free"));
    let error = refusal(user("nosuch"));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    let text = error.to_string();
    assert!(text.contains("without a password") && text.contains("`sentinel_user=`"), "{text}");
}

/// What a Sentinel of a test's making says: the epoch and the port of its primary.
#[derive(Clone)]
struct Says {
    port: u16,
    now: Arc<Mutex<(u64, u16)>>,
    listeners: Arc<Mutex<Vec<TcpStream>>>,
}

impl Says {
    fn new(epoch: u64, primary: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let says =
            Self { port, now: Arc::new(Mutex::new((epoch, primary))), listeners: Arc::default() };
        let served = says.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let served = served.clone();
                thread::spawn(move || served.serve(stream.expect("a connection")));
            }
        });
        says
    }

    /// Answers commands, which come whole.
    fn serve(&self, mut stream: TcpStream) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(read @ 1..) = stream.read(&mut buffer) else { return };
            let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
            for frame in text.split('*').skip(1) {
                let answer = if frame.contains("SENTINEL") {
                    let (epoch, primary) = *self.now.lock().unwrap();
                    let (epoch, primary) = (epoch.to_string(), primary.to_string());
                    let told = ["ip", "127.0.0.1", "port", &primary, "config-epoch", &epoch];
                    array(&told)
                } else if frame.contains("SUBSCRIBE") {
                    self.listeners.lock().unwrap().push(stream.try_clone().expect("a clone"));
                    "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n".to_owned()
                } else {
                    "+OK\r\n".to_owned()
                };
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }

    /// Names another primary from now on, and publishes that.
    fn switches(&self, epoch: u64, primary: u16) {
        *self.now.lock().unwrap() = (epoch, primary);
        let what = format!("{NAME} 127.0.0.1 1 127.0.0.1 {primary}");
        let message = array(&["message", "+switch-master", &what]);
        for listener in self.listeners.lock().unwrap().iter_mut() {
            let _ = listener.write_all(message.as_bytes());
        }
    }
}

fn array(words: &[&str]) -> String {
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words.collect::<String>())
}

#[test]
fn a_sentinel_that_has_missed_a_failover_leads_nobody_astray() {
    let (server, stale) = (Server::start(), Server::start());
    let knows = || Says::new(5, server.port);
    // The primary of before: one that is gone, or one that has not noticed yet.
    for before in [free_port(), stale.port] {
        let (lies, first, second) = (Says::new(4, before), knows(), knows());
        let ports = [lies.port, first.port, second.port];
        let ours = at(&ports).build().unwrap().into_backend();
        let guard = ours.named("k").acquire().unwrap();
        let direct = server.builder().build().unwrap().into_backend();
        assert!(direct.named("k").wait(false).acquire().unwrap_err().is_contended());
        drop(guard);
    }
    // If nobody knows better, it is out of reach and nobody's lock.
    let error = refusal(at(&[Says::new(4, free_port()).port]));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn a_primary_that_is_none_any_more_is_left_without_being_asked() {
    let (first, second) = (Server::start(), Server::start());
    let says = [Says::new(1, first.port), Says::new(1, first.port)];
    let client = at(&[says[0].port, says[1].port]).build().unwrap();
    let ours: Backend = client.clone().into_backend();
    drop(ours.named("k").acquire().unwrap());
    until(|| says.iter().any(|says| !says.listeners.lock().unwrap().is_empty()));
    // One of them suffices.
    for says in &says {
        if !says.listeners.lock().unwrap().is_empty() {
            says.switches(2, second.port);
        }
    }
    until(|| matches!(client.state(), LinkState::Lost { .. }));
    let guard = ours.named("k").wait(Duration::from_secs(60)).acquire().unwrap();
    let direct = second.builder().build().unwrap().into_backend();
    assert!(direct.named("k").wait(false).acquire().unwrap_err().is_contended());
    drop(guard);
}
