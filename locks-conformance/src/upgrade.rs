//! C9: a reader that becomes the writer without letting go.

use super::reentry::nests;
use super::subject::Subject;
use locks_core::{ErrorKind, LockBuilder, OwnedGuard};

/// Whether the backend upgrades; if not, asserts that it says so and the reader keeps its lock.
fn upgrades(subject: &Subject) -> bool {
    if !nests(subject) {
        return false;
    }
    if !subject.can().shared {
        subject.assert_unsupported("shared", subject.lock("k").shared());
        return false;
    }
    let can = subject.can().upgrade;
    if !can {
        let reader = read(subject, 1);
        subject.assert_unsupported("upgrade", upgrade(subject, 1));
        reader.check().expect("a refused upgrade loses nothing");
        subject.contended(subject.lock("k"));
    }
    can
}

fn read(subject: &Subject, owner: u64) -> OwnedGuard {
    subject.take(subject.lock("k").owner(owner).shared().reentrant())
}

fn upgrade(subject: &Subject, owner: u64) -> LockBuilder<'static> {
    subject.lock("k").owner(owner).reentrant()
}

/// Alone it is upgraded at once, with a new token, and goes back when the upgrade ends.
pub(super) fn c9_a_sole_reader_is_upgraded(subject: &Subject) {
    if !upgrades(subject) {
        return;
    }
    let reader = read(subject, 1);
    drop(subject.take(subject.theirs("k").shared()));
    let before = reader.token();
    let writer = subject.take(upgrade(subject, 1).wait(false));
    assert!(writer.token() > before, "an upgrade gets a new token");
    subject.contended(subject.theirs("k").shared());
    reader.check().expect("it is held, and more");
    drop(writer);
    drop(subject.take(subject.theirs("k").shared()));
    subject.contended(subject.theirs("k"));
    drop(reader);
    subject.assert_free("k");
}

/// It waits for the other readers, ahead of the queue, and holds on meanwhile.
pub(super) fn c9_an_upgrade_waits_at_the_head_and_keeps_the_lock(subject: &Subject) {
    if !upgrades(subject) {
        return;
    }
    let reader = read(subject, 1);
    let other = subject.take(subject.theirs("k").shared());
    let mut writer = subject.queue(subject.theirs("k"));
    subject.outwait();
    let upgraded = subject.queue(upgrade(subject, 1));
    reader.check().expect("it is held while the upgrade waits");
    subject.contended(upgrade(subject, 1));
    if subject.can().listing {
        assert_eq!(subject.holders("k").len(), 2, "the reader let go");
    }
    subject.release(other);
    upgraded.assert_woken(subject);
    writer.assert_waits(subject);
    let upgraded = upgraded.granted(subject);
    reader.check().expect("it was never let go");
    subject.contended(subject.theirs("k").shared());
    drop(upgraded);
    writer.assert_waits(subject);
    drop(reader);
    drop(writer.granted(subject));
    subject.assert_free("k");
}

/// An upgrade that is given up leaves the reader what it was.
pub(super) fn c9_a_cancelled_upgrade_leaves_the_reader(subject: &Subject) {
    if !upgrades(subject) {
        return;
    }
    let reader = read(subject, 1);
    let other = subject.take(subject.theirs("k").shared());
    drop(subject.queue(upgrade(subject, 1)));
    let unit = subject.unit();
    let since = subject.now();
    let limited = subject.queue_until(upgrade(subject, 1).wait(unit), since, unit);
    let error = limited.due(subject, since, unit).expect_err("there is another reader");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    drop(other);
    reader.check().expect("it was never let go");
    subject.contended(subject.theirs("k"));
    drop(subject.take(subject.theirs("k").shared()));
    drop(reader);
    subject.assert_free("k");
}

/// Two that wait for each other to let go: the second is told, and the first goes on.
pub(super) fn c9_a_second_upgrade_is_a_deadlock(subject: &Subject) {
    if !upgrades(subject) {
        return;
    }
    let (one, two) = (read(subject, 1), read(subject, 2));
    let mut first = subject.queue(upgrade(subject, 1));
    if subject.can().deadlock_detection {
        let error = subject.refused(upgrade(subject, 2), ErrorKind::Deadlock);
        assert_eq!(error.key(), "k", "{error:?}");
    }
    subject.contended(upgrade(subject, 2));
    first.assert_waits(subject);
    two.check().expect("its hold is not touched");
    drop(two);
    let upgraded = first.granted(subject);
    one.check().expect("it was never let go");
    drop((one, upgraded));
    subject.assert_free("k");
}

/// An upgrade does not make the hold younger.
pub(super) fn c9_an_upgrade_does_not_renew_the_age(subject: &Subject) {
    if !upgrades(subject) || !super::stealing::steals(subject) {
        return;
    }
    let (age, since) = (subject.unit(), subject.now());
    let reader = read(subject, 1);
    subject.advance(age / 2);
    let writer = subject.take(upgrade(subject, 1));
    let thief = subject.queue_until(subject.theirs("k").steal_after(age), since, age);
    drop(thief.due(subject, since, age).expect("it was old enough"));
    super::stealing::assert_stolen(subject, &reader);
    super::stealing::assert_stolen(subject, &writer);
}

/// Where the reader loses its hold meanwhile the upgrade is a request like any other.
pub(super) fn c9_an_upgrade_outlives_the_loss_of_its_reader(subject: &Subject) {
    if !upgrades(subject) {
        return;
    }
    if !subject.can().evict {
        return subject.assert_evict_unsupported();
    }
    let reader = read(subject, 1);
    let other = subject.take(subject.theirs("k").shared());
    let upgraded = subject.queue(upgrade(subject, 1));
    assert!(subject.evict("k", reader.token()));
    drop(other);
    match upgraded.finish(subject) {
        Ok(guard) => {
            subject.contended(subject.theirs("k").shared());
            guard.check().expect("it is held");
            drop(reader);
            guard.check().expect("a late release frees nothing");
        }
        Err(error) => assert!(error.is_lost(), "{error:?}"),
    }
    subject.assert_free("k");
}

/// Readers get in, and nobody in between; token and hold stay.
pub(super) fn c9_a_downgraded_hold_is_shared(subject: &Subject) {
    if !subject.can().shared {
        return;
    }
    let guard = subject.take(subject.lock("k"));
    let token = guard.token();
    let shared = subject.drive("the downgrade", guard.downgrade_async());
    if !subject.can().upgrade {
        let error = shared.expect_err("it is not declared");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        guard.check().expect("the refusal did not touch it");
        subject.contended(subject.theirs("k").shared());
        return;
    }
    shared.expect("it is held");
    let reader = subject.take(subject.theirs("k").shared());
    subject.contended(subject.theirs("k"));
    guard.check().expect("it is held");
    assert_eq!(guard.token(), token);
    subject.drive("again", guard.downgrade_async()).expect("it is shared already");
    subject.release(reader);
    subject.contended(subject.theirs("k"));
    subject.release(guard);
    // Readers that wait get in by it, and a writer behind them does not.
    let guard = subject.take(subject.lock("k"));
    let reader = subject.queue(subject.theirs("k").shared());
    let writer = subject.queue(subject.theirs("k"));
    subject.drive("the downgrade", guard.downgrade_async()).expect("it is held");
    let reader = reader.granted(subject);
    subject.release(guard);
    subject.release(reader);
    subject.release(writer.granted(subject));
    subject.assert_free("k");
}
