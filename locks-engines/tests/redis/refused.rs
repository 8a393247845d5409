//! Servers that cannot keep locks, and what they say about it.

use std::collections::BTreeSet;
use std::time::Duration;

use locks_core::{
    AcquisitionId, Backend, Claimed, ErrorKind, LeaseClaim, LeaseEnd, LeaseEnding, LeasePlace,
    LeaseRenewal, LeaseStore, LockError, Query,
};
use locks_engines::redis::RedisBuilder;

use super::server::Server;
use super::support::until;

fn client(server: &Server) -> Backend {
    server.builder().build().expect("a client").into_backend()
}

fn refusal(backend: &Backend) -> LockError {
    backend.named("k").wait(Duration::from_secs(5)).acquire().unwrap_err()
}

/// The hashes of locks have a time to live, so policies that evict only such keys evict them first.
#[test]
fn a_server_that_evicts_keys_is_refused_unless_that_is_accepted() {
    let server = Server::start();
    for policy in ["allkeys-lru", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"]
    {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
        let error = refusal(&client(&server));
        assert_eq!(error.kind(), ErrorKind::NotConfigured, "{policy}: {error}");
        let text = error.to_string();
        assert!(text.contains(policy) && text.contains("?evictable=allow"), "{text}");
        assert!(text.contains("`noeviction`"), "{text}");
        let accepted = server.builder().evictable(true).build().unwrap().into_backend();
        drop(accepted.named("k").acquire().unwrap());
    }
}

#[test]
fn a_replica_is_no_server_of_locks() {
    let primary = Server::start();
    let port = primary.port.to_string();
    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &port]);
    let error = client(&replica).named("k").wait(Duration::from_millis(300)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(format!("{error:?}").contains("name the primary"), "{error:?}");
}

/// It was reached, and what stands in the way is another matter.
#[test]
fn a_server_that_is_busy_with_a_script_is_said_to_be() {
    let server = Server::start_with(&["--busy-reply-threshold", "10"]);
    let connected = client(&server);
    drop(connected.named("k").acquire().unwrap());
    let other = server.builder().database(1).build().unwrap().into_backend();
    std::thread::scope(|scope| {
        let script = scope.spawn(|| server.command(&["EVAL", "while true do end", "0"]));
        until(|| server.command(&["PING"]).contains("BUSY"));
        for backend in [connected, client(&server), other] {
            let refused = || backend.named("k").wait(Duration::from_secs(1)).acquire().unwrap_err();
            let mut error = refused();
            // An answer may be late on a machine that is busy as well.
            until(|| {
                let is_said = error.to_string().contains("is busy with a script");
                if !is_said {
                    error = refused();
                }
                is_said
            });
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            let text = error.to_string();
            assert!(text.contains("`SCRIPT KILL`") && !text.contains("reached"), "{text}");
            assert!(!text.contains("ResponseError"), "{text}");
        }
        server.command(&["SCRIPT", "KILL"]);
        script.join().unwrap();
    });
    drop(client(&server).named("k").acquire().unwrap());
}

#[test]
fn a_user_who_may_not_name_a_database_hears_the_right_for_it() {
    let server = Server::start();
    server.command(&["ACL", "SETUSER", "app", "on", "nopass", "~*", "&*", "+@all", "-select"]);
    let error = refusal(&server.builder().user("app").database(1).build().unwrap().into_backend());
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("needs `+select`"), "{error}");
}

#[test]
fn what_others_have_written_into_the_namespace_is_named_as_that() {
    let server = Server::start();
    let client = client(&server);
    drop(client.named("other").acquire().unwrap());
    let hold = format!("h{}", AcquisitionId::unique());
    for written in [&["SET", "{locks}:l:k", "1"][..], &["HSET", "{locks}:l:k", &hold, "by hand"]] {
        server.command(&["DEL", "{locks}:l:k"]);
        server.command(written);
        let error = refusal(&client);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.to_string().contains("no client of locks has written"), "{error}");
        drop(client.named("other").acquire().unwrap());
    }
    server.command(&["DEL", "{locks}:l:k"]);
    drop(client.named("k").acquire().unwrap());
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let server = Server::start_with(&["--requirepass", "hunter2"]);
    let error = refusal(&client(&server));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("password_file="), "{error}");
    let wrong = server.builder().password("hunter3");
    assert!(!format!("{wrong:?}").contains("hunter"), "{wrong:?}");
    let error = refusal(&wrong.build().unwrap().into_backend());
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
    let right = server.builder().password("hunter2").build().unwrap();
    drop(right.clone().into_backend().named("k").acquire().unwrap());
    assert!(!format!("{right:?}").contains("hunter"), "{right:?}");
}

