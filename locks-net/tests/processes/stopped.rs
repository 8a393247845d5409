//! Rows 3 and 4: clients and servers that are stopped, for longer than a lease and for less.

use std::time::Duration;

use crate::directory::assert_stays;
use crate::place::{Place, WAYS, Way};

/// What keeps a session that its process keeps is that process, and not that it does anything.
#[test]
fn row_3_a_stopped_process_of_this_machine_loses_nothing() {
    for way in [Way::Unix, Way::Machine] {
        let place = Place::with_limits(way, "lease=1000");
        let _serving = place.start();
        let [mut holder, mut rival] = place.peers();
        let held = holder.take("k", "");
        let reader = holder.take("r", "shared");
        holder.stop();
        let refused = rival.begin("k", "wait=3000").refused();
        assert_eq!(refused.kind, "Timeout", "row 3: {way:?}");
        assert!(refused.text.contains(&holder.pid().to_string()), "C12: {refused:?}");
        rival.contended("r", "");
        holder.go_on();
        holder.check(held).unwrap();
        holder.refresh(reader).unwrap();
        holder.release(held).unwrap();
        rival.assert_free("k");
        holder.release(reader).unwrap();
    }
}

/// And `steal_after` is there for whoever does not want to wait for it.
#[test]
fn row_3_a_stopped_process_is_stolen_from_and_hears_of_it_before_its_next_call_returns() {
    for way in WAYS {
        let place = Place::with_limits(way, "lease=5000");
        let _serving = place.start();
        let [mut holder, mut thief] = place.peers();
        for ask in ["check", "refresh", "release"] {
            let held = holder.take("k", "");
            holder.stop();
            let stolen = thief.take("k", "steal=400");
            assert!(held.token < stolen.token, "C7");
            // Its question is there before it goes on.
            let asked = match ask {
                "check" => holder.ask_check(held),
                "refresh" => holder.ask_refresh(held),
                _ => holder.ask_release(held),
            };
            holder.go_on();
            let refused = asked.done().expect_err(&format!("row 3: {way:?}, {ask}: it was stolen"));
            assert!(refused.is_lost(), "row 3: {way:?}, {ask}: {refused:?}");
            thief.check(stolen).unwrap();
            holder.contended("k", "");
            if ask != "release" {
                holder.drop_guard(held);
            }
            thief.check(stolen).unwrap();
            holder.contended("k", "");
            thief.release(stolen).unwrap();
        }
    }
}

/// Over TCP its lease runs out; its successor has the greater token, and its late release is
/// nobody's loss.
#[test]
fn row_3_over_tcp_a_holder_that_was_stopped_past_its_lease_learns_of_its_loss() {
    let place = Place::with_limits(Way::Tcp, "lease=1000");
    let _serving = place.start();
    let mut next = place.peer();
    for ask in ["check", "refresh", "release", "drop"] {
        let mut holder = place.peer();
        let held = holder.take("k", "");
        let waiting = next.begin("k", "");
        waiting.assert_waits();
        holder.stop();
        let theirs = waiting.granted();
        assert!(held.token < theirs.token, "C7");
        let asked = match ask {
            "check" => Some(holder.ask_check(held)),
            "refresh" => Some(holder.ask_refresh(held)),
            "release" => Some(holder.ask_release(held)),
            _ => None,
        };
        holder.go_on();
        match asked {
            Some(asked) => {
                let refused = asked.done().expect_err("row 3: its lease has run out");
                assert!(refused.is_lost(), "row 3: {ask}: {refused:?}");
            }
            None => holder.drop_guard(held),
        }
        next.check(theirs).unwrap();
        holder.contended("k", "");
        next.release(theirs).unwrap();
        // And it goes on as anybody else.
        holder.assert_free("k");
    }
}

#[test]
fn row_4_stopped_for_less_than_half_a_lease_nothing_is_lost() {
    for way in WAYS {
        let place = Place::with_limits(way, "lease=3000");
        let _serving = place.start();
        let [mut holder, mut rival] = place.peers();
        let held = holder.take("k", "");
        let waiting = rival.begin("k", "");
        for _ in 0..3 {
            holder.stop();
            std::thread::sleep(Duration::from_millis(1300));
            holder.go_on();
            holder.check(held).unwrap();
            holder.refresh(held).expect("row 4");
        }
        assert!(!waiting.is_answered(), "row 4: {way:?}");
        holder.release(held).unwrap();
        waiting.granted();
    }
}

/// Whoever waits and is stopped keeps its place, and is not passed over when it is its turn.
#[test]
fn row_4_a_stopped_waiter_keeps_its_place() {
    for way in [Way::Unix, Way::Machine] {
        let place = Place::new(way);
        let _serving = place.start();
        let [mut holder, mut waiter, mut next] = place.peers();
        let held = holder.take("k", "");
        let first = waiter.begin("k", "");
        first.assert_waits();
        let second = next.begin("k", "");
        second.assert_waits();
        waiter.stop();
        holder.release(held).unwrap();
        second.assert_waits();
        waiter.go_on();
        let held = first.granted();
        second.assert_waits();
        waiter.release(held).unwrap();
        let held = second.granted();
        next.release(held).unwrap();
    }
}

/// A server that stands still grants nothing and ends nothing: what came in meanwhile counts before
/// anybody is ended for time (N7).
#[test]
fn row_3_a_server_that_was_stopped_past_the_leases_ends_nobody_who_has_renewed() {
    let place = Place::with_limits(Way::Tcp, "lease=1500");
    let serving = place.start();
    let [mut holder, mut rival] = place.peers();
    let held = holder.take("k", "");
    let waiting = rival.begin("k", "");
    waiting.assert_waits();
    serving.stop();
    std::thread::sleep(Duration::from_millis(900));
    holder.check(held).expect("C8: the lease has not run out");
    std::thread::sleep(Duration::from_millis(1000));
    // Nothing has confirmed it since, so that it cannot know better.
    let refused = holder.check(held).expect_err("C8: it is not known to be there any more");
    assert!(refused.is_lost(), "{refused:?}");
    serving.go_on();
    let theirs = waiting.granted();
    assert!(theirs.token > held.token, "C7");
    rival.check(theirs).unwrap();
}

/// Sessions that their processes keep lose nothing by a server that stands still.
#[test]
fn row_3_a_stopped_server_costs_time_and_no_locks() {
    let place = Place::with_limits(Way::Unix, "lease=1000");
    let serving = place.start();
    let [mut holder, mut rival] = place.peers();
    let held = holder.take("k", "");
    let waiting = rival.begin("k", "");
    waiting.assert_waits();
    serving.stop();
    std::thread::sleep(Duration::from_millis(2200));
    holder.check(held).expect("row 3");
    let releasing = holder.ask_release(held);
    assert_stays("nobody confirms it", || !releasing.is_answered());
    serving.go_on();
    releasing.done().unwrap();
    let theirs = waiting.granted();
    rival.release(theirs).unwrap();
}
