//! Servers that lose what they have acknowledged (row 48).

use std::time::{Duration, Instant};

use locks_core::{AcquisitionId, Backend, Claimed, ErrorKind, LeaseClaim, LeaseStore, LockError};

use super::server::Server;
use super::support::until;

const LEASE: Duration = Duration::from_secs(2);

fn client(server: &Server) -> Backend {
    server.builder().fresh(false).lease(LEASE).build().expect("a client").into_backend()
}

fn take(backend: &Backend, wait: Duration) -> Result<locks_core::Guard, LockError> {
    backend.named("k").wait(wait).acquire()
}

/// Claims a key by a store, whose holds nobody renews.
fn claim(store: &dyn LeaseStore, key: &str, lease: Duration) -> Claimed {
    let claim = LeaseClaim::new(key, AcquisitionId::unique(), lease);
    store.claim(&claim).block().expect("it answers")
}

/// A primary and a replica that has what the primary has.
fn pair() -> (Server, Server) {
    let primary = Server::start();
    let port = primary.port.to_string();
    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &port]);
    until(|| replica.command(&["INFO", "replication"]).contains("master_link_status:up"));
    (primary, replica)
}

/// Has the replica miss what the primary grants from now on.
fn cut_off(replica: &Server) {
    // It stays a replica of the primary, and asks where nobody answers.
    replica.command(&["REPLICAOF", "127.0.0.1", "1"]);
}

#[test]
fn a_namespace_that_is_not_known_grants_nothing_for_a_lease() {
    let server = Server::start();
    let began = Instant::now();
    let error = take(&client(&server), Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    drop(take(&client(&server), Duration::from_secs(60)).unwrap());
    assert!(began.elapsed() >= LEASE);
    // It is known from then on.
    drop(client(&server).named("other").wait(false).acquire().unwrap());
}

#[test]
fn row_48_a_failover_that_loses_a_grant_refuses_for_a_lease_and_goes_on_above() {
    let (mut primary, replica) = pair();
    let ours = client(&primary);
    drop(take(&ours, Duration::from_secs(60)).unwrap());
    // The naive way beside it: a counter that every grant takes the next number of.
    primary.command(&["INCR", "naive"]);
    assert!(primary.command(&["WAIT", "1", "20000"]).starts_with(":1"));
    cut_off(&replica);

    let lost = take(&ours, Duration::from_secs(10)).unwrap();
    let naive = primary.command(&["INCR", "naive"]);
    let promoted = Instant::now();
    primary.process.kill();
    replica.command(&["REPLICAOF", "NO", "ONE"]);

    let theirs = client(&replica);
    let error = theirs.named("k").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let next = take(&theirs, Duration::from_secs(60)).unwrap();
    assert!(promoted.elapsed() >= LEASE, "the lost grant may still have been held");
    assert!(lost.is_lost(), "its holder has heard of it by then");
    assert!(next.token() > lost.token(), "{} after {}", next.token(), lost.token());
    assert_eq!(replica.command(&["INCR", "naive"]), naive, "the naive counter repeats its number");
}

#[test]
fn row_48_a_primary_that_comes_back_by_way_of_a_replica_grants_nothing_twice() {
    let (primary, replica) = pair();
    let (ours, at_replica) = (client(&primary), client(&replica));
    drop(take(&ours, Duration::from_secs(60)).unwrap());
    assert!(primary.command(&["WAIT", "1", "20000"]).starts_with(":1"));
    cut_off(&replica);
    let lost = take(&ours, Duration::from_secs(10)).unwrap();

    // The replica is promoted, gets no request, and the old primary takes its data from it.
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    primary.command(&["REPLICAOF", "127.0.0.1", &replica.port.to_string()]);
    until(|| primary.command(&["INFO", "replication"]).contains("master_link_status:up"));
    primary.command(&["REPLICAOF", "NO", "ONE"]);
    let back = Instant::now();

    // By a connection that has seen nothing of all that, and by a new one.
    let next = take(&ours, Duration::from_secs(60));
    let next = next.or_else(|_| take(&client(&primary), Duration::from_secs(60))).unwrap();
    assert!(back.elapsed() >= LEASE || lost.is_lost());
    assert!(next.token() > lost.token(), "{} after {}", next.token(), lost.token());
    drop(at_replica);
}

fn replication(server: &Server, name: &str) -> String {
    let told = server.command(&["INFO", "replication"]);
    let value = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.expect("it tells").to_owned()
}

/// It calls the history of its data by another name when the first replica comes, and when the last
/// one has been gone for a while; and yet it has everything.
#[test]
fn a_primary_that_begins_another_history_of_all_its_data_grants_at_once() {
    // Longer than a lease, so that nothing can be left of what it might have lost before that.
    let primary = Server::start_with(&["--repl-backlog-ttl", "3"]);
    let ours = client(&primary);
    let mut last = take(&ours, Duration::from_secs(60)).unwrap().token();
    let id = replication(&primary, "master_replid");
    let port = primary.port.to_string();
    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &port]);
    until(|| replication(&primary, "connected_slaves") == "1");
    let with_replica = replication(&primary, "master_replid");
    assert_ne!(with_replica, id, "it begins another one");
    let mut at_once = |what: &str| {
        for backend in [client(&primary), ours.clone()] {
            let guard = backend.named("free").wait(false).acquire();
            let guard = guard.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert!(guard.token() > last, "{what}: {} after {last}", guard.token());
            last = guard.token();
            guard.release().unwrap();
        }
    };
    at_once("the first replica has come");
    drop(replica);
    until(|| replication(&primary, "master_replid") != with_replica);
    at_once("the last replica is gone");
}

