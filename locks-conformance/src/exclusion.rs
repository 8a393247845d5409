//! C1: who may hold a key beside whom.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use super::subject::Subject;
use locks_core::LockBuilder;

pub(super) fn c1_exclusive_beside_nobody(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    subject.contended(subject.theirs("k"));
    let waiting = subject.queue(subject.theirs("k"));
    subject.release(guard);
    let guard = waiting.granted(subject);
    subject.contended(subject.lock("k"));
    subject.contended(subject.theirs("k"));
    subject.release(guard);
    subject.assert_free("k");
}

pub(super) fn c1_shared_beside_shared(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let readers = [0, 1, 2].map(|turn| subject.take(subject.turns(turn, "k").shared()));
    for reader in readers {
        reader.check().expect("it is held beside the others");
        subject.contended(subject.lock("k"));
        subject.contended(subject.theirs("k"));
        subject.release(reader);
    }
    subject.assert_free("k");
}

pub(super) fn c1_shared_not_beside_exclusive(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let guard = subject.take(subject.lock("k"));
    subject.contended(subject.theirs("k").shared());
    let waiting = subject.queue(subject.theirs("k").shared());
    subject.release(guard);
    let reader = waiting.granted(subject);
    subject.contended(subject.lock("k"));
    let other = subject.take(subject.lock("k").shared());
    subject.contended(subject.theirs("k"));
    drop((reader, other));
    subject.assert_free("k");
}

/// An exclusive waiter is granted only when the last reader is gone.
pub(super) fn c1_exclusive_waits_for_every_shared(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let reader = |turn| subject.take(subject.turns(turn, "k").shared());
    let mut readers = Vec::from_iter((0..4).map(reader));
    let mut writer = subject.queue(subject.theirs("k"));
    while let Some(reader) = readers.pop() {
        writer.assert_waits(subject);
        subject.release(reader);
    }
    drop(writer.granted(subject));
    subject.assert_free("k");
}

/// Threads and tasks, blocking and not: two never overlap, and none is left out.
pub(super) fn c1_threads_never_overlap(subject: &Subject) {
    overlaps(subject, "a thread", 4, 50, |lock| lock, 1);
}

/// The same with readers, who may overlap each other.
pub(super) fn c1_readers_and_writers_never_overlap(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let inside = Arc::new(AtomicUsize::new(0));
    let start = Arc::new(Barrier::new(4));
    let threads = Vec::from_iter((0..4).map(|number| {
        let (inside, start) = (inside.clone(), start.clone());
        subject.thread("a reader or writer", move |subject| {
            start.wait();
            for round in 0..50 {
                // A reader counts for one, a writer for a hundred.
                let writes = (number + round) % 3 == 0;
                let (lock, weight) = match writes {
                    true => (subject.turns(number, "k"), 100),
                    false => (subject.turns(number, "k").shared(), 1),
                };
                let guard = acquire_somehow(subject, lock, round % 2 == 0);
                let before = inside.fetch_add(weight, Ordering::SeqCst);
                assert!(before < if writes { 1 } else { 100 }, "{before} beside {weight}");
                std::thread::yield_now();
                inside.fetch_sub(weight, Ordering::SeqCst);
                drop(guard);
            }
        })
    }));
    threads.into_iter().for_each(|thread| thread.finish());
    subject.assert_free("k");
}

/// `threads` threads, by turns of either side, take the lock `rounds` times each, and never are
/// more than `most` inside.
pub(super) fn overlaps(
    subject: &Subject,
    name: &str,
    threads: usize,
    rounds: usize,
    how: fn(LockBuilder<'static>) -> LockBuilder<'static>,
    most: usize,
) {
    let inside = Arc::new(AtomicUsize::new(0));
    let start = Arc::new(Barrier::new(threads));
    let running = Vec::from_iter((0..threads).map(|number| {
        let (inside, start) = (inside.clone(), start.clone());
        subject.thread(name, move |subject| {
            start.wait();
            for round in 0..rounds {
                let lock = how(subject.turns(number, "k"));
                let guard = acquire_somehow(subject, lock, round % 2 == 0);
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(now <= most, "{now} hold it at a time");
                std::thread::yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(guard);
            }
        })
    }));
    running.into_iter().for_each(|thread| thread.finish());
    subject.assert_free("k");
}

fn acquire_somehow(
    subject: &Subject,
    lock: LockBuilder<'static>,
    blocking: bool,
) -> locks_core::OwnedGuard {
    match blocking {
        true => lock.acquire().expect("it waits for ever").into_owned(),
        false => subject.take(lock),
    }
}
