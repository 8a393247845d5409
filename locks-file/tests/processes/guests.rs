//! Guests that empty lock files and change their modes (F10, row 41): nothing is lost by it but
//! what people read, and that comes back.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::directory::{Directory, assert_stays, until};
use crate::peer::{Peer, now};
use crate::program::{can_unshare, program_under};

const LONG: &str = "least=60000";

/// What a guest does to a file before it looks whether it can have the lock.
type Opening = fn(&Path);

const GUESTS: [(&str, Opening); 4] = [
    ("exec 9>FILE; flock -n 9", |file| {
        let script = "exec 9>\"$1\"; flock -n 9 || exit 0";
        assert!(
            Command::new("sh").args(["-c", script, "sh"]).arg(file).status().unwrap().success()
        );
    }),
    ("filelock: O_TRUNC, chmod 644", |file| {
        drop(OpenOptions::new().read(true).write(true).truncate(true).open(file).unwrap());
        fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    }),
    ("portalocker: mode w, and its number", |file| fs::write(file, "4711").unwrap()),
    ("a number in place of the first bytes", |file| {
        use std::os::unix::fs::FileExt;
        OpenOptions::new().write(true).open(file).unwrap().write_all_at(b"4711\n", 0).unwrap();
    }),
];

/// A reservation outlives both its holder and its record (C14).
#[test]
fn row_41_a_reservation_stands_although_the_record_is_gone() {
    for (guest, open) in GUESTS {
        for (options, others) in [("", "shared"), ("shared", "")] {
            let directory = Directory::new();
            let [mut holder, mut other] = Peer::start_many(&directory);
            let file = directory.file_of("k");
            let held = holder.take("k", &format!("{options} {LONG}"));
            open(&file);
            other.contended("k", others);
            holder.release(held).unwrap();
            other.contended("k", others);
            open(&file);
            other.contended("k", others);
            other.contended("k", &format!("{others} steal=1"));
            let listed = other.list("k");
            assert!(listed.contains("reserved for "), "F10: {guest}: {listed}");
            assert_eq!(other.clean(), "removed 0 kept 1", "F10: {guest}");
            // Others who may share it take nothing of it away.
            if options == "shared" {
                let beside = other.take("k", "shared");
                open(&file);
                other.contended("k", "");
                other.release(beside).unwrap();
                other.contended("k", "");
            }
            open(&file);
            assert!(other.evict("k", held.token).unwrap(), "F10: {guest}");
            let token = other.assert_free("k");
            assert!(token > held.token, "C7: {guest}");
            open(&file);
            other.assert_free("k");
        }
    }
}

/// One that has passed leaves nothing that a later grant could be kept off by.
#[test]
fn row_41_a_reservation_that_has_passed_is_over() {
    let directory = Directory::new();
    let [mut holder, mut other] = Peer::start_many(&directory);
    let file = directory.file_of("k");
    let asked = now();
    let held = holder.take("k", "least=300");
    holder.release(held).unwrap();
    let next = other.begin("k", "wait=60000").granted();
    assert!(next.at - asked >= 300_000_000, "C14");
    fs::write(&file, "").unwrap();
    other.release(next).unwrap();
    holder.assert_free("k");
    assert!(!directory.path().join(".kept/k.lock").exists(), "C13: it stays");
}

/// What a holder's record says comes back, and a release by an administrator finds it.
#[test]
fn row_41_a_holder_puts_its_record_back() {
    for (guest, open) in GUESTS {
        for options in ["", "shared"] {
            let directory = Directory::new();
            let [mut holder, mut other] = Peer::start_many(&directory);
            let file = directory.file_of("k");
            let held = holder.take("k", options);
            let says = format!("token {}", held.token);
            for _ in 0..2 {
                open(&file);
                until("the record is back", || other.list("k").contains(&says));
                holder.check(held).unwrap();
            }
            holder.refresh(held).unwrap();
            open(&file);
            holder.refresh(held).unwrap();
            assert!(other.list("k").contains(&says), "F10: {guest}: by its renewal at the latest");
            open(&file);
            assert!(other.evict("k", held.token).unwrap(), "F10: {guest}: {options}");
            until("the holder learns of it", || holder.check(held).is_err());
            let lost = holder.release(held).unwrap_err();
            assert!(lost.kind.contains("Evicted"), "F10: {guest}: {lost:?}");
            assert!(other.assert_free("k") > held.token, "C7: {guest}");
        }
    }
}

