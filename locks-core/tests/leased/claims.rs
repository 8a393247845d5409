//! How claims, withdrawals and releases get through when the store does not answer.

use std::task::Poll;
use std::time::Duration;

use locks_core::{ErrorKind, LostCause, Token};

use crate::gate::Gate;
use crate::rig::{Driven, LEASE, MILLI, Rig, VALIDITY, take, until};
use crate::store::{Fault, Step};

#[test]
fn f13_a_claim_whose_answer_was_lost_is_repeated_and_granted_once() {
    let rig = Rig::new();
    rig.store.fail(Step::Claim, [Fault::LoseAnswer]);
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    let guard = acquire.within(&rig, LEASE).expect("it is free");
    assert_eq!(guard.token(), Token::new(1));
    assert_eq!((rig.store.count(Step::Claim), rig.store.claimants().len()), (2, 1));
    assert_eq!(rig.store.rows(), 1);
    guard.release().expect("it is held");
    assert_eq!(rig.store.rows(), 0);
}

#[test]
fn c8_validity_of_a_repeated_claim_counts_from_the_first() {
    let rig = Rig::new();
    rig.hang_renewals();
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::LoseAnswer, Fault::HoldAnswer(gate.clone())]);
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    assert!(acquire.poll().is_pending());
    rig.clock.advance(Duration::from_millis(1500));
    assert!(acquire.poll().is_pending());
    gate.open();
    let Poll::Ready(Ok(guard)) = acquire.poll() else { panic!("it was granted") };
    rig.clock.advance(VALIDITY - Duration::from_millis(1500));
    assert!(guard.is_lost(), "the first claim began the lease");
}

#[test]
fn f13_a_release_repeated_after_the_hand_over_does_nothing() {
    let rig = Rig::new();
    let guard = take(&rig.ours, "k");
    rig.store.fail(Step::End, [Fault::LoseAnswer]);
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Unavailable);
    let successor = take(&rig.theirs, "k");
    rig.pass_until("the release has been repeated", || rig.store.count(Step::End) == 2);
    successor.check().expect("it is held");
    assert_eq!(rig.store.rows(), 1);
}

#[test]
fn f11_a_release_that_fails_says_so_and_is_made_good() {
    let rig = Rig::new();
    let guard = take(&rig.ours, "k");
    rig.store.fail(Step::End, [Fault::Fail, Fault::Fail]);
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(rig.store.rows(), 1);
    rig.pass_until("the hold is ended", || rig.store.rows() == 0);
}

#[test]
fn f8_a_claim_that_is_dropped_unanswered_leaves_nothing() {
    let rig = Rig::new();
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    assert!(acquire.poll().is_pending());
    assert_eq!(rig.store.rows(), 1);
    drop(acquire);
    assert_eq!(rig.store.rows(), 0);
    drop(take(&rig.theirs, "k"));
    gate.open();
}

#[test]
fn f8_a_claim_that_reaches_the_store_after_its_withdrawal_is_ended_again() {
    let rig = Rig::new();
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldStep(gate.clone())]);
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    assert!(acquire.poll().is_pending());
    drop(acquire);
    assert_eq!((rig.store.count(Step::Claim), rig.store.count(Step::End)), (0, 1));
    gate.open();
    until("the late claim is ended", || rig.store.count(Step::End) == 2);
    assert_eq!((rig.store.count(Step::Claim), rig.store.rows()), (1, 0));
}

#[test]
fn f8_dropped_after_any_number_of_polls_it_leaves_nothing() {
    for polls in 0..8 {
        let rig = Rig::new();
        let guard = take(&rig.theirs, "k");
        rig.store.fail(Step::Claim, [Fault::Fail, Fault::LoseAnswer]);
        let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
        for _ in 0..polls {
            assert!(acquire.poll().is_pending());
            rig.clock.advance(MILLI);
        }
        drop(acquire);
        assert_eq!(rig.store.rows(), 1, "the holder's, after {polls} polls");
        guard.release().expect("it is held");
        let mut next = Driven::new(rig.ours.named("k").acquire_async());
        drop(next.within(&rig, LEASE).expect("it is free"));
        assert_eq!(rig.store.rows(), 0);
        assert!(rig.ours.list().expect("it lists").is_empty());
    }
}

#[test]
fn f9_a_claim_that_times_out_unanswered_leaves_nothing() {
    let rig = Rig::new();
    let guard = take(&rig.theirs, "k");
    let gate = Gate::default();
    let mut acquire = Driven::new(rig.ours.named("k").wait(Duration::from_secs(1)).acquire_async());
    assert!(acquire.poll().is_pending());
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    guard.release().expect("it is held");
    rig.clock.advance(Duration::from_millis(100));
    assert!(acquire.poll().is_pending());
    assert_eq!(rig.store.rows(), 1, "it is granted, and the answer is under way");
    rig.clock.advance(Duration::from_millis(900));
    let Poll::Ready(Err(error)) = acquire.poll() else { panic!("its time is up") };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(rig.store.rows(), 0);
    gate.open();
}

