//! Steals that come due while something else changes (C6).

use std::task::Poll;
use std::time::Duration;

use crate::polled::{Polled, engine};

const AGE: Duration = Duration::from_secs(5);

#[test]
fn c6_a_queued_thief_robs_whoever_barged_in() {
    let (engine, backend, clock) = engine();
    let first = backend.named("k").acquire().unwrap().into_owned();
    let mut waiter = Polled::waiting(backend.named("k"));
    let mut thief = Polled::waiting(backend.named("k").steal_after(AGE));
    drop(first);
    // The key is free, and the waiter on its way; the thief finds nobody to rob.
    assert!(thief.poll().is_pending());
    let barger = backend.named("k").wait(false).acquire().unwrap().into_owned();
    assert!(waiter.poll().is_pending());
    clock.advance(AGE);
    let stolen = thief.granted();
    assert!(barger.is_lost());
    drop((stolen, barger, waiter));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_a_queued_thief_robs_a_set_that_has_become_complete() {
    let (engine, backend, clock) = engine();
    let last = backend.named("b").acquire().unwrap().into_owned();
    let mut set = Polled::waiting(backend.all(["a", "b"]));
    let mut thief = Polled::waiting(backend.named("a").steal_after(AGE));
    clock.advance(AGE);
    assert!(thief.poll().is_pending(), "an unfinished set does not age");
    drop(last);
    let held = set.granted();
    clock.advance(AGE - Duration::from_nanos(1));
    assert!(thief.poll().is_pending());
    // Polled once more than needed above: what counts is what wakes it from its first poll.
    let mut second = Polled::waiting(backend.named("b").steal_after(AGE));
    clock.advance(Duration::from_nanos(1));
    let stolen = thief.granted();
    assert!(held.is_lost());
    let _ = second.poll();
    drop((stolen, held, second));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_completing_a_set_tells_the_thieves_that_wait_for_it() {
    let (engine, backend, clock) = engine();
    let last = backend.named("b").acquire().unwrap().into_owned();
    let mut set = Polled::waiting(backend.all(["a", "b"]));
    let mut thief = Polled::waiting(backend.named("a").steal_after(AGE));
    drop(last);
    let held = set.granted();
    clock.advance(AGE);
    let stolen = thief.granted();
    assert!(held.is_lost());
    drop((stolen, held));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c6_among_due_thieves_the_first_queued_wins_over_a_newcomer() {
    let (engine, backend, clock) = engine();
    let victim = backend.named("k").acquire().unwrap().into_owned();
    let mut first = Polled::waiting(backend.named("k").steal_after(AGE));
    clock.advance(AGE);
    // Its alarm has rung, and it has not looked yet.
    let newcomer = backend.named("k").wait(false).steal_after(AGE).acquire();
    assert!(newcomer.unwrap_err().is_contended());
    let stolen = first.granted();
    assert!(victim.is_lost());
    drop((stolen, victim));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c14_a_cancelled_grant_reserves_nothing() {
    let (engine, backend, _clock) = engine();
    let held = backend.named("k").acquire().unwrap();
    let waiter = Polled::waiting(backend.named("k").fair(true).hold_at_least(AGE));
    drop(held);
    assert!(waiter.is_woken());
    drop(waiter);
    drop(backend.named("k").wait(false).acquire().expect("nobody has ever held it"));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c10_a_cycle_with_a_thief_that_never_comes_due_is_found() {
    let (engine, backend, clock) = engine();
    let b = Polled::at_once(backend.named("b").owner(7));
    let set = Polled::waiting(backend.all(["a", "b"]));
    // An unfinished set does not age, so this steal never comes due.
    let mut thief = Polled::new(backend.named("a").owner(7).steal_after(AGE));
    let mut polled = thief.poll();
    for _ in 0..3 {
        clock.advance(AGE);
        if thief.is_woken() {
            polled = thief.poll();
        }
    }
    match polled {
        Poll::Ready(outcome) => drop(outcome),
        Poll::Pending => panic!("both wait for ever"),
    }
    drop((b, set, thief));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c6_a_refresh_leaves_no_thief_behind() {
    let (engine, backend, clock) = engine();
    let victim = backend.named("k").acquire().unwrap();
    let mut patient = Polled::waiting(backend.named("k").steal_after(2 * AGE));
    let mut hasty = Polled::waiting(backend.named("k").steal_after(AGE));
    clock.advance(AGE - Duration::from_nanos(1));
    victim.refresh().unwrap();
    clock.advance(AGE - Duration::from_nanos(1));
    assert!(hasty.poll().is_pending() && patient.poll().is_pending());
    clock.advance(Duration::from_nanos(1));
    let stolen = hasty.granted();
    assert!(victim.is_lost());
    drop((stolen, victim, patient));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c6_an_upgrade_that_steals_is_alone_afterwards() {
    let (engine, backend, clock) = engine();
    let shared = || backend.named("k").shared().owner(7).acquire().unwrap();
    let (upgraded, beside) = (shared(), shared());
    let other = backend.named("k").shared().acquire().unwrap();
    clock.advance(AGE);
    let upgrade = backend.named("k").owner(7).reentrant().wait(false).steal_after(AGE);
    let alone = upgrade.acquire().unwrap();
    alone.check().unwrap();
    assert!(other.is_lost());
    assert!(upgraded.is_lost() || beside.is_lost(), "C1: shared beside exclusive");
    drop((alone, other, upgraded, beside));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c6_a_grant_wakes_whom_it_concerns_and_no_thief_beside() {
    const THIEVES: usize = 300;
    let (engine, backend, clock) = engine();
    let mut held = backend.named("k").fair(true).acquire().unwrap().into_owned();
    let lock = || backend.named("k").fair(true).steal_after(AGE);
    let mut thieves = (0..THIEVES).map(|_| Polled::waiting(lock())).collect::<Vec<_>>();
    for next in 0..THIEVES {
        drop(held);
        clock.advance(Duration::from_millis(1));
        let woken = thieves.iter().filter(|thief| thief.is_woken()).count();
        assert_eq!(woken, 1, "F46: of {} thieves", THIEVES - next);
        held = thieves[next].granted();
    }
    drop(held);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c6_an_upgrade_of_a_hold_that_is_old_enough_is_stolen_at_once() {
    let (engine, backend, clock) = engine();
    let reader = backend.named("k").shared().owner(7).acquire().unwrap();
    let writer = Polled::waiting(backend.named("k"));
    // Nobody is in its way but the writer, who is before it.
    let mut thief = Polled::waiting(backend.named("k").shared().steal_after(AGE));
    clock.advance(AGE);
    assert!(!thief.is_woken());
    // An upgrade does not renew the age.
    let upgraded = backend.named("k").owner(7).reentrant().wait(false).acquire().unwrap();
    assert!(upgraded.is_lost() && reader.is_lost());
    drop((thief.granted(), upgraded, reader, writer));
    assert_eq!(engine.live_keys(), 0);
}

/// The key is handed on by the fast path meanwhile, which sets no alarm: the one that was set
/// before does.
#[test]
fn c6_a_thief_robs_whoever_was_handed_the_key_beside_it() {
    let (engine, backend, clock) = engine();
    let (part, moment) = (AGE / 5, Duration::from_nanos(1));
    let first = backend.named("k").acquire().unwrap().into_owned();
    let mut waiters = [(); 4].map(|()| Polled::waiting(backend.named("k")));
    let mut thief = Polled::waiting(backend.named("k").steal_after(AGE));
    let mut held = first;
    for waiter in &mut waiters[..3] {
        // Each is handed the key, or comes and takes it, long before the thief comes due.
        clock.advance(part * 4);
        drop(held);
        held = waiter.granted();
        assert!(thief.poll().is_pending());
    }
    clock.advance(AGE - moment);
    assert!(!held.is_lost() && thief.poll().is_pending());
    clock.advance(moment);
    let stolen = thief.granted();
    assert!(held.is_lost());
    drop((stolen, held, waiters));
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c6_a_thief_that_is_in_more_of_a_hurry_than_those_before_it_comes_due_in_time() {
    let (engine, backend, clock) = engine();
    let first = backend.named("k").acquire().unwrap().into_owned();
    let patient = [(); 3].map(|()| Polled::waiting(backend.named("k").steal_after(AGE * 10)));
    let mut waiter = Polled::waiting(backend.named("k"));
    drop(patient);
    drop(first);
    let held = waiter.granted();
    let mut patient = Polled::waiting(backend.named("k").steal_after(AGE * 10));
    let mut more = [(); 3].map(|()| Polled::waiting(backend.named("k").steal_after(AGE * 10)));
    let mut hurried = Polled::waiting(backend.named("k").steal_after(AGE));
    let mut at_once = Polled::new(backend.named("k").steal_after(AGE * 2));
    clock.advance(AGE - Duration::from_nanos(1));
    assert!(!held.is_lost() && hurried.poll().is_pending());
    clock.advance(Duration::from_nanos(1));
    let stolen = hurried.granted();
    assert!(held.is_lost() && patient.poll().is_pending());
    // One that comes when the holder is old enough does not wait for an alarm.
    clock.advance(AGE * 2);
    let Poll::Ready(Ok(last)) = at_once.poll() else { panic!("it is due") };
    assert!(stolen.is_lost());
    assert!(more.iter_mut().all(|thief| thief.poll().is_pending()));
    drop((stolen, held, last, patient, more));
    assert_eq!(engine.live_keys(), 0);
}
