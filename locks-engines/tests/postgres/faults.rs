//! Holders that are killed or stopped, servers that hang, connections that break.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, LostCause};
use locks_engines::LinkState;

use super::child::peer;
use super::server::{Server, schema, shared};
use super::support::process::signal;
use super::support::slow::{self, Slow};
use super::support::until;

const LEASE: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(60);

fn client(server: &Server, schema: &str) -> Backend {
    server.builder().schema(schema).lease(LEASE).build().expect("a client").into_backend()
}

#[test]
fn c1_of_many_clients_that_race_one_is_granted() {
    const CLIENTS: usize = 8;
    let (server, schema) = (shared(), schema());
    let client = |_| {
        let builder = server.builder().schema(&schema).connect(LONG);
        builder.build().expect("a client").into_backend()
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    for client in &clients {
        client.list().unwrap();
    }
    let turn = Barrier::new(CLIENTS);
    let granted: Vec<AtomicUsize> = (0..60).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                for (round, granted) in granted.iter().enumerate() {
                    // A key that was free, in the shortest way there is and in the longer one.
                    let keys = [format!("k{round}"), "z".to_owned()];
                    let lock = client.all(keys.into_iter().take(1 + round % 2));
                    turn.wait();
                    let guard = lock.wait(false).acquire();
                    granted.fetch_add(usize::from(guard.is_ok()), Ordering::SeqCst);
                    turn.wait();
                    let _ = guard.map(|guard| guard.release());
                }
            });
        }
    });
    let granted = Vec::from_iter(granted.into_iter().map(AtomicUsize::into_inner));
    assert_eq!(granted, [1; 60]);
}

#[test]
fn who_waits_behind_a_slow_link_is_not_passed_over() {
    let (server, schema) = (shared(), schema());
    let slow = Slow::before(format!("127.0.0.1:{}", server.port), Duration::from_millis(400));
    let client = |port| {
        let builder = server.builder().port(port).schema(&schema);
        builder.connect(LONG).build().expect("a client").into_backend()
    };
    let [ours, near, far] = [server.port, server.port, slow.port].map(client);
    slow::waits_its_turn(&ours, far, &near);
}

#[test]
fn row_44_a_hold_outlives_connections_that_are_forgotten_on_the_way() {
    let (server, schema) = (shared(), schema());
    let (way, lease) = Slow::forgetful(format!("127.0.0.1:{}", server.port));
    let ours = server.builder().port(way.port).schema(&schema).lease(lease);
    let theirs = server.builder().schema(&schema).lease(lease).build().unwrap().into_backend();
    slow::outlives_its_connections(&way, &ours.build().unwrap().into_backend(), &theirs, lease);
}

#[test]
fn row_2_the_lock_of_a_killed_holder_is_free_after_its_lease() {
    let (server, schema) = (shared(), schema());
    let mut holder = peer(server, &schema, "hold");
    let token: u64 = holder.says().parse().unwrap();
    let ours = client(server, &schema);
    assert!(ours.named("k").wait(false).acquire().unwrap_err().is_contended());
    holder.kill();
    let killed = Instant::now();
    let guard = ours.named("k").wait(LONG).acquire().unwrap();
    assert!(guard.token().get() > token);
    // Renewed at a third of it, so something between two thirds and the whole.
    assert!(killed.elapsed() >= LEASE / 2, "{:?}", killed.elapsed());
}

#[test]
fn row_3_a_holder_that_was_stopped_past_its_lease_frees_nothing_of_its_successors() {
    let (server, schema) = (shared(), schema());
    let mut holder = peer(server, &schema, "hold");
    let token: u64 = holder.says().parse().unwrap();
    signal(holder.pid(), "-STOP");
    let ours = client(server, &schema);
    let guard = ours.named("k").wait(LONG).acquire().unwrap();
    assert!(guard.token().get() > token);
    signal(holder.pid(), "-CONT");
    holder.tell();
    let said = holder.says();
    assert_ne!(said, "released", "it has lost it, and is told");
    guard.check().unwrap();
    assert!(client(server, &schema).named("k").wait(false).acquire().unwrap_err().is_contended());
}

#[test]
fn row_4_a_holder_that_was_stopped_for_a_moment_loses_nothing() {
    let (server, schema) = (shared(), schema());
    let mut holder = peer(server, &schema, "hold");
    holder.says();
    signal(holder.pid(), "-STOP");
    thread::sleep(LEASE / 4);
    signal(holder.pid(), "-CONT");
    holder.tell();
    assert_eq!(holder.says(), "released");
}

#[test]
fn row_47_a_process_that_ends_right_after_its_guard_leaves_the_lock_free() {
    let (server, schema) = (shared(), schema());
    let ours = client(server, &schema);
    for _ in 0..20 {
        peer(server, &schema, "drop").ends_well();
        // Its end is on its way; the lease of one that was lost would stand for longer.
        drop(ours.named("k").wait(LEASE / 3).acquire().expect("it is free before its lease"));
    }
}