#[test]
fn c2_a_silent_store_is_unavailable_in_bounded_time() {
    for (wait, limit) in [
        (None, Duration::from_secs(2)),
        (Some(Duration::from_millis(700)), Duration::from_millis(700)),
    ] {
        let rig = Rig::new();
        rig.store.fail(Step::Claim, [Fault::HoldStep(Gate::default())]);
        let lock = rig.ours.named("k");
        let lock = match wait {
            Some(limit) => lock.wait(limit),
            None => lock.wait(false),
        };
        let mut acquire = Driven::new(lock.acquire_async());
        assert!(acquire.poll().is_pending());
        rig.clock.advance(limit - MILLI);
        assert!(acquire.poll().is_pending());
        rig.clock.advance(MILLI);
        let Poll::Ready(Err(error)) = acquire.poll() else { panic!("it is silent") };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.to_string().contains("memory-store:"), "{error}");
    }
}

#[test]
fn f16_a_waiter_cut_off_gives_up_at_its_deadline_and_is_forgotten() {
    let rig = Rig::new();
    let _guard = take(&rig.theirs, "k");
    let limit = Duration::from_secs(3);
    let mut waiter = Driven::new(rig.ours.named("k").wait(limit).acquire_async());
    assert!(waiter.poll().is_pending());
    rig.store.fail(Step::Claim, std::iter::repeat_n(Fault::Fail, 10_000));
    let error = waiter.within(&rig, limit).expect_err("it is held");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "F43: the store has been silent: {error:?}");
    assert_eq!(rig.store.rows(), 1);
}

#[test]
fn hints_wake_and_grant_nothing_by_themselves() {
    let hour = Duration::from_secs(3600);
    let rig = Rig::with(true, |builder| builder.poll(hour));
    let guard = take(&rig.theirs, "k");
    let mut waiter = Driven::new(rig.ours.named("k").acquire_async());
    assert!(waiter.poll().is_pending());
    until("a false hint has woken it", || {
        rig.store.hint("k");
        waiter.wakes() > 0
    });
    assert!(waiter.poll().is_pending(), "it is held");
    guard.release().expect("it is held");
    // No time passes: only the hint can tell.
    until("it is granted", || match waiter.poll() {
        Poll::Ready(granted) => granted.is_ok(),
        Poll::Pending => false,
    });
}

#[test]
fn c6_the_victim_of_another_client_hears_of_it_and_harms_nobody() {
    let rig = Rig::with(true, |builder| builder);
    let age = Duration::from_secs(2);
    let guard = take(&rig.ours, "k");
    rig.pass(age - MILLI);
    guard.refresh().expect("it is held");
    rig.pass(age - MILLI);
    let steal = || rig.theirs.named("k").steal_after(age).wait(false).acquire();
    assert!(steal().unwrap_err().is_contended(), "a refreshed hold is young");
    rig.pass(MILLI);
    let thief = steal().expect("it is due");
    until("the victim is told", || guard.is_lost());
    let stolen = ErrorKind::Lost { cause: LostCause::Stolen };
    assert_eq!(guard.check().unwrap_err().kind(), stolen);
    assert!(guard.release().unwrap_err().is_lost());
    thief.check().expect("a late release frees nothing");
    assert_eq!(rig.store.rows(), 1);
}

#[test]
fn c6_a_grant_that_was_stolen_on_its_way_is_lost_and_the_thiefs_is_not() {
    let rig = Rig::new();
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    let mut robbed = Driven::new(rig.ours.named("k").acquire_async());
    assert!(robbed.poll().is_pending());
    rig.pass(MILLI * 2);
    let thief = rig.ours.named("k").steal_after(MILLI).wait(false).acquire().expect("it is due");
    gate.open();
    let Poll::Ready(Ok(robbed)) = robbed.poll() else { panic!("it was granted") };
    assert!(robbed.token() < thief.token());
    let stolen = ErrorKind::Lost { cause: LostCause::Stolen };
    assert_eq!(robbed.check().unwrap_err().kind(), stolen);
    drop(robbed);
    thief.check().expect("it came later, though its answer came first");
    assert!(rig.theirs.named("k").wait(false).acquire().unwrap_err().is_contended());
}

