//! Row 29: nobody starves, whichever processes the others are.

use std::time::{Duration, Instant};

use crate::directory::Directory;
use crate::peer::Peer;

/// What is called bounded: who starves is not served at all, for the others never end by
/// themselves.
const BOUND: Duration = Duration::from_secs(30);

/// Starts two processes with two churning threads each; returns what the third gets done beside
/// them, and how often they did.
fn beside(churns: &str, asks: &str) -> (Duration, u64) {
    let directory = Directory::new();
    let [mut one, mut other, mut third] = Peer::start_many(&directory);
    let stays = Duration::from_millis(2);
    let churning =
        [(); 2].map(|()| [one.churn(&["k"], stays, churns), other.churn(&["k"], stays, churns)]);
    let start = Instant::now();
    for _ in 0..5 {
        let served = third.begin("k", asks);
        let held = match served.reply_within(BOUND) {
            Some(_) => served.granted(),
            None => panic!("row 29: not served within {BOUND:?}"),
        };
        third.release(held).unwrap();
    }
    let taken = start.elapsed();
    let mut visits = 0;
    for [by_one, by_other] in churning {
        visits += one.settle(&by_one) + other.settle(&by_other);
    }
    (taken, visits)
}

#[test]
fn row_29_one_writer_among_endless_readers() {
    let (taken, visits) = beside("shared", "");
    assert!(visits > 0, "the readers starve");
    eprintln!("row 29: 5 writes in {taken:?} among {visits} reads");
}

#[test]
fn row_29_one_reader_among_endless_writers() {
    let (taken, visits) = beside("", "shared");
    assert!(visits > 0, "the writers starve");
    eprintln!("row 29: 5 reads in {taken:?} among {visits} writes");
}

#[test]
fn row_29_one_writer_among_endless_writers() {
    let (taken, visits) = beside("", "");
    assert!(visits > 0, "the others starve");
    eprintln!("row 29: 5 writes in {taken:?} among {visits} writes");
}

/// A process whose own threads always want it gives it to others all the same (F6).
#[test]
fn f6_a_process_of_many_does_not_keep_it_to_itself() {
    let directory = Directory::new();
    let [mut crowd, mut single] = Peer::start_many(&directory);
    let churning = [(); 8].map(|()| crowd.churn(&["k"], Duration::from_millis(1), ""));
    let begun = Instant::now();
    for _ in 0..20 {
        let served = single.begin("k", "");
        assert!(served.reply_within(BOUND).is_some(), "F6: not served within {BOUND:?}");
        let held = served.granted();
        single.release(held).unwrap();
    }
    // By itself the crowd would never let go of it: it always wants it, and gets it for ten
    // milliseconds.
    eprintln!("F6: 20 turns took {:?}", begun.elapsed());
    for churn in churning {
        assert!(crowd.settle(&churn) > 0, "one of the crowd starves");
    }
}