/// The like of it, but for a demotion in between that is forgotten by then.
#[test]
fn row_48_a_primary_that_has_forgotten_its_demotion_grants_nothing_twice() {
    const LEASE: Duration = Duration::from_secs(8);
    let client = |server: &Server| server.builder().fresh(false).lease(LEASE);
    let primary = Server::start_with(&["--repl-backlog-ttl", "1"]);
    let port = primary.port.to_string();
    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &port]);
    until(|| replica.command(&["INFO", "replication"]).contains("master_link_status:up"));
    let ours = client(&primary).build().unwrap().into_backend();
    drop(take(&ours, Duration::from_secs(60)).unwrap());
    assert!(primary.command(&["WAIT", "1", "20000"]).starts_with(":1"));
    cut_off(&replica);

    // Nobody renews it, and so nobody hears that it is lost.
    let store = client(&primary).into_store().unwrap();
    let claimed = Instant::now();
    let Claimed::Granted(lost) = claim(&*store, "k", LEASE) else { panic!("it is free") };

    replica.command(&["REPLICAOF", "NO", "ONE"]);
    primary.command(&["REPLICAOF", "127.0.0.1", &replica.port.to_string()]);
    until(|| primary.command(&["INFO", "replication"]).contains("master_link_status:up"));
    primary.command(&["REPLICAOF", "NO", "ONE"]);
    assert!(!replication(&primary, "master_replid2").starts_with("000"));
    until(|| replication(&primary, "master_replid2").starts_with("000"));

    let next = take(&client(&primary).build().unwrap().into_backend(), Duration::from_secs(60));
    let next = next.unwrap();
    assert!(claimed.elapsed() >= LEASE, "the lost grant may still have been held");
    assert!(next.token() > lost, "{} after {lost}", next.token());
}

#[test]
fn row_31_a_flush_costs_the_holder_its_lock_before_another_gets_it() {
    let server = Server::start();
    let (ours, theirs) = (client(&server), client(&server));
    let guard = take(&ours, Duration::from_secs(60)).unwrap();
    server.command(&["FLUSHALL"]);
    let flushed = Instant::now();
    let next = take(&theirs, Duration::from_secs(60)).unwrap();
    assert!(guard.is_lost());
    assert!(flushed.elapsed() >= LEASE);
    assert!(next.token() > guard.token());
}

/// It says that the namespace is new, which it is once.
#[test]
fn row_31_a_flush_closes_a_namespace_also_to_clients_that_were_told_it_was_new() {
    let mut server = Server::start();
    // Long enough to ask two clients meanwhile, on a busy machine too.
    let lease = Duration::from_secs(10);
    let client = |server: &Server| server.builder().lease(lease).build().unwrap().into_backend();
    let (ours, theirs) = (client(&server), client(&server));
    let guard = ours.named("k").wait(false).acquire().expect("it is new");
    assert!(theirs.named("k").wait(false).acquire().unwrap_err().is_contended());
    for lost in ["flushed", "restarted"] {
        match lost {
            "flushed" => drop(server.command(&["FLUSHALL"])),
            _ => server.restart(),
        }
        for backend in [&theirs, &ours] {
            until(|| {
                let error = backend.named("free").wait(false).acquire().expect_err(lost);
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{lost}: {error}");
                error.to_string().contains("has lost what it had granted")
            });
        }
    }
    assert!(take(&theirs, Duration::from_secs(60)).unwrap().token() > guard.token());
    assert!(guard.is_lost());
}