#[test]
fn waiters_look_again_when_something_is_due_and_not_only_in_their_own_time() {
    let hour = Duration::from_secs(3600);
    let rig = Rig::with(false, |builder| builder.poll(hour));
    let _guard = take(&rig.theirs, "k");
    // By now the pauses are long: some seconds.
    let mut thief = Driven::new(rig.ours.named("k").steal_after(LEASE * 6).acquire_async());
    for _ in 0..599 {
        assert!(thief.poll().is_pending());
        rig.pass(Duration::from_millis(100));
    }
    assert!(thief.poll().is_pending());
    drop(thief.within(&rig, Duration::from_millis(110)).expect("it is due"));
}

#[test]
fn no_hint_is_missed_between_the_refusal_and_the_wait() {
    let hour = Duration::from_secs(3600);
    let rig = Rig::with(true, |builder| builder.poll(hour));
    let guard = take(&rig.theirs, "k");
    let _listens = take(&rig.ours, "other");
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    let mut waiter = Driven::new(rig.ours.named("k").acquire_async());
    assert!(waiter.poll().is_pending());
    guard.release().expect("it is held");
    // Hints come in order: once this one has been followed, the one of the release is gone.
    let renewed = rig.store.count(Step::Renew);
    rig.store.hint("other");
    until("the hints are read", || rig.store.count(Step::Renew) > renewed);
    gate.open();
    let Poll::Ready(granted) = waiter.poll() else { panic!("the refusal was stale") };
    drop(granted.expect("it is free"));
}

#[test]
fn c14_a_reservation_binds_other_clients() {
    let rig = Rig::new();
    let least = Duration::from_secs(60);
    let lock = rig.ours.named("k").hold_at_least(least);
    lock.acquire().expect("it is free").release().expect("it is held");
    let error = rig.theirs.named("k").wait(false).acquire().unwrap_err();
    assert!(error.is_contended() && error.to_string().contains("reserved"), "{error}");
    let thief = rig.theirs.named("k").wait(false).steal_after(MILLI);
    rig.pass(least - MILLI);
    assert!(thief.clone().acquire().unwrap_err().is_contended());
    rig.pass(MILLI);
    drop(thief.acquire().expect("its time is over"));
}

#[test]
fn c6_nothing_is_stolen_before_its_hold_at_least_ends_by_whomever() {
    let rig = Rig::new();
    let least = Duration::from_secs(60);
    let guard = rig.ours.named("k").hold_at_least(least).acquire().expect("it is free");
    rig.pass(least - MILLI);
    for client in [&rig.ours, &rig.theirs] {
        let thief = client.named("k").steal_after(MILLI).wait(false);
        assert!(thief.acquire().unwrap_err().is_contended());
        guard.check().expect("it is protected");
    }
    rig.pass(MILLI);
    let thief = rig.ours.named("k").steal_after(MILLI).wait(false).acquire();
    thief.expect("it is due").check().expect("it is held");
    assert!(guard.is_lost());
}

#[test]
fn leases_out_of_range_are_refused_before_the_store_is_asked() {
    let rig = Rig::new();
    for lease in [Duration::from_millis(299), Duration::from_secs(86_401)] {
        let error = rig.ours.named("k").lease(lease).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    }
    assert_eq!(rig.store.count(Step::Claim), 0);
}

#[test]
fn c1_a_request_in_the_queue_does_not_make_a_shared_hold_exclusive_here_alone() {
    for queue in [false, true] {
        let rig = Rig::new();
        let (gate, lock) = (Gate::default(), || rig.ours.named("k").owner(7));
        let before = queue.then(|| take(&rig.ours, "k"));
        rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
        let mut reader = Driven::new(lock().shared().acquire_async());
        assert!(reader.poll().is_pending());
        // The reader has been granted nothing yet.
        let mut writer = Driven::new(lock().reentrant().acquire_async());
        let mut outcome = writer.poll();
        drop(before);
        gate.open();
        let read = reader.granted();
        if outcome.is_pending() {
            outcome = writer.poll();
        }
        let theirs = rig.theirs.named("k").shared().wait(false).acquire();
        assert!(theirs.is_ok(), "{theirs:?}");
        if let Poll::Ready(outcome) = outcome {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unsupported);
        }
        drop(read);
    }
}

/// It need not wait for what the store has not granted yet.
#[test]
fn c9_a_request_nests_in_the_hold_that_lets_it_in() {
    let rig = Rig::new();
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    let lock = || rig.ours.named("k").owner(7).shared();
    let mut slow = Driven::new(lock().acquire_async());
    assert!(slow.poll().is_pending());
    let own = lock().acquire().expect("it shares");
    let claims = rig.store.count(Step::Claim);
    let nested = lock().reentrant().wait(false).acquire().expect("it holds the key");
    assert_eq!((nested.token(), rig.store.count(Step::Claim)), (own.token(), claims));
    gate.open();
    until("the slow one has it", || slow.poll().is_ready());
}
