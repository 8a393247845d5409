//! Every schedule of a few threads at one engine, up to a number of preemptions (run with
//! `RUSTFLAGS="--cfg loom"`). `LOOM_MAX_DURATION` is how many seconds a model is explored at most;
//! `./check` says a minute, within which most models come to their end.
//!
//! The explorer knows no time: the engine's clock stands still but where a model advances it.
//! All of a model's threads are one real thread, so no scope is open while another one runs.

#![cfg(loom)]

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::{
    Acquire, Backend, CallSite, Engine, ErrorKind, LockBuilder, LockError, LostCause, ManualClock,
    OwnedGuard, OwnerId, Token,
};
use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::thread;

const AGE: Duration = Duration::from_secs(5);

/// An engine, and for each of a few keys a cell that only its holder may touch: the explorer
/// fails a model that touches it without exclusion, or without seeing what the last holder did.
struct Bench {
    engine: Engine,
    backend: Backend,
    clock: ManualClock,
    cells: [UnsafeCell<Token>; 2],
}

// SAFETY: the explorer watches over the cells.
unsafe impl Sync for Bench {}
// SAFETY: as above.
unsafe impl Send for Bench {}

impl Bench {
    fn new() -> Arc<Self> {
        let clock = ManualClock::new();
        let engine = Engine::builder().clock(Arc::new(clock.clone())).build();
        let cells = [0; 2].map(|none| UnsafeCell::new(Token::new(none)));
        Arc::new(Self { backend: Backend::new(engine.clone()), engine, clock, cells })
    }

    fn named<'k>(&self, key: &'k str) -> LockBuilder<'k> {
        self.backend.named(key)
    }

    /// Writes as the holder of the key with this cell: tokens only grow (C7).
    fn write(&self, cell: usize, guard: &OwnedGuard) {
        self.cells[cell].with_mut(|last| {
            // SAFETY: the explorer fails the model if this is not exclusive.
            let last = unsafe { &mut *last };
            assert!(guard.token() > *last, "C7: {} after {last}", guard.token());
            *last = guard.token();
        });
    }

    /// Reads as one of the shared holders of the key with this cell.
    fn read(&self, cell: usize) {
        self.cells[cell].with(|_| {});
    }

    /// Acquires the key, writes, releases.
    fn visit(&self, cell: usize, lock: LockBuilder<'_>) {
        let guard = block_on(lock.acquire_async()).unwrap();
        self.write(cell, &guard);
        guard.release().unwrap();
    }

    /// Nothing is left behind (C13).
    fn assert_idle(&self) {
        assert_eq!(self.engine.live_keys(), 0);
        assert_eq!(self.engine.known_keys(), 0);
    }
}

/// Runs every schedule of `model` with up to `preemptions` of them, or as many more as
/// `LOCKS_LOOM_DEEPER` says: one more takes minutes where there are three threads.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let deeper = std::env::var("LOCKS_LOOM_DEEPER").map_or(0, |more| more.parse().unwrap());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions + deeper);
    builder.max_branches = 10_000;
    builder.check(model);
}

fn spawn(bench: &Arc<Bench>, run: impl FnOnce(&Bench) + 'static) -> thread::JoinHandle<()> {
    let bench = bench.clone();
    thread::spawn(move || run(&bench))
}

