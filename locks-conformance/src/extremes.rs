//! C14: bounds as long and as short as can be said.

use std::time::Duration;

use super::bounds;
use super::pending::Pending;
use super::subject::Subject;
use locks_core::LostCause;

/// Longer than anything lives, in every unit that it may be counted in.
const ENDLESS: [Duration; 3] =
    [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_micros(u64::MAX)];

/// A bound that is longer than what it is counted with is for ever, and none turns round.
pub(super) fn c14_bounds_without_an_end_are_kept(subject: &Subject) {
    if !bounds::bounds(subject) {
        return;
    }
    for (number, endless) in ENDLESS.into_iter().enumerate() {
        let key = |what: &str| format!("{what} {number}");
        let (least, once, most) = (key("least"), key("once"), key("most"));
        subject.release(subject.take(subject.lock(&least).hold_at_least(endless)));
        let job = || subject.lock(&once).once_per(endless);
        subject.release(subject.take(job()));
        let done = subject.take(job());
        done.mark_done();
        subject.release(done);
        let held = subject.take(subject.lock(&most).hold_at_most(endless));
        // What was cut short to some seconds would be over by then.
        subject.advance(subject.unit());
        subject.refresh(&held);
        for key in [&least, &once] {
            subject.contended(subject.theirs(key));
            if let Some(info) = subject.can().listing.then(|| subject.their_list(key)) {
                let left = info.and_then(|info| info.reserved_for).expect("it is reserved");
                assert!(left > Duration::from_secs(1 << 30), "{left:?} of {endless:?}");
            }
        }
        subject.contended(subject.theirs(&most));
        if subject.can().steal {
            // A thief that comes too early has to wait.
            let thief = subject.queue(subject.theirs(&most).steal_after(endless));
            subject.contended(subject.theirs(&most).steal_after(endless));
            held.check().expect("nobody is old enough to be robbed");
            drop(thief);
        }
        subject.release(held);
        subject.assert_free(&most);
    }
}

/// A hold that is over before its guard is there keeps its key from nobody.
pub(super) fn c14_hold_at_most_a_moment_is_lost_at_once(subject: &Subject) {
    if !bounds::bounds(subject) {
        return;
    }
    let guard = subject.take(subject.lock("k").hold_at_most(Duration::from_nanos(1)));
    subject.advance(subject.late());
    subject.assert_lost(&guard, LostCause::HeldTooLong);
    drop(subject.take(subject.try_lock("k")));
    drop(guard);
    subject.assert_free("k");
}

/// Neither a moment nor none at all keeps a key, or is taken for no bound.
pub(super) fn c14_bounds_of_a_moment_are_over_at_once(subject: &Subject) {
    if !bounds::bounds(subject) {
        return;
    }
    for (number, moment) in [Duration::ZERO, Duration::from_nanos(1)].into_iter().enumerate() {
        let key = |what: &str| format!("{what} {number}");
        let (least, once) = (key("least"), key("once"));
        subject.release(subject.take(subject.lock(&least).hold_at_least(moment)));
        let done = subject.take(subject.lock(&once).once_per(moment));
        done.mark_done();
        subject.release(done);
        subject.advance(subject.late());
        subject.assert_free(&least);
        subject.assert_free(&once);
        if subject.can().steal {
            // Shorter than a clock may tell: when exactly is not asked.
            let victim = subject.take(subject.lock("k"));
            let thief = Pending::begin(subject.theirs("k").steal_after(moment));
            subject.advance(subject.late());
            drop(thief.finish(subject).expect("everything is older"));
            super::stealing::assert_stolen(subject, &victim);
        }
    }
}
