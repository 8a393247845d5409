//! Grants that are over by their own bound before they are heard of.

use std::task::Poll;
use std::time::Duration;

use locks_core::{ErrorKind, LockBuilder, LostCause};

use crate::gate::Gate;
use crate::rig::{Driven, LEASE, MILLI, Rig, take};
use crate::store::{Fault, Step};

/// The store's every answer takes longer than the hold may last.
#[test]
fn c8_a_bound_shorter_than_the_way_is_claimed_three_times_and_handed_out_as_lost() {
    let wait = |limit| move |lock: LockBuilder<'static>| lock.wait(limit);
    let waits: [&dyn Fn(LockBuilder<'static>) -> LockBuilder<'static>; 4] = [
        &|lock| lock,
        &|lock| lock.wait(false),
        &wait(Duration::ZERO),
        &wait(Duration::from_millis(5)),
    ];
    for (waits, keys) in waits.iter().flat_map(|waits| [(waits, 1), (waits, 2)]) {
        let rig = Rig::new();
        let gates = [(); 3].map(|()| Gate::default());
        rig.store.fail(Step::Claim, gates.clone().map(Fault::HoldAnswer));
        let lock = waits(rig.ours.all(["a", "b"].into_iter().take(keys))).hold_at_most(MILLI);
        let mut acquire = Driven::new(lock.acquire_async());
        assert!(acquire.poll().is_pending());
        let mut outcome = Poll::Pending;
        for gate in gates {
            assert!(outcome.is_pending());
            rig.clock.advance(MILLI * 3);
            gate.open();
            outcome = acquire.poll();
        }
        let Poll::Ready(Ok(guard)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((rig.store.count(Step::Claim), rig.store.claimants().len()), (3, 3));
        let lost = guard.check().expect_err("it was over when it was granted");
        assert_eq!(lost.kind(), ErrorKind::Lost { cause: LostCause::HeldTooLong });
        assert_eq!(rig.store.rows(), 0);
        drop(take(&rig.theirs, "a"));
    }
}

/// A process that was stopped for as long as the hold may last, once.
#[test]
fn c8_a_grant_that_its_bound_ended_on_its_way_is_asked_for_again() {
    let rig = Rig::new();
    let gates = [(); 2].map(|()| Gate::default());
    rig.store.fail(Step::Claim, gates.clone().map(Fault::HoldAnswer));
    let most = Duration::from_secs(1);
    let mut acquire = Driven::new(rig.ours.named("k").hold_at_most(most).acquire_async());
    assert!(acquire.poll().is_pending());
    rig.clock.advance(most);
    gates[0].open();
    assert!(acquire.poll().is_pending());
    // It has answered: its silence counts from then on.
    rig.clock.advance(Duration::from_secs(2) - MILLI);
    assert!(acquire.poll().is_pending());
    rig.clock.advance(MILLI);
    let Poll::Ready(Err(error)) = acquire.poll() else { panic!("it is silent") };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    gates[1].open();
    let lock = rig.ours.named("k").hold_at_most(most);
    let guard = Driven::new(lock.acquire_async()).within(&rig, LEASE).expect("it is free");
    guard.check().expect("it has just been granted");
}
