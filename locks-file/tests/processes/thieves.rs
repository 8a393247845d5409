//! Rows 27 and 35: thieves that race each other, their victim and those who wait.

use std::time::Duration;

use locks_core::LockBackend;
use rustix::time::{ClockId, clock_gettime};

use crate::commands::Visit;
use crate::directory::{Directory, until};
use crate::foreign::lock_as_an_outsider;
use crate::peer::{Peer, now};

const AGE: Duration = Duration::from_millis(60);

/// How often a race is run: a few times, or as often as `LOCKS_FILE_ROUNDS` says.
fn rounds() -> u64 {
    let told = std::env::var("LOCKS_FILE_ROUNDS").ok();
    told.map_or(25, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Somebody who has heard of a theft, and does not let go, is in nobody's way (C6): those of its
/// process that wait behind it get their turn.
#[test]
fn c6_a_victim_that_knows_keeps_nobody_waiting() {
    let directory = Directory::new();
    let (backend, [mut thief]) = (directory.backend(), Peer::start_many(&directory));
    for _ in 0..5 {
        let victim = backend.named("k").acquire().unwrap().into_owned();
        let stolen = thief.take("k", "steal=10");
        assert!(victim.refresh().unwrap_err().is_lost(), "C6");
        thief.release(stolen).unwrap();
        drop(backend.named("k").wait(Duration::from_secs(2)).acquire().unwrap());
        drop(victim);
    }
}

/// Somebody else is in the books for a moment, for another key perhaps: who does not wait steals
/// what is due all the same.
#[test]
fn c6_busy_books_do_not_refuse_a_due_theft() {
    let directory = Directory::new();
    let (backend, other) = (directory.backend(), directory.backend());
    let stolen = (0..20).any(|_| {
        let _victim = backend.named("k").acquire().unwrap();
        let books = lock_as_an_outsider(&directory.path().join(".epochs"));
        let busy = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(3));
            drop(books);
        });
        let thief = other.named("k").steal_after(Duration::ZERO).wait(false).acquire();
        busy.join().unwrap();
        thief.is_ok()
    });
    assert!(stolen, "C6: each was refused");
}

/// What is known of a process is found out once, not for each of its holds.
#[test]
fn c6_hundreds_of_readers_are_judged_in_no_time() {
    let directory = Directory::new();
    let (readers, thief) = (directory.backend(), directory.backend());
    let reader = || readers.named("k").shared().acquire().unwrap().into_owned();
    let guards = Vec::from_iter(std::iter::repeat_with(reader).take(300));
    // What this thread has worked, whoever else wants the processor.
    let worked = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let start = worked();
    drop(thief.named("k").steal_after(Duration::from_millis(1)).acquire().unwrap());
    let took = worked() - start;
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    assert!(guards.iter().all(|guard| guard.is_lost()), "C6");
}

/// The victim stands still, and two that do not wait come in the same instant.
#[test]
fn row_27_of_two_thieves_that_race_one_wins() {
    let directory = Directory::new();
    assert!(directory.client().about().capabilities.steal);
    let [mut victim, mut one, mut other] = Peer::start_many(&directory);
    let (mut last, mut races) = (0, 0);
    for _ in 0..rounds() {
        let stolen = victim.take("k", "");
        assert!(stolen.token > last, "C7");
        victim.stop();
        until("it is old enough", || now() > stolen.at + 2 * AGE.as_nanos() as u64);
        let at = now() + 3_000_000;
        let options = format!("no-wait steal={} at={at}", AGE.as_millis());
        let (by_one, by_other) = (one.begin("k", &options), other.begin("k", &options));
        let (by_one, by_other) = (by_one.outcome(), by_other.outcome());
        let winner = match (&by_one, &by_other) {
            (Ok(_), Err(_)) => &mut one,
            (Err(_), Ok(_)) => &mut other,
            (Ok(first), Ok(second)) => {
                // Only if the first was slow to say so, and has grown old itself.
                let apart = Duration::from_nanos(first.at.abs_diff(second.at));
                assert!(apart >= AGE, "row 27: both took it within {apart:?}");
                (victim, one, other) = start_again(&directory, victim);
                continue;
            }
            (Err(one), Err(other)) => panic!("row 27: nobody took it: {one:?}, {other:?}"),
        };
        races += 1;
        let (held, refused) = match (by_one, by_other) {
            (Ok(held), Err(refused)) | (Err(refused), Ok(held)) => (held, refused),
            _ => unreachable!("both of the same have been dealt with"),
        };
        assert_eq!(refused.kind, "Contended", "{refused:?}");
        assert!(held.token > stolen.token, "C7: {} after {}", held.token, stolen.token);
        victim.go_on();
        until("the victim learns of it", || victim.check(stolen).is_err());
        assert!(victim.refresh(stolen).unwrap_err().is_lost(), "C6");
        assert!(victim.release(stolen).unwrap_err().is_lost(), "C4");
        winner.check(held).expect("the late release of a victim frees nothing");
        victim.contended("k", "");
        winner.release(held).unwrap();
        last = held.token;
    }
    assert!(races > 0, "the machine is too slow for the age");
}

