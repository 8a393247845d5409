//! C8: how long a hold is trusted, and how its loss is told.

use std::task::Poll;
use std::time::Duration;

use locks_core::{Caller, ErrorKind, KeySet, Keys, LostCause, Options, Request, Token};

use crate::gate::Gate;
use crate::rig::{Driven, LEASE, MILLI, Rig, VALIDITY, take, until};
use crate::store::{Fault, Step};

const EXPIRED: ErrorKind = ErrorKind::Lost { cause: LostCause::Expired };

#[test]
fn f7_a_renewal_that_hangs_ends_in_lost_at_the_deadline() {
    let rig = Rig::new();
    let gate = rig.hang_renewals();
    let guard = take(&rig.ours, "k");
    let mut lost = Driven::new(guard.lost());
    assert!(lost.poll().is_pending());
    rig.clock.advance(VALIDITY - MILLI);
    guard.check().expect("the lease cannot have run out yet");
    assert!(lost.poll().is_pending());
    let wakes = lost.wakes();
    rig.clock.advance(MILLI);
    assert_eq!(guard.check().unwrap_err().kind(), EXPIRED);
    assert!(lost.wakes() > wakes, "whoever waits for the loss is told");
    assert_eq!(lost.poll(), Poll::Ready(LostCause::Expired));
    drop(lost);
    gate.open();
    assert!(guard.is_lost(), "an answer that comes too late brings nothing back");
}

#[test]
fn f6_a_store_that_blocks_the_renewing_thread_does_not_keep_the_loss_secret() {
    let rig = Rig::new();
    let gate = Gate::default();
    rig.store.fail(Step::Renew, [Fault::Block(gate.clone())]);
    let guard = take(&rig.ours, "k");
    let mut lost = Driven::new(guard.lost());
    assert!(lost.poll().is_pending());
    rig.clock.advance(LEASE / 3);
    until("the renewal blocks", || gate.is_waited_for());
    rig.clock.advance(VALIDITY - LEASE / 3);
    until("the loss is told", || lost.wakes() > 0 && lost.poll().is_ready());
    assert_eq!(guard.check().unwrap_err().kind(), EXPIRED);
    gate.open();
    drop(lost);
    drop(guard);
}

#[test]
fn f7_two_failures_cost_nothing() {
    let rig = Rig::new();
    rig.store.fail(Step::Renew, [Fault::Fail, Fault::LoseAnswer]);
    let guard = take(&rig.ours, "k");
    rig.pass(LEASE * 2);
    guard.check().expect("the third renewal got through");
    assert_eq!(rig.store.faults_left(), 0);
    guard.release().expect("it was held");
}

#[test]
fn f7_one_whose_renewals_fail_is_lost_and_no_other_of_its_batch() {
    let rig = Rig::new();
    let (bad, good) = (take(&rig.ours, "bad"), take(&rig.ours, "good"));
    rig.store.obscure("bad");
    assert_eq!(bad.refresh().unwrap_err().kind(), ErrorKind::Unavailable);
    bad.check().expect("its lease goes on");
    rig.pass(LEASE * 2);
    assert_eq!(bad.check().unwrap_err().kind(), EXPIRED);
    good.check().expect("it is renewed");
}

#[test]
fn f7_a_single_hung_renewal_leaves_time_for_the_next() {
    let rig = Rig::new();
    rig.store.fail(Step::Renew, [Fault::HoldStep(Gate::default())]);
    let guard = take(&rig.ours, "k");
    rig.pass(LEASE * 2);
    guard.check().expect("it was given up, and the next one got through");
}

#[test]
fn c8_validity_counts_from_the_sending_of_the_claim() {
    let rig = Rig::with(false, |builder| builder.connect(Duration::from_secs(60)));
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    rig.hang_renewals();
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    assert!(acquire.poll().is_pending());
    rig.clock.advance(Duration::from_secs(5));
    gate.open();
    let Poll::Ready(Ok(guard)) = acquire.poll() else { panic!("it was granted") };
    rig.clock.advance(VALIDITY - Duration::from_secs(5) - MILLI);
    guard.check().expect("the lease cannot have run out yet");
    rig.clock.advance(MILLI);
    assert_eq!(guard.check().unwrap_err().kind(), EXPIRED);
}

#[test]
fn c8_validity_counts_from_the_sending_of_the_renewal() {
    let (rig, second) = (Rig::new(), Duration::from_secs(1));
    let guard = take(&rig.ours, "k");
    let gate = Gate::default();
    rig.store.fail(Step::Renew, [Fault::HoldAnswer(gate.clone())]);
    rig.hang_renewals();
    rig.clock.advance(second);
    let mut refresh = Driven::new(guard.refresh_async());
    assert!(refresh.poll().is_pending());
    rig.clock.advance(second);
    gate.open();
    until("the answer has arrived", || refresh.poll().is_ready());
    rig.clock.advance(VALIDITY - second - MILLI);
    guard.check().expect("the lease cannot have run out yet");
    rig.clock.advance(MILLI);
    assert_eq!(guard.check().unwrap_err().kind(), EXPIRED);
}

