//! What a client in Python says when it is back: a server by hand sends its frames in the order
//! that a test wants.

use std::time::Duration;

use super::hand::{ACQUIRE, END, HOLDING, Hand, PING, REFRESH};
use crate::kit::{PATIENCE, Place};

#[test]
fn c4_python_confirms_no_release_of_what_was_stolen_before() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    python.say(&["release", "a"]);
    hand.has_said(&[END, PING]);
    hand.lost(1);
    hand.acknowledge(3);
    assert_eq!(python.answer(), "Lost the lock is lost: stolen");
}

#[test]
fn c4_python_confirms_no_release_that_the_server_has_forgotten() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    python.say(&["release", "a"]);
    hand.has_said(&[END, PING]);
    hand.reconnect(1, 0);
    assert_eq!(python.answer(), "Lost the lock is lost: session ended");
}

/// The server may report a loss right after its greeting. So only the answer to a later ping
/// confirms the release.
#[test]
fn c4_python_confirms_a_release_by_what_it_says_after_it_has_come_back() {
    // What the server is known to have applied, and all that it hears of the release.
    for (how, applied, first) in [(2, 3, vec![]), (2, 1, vec![END, PING]), (3, 0, vec![HOLDING])] {
        for is_stolen in [true, false] {
            let (place, case) = (Place::new(), (how, applied, is_stolen));
            let (mut hand, mut python) = Hand::with_hold(&place);
            python.say(&["release", "a"]);
            hand.has_said(&[END, PING]);
            hand.reconnect(how, applied);
            hand.has_said(&first);
            hand.has_said(&[PING]);
            let (before, after) = if how == 3 { (1, 2) } else { (3, 4) };
            if is_stolen {
                hand.lost(before);
            }
            hand.acknowledge(after);
            let answer = if is_stolen { "Lost the lock is lost: stolen" } else { "ok released" };
            assert_eq!(python.answer(), answer, "{case:?}");
        }
    }
}

#[test]
fn c8_python_queues_again_for_what_was_lost_before_it_had_it() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_wait(&place, PATIENCE);
    hand.granted_and_lost(5, 1);
    hand.has_said(&[END]);
    hand.asks();
    hand.granted(6);
    assert_eq!(python.answer(), "ok 6");
    assert_eq!(python.ask(&["check", "a"]), "ok held");
}

/// The next one would be over as soon.
#[test]
fn c14_python_has_what_was_held_for_too_long_before_it_had_it_as_lost() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_wait(&place, PATIENCE);
    hand.granted_and_lost(5, 2);
    assert_eq!(python.answer(), "ok 5");
    assert_eq!(python.ask(&["check", "a"]), "ok held too long");
    hand.has_said(&[END]);
}

/// Otherwise the server would keep it for as long as the session goes on.
#[test]
fn c8_python_ends_what_it_has_lost_by_its_clock_when_it_comes_back() {
    for renews in [false, true] {
        let place = Place::new();
        let (mut hand, mut python) = Hand::with_hold_for(&place, Duration::from_secs(1), renews);
        hand.vanish();
        assert_eq!(python.ask(&["wait_lost", "a"]), "ok lease ran out");
        hand.come_back(2, hand.heard);
        assert_eq!(hand.call_but_ping(), [&[END][..], &1_u64.to_le_bytes()].concat());
    }
}

/// However little the server may take to be reached.
#[test]
fn n7_python_waits_on_when_the_connection_was_lost() {
    for timeout in ["", "30"] {
        let place = Place::new();
        let (mut hand, mut python) = Hand::with_session(&place, PATIENCE, false);
        assert_eq!(python.ask(&["connect", "0"]), "ok 0.0");
        hand.is_asked_by(&mut python, timeout);
        hand.reconnect(2, 1);
        hand.granted(5);
        assert_eq!(python.answer(), "ok 5", "{timeout:?}");
    }
}

