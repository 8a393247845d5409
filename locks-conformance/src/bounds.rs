//! C14: how long a hold lasts at least and at most.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::pending::Pending;
use super::subject::Subject;
use locks_core::{Caller, ErrorKind, Keys, LockBuilder, LostCause, Options, OwnerId, Request};

/// Whether the backend bounds holds; if not, asserts that it says so for both bounds.
pub(super) fn bounds(subject: &Subject) -> bool {
    let can = subject.can().bounds;
    if !can {
        let unit = subject.unit();
        subject.assert_unsupported("hold_at_least", subject.lock("k").hold_at_least(unit));
        subject.assert_unsupported("hold_at_most", subject.lock("k").hold_at_most(unit));
    }
    can
}

/// Released early it stays reserved: never free early, at most two ticks late.
pub(super) fn c14_hold_at_least_reserves_the_key(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let (least, since) = (subject.unit(), subject.now());
    let guard = subject.take(subject.lock("k").hold_at_least(least));
    subject.release(guard);
    let mut waiting = Pending::begin(subject.theirs("k"));
    waiting.not_before(subject, since, least);
    drop(waiting.due(subject, since, least).expect("the reservation is over"));
    subject.assert_free("k");
}

/// The reservation is nobody's: its former owner has to wait as well, also re-entering.
pub(super) fn c14_a_reservation_binds_its_former_owner_too(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let (least, me) = (subject.unit() * 1000, OwnerId::from(1));
    drop(subject.take(subject.lock("k").owner(me).hold_at_least(least)));
    subject.contended(subject.lock("k").owner(me));
    if subject.can().reentrant {
        subject.contended(subject.lock("k").owner(me).reentrant());
    }
    // And it is never part of a deadlock: it ends by itself.
    drop(subject.queue(subject.lock("k").owner(me)));
}

pub(super) fn c14_a_reservation_is_listed(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    if !subject.can().listing {
        return super::holders::assert_listing_unsupported(subject);
    }
    let least = subject.unit() * 1000;
    let guard = subject.take(subject.lock("k").hold_at_least(least));
    assert_eq!(subject.holders("k").len(), 1);
    let token = guard.token();
    // Confirmed: who asks by a way of their own may be quicker than a drop.
    subject.release(guard);
    let info = subject.their_list("k").expect("a reservation is listed");
    assert!(info.holders.is_empty(), "a reservation is nobody's: {info:?}");
    let left = info.reserved_for.expect("it says for how long");
    assert!(left <= least && left > least / 2, "{left:?} of {least:?}");
    assert_eq!(info.reserved_by, [token], "by which an administrator can end it");
    let error = subject.contended(subject.theirs("k"));
    assert!(error.to_string().contains("hold_at_least"), "{error} does not say why");
}

/// A hold that lasts longer than it must leaves no reservation.
pub(super) fn c14_hold_at_least_is_over_when_the_time_is(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let least = subject.unit();
    let guard = subject.take(subject.lock("k").hold_at_least(least));
    subject.advance(least + subject.late());
    subject.contended(subject.theirs("k"));
    subject.release(guard);
    subject.assert_free("k");
}

/// A panic shortens nothing.
pub(super) fn c14_a_reservation_outlives_a_panic(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let guard = subject.take(subject.lock("k").hold_at_least(subject.unit() * 1000));
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _guard = guard;
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(panic.is_err());
    subject.contended(subject.theirs("k"));
}

