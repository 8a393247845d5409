//! Users, TLS, and what a cluster refuses.

use std::path::Path;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, LockError};
use locks_engines::etcd::{Etcd, EtcdBuilder};

use super::server::Server;
use super::support::certificates::Certificates;
use super::support::until;

const WAIT: Duration = Duration::from_secs(20);

/// With time to connect: a cluster takes long to look at a password, and on a busy machine for
/// longer.
fn client(builder: EtcdBuilder) -> Backend {
    builder.connect(WAIT).build().expect("a client").into_backend()
}

fn refusal(backend: &Backend) -> LockError {
    backend.named("k").wait(WAIT).acquire().unwrap_err()
}

/// A server with a root, and a user who may use one namespace.
fn with_users() -> Server {
    with_users_and(&[])
}

fn with_users_and(arguments: &[&str]) -> Server {
    let server = Server::start_with(arguments);
    server.command(&["user", "add", "root:rootpw"]);
    server.command(&["user", "grant-role", "root", "root"]);
    server.command(&["user", "add", "app:hunter2"]);
    server.command(&["role", "add", "billing"]);
    server.shell(of_the_manual("etcdctl role grant-permission"));
    server.command(&["user", "grant-role", "app", "billing"]);
    server.command(&["auth", "enable"]);
    server
}

/// The line of the manual that begins so.
fn of_the_manual(begin: &str) -> &'static str {
    let manual = include_str!("../../../src/manual/etcd.md");
    manual.lines().find(|line| line.starts_with(begin)).expect("it is in the manual")
}

#[test]
fn a_user_of_one_namespace_may_not_use_others_that_begin_alike() {
    let server = with_users();
    let app = |namespace| server.builder().namespace(namespace).user("app").password("hunter2");
    drop(client(app("billing")).named("k").acquire().unwrap());
    for other in ["billing2", "billing-eu", "billing/eu", "billing.eu", "billin"] {
        let error = refusal(&client(app(other)));
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{other}: {error}");
        assert!(error.to_string().contains("NAMESPACE 'NAMESPACE '"), "{error}");
    }
}

#[test]
fn a_user_is_asked_for_and_its_password_is_never_shown() {
    let server = with_users();
    let error = refusal(&client(server.builder().namespace("billing")));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("name yours in the URL"), "{error}");
    let wrong = server.builder().namespace("billing").user("app").password("hunter3");
    assert!(!format!("{wrong:?}").contains("hunter"), "{wrong:?}");
    let error = refusal(&client(wrong));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("password_file="), "{error}");
    assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
    let right = server.builder().namespace("billing").user("app").password("hunter2");
    let right = right.connect(WAIT).build().unwrap();
    let backend = right.clone().into_backend();
    let guard = backend.all(["a", "b"]).hold_at_least(WAIT).acquire().unwrap();
    guard.refresh().unwrap();
    assert_eq!(backend.list().unwrap().len(), 2);
    guard.release().unwrap();
    assert!(!format!("{right:?}").contains("hunter"), "{right:?}");
    let elsewhere = server.builder().namespace("other").user("app").password("hunter2");
    let error = refusal(&client(elsewhere));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("grant-permission"), "{error}");
}

#[test]
fn a_proof_that_runs_out_is_renewed() {
    let server = with_users();
    let backend = client(server.builder().namespace("billing").user("app").password("hunter2"));
    let guard = backend.named("k").acquire().unwrap();
    // A change of the users makes those proofs worthless that were given before.
    let root = ["--user", "root:rootpw"];
    let with_root = |words: &[&str]| server.command(&[words, &root].concat());
    with_root(&["user", "add", "another:pw"]);
    with_root(&["user", "delete", "another"]);
    guard.refresh().unwrap();
    guard.release().unwrap();
    drop(backend.named("k").acquire().unwrap());
}

