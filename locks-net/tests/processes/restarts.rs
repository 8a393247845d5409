//! Rows 13 to 15: servers that are killed and come back.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::directory::until;
use crate::place::{Place, Serving, WAYS, Way, assert_nothing_left};

/// The next server is under way before the old one is dead, comes soon after it, or much later.
const PAUSES: [Option<u64>; 3] = [None, Some(20), Some(5000)];

/// Kills the server and starts another one.
fn restart(place: &Place, serving: Serving, pause: Option<u64>) -> Serving {
    let mut next = place.standby();
    serving.kill();
    thread::sleep(Duration::from_millis(pause.unwrap_or_default()));
    place.let_serve(&mut next);
    next
}

#[test]
fn row_14_holders_keep_their_locks_when_the_server_is_killed() {
    thread::scope(|threads| {
        for way in [Way::Unix, Way::Tcp] {
            for pause in PAUSES {
                threads.spawn(move || keep_locks(way, pause));
            }
        }
    });
}

fn keep_locks(way: Way, pause: Option<u64>) {
    let place = Place::with_limits(way, "lease=10000");
    let mut serving = place.start();
    let [mut one, mut two] = place.peers();
    let [mut three, mut four] = place.peers();
    let held = one.take("k", "");
    let reader = one.take("r", "shared");
    let set = one.begin_all(&["s", "t", "u"], "").granted();
    let other = two.take("r", "shared");
    let gone = two.take("gone", "");
    two.release(gone).unwrap();
    let mut last = gone.token;
    // They wait in this order.
    let mut second = two.begin("k", "");
    second.assert_waits();
    let mut third = three.begin("k", "");
    third.assert_waits();
    let writer = four.begin("r", "");
    writer.assert_waits();
    let rounds = if pause == Some(5000) { 1 } else { 3 };
    for round in 0..rounds {
        serving = restart(&place, serving, pause);
        let since = Instant::now();
        // Keys of nobody are granted at once, and tokens go on.
        let mut newcomer = place.peer();
        let token = newcomer.assert_free("gone");
        assert!(token > last, "C7: {token} after {last}");
        last = token;
        let took = since.elapsed();
        assert!(took < Duration::from_secs(9), "row 14: nobody's lease is waited for: {took:?}");
        for held in [held, reader, set] {
            one.check(held).expect("row 14: it is held");
        }
        one.refresh(held).expect("row 14: it is held");
        two.refresh(other).expect("row 14: it is held");
        for key in ["k", "s", "t", "u", "r"] {
            newcomer.contended(key, "");
        }
        until("who waits is in line again", || newcomer.status()[3] == 3);
        let shared = newcomer.begin("r", "wait=100 shared").refused();
        assert_eq!(shared.kind, "Timeout", "C3: a writer waits in front: {shared:?}");
        assert!(!second.is_answered() && !third.is_answered() && !writer.is_answered());
        // Waiters come in their turn, who have waited over restarts.
        if round == 1 {
            one.release(held).unwrap();
            let theirs = second.granted();
            assert!(theirs.token > held.token, "C7");
            third.assert_waits();
            two.release(theirs).unwrap();
            let theirs = third.granted();
            assert!(one.begin("k", "wait=50").outcome().is_err(), "C1");
            three.release(theirs).unwrap();
            // And as it was, for the next round.
            let again = one.take("k", "");
            second = two.begin("k", "");
            second.assert_waits();
            third = three.begin("k", "");
            third.assert_waits();
            serving = restart(&place, serving, pause);
            until("who waits is in line again", || newcomer.status()[3] == 3);
            one.release(again).expect("row 14: it is held");
            let theirs = second.granted();
            two.release(theirs).unwrap();
            let theirs = third.granted();
            three.release(theirs).unwrap();
            break;
        }
    }
    one.release(reader).unwrap();
    two.release(other).unwrap();
    let theirs = writer.granted();
    four.release(theirs).unwrap();
    one.release(set).unwrap();
    if rounds == 1 {
        one.release(held).unwrap();
        let theirs = second.granted();
        two.release(theirs).unwrap();
        let theirs = third.granted();
        three.release(theirs).unwrap();
    }
    assert_nothing_left(&place.client());
    drop(serving);
}

