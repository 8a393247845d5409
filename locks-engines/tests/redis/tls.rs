//! Encrypted connections.

use std::time::Duration;

use locks_core::{Backend, ErrorKind, LockError};
use locks_engines::redis::{Redis, RedisBuilder};

use super::server::Server;
use super::support::certificates::Certificates;
use super::support::free_port;

/// A server that speaks TLS at a port of its own, to clients that the authority vouches for.
fn encrypted(certificates: &Certificates) -> (Server, u16) {
    let path = |name| certificates.path(name).display().to_string();
    let server = Server::start_having(|| {
        let at = free_port().to_string();
        let (ca, cert, key) = (path("ca.pem"), path("server.pem"), path("server.key"));
        let settings = [
            ("--tls-port", at),
            ("--tls-ca-cert-file", ca),
            ("--tls-cert-file", cert),
            ("--tls-key-file", key),
        ];
        settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    });
    let port = server.setting("--tls-port").parse().expect("a port");
    (server, port)
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
    super::support::until(|| ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
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
