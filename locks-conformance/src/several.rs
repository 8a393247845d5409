//! C11: several keys in one request.

use std::sync::{Arc, Barrier};

use super::pending::Pending;
use super::subject::Subject;
use locks_core::{ErrorKind, LockBuilder, LostCause};

/// Whether the backend takes several keys; if not, asserts that it says so.
fn sets(subject: &Subject) -> bool {
    let can = subject.can().several_keys;
    if !can {
        subject.assert_unsupported("several keys", subject.backend().all(["a", "b"]));
    }
    can
}

fn all<const N: usize>(subject: &Subject, keys: [&str; N]) -> LockBuilder<'static> {
    subject.backend().all(keys)
}

/// All are held, whatever their order and however often they are named, and all are released.
pub(super) fn c11_all_keys_are_held_and_released(subject: &Subject) {
    if !sets(subject) {
        return;
    }
    let set = subject.take(all(subject, ["c", "a", "b", "a", "c"]));
    for key in ["a", "b", "c"] {
        subject.contended(subject.theirs(key));
    }
    subject.assert_free("d");
    subject.release(set);
    for key in ["a", "b", "c"] {
        subject.assert_free(key);
    }
    drop(subject.take(all(subject, ["a"])));
    subject.assert_free("a");
}

/// The third of five is busy: the first two are given back.
pub(super) fn c11_all_or_nothing(subject: &Subject) {
    if !sets(subject) {
        return;
    }
    let busy = subject.take(subject.theirs("c"));
    let five = || all(subject, ["a", "b", "c", "d", "e"]);
    let error = subject.contended(five());
    assert_eq!(error.key(), "c", "it names the key that was in the way: {error:?}");
    for key in ["a", "b", "d", "e"] {
        subject.assert_free(key);
    }
    let since = subject.now();
    let unit = subject.unit();
    let set = subject.queue_until(five().wait(unit), since, unit);
    let error = set.due(subject, since, unit).expect_err("`c` is busy");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    for key in ["a", "b", "d", "e"] {
        subject.assert_free(key);
    }
    subject.release(busy);
    drop(subject.take(five().wait(false)));
}

/// Taken in their order: while it waits for one it holds those before and none behind.
pub(super) fn c11_keys_are_taken_in_their_order(subject: &Subject) {
    if !sets(subject) {
        return;
    }
    let busy = subject.take(subject.theirs("b"));
    let mut set = subject.queue(all(subject, ["c", "b", "a"]));
    subject.contended(subject.theirs("a"));
    let c = subject.take(subject.theirs("c").wait(false));
    subject.release(busy);
    set.assert_waits(subject);
    subject.contended(subject.theirs("b"));
    subject.release(c);
    let set = set.granted(subject);
    for key in ["a", "b", "c"] {
        subject.contended(subject.theirs(key));
    }
    drop(set);
    for key in ["a", "b", "c"] {
        subject.assert_free(key);
    }
}

/// One deadline for all of them, not one for each.
pub(super) fn c11_one_deadline_covers_all_keys(subject: &Subject) {
    if !sets(subject) {
        return;
    }
    let (limit, since) = (subject.unit() * 2, subject.now());
    let (a, b) = (subject.take(subject.theirs("a")), subject.take(subject.theirs("b")));
    let mut set = subject.queue_until(all(subject, ["a", "b"]).wait(limit), since, limit);
    subject.advance(subject.unit());
    subject.release(a);
    set.poll();
    let error = set.due(subject, since, limit).expect_err("`b` is busy");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    subject.assert_free("a");
    drop(b);
    subject.assert_free("b");
}

