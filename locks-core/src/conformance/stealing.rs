//! C6: a hold that is too old is taken over.

use std::time::Duration;

use super::pending::Pending;
use super::subject::Subject;
use crate::{ErrorKind, LostCause, OwnedGuard};

/// Whether the backend steals; if not, asserts that it says so.
pub(super) fn steals(subject: &Subject) -> bool {
    let can = subject.can().steal;
    if !can {
        subject.assert_unsupported("steal_after", subject.lock("k").steal_after(subject.unit()));
    }
    can
}

#[track_caller]
pub(super) fn assert_stolen(subject: &Subject, victim: &OwnedGuard) {
    subject.assert_lost(victim, LostCause::Stolen);
}

/// A waiting thief gets it when it is old enough: never early, at most two ticks late.
pub(super) fn c6_a_waiting_thief_is_served_when_due_and_never_early(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let thief = subject.queue(subject.lock("k").steal_after(age));
    let thief = thief.due(subject, since, age).expect("it was old enough");
    assert_stolen(subject, &victim);
    thief.check().expect("the thief holds it");
    subject.contended(subject.lock("k"));
    drop((victim, thief));
    subject.assert_free("k");
}

/// Without waiting it is now or not at all.
pub(super) fn c6_without_waiting_it_steals_now_or_fails_now(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let steal = || subject.lock("k").steal_after(age).wait(false);
    subject.advance((since + age - subject.tick()).saturating_sub(subject.now()));
    match subject.outcome(steal()) {
        Ok(_) => assert!(subject.now() - since >= age, "stolen early"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
            assert!(!victim.is_lost());
            subject.advance(subject.tick() + subject.late());
            drop(subject.take(steal()));
        }
    }
    assert_stolen(subject, &victim);
    subject.assert_free("k");
}