/// Polls an acquisition once and drops it, whatever came of it.
fn begin_and_cancel(lock: LockBuilder<'_>) {
    let mut acquire = pin!(lock.acquire_async());
    let _ = acquire.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

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

/// A plain hold with a waiter that is to be handed the key at its release (C3), polled once.
fn about_to_be_handed_on(bench: &Arc<Bench>) -> (OwnedGuard, Pin<Box<Acquire<'static>>>) {
    let held = block_on(bench.named("k").acquire_async()).unwrap();
    let mut first = Box::pin(bench.backend.named("k").acquire_async());
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    bench.clock.advance(Duration::from_millis(1));
    bench.write(0, &held);
    (held, first)
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

#[test]
fn c11_two_threads_with_the_same_keys() {
    explore(2, || {
        let bench = Bench::new();
        let visit = |bench: &Bench| {
            let guard = block_on(bench.backend.all(["a", "b"]).acquire_async()).unwrap();
            bench.write(0, &guard);
            bench.write(1, &guard);
            guard.release().unwrap();
        };
        let other = spawn(&bench, visit);
        visit(&bench);
        other.join().unwrap();
        bench.assert_idle();
    });
}

/// Under the explorer all keys are of one shard, whose inline slot is there for one of them at a
/// time; this one is too long for it.
const LONG: &str = "a key that is too long to find room in an inline slot: more than 56 bytes";

#[test]
fn c1_c7_two_keys_of_one_shard_come_and_go() {
    explore(1, || {
        let bench = Bench::new();
        let same = spawn(&bench, |bench| bench.visit(0, bench.named("a")));
        let next = spawn(&bench, |bench| bench.visit(1, bench.named("b")));
        bench.visit(0, bench.named("a"));
        same.join().unwrap();
        next.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c7_a_key_that_moves_between_table_and_resident_keeps_its_tokens_growing() {
    explore(3, || {
        let bench = Bench::new();
        let next = spawn(&bench, |bench| bench.visit(1, bench.named("b")));
        bench.visit(0, bench.named("a"));
        bench.visit(0, bench.named("a"));
        next.join().unwrap();
        bench.visit(0, bench.named("a"));
        bench.visit(1, bench.named("b"));
        bench.assert_idle();
    });
}

#[test]
fn c7_a_key_that_is_looked_up_and_not_taken_hides_no_token_of_another() {
    explore(2, || {
        let bench = Bench::new();
        let other = spawn(&bench, |bench| bench.visit(1, bench.named("b")));
        // It has the inline slot, and has asked for nothing yet.
        let asks = bench.named("a").shared().begin_in(None, CallSite::caller());
        bench.visit(1, bench.named("b"));
        drop(asks);
        other.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c1_a_key_that_is_looked_up_and_then_taken_stays_what_it_is() {
    explore(3, || {
        let bench = Bench::new();
        let asks = bench.named("a").owner(1).begin_in(None, CallSite::caller());
        let other = spawn(&bench, |bench| {
            let guard = block_on(asks).unwrap();
            bench.write(0, &guard);
            assert!(format!("{guard:?}").contains("\"a\""));
            guard.release().unwrap();
        });
        bench.visit(1, bench.named("b"));
        other.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c1_a_key_that_is_looked_up_while_another_is_given_up_stays_what_it_is() {
    explore(2, || {
        let bench = Bench::new();
        let ask = |key| bench.backend.named(key).owner(1).begin_in(None, CallSite::caller());
        let given_up = ask("b");
        let other = thread::spawn(move || drop(given_up));
        let asks = ask("a");
        bench.visit(1, bench.named("b"));
        let guard = block_on(asks).unwrap();
        assert!(format!("{guard:?}").contains("\"a\""));
        guard.release().unwrap();
        other.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c1_a_key_of_the_table_is_not_taken_beside_it() {
    explore(2, || {
        let bench = Bench::new();
        let held = block_on(bench.named("b").acquire_async()).unwrap();
        let same = spawn(&bench, |bench| bench.visit(0, bench.named("a")));
        let other = spawn(&bench, |bench| bench.visit(0, bench.named("a")));
        held.release().unwrap();
        same.join().unwrap();
        other.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c12_a_list_names_only_keys_that_are_held() {
    explore(2, || {
        let bench = Bench::new();
        let one = spawn(&bench, |bench| bench.visit(0, bench.named("a")));
        let two = spawn(&bench, |bench| bench.visit(1, bench.named("another")));
        for info in bench.backend.list().unwrap() {
            assert!(matches!(info.key.as_str(), "a" | "another"), "{:?}", info.key);
        }
        one.join().unwrap();
        two.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c13_a_key_is_forgotten_only_when_nobody_is_at_it() {
    explore(2, || {
        let bench = Bench::new();
        let same = spawn(&bench, |bench| bench.visit(0, bench.named(LONG)));
        let next = spawn(&bench, |bench| bench.visit(1, bench.named("b")));
        bench.visit(0, bench.named(LONG));
        same.join().unwrap();
        next.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c13_a_contender_keeps_a_key_from_being_forgotten() {
    for key in ["a", LONG] {
        explore(1, move || {
            let bench = Bench::new();
            let contender = spawn(&bench, move |bench| {
                drop(bench.named(key).wait(false).owner(1).acquire());
            });
            let next = spawn(&bench, |bench| bench.visit(1, bench.named("b")));
            bench.visit(0, bench.named(key));
            bench.visit(0, bench.named(key));
            contender.join().unwrap();
            next.join().unwrap();
            bench.assert_idle();
        });
    }
}

#[test]
fn c13_a_thread_that_spins_for_a_key_keeps_it_from_being_forgotten() {
    for key in ["a", LONG] {
        explore(1, move || {
            let bench = Bench::new();
            let spin = move |bench: &Bench| {
                let guard = bench.named(key).acquire().unwrap();
                bench.write(0, &guard.into_owned());
            };
            let spinner = spawn(&bench, spin);
            let next = spawn(&bench, |bench| bench.visit(1, bench.named("b")));
            spin(&bench);
            spinner.join().unwrap();
            next.join().unwrap();
            bench.assert_idle();
        });
    }
}

#[test]
fn c10_of_a_cycle_exactly_one_is_told() {
    explore(2, || {
        let bench = Bench::new();
        let cross = |first: &'static str, second: &'static str, owner: u64| {
            move |bench: &Bench| {
                let first = block_on(bench.named(first).owner(owner).acquire_async()).unwrap();
                let second = block_on(bench.named(second).owner(owner).acquire_async());
                let refused = second.as_ref().err().map(LockError::kind);
                drop((first, second));
                refused
            }
        };
        let told = Arc::new(AtomicUsize::new(0));
        let other = spawn(&bench, {
            let (run, told) = (cross("b", "a", 2), told.clone());
            move |bench| note(run(bench), &told)
        });
        note(cross("a", "b", 1)(&bench), &told);
        other.join().unwrap();
        assert!(told.load(Ordering::Relaxed) <= 1, "C10: both are told");
        bench.assert_idle();
    });
}

fn note(refused: Option<ErrorKind>, told: &AtomicUsize) {
    if let Some(kind) = refused {
        assert_eq!(kind, ErrorKind::Deadlock);
        told.fetch_add(1, Ordering::Relaxed);
    }
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
