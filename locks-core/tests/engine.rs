//! The engine from outside: what the conformance kit does not ask of every backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use locks_core::{Backend, Engine, ErrorKind, LockBackend, ManualClock};

#[test]
fn c1_threads_exclude_each_other() {
    let backend = Backend::new(Engine::new());
    let (inside, total) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (backend, inside, total) = (&backend, &inside, &total);
            scope.spawn(move || {
                for round in 0..20_000 {
                    let key = ["a", "b"][(thread + round) % 2];
                    if key == "b" {
                        drop(backend.named(key).acquire().unwrap());
                        continue;
                    }
                    let guard = backend.named(key).acquire().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                    total.fetch_add(1, Ordering::Relaxed);
                    inside.fetch_sub(1, Ordering::Relaxed);
                    drop(guard);
                }
            });
        }
    });
    assert_eq!(total.into_inner(), 80_000);
    assert!(backend.list().unwrap().is_empty());
}

#[test]
fn c6_and_c14_follow_the_clock_that_was_given() {
    let clock = ManualClock::new();
    let engine = Engine::builder().clock(Arc::new(clock.clone())).build();
    let backend = Backend::new(engine.clone());
    let held = backend.named("k").acquire().unwrap();
    let thief = || backend.named("k").wait(false).steal_after(Duration::from_secs(5)).acquire();
    clock.advance(Duration::from_millis(4999));
    assert_eq!(thief().unwrap_err().kind(), ErrorKind::Contended);
    clock.advance(Duration::from_millis(2));
    let stolen = thief().unwrap();
    assert!(stolen.token() > held.token());
    assert!(held.is_lost());
    println!("{}", held.check().unwrap_err());
    println!("{}", held.release().unwrap_err());
    let err = backend.named("k").wait(false).acquire().unwrap_err();
    println!("{err}\n{err:?}");
    drop(stolen);
    let bounded = backend.named("k").hold_at_most(Duration::from_secs(1)).acquire().unwrap();
    clock.advance(Duration::from_secs(1));
    assert!(bounded.is_lost());
    let next =
        backend.named("k").wait(false).hold_at_least(Duration::from_secs(9)).acquire().unwrap();
    drop(bounded);
    drop(next);
    let err = backend.named("k").wait(false).acquire().unwrap_err();
    println!("{err}");
    clock.advance(Duration::from_secs(9));
    backend.named("k").wait(false).acquire().unwrap();
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c10_a_cycle_of_two_threads_is_found_once() {
    let backend = Backend::new(Engine::new());
    let barrier = std::sync::Barrier::new(2);
    let deadlocks = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (first, second) in [("a", "b"), ("b", "a")] {
            let (backend, barrier, deadlocks) = (&backend, &barrier, &deadlocks);
            scope.spawn(move || {
                let _first = backend.named(first).acquire().unwrap();
                barrier.wait();
                match backend.named(second).acquire() {
                    Ok(_) => {}
                    Err(error) => {
                        println!("{error}");
                        assert_eq!(error.kind(), ErrorKind::Deadlock);
                        assert_eq!(error.cycle().len(), 2);
                        deadlocks.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(deadlocks.into_inner(), 1);
}

#[test]
fn c9_own_hold() {
    let backend = Backend::new(Engine::new());
    let held = backend.named("a").acquire().unwrap();
    let err = backend.named("a").acquire().unwrap_err();
    println!("{err}");
    assert_eq!(err.kind(), ErrorKind::Deadlock);
    let nested = backend.named("a").reentrant().acquire().unwrap();
    drop(held);
    assert!(backend.named("a").wait(false).acquire().unwrap_err().is_contended());
    drop(nested);
    backend.named("a").wait(false).acquire().unwrap();
    let all = backend.all(["x", "y", "a"]).acquire().unwrap();
    println!("{:?} {:?}", backend.list(), all);
    drop(all);
    assert!(backend.list().unwrap().is_empty());
    backend.evict("a", locks_core::Token::new(1)).block().unwrap();
}
