//! Encrypted connections.

use std::time::Duration;

use locks_core::{Backend, ErrorKind, LockError};
use locks_engines::redis::{Redis, RedisBuilder};

use super::cluster::Cluster;
use super::sentinel::Watched;
use super::server::Server;
use super::support::certificates::Certificates;
use super::support::{free_port, until};

/// A server that speaks TLS at a port of its own, to clients that the authority vouches for.
fn encrypted(certificates: &Certificates) -> (Server, u16) {
    let server = Server::start_having(|| arguments(&settings(certificates)));
    let port = server.at();
    (server, port)
}

/// What has a server speak TLS at a port of its own.
fn settings(certificates: &Certificates) -> [(&'static str, String); 4] {
    let path = |name| certificates.path(name).display().to_string();
    [
        ("tls-port", free_port().to_string()),
        ("tls-ca-cert-file", path("ca.pem")),
        ("tls-cert-file", path("server.pem")),
        ("tls-key-file", path("server.key")),
    ]
}

/// Settings as on the command line.
fn arguments(settings: &[(&str, String)]) -> Vec<String> {
    let argument = |(name, value): &(&str, String)| [format!("--{name}"), value.clone()];
    settings.iter().flat_map(argument).collect()
}

/// A user that wants a password, with all rights.
fn user(password: &str) -> Vec<String> {
    ["--user", "app", "on", &format!(">{password}"), "~*", "&*", "+@all"].map(str::to_owned).into()
}

#[test]
fn row_50_sentinels_and_the_servers_that_they_watch_speak_tls() {
    let certificates = Certificates::new();
    let all = || {
        let ours = settings(&certificates);
        [&ours[..], &[("tls-replication", "yes".to_owned())]].concat()
    };
    let server = || [arguments(&all()), user("hunter2")].concat();
    let sentinel = || {
        let lines = all().into_iter().map(|(name, value)| format!("{name} {value}\n"));
        lines.collect::<String>() + "user app on >hunter3 ~* &* +@all\n"
    };
    let mut watched = Watched::start_having(server, sentinel);
    let path = |name| certificates.path(name);
    let builder = || {
        let builder = watched.builder().user("app").sentinel_user("app");
        builder.authority(path("ca.pem")).identity(path("client.pem"), path("client.key"))
    };
    for wrong in [
        builder().password("hunter2").sentinel_password("hunter2"),
        builder().password("hunter3").sentinel_password("hunter3"),
    ] {
        let error = refusal(&client(wrong));
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    }
    let error = refusal(&client(watched.builder()));
    assert!(error.to_string().contains("write `rediss://`"), "{error}");
    let ours = client(builder().password("hunter2").sentinel_password("hunter3"));
    let theirs = client(builder().password("hunter2").sentinel_password("hunter3"));
    let guard = ours.named("k").acquire().unwrap();
    assert!(theirs.named("k").wait(false).acquire().unwrap_err().is_contended());
    let before = guard.token();
    drop(guard);
    watched.kill_the_primary();
    let guard = theirs.named("k").wait(Duration::from_secs(60)).acquire().unwrap();
    assert!(guard.token() > before);
    assert!(ours.named("k").wait(false).acquire().unwrap_err().is_contended());
}

#[test]
fn row_50_nodes_of_a_cluster_speak_tls() {
    let certificates = Certificates::new();
    let cluster = Cluster::start_having(0, || {
        let ours = settings(&certificates);
        let all = [&ours[..], &[("tls-cluster", "yes".to_owned())]].concat();
        [arguments(&all), user("hunter2")].concat()
    });
    let path = |name| certificates.path(name);
    let builder = |node| {
        let builder = cluster.builder(node).user("app").authority(path("ca.pem"));
        builder.identity(path("client.pem"), path("client.key"))
    };
    let error = refusal(&client(builder(0).password("hunter3")));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    let clients: Vec<Backend> =
        (0..3).map(|node| client(builder(node).password("hunter2"))).collect();
    let (moved, stays) = (
        clients[0].named("moved").acquire().unwrap(),
        clients[1].named("stays").acquire().unwrap(),
    );
    let (from, to) = cluster.owner_and_other();
    cluster.begin_to_move(from, to);
    cluster.move_keys(from, to, &["{locks}:l:moved"]);
    moved.refresh().unwrap();
    stays.refresh().unwrap();
    cluster.end_move(from, to);
    moved.refresh().unwrap();
    stays.refresh().unwrap();
    let waiter = {
        let theirs = clients[2].clone();
        std::thread::spawn(move || theirs.named("moved").acquire().unwrap().token())
    };
    until(|| clients[1].list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
    let before = moved.token();
    moved.release().unwrap();
    assert!(waiter.join().unwrap() > before);
}

fn client(builder: RedisBuilder) -> Backend {
    // With time to answer on a busy machine.
    let builder = builder.fresh(true).connect(Duration::from_secs(20));
    builder.build().expect("a client").into_backend()
}

fn refusal(backend: &Backend) -> LockError {
    backend.named("k").wait(Duration::from_secs(2)).acquire().unwrap_err()
}

#[test]
fn row_50_connections_are_encrypted_and_both_ends_prove_who_they_are() {
    let certificates = Certificates::new();
    let (server, port) = encrypted(&certificates);
    let path = |name| certificates.path(name);
    let builder = || Redis::builder("127.0.0.1", port).authority(path("ca.pem"));
    let ours = client(builder().identity(path("client.pem"), path("client.key")));
    let guard = ours.named("k").acquire().unwrap();
    guard.refresh().unwrap();
    // By the port that is not encrypted it is the same server.
    let theirs = client(Redis::builder("127.0.0.1", server.port));
    assert!(theirs.named("k").wait(false).acquire().unwrap_err().is_contended());
    let waiter = std::thread::spawn(move || theirs.named("k").acquire().map(drop));
    until(|| ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
    guard.release().unwrap();
    waiter.join().unwrap().unwrap();

    let error = refusal(&client(builder()));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("`?cert=`"), "{error}");
    let by_system = Redis::builder("127.0.0.1", port).tls(true);
    let error = match by_system.build() {
        Ok(built) => refusal(&built.into_backend()),
        // A machine without any authority.
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    let named = Redis::builder("localhost", port).authority(path("ca.pem"));
    let error = refusal(&client(named.identity(path("client.pem"), path("client.key"))));
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("the host as the certificate does"), "{error}");
    assert!(builder().authority("/nowhere").build().unwrap_err().to_string().contains("/nowhere"));
}

#[test]
fn who_speaks_tls_to_a_port_that_does_not_hears_it_and_the_reverse() {
    let certificates = Certificates::new();
    let (server, port) = encrypted(&certificates);
    let authority = certificates.path("ca.pem");
    // It may also wait for the end of what it takes for a command.
    let refusal = |builder: RedisBuilder| {
        let backend = builder.connect(Duration::from_secs(6)).build().unwrap().into_backend();
        backend.named("k").wait(Duration::from_secs(60)).acquire().unwrap_err()
    };
    let error = refusal(Redis::builder("127.0.0.1", server.port).authority(authority));
    assert!(error.to_string().contains("write `redis://`"), "{error}");
    let error = refusal(Redis::builder("127.0.0.1", port));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("write `rediss://`"), "{error}");
}
