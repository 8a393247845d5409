//! C3: who is served next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::pending::Pending;
use super::subject::Subject;
use locks_core::{ErrorKind, LockBuilder};

/// Whether there is an order that `fair` could keep among the two sides; where there is none at
/// all, asserts that the backend says so.
pub(super) fn fair(subject: &Subject) -> bool {
    if !subject.ranks() {
        subject.assert_unsupported("fair", subject.lock("k").fair(true));
    }
    subject.orders()
}

/// First come, first served, also where the last of them is the first to look.
pub(super) fn c3_waiters_are_served_in_their_order(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let mut waiting = Vec::from_iter((0..5).map(|turn| subject.queue(subject.turns(turn, "k"))));
    subject.outwait();
    subject.release(guard);
    if !subject.orders() {
        return serve_all(subject, waiting);
    }
    while !waiting.is_empty() {
        let first = waiting.remove(0);
        first.assert_woken(subject);
        for later in waiting.iter_mut().rev() {
            later.assert_waits(subject);
        }
        subject.release(first.granted(subject));
    }
    subject.assert_free("k");
}

/// Where no order is promised everybody is served all the same.
pub(super) fn serve_all(subject: &Subject, mut waiting: Vec<Pending>) {
    while !waiting.is_empty() {
        subject.until("one of the waiters is served", || waiting.iter_mut().any(Pending::poll));
        let served = waiting.iter_mut().position(Pending::poll).expect("one was");
        subject.release(waiting.swap_remove(served).granted(subject));
    }
    subject.assert_free("k");
}

/// Readers that stand side by side in the queue go in side by side.
pub(super) fn c3_adjacent_shared_waiters_are_granted_together(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let guard = subject.take(subject.lock("k"));
    let waiting = [(); 3].map(|()| subject.queue(subject.lock("k").shared()));
    let mut writer = subject.queue(subject.theirs("k"));
    let mut behind = subject.queue(subject.lock("k").shared());
    subject.outwait();
    subject.release(guard);
    if !subject.orders() {
        let mut all = Vec::from(waiting);
        all.extend([writer, behind]);
        return serve_all(subject, all);
    }
    let readers = waiting.map(|waiting| waiting.granted(subject));
    writer.assert_waits(subject);
    behind.assert_waits(subject);
    drop(readers);
    let guard = writer.granted(subject);
    behind.assert_waits(subject);
    subject.release(guard);
    drop(behind.granted(subject));
    subject.assert_free("k");
}

/// Readers that keep coming do not keep a writer out.
pub(super) fn c3_readers_do_not_starve_a_writer(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    starves(subject, LockBuilder::shared, |lock| lock);
}

/// Writers that keep coming do not keep a reader out.
pub(super) fn c3_writers_do_not_starve_a_reader(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    starves(subject, |lock| lock, LockBuilder::shared);
}

