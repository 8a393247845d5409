//! C9: who counts as one, and nests.

use std::cell::RefCell;
use std::sync::mpsc::{Sender, channel};

use super::subject::Subject;
use locks_core::{Backend, ErrorKind, LockError, OwnerId};

/// Whether the backend nests; if not, asserts that it says so.
pub(super) fn nests(subject: &Subject) -> bool {
    let can = subject.can().reentrant;
    if !can {
        let lock = subject.lock("k").owner(1).reentrant();
        subject.assert_unsupported("reentrant", lock);
    }
    can
}

/// Without `reentrant` the holder's own request conflicts, and is told so instead of hanging.
pub(super) fn c9_by_default_the_holder_does_not_nest(subject: &Subject) {
    let guard = subject.take(subject.lock("k").owner(1));
    subject.contended(subject.lock("k").owner(1));
    if subject.can().deadlock_detection {
        let error = subject.refused(subject.lock("k").owner(1), ErrorKind::Deadlock);
        assert_eq!(error.cycle().len(), 1, "{error:?}");
        assert_eq!(error.cycle()[0].wants, "k");
        let limited = subject.lock("k").owner(1).wait(subject.unit() * 100);
        subject.refused(limited, ErrorKind::Deadlock);
    }
    assert_eq!(subject.waiters("k").unwrap_or(0), 0, "a refused request queues");
    guard.check().expect("the refusals did not touch it");
    subject.contended(subject.lock("k"));
    subject.release(guard);
    subject.assert_free("k");
}

/// The same for a thread that blocks.
pub(super) fn c9_a_thread_is_one_holder(subject: &Subject) {
    let thread = subject.thread("a thread", |subject| {
        let outer = subject.lock("k").acquire().expect("it is free");
        let error = subject.try_lock("k").acquire().expect_err("this thread has it");
        assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
        if subject.can().deadlock_detection {
            let error = subject.lock("k").acquire().expect_err("this thread has it");
            assert_eq!(error.kind(), ErrorKind::Deadlock, "{error:?}");
        }
        if subject.can().reentrant {
            let inner = subject.lock("k").reentrant().acquire().expect("it nests");
            assert_eq!(inner.token(), outer.token(), "re-entry keeps the token");
            drop(inner);
        }
        subject.contended(subject.lock("k"));
        drop(outer);
        subject.assert_free("k");
    });
    thread.finish();
    nests(subject);
}

/// The nest is released with its last guard, in whatever order they go.
pub(super) fn c9_a_nest_is_released_with_its_last_guard(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    let lock = || subject.lock("k").owner(1).reentrant();
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let mut guards = [(); 3].map(|()| Some(subject.take(lock())));
        for (gone, guard) in order.into_iter().enumerate() {
            subject.contended(subject.theirs("k"));
            let guard = guards[guard].take().expect("each goes once");
            guard.check().expect("the nest is held");
            match gone % 2 {
                0 => drop(guard),
                _ => subject.release(guard),
            }
        }
        subject.assert_free("k");
    }
}

/// Re-entry keeps the token, and is in at once although others wait.
pub(super) fn c9_reentry_overtakes_the_queue_and_keeps_the_token(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    let outer = subject.take(subject.lock("k").owner(1));
    let mut waiting = subject.queue(subject.theirs("k").owner(2));
    subject.outwait();
    let inner = subject.take(subject.lock("k").owner(1).reentrant().fair(true));
    assert_eq!(inner.token(), outer.token());
    drop(outer);
    waiting.assert_waits(subject);
    drop(inner);
    drop(waiting.granted(subject));
    subject.assert_free("k");
}

