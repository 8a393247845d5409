//! Servers, and proxies before them, that know the second version of the protocol only.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use locks_core::ErrorKind;
use locks_engines::LinkState;

use super::server::Server;
use super::support::until;

fn old(more: &[&str]) -> Server {
    Server::start_with(&[&["--rename-command", "HELLO", ""], more].concat())
}

#[test]
fn who_waits_at_a_server_without_the_third_version_is_called() {
    let server = old(&[]);
    let client = || server.builder().lease(Duration::from_secs(60)).build().unwrap();
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
