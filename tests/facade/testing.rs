//! `TestBackend`: it does as it is told.

use std::thread;
use std::time::Duration;

use locks::testing::TestBackend;
use locks::{ErrorKind, LostCause};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_contended_key_is_somebody_elses_even_for_the_same_thread() {
    let locks = TestBackend::new();
    let guard = locks.contend("key");
    let report = || locks.backend().named("key");
    for ask in [report(), report().shared(), report().reentrant()] {
        assert_eq!(ask.wait(false).acquire().unwrap_err().kind(), ErrorKind::Contended);
    }
    thread::scope(|threads| {
        let waiter = threads.spawn(|| report().wait(HOUR).acquire().unwrap_err().kind());
        locks.until_waiting("key");
        let waiting = (locks.waiting("key"), locks.waiting("other"));
        locks.advance(HOUR);
        assert_eq!(waiting, (1, 0));
        assert_eq!(waiter.join().unwrap(), ErrorKind::Timeout);
    });
    drop(guard);
    drop(report().wait(false).acquire().unwrap());
}

#[test]
#[should_panic = "`key` is held by thread"]
fn what_is_held_already_cannot_be_contended() {
    let locks = TestBackend::new();
    let _guard = locks.backend().named("key").acquire().unwrap();
    drop(locks.contend("key"));
}

#[test]
fn all_holders_of_one_key_lose_it_and_those_of_others_do_not() {
    let locks = TestBackend::new();
    let shared = || locks.backend().named("key").shared().acquire().unwrap();
    let (first, second) = (shared(), shared());
    let other = locks.backend().named("other").acquire().unwrap();
    assert_eq!(locks.lose("key", LostCause::Expired), 2);
    for guard in [first, second] {
        let lost = ErrorKind::Lost { cause: LostCause::Expired };
        assert_eq!(guard.check().unwrap_err().kind(), lost);
    }
    assert!(!other.is_lost());
    assert_eq!(locks.lose("key", LostCause::Expired), 0, "nobody holds it any more");
}

#[test]
fn only_the_test_makes_a_hold_old_enough_to_be_stolen() {
    let locks = TestBackend::new();
    let guard = locks.contend("key");
    let steal = || locks.backend().named("key").wait(false).steal_after(HOUR).acquire();
    locks.advance(HOUR - Duration::from_millis(1));
    assert!(steal().unwrap_err().is_contended());
    locks.advance(Duration::from_millis(1));
    let thief = steal().unwrap();
    assert!(guard.is_lost() && thief.token() > guard.token());
}

#[test]
fn out_of_reach_is_no_contention_and_ends_no_hold() {
    let locks = TestBackend::new();
    let guard = locks.backend().named("held").acquire().unwrap();
    locks.set_reachable(false);
    let error = locks.backend().named("key").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(locks.backend().list().is_err() && !guard.is_lost());
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Unavailable);
    locks.set_reachable(true);
    drop(locks.backend().all(["key", "held"]).wait(false).acquire().unwrap());
}

#[test]
fn whoever_waits_while_it_is_out_of_reach_hears_of_that_and_of_no_contention() {
    let locks = TestBackend::new();
    let guard = locks.contend("key");
    let wait = || locks.backend().named("key").wait(HOUR).acquire().unwrap_err().kind();
    thread::scope(|threads| {
        let waiter = threads.spawn(wait);
        locks.until_waiting("key");
        locks.set_reachable(false);
        locks.advance(HOUR);
        assert_eq!(waiter.join().unwrap(), ErrorKind::Unavailable);
    });
    drop(guard);
}

#[test]
fn two_of_them_do_not_meet() {
    let _guard = TestBackend::new().contend("key");
    drop(TestBackend::new().contend("key"));
}

#[test]
fn what_is_released_out_of_reach_is_held_until_the_arbiter_hears_of_it() {
    let locks = TestBackend::new();
    let hold = || locks.backend().named("key").wait(false).acquire();
    let (first, second) = (hold().unwrap(), locks.backend().named("other").acquire().unwrap());
    locks.set_reachable(false);
    assert_eq!(first.release().unwrap_err().kind(), ErrorKind::Unavailable);
    drop(second);
    locks.set_reachable(false);
    assert_eq!(hold().unwrap_err().kind(), ErrorKind::Unavailable);
    let engine = format!("{locks:?}");
    assert!(engine.contains("2 keys in use"), "{engine}");

    locks.set_reachable(true);
    drop(hold().unwrap());
    assert!(locks.backend().list().unwrap().is_empty());
}

#[test]
fn what_is_left_unreleased_ends_with_the_backend() {
    let locks = TestBackend::new();
    let guard = locks.backend().named("key").acquire().unwrap();
    locks.set_reachable(false);
    drop(guard);
    drop(locks);
}
