//! C6: from whom is stolen, and what becomes of them.

use super::permits::several;
use super::stealing::{assert_stolen, steals};
use super::subject::Subject;
use locks_core::{Exclusion, LostCause};

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
    let mut thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
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
    let thief = subject.queue_until(subject.theirs("k").shared().steal_after(age), since, age);
    let thief = thief.due(subject, since, age).expect("it was old enough");
    assert_stolen(subject, &victim);
    let beside = subject.take(subject.lock("k").shared());
    subject.contended(subject.theirs("k"));
    drop((thief, beside, victim));
    subject.assert_free("k");
}

/// A shared thief lets in the readers that wait at the queue's head: nothing is in their way.
pub(super) fn c6_a_shared_thief_lets_waiting_readers_in(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let age = subject.unit();
    let victim = subject.take(subject.lock("k"));
    let waiting = [0, 1].map(|turn| subject.queue(subject.turns(turn, "k").shared()));
    let mut writer = subject.queue(subject.theirs("k"));
    subject.advance(age + subject.late());
    let thief = subject.take(subject.try_theirs("k").shared().steal_after(age));
    assert_stolen(subject, &victim);
    let readers = waiting.map(|waiting| waiting.granted(subject));
    writer.assert_waits(subject);
    drop((thief, readers, victim));
    drop(writer.granted(subject));
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
    let beside = subject.take(subject.theirs("k").shared().steal_after(subject.tick()));
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
    let thief = subject.queue_until(subject.theirs("k").permits(2).steal_after(age), since, age);
    let thief = thief.due(subject, since, age).expect("one was old enough");
    assert_stolen(subject, &old);
    young.check().expect("one permit was enough");
    subject.contended(subject.theirs("k").permits(2));
    drop(old);
    subject.contended(subject.theirs("k").permits(2));
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
    let permits = [0, 1, 2].map(|turn| {
        let permit = subject.take(subject.turns(turn, "k").permits(3));
        subject.advance(subject.late());
        permit
    });
    subject.advance(age);
    let steal = || subject.try_theirs("k").permits(3).steal_after(age);
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

/// A thief that lets in fewer takes the fewest oldest holds that make room for it, when the last of
/// them is due, and none before.
pub(super) fn c6_a_permit_steals_as_many_as_it_takes(subject: &Subject) {
    if !steals(subject) {
        return;
    }
    if !subject.can().permits {
        return subject.assert_unsupported("permits", subject.lock("k").permits(3));
    }
    let age = subject.unit();
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|turn| {
        let since = subject.now();
        let permit = subject.take(subject.turns(turn, "k").permits(4));
        subject.advance(age / 4);
        (permit, since)
    });
    let lock = subject.theirs("k").permits(2).steal_after(age);
    let mut thief = subject.queue_until(lock, third.1, age);
    let mut later = subject.queue(subject.lock("k").permits(2));
    thief.not_before(subject, third.1, age);
    let is_lost = first.0.is_lost();
    let is_due = subject.now() >= third.1 + age;
    assert!(!is_lost || is_due, "it was stolen although two were not enough");
    let stolen = thief.due(subject, third.1, age).expect("three were old enough");
    for (victim, _) in [&first, &second, &third] {
        assert_stolen(subject, victim);
    }
    fourth.0.check().expect("three were enough");
    later.assert_waits(subject);
    drop((first, second, third, fourth, stolen));
    drop(later.granted(subject));
    subject.assert_free("k");
}

/// A thief of several takes them from the oldest holds that have enough, when these are due, and
/// from none without which it is enough.
pub(super) fn c6_several_permits_are_stolen_from_whom_it_takes(subject: &Subject) {
    if !steals(subject) || !several(subject) {
        return;
    }
    let age = subject.unit();
    let [one, three, two] = [1, 3, 2].map(|count| {
        let since = subject.now();
        let permits = subject.take(subject.turns(count as usize, "k").permits(6).take(count));
        subject.advance(age / 4);
        (permits, since)
    });
    let lock = subject.theirs("k").permits(6).take(3).steal_after(age);
    let mut thief = subject.queue_until(lock, three.1, age);
    thief.not_before(subject, three.1, age);
    let stolen = thief.due(subject, three.1, age).expect("three were old enough");
    assert_stolen(subject, &three.0);
    for (spared, _) in [&one, &two] {
        spared.check().expect("there were enough without it");
    }
    subject.contended(subject.theirs("k").permits(6));
    drop((one, three, two));
    stolen.check().expect("a late release frees nothing");
    subject.contended(subject.theirs("k").permits(6).take(4));
    drop(stolen);
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
        let thief = subject.take(subject.try_theirs("k").steal_after(age));
        let mut waiting = subject.queue(subject.lock("k"));
        if confirmed {
            let release = subject.drive("the release", victim.release_async());
            let error = release.expect_err("it is lost");
            subject.assert_lost_error(&error, LostCause::Stolen);
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

/// Who that was, as it was; a store with leases need not know.
pub(super) fn c6_a_thief_knows_whom_it_has_robbed(subject: &Subject) {
    if !super::stealing::steals(subject) {
        return;
    }
    // The answer to a claim may be lost, and that to its repetition name nobody.
    for _ in 0..5 {
        let (age, since) = (subject.unit(), subject.now());
        let victim = subject.take(subject.lock("k").label("batch 7"));
        assert_eq!(victim.stolen_from().len(), 0, "nobody was in its way");
        let thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
        let thief = thief.due(subject, since, age).expect("it was old enough");
        let robbed = thief.stolen_from();
        if robbed.is_empty() && subject.can().exclusion <= Exclusion::Lease {
            continue;
        }
        let [robbed] = robbed.as_slice() else { panic!("not one was robbed: {robbed:?}") };
        assert_eq!(robbed.token, Some(victim.token()), "{robbed:?}");
        assert_eq!(robbed.label.as_deref(), Some("batch 7"), "{robbed:?}");
        assert!(robbed.age.is_none_or(|robbed| robbed + subject.late() >= age), "{robbed:?}");
        subject.release(thief);
        let next = subject.take(subject.theirs("k"));
        assert_eq!(next.stolen_from().len(), 0, "nobody was in its way");
        return;
    }
    panic!("of five thieves none was told whom it has robbed");
}