/// In time for a deadline: a thief whose wait is longer than the age is granted, one whose
/// wait is shorter is not.
pub(super) fn c6_the_timeout_of_a_thief_counts_as_well(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let (unit, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let hasty = subject.queue(subject.lock("k").steal_after(unit * 3).wait(unit));
    let error = hasty.due(subject, since, unit).expect_err("it is not old enough");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let patient = subject.queue(subject.lock("k").steal_after(unit * 3).wait(unit * 9));
    drop(patient.due(subject, since, unit * 3).expect("it was old enough"));
    assert_stolen(subject, &victim);
}

/// The age is that of the hold, not that of its predecessor or of the key.
pub(super) fn c6_a_successor_is_not_judged_by_its_predecessor(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let age = subject.unit();
    let old = subject.take(subject.lock("k"));
    let next = subject.queue(subject.lock("k"));
    let mut thief = subject.queue(subject.lock("k").steal_after(age));
    subject.advance(age / 2);
    let since = subject.now();
    subject.release(old);
    let next = next.granted(subject);
    thief.not_before(subject, since, age);
    drop(thief.due(subject, since, age).expect("it was old enough"));
    assert_stolen(subject, &next);
}

/// The same for a key that was free in between.
pub(super) fn c6_a_new_hold_is_young(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let age = subject.unit();
    let old = subject.take(subject.lock("k"));
    subject.advance(age * 2);
    subject.release(old);
    let since = subject.now();
    let young = subject.take(subject.lock("k"));
    match subject.outcome(subject.try_lock("k").steal_after(age)) {
        Ok(_) => assert!(subject.now() - since >= age, "the age of the one before was taken"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}"),
    }
    let thief = Pending::begin(subject.lock("k").steal_after(age));
    drop(thief.due(subject, since, age).expect("it was old enough"));
    assert_stolen(subject, &young);
}

/// A due thief goes ahead of those who have waited longer; for them nothing changes.
pub(super) fn c6_a_due_thief_goes_ahead_of_the_queue(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let mut first = subject.queue(subject.lock("k"));
    let mut second = subject.queue(subject.lock("k").fair(true));
    let thief = subject.queue(subject.lock("k").steal_after(age));
    let thief = thief.due(subject, since, age).expect("it was old enough");
    assert_stolen(subject, &victim);
    first.assert_waits(subject);
    second.assert_waits(subject);
    subject.release(thief);
    let guard = first.granted(subject);
    second.assert_waits(subject);
    drop(guard);
    drop(second.granted(subject));
    drop(victim);
    subject.assert_free("k");
}

/// Among thieves that are due the first in the queue wins.
pub(super) fn c6_the_first_of_the_due_thieves_wins(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let first = subject.queue(subject.lock("k").steal_after(age));
    let mut second = subject.queue(subject.lock("k").steal_after(age));
    let winner = first.due(subject, since, age).expect("it was old enough");
    assert_stolen(subject, &victim);
    // What the first has taken is young.
    second.assert_waits(subject);
    winner.check().expect("the second thief may not judge it by the victim's age");
    drop(winner);
    drop(second.granted(subject));
    subject.assert_free("k");
}

/// The thief with the shorter patience comes first although it came last.
pub(super) fn c6_each_thief_is_due_in_its_own_time(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let (unit, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let mut slow = subject.queue(subject.lock("k").steal_after(unit * 2));
    let quick = subject.queue(subject.lock("k").steal_after(unit));
    let quick = quick.due(subject, since, unit).expect("it was old enough");
    assert_stolen(subject, &victim);
    slow.assert_waits(subject);
    drop(quick);
    drop(slow.granted(subject));
}

/// `refresh` makes a hold young again.
pub(super) fn c6_refresh_renews_the_age(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let age = subject.unit();
    let victim = subject.take(subject.lock("k"));
    let mut thief = subject.queue(subject.lock("k").steal_after(age));
    let mut since = subject.now();
    for _ in 0..3 {
        subject.advance(age / 2);
        since = subject.now();
        subject.refresh(&victim);
        if subject.now() - since >= age {
            // The machine stood still for longer than the age: nothing can be said.
            return;
        }
        thief.poll();
    }
    drop(thief.due(subject, since, age).expect("it was old enough"));
    assert_stolen(subject, &victim);
    let refresh = subject.drive("the refresh", victim.refresh_async());
    let error = refresh.expect_err("it is lost");
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen }, "{error:?}");
}

/// An exclusive thief takes the key from all readers or from none.
pub(super) fn c6_an_exclusive_thief_takes_all_shared_holds_or_none(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let age = subject.unit();
    let old = subject.take(subject.lock("k").shared());
    subject.advance(age / 2);
    let since = subject.now();
    let young = subject.take(subject.lock("k").shared());
    let mut thief = subject.queue(subject.lock("k").steal_after(age));
    thief.not_before(subject, since, age);
    if !young.is_lost() {
        old.check().expect("one of the two is too young, so neither is stolen");
    }
    let thief = thief.due(subject, since, age).expect("both were old enough");
    assert_stolen(subject, &old);
    assert_stolen(subject, &young);
    subject.contended(subject.lock("k").shared());
    drop((old, young));
    thief.check().expect("late releases free nothing");
    subject.contended(subject.lock("k").shared());
}

