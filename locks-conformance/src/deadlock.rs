//! C10: waits that would never end.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};

use super::pending::Pending;
use super::subject::Subject;
use locks_core::{ErrorKind, LockError};

/// Whether the backend finds cycles; if not, asserts that a cycle ends with a timeout at least.
fn detects(subject: &Subject) -> bool {
    if subject.can().deadlock_detection {
        return true;
    }
    let (a, b) =
        (subject.take(subject.lock("a").owner(1)), subject.take(subject.lock("b").owner(2)));
    let unit = subject.unit();
    let since = subject.now();
    let one = subject.queue_until(subject.lock("b").owner(1).wait(unit), since, unit);
    let two = subject.queue(subject.lock("a").owner(2).wait(unit * 1000));
    let error = one.due(subject, since, unit).expect_err("the other holds it");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    drop(a);
    drop(two.granted(subject));
    drop(b);
    false
}

/// The error tells of a cycle through these keys, the refused wait first, each step with its
/// holder and the call sites in this kit.
#[track_caller]
fn assert_cycle(subject: &Subject, error: &LockError, wants: &[&str]) {
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error:?}");
    let cycle = error.cycle();
    let keys = Vec::from_iter(cycle.iter().map(|step| step.wants.as_str()));
    assert_eq!(keys, wants, "{error:?}");
    let text = error.to_string();
    for step in cycle {
        assert!(text.contains(&format!("`{}`", step.wants)), "{text}");
        assert!(step.holder.token.is_some(), "{error:?}");
        super::holders::assert_here(step.holder.site, &step.holder.party);
        super::holders::assert_here(step.waiter.site, &step.waiter.party);
    }
    if subject.can().exclusion == locks_core::Exclusion::Process {
        let owners = cycle.iter().all(|step| step.holder.owner.is_some());
        assert!(owners, "a cycle of anonymous holders is none: {error:?}");
    }
}

pub(super) fn c10_two_that_wait_for_each_other(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    let a = subject.take(subject.lock("a").owner(1));
    let b = subject.take(subject.lock("b").owner(2));
    let mut one = subject.queue(subject.lock("b").owner(1));
    let error = subject.refused(subject.lock("a").owner(2), ErrorKind::Deadlock);
    assert_cycle(subject, &error, &["a", "b"]);
    // The other goes on as if nothing had been asked.
    one.assert_waits(subject);
    b.check().expect("a refused wait costs no hold");
    assert_eq!(subject.waiters("a").unwrap_or(0), 0, "a refused wait queues");
    drop(b);
    drop((one.granted(subject), a));
    subject.assert_free("a");
    subject.assert_free("b");
}

/// Two real threads, again and again: one of the two is told, and both come to an end.
pub(super) fn c10_of_two_threads_exactly_one_is_told(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    for _ in 0..20 {
        let both = Arc::new(Barrier::new(2));
        let threads = [("a", "b"), ("b", "a")].map(|(first, second)| {
            let both = both.clone();
            subject.thread("a thread", move |subject| {
                let held = subject.lock(first).acquire().expect("it is free");
                both.wait();
                let outcome = subject.lock(second).acquire().map(drop);
                drop(held);
                outcome
            })
        });
        let outcomes = threads.map(|thread| thread.finish());
        let told = Vec::from_iter(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()));
        assert_eq!(told.len(), 1, "one of the two is told: {outcomes:?}");
        assert_eq!(told[0].cycle().len(), 2, "{:?}", told[0]);
        assert_eq!(told[0].kind(), ErrorKind::Deadlock);
    }
    subject.assert_free("a");
    subject.assert_free("b");
}

/// An owner that several threads name is not blocked when one of them waits: another can still let
/// go of what it holds. A thread is, by whatever name it holds and waits.
pub(super) fn c10_an_owner_of_several_threads_is_not_what_waits(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    let (held, is_held) = channel();
    let (go_on, goes_on) = channel();
    let one = subject.thread("one of the owner's", move |subject| {
        let goes_on = || goes_on.recv_timeout(subject.patience()).expect("the case goes on");
        let take = || {
            let a = subject.lock("a").owner(1).acquire().expect("it is free");
            held.send(()).expect("the case goes on");
            goes_on();
            a
        };
        drop(take());
        goes_on();
        let a = take();
        let outcome = subject.lock("b").owner(1).acquire().map(drop);
        drop(a);
        outcome
    });
    let is_held = || is_held.recv_timeout(subject.patience()).expect("it is held");
    is_held();
    let b = subject.take(subject.lock("b").owner(2));
    let two = subject.queue(subject.lock("a").owner(2));
    let another = subject
        .thread("another of the owner's", |subject| subject.lock("b").owner(1).acquire().map(drop));
    subject.until("it waits", || {
        another.is_finished() || subject.waiters("b").is_none_or(|waiters| waiters == 1)
    });
    go_on.send(()).expect("it is there");
    drop((two.granted(subject), b));
    another.finish().expect("nothing was in its way for ever");
    go_on.send(()).expect("it is there");
    is_held();
    let b = subject.take(subject.lock("b").owner(2));
    let two = subject.queue(subject.lock("a").owner(2));
    go_on.send(()).expect("it is there");
    let error = one.finish().expect_err("it waits for itself");
    assert_cycle(subject, &error, &["b", "a"]);
    drop((two.granted(subject), b));
    subject.assert_free("a");
    subject.assert_free("b");
}