fn start_again(directory: &Directory, victim: Peer) -> (Peer, Peer, Peer) {
    drop(victim);
    let [one, other, third] = Peer::start_many(directory);
    (one, other, third)
}

/// Those who are in are so one at a time; the victim alone may be robbed, and what follows it is
/// never taken for as old as it was.
#[test]
fn row_35_two_thieves_a_victim_that_leaves_and_a_waiter() {
    let directory = Directory::new();
    let [mut victim, mut one, mut other, mut waiter] = Peer::start_many(&directory);
    let backend = directory.backend();
    let (mut robbed, mut left, mut last) = (0, 0, 0);
    let (mut leaves, mut step) = (AGE, Duration::from_millis(4));
    for round in 0..rounds() * 2 {
        let asked = now();
        let victims = victim.visit("k", leaves, "");
        // It has its token by then: one who has only the file's lock is robbed as a stranger, and
        // asks again.
        let holders = || backend.list().unwrap().into_iter().flat_map(|info| info.holders);
        let is_in = || holders().any(|holder| holder.token.is_some_and(|token| token.get() > last));
        until("the victim holds it", || victims.is_answered() || is_in());
        let (stays, steals) = (Duration::from_millis(2), format!("steal={}", AGE.as_millis()));
        let visits = [
            one.visit("k", stays, &steals),
            other.visit("k", stays, &steals),
            waiter.visit("k", stays, ""),
        ];
        let victims = victims.visited().unwrap();
        let visits = visits.map(|visit| visit.visited().unwrap());
        assert!(victims.token > last, "C7");
        for (name, visit) in ["a thief", "the other thief", "the waiter"].iter().zip(visits) {
            assert!(visit.token > victims.token, "C7: {name} of round {round}");
            let stayed = Duration::from_nanos(visit.until - visit.from);
            assert!(
                !visit.lost || stayed >= AGE / 2,
                "row 35: {name} was robbed after {stayed:?} in round {round}"
            );
            last = last.max(visit.token);
            let early = Duration::from_nanos(visit.from.saturating_sub(asked));
            assert!(!victims.lost || early >= AGE, "C6: {name} stole after {early:?}");
            assert!(
                victims.lost || !overlap(victims, visit),
                "C1: {name} beside the victim, which kept it, in round {round}"
            );
        }
        for [first, second] in [[0, 1], [0, 2], [1, 2]] {
            let (first, second) = (visits[first], visits[second]);
            assert!(
                first.lost || second.lost || !overlap(first, second),
                "C1: {first:?} beside {second:?} in round {round}"
            );
            if first.until < second.from || second.until < first.from {
                assert_eq!(first.token < second.token, first.from < second.from, "C7");
            }
        }
        // The instant is looked for in which it leaves as it is robbed, wherever a busy machine has
        // that.
        if victims.lost {
            (robbed, leaves) = (robbed + 1, leaves.saturating_sub(step));
        } else {
            (left, leaves) = (left + 1, leaves + step);
        }
        step = match robbed > 0 && left > 0 {
            true => (step * 3 / 4).max(Duration::from_micros(300)),
            // It may be far from here.
            false => (step * 5 / 4).min(Duration::from_millis(100)),
        };
    }
    eprintln!("row 35: {robbed} robbed, {left} left in time");
    assert!(robbed > 0 && left > 0, "{robbed} robbed, {left} left: it never raced");
}

/// Stopped at any moment of its theft, a thief takes what it judged or nothing: not the place of
/// who came in the meantime (F4).
#[test]
fn row_35_a_thief_that_stands_still_does_not_strike_the_next() {
    let directory = Directory::new();
    let [mut victim, mut thief, mut waiter] = Peer::start_many(&directory);
    let age = AGE / 3;
    let (mut robbed, mut left) = (0, 0);
    // How long after that age it is stopped: sooner when it was too late for the victim, and later
    // when it was too soon for the thief, wherever on this machine the one turns into the other.
    let mut after = 0_i64;
    for round in 0.. {
        if round >= rounds() * 6 && (robbed > 0 && left > 0 || round >= rounds() * 60) {
            break;
        }
        let held = victim.take("k", "");
        let steals = format!("steal={}", age.as_millis());
        let stealing = thief.visit("k", Duration::from_millis(1), &steals);
        let visit = waiter.visit("k", Duration::from_millis(4), "");
        let strikes = (held.at + age.as_nanos() as u64).saturating_add_signed(after);
        while now() < strikes {
            std::hint::spin_loop();
        }
        thief.send_stop();
        // Unless it has been robbed, it makes room for the waiter: not before now.
        let makes_room = now();
        let lost = victim.release(held).is_err();
        let goes_on = now() + 1_500_000;
        while now() < goes_on {
            std::hint::spin_loop();
        }
        thief.go_on();
        let (stolen, visit) = (stealing.visited().unwrap(), visit.visited().unwrap());
        // At most: it may not have come to look at the clock right after it was granted.
        let stayed = Duration::from_nanos(visit.until - makes_room.min(visit.from));
        assert!(
            !visit.lost || stayed >= age,
            "row 35: the waiter was robbed after {stayed:?} in round {round}"
        );
        assert!(
            visit.lost || !overlap(stolen, visit),
            "C1: {stolen:?}, {visit:?} in round {round}"
        );
        assert!(held.token < visit.token.min(stolen.token), "C7");
        robbed += u32::from(lost);
        left += u32::from(!lost);
        after += if lost { -83_000 } else { 37_000 };
    }
    eprintln!("row 35: {robbed} robbed, {left} left in time");
    assert!(robbed > 0 && left > 0, "{robbed} robbed, {left} left: it never raced");
}

