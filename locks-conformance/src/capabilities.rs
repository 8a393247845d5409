//! C15: what a backend declares is what it does.

use super::subject::Subject;
use locks_core::{ErrorKind, LockBuilder, SharedOwner};

/// An option: what it is called, whether it is declared, and a request with it.
type Asked = (&'static str, bool, LockBuilder<'static>);

fn options(subject: &Subject) -> [Asked; 12] {
    let (can, unit) = (subject.can(), subject.unit());
    let k = || subject.lock("k");
    // Where there is no permit at all, that is what is said.
    let several = if can.permits { "take" } else { "permits" };
    [
        ("shared", can.shared, k().shared()),
        ("permits", can.permits, k().permits(2)),
        (several, can.several_permits, k().permits(3).take(2)),
        ("steal_after", can.steal, k().steal_after(unit)),
        ("hold_at_least", can.bounds, k().hold_at_least(subject.tick())),
        ("hold_at_most", can.bounds, k().hold_at_most(unit)),
        ("reentrant", can.reentrant, k().owner(1).reentrant()),
        ("shared_owner", can.shared_owner, k().shared_owner(SharedOwner::random())),
        ("several keys", can.several_keys, subject.backend().all(["k", "l"])),
        ("fair", subject.orders(), k().fair(true)),
        ("wait", true, k().wait(unit)),
        ("lease", true, k().lease(subject.fixture().lease())),
    ]
}

/// Every declared option is granted, and every other refused by name, waiting or not.
pub(super) fn c15_options_are_granted_or_refused_as_declared(subject: &Subject) {
    for (option, declared, lock) in options(subject) {
        if declared {
            drop(subject.take(lock));
            subject.advance(subject.late());
        } else {
            subject.assert_unsupported(option, lock.clone());
            subject.refused(lock, ErrorKind::Unsupported);
        }
        subject.assert_free("k");
    }
}

/// A refusal comes before anything is touched or waited for.
pub(super) fn c15_refusals_come_first(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    for (option, declared, lock) in options(subject) {
        if !declared {
            subject.assert_unsupported(option, lock.clone());
            subject.refused(lock, ErrorKind::Unsupported);
        }
    }
    guard.check().expect("a refused request steals nothing");
    assert_eq!(subject.waiters("k").unwrap_or(0), 0, "a refused request queues");
    subject.release(guard);
    subject.assert_free("k");
}

/// The description has a name and does not change with use.
pub(super) fn c15_the_description_is_constant(subject: &Subject) {
    let before = subject.backend().about().clone();
    assert!(!before.name.is_empty(), "errors could not name the backend");
    let can = before.capabilities;
    assert!(can.listing || !can.listing_waiters, "waiters are listed only in a list");
    assert!(can.permits || !can.several_permits, "several permits are permits");
    assert!(can.reentrant || !can.shared_owner, "a hand-over is a re-entry");
    assert!(can.reentrant && can.shared || !can.upgrade, "an upgrade is a re-entry of a reader");
    let guard = subject.take(subject.lock("k"));
    assert_eq!(*subject.backend().about(), before);
    drop(guard);
    assert_eq!(*subject.backend().about(), before);
    if let Some(rival) = subject.rival() {
        assert_eq!(rival.can(), can, "two clients of one arbiter can do different things");
    }
}

/// Listing and eviction are done or refused as declared.
pub(super) fn c15_listing_and_eviction_as_declared(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    match subject.can().listing {
        true => assert_eq!(subject.holders("k").len(), 1),
        false => super::holders::assert_listing_unsupported(subject),
    }
    if !subject.can().evict {
        subject.assert_evict_unsupported();
        guard.check().expect("a refused eviction ends nothing");
        return;
    }
    let token = guard.token();
    assert!(!subject.evict("other", token), "there is no such key");
    let wrong = locks_core::Token::new(token.get() + 1000);
    assert!(!subject.evict("k", wrong), "there is no such token");
    guard.check().expect("another hold was meant");
    assert!(subject.evict("k", token));
    assert!(!subject.evict("k", token), "it ended a second time");
    let waiting = subject.take(subject.theirs("k"));
    subject.until("the guard learns of its loss", || guard.is_lost());
    drop((guard, waiting));
    subject.assert_free("k");
}

/// An evicted hold makes room for who waits.
pub(super) fn c15_eviction_serves_the_next(subject: &Subject) {
    if !subject.can().evict {
        return subject.assert_evict_unsupported();
    }
    let guard = subject.take(subject.lock("k"));
    let waiting = subject.queue(subject.theirs("k"));
    assert!(subject.evict("k", guard.token()));
    waiting.assert_woken(subject);
    let next = waiting.granted(subject);
    subject.contended(subject.lock("k"));
    next.check().expect("it is held");
    drop((guard, next));
    subject.assert_free("k");
}
