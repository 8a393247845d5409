//! Row 21: more connections, waiters and keys than there is room for.

use std::time::{Duration, Instant};

use crate::directory::until;
use crate::place::{Place, Serving, Way, assert_nothing_left, status};
use crate::proxy;

/// What a server may keep of a crowd that has gone, in KiB: what the allocator keeps, and no more.
const KEPT: u64 = 12 * 1024;

fn assert_memory_returns(serving: &Serving, before: u64) {
    let after = serving.memory();
    assert!(after < before + KEPT, "row 21: {before} KiB before, {after} KiB after");
}

#[test]
fn row_21_ten_thousand_connections_leave_nothing_and_disturb_nobody() {
    for way in [Way::Unix, Way::Tcp] {
        let place = Place::with_limits(way, "newcomers=64 patience=2000 lease=8000");
        let serving = place.start();
        let [mut holder, mut rival] = place.peers();
        let held = holder.take("k", "");
        let waiting = rival.begin("k", "");
        waiting.assert_waits();
        let (before, descriptors) = (serving.memory(), serving.descriptors());
        let (told, start) = (place.told(), Instant::now());
        let mut crowd = std::collections::VecDeque::new();
        for number in 0..10_000 {
            // Whoever is one too many may be refused, or closed later.
            crowd.extend(proxy::connect(&told).ok());
            if crowd.len() > 1000 {
                crowd.pop_front();
            }
            // In bursts that a listener's queue has room for.
            if number % 64 == 0 {
                holder.refresh(held).expect("row 21: holders go on");
            }
        }
        // As many newcomers as may be, each with its process, and those who are being closed; once
        // those who have just come have been counted.
        until("N6: newcomers are bounded", || serving.descriptors() - descriptors <= 2 * 64 + 256);
        drop(crowd);
        holder.check(held).expect("row 21: holders go on");
        eprintln!("{way:?}: 10,000 connections in {:?}", start.elapsed());
        until("all of them are gone", || serving.descriptors() <= descriptors + 1);
        assert_memory_returns(&serving, before);
        holder.release(held).unwrap();
        let theirs = waiting.granted();
        rival.release(theirs).unwrap();
        assert_nothing_left(&place.client());
    }
}

#[test]
fn row_21_too_many_sessions_are_refused_and_the_others_go_on() {
    let place = Place::with_limits(Way::Unix, "sessions=20 lease=1000");
    let _serving = place.start();
    let mut holder = place.peer();
    let held = holder.take("k", "");
    let clients = Vec::from_iter((0..19).map(|_| place.client()));
    for client in &clients {
        status(client).expect("there is room for them");
    }
    let late = place.told().client_within(Duration::from_millis(400)).unwrap();
    let error = status(&late).expect_err("N6: one too many");
    assert_eq!(error.kind(), locks_core::ErrorKind::LimitExceeded, "{error:?}");
    holder.refresh(held).expect("row 21: holders go on");
    drop(clients);
    until("there is room again", || status(&late).is_ok());
    holder.release(held).unwrap();
}

#[test]
fn row_21_too_many_waiters_and_keys_are_refused_and_holders_go_on() {
    let place = Place::with_limits(Way::Tcp, "waiters=3000 keys=5000 lease=8000");
    let serving = place.start();
    let [mut holder, mut crowd] = place.peers();
    let held = holder.take("k", "");
    let before = serving.memory();
    for round in 0..3 {
        let (waited, refused) = crowd.crowd(3001, "k").counted();
        let refused = refused.expect("N6: one is too many");
        assert_eq!(refused.kind, "LimitExceeded", "{refused:?}");
        assert!(waited >= 2900, "N6: refused at {waited}");
        holder.check(held).unwrap();
        holder.refresh(held).expect("row 21: holders go on");
        until("they are forgotten", || holder.status()[3] == 0);
        let keys = format!("key-{round}");
        let (taken, refused) = crowd.hoard(5000, &keys).counted();
        let refused = refused.expect("N6: one is too many");
        assert_eq!(refused.kind, "LimitExceeded", "{refused:?}");
        assert_eq!(taken, 4999);
        holder.refresh(held).expect("row 21: holders go on");
        assert_eq!(holder.status()[2], 5000);
        assert_eq!(holder.begin("another", "no-wait").refused().kind, "LimitExceeded");
        crowd.let_go();
        until("they are free", || holder.status()[2] == 1);
    }
    holder.release(held).unwrap();
    assert_nothing_left(&place.client());
    assert_memory_returns(&serving, before);
}

#[test]
fn n9_tens_of_thousands_of_keys_and_hundreds_of_holders_are_all_listed() {
    let place = Place::new(Way::Unix);
    let _serving = place.start();
    let [mut crowd, mut waiters] = place.peers();
    let (taken, refused) = crowd.hoard(20_000, "key").counted();
    assert_eq!((taken, refused.is_some()), (20_000, false));
    let backend = place.backend();
    let shared = Vec::from_iter(
        (0..200).map(|_| backend.named("shared").shared().acquire().unwrap().into_owned()),
    );
    let waiting = Vec::from_iter((0..150).map(|_| waiters.begin("shared", "")));
    until("they wait", || waiters.status()[3] == 150);
    let listed = backend.list().unwrap();
    assert_eq!(listed.len(), 20_001);
    let of_shared = listed.iter().find(|info| info.key == "shared").unwrap();
    assert_eq!((of_shared.holders.len(), of_shared.waiters.len()), (200, 150));
    drop((shared, waiting));
}
