//! Processes that cannot be seen (F11, row 37): in other pid and time namespaces, and where there
//! is no `/proc`. They are neither dead nor absent.

use std::time::Duration;

use crate::directory::{Directory, PATIENCE, assert_stays, until};
use crate::peer::{Peer, now};
use crate::program::{can_unshare, program_under};

/// Somewhere from where others cannot be seen.
#[derive(Clone, Copy)]
struct Inside {
    what: &'static str,
    unshare: &'static [&'static str],
    script: &'static str,
    /// Whether the kernel's table of locks is there, without which nothing is stolen.
    table: bool,
    /// Whether processes outside cannot be seen.
    unseen: bool,
}

const INSIDE: [Inside; 4] = [
    Inside {
        what: "a pid namespace",
        unshare: &["--pid", "--fork", "--mount-proc", "--kill-child"],
        script: "true",
        table: true,
        unseen: true,
    },
    Inside {
        what: "a pid namespace with the `/proc` of another",
        unshare: &["--pid", "--fork", "--kill-child"],
        script: "true",
        table: true,
        unseen: false,
    },
    Inside {
        what: "no /proc",
        unshare: &["--mount"],
        script: "mount -t tmpfs none /proc",
        table: false,
        unseen: true,
    },
    Inside {
        what: "a pid namespace without /proc",
        unshare: &["--pid", "--fork", "--mount", "--kill-child"],
        script: "mount -t tmpfs none /proc",
        table: false,
        unseen: true,
    },
];

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.what)
    }
}

impl Inside {
    fn peer(self, directory: &Directory) -> Peer {
        Peer::start_as(program_under("peer", self.unshare, self.script), directory)
    }

    /// All that can be had here.
    fn all() -> impl Iterator<Item = Self> {
        INSIDE.into_iter().filter(|inside| can_unshare(inside.unshare, inside.script))
    }
}

/// It works as `flock(1)` would: one excludes the other, and who waits has it when it is released.
#[test]
fn row_37_they_exclude_each_other() {
    for inside in Inside::all() {
        let directory = Directory::new();
        let (mut outer, mut inner) = (Peer::start(&directory), inside.peer(&directory));
        for _ in 0..2 {
            for options in ["", "shared"] {
                let held = outer.take("k", options);
                inner.contended("k", "");
                let waiting = inner.begin("k", "");
                waiting.assert_waits();
                outer.release(held).unwrap();
                let theirs = waiting.granted();
                assert!(theirs.token > held.token, "C7: {inside:?}");
                outer.contended("k", options);
                inner.release(theirs).unwrap();
            }
            std::mem::swap(&mut outer, &mut inner);
        }
    }
}

/// A newcomer who cannot see them takes no reader for dead, however many there are.
#[test]
fn row_37_readers_are_not_evicted_for_being_unseen() {
    for inside in Inside::all() {
        let directory = Directory::new();
        let (mut outer, mut inner) = (Peer::start(&directory), inside.peer(&directory));
        let held = Vec::from_iter((0..20).map(|_| outer.take("k", "shared")));
        let theirs = Vec::from_iter((0..20).map(|_| inner.take("k", "shared")));
        let last = outer.take("k", "shared");
        assert_stays("all of them hold it", || {
            held.iter().all(|held| outer.check(*held).is_ok())
                && theirs.iter().all(|held| inner.check(*held).is_ok())
        });
        for held in held.into_iter().chain([last]) {
            outer.release(held).unwrap_or_else(|lost| panic!("F11: {inside:?}: {lost:?}"));
        }
        for held in theirs {
            inner.release(held).unwrap_or_else(|lost| panic!("F11: {inside:?}: {lost:?}"));
        }
        outer.assert_free("k");
    }
}

/// They are listed as what they are, and named by whoever cannot have the lock.
#[test]
fn row_37_who_is_unseen_is_listed() {
    for inside in Inside::all() {
        let directory = Directory::new();
        let (mut outer, mut inner) = (Peer::start(&directory), inside.peer(&directory));
        for options in ["", "shared"] {
            let held = outer.take("k", options);
            let says = format!("token {}", held.token);
            let listed = inner.list("k");
            assert!(listed.contains(&says), "F11: {inside:?}: {listed}");
            let refused = inner.begin("k", "no-wait").refused();
            assert!(refused.text.contains(&says), "F11: {inside:?}: {refused:?}");
            assert_eq!(
                listed.contains("cannot be seen"),
                inside.unseen,
                "F11: {inside:?}: {listed}"
            );
            outer.release(held).unwrap();
            assert_eq!(inner.list("k"), "", "F11: {inside:?}: it is not there any more");

            let held = inner.take("k", options);
            let says = format!("token {}", held.token);
            let listed = outer.list("k");
            assert!(listed.contains(&says), "F11: {inside:?}: {listed}");
            // From here everybody can be seen.
            assert!(!listed.contains("cannot be seen"), "F11: {inside:?}: {listed}");
            inner.release(held).unwrap();
            assert_eq!(outer.list("k"), "", "F11: {inside:?}: it is not there any more");
        }
    }
}