/// A guard that is given away leads to no wait of the thread that made it, whoever owns it.
pub(super) fn c10_a_guard_that_is_given_away_blocks_no_thread(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    for owner in [None, Some(1)] {
        let (give, given) = channel();
        let one = subject.thread("who gives it away", move |subject| {
            let lock = subject.lock("a");
            let lock = if let Some(owner) = owner { lock.owner(owner) } else { lock };
            let a = lock.acquire().expect("it is free").into_owned();
            give.send(a).expect("the case goes on");
            let lock = subject.lock("b");
            let lock = if let Some(owner) = owner { lock.owner(owner) } else { lock };
            lock.acquire().map(drop)
        });
        let b = subject.take(subject.lock("b").owner(2));
        let a = given.recv_timeout(subject.patience()).expect("it is given away");
        let two = subject.queue(subject.lock("a").owner(2));
        subject.until("it waits", || {
            one.is_finished() || subject.waiters("b").is_none_or(|waiters| waiters == 1)
        });
        drop(a);
        drop((two.granted(subject), b));
        one.finish().expect("nothing was in its way for ever");
    }
    subject.assert_free("a");
    subject.assert_free("b");
}

/// A thread that acts for another one blocks itself, and the other goes on.
pub(super) fn c10_who_acts_for_another_does_not_block_it(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    for acts_first in [true, false] {
        let (held, is_held) = channel();
        let (go_on, goes_on) = channel::<()>();
        let one = subject.thread("who is acted for", move |subject| {
            let a = subject.lock("a").acquire().expect("it is free");
            held.send(locks_core::current()).expect("the case goes on");
            goes_on.recv_timeout(subject.patience()).expect("the case goes on");
            drop(a);
        });
        let one_of_them = is_held.recv_timeout(subject.patience()).expect("it is held");
        let b = subject.take(subject.lock("b").owner(2));
        let act = || {
            let other = subject.thread("who acts for it", move |subject| {
                subject.lock("b").owner(one_of_them).acquire().map(drop)
            });
            subject.until("it waits", || {
                other.is_finished() || subject.waiters("b").is_none_or(|waiters| waiters == 1)
            });
            other
        };
        let (two, other) = if acts_first {
            let other = act();
            (subject.queue(subject.lock("a").owner(2)), other)
        } else {
            (subject.queue(subject.lock("a").owner(2)), act())
        };
        go_on.send(()).expect("it is there");
        drop((two.granted(subject), b));
        other.finish().expect("nothing was in its way for ever");
        one.finish();
    }
}

pub(super) fn c10_a_wait_with_a_timeout_is_told_as_well(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    let limit = subject.unit() * 100;
    let _a = subject.take(subject.lock("a").owner(1));
    let _b = subject.take(subject.lock("b").owner(2));
    let _one = subject.queue(subject.lock("b").owner(1).wait(limit));
    subject.contended(subject.lock("a").owner(2));
    let error = subject.refused(subject.lock("a").owner(2).wait(limit), ErrorKind::Deadlock);
    assert_cycle(subject, &error, &["a", "b"]);
}

/// Three, with a reader among them.
pub(super) fn c10_a_cycle_of_three_with_a_reader(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let a = subject.take(subject.lock("a").owner(1).shared());
    let innocent = subject.take(subject.lock("a").owner(9).shared());
    let _b = subject.take(subject.lock("b").owner(2));
    let c = subject.take(subject.lock("c").owner(3));
    let _one = subject.queue(subject.lock("b").owner(1));
    let two = subject.queue(subject.lock("c").owner(2).shared());
    let error = subject.refused(subject.lock("a").owner(3), ErrorKind::Deadlock);
    assert_cycle(subject, &error, &["a", "b", "c"]);
    drop((c, innocent, a));
    drop(two.granted(subject));
}

