//! C5: an acquisition that is dropped.

use super::fairness::serve_all;
use super::pending::Pending;
use super::subject::Subject;
use locks_core::LockBuilder;

/// Dropped after any number of polls, while it has to wait: nothing is left of it.
pub(super) fn c5_dropped_while_waiting_after_any_number_of_polls(subject: &Subject) {
    for polls in 0..6 {
        let guard = subject.take(subject.lock("k"));
        let mut waiting = Pending::begin(subject.theirs("k"));
        for _ in 0..polls {
            assert!(!waiting.poll(), "it is held");
        }
        drop(waiting);
        subject.round_trip();
        assert_eq!(subject.waiters("k").unwrap_or(0), 0, "it still queues after {polls} polls");
        subject.release(guard);
        subject.assert_free("k");
    }
}

/// Dropped after any number of polls, while nothing is in its way: no hold is left.
pub(super) fn c5_dropped_while_free_after_any_number_of_polls(subject: &Subject) {
    let locks: [fn(&Subject) -> LockBuilder<'static>; 3] = [
        |subject| subject.lock("k"),
        |subject| subject.lock("k").wait(subject.unit() * 100),
        |subject| subject.try_lock("k"),
    ];
    for lock in locks {
        for polls in 0..6 {
            let mut acquire = Pending::begin(lock(subject));
            for _ in 0..polls {
                acquire.poll();
            }
            drop(acquire);
            subject.assert_free("k");
        }
    }
}

/// The first, the last and one in between leave the queue; the others move up in order.
pub(super) fn c5_dropped_anywhere_in_the_queue(subject: &Subject) {
    for gone in 0..4 {
        let guard = subject.take(subject.lock("k"));
        let mut waiting =
            Vec::from_iter((0..4).map(|turn| subject.queue(subject.turns(turn, "k"))));
        drop(waiting.remove(gone));
        subject.round_trip();
        assert_eq!(subject.waiters("k").unwrap_or(3), 3, "it still queues");
        subject.release(guard);
        if !subject.orders() {
            serve_all(subject, waiting);
            continue;
        }
        for waiting in waiting {
            drop(waiting.granted(subject));
        }
        subject.assert_free("k");
    }
}

/// A waiter that was handed the lock but dropped before it looked passes it on.
pub(super) fn c5_dropped_after_the_grant_passes_it_on(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let first = subject.queue(subject.theirs("k"));
    let second = subject.queue(subject.lock("k"));
    subject.outwait();
    subject.release(guard);
    if subject.orders() {
        first.assert_woken(subject);
    }
    drop(first);
    second.assert_woken(subject);
    drop(second.granted(subject));
    subject.assert_free("k");
}

/// The same where nobody is next: the lock is free again.
pub(super) fn c5_dropped_after_the_grant_frees_it(subject: &Subject) {
    for _ in 0..10 {
        let guard = subject.take(subject.lock("k"));
        let waiting = subject.queue(subject.theirs("k"));
        drop(guard);
        waiting.assert_woken(subject);
        drop(waiting);
        subject.assert_free("k");
    }
}

/// A writer that gives up lets the readers behind it in beside the one inside.
pub(super) fn c5_a_dropped_writer_lets_readers_through(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let reader = subject.take(subject.lock("k").shared());
    let writer = subject.queue(subject.theirs("k"));
    subject.outwait();
    if !subject.orders() {
        drop((writer, reader));
        return subject.assert_free("k");
    }
    let behind = [0, 1].map(|turn| subject.queue(subject.turns(turn, "k").shared()));
    drop(writer);
    let readers = behind.map(|waiting| {
        waiting.assert_woken(subject);
        waiting.granted(subject)
    });
    drop((readers, reader));
    subject.assert_free("k");
}

/// A thief that gives up steals nothing, due or not.
pub(super) fn c5_a_dropped_thief_steals_nothing(subject: &Subject) {
    if !subject.can().steal {
        let lock = subject.lock("k").steal_after(subject.unit());
        return subject.assert_unsupported("steal_after", lock);
    }
    let (age, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let mut thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    if thief.poll() {
        // The machine stood still for longer than the age: nothing can be said.
        return;
    }
    drop(thief);
    // What it asked last may be on its way, ahead of its withdrawal.
    subject.round_trip();
    subject.advance(subject.unit() + subject.late());
    subject.round_trip();
    victim.check().expect("nobody is there to steal it");
    subject.release(victim);
    subject.assert_free("k");
}

/// One that waits for the second of its keys gives the first back.
pub(super) fn c5_a_dropped_set_gives_back_what_it_has(subject: &Subject) {
    if !subject.can().several_keys {
        return subject.assert_unsupported("several keys", subject.backend().all(["a", "b"]));
    }
    let busy = subject.take(subject.theirs("b"));
    let set = subject.queue(subject.backend().all(["a", "b"]));
    let next = subject.queue(subject.lock("a"));
    drop(set);
    next.assert_woken(subject);
    drop(next.granted(subject));
    subject.release(busy);
    subject.assert_free("a");
    subject.assert_free("b");
}

/// Many come and go on threads; the key is as before.
pub(super) fn c5_many_dropped_waiters_leave_nothing(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let threads = [(); 3].map(|()| {
        subject.thread("a fickle thread", |subject| {
            for round in 0..100 {
                let mut waiting = Pending::begin(subject.theirs("k"));
                waiting.poll();
                if round % 3 == 0 {
                    waiting.poll();
                }
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.finish());
    subject.round_trip();
    assert_eq!(subject.waiters("k").unwrap_or(0), 0);
    subject.release(guard);
    subject.assert_free("k");
}