/// A proof that has run out buys neither another one nor a watch.
#[test]
fn who_waits_with_a_proof_that_has_run_out_is_called() {
    let server = with_users_and(&["--auth-token-ttl", "3", "--bcrypt-cost", "4"]);
    let app = || client(server.builder().namespace("billing").user("app").password("hunter2"));
    let (ours, theirs) = (app(), app());
    drop(theirs.named("other").acquire().unwrap());
    let guard = ours.named("k").acquire().unwrap();
    // Longer than what was given to `theirs` is good for.
    std::thread::sleep(Duration::from_secs(6));
    let waiter = std::thread::spawn(move || theirs.named("k").wait(WAIT).acquire().map(drop));
    // Those of the two clients for what concerns them, and the one of the waiter.
    until(|| server.gauge("etcd_debugging_mvcc_watcher_total") == 3);
    guard.release().unwrap();
    waiter.join().unwrap().unwrap();
}

/// The same when it happens right after the connection was made.
#[test]
fn who_waits_with_a_proof_that_was_taken_back_at_once_is_called() {
    let server = with_users_and(&["--bcrypt-cost", "4"]);
    let app = || client(server.builder().namespace("billing").user("app").password("hunter2"));
    let (ours, theirs) = (app(), app());
    let guard = ours.named("k").acquire().unwrap();
    drop(theirs.named("other").acquire().unwrap());
    // What was given before is forgotten.
    server.command(&["--user", "root:rootpw", "auth", "disable"]);
    server.command(&["auth", "enable"]);
    let waiter = std::thread::spawn(move || theirs.named("k").wait(WAIT).acquire().map(drop));
    until(|| server.gauge("etcd_debugging_mvcc_watcher_total") == 3);
    guard.release().unwrap();
    waiter.join().unwrap().unwrap();
}

#[test]
fn a_user_who_may_not_watch_what_it_has_to_hear_of_is_told() {
    let server = with_users();
    let with_root = |words: &[&str]| server.command(&[words, &["--user", "root:rootpw"]].concat());
    with_root(&["user", "add", "half:pw"]);
    with_root(&["role", "add", "half"]);
    // The keys, and not the notices behind them.
    with_root(&["role", "grant-permission", "half", "readwrite", "billing", "billing\u{2}"]);
    with_root(&["user", "grant-role", "half", "half"]);
    let error = refusal(&client(server.builder().namespace("billing").user("half").password("pw")));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("grant-permission"), "{error}");
}

#[test]
fn a_user_where_there_are_none_is_said_so() {
    let server = Server::start();
    let error = refusal(&client(server.builder().user("app").password("hunter2")));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("etcdctl auth enable"), "{error}");
    for builder in [server.builder().user("app"), server.builder().password("pw")] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    }
}

