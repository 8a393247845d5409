//! C6: a hold that is too old is taken over.

use std::time::Duration;

use super::fairness::serve_all;
use super::pending::Pending;
use super::subject::Subject;
use locks_core::{ErrorKind, LostCause, OwnedGuard};

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
    let thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
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
    let granted = subject.now();
    let steal = || subject.theirs("k").steal_after(age).wait(false);
    subject.advance((since + age - subject.tick()).saturating_sub(subject.now()));
    match subject.outcome(steal()) {
        Ok(_) => assert!(subject.now() - since >= age, "stolen early"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
            assert!(!victim.is_lost());
            // Its age counts from its grant, which is not known better than that.
            let old = granted + age + subject.late();
            subject.advance(old.saturating_sub(subject.now()));
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
    let hasty = subject.theirs("k").steal_after(unit * 3).wait(unit);
    let hasty = subject.queue_until(hasty, since, unit);
    let error = hasty.due(subject, since, unit).expect_err("it is not old enough");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let patient = subject.theirs("k").steal_after(unit * 3).wait(unit * 1000);
    let patient = subject.queue_until(patient, since, unit * 3);
    drop(patient.due(subject, since, unit * 3).expect("it was old enough"));
    assert_stolen(subject, &victim);
}

/// The age is that of the hold, not that of its predecessor or of the key.
pub(super) fn c6_a_successor_is_not_judged_by_its_predecessor(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !subject.orders() {
        // The thief may be the successor.
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let old = subject.take(subject.lock("k"));
    let next = subject.queue(subject.lock("k"));
    let mut thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    subject.advance(age / 2);
    let released = subject.now();
    let outcome = subject.drive("the release", old.release_async());
    let stolen = outcome.is_err();
    if let Err(error) = outcome {
        subject.assert_lost_error(&error, LostCause::Stolen);
    }
    let next = if stolen { None } else { next.granted_before(subject, &mut thief) };
    let Some(next) = next else {
        // The machine stood still until the first one was old enough: nothing can be said.
        assert!(subject.now() - since >= age, "stolen early");
        return;
    };
    let since = released;
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
    match subject.outcome(subject.try_theirs("k").steal_after(age)) {
        Ok(_) => assert!(subject.now() - since >= age, "the age of the one before was taken"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}"),
    }
    let thief = Pending::begin(subject.theirs("k").steal_after(age));
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
    let mut first = subject.queue(subject.theirs("k"));
    let mut second = subject.queue(subject.lock("k"));
    let thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    let thief = thief.due(subject, since, age).expect("it was old enough");
    assert_stolen(subject, &victim);
    first.assert_waits(subject);
    second.assert_waits(subject);
    subject.release(thief);
    if !subject.orders() {
        return serve_all(subject, vec![first, second]);
    }
    let guard = first.granted(subject);
    second.assert_waits(subject);
    drop(guard);
    drop(second.granted(subject));
    drop(victim);
    subject.assert_free("k");
}

/// Also of those who let nobody overtake them.
pub(super) fn c6_a_due_thief_goes_ahead_of_a_fair_waiter(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !super::fairness::fair(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let mut fair = subject.queue(subject.lock("k").fair(true));
    let thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    let thief = thief.due(subject, since, age).expect("it was old enough");
    assert_stolen(subject, &victim);
    fair.assert_waits(subject);
    subject.release(thief);
    drop(fair.granted(subject));
    subject.assert_free("k");
}

/// Among thieves that are due the first in the queue wins.
pub(super) fn c6_the_first_of_the_due_thieves_wins(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let first = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    let mut second = subject.queue_until(subject.lock("k").steal_after(age), since, age);
    if !subject.orders() {
        subject.advance(age + subject.late());
        return serve_all(subject, vec![first, second]);
    }
    let winner = first.due(subject, since, age).expect("it was old enough");
    assert_stolen(subject, &victim);
    // What the first has taken is young.
    second.may_end(since + age, age);
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
    let mut slow = subject.queue_until(subject.lock("k").steal_after(unit * 2), since, unit * 2);
    let quick = subject.queue_until(subject.theirs("k").steal_after(unit), since, unit);
    let quick = quick.due(subject, since, unit).expect("it was old enough");
    slow.may_end(since + unit, unit * 2);
    // First, because it can take the victim longer to hear of it than the slow one waits.
    slow.assert_waits(subject);
    assert_stolen(subject, &victim);
    drop(quick);
    drop(slow.granted(subject));
}

/// `refresh` makes a hold young again.
pub(super) fn c6_refresh_renews_the_age(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let (age, mut since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let mut thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    for _ in 0..3 {
        subject.advance(age / 2);
        let before = since;
        since = subject.now();
        let refreshed = subject.drive("the refresh", victim.refresh_async());
        if subject.now() - before >= age {
            // The machine stood still for longer than the age: nothing can be said.
            return;
        }
        if let Err(error) = refreshed {
            panic!("not refreshed: {error:?}");
        }
        thief.poll();
    }
    drop(thief.due(subject, since, age).expect("it was old enough"));
    assert_stolen(subject, &victim);
    let refresh = subject.drive("the refresh", victim.refresh_async());
    let error = refresh.expect_err("it is lost");
    subject.assert_lost_error(&error, LostCause::Stolen);
}

/// Many thieves, one victim: one of them at a time.
pub(super) fn c6_racing_thieves_win_one_at_a_time(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let victim = subject.take(subject.lock("k"));
    subject.advance(subject.unit() + subject.late());
    let age = subject.unit();
    let thieves = [0, 1, 2, 3].map(|number| {
        subject.thread("a thief", move |subject| {
            subject.outcome(subject.turns(number, "k").wait(false).steal_after(age))
        })
    });
    let outcomes = thieves.map(|thief| thief.finish());
    let won = outcomes.iter().flatten().filter(|guard| !guard.is_lost()).count();
    assert_eq!(won, 1, "{won} thieves hold it: {outcomes:?}");
    assert_stolen(subject, &victim);
}

/// Thieves whose time has not come are waiters like others, however many: each is served once.
pub(super) fn c6_many_waiting_thieves_are_served_one_by_one(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let many = subject.fixture().crowd();
    let guard = subject.take(subject.lock("k"));
    let age = subject.unit() * 100_000;
    let mut thieves = Vec::from_iter((0..many).map(|turn| {
        let mut thief = Pending::begin(subject.turns(turn, "k").steal_after(age));
        thief.poll();
        thief
    }));
    subject.outwait();
    let is_early = thieves.iter_mut().any(Pending::poll);
    assert!(!is_early, "one of them is served although the lock is held, and not old enough");
    subject.release(guard);
    while !thieves.is_empty() {
        // Whoever is woken first; where there is an order the first of them.
        let next = match subject.orders() && !subject.is_apart() {
            true => 0,
            false => {
                let mut served = None;
                subject.until("one of the thieves is served", || {
                    served = thieves.iter_mut().position(Pending::poll);
                    served.is_some()
                });
                served.expect("one is")
            }
        };
        let thief = thieves.remove(next).granted(subject);
        thief.check().expect("nobody's time has come");
        drop(thief);
    }
    subject.assert_free("k");
}

/// An age of nothing takes whatever is there.
pub(super) fn c6_an_age_of_nothing_steals_at_once(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    let victim = subject.take(subject.lock("k"));
    let since = subject.now();
    let thief = Pending::begin(subject.theirs("k").steal_after(Duration::ZERO));
    drop(thief.due(subject, since, Duration::ZERO).expect("any age is enough"));
    assert_stolen(subject, &victim);
}

/// A thief that is due but has not looked yet was there before a thief that has just come.
pub(super) fn c6_a_newcomer_does_not_overtake_a_due_thief(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !subject.orders() {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let victim = subject.take(subject.lock("k"));
    let first = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    subject.advance(age + subject.late());
    match subject.outcome(subject.try_lock("k").steal_after(age)) {
        Ok(second) => {
            // Where the clock cannot be held the first may have been granted, and be old by now.
            let first = first.granted(subject);
            assert!(first.is_lost(), "{second:?} overtook one that was due");
            assert!(first.token() < second.token(), "{second:?} overtook one that was due");
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
            first.granted(subject).check().expect("the first of the thieves holds it");
        }
    }
    assert_stolen(subject, &victim);
    subject.assert_free("k");
}

/// A thief that came while nobody held the key judges whoever takes it then.
pub(super) fn c6_a_thief_judges_who_came_in_after_it(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !super::fairness::fair(subject) {
        return;
    }
    let age = subject.unit();
    for newcomer in [true, false] {
        let guard = subject.take(subject.lock("k"));
        let first = subject.queue(subject.theirs("k"));
        subject.release(guard);
        let mut thief = Pending::begin(subject.theirs("k").steal_after(age).fair(true));
        assert!(!thief.poll(), "it overtook one that was there before");
        let since = subject.now();
        // A newcomer may be quicker than the first, and the thief may not have heard of it.
        let barged = match newcomer {
            true => subject.outcome(subject.try_lock("k")).ok(),
            false => None,
        };
        let mut first = Some(first);
        let victim = barged.or_else(|| first.take().map(|first| first.granted(subject)));
        // It is not polled in between: it has to be told of its own accord.
        subject.advance(age + subject.late());
        let stolen = thief.granted(subject);
        assert!(subject.now() - since >= age, "stolen early");
        assert_stolen(subject, &victim.expect("somebody was"));
        drop(stolen);
        drop(first.map(|first| first.granted(subject)));
        subject.assert_free("k");
    }
}
