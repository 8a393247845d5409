//! C13: a key that nobody uses costs nothing.

use super::pending::Pending;
use super::subject::Subject;
use locks_core::{Backend, Query};

/// What is left of keys: in memory, where it can be counted, and in the list.
#[track_caller]
fn assert_nothing_left(subject: &Subject, before: Option<usize>) {
    subject.round_trip();
    if let Some(before) = before {
        subject.until("the arbiter forgets unused keys", || {
            subject.fixture().live_keys().is_some_and(|keys| keys <= before)
        });
    }
    if subject.can().listing {
        let listed = subject.drive("the list", subject.backend().inspect(Query::All));
        assert!(listed.expect("it lists").is_empty(), "unused keys are listed");
    }
}

pub(super) fn c13_unused_keys_are_forgotten(subject: &Subject) {
    let before = subject.fixture().live_keys();
    for number in 0..1000 {
        let guard = subject.take(subject.lock(&format!("key-{number}")));
        match number % 2 {
            0 => drop(guard),
            _ => subject.release(guard),
        }
    }
    assert_nothing_left(subject, before);
}

/// Also those that were waited for, refused, or given up.
pub(super) fn c13_keys_that_were_waited_for_are_forgotten(subject: &Subject) {
    let before = subject.fixture().live_keys();
    for number in 0..100 {
        let key = format!("key-{number}");
        let guard = subject.take(subject.lock(&key));
        let given_up = subject.queue(subject.lock(&key));
        subject.contended(subject.lock(&key));
        let served = subject.queue(subject.lock(&key));
        drop(given_up);
        drop(guard);
        drop(served.granted(subject));
        let mut abandoned = Pending::begin(subject.lock(&key));
        abandoned.poll();
    }
    assert_nothing_left(subject, before);
}

/// Also those whose hold was lost, once the guard is gone.
pub(super) fn c13_keys_that_were_lost_are_forgotten(subject: &Subject) {
    if !subject.can().evict {
        return subject.assert_evict_unsupported();
    }
    let before = subject.fixture().live_keys();
    for number in 0..100 {
        let key = format!("key-{number}");
        let guard = subject.take(subject.lock(&key));
        assert!(subject.evict(&key, guard.token()));
        drop(guard);
    }
    assert_nothing_left(subject, before);
}

/// Also those with bounds, shared or in sets, once their time is over.
pub(super) fn c13_keys_with_everything_on_are_forgotten(subject: &Subject) {
    let before = subject.fixture().live_keys();
    let (can, unit) = (subject.can(), subject.unit());
    for number in 0..50 {
        let key = format!("key-{number}");
        if can.shared {
            let readers = [(); 3].map(|()| subject.take(subject.lock(&key).shared()));
            drop(readers);
        }
        if can.permits {
            drop([(); 3].map(|()| subject.take(subject.lock(&key).permits(3))));
        }
        if can.reentrant {
            let nest = [(); 2].map(|()| subject.take(subject.lock(&key).owner(1).reentrant()));
            drop(nest);
        }
        if can.several_keys {
            drop(subject.take(subject.backend().all([key.as_str(), "a", "b"])));
        }
        if can.bounds {
            drop(subject.take(subject.lock(&key).hold_at_most(unit)));
            drop(subject.take(subject.lock(&key).hold_at_least(unit)));
        }
    }
    subject.advance(unit + subject.late());
    assert_nothing_left(subject, before);
}

/// Handles come and go; the arbiter stays.
pub(super) fn c13_clones_are_the_same_arbiter(subject: &Subject) {
    let clone: Backend = subject.backend().clone();
    let guard = subject.take(clone.named("k"));
    drop(clone);
    subject.contended(subject.lock("k"));
    drop(guard);
    subject.assert_free("k");
}
