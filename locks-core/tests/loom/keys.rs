//! Keys that come, go and move between the table and an inline slot.

use locks_core::CallSite;
use loom::future::block_on;
use loom::thread;

use super::{Bench, explore, spawn};

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
