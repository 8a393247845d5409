//! Stores that answer late, refuse everybody for a while, or call those whose turn it is.

use std::future::pending;
use std::task::Poll;
use std::time::Duration;

use locks_core::{
    BackendInfo, Capabilities, Claimed, ErrorKind, Exclusion, LeaseClaim, LeaseEnding, LeaseEntry,
    LeaseRenewal, LeaseStore, Leased, Op, Query, Renewed, TokenScope, Wake,
};

use crate::gate::Gate;
use crate::rig::{Driven, LEASE, MILLI, Rig, take, until};
use crate::store::{Fault, Step};

/// A1: with no time to wait it is the answer that is waited for, for as long as `connect` says.
#[test]
fn c2_no_time_to_wait_is_time_enough_for_an_answer() {
    for free in [true, false] {
        let rig = Rig::new();
        let guard = (!free).then(|| take(&rig.theirs, "k"));
        let gate = Gate::default();
        rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
        let mut acquire = Driven::new(rig.ours.named("k").wait(Duration::ZERO).acquire_async());
        assert!(acquire.poll().is_pending(), "the answer is under way");
        rig.clock.advance(MILLI * 1999);
        gate.open();
        match acquire.poll() {
            Poll::Ready(Ok(_)) => assert!(free),
            Poll::Ready(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
                assert!(!free);
            }
            Poll::Pending => panic!("there is an answer"),
        }
        drop(guard);
    }
}

