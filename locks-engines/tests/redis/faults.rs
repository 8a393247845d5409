//! Holders that are killed, servers that hang, connections that break.

use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, LostCause};
use locks_engines::LinkState;
use locks_engines::redis::Redis;

use super::child::peer;
use super::server::Server;
use super::support::slow::{self, Slow};

const LEASE: Duration = Duration::from_secs(3);

fn client(server: &Server) -> Backend {
    server.builder().lease(LEASE).build().expect("a client").into_backend()
}

#[test]
fn who_waits_behind_a_slow_link_is_not_passed_over() {
    let server = Server::start();
    let slow = Slow::before(format!("127.0.0.1:{}", server.port), Duration::from_millis(400));
    let client = |port| {
        let builder = Redis::builder("127.0.0.1", port).fresh(true);
        builder.connect(Duration::from_secs(60)).build().expect("a client").into_backend()
    };
    let [ours, far, near] = [server.port, slow.port, server.port].map(client);
    slow::waits_its_turn(&ours, far, &near);
}

#[test]
fn row_44_a_hold_outlives_connections_that_are_forgotten_on_the_way() {
    let server = Server::start();
    let (way, lease) = Slow::forgetful(format!("127.0.0.1:{}", server.port));
    let ours = Redis::builder("127.0.0.1", way.port).fresh(true).lease(lease);
    let theirs = server.builder().lease(lease).build().unwrap().into_backend();
    slow::outlives_its_connections(&way, &ours.build().unwrap().into_backend(), &theirs, lease);
}

#[test]
fn row_2_the_lock_of_a_killed_holder_is_free_after_its_lease() {
    let server = Server::start();
    let mut holder = peer(&server, "hold");
    let token: u64 = holder.says().parse().unwrap();
    let ours = client(&server);
    assert!(ours.named("k").wait(false).acquire().unwrap_err().is_contended());
    holder.kill();
    let killed = Instant::now();
    let guard = ours.named("k").wait(Duration::from_secs(60)).acquire().unwrap();
    assert!(guard.token().get() > token);
    // Renewed at a third of it, so something between two thirds and the whole.
    assert!(killed.elapsed() >= LEASE / 2, "{:?}", killed.elapsed());
}

#[test]
fn row_47_a_process_that_ends_right_after_its_guard_leaves_the_lock_free() {
    let server = Server::start();
    let ours = client(&server);
    for _ in 0..20 {
        peer(&server, "drop").ends_well();
        // Its end is on its way; the lease of one that was lost would stand for longer.
        drop(ours.named("k").wait(LEASE / 3).acquire().expect("it is free before its lease"));
    }
}

#[test]
fn a_dead_head_of_the_queue_holds_nobody_up() {
    let server = Server::start();
    let ours = client(&server);
    let guard = ours.named("k").acquire().unwrap();
    let mut dead = peer(&server, "wait");
    dead.says();
    let waits = || ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !waits() {
        assert!(Instant::now() < deadline, "it does not queue");
    }
    let theirs = client(&server);
    let behind = thread::spawn(move || {
        let guard = theirs.named("k").wait(Duration::from_secs(60)).acquire().unwrap();
        (guard.token(), Instant::now())
    });
    let queued = || ours.list().unwrap().iter().map(|lock| lock.waiters.len()).sum::<usize>();
    while queued() < 2 {
        assert!(Instant::now() < deadline, "the second does not queue");
    }
    dead.kill();
    drop(guard);
    let (token, _) = behind.join().unwrap();
    assert!(token.get() > 0);
}

#[test]
fn row_43_a_server_that_hangs_is_out_of_reach_and_nobodys_lock() {
    let server = Server::start();
    let ours = client(&server);
    drop(ours.named("free").acquire().unwrap());
    server.process.signal("-STOP");
    for wait in [Duration::from_millis(50), Duration::from_secs(3)] {
        let error = ours.named("free").wait(wait).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let error = ours.named("free").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    server.process.signal("-CONT");
    drop(ours.named("free").wait(Duration::from_secs(60)).acquire().unwrap());
}

#[test]
fn row_7_a_holder_whose_server_hangs_is_lost_by_its_own_clock() {
    let server = Server::start();
    let ours = client(&server);
    let guard = ours.named("k").acquire().unwrap();
    let began = Instant::now();
    server.process.signal("-STOP");
    while !guard.is_lost() {
        assert!(began.elapsed() < Duration::from_secs(60), "it is never lost");
        thread::sleep(Duration::from_millis(10));
    }
    let error = guard.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Expired }, "{error}");
    server.process.signal("-CONT");
    drop(guard);
    drop(ours.named("k").wait(Duration::from_secs(60)).acquire().unwrap());
}

#[test]
fn connections_that_break_cost_nobody_a_lock() {
    let server = Server::start();
    let client = server.builder().lease(LEASE).build().unwrap();
    let ours = client.clone().into_backend();
    let guard = ours.named("k").acquire().unwrap();
    assert!(matches!(client.state(), LinkState::Connected { .. }));
    let theirs = self::client(&server);
    let waiter = thread::spawn(move || theirs.named("k").acquire().unwrap().token());
    let began = Instant::now();
    while began.elapsed() < LEASE * 2 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        thread::sleep(Duration::from_millis(200));
    }
    guard.check().unwrap();
    let token = guard.token();
    drop(guard);
    assert!(waiter.join().unwrap() > token);
}

#[test]
fn c6_a_victim_hears_of_the_theft_by_itself() {
    let server = Server::start();
    let (ours, theirs) = (client(&server), client(&server));
    let victim = ours.named("k").label("batch 7").acquire().unwrap();
    let thief = theirs.named("k").steal_after(Duration::from_millis(100)).acquire().unwrap();
    let robbed = thief.stolen_from();
    let robbed = robbed.iter().map(|robbed| (robbed.token, robbed.label.as_deref()));
    assert_eq!(robbed.collect::<Vec<_>>(), [(Some(victim.token()), Some("batch 7"))]);
    let began = Instant::now();
    while !victim.is_lost() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never hears of it");
        thread::sleep(Duration::from_millis(2));
    }
    let error = victim.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen }, "{error}");
    thief.check().unwrap();
}