/// A shared thief takes the key from an exclusive holder, and then shares it.
pub(super) fn c6_a_shared_thief_takes_an_exclusive_hold(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let (age, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let thief = subject.queue(subject.lock("k").shared().steal_after(age));
    let thief = thief.due(subject, since, age).expect("it was old enough");
    assert_stolen(subject, &victim);
    let beside = subject.take(subject.lock("k").shared());
    subject.contended(subject.lock("k"));
    drop((thief, beside, victim));
    subject.assert_free("k");
}

/// One who steals takes nothing from those it can run beside.
pub(super) fn c6_compatible_holds_are_left_alone(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let reader = subject.take(subject.lock("k").shared());
    subject.advance(subject.unit() * 2);
    let beside = subject.take(subject.lock("k").shared().steal_after(subject.tick()));
    reader.check().expect("there was no need to steal it");
    drop((reader, beside));
    subject.assert_free("k");
}

/// A thief that wants a permit takes that of a hold that is old enough, and no more.
pub(super) fn c6_one_permit_is_stolen_when_due(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !subject.can().permits {
        return subject.assert_unsupported("permits", subject.lock("k").permits(2));
    }
    let (age, since) = (subject.unit(), subject.now());
    let old = subject.take(subject.lock("k").permits(2));
    subject.advance(subject.late());
    let young = subject.take(subject.lock("k").permits(2));
    let thief = subject.queue(subject.lock("k").permits(2).steal_after(age));
    let thief = thief.due(subject, since, age).expect("one was old enough");
    assert_stolen(subject, &old);
    young.check().expect("one permit was enough");
    subject.contended(subject.lock("k").permits(2));
    drop(old);
    subject.contended(subject.lock("k").permits(2));
    drop((young, thief));
    subject.assert_free("k");
}

/// Where several are old enough it is the oldest that is stolen.
pub(super) fn c6_of_two_old_permits_the_older_is_stolen(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !subject.can().permits {
        return subject.assert_unsupported("permits", subject.lock("k").permits(3));
    }
    let age = subject.unit();
    let permits = [(); 3].map(|()| {
        let permit = subject.take(subject.lock("k").permits(3));
        subject.advance(subject.late());
        permit
    });
    subject.advance(age);
    let steal = || subject.try_lock("k").permits(3).steal_after(age);
    let [oldest, middle, youngest] = permits;
    let first = subject.take(steal());
    assert_stolen(subject, &oldest);
    middle.check().expect("there was an older one");
    let second = subject.take(steal());
    assert_stolen(subject, &middle);
    youngest.check().expect("there was an older one");
    drop((oldest, middle, youngest, first, second));
    subject.assert_free("k");
}

/// What the victim does late concerns nobody any more.
pub(super) fn c6_a_late_release_of_the_victim_frees_nothing(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let age = subject.unit();
    for confirmed in [true, false] {
        let victim = subject.take(subject.lock("k"));
        subject.advance(age + subject.late());
        let thief = subject.take(subject.try_lock("k").steal_after(age));
        let mut waiting = subject.queue(subject.lock("k"));
        if confirmed {
            let release = subject.drive("the release", victim.release_async());
            let error = release.expect_err("it is lost");
            assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen }, "{error:?}");
        } else {
            drop(victim);
        }
        waiting.assert_waits(subject);
        thief.check().expect("it is the thief's");
        drop(thief);
        drop(waiting.granted(subject));
    }
    subject.assert_free("k");
}

/// Many thieves, one victim: one of them at a time.
pub(super) fn c6_racing_thieves_win_one_at_a_time(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let victim = subject.take(subject.lock("k"));
    subject.advance(subject.unit() + subject.late());
    let age = subject.unit();
    let thieves = [(); 4].map(|()| {
        subject.thread("a thief", move |subject| {
            subject.outcome(subject.try_lock("k").steal_after(age))
        })
    });
    let outcomes = thieves.map(|thief| thief.finish());
    let won = outcomes.iter().flatten().filter(|guard| !guard.is_lost()).count();
    assert_eq!(won, 1, "{won} thieves hold it: {outcomes:?}");
    assert_stolen(subject, &victim);
}

/// An age of nothing takes whatever is there.
pub(super) fn c6_an_age_of_nothing_steals_at_once(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let victim = subject.take(subject.lock("k"));
    let since = subject.now();
    let thief = Pending::begin(subject.lock("k").steal_after(Duration::ZERO));
    drop(thief.due(subject, since, Duration::ZERO).expect("any age is enough"));
    assert_stolen(subject, &victim);
}