fn overlap(one: Visit, other: Visit) -> bool {
    one.from < other.until && other.from < one.until
}

/// A hold that is renewed in time is not stolen, whoever looks at it (C6).
#[test]
fn c6_a_hold_that_is_renewed_is_not_stolen() {
    let directory = Directory::new();
    let [mut holder, mut thief] = Peer::start_many(&directory);
    let age = AGE * 5;
    let held = holder.take("k", "");
    let stealing = thief.begin("k", &format!("steal={}", age.as_millis()));
    let (start, mut renewed) = (now(), now());
    while now() < start + 3 * age.as_nanos() as u64 {
        assert!(!stealing.is_answered(), "C6: stolen from one that renews");
        std::thread::park_timeout(Duration::from_millis(20));
        let asked = now();
        if holder.refresh(held).is_err() {
            assert!(now() - renewed > age.as_nanos() as u64, "C6: it was renewed in time");
            return;
        }
        renewed = asked;
    }
    let stolen = stealing.granted();
    let waited = Duration::from_nanos(stolen.at - renewed);
    assert!(waited >= age, "C6: stolen after {waited:?}");
    assert!(holder.release(held).unwrap_err().is_lost());
    thief.release(stolen).unwrap();
}

/// A foreign holder is as old as the thief's first look at *it* (F3): not as old as another hold of
/// the same process on a file before, even where that file had the same number.
#[test]
fn row_35_a_foreign_holder_is_not_judged_by_an_earlier_one() {
    let directory = Directory::new();
    let mut thief = Peer::start(&directory);
    let (file, other) = (directory.file_of("k"), directory.path().join("other"));
    let age = AGE * 8;
    // Locked before it is there, so that the thief never finds it free.
    let replace = || {
        let handle = lock_as_an_outsider(&other);
        std::fs::rename(&other, &file).unwrap();
        handle
    };
    let mut handle = replace();
    let stealing = thief.begin("k", &format!("steal={}", age.as_millis()));
    let mut since = now();
    for _ in 0..8 {
        let start = now();
        until("the thief has seen it for a while", || {
            now() > start + age.as_nanos() as u64 / 4 || stealing.is_answered()
        });
        if stealing.is_answered() {
            break;
        }
        since = now();
        drop(std::mem::replace(&mut handle, replace()));
    }
    let stolen = stealing.granted();
    let held = Duration::from_nanos(stolen.at - since);
    assert!(held >= age, "row 35: a foreign hold was stolen after {held:?}");
    thief.release(stolen).unwrap();
}

/// Reserved by one that is dead (C14): nobody gets it before the time, thieves neither.
#[test]
fn c14_a_reservation_outlives_its_process() {
    let directory = Directory::new();
    assert!(directory.client().about().capabilities.bounds);
    let [mut thief, mut waiter] = Peer::start_many(&directory);
    for killed in [true, false] {
        let mut holder = Peer::start(&directory);
        let least = Duration::from_millis(500);
        let asked = now();
        let held = holder.take("k", &format!("least={}", least.as_millis()));
        if killed {
            holder.send_kill();
        } else {
            holder.release(held).unwrap();
        }
        let stealing = thief.begin("k", "steal=1");
        let waiting = waiter.begin("k", "");
        let refused = Peer::start(&directory).begin("k", "no-wait").refused();
        assert_eq!(refused.kind, "Contended", "C14: {refused:?}");
        let stolen = stealing.granted();
        let reserved = Duration::from_nanos(stolen.at - asked);
        assert!(reserved >= least, "C14: granted after {reserved:?}, killed: {killed}");
        thief.drop_guard(stolen);
        // The thief may have been second, and have robbed it.
        let held = waiting.granted();
        waiter.drop_guard(held);
    }
}