/// A request is given up at its own deadline; without one, after a lease. Unless the client ends it
/// then, the server grants it, and renews it for as long as the session lasts.
#[test]
fn n7_python_ends_what_it_gave_up_while_nobody_served() {
    for (timeout, lease) in [("0.1", PATIENCE), ("", Duration::from_millis(500))] {
        let place = Place::new();
        let (mut hand, mut python) = Hand::with_session(&place, lease, false);
        hand.is_asked_by(&mut python, timeout);
        hand.vanish();
        let answer = python.answer();
        assert!(answer.starts_with("Unavailable "), "{timeout:?}: {answer}");
        hand.come_back(2, 1);
        hand.has_said(&[END]);
    }
}

#[test]
fn n7_python_ends_what_is_granted_to_nobody() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_session(&place, PATIENCE, false);
    hand.is_asked_by(&mut python, "0.1");
    let answer = python.answer();
    assert!(answer.starts_with("Unavailable "), "{answer}");
    hand.has_said(&[END]);
    hand.granted(5);
    hand.has_said(&[END]);
    // But not what it holds, if the answer is repeated.
    hand.reconnect(1, 0);
    python.say(&["acquire", "a", "k", "30"]);
    hand.has_said(&[ACQUIRE]);
    for _ in 0..2 {
        hand.say(1, &[&[1], &2_u64.to_le_bytes()[..], &6_u64.to_le_bytes()].concat());
    }
    assert_eq!(python.answer(), "ok 6");
    python.say(&["renew", "a"]);
    hand.has_said(&[REFRESH]);
}

/// What is left then is what the server may take, or its word would come too late.
#[test]
fn c2_python_asks_when_it_is_back_and_waits_for_what_is_left() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_session(&place, PATIENCE, false);
    hand.leave(&mut python);
    python.say(&["acquire", "a", "k", "20"]);
    hand.come_back(2, 0);
    let acquire = hand.call();
    assert_eq!(acquire[0], ACQUIRE);
    let left = Duration::from_nanos(u64::from_le_bytes(acquire[18..26].try_into().unwrap()));
    assert!(left < Duration::from_secs(20) && left > Duration::ZERO, "{left:?}");
    hand.granted(5);
    assert_eq!(python.answer(), "ok 5");
}

#[test]
fn n2_python_says_a_renewal_that_was_wanted_while_nobody_served() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    hand.leave(&mut python);
    python.say(&["renew", "a"]);
    hand.come_back(2, 1);
    let renewal = hand.call();
    assert_eq!(renewal[0], REFRESH);
    hand.say(2, &[&[3], &renewal[1..9]].concat());
    assert_eq!(python.answer(), "ok renewed");
}

/// With more than one frame to be repeated.
#[test]
fn n2_python_repeats_after_a_connection_that_broke_while_it_repeated() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    python.say(&["release", "a"]);
    hand.has_said(&[END, PING]);
    hand.reconnect_deaf(2, 1);
    hand.reconnect(2, 1);
    hand.has_said(&[END, PING]);
    hand.acknowledge(3);
    hand.has_said(&[PING]);
    hand.acknowledge(4);
    assert_eq!(python.answer(), "ok released");
}

#[test]
fn n4_python_asks_again_after_a_connection_that_broke_when_it_was_restored() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_wait(&place, PATIENCE);
    hand.reconnect_deaf(3, 0);
    hand.reconnect(2, 0);
    hand.has_said(&[HOLDING]);
    hand.asks();
    hand.granted(5);
    assert_eq!(python.answer(), "ok 5");
    python.say(&["renew", "a"]);
    hand.has_said(&[REFRESH]);
    hand.reconnect_deaf(3, 0);
    hand.reconnect(2, 0);
    hand.has_said(&[HOLDING, REFRESH]);
}

#[test]
fn n7_python_connects_again_after_nonsense() {
    let place = Place::new();
    let (mut hand, mut python) = Hand::with_hold(&place);
    // Too short for its numbers; and a holder in no mode.
    let nobody = [&[2][..], &9_u64.to_le_bytes(), &[1, 0, 1, 0, b'k', 1, 0, 0, 0, 0, 0]].concat();
    hand.put(&[0]);
    hand.reconnect(2, 1);
    hand.say(1, &nobody);
    hand.reconnect(2, 1);
    hand.lost(1);
    assert_eq!(python.ask(&["wait_lost", "a"]), "ok stolen");
}
