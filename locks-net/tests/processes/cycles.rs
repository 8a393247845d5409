//! Row 28: deadlocks between clients are told of, with the cycle.

use crate::peer::{Peer, Refused, now};
use crate::place::{Place, WAYS, assert_nothing_left};

/// A process for each pair of keys, which takes the first and, once all have theirs, the second.
/// What was refused, and how many had both in the end. Where one was so late that there was no
/// cycle, they try again, with more time.
fn chase(peers: &mut [Peer], pairs: &[(&str, &str, &str)]) -> (Vec<Refused>, usize) {
    for attempt in 1..10 {
        let (refused, granted) = chase_once(peers, pairs, attempt * 150_000_000);
        if !(refused.is_empty() && granted == pairs.len()) {
            return (refused, granted);
        }
    }
    panic!("there was no cycle");
}

fn chase_once(
    peers: &mut [Peer],
    pairs: &[(&str, &str, &str)],
    after: u64,
) -> (Vec<Refused>, usize) {
    let at = now() + after;
    let chasing = peers.iter_mut().zip(pairs);
    let chasing = chasing.map(|(peer, (first, mode, second))| peer.chase(first, mode, second, at));
    // All are under way before anybody's outcome is looked at.
    let chasing = Vec::from_iter(chasing);
    let outcomes = Vec::from_iter(chasing.iter().map(|chasing| chasing.outcome()));
    let granted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    (outcomes.into_iter().filter_map(Result::err).collect(), granted)
}

fn assert_cycle(refused: &[Refused], keys: &[&str]) {
    let [refused] = refused else { panic!("C10: one tells of it: {refused:?}") };
    assert_eq!(refused.kind, "Deadlock", "{refused:?}");
    for key in keys {
        assert!(refused.text.contains(&format!("`{key}`")), "C10: `{key}` in {refused:?}");
    }
    assert!(refused.text.contains("commands.rs:"), "C12: it does not say where: {refused:?}");
}

#[test]
fn row_28_two_clients_that_wait_for_each_other() {
    for way in WAYS {
        let place = Place::new(way);
        let _serving = place.start();
        let mut peers: [_; 2] = place.peers();
        for _ in 0..3 {
            let pairs = [("a", "exclusive", "b"), ("b", "exclusive", "a")];
            let (refused, granted) = chase(&mut peers, &pairs);
            assert_cycle(&refused, &["a", "b"]);
            assert_eq!(granted, 1, "{way:?}: the other one goes on");
        }
        assert_nothing_left(&place.client());
    }
}

#[test]
fn row_28_three_clients_in_a_cycle_through_a_shared_lock() {
    for way in WAYS {
        let place = Place::new(way);
        let _serving = place.start();
        let mut peers: [_; 3] = place.peers();
        for _ in 0..3 {
            let pairs = [("a", "exclusive", "b"), ("b", "shared", "c"), ("c", "exclusive", "a")];
            let (refused, granted) = chase(&mut peers, &pairs);
            assert_cycle(&refused, &["a", "b", "c"]);
            assert_eq!(granted, 2, "{way:?}: the others go on");
        }
        assert_nothing_left(&place.client());
    }
}

/// A cycle that a server's death has been part of is one for the next server, too.
#[test]
fn row_28_a_cycle_that_is_closed_after_a_restart() {
    let place = Place::new(crate::place::Way::Unix);
    let serving = place.start();
    let mut peers: [_; 2] = place.peers();
    let mut next = place.standby();
    let at = now() + 700_000_000;
    let chasing = [
        peers[0].chase("a", "exclusive", "b", at),
        peers[1].chase("b", "exclusive", "a", at + 200_000_000),
    ];
    crate::directory::until("both have one", || {
        let [_, _, keys, _] = peers[0].status();
        keys == 2
    });
    serving.kill();
    place.let_serve(&mut next);
    let outcomes = chasing.map(|chasing| chasing.outcome());
    let refused = outcomes.iter().filter_map(|outcome| outcome.clone().err());
    assert_cycle(&Vec::from_iter(refused), &["a", "b"]);
    assert!(outcomes.iter().any(Result::is_ok), "the other one goes on");
    assert_nothing_left(&place.client());
}
