//! C9: one owner of several clients, to whom a lock is handed over.

use super::subject::Subject;
use locks_core::{ErrorKind, HolderInfo, SharedOwner};

/// Whether the backend knows such owners; if not, asserts that it says so.
fn hands_over(subject: &Subject) -> bool {
    let can = subject.can().shared_owner;
    if !can {
        let lock = subject.lock("k").shared_owner(SharedOwner::random());
        subject.assert_unsupported("shared_owner", lock);
    }
    can
}

/// Asserts that so many guards are one hold of the owner's, where the backend lists holders.
#[track_caller]
fn assert_listed(subject: &Subject, owner: SharedOwner, depth: usize) {
    if subject.can().listing {
        let holders = subject.holders("k");
        let is_so = |holder: &HolderInfo| (holder.owner, holder.depth) == (Some(owner.id()), depth);
        assert!(!holders.is_empty() && holders.iter().all(is_so), "{depth}: {holders:?}");
    }
}

/// A client with the same shared owner enters the hold, with its token. The lock is free after the
/// last release, in whatever order they come.
pub(super) fn c9_a_shared_owner_holds_until_its_last_guard_goes(subject: &Subject) {
    if !hands_over(subject) {
        return;
    }
    for parent_goes_first in [true, false] {
        let owner = SharedOwner::random();
        let parents = subject.take(subject.lock("k").shared_owner(owner));
        let childs = subject.take(subject.theirs("k").shared_owner(owner).reentrant());
        assert_eq!(childs.token(), parents.token(), "re-entry keeps the token");
        let strangers = || {
            let other = SharedOwner::random();
            subject.contended(subject.theirs("k").shared_owner(other).reentrant());
            for lock in [subject.lock("k"), subject.theirs("k")] {
                subject.contended(lock.clone());
                subject.contended(lock.owner(owner.id().to_parts().2).reentrant());
            }
        };
        strangers();
        assert_listed(subject, owner, 2);
        let (first, last) = if parent_goes_first { (parents, childs) } else { (childs, parents) };
        subject.release(first);
        last.check().expect("the other guard has not ended");
        strangers();
        assert_listed(subject, owner, 1);
        for lock in [subject.lock("k"), subject.theirs("k")] {
            let again = subject.take(lock.shared_owner(owner).reentrant());
            assert_eq!(again.token(), last.token());
            subject.release(again);
        }
        subject.release(last);
        subject.assert_free("k");
    }
}

/// What lists and errors show of it is not enough to be it.
pub(super) fn c9_the_id_of_a_shared_owner_is_not_the_owner(subject: &Subject) {
    let id = SharedOwner::random().id();
    subject.assert_unsupported("owner", subject.lock("k").owner(id));
    subject.assert_free("k");
}

/// Without `reentrant` it waits for the others' guards as for any other, and does not take that for
/// a deadlock; but for one of its own thread's.
pub(super) fn c9_a_shared_owner_waits_where_it_does_not_nest(subject: &Subject) {
    if !hands_over(subject) {
        return;
    }
    let owner = SharedOwner::random();
    let parents = subject.take(subject.lock("k").shared_owner(owner));
    subject.contended(subject.theirs("k").shared_owner(owner));
    let mut waiting = subject.queue(subject.theirs("k").shared_owner(owner));
    subject.outwait();
    waiting.assert_waits(subject);
    subject.release(parents);
    drop(waiting.granted(subject));
    let thread = subject.thread("a thread", move |subject| {
        let guard = subject.lock("k").shared_owner(owner).acquire().expect("it is free");
        if subject.can().deadlock_detection {
            let again = subject.lock("k").shared_owner(owner).acquire();
            let error = again.expect_err("this very thread has it");
            assert_eq!(error.kind(), ErrorKind::Deadlock, "{error:?}");
        }
        drop(guard);
    });
    thread.finish();
    subject.assert_free("k");
}

/// That one of those who share an owner waits keeps none of the others from letting go.
pub(super) fn c10_a_shared_owner_closes_no_cycle_by_its_name(subject: &Subject) {
    if !hands_over(subject) || !subject.can().deadlock_detection {
        return;
    }
    let owner = SharedOwner::random();
    let a = subject.take(subject.lock("a").shared_owner(owner));
    let b = subject.take(subject.theirs("b").owner(2));
    let for_a = subject.queue(subject.theirs("a").owner(2));
    let mut for_b = subject.queue(subject.lock("b").shared_owner(owner));
    subject.outwait();
    for_b.assert_waits(subject);
    subject.release(a);
    drop((for_a.granted(subject), b));
    drop(for_b.granted(subject));
    subject.assert_free("a");
    subject.assert_free("b");
}

/// What is stolen is the whole hold, and each of those who have a guard of it hears of that.
pub(super) fn c9_a_thief_takes_all_guards_of_a_shared_owner(subject: &Subject) {
    if !hands_over(subject) || !super::stealing::steals(subject) {
        return;
    }
    let owner = SharedOwner::random();
    let (age, since) = (subject.unit(), subject.now());
    let parents = subject.take(subject.lock("k").shared_owner(owner));
    let childs = subject.take(subject.theirs("k").shared_owner(owner).reentrant());
    let thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    let thief = thief.due(subject, since, age).expect("it was old enough");
    super::stealing::assert_stolen(subject, &parents);
    super::stealing::assert_stolen(subject, &childs);
    drop((parents, childs));
    thief.check().expect("late releases free nothing");
    subject.release(thief);
    subject.assert_free("k");
}
