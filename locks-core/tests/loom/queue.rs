//! Taking turns, handing on and giving up.

use std::task::{Context, Waker};

use locks_core::{ErrorKind, OwnerId};
use loom::future::block_on;
use loom::thread;

use super::{Bench, about_to_be_handed_on, begin_and_cancel, explore, spawn};

#[test]
fn c1_two_threads_take_turns() {
    explore(3, || {
        let bench = Bench::new();
        let other = spawn(&bench, |bench| bench.visit(0, bench.named("k")));
        bench.visit(0, bench.named("k"));
        other.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c1_the_fast_path_while_a_contender_freezes_and_thaws() {
    explore(1, || {
        let bench = Bench::new();
        let contender = spawn(&bench, |bench| match bench.named("k").wait(false).acquire() {
            Ok(guard) => bench.write(0, &guard.into_owned()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Contended),
        });
        let other = spawn(&bench, |bench| bench.visit(0, bench.named("k")));
        bench.visit(0, bench.named("k"));
        contender.join().unwrap();
        other.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c3_a_waiter_that_queues_during_a_release_is_woken() {
    explore(3, || {
        let bench = Bench::new();
        let held = block_on(bench.named("k").acquire_async()).unwrap();
        bench.write(0, &held);
        let waiter = spawn(&bench, |bench| bench.visit(0, bench.named("k")));
        drop(held);
        waiter.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c3_blocking_threads_park_and_are_woken() {
    explore(2, || {
        let bench = Bench::new();
        let visit = |bench: &Bench, owner: u64| {
            let guard = bench.named("k").owner(OwnerId::from(owner)).acquire().unwrap();
            bench.write(0, &guard.into_owned());
        };
        let other = spawn(&bench, move |bench| visit(bench, 1));
        visit(&bench, 2);
        other.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c5_a_waiter_that_gives_up_passes_its_turn_on() {
    explore(1, || {
        let bench = Bench::new();
        let held = block_on(bench.named("k").acquire_async()).unwrap();
        let fickle = spawn(&bench, |bench| begin_and_cancel(bench.named("k")));
        let waiter = spawn(&bench, |bench| bench.visit(0, bench.named("k")));
        bench.write(0, &held);
        drop(held);
        fickle.join().unwrap();
        waiter.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c5_a_grant_that_races_its_cancellation_is_passed_on() {
    explore(2, || {
        let bench = Bench::new();
        let held = block_on(bench.named("k").fair(true).acquire_async()).unwrap();
        let mut fickle = Box::pin(bench.backend.named("k").fair(true).acquire_async());
        assert!(fickle.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let waiter = spawn(&bench, |bench| bench.visit(0, bench.named("k").fair(true)));
        let cancel = thread::spawn(move || drop(fickle));
        bench.write(0, &held);
        drop(held);
        cancel.join().unwrap();
        waiter.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c3_a_plain_hold_is_handed_on_while_others_queue() {
    explore(1, || {
        let bench = Bench::new();
        let (held, first) = about_to_be_handed_on(&bench);
        let next = spawn(&bench, |bench| bench.visit(0, bench.named("k")));
        let first = spawn(&bench, |bench| {
            let guard = block_on(first).unwrap();
            bench.write(0, &guard);
            guard.release().unwrap();
        });
        drop(held);
        first.join().unwrap();
        next.join().unwrap();
        bench.assert_idle();
    });
}

/// As above, at a slot that a call site keeps for ever: its waiters need no pin.
#[test]
fn c3_a_kept_slot_is_handed_on_while_others_queue() {
    explore(1, || {
        let bench = Bench::new();
        assert!(bench.engine.keep("k"));
        let (held, first) = about_to_be_handed_on(&bench);
        let next = spawn(&bench, |bench| bench.visit(0, bench.named("k")));
        let first = spawn(&bench, |bench| {
            let guard = block_on(first).unwrap();
            bench.write(0, &guard);
            guard.release().unwrap();
        });
        drop(held);
        first.join().unwrap();
        next.join().unwrap();
        assert_eq!((bench.engine.live_keys(), bench.engine.known_keys()), (0, 1));
    });
}

/// Waiters who let others barge come, find the key held or free, and go, and the slot stays as it
/// is.
#[test]
fn c3_at_a_kept_slot_the_last_of_those_who_wait_leaves_nothing_behind() {
    explore(1, || {
        let bench = Bench::new();
        assert!(bench.engine.keep("k"));
        let held = block_on(bench.named("k").acquire_async()).unwrap();
        bench.write(0, &held);
        let cancel = spawn(&bench, |bench| begin_and_cancel(bench.named("k")));
        let waiter = spawn(&bench, |bench| bench.visit(0, bench.named("k")));
        drop(held);
        bench.visit(0, bench.named("k"));
        waiter.join().unwrap();
        cancel.join().unwrap();
        bench.visit(0, bench.named("k"));
        assert_eq!((bench.engine.live_keys(), bench.engine.known_keys()), (0, 1));
    });
}

#[test]
fn c5_a_hold_that_is_handed_on_to_one_who_gives_up_goes_further() {
    explore(1, || {
        let bench = Bench::new();
        let (held, first) = about_to_be_handed_on(&bench);
        let next = spawn(&bench, |bench| bench.visit(0, bench.named("k")));
        let cancel = thread::spawn(move || drop(first));
        drop(held);
        cancel.join().unwrap();
        next.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c3_adjacent_shared_waiters_are_granted_together() {
    explore(2, || {
        let bench = Bench::new();
        let held = block_on(bench.named("k").acquire_async()).unwrap();
        let reader = |bench: &Bench| {
            let guard = block_on(bench.named("k").shared().acquire_async()).unwrap();
            bench.read(0);
            drop(guard);
        };
        let one = spawn(&bench, reader);
        let two = spawn(&bench, reader);
        bench.write(0, &held);
        drop(held);
        one.join().unwrap();
        two.join().unwrap();
        bench.assert_idle();
    });
}
