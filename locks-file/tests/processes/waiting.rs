//! Rows 9 and 12: a timeout in the instant of the grant, and releases of what is not one's own.

use std::time::Duration;

use locks_core::ErrorKind;

use crate::directory::{Directory, until};
use crate::peer::{Peer, now};

/// The instant is looked for: whoever is granted makes the holder stay longer, and whoever times
/// out makes it leave sooner.
#[test]
fn row_9_a_timeout_in_the_instant_of_the_grant_has_one_outcome() {
    let directory = Directory::new();
    let (backend, [mut holder, mut next]) = (directory.backend(), Peer::start_many(&directory));
    let limit = Duration::from_millis(6);
    let (mut stays, mut step) = (limit, Duration::from_millis(2));
    let (mut granted, mut timeouts, mut last) = (0, 0, 0);
    for round in 0..150 {
        let at = now() + 1_000_000;
        let visit = holder.visit("k", stays, &format!("at={at}"));
        let is_in = || visit.is_answered() || holder.has_locked(&directory.file_of("k"));
        while now() < at || !is_in() {
            std::thread::yield_now();
        }
        match backend.named("k").wait(limit).acquire() {
            Ok(guard) => {
                granted += 1;
                assert!(guard.token().get() > last, "C7");
                last = guard.token().get();
                next.contended("k", "");
                guard.release().unwrap();
                stays += step;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
                timeouts += 1;
                stays = stays.saturating_sub(step);
            }
        }
        let visit = visit.visited().unwrap();
        assert!(!visit.lost);
        // Whatever came of it, nothing is left.
        last = last.max(next.assert_free("k"));
        if round % 10 == 9 {
            step = (step * 3 / 4).max(Duration::from_micros(50));
        }
    }
    assert!(granted > 0 && timeouts > 0, "{granted} granted, {timeouts} not: never the instant");
    directory.assert_closed(&["k"]);
}

/// How often a waiter has been woken within a second, once it has waited for a while.
fn wakeups_in_a_second(waiter: &Peer) -> u64 {
    std::thread::sleep(Duration::from_millis(500));
    let before = waiter.wakeups();
    std::thread::sleep(Duration::from_secs(1));
    waiter.wakeups() - before
}

/// Nothing is looked at again and again for a holder who goes on for long (F5).
#[test]
fn f5_who_waits_for_a_holder_sleeps() {
    let directory = Directory::new();
    let [mut holder, mut waiter] = Peer::start_many(&directory);
    let held = holder.take("k", "");
    let waiting = waiter.begin("k", "");
    let woken = wakeups_in_a_second(&waiter);
    // Twenty looks, of two threads each.
    assert!(woken < 120, "it was woken {woken} times in a second");
    holder.release(held).unwrap();
    let held = waiting.granted();
    waiter.release(held).unwrap();
}

/// One of several readers died and has overstayed by its record; the other goes on (C14).
#[test]
fn f5_who_waits_behind_one_that_is_overdue_sleeps() {
    let directory = Directory::new();
    let [mut dead, mut reader, mut waiter] = Peer::start_many(&directory);
    let held = reader.take("k", "shared");
    dead.take("k", "shared most=50");
    dead.send_kill();
    dead.reap();
    let waiting = waiter.begin("k", "");
    let woken = wakeups_in_a_second(&waiter);
    // It has other readers keep off each 8 ms.
    assert!(woken < 1000, "it was woken {woken} times in a second");
    reader.release(held).unwrap();
    let held = waiting.granted();
    waiter.release(held).unwrap();
}

/// Somebody removes what tells others of a wait: they are told again (C12, F10).
#[test]
fn c12_who_waits_is_listed_again_when_its_file_is_removed() {
    let directory = Directory::new();
    let [mut holder, mut waiter] = Peer::start_many(&directory);
    let held = holder.take("k", "");
    let waiting = waiter.begin("k", "");
    for _ in 0..3 {
        until("the wait is told of", || holder.list("k").contains("wanted by"));
        for name in directory.names().iter().filter(|name| name.starts_with(".waiting-")) {
            std::fs::remove_file(directory.path().join(name)).unwrap();
        }
        assert!(!holder.list("k").is_empty());
    }
    until("the wait is told of", || holder.list("k").contains("wanted by"));
    holder.release(held).unwrap();
    waiter.release(waiting.granted()).unwrap();
}

/// The wait of each request ends in its time, also while the holder stands still (C2).
#[test]
fn c2_a_timeout_comes_although_the_holder_stands_still() {
    let directory = Directory::new();
    let (backend, [mut holder]) = (directory.backend(), Peer::start_many(&directory));
    holder.take("k", "");
    holder.stop();
    let (limit, asked) = (Duration::from_millis(100), now());
    let error = backend.named("k").wait(limit).acquire().unwrap_err();
    let waited = Duration::from_nanos(now() - asked);
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(waited >= limit && waited < limit * 20, "it waited {waited:?}");
    if backend.about().capabilities.listing {
        let text = error.to_string();
        let pid = holder.pid().as_raw_nonzero().to_string();
        assert!(text.contains(&pid), "C12: `{text}` does not name process {pid}");
    }
    holder.go_on();
}