#[test]
fn f43_no_time_to_wait_and_no_answer_is_unavailable() {
    let rig = Rig::new();
    rig.store.fail(Step::Claim, [Fault::HoldStep(Gate::default())]);
    let mut acquire = Driven::new(rig.ours.named("k").wait(Duration::ZERO).acquire_async());
    let error = acquire.within(&rig, Duration::from_secs(2)).expect_err("it is silent");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[test]
fn f43_a_store_that_falls_silent_is_unavailable_at_the_deadline_and_not_contended() {
    let rig = Rig::new();
    let _guard = take(&rig.theirs, "k");
    let limit = Duration::from_secs(4);
    let mut waiter = Driven::new(rig.ours.named("k").wait(limit).acquire_async());
    assert!(waiter.poll().is_pending());
    let silent = Fault::HoldStep(Gate::default());
    rig.store.fail(Step::Claim, std::iter::repeat_n(silent, 10_000));
    let error = waiter.within(&rig, limit).expect_err("it is silent");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

/// The local wait has used the time up: the store is asked all the same.
#[test]
fn c2_a_turn_that_comes_at_the_deadline_is_asked_for() {
    let rig = Rig::new();
    let limit = Duration::from_secs(1);
    let guard = take(&rig.ours, "k");
    let mut waiter = Driven::new(rig.ours.named("k").wait(limit).acquire_async());
    assert!(waiter.poll().is_pending());
    rig.pass(MILLI * 999);
    guard.release().expect("it is held");
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    assert!(waiter.poll().is_pending(), "the answer is under way");
    rig.clock.advance(MILLI * 20);
    assert!(waiter.poll().is_pending(), "nothing is known yet");
    gate.open();
    let Poll::Ready(granted) = waiter.poll() else { panic!("there is an answer") };
    drop(granted.expect("it is free"));
}

#[test]
fn f48_waiters_outlast_a_store_that_grants_nothing_yet() {
    let rig = Rig::new();
    rig.store.forget_promises(Duration::from_secs(5));
    let mut waiter = Driven::new(rig.ours.named("k").acquire_async());
    let since = rig.store.count(Step::Claim);
    drop(waiter.within(&rig, Duration::from_millis(5020)).expect("it grants again"));
    let claims = rig.store.count(Step::Claim) - since;
    assert!(claims <= 2, "it was asked {claims} times although it had said when");
}

#[test]
fn f48_who_does_not_wait_for_it_hears_until_when_it_grants_nothing() {
    let rig = Rig::new();
    let left = Duration::from_secs(5);
    rig.store.forget_promises(left);
    let lock = || rig.ours.named("k");
    for (lock, wait) in [
        (lock().wait(false), Duration::ZERO),
        (lock().wait(Duration::ZERO), Duration::ZERO),
        (lock().wait(Duration::from_secs(1)), Duration::from_secs(1)),
    ] {
        let mut acquire = Driven::new(lock.acquire_async());
        let error = acquire.within(&rig, wait).expect_err("it grants nothing");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        let until = error.until().expect("it says for how long");
        assert!(until <= left && until + wait + MILLI * 10 >= left, "{until:?}");
        assert!(error.to_string().contains("` grants nothing for another"), "{error}");
        assert!(!error.is_contended());
    }
    assert_eq!(rig.store.rows(), 0);
}

/// A3: one that has a place is called, and asks only to keep it.
#[test]
fn a3_who_is_placed_does_not_poll() {
    let rig = Rig::with(true, |builder| builder);
    let _guard = take(&rig.theirs, "k");
    let before = rig.store.count(Step::Claim);
    let mut waiter = Driven::new(rig.ours.named("k").acquire_async());
    for _ in 0..1000 {
        assert!(waiter.poll().is_pending());
        rig.pass(MILLI * 10);
    }
    let claims = rig.store.count(Step::Claim) - before;
    assert!(claims <= 12, "{claims} claims in ten seconds");
    assert_eq!(rig.store.places(), 1, "it has kept its place");
}

/// A5: it has joined before it asks, so that one claim is enough to be placed and called.
#[test]
fn a5_a_waiter_is_placed_by_one_claim() {
    let hour = Duration::from_secs(3600);
    let rig = Rig::with(true, |builder| builder.poll(hour));
    let guard = take(&rig.theirs, "k");
    let before = rig.store.count(Step::Claim);
    let mut waiter = Driven::new(rig.ours.named("k").acquire_async());
    assert!(waiter.poll().is_pending());
    assert_eq!(rig.store.count(Step::Claim) - before, 1);
    guard.release().expect("it is held");
    until("it is granted", || match waiter.poll() {
        Poll::Ready(granted) => granted.is_ok(),
        Poll::Pending => false,
    });
    assert_eq!(rig.store.count(Step::Claim) - before, 2, "a hand-over is a claim, a claim, an end");
}

/// An older local waiter goes before a younger remote one, although the remote one has the place.
#[test]
fn c3_an_older_local_waiter_goes_before_a_younger_remote_one() {
    for _ in 0..50 {
        let rig = Rig::with(true, |builder| builder);
        let guard = take(&rig.ours, "k");
        let mut older = Driven::new(rig.ours.named("k").acquire_async());
        assert!(older.poll().is_pending());
        rig.pass(MILLI);
        let mut younger = Driven::new(rig.theirs.named("k").acquire_async());
        assert!(younger.poll().is_pending());
        rig.pass(MILLI);
        guard.release().expect("it is held");
        assert!(younger.poll().is_pending(), "it has come later");
        let first = older.within(&rig, LEASE).expect("it was there first");
        assert!(younger.poll().is_pending());
        first.release().expect("it is held");
        drop(younger.within(&rig, LEASE).expect("it is its turn"));
    }
}

/// The release keeps the key for the one that has waited longest here, which has its place behind a
/// remote one, for its claim was slow: both are called all the same.
#[test]
fn c3_a_key_that_is_kept_for_one_that_is_placed_is_kept_from_nobody() {
    let hour = Duration::from_secs(3600);
    let rig = Rig::with(true, |builder| builder.poll(hour));
    let reader = rig.ours.named("k").shared().acquire().expect("it is free");
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldStep(gate.clone())]);
    let mut slow = Driven::new(rig.ours.named("k").shared().acquire_async());
    assert!(slow.poll().is_pending(), "its claim is under way");
    rig.pass(MILLI);
    let mut remote = Driven::new(rig.theirs.named("k").acquire_async());
    assert!(remote.poll().is_pending());
    rig.pass(MILLI);
    gate.open();
    assert!(slow.poll().is_pending(), "it came to the store later");
    assert_eq!(rig.store.places(), 2);
    reader.release().expect("it is held");
    assert!(slow.poll().is_pending(), "the other one has its place before it");
    for waiter in [&mut remote, &mut slow] {
        until("it is granted", || match waiter.poll() {
            Poll::Ready(granted) => granted.is_ok(),
            Poll::Pending => false,
        });
    }
}

/// A store that never says anything.
struct Silent(BackendInfo);

impl LeaseStore for Silent {
    fn about(&self) -> &BackendInfo {
        &self.0
    }

    fn claim<'a>(&'a self, _: &'a LeaseClaim) -> Op<'a, Claimed> {
        Op::later(pending())
    }

    fn renew<'a>(&'a self, _: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        Op::later(pending())
    }

    fn end<'a>(&'a self, _: &'a LeaseEnding) -> Op<'a, bool> {
        Op::later(pending())
    }

    fn list<'a>(&'a self, _: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        Op::later(pending())
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None
    }
}

#[test]
fn f43_whoever_waits_behind_a_request_that_hears_nothing_is_not_told_that_the_key_is_held() {
    let mut can = Capabilities::plain(Exclusion::Lease, TokenScope::Process);
    can.listing = true;
    let store = Leased::builder(Silent(BackendInfo::new("silent:", can)));
    let backend = store.connect(MILLI * 50).build().into_backend();
    let mut first = Driven::new(backend.named("k").acquire_async());
    assert!(first.poll().is_pending());
    for lock in [backend.named("k").wait(false), backend.named("k").wait(MILLI)] {
        let error = lock.acquire().expect_err("nobody has answered");
        assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, "k"), "{error}");
        assert!(!error.is_contended());
    }
}