#[test]
fn a_user_without_a_password_is_that_user() {
    let server = Server::start();
    server.command(&["ACL", "SETUSER", "free", "on", "nopass", "~*", "&*", "+@all"]);
    server.command(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"]);
    let user = |user: &str| server.builder().user(user).build().unwrap().into_backend();
    let guard = user("free").named("k").acquire().unwrap();
    let clients = server.command(&["CLIENT", "LIST"]);
    assert!(clients.contains("user=free"), "{clients}");
    drop(guard);
    for name in ["nosuch", "app"] {
        let error = refusal(&user(name));
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains("refuses the user that is named to it without a password"), "{text}");
        assert!(text.contains("`password_file=`"), "{text}");
    }
}

#[test]
fn a_user_without_the_rights_hears_which_it_needs() {
    let server = Server::start();
    server.command(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+ping", "+info", "+hello"]);
    let client = server.builder().user("app").password("pw").build().unwrap().into_backend();
    let error = refusal(&client);
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("+evalsha"), "{error}");
}

/// The command that the manual has for making a user: one line, as `redis-cli` takes it.
fn command_of_the_manual() -> Vec<&'static str> {
    let manual = include_str!("../../../src/manual/redis.md");
    let at = manual.find("ACL SETUSER").expect("it names the rights");
    manual[at..].lines().next().expect("a line").split_whitespace().collect()
}

/// Makes the user, and has a builder use it in its namespace.
fn user_of_the_manual(server: &Server) -> RedisBuilder {
    let made = server.command(&command_of_the_manual());
    assert!(made.starts_with("+OK"), "{made}");
    server.builder().user("app").password("password").namespace("billing")
}

/// For how long a server grants nothing in a namespace that it does not know, and what it is.
fn closed_for(builder: RedisBuilder, lease: Duration) -> (Duration, String) {
    let store = builder.fresh(false).lease(lease).into_store().unwrap();
    let claim = LeaseClaim::new("k", AcquisitionId::unique(), lease);
    match store.claim(&claim).block().unwrap() {
        Claimed::NotYet(left) => (left, store.served_by().expect("it is connected")),
        other => panic!("it is not known: {other:?}"),
    }
}

/// An isolated primary goes on for as long as it may be without replicas, and its successor waits
/// for that; also where its settings cannot be read.
#[test]
fn row_48_what_a_server_may_do_alone_is_waited_for_by_a_user_who_cannot_ask() {
    const LEASE: Duration = Duration::from_secs(10);
    let second = Duration::from_secs(1);
    let careful = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "7"];
    let primary = Server::start_with(&careful);
    let port = primary.port.to_string();
    let _replica = Server::start_with(&["--replicaof", "127.0.0.1", &port]);
    until(|| primary.command(&["INFO", "replication"]).contains("min_slaves_good_slaves:1"));
    let (left, found) = closed_for(primary.builder(), LEASE);
    assert_eq!(left, LEASE + second * 7);
    assert!(found.contains(", max-lag 7s"), "{found}");

    let app = || user_of_the_manual(&primary);
    let (left, found) = closed_for(app(), LEASE);
    assert_eq!(left, LEASE + second * 10);
    assert!(found.contains(", max-lag 10s unless `?max_lag=` says"), "{found}");
    primary.command(&["DEL", "{billing}:m"]);
    let (left, found) = closed_for(app().max_lag(second * 4), LEASE);
    assert_eq!(left, LEASE + second * 4);
    assert!(found.contains(", max-lag 4s"), "{found}");
    // One that is shorter than what the server says is no use.
    let (left, _) = closed_for(primary.builder().namespace("other").max_lag(second), LEASE);
    assert_eq!(left, LEASE + second * 7);

    // One that does so for ever is not waited for; nor is one that has no such command.
    let alone = Server::start_with(&["--rename-command", "CONFIG", ""]);
    for builder in [alone.builder(), user_of_the_manual(&alone)] {
        let (left, found) = closed_for(builder, LEASE);
        assert_eq!(left, LEASE);
        assert!(!found.contains("max-lag"), "{found}");
    }
}