/// What ended just before the crash stays ended, and its holder hears of it.
#[test]
fn row_14_what_had_ended_before_the_crash_stays_ended() {
    for way in [Way::Unix, Way::Tcp] {
        let place = Place::with_limits(way, "lease=5000");
        let mut serving = place.start();
        for round in 0..4 {
            let [mut victim, mut other] = place.peers();
            let held = ["released", "stolen", "evicted", "bounded"].map(|key| {
                let options = if key == "bounded" { "most=150" } else { "" };
                victim.take(key, options)
            });
            let [released, stolen, evicted, bounded] = held;
            thread::sleep(Duration::from_millis(160));
            victim.release(released).unwrap();
            let theirs = other.take("stolen", "steal=10");
            assert!(other.evict("evicted", evicted.token), "C15");
            serving = restart(&place, serving, PAUSES[round % 2]);
            for key in ["released", "evicted", "bounded"] {
                let token = other.assert_free(key);
                let last = held.iter().map(|held| held.token).max().unwrap();
                assert!(token > last, "C7: {token} after {last}");
            }
            victim.contended("stolen", "");
            other.check(theirs).expect("row 14: the thief has it");
            for held in [stolen, evicted, bounded] {
                let refused = victim.check(held).expect_err("row 14: it had ended");
                assert!(refused.is_lost(), "{refused:?}");
                let refused = victim.release(held).expect_err("row 14: it had ended");
                assert!(refused.is_lost(), "{refused:?}");
            }
            other.refresh(theirs).expect("row 12: a late release is nobody's loss");
            other.release(theirs).unwrap();
        }
        assert_nothing_left(&place.client());
    }
}

/// Stolen by the time its holder comes back to the server that was started meanwhile.
#[test]
fn row_14_who_comes_back_late_hears_of_what_was_stolen_since_the_restart() {
    let place = Place::with_limits(Way::Unix, "lease=10000");
    let mut serving = place.start();
    let [mut victim, mut thief] = place.peers();
    for ask in ["refresh", "release"] {
        let (held, kept) = (victim.take("k", ""), victim.take("kept", ""));
        victim.stop();
        serving = restart(&place, serving, None);
        let stolen = thief.take("k", "steal=100");
        assert!(held.token < stolen.token, "C7");
        victim.go_on();
        // It is back.
        victim.refresh(kept).expect("row 14: it is held");
        let asked = match ask {
            "refresh" => victim.ask_refresh(held),
            _ => victim.ask_release(held),
        };
        let refused = asked.done().expect_err("row 14: it was stolen");
        assert!(refused.is_lost(), "{ask}: {refused:?}");
        if ask == "refresh" {
            let refused = victim.check(held).expect_err("row 14: it was stolen");
            assert!(refused.is_lost(), "{refused:?}");
            victim.drop_guard(held);
        }
        thief.check(stolen).unwrap();
        thief.release(stolen).unwrap();
        victim.release(kept).unwrap();
    }
}

/// A client that is gone together with the server does not come back with it.
#[test]
fn row_14_who_dies_while_nobody_serves_has_nothing_afterwards() {
    for (way, lease, at_least) in [(Way::Unix, 10_000, 0), (Way::Tcp, 2000, 1500)] {
        let place = Place::with_limits(way, &format!("lease={lease}"));
        let serving = place.start();
        let [mut victim, mut other] = place.peers();
        let kept = other.take("kept", "");
        let held = victim.take("k", "");
        let waiting = other.begin("k", "");
        waiting.assert_waits();
        let mut next = place.standby();
        serving.kill();
        victim.send_kill();
        victim.reap();
        place.let_serve(&mut next);
        let since = Instant::now();
        let theirs = waiting.granted();
        let took = since.elapsed();
        assert!(theirs.token > held.token, "C7");
        // N4: over TCP the lease begins anew, since nobody knows when it was renewed last.
        assert!(took >= Duration::from_millis(at_least), "N4: {way:?}: {took:?}");
        if way == Way::Unix {
            assert!(took < Duration::from_millis(lease - 1000), "row 14: by its lease: {took:?}");
        }
        other.check(kept).unwrap();
        other.release(theirs).unwrap();
    }
}