#[test]
fn c8_a_hold_tells_its_lease_and_what_is_left_of_it() {
    let (rig, keys) = (Rig::new(), KeySet::new(["a", "b"]));
    let mut options = Options::default();
    options.hold_at_most = Some(LEASE * 5);
    let request = Request::new(Keys::all(&keys), options, Caller::blocking(None));
    let hold = rig.ours.acquire(request).block().expect("they are free").hold;
    assert_eq!(rig.ours.validity(&hold), Some((LEASE, VALIDITY)));
    rig.pass(LEASE * 2);
    rig.cut_renewals();
    let (_, left) = rig.ours.validity(&hold).expect("it is renewed");
    assert!(left > VALIDITY / 2, "{left:?}");
    rig.clock.advance(left - MILLI);
    assert_eq!(rig.ours.validity(&hold), Some((LEASE, MILLI)));
    rig.clock.advance(MILLI);
    assert_eq!(rig.ours.validity(&hold), None, "it is lost");
    assert!(rig.ours.release(hold).block().is_err());
}

/// The store counts from when it grants, which may be long before that is known here.
#[test]
fn c14_the_longest_time_counts_from_the_sending_of_the_claim() {
    let (second, most) = (Duration::from_secs(1), Duration::from_secs(3));
    for keys in [vec!["k"], vec!["k", "l"]] {
        for loses in [false, true] {
            let rig = Rig::with(false, |builder| builder.connect(Duration::from_secs(60)));
            let gate = Gate::default();
            let fault = if loses { Fault::LoseAnswer } else { Fault::HoldAnswer(gate.clone()) };
            rig.store.fail(Step::Claim, [fault]);
            let acquire = rig.ours.all(keys.clone()).hold_at_most(most);
            let mut acquire = Driven::new(acquire.acquire_async());
            assert!(acquire.poll().is_pending());
            rig.clock.advance(second * 2);
            gate.open();
            let guard = acquire.granted();
            rig.clock.advance(second - MILLI);
            guard.check().expect("it cannot be over at the store yet");
            rig.clock.advance(MILLI);
            drop(take(&rig.theirs, "k"));
            let too_long = ErrorKind::Lost { cause: LostCause::HeldTooLong };
            assert_eq!(guard.check().unwrap_err().kind(), too_long, "{keys:?} {loses}");
        }
    }
}

#[test]
fn c14_a_grant_that_is_over_before_it_is_known_is_claimed_anew() {
    let rig = Rig::with(false, |builder| builder.connect(Duration::from_secs(60)));
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    let most = Duration::from_secs(3);
    let mut acquire = Driven::new(rig.ours.named("k").hold_at_most(most).acquire_async());
    assert!(acquire.poll().is_pending());
    rig.clock.advance(most);
    gate.open();
    let guard = acquire.granted();
    assert_eq!(guard.token(), Token::new(2));
    rig.clock.advance(most - MILLI);
    guard.check().expect("it has just begun");
}

#[test]
fn c8_a_store_that_has_waiters_look_has_no_hold_renewed_for_that() {
    let rig = Rig::with(true, |builder| builder);
    let guard = take(&rig.ours, "k");
    for _ in 0..200 {
        rig.store.hint_waiters();
        rig.pass(LEASE / 200);
    }
    let renewals = rig.store.count(Step::Renew);
    assert!(renewals <= 4, "{renewals} in the time of a lease");
    guard.check().expect("it is held");
}

#[test]
fn c8_a_grant_that_comes_too_late_costs_one_renewal() {
    let rig = Rig::with(false, |builder| builder.connect(Duration::from_secs(60)));
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    assert!(acquire.poll().is_pending());
    // The validity is past, the lease is not.
    rig.clock.advance(VALIDITY + MILLI);
    gate.open();
    let Poll::Ready(Ok(guard)) = acquire.poll() else { panic!("it was granted") };
    assert_eq!(rig.store.count(Step::Renew), 1);
    assert_eq!(guard.token(), Token::new(1));
    rig.hang_renewals();
    rig.clock.advance(VALIDITY - MILLI);
    guard.check().expect("it counts from the renewal");
    rig.clock.advance(MILLI);
    assert!(guard.is_lost());
}

