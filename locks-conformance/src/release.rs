//! C4: how a hold ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::pending::Driven;
use super::subject::Subject;
use locks_core::{LockBuilder, LostCause, OwnedGuard};

pub(super) fn c4_dropping_a_guard_releases_it(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    subject.contended(subject.theirs("k"));
    drop(guard);
    subject.assert_free("k");
}

pub(super) fn c4_release_confirms(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    subject.contended(subject.theirs("k"));
    subject.release(guard);
    subject.assert_free("k");
    let guard = subject.take(subject.lock("k"));
    guard.release().expect("it was held");
    subject.assert_free("k");
}

/// A release has begun once it was polled, and ends although nobody asks how.
pub(super) fn c4_an_abandoned_release_is_a_release(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let waiting = subject.queue(subject.theirs("k"));
    let mut release = Driven::new(guard.release_async());
    let _ = release.poll();
    drop(release);
    drop(waiting.granted(subject));
    let guard = subject.take(subject.lock("k"));
    subject.contended(subject.theirs("k"));
    // Never polled at all: dropped with the guard in it.
    drop(guard.release_async());
    subject.assert_free("k");
}

pub(super) fn c4_a_panic_releases(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    subject.contended(subject.theirs("k"));
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _guard = guard;
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
    drop(subject.take(subject.theirs("k")));
    subject.assert_free("k");
}

/// A future that is dropped while it holds the lock gives it back.
pub(super) fn c4_a_cancelled_future_releases(subject: &Subject) {
    let lock = subject.lock("k");
    let mut body = Driven::new(async move {
        let _guard = lock.acquire_async().await.expect("it is free");
        std::future::pending::<()>().await;
    });
    subject.until("the body holds the lock", || {
        assert!(body.poll().is_pending());
        subject.outcome(subject.try_theirs("k")).is_err()
    });
    drop(body);
    subject.assert_free("k");
}

pub(super) fn c4_another_thread_can_release(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let waiting = subject.queue(subject.theirs("k"));
    subject.thread("another thread", move |_| drop(guard)).finish();
    let guard = waiting.granted(subject);
    subject.thread("another thread", move |subject| subject.release(guard)).finish();
    let blocking = subject.thread("a blocking thread", |subject| {
        subject.theirs("k").acquire().expect("it is free").into_owned()
    });
    drop(blocking.finish());
    subject.assert_free("k");
}

/// A thread that ends releases what its locals hold.
pub(super) fn c4_a_thread_that_ends_releases(subject: &Subject) {
    let thread = subject.thread("a thread", |subject| {
        let _guard = subject.lock("k").acquire().expect("it is free");
        subject.contended(subject.theirs("k"));
    });
    thread.finish();
    subject.assert_free("k");
}

/// Every release wakes who is next, however often.
pub(super) fn c4_every_release_wakes_the_next(subject: &Subject) {
    let mut guard = subject.take(subject.lock("k"));
    for round in 0..20 {
        let waiting = subject.queue(subject.turns(round + 1, "k"));
        match round % 2 {
            0 => drop(guard),
            _ => subject.release(guard),
        }
        waiting.assert_woken(subject);
        guard = waiting.granted(subject);
    }
    drop(guard);
    subject.assert_free("k");
}

/// A waker that panics costs its own task a wake-up, and nobody else anything.
pub(super) fn c4_a_waker_that_panics_costs_nobody_else(subject: &Subject) {
    // The panic may be seen by whoever wakes: it is nobody's fault but the waker's.
    let let_go = |guard: OwnedGuard| drop(catch_unwind(AssertUnwindSafe(|| drop(guard))));
    for is_first in [true, false] {
        let guard = subject.take(subject.lock("k"));
        let before = (!is_first).then(|| subject.queue(subject.lock("k")));
        // Readers are woken together.
        let read = |lock: LockBuilder<'static>| match subject.can().shared {
            true => lock.shared(),
            false => lock,
        };
        let mut faulty = subject.queue(read(subject.theirs("k")));
        let after = subject.queue(read(subject.lock("k")));
        subject.outwait();
        faulty.poll_with(&Waker::from(Arc::new(Faulty)));
        let_go(guard);
        if subject.orders() && subject.can().shared {
            if let Some(before) = before {
                let_go(before.granted(subject));
            }
            let after = after.granted(subject);
            drop((faulty, after));
            subject.assert_free("k");
        } else {
            drop(faulty);
            super::fairness::serve_all(subject, before.into_iter().chain([after]).collect());
        }
    }
}

/// Panics when it is woken.
struct Faulty;

impl Wake for Faulty {
    fn wake(self: Arc<Self>) {
        // Without the hook, which would print it.
        std::panic::resume_unwind(Box::new("a faulty waker"));
    }
}

/// The release of a hold that was taken away says so and frees nothing.
pub(super) fn c4_releasing_a_lost_hold_does_not_touch_the_next(subject: &Subject) {
    if !subject.can().evict {
        return subject.assert_evict_unsupported();
    }
    let lost = subject.take(subject.lock("k"));
    assert!(subject.evict("k", lost.token()));
    let next = subject.take(subject.theirs("k"));
    let error = subject.drive("the release", lost.release_async()).unwrap_err();
    subject.assert_lost_error(&error, LostCause::Evicted);
    next.check().expect("it is held by its successor");
    subject.contended(subject.lock("k"));
    subject.release(next);
    subject.assert_free("k");
}

/// The same for one that is merely dropped, with a waiter who may not be let in by it.
pub(super) fn c4_dropping_a_lost_guard_does_not_touch_the_next(subject: &Subject) {
    if !subject.can().evict {
        return subject.assert_evict_unsupported();
    }
    let lost = subject.take(subject.lock("k"));
    let next = subject.queue(subject.theirs("k"));
    assert!(subject.evict("k", lost.token()));
    let next = next.granted(subject);
    let mut last = subject.queue(subject.lock("k"));
    drop(lost);
    last.assert_waits(subject);
    next.check().expect("it is held by its successor");
    subject.contended(subject.lock("k"));
    drop(next);
    drop(last.granted(subject));
    subject.assert_free("k");
}