/// A cycle that leads through a queue: one waits behind a waiter.
pub(super) fn c10_a_cycle_through_an_earlier_waiter(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let _reader = subject.take(subject.lock("a").owner(1).shared());
    let b = subject.take(subject.lock("b").owner(3));
    let writer = subject.queue(subject.lock("a").owner(2));
    subject.outwait();
    let behind = subject.queue(subject.lock("a").owner(3).shared());
    // 1 would wait for 3, who waits behind 2, who waits for 1.
    let error = subject.refused(subject.lock("b").owner(1), ErrorKind::Deadlock);
    assert!(error.cycle().len() >= 2, "{error:?}");
    drop(writer);
    drop(behind.granted(subject));
    drop(b);
}

/// A chain without an end at its beginning is none, nor is what has been resolved.
pub(super) fn c10_a_chain_is_no_cycle(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    let a = subject.take(subject.lock("a").owner(1));
    let b = subject.take(subject.lock("b").owner(2));
    let c = subject.take(subject.lock("c").owner(3));
    let one = subject.queue(subject.lock("b").owner(1));
    let two = subject.queue(subject.lock("c").owner(2));
    let free = subject.take(subject.lock("d").owner(3));
    // A wait that was given up is an edge no more.
    drop(two);
    subject.round_trip();
    let three = subject.queue(subject.lock("a").owner(3));
    drop(b);
    drop((one.granted(subject), a));
    drop((three.granted(subject), c, free));
    for key in ["a", "b", "c", "d"] {
        subject.assert_free(key);
    }
}

/// A reader waited for is in a cycle only if it waits itself.
pub(super) fn c10_anonymous_holds_are_in_no_cycle(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    let a = subject.take(subject.lock("a"));
    let b = subject.take(subject.lock("b"));
    let one = subject.queue(subject.lock("b"));
    let two = subject.queue(subject.lock("a"));
    drop((a, b));
    drop((one.granted(subject), two.granted(subject)));
}

/// A permit is waited for in vain only if every holder leads back.
pub(super) fn c10_a_permit_is_deadlocked_only_if_every_holder_leads_back(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    if !subject.can().permits {
        return subject.assert_unsupported("permits", subject.lock("k").permits(2));
    }
    let permit = |owner: u64| subject.lock("k").permits(2).owner(owner);
    let _first = subject.take(permit(1));
    let second = subject.take(permit(2));
    let _a = subject.take(subject.lock("a").owner(3));
    let _one = subject.queue(subject.lock("a").owner(1));
    // 1 leads back to 3, 2 does not: it can still let go.
    let waiting = subject.queue(permit(3));
    drop(waiting);
    let two = subject.queue(subject.lock("a").owner(2));
    let error = subject.refused(permit(3), ErrorKind::Deadlock);
    assert_eq!(error.key(), "k", "{error:?}");
    drop(two);
    let waiting = subject.queue(permit(3));
    drop(second);
    drop(waiting.granted(subject));
}

/// How many of the holders may lead back is a matter of the number that is asked for, and of those
/// asked for earlier.
pub(super) fn c10_a_permit_counts_the_holders_that_lead_back(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    if !subject.can().permits {
        return subject.assert_unsupported("permits", subject.lock("k").permits(2));
    }
    let permit = |owner: u64, of| subject.lock("k").permits(of).owner(owner);
    let [one, two, three] = [1, 2, 3].map(|owner| subject.take(permit(owner, 3)));
    let a = subject.take(subject.lock("a").owner(4));
    let waiting = [1, 2].map(|owner| subject.queue(subject.lock("a").owner(owner)));
    // With 3 gone there is room for a third, but not for a second.
    drop(subject.queue(permit(4, 3)));
    let error = subject.refused(permit(4, 2), ErrorKind::Deadlock);
    assert_eq!(error.key(), "k", "{error:?}");
    let before = subject.queue(permit(5, 2));
    subject.refused(permit(4, 3), ErrorKind::Deadlock);
    drop(before);
    let third = subject.queue(permit(4, 3));
    drop(three);
    drop(third.granted(subject));
    drop(a);
    // Each waits for the other to be through with `a`.
    for waiting in waiting {
        drop(waiting.granted(subject));
    }
    drop((one, two));
    subject.assert_free("k");
}

