//! Steals, and losses before a hold was taken.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use locks_core::{ErrorKind, LostCause, Token};
use loom::future::block_on;
use loom::thread;

use super::{AGE, Bench, about_to_be_handed_on, begin_and_cancel, explore, spawn};

/// The record that a state writes is not left behind by a holder who lets go meanwhile (I4, I5 of
/// the slot): that is looked at whenever the key is taken. It is written late where a fair waiter
/// is in the way until it gives up.
#[test]
fn c6_a_record_is_not_left_behind_for_the_next_holder() {
    explore(3, || {
        let bench = Bench::new();
        assert!(bench.engine.keep("k"));
        let held = block_on(bench.named("k").acquire_async()).unwrap();
        let wait = || {
            let mut wait = Box::pin(bench.backend.named("k").fair(true).acquire_async());
            assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            wait
        };
        let (first, second) = (wait(), wait());
        drop(held);
        let cancel = thread::spawn(move || drop(second));
        let guard = block_on(first).unwrap();
        bench.write(0, &guard);
        guard.release().unwrap();
        cancel.join().unwrap();
        bench.visit(0, bench.named("k"));
        assert_eq!(bench.engine.live_keys(), 0);
    });
}

#[test]
fn c8_a_hold_that_is_lost_before_it_was_taken_is_asked_for_again() {
    explore(1, || {
        let bench = Bench::new();
        let (held, first) = about_to_be_handed_on(&bench);
        let next = Token::new(held.token().get() + 1);
        let evictor = spawn(&bench, move |bench| {
            block_on(bench.backend.evict("k", next)).unwrap();
        });
        let first = spawn(&bench, |bench| {
            let guard = block_on(first).unwrap();
            // It is lost only if it was taken first.
            if !guard.is_lost() {
                bench.write(0, &guard);
            }
            let _ = guard.release();
        });
        drop(held);
        first.join().unwrap();
        evictor.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c6_a_thief_against_the_release_of_its_victim_and_a_waiter() {
    explore(1, || {
        let bench = Bench::new();
        let victim = block_on(bench.named("k").acquire_async()).unwrap();
        bench.clock.advance(AGE);
        let thief = spawn(&bench, |bench| bench.visit(0, bench.named("k").steal_after(AGE)));
        let waiter = spawn(&bench, |bench| {
            let guard = block_on(bench.named("k").acquire_async()).unwrap();
            bench.write(0, &guard);
            // Nobody robs it for its predecessor's age.
            guard.release().unwrap();
        });
        if let Err(error) = victim.release() {
            assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen });
        }
        thief.join().unwrap();
        waiter.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c6_two_thieves_rob_one_victim_once() {
    explore(2, || {
        let bench = Bench::new();
        let victim = block_on(bench.named("k").acquire_async()).unwrap();
        bench.clock.advance(AGE);
        let thief = |bench: &Bench| match block_on(
            bench.named("k").wait(false).steal_after(AGE).acquire_async(),
        ) {
            Ok(guard) => {
                bench.write(0, &guard);
                guard.release().unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Contended),
        };
        let one = spawn(&bench, thief);
        let two = spawn(&bench, thief);
        one.join().unwrap();
        two.join().unwrap();
        assert!(victim.is_lost());
        drop(victim);
        bench.assert_idle();
    });
}

#[test]
fn c8_a_loss_wakes_whoever_waits_for_it() {
    explore(3, || {
        let bench = Bench::new();
        let guard = block_on(bench.named("k").acquire_async()).unwrap();
        let token = guard.token();
        let evictor = spawn(&bench, move |bench| {
            assert!(block_on(bench.backend.evict("k", token)).unwrap());
        });
        assert_eq!(block_on(guard.lost()), LostCause::Evicted);
        drop(guard);
        evictor.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c8_a_check_never_takes_a_hold_for_a_lost_one() {
    explore(3, || {
        let bench = Bench::new();
        let guard = block_on(bench.named("k").acquire_async()).unwrap();
        let contender = spawn(&bench, |bench| begin_and_cancel(bench.named("k")));
        guard.check().unwrap();
        let watched = block_on(poll_fn(|cx| Poll::Ready(pin!(guard.lost()).poll(cx))));
        assert!(watched.is_pending());
        guard.release().unwrap();
        contender.join().unwrap();
        bench.assert_idle();
    });
}