#[test]
fn row_31_a_server_that_was_restarted_without_its_data_goes_on_above() {
    let mut server = Server::start();
    let ours = client(&server);
    let guard = take(&ours, Duration::from_secs(60)).unwrap();
    server.restart();
    let started = Instant::now();
    let next = take(&client(&server), Duration::from_secs(60)).unwrap();
    assert!(started.elapsed() + Duration::from_millis(500) >= LEASE);
    assert!(guard.is_lost());
    assert!(next.token() > guard.token());
    drop(next);
    drop(take(&ours, Duration::from_secs(60)).expect("the first client is back as well"));
}

#[test]
fn scripts_that_are_flushed_are_sent_again() {
    let server = Server::start();
    let ours = client(&server);
    let guard = take(&ours, Duration::from_secs(60)).unwrap();
    server.command(&["SCRIPT", "FLUSH"]);
    guard.refresh().unwrap();
    assert!(client(&server).named("k").wait(false).acquire().unwrap_err().is_contended());
    server.command(&["SCRIPT", "FLUSH"]);
    guard.release().unwrap();
    server.command(&["SCRIPT", "FLUSH"]);
    drop(take(&ours, Duration::from_secs(10)).unwrap());
}

/// The server's time in microseconds.
fn time(server: &Server) -> u64 {
    let told = server.command(&["TIME"]);
    let numbers: Vec<u64> = told.lines().filter_map(|line| line.parse().ok()).collect();
    numbers[0] * 1_000_000 + numbers[1]
}

/// How far a clock was ahead before it was put right.
const AHEAD: u64 = 3_600_000_000;

#[test]
fn row_5_a_clock_that_was_ahead_closes_a_namespace_for_a_lease_at_most() {
    let server = Server::start();
    let before = take(&client(&server), Duration::from_secs(60)).unwrap().token();
    let fresh = (time(&server) + AHEAD).to_string();
    server.command(&["HSET", "{locks}:m", "fresh", &fresh]);
    let error = client(&server).named("k").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(take(&client(&server), Duration::from_secs(60)).unwrap().token() > before);
    // And what another primary has inherited of it.
    let fresh = (time(&server) + AHEAD).to_string();
    server.command(&["HSET", "{locks}:m", "fresh", &fresh, "server", "another"]);
    assert!(take(&client(&server), Duration::from_secs(60)).unwrap().token() > before);
}

#[test]
fn row_5_a_clock_that_was_ahead_keeps_no_dead_hold_for_longer_than_a_lease() {
    let server = Server::start();
    let ours = client(&server);
    drop(take(&ours, Duration::from_secs(60)).unwrap());
    let store = server.builder().fresh(false).lease(LEASE).into_store().unwrap();
    // One that was granted while the clock was ahead, and one that was renewed then.
    for is_granted_then in [true, false] {
        let sent = Instant::now();
        let Claimed::Granted(dead) = claim(&*store, "k", LEASE) else { panic!("it is free") };
        let told = server.command(&["HGETALL", "{locks}:l:k"]);
        let lines: Vec<&str> = told.lines().collect();
        let (field, mut hold) = (lines[2], lines[4].splitn(5, ' ').map(str::to_owned));
        let mut parts: Vec<String> = hold.by_ref().collect();
        for part in if is_granted_then { 2..4 } else { 3..4 } {
            parts[part] = (parts[part].parse::<u64>().unwrap() + AHEAD).to_string();
        }
        server.command(&["HSET", "{locks}:l:k", field, &parts.join(" ")]);
        assert!(ours.named("k").wait(false).acquire().unwrap_err().is_contended());
        let next = take(&ours, Duration::from_secs(60)).unwrap();
        assert!(sent.elapsed() >= LEASE && next.token() > dead);
    }
}

#[test]
fn row_5_a_clock_that_was_ahead_keeps_no_dead_place_at_the_head_of_the_queue() {
    let server = Server::start();
    let ours = client(&server);
    drop(take(&ours, Duration::from_secs(60)).unwrap());
    let now = time(&server);
    let (since, then) = (now - 60_000_000, now + AHEAD);
    // One that was called, and one whose client was to claim at once.
    let id = AcquisitionId::unique();
    for (field, place) in [
        (format!("w{id}"), format!("{since} 0 {then} {then} 0 ab ")),
        ("nab".to_owned(), format!("{since} {then}")),
    ] {
        server.command(&["HSET", "{locks}:l:k", &field, &place]);
        drop(take(&ours, Duration::from_secs(60)).unwrap());
    }
}