/// Threads that ask for overlapping sets in any order do not block each other for ever.
pub(super) fn c11_overlapping_sets_do_not_deadlock(subject: &Subject) {
    if !sets(subject) {
        return;
    }
    let start = Arc::new(Barrier::new(3));
    let sets = [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "d"]];
    let threads = [0, 1, 2].map(|number| {
        let keys = sets[number];
        let start = start.clone();
        subject.thread("a thread", move |subject| {
            start.wait();
            for round in 0..50 {
                let client = [subject.backend(), subject.their_backend()][number % 2];
                let lock = client.all(keys);
                let guard = match round % 2 {
                    0 => lock.acquire().expect("it waits for ever").into_owned(),
                    _ => subject.take(lock),
                };
                std::thread::yield_now();
                drop(guard);
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.finish());
    for key in ["a", "b", "c", "d"] {
        subject.assert_free(key);
    }
}

/// Losing one of them is losing all: the others are free for others.
pub(super) fn c11_the_loss_of_one_is_the_loss_of_all(subject: &Subject) {
    if !sets(subject) {
        return;
    }
    if !subject.can().evict {
        return subject.assert_evict_unsupported();
    }
    let set = subject.take(all(subject, ["a", "b", "c"]));
    assert!(subject.evict("b", set.token()));
    subject.assert_lost(&set, LostCause::Evicted);
    let next = subject.take(subject.theirs("b"));
    for key in ["a", "c"] {
        drop(subject.take(subject.theirs(key)));
    }
    drop(set);
    next.check().expect("a late release frees nothing");
    subject.contended(subject.lock("b"));
}

/// The age counts from when the set is complete.
pub(super) fn c11_the_age_begins_when_the_set_is_complete(subject: &Subject) {
    if !sets(subject) || !super::stealing::steals(subject) {
        return;
    }
    let age = subject.unit();
    let busy = subject.take(subject.theirs("b"));
    let set = subject.queue(all(subject, ["a", "b"]));
    subject.advance(age * 2);
    let since = subject.now();
    subject.release(busy);
    let set = set.granted(subject);
    let mut thief = Pending::begin(subject.theirs("a").steal_after(age));
    thief.not_before(subject, since, age);
    drop(thief.due(subject, since, age).expect("it was old enough"));
    super::stealing::assert_stolen(subject, &set);
    subject.assert_free("b");
}

/// The end of a hold counts from when the set is complete, and ends all of it.
pub(super) fn c11_the_bounds_begin_when_the_set_is_complete(subject: &Subject) {
    if !sets(subject) {
        return;
    }
    let most = subject.unit();
    if !subject.can().bounds {
        return subject.assert_unsupported("hold_at_most", subject.lock("k").hold_at_most(most));
    }
    let busy = subject.take(subject.theirs("b"));
    let set = subject.queue(all(subject, ["a", "b"]).hold_at_most(most));
    subject.advance(most * 2);
    let since = subject.now();
    subject.release(busy);
    let set = set.granted(subject);
    let waiting = subject.queue(subject.theirs("a"));
    drop(waiting.due(subject, since, most).expect("its end has come"));
    subject.assert_lost(&set, LostCause::HeldTooLong);
    subject.assert_free("b");
}

/// A key that is taken away while the set waits for another is queued for again.
pub(super) fn c11_a_key_lost_while_waiting_is_taken_again(subject: &Subject) {
    if !sets(subject) {
        return;
    }
    if !subject.can().evict {
        return subject.assert_evict_unsupported();
    }
    if !subject.can().listing {
        return super::holders::assert_listing_unsupported(subject);
    }
    let busy = subject.take(subject.theirs("c"));
    let mut set = subject.queue(all(subject, ["a", "b", "c"]));
    // Where the arbiter grants a set in one step there is nothing to take away before that.
    let taken = subject.holders("a");
    let Some(token) = taken.first().map(|holder| holder.token.expect("a hold has a token")) else {
        subject.release(busy);
        return drop(set.granted(subject));
    };
    assert!(subject.evict("a", token), "what is listed can be evicted");
    // It may have come back for it already; if not, it waits for whoever was quicker.
    match subject.outcome(subject.try_theirs("a")) {
        Ok(taken) => {
            subject.release(busy);
            set.assert_waits(subject);
            taken.check().expect("the set waits for its release");
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
            subject.release(busy);
        }
    }
    let set = set.granted(subject);
    set.check().expect("it has been completed after all");
    for key in ["a", "b", "c"] {
        subject.contended(subject.theirs(key));
    }
    drop(set);
    for key in ["a", "b", "c"] {
        subject.assert_free(key);
    }
}

/// A set that steals steals what it has to, and waits for what it may not steal.
pub(super) fn c11_a_set_can_steal(subject: &Subject) {
    if !sets(subject) || !super::stealing::steals(subject) {
        return;
    }
    let age = subject.unit();
    let old = subject.take(subject.theirs("b"));
    subject.advance(age + subject.late());
    let set = subject.take(all(subject, ["a", "b", "c"]).steal_after(age).wait(false));
    super::stealing::assert_stolen(subject, &old);
    drop(old);
    for key in ["a", "b", "c"] {
        subject.contended(subject.theirs(key));
    }
    drop(set);
}

/// Sets can be shared, and hold back whom a reader would.
pub(super) fn c11_sets_can_be_shared(subject: &Subject) {
    if !sets(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let one = subject.take(all(subject, ["a", "b"]).shared());
    let two = subject.take(subject.their_backend().all(["b", "c"]).shared());
    for key in ["a", "b", "c"] {
        subject.contended(subject.theirs(key));
    }
    drop(one);
    subject.assert_free("a");
    subject.contended(subject.theirs("b"));
    drop(two);
    subject.assert_free("b");
}
