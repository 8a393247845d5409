//! What may be left behind at the store, and panics of the store and of wakers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use locks_core::ErrorKind;

use crate::gate::Gate;
use crate::rig::{Driven, LEASE, MILLI, Rig, take, until};
use crate::store::{Fault, Step};

#[test]
fn f13_a_claim_whose_answer_was_lost_is_ended_when_the_next_is_refused() {
    let rig = Rig::new();
    rig.store.fail(Step::Claim, [Fault::LoseAnswer, Fault::Refuse(ErrorKind::LimitExceeded)]);
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    let error = acquire.within(&rig, LEASE).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
    assert_eq!(rig.store.rows(), 0, "the store keeps what nobody holds");
    drop(take(&rig.theirs, "k"));
}

#[test]
fn f13_the_end_of_an_uncertain_claim_is_repeated_until_it_is_confirmed() {
    let rig = Rig::new();
    rig.store.fail(Step::Claim, [Fault::LoseAnswer, Fault::Refuse(ErrorKind::LimitExceeded)]);
    let limited = Fault::Refuse(ErrorKind::LimitExceeded);
    rig.store.fail(Step::End, [Fault::Fail, limited, Fault::Panic]);
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    acquire.within(&rig, LEASE).expect_err("it is refused");
    assert_eq!(rig.store.rows(), 1);
    rig.pass_until("the hold is ended", || rig.store.rows() == 0);
}

/// The store carries the first claim out after it has refused the second one.
#[test]
fn f13_a_claim_that_is_carried_out_late_is_ended_when_the_request_gives_up() {
    let rig = Rig::new();
    let guard = take(&rig.theirs, "k");
    let limit = Duration::from_secs(1);
    rig.store.fail(Step::Claim, [Fault::Late]);
    let mut waiter = Driven::new(rig.ours.named("k").wait(limit).acquire_async());
    assert!(waiter.poll().is_pending());
    rig.pass(MILLI * 100);
    assert!(waiter.poll().is_pending());
    assert!(rig.store.count(Step::Claim) > 1, "it has been refused");
    let error = waiter.within(&rig, limit).expect_err("it is held");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!(rig.store.count(Step::End), 1, "what came of the first claim is not known");
    guard.release().expect("it is held");
}

#[test]
fn c5_a_waiter_that_gives_up_leaves_no_place() {
    for cancelled in [true, false] {
        let rig = Rig::with(true, |builder| builder);
        let guard = take(&rig.theirs, "k");
        let limit = Duration::from_secs(1);
        let mut waiter = Driven::new(rig.ours.named("k").wait(limit).acquire_async());
        assert!(waiter.poll().is_pending());
        assert_eq!(rig.store.places(), 1);
        if cancelled {
            drop(waiter);
        } else {
            waiter.within(&rig, limit).expect_err("it is held");
        }
        assert_eq!(rig.store.places(), 0);
        guard.release().expect("it is held");
    }
}

#[test]
fn a_certain_refusal_costs_no_end() {
    let rig = Rig::new();
    let _guard = take(&rig.theirs, "k");
    rig.ours.named("k").wait(false).acquire().expect_err("it is held");
    assert_eq!(rig.store.count(Step::End), 0, "there is nothing to end");
}

#[test]
fn f45_a_store_that_panics_has_not_answered() {
    let rig = Rig::new();
    rig.store.fail(Step::Claim, [Fault::Panic]);
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    let guard = acquire.within(&rig, LEASE).expect("it was granted, and asked again");
    rig.store.fail(Step::Renew, [Fault::Panic]);
    let error = guard.refresh().expect_err("it panics");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("the store panics, as ordered"), "{error}");
    guard.refresh().expect("it is held");
    rig.store.fail(Step::Renew, [Fault::Panic]);
    rig.pass(LEASE * 2);
    guard.check().expect("the renewals go on");
}

#[test]
fn f45_a_store_that_panics_at_an_end_keeps_no_waiter_and_no_hold() {
    let rig = Rig::new();
    let guard = take(&rig.ours, "k");
    let mut waiter = Driven::new(rig.ours.named("k").acquire_async());
    assert!(waiter.poll().is_pending());
    rig.store.fail(Step::End, [Fault::Panic]);
    drop(guard);
    let next = waiter.within(&rig, LEASE).expect("it is its turn");
    rig.pass_until("the first end is repeated", || rig.store.count(Step::End) == 2);
    rig.store.fail(Step::End, [Fault::Panic]);
    assert_eq!(next.release().unwrap_err().kind(), ErrorKind::Unavailable);
    rig.pass_until("the hold is ended", || rig.store.rows() == 0);
}

/// A waker that panics when it is woken.
struct Bad;

impl Wake for Bad {
    fn wake(self: Arc<Self>) {
        panic!("a waker panics, as ordered");
    }
}