/// Readers that a new record does not name have lost nothing.
#[test]
fn row_41_readers_share_on_after_their_record_was_wiped() {
    let directory = Directory::new();
    let [mut one, mut two, mut three] = Peer::start_many(&directory);
    let file = directory.file_of("k");
    let mut held = vec![one.take("k", "shared"), two.take("k", "shared")];
    let gone = two.take("k", "shared");
    two.release(gone).unwrap();
    fs::write(&file, "").unwrap();
    held.push(three.take("k", "shared"));
    assert!(held[2].token > gone.token, "C7: {} after {}", held[2].token, gone.token);
    let all = |peer: &mut Peer| {
        let listed = peer.list("k");
        held.iter().all(|held| listed.contains(&format!("token {}", held.token)))
    };
    until("all of them are listed", || all(&mut one));
    for (peer, held) in [&mut one, &mut two, &mut three].into_iter().zip(&held) {
        peer.check(*held).expect("F10: a reader is lost");
    }
    for (peer, held) in [&mut one, &mut two, &mut three].into_iter().zip(held) {
        peer.release(held).expect("F10: a reader was lost");
    }
    one.assert_free("k");
}

/// That a reader was released by an administrator stands beside the lock file as well.
#[test]
fn row_41_an_evicted_reader_learns_of_it_although_the_record_is_gone() {
    let directory = Directory::new();
    let [mut holder, mut other] = Peer::start_many(&directory);
    let file = directory.file_of("k");
    let (held, theirs) = (holder.take("k", "shared"), other.take("k", "shared"));
    holder.stop();
    assert!(other.evict("k", held.token).unwrap());
    fs::write(&file, "").unwrap();
    holder.go_on();
    until("the holder learns of it", || holder.check(held).is_err());
    let lost = holder.release(held).unwrap_err();
    assert!(lost.kind.contains("Evicted"), "F10: {lost:?}");
    other.check(theirs).unwrap();
    other.release(theirs).unwrap();
    let left = fs::read_dir(directory.path().join(".kept")).unwrap().count();
    assert_eq!(left, 0, "C13");
}

/// A record that does not tell an age makes nobody older (C6).
#[test]
fn row_41_nothing_is_stolen_early_because_a_record_was_wiped() {
    let directory = Directory::new();
    let [mut holder, mut thief] = Peer::start_many(&directory);
    let file = directory.file_of("k");
    for (options, at_least) in [("", 400), ("least=900", 900)] {
        let asked = now();
        let held = holder.take("k", options);
        let stealing = thief.begin("k", "steal=400");
        let wiping = now();
        while !stealing.is_answered() {
            if now() - wiping < 1_500_000_000 {
                fs::write(&file, "").unwrap();
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let stolen = stealing.granted();
        let age = Duration::from_nanos(stolen.at - asked);
        assert!(age >= Duration::from_millis(at_least), "F10: stolen after {age:?}");
        assert!(holder.release(held).unwrap_err().is_lost());
        thief.release(stolen).unwrap();
    }
}

/// Where what is reserved cannot be written down beside, nothing is granted.
#[test]
fn row_41_a_full_disk_grants_no_reservation() {
    let directory = Directory::new();
    let path = directory.path().display();
    let script = format!("mount -t tmpfs -o mode=700,nr_inodes=40 none '{path}'");
    if !can_unshare(&["--mount"], &script) {
        return;
    }
    let mut peer = Peer::start_as(program_under("peer", &["--mount"], &script), &directory);
    peer.assert_free("k");
    let mut number = 0;
    // One by one, until there is no room for another file.
    while peer.begin(&format!("fill{number}"), "").outcome().is_ok() {
        number += 1;
        assert!(number < 100, "it never fills up");
    }
    let refused = peer.begin("k", LONG).refused();
    assert_eq!(refused.kind, "Unavailable", "{refused:?}");
    assert!(refused.text.contains("make room"), "{refused:?}");
    peer.assert_free("k");
    let held = peer.take("k", "");
    peer.check(held).unwrap();
}

/// Nobody is in the way of a guest that only looks, and a guest that holds it is told of.
#[test]
fn row_41_a_guest_takes_what_is_only_reserved() {
    let directory = Directory::new();
    let [mut holder, mut other] = Peer::start_many(&directory);
    let file = directory.file_of("k");
    let held = holder.take("k", LONG);
    holder.release(held).unwrap();
    let guest = OpenOptions::new().write(true).truncate(true).open(&file).unwrap();
    fs4::FileExt::try_lock(&guest).expect("guests do not see reservations");
    let waiting = other.begin("k", "");
    assert_stays("it is reserved", || !waiting.is_answered());
    drop(guest);
    assert_stays("it is reserved", || !waiting.is_answered());
    assert!(holder.evict("k", held.token).unwrap());
    let next = waiting.granted();
    other.release(next).unwrap();
}