#[test]
fn c8_a_grant_whose_lease_ran_out_on_the_way_is_claimed_anew() {
    let rig = Rig::with(false, |builder| builder.connect(Duration::from_secs(60)));
    let gate = Gate::default();
    rig.store.fail(Step::Claim, [Fault::HoldAnswer(gate.clone())]);
    let mut acquire = Driven::new(rig.ours.named("k").acquire_async());
    assert!(acquire.poll().is_pending());
    rig.clock.advance(LEASE + MILLI);
    gate.open();
    let Poll::Ready(Ok(guard)) = acquire.poll() else { panic!("it was granted") };
    assert_eq!(guard.token(), Token::new(2));
    assert_eq!(rig.store.claimants().len(), 2, "the dead acquisition's name is not used again");
    guard.release().expect("it is held");
}

#[test]
fn f4_a_stop_for_less_than_half_a_lease_loses_nothing() {
    let rig = Rig::new();
    let guard = take(&rig.ours, "k");
    for _ in 0..5 {
        rig.clock.advance(LEASE / 2 - MILLI);
        rig.store.await_renewals();
        rig.settle();
    }
    guard.check().expect("it was renewed in time");
    assert!(rig.theirs.named("k").wait(false).acquire().unwrap_err().is_contended());
}

#[test]
fn f3_a_stop_past_the_lease_is_known_at_once_and_harms_no_successor() {
    let rig = Rig::new();
    let guard = take(&rig.ours, "k");
    rig.cut_renewals();
    rig.clock.advance(Duration::from_secs(3600));
    assert_eq!(guard.check().unwrap_err().kind(), EXPIRED);
    let successor = take(&rig.theirs, "k");
    assert!(successor.token() > guard.token());
    assert!(guard.release().unwrap_err().is_lost(), "a late release says that it was late");
    rig.pass_until("the late release has been to the store", || rig.store.count(Step::End) > 0);
    successor.check().expect("it frees nothing");
    assert!(rig.ours.named("k").wait(false).acquire().unwrap_err().is_contended());
}

#[test]
fn f5_only_the_lengths_of_time_matter_to_store_and_client() {
    let rig = Rig::apart(Duration::from_secs(3600));
    let guard = take(&rig.ours, "k");
    rig.pass(LEASE * 3);
    guard.check().expect("it was renewed all the time");
    assert!(rig.theirs.named("k").wait(false).acquire().unwrap_err().is_contended());
}

#[test]
fn f5_a_store_whose_clock_jumps_is_found_out_at_the_next_renewal() {
    let rig = Rig::apart(Duration::ZERO);
    let guard = take(&rig.ours, "k");
    rig.store_clock.advance(Duration::from_secs(3600));
    rig.pass(LEASE / 3);
    let forgotten = ErrorKind::Lost { cause: LostCause::Forgotten };
    until("the guard is lost", || guard.is_lost());
    assert_eq!(guard.check().unwrap_err().kind(), forgotten);
}

#[test]
fn f16_the_holder_knows_before_the_rival_is_granted() {
    let rig = Rig::new();
    let guard = take(&rig.ours, "k");
    let mut rival = Driven::new(rig.theirs.named("k").acquire_async());
    assert!(rival.poll().is_pending());
    rig.cut_renewals();
    let mut lost_after = None;
    for step in 1.. {
        match lost_after {
            None => rig.clock.advance(Duration::from_millis(20)),
            // Here the holder's client could still spoil it, so it gets a chance to.
            Some(_) => rig.pass(Duration::from_millis(20)),
        }
        if lost_after.is_none() && guard.is_lost() {
            lost_after = Some(step);
        }
        if let Poll::Ready(granted) = rival.poll() {
            let lost_after = lost_after.expect("the holder was lost before");
            let between = Duration::from_millis(20) * (step - lost_after);
            assert!(between >= Duration::from_millis(400), "only {between:?} before");
            assert!(granted.expect("it was granted").token() > guard.token());
            break;
        }
        assert!(step < 600, "the lease never ended");
    }
}

#[test]
fn f31_lost_data_is_a_lost_lock_at_the_next_renewal() {
    let rig = Rig::new();
    let guard = take(&rig.ours, "k");
    let mut lost = Driven::new(guard.lost());
    assert!(lost.poll().is_pending());
    rig.store.forget();
    rig.clock.advance(LEASE / 3);
    until("the loss is told", || lost.wakes() > 0 && lost.poll().is_ready());
    let forgotten = ErrorKind::Lost { cause: LostCause::Forgotten };
    assert_eq!(guard.check().unwrap_err().kind(), forgotten);
}

#[test]
fn c8_local_waiters_get_their_turn_when_a_lease_runs_out() {
    let rig = Rig::new();
    let guard = take(&rig.ours, "k");
    let mut waiter = Driven::new(rig.ours.named("k").acquire_async());
    assert!(waiter.poll().is_pending());
    rig.cut_renewals();
    rig.clock.advance(VALIDITY);
    let next = waiter.within(&rig, LEASE).expect("it is its turn");
    assert!(next.token() > guard.token() && guard.is_lost());
    next.check().expect("it is held");
}
