//! Servers, and proxies before them, that know the second version of the protocol only.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use locks_core::ErrorKind;
use locks_engines::LinkState;
use locks_engines::redis::{Redis, RedisBuilder};

use super::server::Server;
use super::support::until;

fn old(more: &[&str]) -> Server {
    Server::start_with(&[&["--rename-command", "HELLO", ""], more].concat())
}

#[test]
fn who_waits_at_a_server_without_the_third_version_is_called() {
    let server = old(&[]);
    calls(&server, || server.builder());
}

#[test]
fn who_waits_at_one_that_wants_a_password_as_well_is_called() {
    // The user that harnesses of tests are needs none, so that they can count.
    let server = old(&["--user", "app", "on", ">hunter2", "~*", "&*", "+@all"]);
    let login = |builder: RedisBuilder| builder.user("app").password("hunter2");
    calls(&server, || login(server.builder()));
    // Where `HELLO` is unknown, Redis says so, and Valkey that a password is wanted.
    let front = Valkey::before(&server);
    calls(&server, || login(Redis::builder("127.0.0.1", front.port).fresh(true)));
    assert!(front.refused.load(Ordering::Relaxed) > 0, "it was asked in the third version first");
    let wrong = Redis::builder("127.0.0.1", front.port).user("app").password("hunter3");
    let error = wrong.build().unwrap().into_backend().named("k").acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
}

/// Has somebody wait at a server, by clients of two connections each.
fn calls(server: &Server, builder: impl Fn() -> RedisBuilder) {
    let client = || builder().lease(Duration::from_secs(60)).build().unwrap();
    let (holder, waiter) = (client(), client());
    let (ours, theirs) = (holder.into_backend(), waiter.clone().into_backend());
    drop(theirs.named("k").acquire().unwrap());
    let LinkState::Connected { version } = waiter.state() else { panic!("{:?}", waiter.state()) };
    assert!(version.contains("RESP2 by two connections"), "{version}");
    for _ in 0..5 {
        let guard = ours.named("k").acquire().unwrap();
        let theirs = theirs.clone();
        let waiting = thread::spawn(move || theirs.named("k").acquire().unwrap().token());
        until(|| ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
        let token = guard.token();
        server.counted.store(server.published(), Ordering::Relaxed);
        drop(guard);
        assert!(waiting.join().unwrap() > token);
        assert!(server.published() > server.counted.load(Ordering::Relaxed));
    }
}

/// A way to a server that answers `HELLO` as Valkey does where it has another name.
struct Valkey {
    port: u16,
    refused: Arc<AtomicU32>,
}

impl Valkey {
    fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let (at, refused) = (server.port, Arc::new(AtomicU32::new(0)));
        let counted = refused.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, counted) = (near.expect("a connection"), counted.clone());
                thread::spawn(move || serve(near, at, &counted));
            }
        });
        Self { port, refused }
    }
}

fn serve(mut near: TcpStream, at: u16, refused: &AtomicU32) -> std::io::Result<()> {
    let mut said = [0; 4096];
    let mut length = near.read(&mut said)?;
    if said[..length].windows(5).any(|word| word == b"HELLO") {
        refused.fetch_add(1, Ordering::Relaxed);
        while length > 0 {
            for _ in said[..length].iter().filter(|letter| **letter == b'*') {
                near.write_all(b"-NOAUTH Authentication required.\r\n")?;
            }
            length = near.read(&mut said)?;
        }
        return Ok(());
    }
    let mut far = TcpStream::connect(("127.0.0.1", at))?;
    far.write_all(&said[..length])?;
    let (mut answers, mut back) = (far.try_clone()?, near.try_clone()?);
    thread::spawn(move || std::io::copy(&mut answers, &mut back));
    std::io::copy(&mut near, &mut far).map(drop)
}

impl Server {
    /// How often somebody was called.
    fn published(&self) -> u64 {
        let stats = self.command(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_publish:calls="));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    }
}

#[test]
fn a_connection_for_calls_that_breaks_is_made_anew() {
    let server = old(&[]);
    let client = server.builder().build().unwrap();
    let ours = client.clone().into_backend();
    let guard = ours.named("k").acquire().unwrap();
    let LinkState::Connected { .. } = client.state() else { panic!("{:?}", client.state()) };
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until(|| matches!(client.state(), LinkState::Lost { .. }));
    guard.refresh().unwrap();
    guard.release().unwrap();
    until(|| server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).contains("sub=1"));
}

#[test]
fn a_password_is_asked_for_in_the_second_version_too() {
    let server = old(&["--requirepass", "hunter2"]);
    let named = |password: Option<&str>| {
        let builder = server.builder();
        let builder = match password {
            Some(password) => builder.password(password),
            None => builder,
        };
        builder.build().unwrap().into_backend().named("k").acquire().map(drop)
    };
    for wrong in [None, Some("hunter3")] {
        let error = named(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert!(error.to_string().contains("password_file="), "{error}");
        assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
    }
    named(Some("hunter2")).unwrap();
}
