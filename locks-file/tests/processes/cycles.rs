//! Row 28: deadlocks within the process are told of, with the cycle.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;

use locks_core::{Backend, ErrorKind, LockError};

use crate::directory::{Directory, PATIENCE};

/// A thread for each pair of keys, which takes the first and, once all have theirs, the second.
/// What was refused, and how many had both in the end.
fn chase<const N: usize>(
    backend: &Backend,
    pairs: [(&'static str, bool, &'static str); N],
) -> (Vec<LockError>, usize) {
    let (all_have_one, (sender, outcomes)) = (Arc::new(Barrier::new(N)), channel());
    for (first, shared, second) in pairs {
        let (backend, all_have_one) = (backend.clone(), all_have_one.clone());
        let sender = sender.clone();
        // Left behind if they hang.
        thread::spawn(move || {
            let first = backend.named(first);
            let first = if shared { first.shared() } else { first };
            let first = first.acquire().unwrap();
            all_have_one.wait();
            let outcome = backend.named(second).acquire().map(drop);
            drop(first);
            // Where the test has failed nobody listens.
            let _ = sender.send(outcome);
        });
    }
    let outcomes = pairs
        .map(|_| outcomes.recv_timeout(PATIENCE).expect("row 28: nobody is told of the deadlock"));
    let granted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    (outcomes.into_iter().filter_map(Result::err).collect(), granted)
}

fn assert_cycle(refused: &[LockError], keys: &[&str]) {
    let [error] = refused else { panic!("one tells of it: {refused:?}") };
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
    let mut steps = Vec::from_iter(error.cycle().iter().map(|step| step.wants.as_str()));
    steps.sort_unstable();
    assert_eq!(steps, keys, "{error}");
    let (text, file) = (error.to_string(), file!());
    assert!(text.contains(file), "C12: `{text}` does not say where: `{file}`");
}

#[test]
fn row_28_two_threads_that_wait_for_each_other() {
    let directory = Directory::new();
    let backend = directory.backend();
    assert!(backend.about().capabilities.deadlock_detection);
    for _ in 0..5 {
        let (refused, granted) = chase(&backend, [("a", false, "b"), ("b", false, "a")]);
        assert_cycle(&refused, &["a", "b"]);
        assert_eq!(granted, 1);
    }
    directory.assert_closed(&["a", "b"]);
}

#[test]
fn row_28_a_cycle_of_three_through_a_shared_lock() {
    let directory = Directory::new();
    let backend = directory.backend();
    let pairs = [("a", false, "b"), ("b", true, "c"), ("c", false, "a")];
    for _ in 0..5 {
        let (refused, granted) = chase(&backend, pairs);
        assert_cycle(&refused, &["a", "b", "c"]);
        assert_eq!(granted, 2);
    }
    directory.assert_closed(&["a", "b", "c"]);
}