/// Nothing is stolen before its `hold_at_least` ends, held or reserved.
pub(super) fn c14_hold_at_least_protects_from_theft(subject: &Subject) {
    if !bounds(subject) || !super::stealing::steals(subject) {
        return;
    }
    let (unit, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k").hold_at_least(unit * 3));
    let thief = subject.queue_until(subject.theirs("k").steal_after(unit), since, unit * 3);
    not_stolen_before(subject, "k", since, unit * 3);
    drop(thief.due(subject, since, unit * 3).expect("it is no longer protected"));
    super::stealing::assert_stolen(subject, &victim);

    let since = subject.now();
    drop(subject.take(subject.lock("r").hold_at_least(unit * 3)));
    let thief = subject.queue_until(subject.theirs("r").steal_after(unit), since, unit * 3);
    not_stolen_before(subject, "r", since, unit * 3);
    drop(thief.due(subject, since, unit * 3).expect("the reservation is over"));
}

/// A thief that comes when the age alone would do, and does not wait, fails.
#[track_caller]
fn not_stolen_before(subject: &Subject, key: &str, since: Duration, least: Duration) {
    subject.advance((since + least * 2 / 3).saturating_sub(subject.now()));
    let stolen = subject.outcome(subject.try_theirs(key).steal_after(least / 4));
    assert!(stolen.is_err() || subject.now() - since >= least, "stolen before its least");
}

/// What was marked as done stays reserved for the rest of the time, however the guard goes.
pub(super) fn c14_once_per_reserves_what_was_done(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let (period, since) = (subject.unit(), subject.now());
    let guard = subject.take(subject.lock("k").once_per(period));
    guard.mark_done();
    subject.release(guard);
    let mut waiting = Pending::begin(subject.theirs("k"));
    waiting.not_before(subject, since, period);
    drop(waiting.due(subject, since, period).expect("the period is over"));
    let guard = subject.take(subject.lock("k").once_per(subject.unit() * 1000));
    guard.mark_done();
    drop(guard);
    subject.round_trip();
    subject.contended(subject.theirs("k"));
    subject.contended(subject.lock("k").once_per(subject.unit()));
}

/// Without the mark the next one may try: also if what was done before it was.
pub(super) fn c14_once_per_leaves_free_what_was_not_done(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let job = || subject.lock("k").once_per(subject.unit() * 1000);
    subject.release(subject.take(job()));
    drop(subject.take(subject.theirs("k").once_per(subject.unit() * 1000)));
    subject.meet();
    let guard = subject.take(job());
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _guard = guard;
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(panic.is_err());
    subject.meet();
    if subject.can().evict {
        let guard = subject.take(job());
        guard.mark_done();
        assert!(subject.evict("k", guard.token()));
        drop(guard);
    }
    subject.assert_free("k");
}

/// While it is held, it is protected as by `hold_at_least`.
pub(super) fn c14_once_per_protects_from_theft(subject: &Subject) {
    if !bounds(subject) || !super::stealing::steals(subject) {
        return;
    }
    let (unit, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k").once_per(unit * 3));
    let thief = subject.queue_until(subject.theirs("k").steal_after(unit), since, unit * 3);
    not_stolen_before(subject, "k", since, unit * 3);
    drop(thief.due(subject, since, unit * 3).expect("it is no longer protected"));
    super::stealing::assert_stolen(subject, &victim);
    victim.mark_done();
    drop(victim);
    subject.assert_free("k");
}

pub(super) fn c14_once_per_of_a_set_reserves_all_of_it(subject: &Subject) {
    if !bounds(subject) || !subject.can().several_keys {
        return;
    }
    let period = subject.unit() * 1000;
    let set = || subject.backend().all(["a", "b"]).once_per(period);
    subject.release(subject.take(set()));
    let guard = subject.take(set());
    guard.mark_done();
    subject.release(guard);
    subject.contended(subject.theirs("a"));
    subject.contended(subject.theirs("b"));
}

pub(super) fn c14_once_per_is_not_for_shared_holds(subject: &Subject) {
    if bounds(subject) && subject.can().shared {
        subject.assert_unsupported("once_per", subject.lock("k").shared().once_per(subject.unit()));
    }
}

/// A reservation beside a hold that could be stolen is not: the thief waits for both.
pub(super) fn c14_a_thief_waits_for_reservations(subject: &Subject) {
    if !bounds(subject) || !super::stealing::steals(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let (unit, since) = (subject.unit(), subject.now());
    let beside = subject.take(subject.lock("k").shared());
    drop(subject.take(subject.lock("k").shared().hold_at_least(unit * 3)));
    let thief = subject.queue_until(subject.theirs("k").steal_after(unit), since, unit * 3);
    drop(thief.due(subject, since, unit * 3).expect("the reservation is over"));
    super::stealing::assert_stolen(subject, &beside);
}

/// An administrator ends a reservation, by the token that made it.
pub(super) fn c14_eviction_ends_a_reservation(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    if !subject.can().evict {
        return subject.assert_evict_unsupported();
    }
    let guard = subject.take(subject.lock("k").hold_at_least(subject.unit() * 1000));
    let token = guard.token();
    subject.release(guard);
    let waiting = subject.queue(subject.theirs("k"));
    assert!(subject.evict("k", token), "the reservation was not found");
    drop(waiting.granted(subject));
    assert!(!subject.evict("k", token), "it ended a second time");
    subject.assert_free("k");
}

/// The hold ends in time, the guard knows, and whoever waits is served.
pub(super) fn c14_hold_at_most_ends_the_hold(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let (most, since) = (subject.unit(), subject.now());
    let guard = subject.take(subject.lock("k").hold_at_most(most));
    let waiting = subject.queue(subject.theirs("k"));
    let next = waiting.due(subject, since, most).expect("it is over");
    subject.assert_lost(&guard, LostCause::HeldTooLong);
    let error = subject.drive("the release", guard.release_async()).expect_err("it is lost");
    assert!(error.is_lost(), "{error:?}");
    next.check().expect("a late release frees nothing");
    subject.contended(subject.lock("k"));
    drop(next);
    subject.assert_free("k");
}

/// A hold that ends as it begins is refused, and no time is spent on it.
pub(super) fn c14_hold_at_most_nothing_is_refused(subject: &Subject) {
    let bound = |lock: LockBuilder<'static>| lock.hold_at_most(Duration::ZERO);
    subject.refused(bound(subject.lock("k")), ErrorKind::LimitExceeded);
    subject.refused(bound(subject.lock("k")).wait(true), ErrorKind::LimitExceeded);
    // Nor does the backend count on others to have refused it.
    let mut options = Options::default();
    options.hold_at_most = Some(Duration::ZERO);
    let request = Request::new(Keys::one("k"), options, Caller::anonymous());
    let asked = subject.drive("the request", subject.backend().acquire(request));
    let error = asked.expect_err("it would end as it begins");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
    subject.assert_free("k");
}

/// Also where nobody waits, and `refresh` does not put it off.
pub(super) fn c14_hold_at_most_needs_no_waiter(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let most = subject.unit();
    let guard = subject.take(subject.lock("k").hold_at_most(most));
    let since = subject.now();
    let early = subject.outcome(subject.try_theirs("k"));
    // On a machine that stood still meanwhile it may be over already.
    assert!(early.is_err() || subject.now() - since >= most, "it ended early");
    drop(early);
    subject.advance(most / 2);
    let refreshed = subject.drive("the refresh", guard.refresh_async());
    assert!(refreshed.map_or_else(|error| error.is_lost(), |()| true));
    subject.advance(most / 2 + subject.late());
    subject.until("the hold ends", || guard.is_lost());
    subject.assert_lost(&guard, LostCause::HeldTooLong);
    subject.assert_free("k");
}

/// Released in time, its end never comes: the next holder is not disturbed.
pub(super) fn c14_hold_at_most_ends_with_the_hold(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let most = subject.unit();
    drop(subject.take(subject.lock("k").hold_at_most(most)));
    let next = subject.take(subject.theirs("k"));
    subject.advance(most * 2);
    subject.round_trip();
    next.check().expect("the bound was its predecessor's");
    subject.contended(subject.lock("k"));
}

/// The two together: ended at most then, reserved at least until then.
pub(super) fn c14_the_bounds_go_together(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    let (unit, since) = (subject.unit(), subject.now());
    let lock = subject.lock("k").hold_at_most(unit).hold_at_least(unit * 3);
    let guard = subject.take(lock);
    let mut waiting = subject.queue(subject.theirs("k"));
    waiting.not_before(subject, since, unit * 3);
    let next = waiting.due(subject, since, unit * 3).expect("the reservation is over");
    subject.assert_lost(&guard, LostCause::HeldTooLong);
    drop(next);
    subject.assert_free("k");
}

/// A reservation is of the mode of the hold it was: all permits but one remain.
pub(super) fn c14_a_reserved_permit_is_one_permit(subject: &Subject) {
    if !bounds(subject) {
        return;
    }
    if !subject.can().permits {
        return subject.assert_unsupported("permits", subject.lock("k").permits(2));
    }
    let least = subject.unit() * 1000;
    drop(subject.take(subject.lock("k").permits(2).hold_at_least(least)));
    let other = subject.take(subject.theirs("k").permits(2));
    drop(subject.take(subject.lock("k").permits(3)));
    let error = subject.contended(subject.theirs("k").permits(2));
    assert_eq!(error.kind(), ErrorKind::Contended);
    drop(other);
    drop(subject.take(subject.lock("k").permits(2)));
}

/// As many as the hold had, and no more.
pub(super) fn c14_several_permits_are_reserved_together(subject: &Subject) {
    if !bounds(subject) || !super::permits::several(subject) {
        return;
    }
    let least = subject.unit() * 1000;
    drop(subject.take(subject.lock("k").permits(4).take(3).hold_at_least(least)));
    subject.contended(subject.theirs("k").permits(4).take(2));
    let one = subject.take(subject.theirs("k").permits(4));
    subject.contended(subject.lock("k").permits(4));
    drop(one);
    drop(subject.take(subject.lock("k").permits(5).take(2)));
}