/// Of a guest that is not seen there is at least that it is there.
#[test]
fn row_37_a_guest_that_is_unseen_is_listed() {
    for inside in Inside::all() {
        let directory = Directory::new();
        let mut inner = inside.peer(&directory);
        inner.assert_free("k");
        let file = std::fs::File::open(directory.file_of("k")).unwrap();
        fs4::FileExt::lock(&file).unwrap();
        let listed = inner.list("k");
        assert!(listed.contains("held by "), "F11: {inside:?}: {listed}");
        drop(file);
        until("it is free", || inner.list("k").is_empty());
    }
}

/// An administrator can release what cannot be seen, by its token.
#[test]
fn row_37_who_is_unseen_can_be_released() {
    for inside in Inside::all() {
        let directory = Directory::new();
        let [mut outer, mut beside] = Peer::start_many(&directory);
        let mut inner = inside.peer(&directory);
        for others in [false, true] {
            for options in ["", "shared"] {
                let shares = (others && options == "shared").then(|| beside.take("k", "shared"));
                let held = outer.take("k", options);
                assert!(inner.evict("k", held.token).unwrap(), "F11: {inside:?}: {options}");
                until("the holder learns of it", || outer.check(held).is_err());
                let lost = outer.release(held).unwrap_err();
                assert!(lost.kind.contains("Evicted"), "F11: {inside:?}: {lost:?}");
                assert!(!inner.evict("k", held.token).unwrap(), "it is not there any more");
                if let Some(shares) = shares {
                    beside.release(shares).expect("F11: another was released");
                }
                assert!(inner.assert_free("k") > held.token, "C7: {inside:?}");
                let ended = outer.assert_free("k");
                assert!(!inner.evict("k", ended).unwrap(), "F11: {inside:?}: it had ended");
                let held = inner.take("k", options);
                assert!(outer.evict("k", held.token).unwrap(), "F11: {inside:?}: {options}");
                until("the holder learns of it", || inner.check(held).is_err());
                assert!(inner.release(held).unwrap_err().is_lost());
            }
        }
    }
}

/// Nobody removes what an unseen waiter tells of itself.
#[test]
fn row_37_who_is_unseen_and_waits_is_listed() {
    for inside in Inside::all() {
        let directory = Directory::new();
        let [mut outer, mut holder] = Peer::start_many(&directory);
        let mut inner = inside.peer(&directory);
        let held = holder.take("k", "");
        let waiting = [outer.begin("k", ""), inner.begin("k", "shared")];
        let wants = |peer: &mut Peer, how: &str| peer.list("k").contains(how);
        until("both are told of", || {
            // Whoever lists removes what the dead have left.
            let (there, here) = (inner.list("j"), outer.list("j"));
            assert_eq!(there + &here, "");
            wants(&mut holder, "(exclusive)") && wants(&mut holder, "(shared)")
        });
        assert_stays("they are told of", || {
            let _ = (inner.list("k"), outer.list("k"));
            let listed = holder.list("k");
            listed.matches("wanted by").count() == 2
        });
        holder.release(held).unwrap();
        let [mine, theirs] = waiting;
        // One after the other, in whichever order.
        until("one has it", || mine.is_answered() || theirs.is_answered());
        if mine.is_answered() {
            outer.release(mine.granted()).unwrap();
            inner.release(theirs.granted()).unwrap();
        } else {
            inner.release(theirs.granted()).unwrap();
            outer.release(mine.granted()).unwrap();
        }
        outer.assert_free("k");
    }
}

/// What is reserved is reserved for all (C14).
#[test]
fn row_37_reservations_hold_both_ways() {
    for inside in Inside::all() {
        let directory = Directory::new();
        let (mut outer, mut inner) = (Peer::start(&directory), inside.peer(&directory));
        for round in 0..2 {
            let held = outer.take("k", "least=60000");
            outer.release(held).unwrap();
            inner.contended("k", "");
            let listed = inner.list("k");
            assert!(listed.contains("reserved for"), "F11: {inside:?} {round}: {listed}");
            // A record that was wiped makes no difference.
            std::fs::write(directory.file_of("k"), "").unwrap();
            inner.contended("k", "");
            assert!(inner.evict("k", held.token).unwrap(), "F11: {inside:?} {round}");
            inner.assert_free("k");
            std::mem::swap(&mut outer, &mut inner);
        }
    }
}