/// Reservations (C14), ages (C6) and permits (C16) outlive the server.
#[test]
fn row_14_bounds_and_ages_go_on() {
    for way in [Way::Unix, Way::Tcp] {
        let place = Place::with_limits(way, "lease=5000");
        let serving = place.start();
        let [mut one, mut two] = place.peers();
        let begun = Instant::now();
        let least = one.take("least", "least=1500");
        one.release(least).unwrap();
        one.take("most", "most=1500");
        let old = one.take("old", "");
        let permit = one.take("permits", "permits=2");
        let _serving = restart(&place, serving, None);
        two.contended("least", "");
        let second = two.take("permits", "permits=2");
        two.contended("permits", "permits=2");
        let stolen = two.begin("old", "steal=1500 wait=30000");
        let most = two.begin("most", "wait=30000");
        let least = two.begin("least", "wait=30000");
        for (what, waiting) in [("least", least), ("most", most), ("old", stolen)] {
            let theirs = waiting.granted();
            let took = begun.elapsed();
            // Each began a little after it was asked for.
            assert!(took >= Duration::from_millis(1490), "{way:?}, {what}: {took:?}");
            two.release(theirs).unwrap();
        }
        assert!(one.check(old).is_err_and(|refused| refused.is_lost()), "C6");
        one.release(permit).unwrap();
        two.release(second).unwrap();
    }
}

/// Killed again and again while clients lock, each at another moment: whoever is inside is alone,
/// and tokens grow. (The storm does the same with more that can happen.)
#[test]
fn row_13_a_server_that_is_killed_all_the_time_grants_nothing_twice() {
    for way in WAYS {
        let place = Place::with_limits(way, "lease=5000");
        let mut serving = Some(place.start());
        let mut peers: [_; 3] = place.peers();
        for peer in &mut peers {
            let started = peer.take("started", "wait=5000");
            peer.release(started).unwrap();
        }
        let churns =
            peers.each_mut().map(|peer| peer.churn(&["k"], Duration::from_micros(300), ""));
        for round in 0..12_u64 {
            thread::sleep(Duration::from_millis(20 + round * 7));
            let serves = serving.take().unwrap();
            if way == Way::Machine {
                // One of the clients takes over, and is not killed.
                serves.kill();
                thread::sleep(Duration::from_millis(500));
                break;
            }
            serving = Some(restart(&place, serves, None));
        }
        // It goes on, however long that takes where others want the processor as well.
        let witness = place.backend();
        let token = || witness.named("k").acquire().map_or(0, |guard| guard.token().get());
        let first = token();
        until("row 13: it goes on", || token() > first + 60);
        for (peer, churn) in peers.iter_mut().zip(&churns) {
            assert!(peer.settle(churn) > 0, "row 13: {way:?}: one of them stands still");
        }
        drop((peers, witness));
        let left = place.client();
        assert_nothing_left(&left);
    }
}

/// A directory that is in use by another server, or from which nothing can be learnt, is refused.
#[test]
fn row_15_a_directory_in_use_or_with_a_corrupt_journal_is_refused() {
    let place = Place::new(Way::Unix);
    let serving = place.start();
    let mut peer = place.peer();
    for key in 0..200 {
        peer.take(&format!("k{key}"), "");
    }
    let mut second = place.standby();
    second.tell("serve");
    let says = second.says();
    assert!(says.starts_with("refused"), "row 15: {says}");
    assert!(says.contains(&serving.pid().to_string()), "it names who serves: {says}");
    serving.kill();
    let journal = place.path().join("journal");
    let whole = fs::read(&journal).unwrap();
    // Torn at its end: what was written last was not answered.
    fs::write(&journal, &whole[..whole.len() - 3]).unwrap();
    let serving = place.start();
    peer.contended("k0", "");
    serving.kill();
    let mut corrupt = fs::read(&journal).unwrap();
    let middle = corrupt.len() / 2;
    corrupt[middle] ^= 0x55;
    fs::write(&journal, &corrupt).unwrap();
    let mut third = place.standby();
    third.tell("serve");
    let says = third.says();
    assert!(says.starts_with("refused"), "row 15: {says}");
    assert!(says.contains("journal"), "row 15: {says}");
    assert_eq!(fs::read(&journal).unwrap(), corrupt, "row 15: it is left as it was found");
}
