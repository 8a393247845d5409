//! C8: how a holder learns that the lock is no longer its own.

use std::sync::Arc;

use super::pending::Driven;
use super::subject::Subject;
use locks_core::{ErrorKind, LostCause, OwnedGuard};

/// Takes `k` away from whoever holds it, by whatever the backend can do; `None` if it has no
/// way to.
fn rob(subject: &Subject, guard: &OwnedGuard) -> Option<LostCause> {
    let can = subject.can();
    if can.evict {
        assert!(subject.evict("k", guard.token()), "the hold was not found");
        return Some(LostCause::Evicted);
    }
    can.steal.then(|| {
        subject.advance(subject.unit() + subject.late());
        drop(subject.take(subject.try_theirs("k").steal_after(subject.unit())));
        LostCause::Stolen
    })
}

pub(super) fn c8_a_lost_guard_says_so(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    assert!(!guard.is_lost());
    guard.check().expect("it is held");
    if let Some(cause) = rob(subject, &guard) {
        subject.assert_lost(&guard, cause);
        subject.assert_lost(&guard, cause);
        let error = guard.check().expect_err("it is lost");
        assert!(error.is_lost() && !error.is_contended());
        if let Some(token) = error.token() {
            assert_eq!(token, guard.token());
        }
    }
    drop(guard);
    subject.assert_free("k");
}

/// `lost()` wakes whoever waits for it, and not before there is a loss.
pub(super) fn c8_lost_resolves_on_loss_and_only_then(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let mut lost = Driven::new(guard.lost());
    assert!(lost.poll().is_pending());
    let waiting = subject.queue(subject.theirs("k"));
    drop(waiting);
    subject.contended(subject.theirs("k"));
    assert!(lost.poll().is_pending(), "nothing was lost");
    let Some(cause) = rob(subject, &guard) else { return };
    lost.assert_woken(subject.patience(), "`lost()`");
    let told = lost.finish(subject.patience(), "`lost()`");
    if subject.can().exclusion == locks_core::Exclusion::Process {
        assert_eq!(told, cause);
    }
}

/// Everybody who waits for the same loss hears of it, also who comes too late.
pub(super) fn c8_all_who_wait_for_a_loss_hear_of_it(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let mut one = Driven::new(guard.lost());
    let mut two = Driven::new(guard.lost());
    let mut dropped = Driven::new(guard.lost());
    assert!(one.poll().is_pending() && two.poll().is_pending() && dropped.poll().is_pending());
    drop(dropped);
    if rob(subject, &guard).is_none() {
        return;
    }
    for lost in [&mut one, &mut two] {
        lost.assert_woken(subject.patience(), "`lost()`");
        lost.finish(subject.patience(), "`lost()`");
    }
    subject.drive("`lost()`", guard.lost());
}

/// A watch that is dropped leaves nothing with the guard, which may live for long.
pub(super) fn c8_a_dropped_watch_leaves_nothing(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let mut stays = Driven::new(guard.lost());
    assert!(stays.poll().is_pending(), "nothing was lost");
    let left = Vec::from_iter((0..100).map(|_| {
        let mut lost = Driven::new(guard.lost());
        assert!(lost.poll().is_pending() && lost.poll().is_pending(), "nothing was lost");
        lost.wakes()
    }));
    subject.until("the wakers of dropped watches are dropped", || {
        left.iter().all(|wakes| Arc::strong_count(wakes) == 1)
    });
    if rob(subject, &guard).is_some() {
        stays.assert_woken(subject.patience(), "`lost()`");
    }
    drop(stays);
    drop(guard);
    subject.assert_free("k");
}

/// A hold that ends before it was handed over was nobody's: its request queues again.
pub(super) fn c8_a_grant_that_ran_out_before_its_hand_over_is_asked_for_again(subject: &Subject) {
    if !subject.can().bounds {
        let lock = subject.lock("k").hold_at_most(subject.unit());
        return subject.assert_unsupported("hold_at_most", lock);
    }
    let most = subject.unit();
    let guard = subject.take(subject.lock("k"));
    let waiting = subject.queue(subject.theirs("k").hold_at_most(most));
    subject.outwait();
    subject.release(guard);
    waiting.assert_woken(subject);
    subject.advance(most + subject.late());
    let since = subject.now();
    let guard = waiting.granted(subject);
    let held = guard.check();
    // On a machine that stood still meanwhile it may be over once more.
    assert!(held.is_ok() || subject.now() - since >= most, "{held:?} was handed over");
    drop(guard);
    subject.assert_free("k");
}

/// A loss that nobody causes does not happen: not by time, use or waiters.
pub(super) fn c8_nothing_is_lost_without_a_cause(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let mut lost = Driven::new(guard.lost());
    let waiting = [0, 1, 2].map(|turn| subject.queue(subject.turns(turn, "k")));
    for _ in 0..5 {
        assert!(lost.poll().is_pending(), "nobody took it");
        subject.contended(subject.theirs("k"));
        subject.advance(subject.unit());
        subject.refresh(&guard);
        guard.check().expect("nobody took it");
    }
    drop(waiting);
    drop(lost);
    subject.release(guard);
    subject.assert_free("k");
}

/// The loss of one hold is not that of the next, nor of another key.
pub(super) fn c8_a_loss_concerns_one_hold(subject: &Subject) {
    let other = subject.take(subject.lock("other"));
    let guard = subject.take(subject.lock("k"));
    if rob(subject, &guard).is_some() {
        let next = subject.take(subject.theirs("k"));
        subject.until("the guard learns of its loss", || guard.is_lost());
        next.check().expect("it is held by its successor");
        drop(guard);
        next.check().expect("it is held by its successor");
    }
    other.check().expect("it is another key");
}

/// Among readers only the one that is evicted loses its hold.
pub(super) fn c8_one_reader_of_several_can_lose_its_hold(subject: &Subject) {
    let can = subject.can();
    if !can.shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    if !can.evict {
        return subject.assert_evict_unsupported();
    }
    let readers = [0, 1, 2].map(|turn| subject.take(subject.turns(turn, "k").shared()));
    assert!(subject.evict("k", readers[1].token()));
    subject.assert_lost(&readers[1], LostCause::Evicted);
    readers[0].check().expect("another one was evicted");
    readers[2].check().expect("another one was evicted");
    let [first, lost, last] = readers;
    drop((first, lost));
    subject.contended(subject.theirs("k"));
    drop(last);
    subject.assert_free("k");
}

/// `refresh` of what is lost is refused, and brings nothing back.
pub(super) fn c8_refresh_does_not_bring_back_what_is_lost(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    subject.refresh(&guard);
    let Some(cause) = rob(subject, &guard) else { return };
    let error = subject.drive("the refresh", guard.refresh_async()).expect_err("it is lost");
    assert!(error.is_lost(), "{error:?}");
    if subject.can().exclusion == locks_core::Exclusion::Process {
        assert_eq!(error.kind(), ErrorKind::Lost { cause });
    }
    drop(subject.take(subject.theirs("k")));
    subject.assert_lost(&guard, cause);
}

/// A lease is renewed while the guard lives, also where nobody waits or polls.
pub(super) fn c8_a_living_hold_outlives_its_lease(subject: &Subject) {
    let lease = subject.fixture().lease();
    let guard = subject.take(subject.lock("k").lease(lease));
    // In thirds, so that whoever renews gets to see the time pass.
    for _ in 0..9 {
        subject.advance(lease / 3);
        subject.round_trip();
    }
    guard.check().expect("it lives");
    subject.contended(subject.theirs("k"));
    subject.release(guard);
    subject.assert_free("k");
}