/// Released late by one whose lock was stolen: the thief keeps it.
#[test]
fn row_12_a_late_release_touches_nobody() {
    let directory = Directory::new();
    let [mut victim, mut thief, mut next] = Peer::start_many(&directory);
    for drops in [true, false] {
        let stolen = victim.take("k", "");
        let held = thief.take("k", "steal=30");
        assert!(held.token > stolen.token, "C7");
        let waiting = next.begin("k", "");
        if drops {
            victim.drop_guard(stolen);
        } else {
            let refused = victim.release(stolen).unwrap_err();
            assert!(refused.is_lost(), "C4: {refused:?}");
        }
        waiting.assert_waits();
        thief.check(held).unwrap();
        victim.contended("k", "");
        thief.release(held).unwrap();
        let held = waiting.granted();
        next.release(held).unwrap();
    }
}

/// Whoever comes after a release has it for itself, whatever the one before does next.
#[test]
fn row_12_a_released_guard_has_no_part_in_the_next_hold() {
    let directory = Directory::new();
    let [mut first, mut second, mut third] = Peer::start_many(&directory);
    let mut last = 0;
    for _ in 0..20 {
        let held = first.take("k", "");
        let waiting = second.begin("k", "");
        first.release(held).unwrap();
        let theirs = waiting.granted();
        assert!(last < held.token && held.token < theirs.token, "C7");
        last = theirs.token;
        // The first goes on to other things.
        first.contended("k", "");
        let other = first.take("other", "");
        first.release(other).unwrap();
        third.contended("k", "");
        second.check(theirs).unwrap();
        second.release(theirs).unwrap();
    }
}

/// Who stands still while it waits does not get the lock, and is in nobody's way.
#[test]
fn c3_a_waiter_that_stands_still_is_in_nobodys_way() {
    let directory = Directory::new();
    let [mut holder, mut first, mut second] = Peer::start_many(&directory);
    for _ in 0..5 {
        let held = holder.take("k", "");
        let standing = first.begin("k", "");
        standing.assert_waits();
        first.stop();
        let waiting = second.begin("k", "");
        waiting.assert_waits();
        holder.release(held).unwrap();
        let limit = Duration::from_secs(2);
        assert!(waiting.reply_within(limit).is_some(), "one that stands still has got it");
        let held = waiting.granted();
        first.go_on();
        standing.assert_waits();
        second.release(held).unwrap();
        let held = standing.granted();
        first.release(held).unwrap();
    }
}

/// Wherever a process is stopped, requests of others end in their time: also for keys that are new,
/// and for those that it has.
#[test]
fn c2_requests_end_in_their_time_wherever_another_process_stands_still() {
    let directory = Directory::new();
    let [mut standing, mut other] = Peer::start_many(&directory);
    let keys = Vec::from_iter((0..200).map(|number| format!("key {number}")));
    let keys = Vec::from_iter(keys.iter().map(String::as_str));
    let churns = [
        standing.churn(&keys, Duration::ZERO, ""),
        standing.churn(&keys, Duration::from_micros(50), "steal=1"),
        standing.churn(&["k"], Duration::ZERO, ""),
        standing.churn(&["k"], Duration::from_micros(50), "steal=1"),
    ];
    let client = directory.client();
    let limit = Duration::from_secs(5);
    let mut refused = 0;
    for round in 0..60_u64 {
        let at = now() + 100_000 + round * 7_919 % 1_000_000;
        while now() < at {
            std::hint::spin_loop();
        }
        standing.stop();
        for (key, options) in
            [("k", "wait=50"), ("k", "no-wait"), (&*format!("new {round}"), "wait=50")]
        {
            let asked = other.begin(key, options);
            let Some(_) = asked.reply_within(limit) else {
                panic!("C2: `{key}` with `{options}` does not end while another stands still")
            };
            match asked.outcome() {
                Ok(held) => other.release(held).unwrap(),
                // Nobody is in the way of a key that is new, but of the directory's books.
                Err(error) if key != "k" => {
                    assert_eq!(error.kind, "Unavailable", "{error:?}");
                    refused += 1;
                }
                Err(error) => {
                    let kinds = ["Contended", "Timeout", "Unavailable"];
                    assert!(kinds.contains(&error.kind.as_str()), "{error:?}");
                }
            }
        }
        standing.go_on();
        if round % 10 == 0 {
            // New files and epochs, for what is stopped next.
            client.clean(Duration::ZERO).unwrap();
        }
    }
    for churn in churns {
        let reply = standing.ask("settle 0");
        let _ = (reply.reply(), churn);
    }
    eprintln!("C2: {refused} keys that nobody had were refused for one that stood still");
}