#[test]
fn limits_are_said_before_anything_is_asked() {
    // Nobody listens there.
    let backend = client(Etcd::builder(["127.0.0.1:1"]));
    let error = backend.named("k").lease(Duration::from_secs(1)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("none below 2s"), "{error}");
    let error = backend.named("k").lease(Duration::from_millis(100)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("takes 2 s to"), "{error}");
    let keys: Vec<String> = (0..33).map(|number| number.to_string()).collect();
    let error = backend.all(&keys).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("at most 32 keys"), "{error}");
    let error = backend.named("k").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    for (builder, expected) in [
        (Etcd::builder(["h"]).lease(Duration::from_secs(1)), "`2s`"),
        (Etcd::builder(["h"]).namespace("a b"), "a namespace at etcd"),
        (Etcd::builder(["h o"]), "is no member"),
        (Etcd::builder(["app:hunter2@h:2379"]), "a host and a port alone"),
        (Etcd::builder(["http://h:2379"]), "a host and a port alone"),
        (Etcd::builder(Vec::<String>::new()), "needs a member"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn row_38_a_full_database_grants_nothing_and_holders_keep_and_release() {
    let server = Server::start_with(&["--quota-backend-bytes", "200000"]);
    let ours = client(server.builder().lease(Duration::from_secs(3)));
    let guard = ours.named("held").acquire().unwrap();
    fill(&server);
    let error = refusal(&ours);
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("alarm disarm"), "{error}");
    // Renewed all the while.
    std::thread::sleep(Duration::from_secs(5));
    guard.check().unwrap();
    guard.release().unwrap();
}

/// Writes until there is no room left.
fn fill(server: &Server) {
    let filler = "x".repeat(50_000);
    for number in 0..20 {
        if server.try_command(&["put", &format!("filler{number}"), &filler]).is_err() {
            break;
        }
    }
    until(|| server.command(&["alarm", "list"]).contains("NOSPACE"));
}

/// After an election all that is held is stamped anew, for which there is no room.
#[test]
fn row_38_an_election_while_the_database_is_full_costs_holders_nothing() {
    // Longer than it takes to start a member again, on a busy machine too.
    const LEASE: Duration = Duration::from_secs(15);
    let mut server = Server::start_with(&["--quota-backend-bytes", "200000"]);
    let at = |server: &Server| client(server.builder().lease(LEASE));
    let (ours, theirs) = (at(&server), at(&server));
    let guards = ["a", "b"].map(|key| ours.named(key).acquire().unwrap());
    fill(&server);
    server.process.kill();
    server.start_again();
    // It calls itself unhealthy for as long as it is full.
    until(|| server.try_command(&["endpoint", "status"]).is_ok());
    assert!(server.command(&["alarm", "list"]).contains("NOSPACE"), "it is full still");
    let started = Instant::now();
    // A lease after the last renewal before it.
    while started.elapsed() < LEASE + LEASE / 10 {
        guards.iter().for_each(|guard| guard.check().unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    let [evicted, released] = guards;
    assert!(theirs.evict("a", evicted.token()).block().unwrap(), "it was there to be evicted");
    until(|| evicted.is_lost());
    released.check().unwrap();
    released.release().unwrap();
}

#[test]
fn row_38_what_is_to_stay_reserved_stays_so_once_there_is_room() {
    let server = Server::start_with(&["--quota-backend-bytes", "200000"]);
    let ours = client(server.builder().lease(WAIT * 3));
    let guard = ours.named("k").once_per(WAIT * 30).acquire().unwrap();
    fill(&server);
    guard.mark_done();
    let error = guard.release().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("stay reserved"), "{error}");
    // It is kept from others until the release has got through.
    assert_eq!(ours.list().unwrap().len(), 1);
    server.command(&["del", "filler", "--prefix"]);
    let revision = server.command(&["get", "none", "-w", "json"]);
    let revision = revision.split("\"revision\":").nth(1).unwrap();
    let revision = revision.split(|letter: char| !letter.is_ascii_digit()).next().unwrap();
    server.command(&["compact", revision]);
    server.command(&["defrag"]);
    server.command(&["alarm", "disarm"]);
    until(|| ours.list().unwrap().iter().all(|lock| lock.holders.is_empty()));
    assert!(ours.named("k").wait(false).acquire().unwrap_err().is_contended());
}

#[test]
fn row_50_connections_are_encrypted_and_both_ends_prove_who_they_are() {
    let certificates = Certificates::new();
    let server = encrypted(&certificates);
    let builder = || server.builder().authority(certificates.read("ca.pem"));
    let (cert, key) = (certificates.read("client.pem"), certificates.read("client.key"));
    let ours = client(builder().identity(cert.clone(), key.clone()));
    let guard = ours.named("k").acquire().unwrap();
    guard.refresh().unwrap();
    guard.release().unwrap();
    // The refusal of a handshake comes with the first answer, or instead of it.
    let without = [
        ("no certificate of its own", builder()),
        ("another authority", server.builder().identity(cert, key).tls(true)),
        ("no encryption", server.builder()),
    ];
    for (what, builder) in without {
        let backend = builder.build().unwrap().into_backend();
        let error = backend.named("k").wait(Duration::from_secs(2)).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
    }
    let shown = format!("{:?}", builder().identity("c", "hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// A server that speaks TLS to clients that the authority vouches for.
fn encrypted(certificates: &Certificates) -> Server {
    let path = |name| certificates.path(name).display().to_string();
    let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(path);
    Server::start_encrypted(Path::new(&ca), Path::new(&cert), Path::new(&key))
}