/// It is permits that are counted, not who has them.
pub(super) fn c10_several_permits_are_counted_each(subject: &Subject) {
    if !detects(subject) || !super::permits::several(subject) {
        return;
    }
    let permits = |owner: u64, count| subject.lock("k").permits(4).take(count).owner(owner);
    let three = subject.take(permits(1, 3));
    let one = subject.take(permits(2, 1));
    let a = subject.take(subject.lock("a").owner(3));
    let waiting = subject.queue(subject.lock("a").owner(1));
    // 1 leads back: 2 can make room for one, but not for two.
    drop(subject.queue(permits(3, 1)));
    let error = subject.refused(permits(3, 2), ErrorKind::Deadlock);
    assert_eq!(error.key(), "k", "{error:?}");
    let last = subject.queue(permits(3, 1));
    drop(one);
    drop(last.granted(subject));
    drop(a);
    drop(waiting.granted(subject));
    drop(three);
    subject.assert_free("k");
}

/// Nor is one that leads through a thief, which waits for no release.
pub(super) fn c10_a_thief_ahead_in_the_queue_lets_those_behind_it_through(subject: &Subject) {
    if !detects(subject) || !super::stealing::steals(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let (age, since) = (subject.unit(), subject.now());
    let reader = subject.take(subject.lock("k").shared().owner(1));
    let a = subject.take(subject.lock("a").owner(2));
    let one = subject.queue(subject.lock("a").owner(1));
    let thief = subject.queue_until(subject.lock("k").owner(3).steal_after(age), since, age);
    let two = subject.queue(subject.lock("k").shared().owner(2));
    drop(thief.due(subject, since, age).expect("it was old enough"));
    super::stealing::assert_stolen(subject, &reader);
    drop(two.granted(subject));
    drop(a);
    drop(one.granted(subject));
}

/// A cycle that a theft will end is none.
pub(super) fn c10_a_thief_in_the_cycle_ends_it(subject: &Subject) {
    if !detects(subject) || !super::stealing::steals(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let a = subject.take(subject.lock("a").owner(1));
    let b = subject.take(subject.lock("b").owner(2));
    let one = subject.queue_until(subject.lock("b").owner(1).steal_after(age), since, age);
    let mut two = subject.queue(subject.lock("a").owner(2));
    let stolen = one.due(subject, since, age).expect("it was old enough");
    super::stealing::assert_stolen(subject, &b);
    two.assert_waits(subject);
    drop((stolen, a));
    drop(two.granted(subject));
}

/// Nor is one that the end of a hold will end.
pub(super) fn c10_a_bounded_hold_in_the_cycle_ends_it(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    let most = subject.unit();
    if !subject.can().bounds {
        return subject.assert_unsupported("hold_at_most", subject.lock("k").hold_at_most(most));
    }
    let since = subject.now();
    let a = subject.take(subject.lock("a").owner(1).hold_at_most(most));
    let b = subject.take(subject.lock("b").owner(2));
    let one = subject.queue(subject.lock("b").owner(1));
    let two = subject.queue(subject.lock("a").owner(2));
    drop(two.due(subject, since, most).expect("its end has come"));
    assert!(a.is_lost());
    drop(b);
    drop(one.granted(subject));
}

/// A set that has one of its keys holds it while it waits for the next.
pub(super) fn c10_a_set_that_waits_holds_what_it_has(subject: &Subject) {
    if !detects(subject) {
        return;
    }
    if !subject.can().several_keys {
        return subject.assert_unsupported("several keys", subject.backend().all(["a", "b"]));
    }
    let set = || subject.backend().all(["a", "b"]);
    // Also one that is nobody's: it is its own wait that keeps it from letting go.
    for set in [set().owner(1), set()] {
        let b = subject.take(subject.lock("b").owner(2));
        let set = subject.queue(set);
        let error = subject.refused(subject.lock("a").owner(2), ErrorKind::Deadlock);
        assert_eq!(error.key(), "a", "{error:?}");
        drop(b);
        drop(set.granted(subject));
    }
}

/// Threads that go from key to key in one order, hand over hand, wait for each other in chains
/// all the time and never hear of a deadlock.
pub(super) fn c10_no_false_alarm_under_load(subject: &Subject) {
    let start = Arc::new(Barrier::new(4));
    let threads = [1_u64, 2, 3, 4].map(|owner| {
        let start = start.clone();
        subject.thread("a thread", move |subject| {
            let take = |key| subject.take(subject.lock(key).owner(owner));
            start.wait();
            for _ in 0..50 {
                let mut held = take("a");
                for key in ["b", "c", "d"] {
                    std::thread::yield_now();
                    held = take(key);
                }
                drop(held);
                let mut fickle = Pending::begin(subject.lock("b").owner(owner));
                fickle.poll();
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.finish());
    for key in ["a", "b", "c", "d"] {
        subject.assert_free(key);
    }
}