#[test]
fn a_user_with_the_rights_that_the_manual_names_gets_locks() {
    let server = Server::start();
    let client = user_of_the_manual(&server).build().unwrap().into_backend();
    let guard = client.all(["a", "b"]).acquire().unwrap();
    guard.refresh().unwrap();
    assert_eq!(client.list().unwrap().len(), 2);
    guard.release().unwrap();
}

/// The words of a text that are rights.
fn rights(text: &str) -> BTreeSet<&str> {
    let word = |letter: char| !(letter.is_ascii_lowercase() || "+|".contains(letter));
    text.split(word).filter(|word| word.len() > 1 && word.starts_with('+')).collect()
}

/// Scripts name what they may not do in words of their own.
#[test]
fn a_user_without_one_of_the_rights_hears_all_of_them() {
    let server = Server::start();
    let command = command_of_the_manual().join(" ");
    let needed = rights(&command);
    let mut unused = Vec::new();
    for missing in &needed {
        let user = user_of_the_manual(&server).into_store().unwrap();
        let revoked = missing.replacen('+', "-", 1);
        assert!(server.command(&["ACL", "SETUSER", "app", &revoked]).starts_with("+OK"));
        match every_step(&*user) {
            Ok(()) => unused.push(*missing),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unauthorized, "{missing}: {error}");
                assert_eq!(rights(&error.to_string()), needed, "{missing}: {error}");
            }
        }
        server.command(&["FLUSHALL"]);
        server.command(&["SCRIPT", "FLUSH"]);
    }
    // The first is for clusters; the other is asked for by whoever it is before it has said so.
    assert_eq!(unused, ["+asking", "+hello"]);
}

/// Does what a client does, beside one that waits.
fn every_step(store: &dyn LeaseStore) -> Result<(), LockError> {
    let lease = Duration::from_secs(10);
    let claim = |waited: u64| {
        let mut claim = LeaseClaim::new("k", AcquisitionId::unique(), lease);
        claim.place = Some(LeasePlace::new(Duration::from_secs(waited), lease));
        claim
    };
    let (holder, first, second) = (claim(0), claim(2), claim(1));
    assert!(matches!(store.claim(&holder).block()?, Claimed::Granted(_)));
    for waiter in [&first, &second] {
        assert!(matches!(store.claim(waiter).block()?, Claimed::Refused(_)));
    }
    let end = |of: &LeaseClaim, how| LeaseEnding::new(of.keys.clone(), of.id, how);
    let renewal = LeaseRenewal::new(holder.keys.clone(), holder.id, lease);
    store.renew(&[renewal]).block()?;
    store.list(&Query::All).block()?;
    store.end(&end(&holder, LeaseEnd::Release { reserve: false })).block()?;
    assert!(matches!(store.claim(&first).block()?, Claimed::Granted(_)));
    store.end(&end(&first, LeaseEnd::Remove)).block().map(drop)
}

#[test]
fn row_38_a_server_without_memory_grants_nothing_and_loses_nothing() {
    let server = Server::start();
    let client = server.builder().lease(Duration::from_secs(2)).build().unwrap().into_backend();
    let guard = client.named("held").acquire().unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = refusal(&client);
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("maxmemory"), "{error}");
    // Renewed all the while.
    std::thread::sleep(Duration::from_secs(4));
    guard.check().unwrap();
    guard.release().unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    drop(client.named("k").acquire().unwrap());
    assert!(client.list().unwrap().is_empty());
}

#[test]
fn clients_of_a_namespace_agree_on_its_longest_lease() {
    let server = Server::start();
    drop(client(&server).named("k").acquire().unwrap());
    let other = server.builder().lease(Duration::from_secs(3)).build().unwrap().into_backend();
    let error = refusal(&other);
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
    assert!(error.to_string().contains("10s") && error.to_string().contains("3s"), "{error}");
    let error = client(&server).named("k").lease(Duration::from_secs(11)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("`?lease=`"), "{error}");
    let short = Duration::from_millis(100);
    let error = client(&server).named("k").lease(short).acquire().unwrap_err();
    assert!(error.to_string().contains("takes 300 ms to 10 s"), "{error}");
    // Another namespace is another matter.
    let apart = server.builder().lease(Duration::from_secs(3)).namespace("apart");
    drop(apart.build().unwrap().into_backend().named("k").acquire().unwrap());
}
