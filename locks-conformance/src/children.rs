//! Holders that are other processes: C1, C4, C5, C8 and C9 once more.

use super::child::Child;
use super::forked::OPEN_AGAIN;
use super::subject::Subject;
use locks_core::{Exclusion, SharedOwner};

/// Runs `body` with another process, if holders can be such.
fn with_child(subject: &Subject, body: impl FnOnce(Child)) {
    if let Some(program) = subject.child() {
        body(Child::start(subject, program));
    }
}

pub(super) fn c1_processes_exclude_each_other(subject: &Subject) {
    with_child(subject, |mut child| {
        let token = child.take("take k");
        subject.contended(subject.lock("k"));
        let waiting = subject.queue(subject.lock("k"));
        child.ask("release k").expect("it was held");
        let guard = waiting.granted(subject);
        assert!(guard.token() > token, "tokens grow across processes");
        let failure = child.ask("take k no-wait").expect_err("it is held here");
        assert!(failure.starts_with("Contended"), "{failure}");
        // It waits until the release here.
        child.tell("take k");
        subject.round_trip();
        assert_eq!(child.has_replied(), None, "it was granted beside another");
        let token = guard.token();
        subject.release(guard);
        let theirs = child.reply().expect("it is free");
        assert!(theirs.parse::<u64>().expect("a token is a number") > token.get());
    });
}

/// What a killed process held is free again: at once, or at the end of its lease.
pub(super) fn c4_a_killed_process_frees_its_locks(subject: &Subject) {
    with_child(subject, |mut child| {
        let lease = subject.fixture().lease();
        let token = child.take(&format!("take k lease={}", lease.as_millis()));
        let waiting = subject.queue(subject.lock("k"));
        child.kill();
        if subject.can().exclusion <= Exclusion::Lease {
            subject.advance(lease + subject.late());
        }
        let guard = waiting.granted(subject);
        assert!(guard.token() > token, "tokens grow across a crash");
        subject.release(guard);
        subject.assert_free("k");
    });
}

/// What a process has released it has released, also if it ends in the same moment: nothing is kept
/// for a lease.
pub(super) fn c4_a_process_that_ends_after_its_release_keeps_nothing(subject: &Subject) {
    if subject.child().is_none() {
        return;
    }
    for _ in 0..5 {
        with_child(subject, |mut child| {
            // Longer than the case has patience.
            let lease = (subject.patience() * 20).max(subject.fixture().lease());
            child.take(&format!("take k lease={}", lease.as_millis()));
            child.tell("leave k");
            child.ended();
            subject.assert_free("k");
        });
    }
}

/// A forked child has lost what its parent holds, at once, and touches nothing of it.
pub(super) fn c4_a_forked_child_holds_nothing_of_its_parents(subject: &Subject) {
    with_child(subject, |mut child| {
        let token = child.take("take k");
        let told = child.ask("fork k").expect("the forked child finds what it should");
        assert!(
            told != OPEN_AGAIN || !subject.fixture().works_in_children(),
            "the forked child was to acquire by its parent's handle, and was told to open it again"
        );
        child.ask("check k").expect("its parent still holds it");
        subject.contended(subject.lock("k"));
        child.ask("release k").expect("it was held");
        assert!(subject.take(subject.lock("k")).token() > token, "tokens grow");
        subject.assert_free("k");
    });
}

/// A process that is killed while it waits is in nobody's way.
pub(super) fn c5_a_killed_process_leaves_the_queue(subject: &Subject) {
    with_child(subject, |mut child| {
        let guard = subject.take(subject.lock("k"));
        child.take("take other");
        let lease = subject.fixture().lease().as_millis();
        child.ask(&format!("queue k lease={lease}")).expect("it waits");
        let waiting = subject.queue(subject.lock("k"));
        child.kill();
        if subject.can().exclusion <= Exclusion::Lease {
            subject.advance(subject.fixture().lease() + subject.late());
        }
        subject.release(guard);
        drop(waiting.granted(subject));
        subject.assert_free("k");
    });
}

/// Stopped past its lease it has lost the lock, knows it when it goes on, and frees nothing;
/// where there are no leases it has lost nothing.
#[cfg(unix)]
pub(super) fn c8_a_stopped_process_learns_of_its_loss(subject: &Subject) {
    with_child(subject, |mut child| {
        let lease = subject.fixture().lease();
        let token = child.take(&format!("take k lease={}", lease.as_millis()));
        child.signal("STOP");
        subject.advance(lease * 2);
        if subject.can().exclusion > Exclusion::Lease {
            subject.contended(subject.lock("k"));
            child.signal("CONT");
            child.ask("check k").expect("a process that stands still loses nothing");
            return child.ask("release k").map(drop).expect("it was held");
        }
        let guard = subject.take(subject.lock("k"));
        assert!(guard.token() > token, "tokens grow across an expiry");
        child.signal("CONT");
        let failure = child.ask("check k").expect_err("its lease has run out");
        assert!(failure.starts_with("Lost"), "{failure}");
        let failure = child.ask("release k").expect_err("its lease has run out");
        assert!(failure.starts_with("Lost"), "{failure}");
        guard.check().expect("a late release frees nothing");
        subject.contended(subject.lock("k"));
    });
}

/// There are no such signals here.
#[cfg(not(unix))]
pub(super) fn c8_a_stopped_process_learns_of_its_loss(_: &Subject) {}

/// A killed process takes nothing from the others who share its owner, whoever came first; and what
/// is left after the last of them is nothing.
pub(super) fn c9_a_killed_process_leaves_a_shared_owner_its_hold(subject: &Subject) {
    if !subject.can().shared_owner {
        return;
    }
    let lease = subject.fixture().lease();
    for child_comes_first in [true, false] {
        with_child(subject, |mut child| {
            let owner = SharedOwner::random();
            let enter = || subject.take(subject.lock("k").shared_owner(owner).reentrant());
            let ours = (!child_comes_first).then(enter);
            let token = child.take(&format!("take k owner={owner} lease={}", lease.as_millis()));
            let ours = ours.unwrap_or_else(enter);
            assert_eq!(ours.token(), token, "it is one hold");
            let mut waiting = subject.queue(subject.lock("k"));
            child.kill();
            if subject.can().exclusion <= Exclusion::Lease {
                subject.advance(lease + subject.late());
            }
            ours.check().expect("its own process lives");
            subject.contended(subject.lock("k"));
            waiting.assert_waits(subject);
            subject.release(ours);
            drop(waiting.granted(subject));
            subject.assert_free("k");
        });
    }
}