/// Who steals by an age judges by the first time that it has seen the holder, and never early.
#[test]
fn row_37_the_unseen_are_not_stolen_from_early() {
    let age = Duration::from_millis(300);
    for inside in Inside::all() {
        let directory = Directory::new();
        let (mut outer, mut inner) = (Peer::start(&directory), inside.peer(&directory));
        let from = now();
        let held = outer.take("k", "");
        let asked = inner.begin("k", &format!("steal={}", age.as_millis()));
        if !inside.table {
            let refused = asked.refused();
            assert_eq!(refused.kind, "Unsupported", "{inside:?}: {refused:?}");
            outer.release(held).unwrap();
            continue;
        }
        assert!(asked.reply_within(PATIENCE).is_some(), "F3: {inside:?}: never");
        let stolen = asked.granted();
        let waited = Duration::from_nanos(stolen.at - from);
        assert!(waited >= age, "C6: {inside:?}: stolen after {waited:?}");
        until("the victim learns of it", || outer.check(held).is_err());
        assert!(outer.release(held).unwrap_err().is_lost());
        inner.release(stolen).unwrap();
    }
}

/// A time namespace, whose clocks are ahead of ours by more than anything here lasts, or behind.
const TIMES: [&[&str]; 2] = [
    &["--time", "--monotonic", "100000", "--boottime", "100000"],
    &["--time", "--monotonic", "-5", "--boottime", "-5"],
];

/// Stamps mean the same in all time namespaces.
#[test]
fn row_37_reservations_last_as_long_in_a_time_namespace() {
    for unshare in TIMES {
        if !can_unshare(unshare, "true") {
            return;
        }
        let directory = Directory::new();
        let mut outer = Peer::start(&directory);
        let mut inner = Peer::start_as(program_under("peer", unshare, "true"), &directory);
        for _ in 0..2 {
            let least = Duration::from_millis(1500);
            let asked = now();
            let held = outer.take("k", &format!("least={}", least.as_millis()));
            outer.release(held).unwrap();
            let next = inner.begin("k", "");
            assert!(next.reply_within(Duration::from_secs(20)).is_some(), "F11: {unshare:?}");
            let next = next.granted();
            let reserved = Duration::from_nanos(now() - asked);
            assert!(reserved >= least, "C14: {unshare:?}: {reserved:?}");
            inner.release(next).unwrap();
            let held = outer.take("k", "least=60000");
            outer.release(held).unwrap();
            inner.contended("k", "");
            assert!(inner.evict("k", held.token).unwrap());
            std::mem::swap(&mut outer, &mut inner);
        }
    }
}

/// So do ages and starts of processes: nothing is stolen early, nor late, and holders are known.
#[test]
fn row_37_ages_are_the_same_in_a_time_namespace() {
    for unshare in TIMES {
        if !can_unshare(unshare, "true") {
            return;
        }
        let directory = Directory::new();
        let mut outer = Peer::start(&directory);
        let mut inner = Peer::start_as(program_under("peer", unshare, "true"), &directory);
        for _ in 0..2 {
            let age = Duration::from_millis(700);
            let asked = now();
            let held = outer.take("k", "");
            let listed = inner.list("k");
            assert!(listed.contains(&format!("token {}", held.token)), "F11: {listed}");
            let stealing = inner.begin("k", &format!("steal={}", age.as_millis()));
            assert!(stealing.reply_within(Duration::from_secs(20)).is_some(), "F11: {unshare:?}");
            let stolen = stealing.granted();
            let waited = Duration::from_nanos(now() - asked);
            assert!(waited >= age, "C6: {unshare:?}: {waited:?}");
            assert!(outer.release(held).unwrap_err().is_lost());
            inner.release(stolen).unwrap();
            std::mem::swap(&mut outer, &mut inner);
        }
    }
}

/// Also the age of somebody who is in another pid namespace as well.
#[test]
fn row_37_who_is_seen_from_outside_is_known_by_its_record() {
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    if !can_unshare(&unshare, "true") {
        return;
    }
    let directory = Directory::new();
    let mut inner = Peer::start_as(program_under("peer", &unshare, "true"), &directory);
    let mut outer = Peer::start(&directory);
    let held = inner.take("k", "");
    let old = now() + 300_000_000;
    while now() < old {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    // Its age counts from its grant, and not from the first look.
    let stolen = outer.take("k", "steal=250 no-wait");
    assert!(stolen.token > held.token);
    assert!(inner.release(held).unwrap_err().is_lost());
    outer.release(stolen).unwrap();
}
