//! C11: several keys in one claim.

use std::task::Poll;
use std::time::Duration;

use locks_core::{ErrorKind, LostCause};

use crate::gate::Gate;
use crate::rig::{Driven, LEASE, MILLI, Rig, take, until};
use crate::store::{Fault, Step};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn c11_a_set_costs_one_claim_and_one_end() {
    let rig = Rig::new();
    let set = rig.ours.all(KEYS).wait(false).acquire().expect("all are free").into_owned();
    assert_eq!((rig.store.count(Step::Claim), rig.store.rows()), (1, 5));
    set.release().expect("it is held");
    assert_eq!((rig.store.count(Step::End), rig.store.rows()), (1, 0));
    assert_eq!(rig.store.claimants().len(), 1);
}

#[test]
fn c11_a_set_is_renewed_in_one_step_with_the_other_holds() {
    let rig = Rig::new();
    let set = rig.ours.all(KEYS).acquire().expect("all are free").into_owned();
    let other = take(&rig.ours, "k");
    let before = rig.store.count(Step::Renew);
    rig.pass(LEASE * 3);
    set.check().expect("it is held");
    other.check().expect("it is held");
    let renewals = rig.store.count(Step::Renew) - before;
    assert!((8..=10).contains(&renewals), "{renewals} steps in nine thirds of a lease");
}

#[test]
fn c11_all_or_none_and_the_error_names_the_key_in_the_way() {
    let rig = Rig::new();
    let busy = take(&rig.theirs, "c");
    let error = rig.ours.all(KEYS).wait(false).acquire().expect_err("`c` is held");
    assert_eq!((error.kind(), error.key()), (ErrorKind::Contended, "c"), "{error:?}");
    assert_eq!((error.holders().len(), rig.store.rows()), (1, 1));
    busy.release().expect("it is held");
    drop(rig.ours.all(KEYS).wait(false).acquire().expect("all are free"));
}

#[test]
fn c11_the_loss_of_one_is_the_loss_of_all_at_the_store_too() {
    let rig = Rig::with(true, |builder| builder);
    let age = Duration::from_secs(2);
    let set = rig.ours.all(KEYS).acquire().expect("all are free").into_owned();
    rig.pass(age);
    let thief = rig.theirs.named("c").steal_after(age).wait(false).acquire().expect("it is due");
    rig.pass_until("the set is lost", || set.is_lost());
    let stolen = ErrorKind::Lost { cause: LostCause::Stolen };
    assert_eq!(set.check().unwrap_err().kind(), stolen);
    rig.pass_until("the others are free", || rig.store.rows() == 1);
    thief.check().expect("it is held");
    drop(set);
    thief.check().expect("a late release frees nothing");
    for key in ["a", "b", "d", "e"] {
        drop(take(&rig.theirs, key));
    }
}

#[test]
fn c9_a_key_that_is_nested_in_outlives_the_set_around_it() {
    let rig = Rig::new();
    let set = rig.ours.all(["a", "b"]).owner(1).acquire().expect("both are free").into_owned();
    let inner = rig.ours.named("a").owner(1).reentrant().acquire().expect("it nests").into_owned();
    set.release().expect("it is held");
    rig.pass_until("the other is free", || rig.store.rows() == 1);
    inner.check().expect("it is held");
    rig.pass(LEASE * 2);
    inner.check().expect("and renewed");
    inner.release().expect("it is held");
    assert_eq!(rig.store.rows(), 0);
}

#[test]
fn c7_a_set_around_a_nested_key_has_a_token_above_that_of_the_nest() {
    let rig = Rig::new();
    let outer = rig.ours.named("a").owner(1).acquire().expect("it is free").into_owned();
    let lock = rig.ours.all(["a", "b"]).owner(1).reentrant();
    let set = lock.acquire().expect("it nests").into_owned();
    assert!(set.token() > outer.token());
    assert_eq!(rig.store.rows(), 2);
    drop(set);
    outer.check().expect("it is held");
    rig.pass_until("`b` is free", || rig.store.rows() == 1);
    let lock = rig.ours.all(["a"]).owner(1).reentrant();
    drop(lock.acquire().expect("one key is no set"));
    drop(outer);
    assert_eq!(rig.store.rows(), 0);
}

#[test]
fn f13_a_set_whose_answer_was_lost_leaves_none_of_its_keys() {
    let rig = Rig::new();
    rig.store.fail(Step::Claim, [Fault::LoseAnswer, Fault::Refuse(ErrorKind::LimitExceeded)]);
    let mut acquire = Driven::new(rig.ours.all(KEYS).acquire_async());
    acquire.within(&rig, LEASE).expect_err("it is refused");
    assert_eq!((rig.store.rows(), rig.store.count(Step::End)), (0, 1));
}

#[test]
fn f8_a_set_that_is_dropped_after_any_number_of_polls_leaves_nothing() {
    for polls in 0..8 {
        let rig = Rig::with(true, |builder| builder);
        let guard = take(&rig.theirs, "c");
        rig.store.fail(Step::Claim, [Fault::Fail, Fault::LoseAnswer]);
        let mut acquire = Driven::new(rig.ours.all(KEYS).acquire_async());
        for _ in 0..polls {
            assert!(acquire.poll().is_pending());
            rig.clock.advance(MILLI);
        }
        drop(acquire);
        assert_eq!((rig.store.rows(), rig.store.places()), (1, 0), "after {polls} polls");
        guard.release().expect("it is held");
        let mut next = Driven::new(rig.ours.all(KEYS).acquire_async());
        drop(next.within(&rig, LEASE).expect("all are free"));
        assert_eq!(rig.store.rows(), 0);
    }
}

/// A renewal of both keys is carried out when one of them has ended here.
#[test]
fn c9_a_key_outlives_the_set_around_it_beside_a_renewal() {
    for refreshes in [false, true] {
        let rig = Rig::with(false, |builder| builder.connect(LEASE));
        let set = rig.ours.all(["a", "b"]).owner(1).acquire().expect("both are free").into_owned();
        let inner =
            rig.ours.named("b").owner(1).reentrant().acquire().expect("it nests").into_owned();
        let gate = Gate::default();
        rig.store.fail(Step::Renew, [Fault::HoldStep(gate.clone())]);
        let mut refresh = Driven::new(inner.refresh_async());
        if refreshes {
            assert!(refresh.poll().is_pending());
        } else {
            rig.clock.advance(LEASE / 3);
        }
        until("the renewal waits", || gate.is_waited_for());
        set.release().expect("it is held");
        rig.pass_until("the other is free", || rig.store.rows() == 1);
        gate.open();
        if refreshes {
            until("it is answered", || match refresh.poll() {
                Poll::Ready(refreshed) => refreshed.map(|()| true).expect("it is held"),
                Poll::Pending => false,
            });
        }
        drop(refresh);
        rig.settle();
        inner.check().expect("it is held");
        rig.pass(LEASE * 2);
        inner.check().expect("and renewed");
    }
}
