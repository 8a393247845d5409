//! Row 2: clients that are killed.

use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::directory::until;
use crate::peer::{Peer, now};
use crate::place::{Place, WAYS, Way, assert_nothing_left};

/// Sessions that their processes keep: at once, whatever still has their sockets open.
#[test]
fn row_2_who_waits_has_it_at_once_when_the_holder_is_killed() {
    for way in [Way::Unix, Way::Machine] {
        let place = Place::new(way);
        let _serving = place.start();
        let mut waiter = place.peer();
        let mut last = 0;
        for round in 0..12 {
            let mut holder = place.peer();
            let (holds, waits) = [("", ""), ("shared", ""), ("", "shared")][round % 3];
            let held = holder.take("k", holds);
            let waiting = waiter.begin("k", waits);
            waiting.assert_waits();
            // As a child has that was forked.
            let copies = if round % 2 == 0 { Vec::new() } else { sockets_of(&holder) };
            assert_eq!(copies.is_empty(), round % 2 == 0, "it has a connection");
            let killed = now();
            holder.send_kill();
            let next = waiting.granted();
            let gap = Duration::from_nanos(next.at.saturating_sub(killed));
            assert!(gap < Duration::from_secs(8), "row 2: {way:?}: it took {gap:?}");
            assert!(last < held.token && held.token < next.token, "C7: across a crash");
            last = next.token;
            waiter.release(next).unwrap();
        }
        assert_nothing_left(&place.client());
    }
}

/// Copies of all sockets of a process.
fn sockets_of(peer: &Peer) -> Vec<rustix::fd::OwnedFd> {
    let pidfd = pidfd_open(peer.pid(), PidfdFlags::empty()).unwrap();
    let pid = peer.pid().as_raw_nonzero();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let sockets = open.filter(|entry| {
        let target = std::fs::read_link(entry.path());
        target.is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    });
    let numbers = sockets.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap());
    let copies = numbers.map(|number| pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()));
    copies.map(|copy| copy.expect("it is our child")).collect()
}

/// Over TCP nobody sees a process: its leases keep what it had, whatever becomes of the connection.
#[test]
fn row_2_over_tcp_a_killed_holder_has_its_lease_and_no_more() {
    let place = Place::with_limits(Way::Tcp, "lease=10000");
    let _serving = place.start();
    let [mut holder, mut other] = place.peers();
    let mut waiter = place.peer();
    let asked = now();
    holder.take("k", "lease=1500");
    other.take("l", "lease=3000");
    let waiting = [waiter.begin("k", ""), waiter.begin("l", "")];
    holder.send_kill();
    other.send_kill();
    let killed = now();
    let [first, second] = waiting.map(|waiting| waiting.granted());
    for (next, lease) in [(first, 1500), (second, 3000)] {
        let kept = Duration::from_nanos(next.at - asked);
        assert!(kept >= Duration::from_millis(lease), "C8: it was promised for longer: {kept:?}");
        let gap = Duration::from_nanos(next.at.saturating_sub(killed));
        assert!(gap < Duration::from_millis(lease + 20_000), "row 2: it took {gap:?}");
    }
}

/// A lease that is asked for is renewed for as long as the process lives (C8).
#[test]
fn row_6_a_busy_holder_is_renewed() {
    let place = Place::with_limits(Way::Tcp, "lease=1000");
    let _serving = place.start();
    let [mut holder, mut rival] = place.peers();
    let held = holder.take("k", "");
    let waiting = rival.begin("k", "wait=3500");
    // What it does with other locks meanwhile, or does not do, makes no difference.
    let busy = holder.churn(&["x", "y"], Duration::from_micros(50), "");
    assert_eq!(waiting.refused().kind, "Timeout");
    holder.settle(&busy);
    holder.check(held).unwrap();
    holder.release(held).unwrap();
}

#[test]
fn row_2_a_killed_waiter_is_in_nobodys_way() {
    for way in WAYS {
        // Without a process to watch it is its lease that ends it.
        let lease = if way == Way::Tcp { 1500 } else { 20_000 };
        let place = Place::with_limits(way, &format!("lease={lease}"));
        let _serving = place.start();
        let [mut holder, mut waiter, mut next] = place.peers();
        let held = holder.take("k", "");
        let first = waiter.begin("k", "");
        first.assert_waits();
        let second = next.begin("k", "");
        second.assert_waits();
        waiter.send_kill();
        waiter.reap();
        if way != Way::Tcp {
            until("its wait is forgotten", || holder.status()[3] == 1);
        }
        let released = Instant::now();
        holder.release(held).unwrap();
        let held = second.granted();
        assert!(released.elapsed() < Duration::from_secs(15), "{way:?}");
        next.release(held).unwrap();
    }
}

/// Killed at any moment of what it does: tokens grow, and the key is free (C7).
#[test]
fn c7_killed_anywhere_in_a_grant_or_a_release() {
    for way in [Way::Unix, Way::Machine] {
        let place = Place::new(way);
        let _serving = place.start();
        let mut next = place.peer();
        let mut last = 0;
        for round in 0..25_u32 {
            let mut churning = place.peer();
            let started = churning.take("started", "wait=5000");
            churning.release(started).unwrap();
            let _churn = churning.churn(&["k", "l"], Duration::from_micros(20), "");
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(1000 + u64::from(round) * 137) {
                std::hint::spin_loop();
            }
            churning.send_kill();
            let token = next.assert_free("k");
            assert!(last < token, "C7: {token} after {last}");
            last = token;
            next.assert_free("l");
        }
        drop(next);
        assert_nothing_left(&place.client());
    }
}

/// A process that comes to its end says nothing more, and what it had is free.
#[test]
fn row_2_a_process_that_exits_with_locks_held() {
    for way in [Way::Unix, Way::Machine] {
        let place = Place::new(way);
        let _serving = place.start();
        let [mut holder, mut next] = place.peers();
        holder.take("k", "");
        let waiting = next.begin("k", "");
        waiting.assert_waits();
        holder.exit();
        let held = waiting.granted();
        next.release(held).unwrap();
    }
}