/// Re-entry does not make the hold younger; what is stolen is the whole nest.
pub(super) fn c9_reentry_does_not_renew_the_age(subject: &Subject) {
    if !nests(subject) || !super::stealing::steals(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let outer = subject.take(subject.lock("k").owner(1));
    let thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    subject.advance(age / 2);
    let inner = subject.outcome(subject.try_lock("k").owner(1).reentrant());
    drop(thief.due(subject, since, age).expect("it was old enough"));
    super::stealing::assert_stolen(subject, &outer);
    if let Ok(inner) = inner {
        super::stealing::assert_stolen(subject, &inner);
    }
    subject.assert_free("k");
}

/// The holder itself can steal when due, like anybody, instead of nesting or failing.
pub(super) fn c9_the_holder_steals_from_itself_when_due(subject: &Subject) {
    if !super::stealing::steals(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let old = subject.take(subject.lock("k").owner(1));
    let thief = subject.queue_until(subject.lock("k").owner(1).steal_after(age), since, age);
    let thief = thief.due(subject, since, age).expect("it was old enough");
    super::stealing::assert_stolen(subject, &old);
    assert!(thief.token() > old.token());
}

/// Only who is the same nests: others wait, named or not.
pub(super) fn c9_others_do_not_nest(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    let guard = subject.take(subject.lock("k").owner(1));
    subject.contended(subject.lock("k").owner(2).reentrant());
    subject.contended(subject.lock("k").owner(OwnerId::unique()).reentrant());
    let thread = subject.thread("a thread", |subject| {
        let error = subject.try_lock("k").reentrant().acquire().expect_err("another has it");
        assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
    });
    thread.finish();
    drop(guard);
    // A hold that belongs to nobody is not re-entered by anybody either.
    let guard = subject.take(subject.lock("k"));
    subject.contended(subject.lock("k").owner(1).reentrant());
    drop(guard);
}

/// Who holds by hand in async code is nobody in particular, and cannot ask to nest.
pub(super) fn c9_the_anonymous_cannot_nest(subject: &Subject) {
    subject.assert_unsupported("reentrant", subject.lock("k").reentrant());
    let guard = subject.take(subject.lock("k"));
    subject.assert_unsupported("reentrant", subject.lock("k").reentrant());
    drop(guard);
    subject.assert_free("k");
}

/// A guard made owned can be anywhere, so its thread does not nest in it: not in the hold alone,
/// nor in a nest of which it is a part.
pub(super) fn c9_a_guard_that_may_leave_its_thread_is_nobodys(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    let thread = subject.thread("a thread", |subject| {
        let lock = || subject.try_lock("k").reentrant().acquire();
        let refused = || {
            let error = lock().expect_err("the guard belongs to nobody any more");
            assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
        };
        let alone = lock().expect("it is free").into_owned();
        refused();
        drop(alone);
        let outer = lock().expect("it is free");
        let inner = lock().expect("it nests");
        let outer = outer.into_owned();
        drop(inner);
        refused();
        drop(outer);
        let outer = lock().expect("it is free");
        let inner = lock().expect("it nests").into_owned();
        refused();
        drop(inner);
        // What remains has stayed with the thread.
        drop(lock().expect("it nests"));
        drop(outer);
    });
    thread.finish();
    subject.assert_free("k");
}

/// The mode of a nest is the strongest of the guards that remain.
pub(super) fn c9_a_nest_has_the_strongest_mode_that_remains(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let outer = subject.take(subject.lock("k").owner(1));
    let inner = subject.take(subject.lock("k").owner(1).shared().reentrant());
    subject.contended(subject.theirs("k").shared());
    let waiting = subject.queue(subject.theirs("k").shared());
    drop(outer);
    if !subject.can().upgrade {
        // Where a hold cannot change its mode, it stays as strong as it was.
        subject.contended(subject.theirs("k").shared());
        drop(inner);
        return drop(waiting.granted(subject));
    }
    // What remains is shared, so readers may come in; writers may not.
    drop(waiting.granted(subject));
    subject.contended(subject.theirs("k"));
    inner.check().expect("it is held");
    drop(inner);
    subject.assert_free("k");
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Asks for a lock when its thread's locals are destroyed.
struct Last {
    backend: Backend,
    told: Sender<Result<(), LockError>>,
}

impl Drop for Last {
    fn drop(&mut self) {
        let outcome = self.backend.named("k").wait(false).acquire();
        // Nobody may be listening any more: then the case has failed already.
        let _ = self.told.send(outcome.map(drop));
    }
}

/// A thread that is ending can still lock, though not as itself.
pub(super) fn c9_an_ending_thread_can_lock(subject: &Subject) {
    let (told, outcome) = channel();
    let backend = subject.backend().clone();
    let thread = subject.thread("an ending thread", move |subject| {
        LAST.set(Some(Last { backend, told }));
        drop(subject.lock("other").acquire().expect("it is free"));
    });
    thread.finish();
    let outcome = outcome.recv_timeout(subject.patience());
    outcome.expect("it got an answer").expect("it is free");
    subject.assert_free("k");
}

/// What a function calls finds the guard around it, and no other.
pub(super) fn c9_the_guard_around_is_found(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    let thread = subject.thread("a thread", |subject| {
        let find = |subject: &Subject| {
            subject.backend().current_guard("k").expect("nothing keeps it from being looked for")
        };
        assert!(find(subject).is_none(), "nobody has it");
        let outer = subject.lock("k").acquire().expect("it is free");
        let elsewhere = subject.thread("another", move |subject| find(subject).is_none());
        assert!(elsewhere.finish(), "another thread's guard was found");
        let inner = find(subject).expect("this thread has it");
        inner.check().expect("it is held");
        inner.refresh().expect("it is held");
        assert_eq!(inner.token(), outer.token());
        drop(outer);
        subject.contended(subject.lock("k"));
        drop(inner);
        assert!(find(subject).is_none(), "it is over");
        subject.assert_free("k");
    });
    thread.finish();
}