#[test]
fn a_dead_head_of_the_queue_holds_nobody_up() {
    let (server, schema) = (shared(), schema());
    let ours = client(server, &schema);
    let guard = ours.named("k").acquire().unwrap();
    let queued = || ours.list().unwrap().iter().map(|lock| lock.waiters.len()).sum::<usize>();
    let mut dead = peer(server, &schema, "wait");
    dead.says();
    until(|| queued() == 1);
    let theirs = client(server, &schema);
    let behind =
        thread::spawn(move || theirs.named("k").wait(LONG).acquire().unwrap().into_owned());
    until(|| queued() == 2);
    dead.kill();
    let freed = Instant::now();
    drop(guard);
    drop(behind.join().unwrap());
    // A quarter of a second, or as long as a place is kept, which is seconds.
    assert!(freed.elapsed() < Duration::from_secs(2), "{:?}", freed.elapsed());
}

#[test]
fn row_43_a_server_that_hangs_is_out_of_reach_and_nobodys_lock() {
    let server = Server::start();
    let ours = client(&server, "locks");
    drop(ours.named("free").acquire().unwrap());
    let held = ours.named("held").acquire().unwrap();
    server.signal("-STOP");
    let stopped = Instant::now();
    for wait in [Duration::from_millis(50), Duration::from_secs(3)] {
        let error = ours.named("free").wait(wait).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let error = ours.named("free").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // Row 7: the holder hears of it by its own clock.
    until(|| held.is_lost());
    assert!(stopped.elapsed() >= LEASE / 2);
    let error = held.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Expired }, "{error}");
    server.signal("-CONT");
    drop(ours.named("free").wait(LONG).acquire().unwrap());
    drop(held);
    drop(ours.named("held").wait(LONG).acquire().unwrap());
}

#[test]
fn row_44_a_server_that_is_away_for_a_moment_costs_nobody_a_lock() {
    let server = Server::start();
    let ours = client(&server, "locks");
    let guard = ours.named("k").acquire().unwrap();
    for phase in 0..4 {
        thread::sleep(LEASE / 12 * phase);
        server.signal("-STOP");
        thread::sleep(LEASE / 4);
        server.signal("-CONT");
        until(|| guard.refresh().is_ok());
    }
    guard.check().unwrap();
}

#[test]
fn row_31_connections_that_break_cost_nobody_a_lock() {
    let server = Server::start();
    let client = server.builder().lease(LEASE).build().unwrap();
    let ours = client.clone().into_backend();
    assert_eq!(client.state(), LinkState::Idle);
    let guard = ours.named("k").acquire().unwrap();
    assert!(matches!(client.state(), LinkState::Connected { .. }));
    let theirs = self::client(&server, "locks");
    let waiter = thread::spawn(move || theirs.named("k").acquire().unwrap().token());
    until(|| ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
    let began = Instant::now();
    while began.elapsed() < LEASE * 2 {
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'locks'");
        thread::sleep(Duration::from_millis(200));
    }
    guard.check().unwrap();
    let token = guard.token();
    let freed = Instant::now();
    drop(guard);
    assert!(waiter.join().unwrap() > token);
    // It listens again, or looks again within a second.
    assert!(freed.elapsed() < Duration::from_secs(10), "{:?}", freed.elapsed());
}

#[test]
fn a_step_that_is_cancelled_is_asked_again() {
    let server = Server::start();
    let ours = client(&server, "locks");
    drop(ours.named("k").acquire().unwrap());
    // Has the gate of every step: what it is about cannot be read meanwhile.
    let mut psql = server.psql();
    psql.args(["-c", "BEGIN; LOCK TABLE locks.entry; SELECT pg_sleep(1)"]);
    let mut blocks = psql.spawn().unwrap();
    until(|| {
        server.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'locks.entry'::regclass") == "1"
    });
    let waiter = thread::spawn({
        let ours = ours.clone();
        move || ours.named("k").wait(LONG).acquire().map(drop)
    });
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity \
                  WHERE application_name = 'locks' AND wait_event_type = 'Lock'";
    until(|| server.sql(cancel) != "0");
    waiter.join().unwrap().unwrap();
    assert!(blocks.wait().unwrap().success());
}

#[test]
fn c6_a_victim_hears_of_the_theft_by_itself() {
    let (server, schema) = (shared(), schema());
    let (ours, theirs) = (client(server, &schema), client(server, &schema));
    let victim = ours.named("k").acquire().unwrap();
    let thief = theirs.named("k").steal_after(Duration::from_millis(100)).acquire().unwrap();
    until(|| victim.is_lost());
    let error = victim.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen }, "{error}");
    thief.check().unwrap();
}
