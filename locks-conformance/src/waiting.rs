//! C2: how long a request waits.

use std::time::Duration;

use super::pending::Pending;
use super::subject::Subject;
use locks_core::{ErrorKind, Wait};

pub(super) fn c2_without_waiting_it_never_queues(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let mut refused = Pending::begin(subject.try_theirs("k"));
    refused.poll();
    subject.round_trip();
    assert_ne!(subject.waiters("k").unwrap_or(0), 1, "it queues");
    let error = refused.refused(subject, ErrorKind::Contended);
    assert!(error.is_contended());
    assert_eq!(error.key(), "k");
    subject.release(guard);
    subject.assert_free("k");
}

/// A refused request that does not wait leaves those who do alone.
pub(super) fn c2_without_waiting_it_leaves_the_queue_alone(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let mut waiting = subject.queue(subject.theirs("k"));
    for turn in 0..4 {
        subject.contended(subject.turns(turn, "k"));
    }
    waiting.assert_waits(subject);
    subject.release(guard);
    drop(waiting.granted(subject));
    subject.assert_free("k");
}

pub(super) fn c2_a_timeout_comes_neither_early_nor_late(subject: &Subject) {
    let (guard, limit) = (subject.take(subject.lock("k")), subject.unit());
    let since = subject.now();
    let waiting = Pending::begin(subject.theirs("k").wait(limit));
    let error = waiting.due(subject, since, limit).expect_err("it is held");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.is_contended());
    assert_ne!(subject.waiters("k").unwrap_or(0), 1, "it still queues");
    guard.check().expect("a timeout of others does not touch the holder");
    subject.release(guard);
    subject.assert_free("k");
}

/// The same for a thread that blocks.
pub(super) fn c2_a_blocking_timeout_ends(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let limit = subject.unit();
    let since = subject.now();
    let waiting = subject.thread("a waiter", move |subject| {
        let error = subject.theirs("k").wait(limit).acquire().expect_err("it is held");
        (error, subject.now() - since)
    });
    let (error, waited) = waiting.finish_in_time(subject);
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(waited >= limit, "{waited:?} of {limit:?}");
    subject.release(guard);
    subject.assert_free("k");
}

/// Waiters with different limits give up each in its own time, and the patient one gets it.
pub(super) fn c2_each_timeout_is_its_own(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let unit = subject.unit();
    let since = subject.now();
    let long = subject.queue_until(subject.theirs("k").wait(unit * 3), since, unit * 3);
    let short = subject.queue_until(subject.theirs("k").wait(unit), since, unit);
    let patient = subject.queue(subject.lock("k"));
    let mid = subject.queue_until(subject.theirs("k").wait(unit * 2), since, unit * 2);
    for (waiting, after) in [(short, unit), (mid, unit * 2), (long, unit * 3)] {
        let error = waiting.due(subject, since, after).expect_err("it is held");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    }
    subject.release(guard);
    drop(patient.granted(subject));
    subject.assert_free("k");
}

/// A limit of nothing is an answer at once; a limit beyond all clocks is none.
pub(super) fn c2_extreme_limits_are_limits(subject: &Subject) {
    let guard = subject.take(subject.lock("k").wait(Duration::ZERO));
    let none = Pending::begin(subject.theirs("k").wait(Duration::ZERO));
    let since = subject.now();
    let error = none.due(subject, since, Duration::ZERO).expect_err("it is held");
    assert!(error.is_contended(), "{error:?}");
    let endless = subject.queue(subject.theirs("k").wait(Duration::MAX));
    subject.release(guard);
    drop(endless.granted(subject));
    subject.assert_free("k");
}

/// Nothing begins before the first poll: no queueing, and no clock.
pub(super) fn c2_the_deadline_starts_at_the_first_poll(subject: &Subject) {
    let unit = subject.unit();
    let early = Pending::begin(subject.theirs("k"));
    let guard = subject.take(subject.try_lock("k"));
    let waiting = Pending::begin(subject.theirs("k").wait(unit));
    subject.round_trip();
    assert_eq!(subject.waiters("k").unwrap_or(0), 0, "it queued before it was polled");
    subject.advance(unit * 2);
    let since = subject.now();
    let error = waiting.due(subject, since, unit).expect_err("it is held");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    drop(early);
    subject.release(guard);
    subject.assert_free("k");
}

/// Whether the grant or the deadline comes first: one outcome, and nothing left behind.
pub(super) fn c2_a_grant_that_races_the_timeout_is_not_leaked(subject: &Subject) {
    let unit = subject.unit();
    for before in [true, false] {
        let guard = subject.take(subject.lock("k"));
        let since = subject.now();
        let waiting = subject.queue_until(subject.theirs("k").wait(unit), since, unit);
        // Released, and so handed to the waiter, but it hears of it only after its time.
        let mut guard = Some(guard);
        if before {
            drop(guard.take());
        }
        subject.advance((since + unit + subject.late()).saturating_sub(subject.now()));
        drop(guard);
        match waiting.finish(subject) {
            Ok(guard) => subject.release(guard),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}"),
        }
        subject.assert_free("k");
    }
}

/// The same by two threads that really race.
pub(super) fn c2_threads_race_their_timeouts(subject: &Subject) {
    let limit = subject.tick();
    for round in 0..20 {
        let guard = subject.take(subject.lock("k"));
        let waiting = subject.thread("a waiter", move |subject| {
            drop(subject.theirs("k").wait(limit).acquire());
        });
        if subject.waiters("k").is_some() {
            // Where the clock cannot be held its time may be over by now.
            subject.until("it waits", || subject.waiters("k") == Some(1) || waiting.is_finished());
        }
        if round % 2 == 0 {
            subject.advance(limit);
            drop(guard);
        } else {
            drop(guard);
            subject.advance(limit);
        }
        waiting.finish_in_time(subject);
        subject.assert_free("k");
    }
}

/// A timed-out waiter was in nobody's way afterwards.
pub(super) fn c2_a_timeout_lets_those_behind_it_through(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let reader = subject.take(subject.lock("k").shared());
    let unit = subject.unit();
    let since = subject.now();
    let writer = subject.queue_until(subject.theirs("k").wait(unit), since, unit);
    subject.outwait();
    let other = match subject.orders() {
        true => subject.queue(subject.lock("k").shared()),
        false => Pending::begin(subject.lock("k").shared()),
    };
    let error = writer.due(subject, since, unit).expect_err("there is a reader");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    drop(other.granted(subject));
    subject.release(reader);
    subject.assert_free("k");
}

/// `wait(true)` outlasts any time.
pub(super) fn c2_waiting_for_ever_is_for_ever(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let mut waiting = subject.queue(subject.theirs("k").wait(Wait::Forever));
    let mut also = subject.queue(subject.lock("k").wait(true));
    subject.advance(subject.unit() * 3);
    waiting.assert_waits(subject);
    also.assert_waits(subject);
    subject.release(guard);
    match subject.orders() {
        true => drop(waiting.granted(subject)),
        false => drop(waiting),
    }
    drop(also.granted(subject));
    subject.assert_free("k");
}