#[test]
fn f45_a_waker_that_panics_costs_no_other_its_hint() {
    let hour = Duration::from_secs(3600);
    let rig = Rig::with(true, |builder| builder.poll(hour));
    let guards = [take(&rig.theirs, "a"), take(&rig.theirs, "b")];
    let mut bad = Box::pin(rig.ours.named("a").acquire_async());
    let waker = Waker::from(Arc::new(Bad));
    assert!(bad.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut good = Driven::new(rig.ours.named("b").acquire_async());
    assert!(good.poll().is_pending());
    for guard in guards {
        guard.release().expect("it is held");
    }
    until("the other is granted", || match good.poll() {
        Poll::Ready(granted) => granted.is_ok(),
        Poll::Pending => false,
    });
    let noop = &mut Context::from_waker(Waker::noop());
    assert!(bad.as_mut().poll(noop).is_ready(), "it was free when it was woken");
}

/// An executor that runs its task wherever that is woken.
struct Inline(AtomicBool, locks_core::Backend);

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        // The key's own lock, which must not be held while this runs.
        drop(self.1.list());
        drop(self.1.named("k").wait(false).acquire());
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn f45_watchers_of_an_expired_hold_are_woken_with_no_lock_held() {
    let rig = Rig::new();
    let gate = rig.hang_renewals();
    let guard = take(&rig.ours, "k");
    let woken = Arc::new(Inline(AtomicBool::new(false), rig.ours.clone()));
    let waker = Waker::from(woken.clone());
    {
        let mut lost = Box::pin(guard.lost());
        assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        rig.clock.advance(LEASE);
        until("the watcher is woken", || woken.0.load(Ordering::SeqCst));
        assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
    assert!(guard.release().unwrap_err().is_lost());
    gate.open();
}

#[test]
fn f13_an_end_is_repeated_after_a_claim_that_it_has_overtaken() {
    let rig = Rig::new();
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldStep(gate.clone())]);
    let limit = MILLI * 500;
    let mut acquire = Driven::new(rig.ours.named("k").wait(limit).acquire_async());
    let error = acquire.within(&rig, limit).expect_err("the store is silent");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    gate.open();
    until("the late claim is ended", || rig.store.count(Step::End) == 2);
    assert_eq!(rig.store.rows(), 0);
}

/// A waker that panics, without a word from the hook.
fn spiteful() -> Waker {
    struct Spite;
    impl Wake for Spite {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
    Waker::from(Arc::new(Spite))
}

#[test]
fn f45_a_grant_that_is_taken_in_while_a_waker_panics_is_not_renewed_for_ever() {
    let rig = Rig::new();
    let (first, second) = (Gate::default(), Gate::default());
    let held = [Fault::HoldAnswer(first.clone()), Fault::HoldAnswer(second.clone())];
    rig.store.fail(Step::Claim, held);
    let mut victim = Driven::new(rig.ours.named("k").acquire_async());
    assert!(victim.poll().is_pending());
    rig.clock.advance(MILLI);
    let thief = rig.ours.named("k").steal_after(Duration::ZERO);
    let mut thief = Driven::new(thief.acquire_async());
    assert!(thief.poll().is_pending());
    first.open();
    let guard = victim.granted();
    let mut lost = Box::pin(guard.lost());
    assert!(lost.as_mut().poll(&mut Context::from_waker(&spiteful())).is_pending());
    second.open();
    let stolen = thief.granted();
    drop((stolen, thief, lost));
    drop(guard);
    rig.pass_until("nothing is left at the store", || rig.store.rows() == 0);
}

#[test]
fn f45_an_end_that_failed_is_repeated_although_a_waker_panics() {
    let rig = Rig::with(true, |builder| builder.poll(Duration::from_secs(3600)));
    let reader = rig.ours.named("k").shared().acquire().expect("free").into_owned();
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldStep(gate.clone())]);
    let mut slow = Box::pin(rig.ours.named("k").shared().acquire_async());
    assert!(slow.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    rig.pass(MILLI);
    let mut remote = Driven::new(rig.theirs.named("k").acquire_async());
    assert!(remote.poll().is_pending());
    rig.pass(MILLI);
    gate.open();
    assert!(slow.as_mut().poll(&mut Context::from_waker(&spiteful())).is_pending());
    assert_eq!(rig.store.places(), 2);
    rig.store.fail(Step::End, [Fault::Fail]);
    let _ = reader.release();
    drop(slow);
    rig.pass_until("the reader's hold is ended", || rig.store.rows() == 0);
    drop(remote);
}

#[test]
fn c3_a_key_that_is_kept_for_one_who_gives_up_goes_to_the_next_within_a_moment() {
    let rig = Rig::with(true, |builder| builder.poll(Duration::from_secs(3600)));
    let guard = take(&rig.ours, "k");
    let mut older = Driven::new(rig.ours.named("k").acquire_async());
    assert!(older.poll().is_pending());
    rig.pass(MILLI);
    let mut younger = Driven::new(rig.theirs.named("k").acquire_async());
    assert!(younger.poll().is_pending());
    rig.pass(MILLI);
    guard.release().expect("it is held");
    // It has been granted the key here, and has not claimed it.
    drop(older);
    rig.pass(MILLI * 300);
    until("the next one has it", || younger.poll().is_ready());
}

#[test]
fn c2_limits_of_any_length_are_taken() {
    let rig = Rig::with(true, |builder| builder.connect(Duration::MAX).poll(Duration::MAX));
    let guard = take(&rig.ours, "k");
    let limit = rig.theirs.named("k").wait(Duration::MAX);
    let mut waiter = Driven::new(limit.acquire_async());
    assert!(waiter.poll().is_pending());
    drop(guard);
    drop(waiter.within(&rig, LEASE).expect("it is free"));
}