/// Two of the many always overlap in time; the one gets in all the same.
fn starves(
    subject: &Subject,
    many: fn(LockBuilder<'static>) -> LockBuilder<'static>,
    one: fn(LockBuilder<'static>) -> LockBuilder<'static>,
) {
    if !subject.orders() {
        // The side that keeps coming never leaves a gap.
        return;
    }
    let mut held = subject.take(many(subject.lock("k")));
    let mut one = subject.queue(one(subject.theirs("k")));
    for _ in 0..50 {
        subject.outwait();
        let mut next = Pending::begin(many(subject.lock("k")));
        next.poll();
        subject.release(held);
        let (mut first, mut second) = (false, false);
        subject.until("one of the two is served", || {
            first = one.poll();
            second = !first && next.poll();
            first || second
        });
        if first {
            drop(one.granted(subject));
            drop(next.granted(subject));
            return subject.assert_free("k");
        }
        held = next.granted(subject);
    }
    panic!("50 others were served before it");
}

/// A newcomer may be quicker than a waiter who has only just come, but not than one who has
/// waited for half a millisecond.
pub(super) fn c3_newcomers_do_not_overtake_who_has_waited(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let first = subject.queue(subject.theirs("k"));
    subject.outwait();
    subject.release(guard);
    if !subject.orders() {
        return serve_all(subject, vec![first, Pending::begin(subject.lock("k"))]);
    }
    // The waiter is woken but has not been polled yet.
    subject.contended(subject.lock("k"));
    let mut late = subject.queue(subject.lock("k"));
    let guard = first.granted(subject);
    late.assert_waits(subject);
    subject.release(guard);
    drop(late.granted(subject));
    subject.assert_free("k");
}

/// The same where it was woken in time but has not come for its lock yet.
pub(super) fn c3_newcomers_do_not_overtake_who_was_woken_long_ago(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let first = subject.queue(subject.theirs("k"));
    subject.release(guard);
    first.assert_woken(subject);
    subject.outwait();
    if !subject.orders() {
        return serve_all(subject, vec![first, Pending::begin(subject.lock("k"))]);
    }
    subject.contended(subject.lock("k"));
    drop(first.granted(subject));
    subject.assert_free("k");
}

/// With `fair(true)` a newcomer overtakes nobody, however short they have waited.
pub(super) fn c3_a_fair_newcomer_overtakes_nobody(subject: &Subject) {
    if !fair(subject) {
        return;
    }
    for _ in 0..20 {
        let guard = subject.take(subject.lock("k"));
        let mut first = Pending::begin(subject.theirs("k"));
        first.poll();
        subject.meet();
        drop(guard);
        subject.meet();
        subject.contended(subject.lock("k").fair(true));
        drop(first.granted(subject));
    }
    subject.assert_free("k");
}

/// A newcomer does not overtake a waiter who asked for `fair(true)`.
pub(super) fn c3_nobody_overtakes_a_fair_waiter(subject: &Subject) {
    if !fair(subject) {
        return;
    }
    for _ in 0..20 {
        let guard = subject.take(subject.lock("k"));
        let mut first = Pending::begin(subject.theirs("k").fair(true));
        first.poll();
        subject.meet();
        drop(guard);
        subject.meet();
        subject.contended(subject.lock("k"));
        drop(first.granted(subject));

        // Nor one that stands behind another, whom it could have overtaken.
        let guard = subject.take(subject.lock("k"));
        let mut first = Pending::begin(subject.theirs("k"));
        first.poll();
        subject.meet();
        drop(guard);
        let mut second = Pending::begin(subject.theirs("k").fair(true));
        second.poll();
        subject.meet();
        subject.contended(subject.lock("k"));
        drop(first.granted(subject));
        drop(second.granted(subject));
    }
    subject.assert_free("k");
}

/// With `fair(false)` a reader goes in beside readers although a writer waits.
pub(super) fn c3_an_unfair_reader_goes_in_past_the_queue(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let reader = subject.take(subject.lock("k").shared());
    let mut writer = subject.queue(subject.theirs("k"));
    subject.outwait();
    if subject.orders() {
        subject.contended(subject.lock("k").shared());
        subject.contended(subject.theirs("k").shared().fair(true));
    }
    let beside = subject.take(subject.lock("k").shared().fair(false).wait(false));
    // Not beside a holder it conflicts with, though.
    subject.contended(subject.theirs("k").fair(false));
    writer.assert_waits(subject);
    drop((reader, beside));
    drop(writer.granted(subject));
    subject.assert_free("k");
}

/// A waiter with `fair(false)` goes in as soon as it can run beside the holders, past the queue.
pub(super) fn c3_an_unfair_waiter_does_not_stand_in_line(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let guard = subject.take(subject.lock("k"));
    let reader = subject.queue(subject.theirs("k").shared());
    let mut writer = subject.queue(subject.theirs("k"));
    let unfair = subject.queue(subject.lock("k").shared().fair(false));
    subject.outwait();
    subject.release(guard);
    let unfair = unfair.granted(subject);
    if subject.orders() {
        let reader = reader.granted(subject);
        writer.assert_waits(subject);
        drop((reader, unfair));
    } else {
        drop((reader, unfair));
    }
    drop(writer.granted(subject));
    subject.assert_free("k");
}

/// Who has waited for longer goes first although the other one is called by the release: again and
/// again, because by chance it would be every other time.
pub(super) fn c3_an_older_waiter_of_the_holders_client_goes_first(subject: &Subject) {
    if !subject.orders() {
        return;
    }
    let (mut judged, mut round) = (0, 0);
    while judged < 20 {
        round += 1;
        assert!(round <= 400, "only {judged} of 400 rounds were quick enough to tell");
        let guard = subject.take(subject.lock("k"));
        let older = subject.queue(subject.turns(0, "k"));
        let queued = subject.now();
        // For longer than a claim may be under way, which makes it seem younger to a store.
        (0..4).for_each(|_| subject.outwait());
        let apart = subject.now() - queued;
        let waiting = [older, subject.queue(subject.turns(1, "k"))];
        // Each is woken by itself, and comes for the lock as soon as it can.
        let (served, order) = std::sync::mpsc::channel();
        let threads = waiting.map(|waiting| {
            let served = served.clone();
            subject.thread("a waiter", move |subject| {
                let guard = waiting.granted(subject);
                let _ = served.send((std::thread::current().id(), subject.now()));
                drop(guard);
                std::thread::current().id()
            })
        });
        let released = subject.now();
        drop(guard);
        let [older, younger] = threads.map(|thread| thread.finish_in_time(subject));
        let (order, at): (Vec<_>, Vec<_>) = order.try_iter().unzip();
        // A busy machine can keep a claim under way for longer, and a store passes over one that it
        // has called and that does not come within 250 ms of its own time.
        if at[0] - released < apart.min(Duration::from_millis(200)) {
            assert_eq!(order, [older, younger], "in round {round} the younger one came first");
            judged += 1;
        }
    }
    subject.assert_free("k");
}

/// Waiting for one key is no obstacle at another.
pub(super) fn c3_keys_have_queues_of_their_own(subject: &Subject) {
    let guards = ["a", "b", "c"].map(|key| subject.take(subject.lock(key)));
    let mut waiting = ["a", "b", "c"].map(|key| subject.queue(subject.theirs(key)));
    let [a, b, c] = guards;
    subject.release(b);
    waiting[0].assert_waits(subject);
    waiting[2].assert_waits(subject);
    let [wait_a, wait_b, wait_c] = waiting;
    let b = wait_b.granted(subject);
    drop((a, c));
    drop((wait_c.granted(subject), wait_a.granted(subject), b));
    for key in ["a", "b", "c"] {
        subject.assert_free(key);
    }
}

/// A thread that takes the lock again and again leaves room for one that waits.
pub(super) fn c3_a_busy_thread_does_not_starve_a_waiter(subject: &Subject) {
    let (served, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let busy = subject.thread("a busy thread", {
        let (served, turns) = (served.clone(), turns.clone());
        move |subject| {
            while !served.load(Ordering::SeqCst) {
                match subject.outcome(subject.try_theirs("k")) {
                    Ok(guard) => subject.release(guard),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}"),
                }
                turns.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    for _ in 0..20 {
        let guard = subject.take(subject.lock("k"));
        let waiting = subject.queue(subject.lock("k"));
        subject.outwait();
        let before = turns.load(Ordering::SeqCst);
        subject.until("the busy thread tries", || turns.load(Ordering::SeqCst) > before);
        drop(guard);
        drop(waiting.granted(subject));
    }
    served.store(true, Ordering::SeqCst);
    busy.finish();
    subject.assert_free("k");
}
