//! Row 25: lock files that are deleted, renamed and written over by others.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::directory::{Directory, until};
use crate::peer::{Peer, Refused};

/// What an outsider does to a lock file.
type Outsider = fn(&Path);

const REPLACE: [(&str, Outsider); 4] = [
    ("deleted", |file| fs::remove_file(file).unwrap()),
    ("renamed", |file| fs::rename(file, file.with_file_name("away")).unwrap()),
    ("replaced by an empty file", |file| {
        let other = file.with_file_name("other");
        fs::write(&other, "").unwrap();
        fs::rename(other, file).unwrap();
    }),
    ("replaced by a file of something else", |file| {
        let other = file.with_file_name("other");
        fs::write(&other, [0xa5; 5000]).unwrap();
        fs::rename(other, file).unwrap();
    }),
];

/// A rival gets it, with a greater token; the holder finds out and touches nothing.
#[test]
fn row_25_replaced_under_the_holder_with_a_rival() {
    for (how, replace) in REPLACE {
        let directory = Directory::new();
        let [mut holder, mut rival, mut third] = Peer::start_many(&directory);
        let file = directory.file_of("k");
        let held = holder.take("k", "");
        replace(&file);
        let theirs = rival.begin("k", "wait=2000").granted();
        assert!(theirs.token > held.token, "C7: {how}: {} after {}", theirs.token, held.token);
        until("the holder finds out", || holder.check(held).is_err());
        assert!(holder.refresh(held).unwrap_err().is_lost(), "row 25: {how}");
        assert!(holder.release(held).unwrap_err().is_lost(), "row 25: {how}");
        rival.check(theirs).expect("the holder's late release touches nothing");
        third.contended("k", "");
        assert!(file.exists(), "{how}: the rival's file is gone");
        rival.release(theirs).unwrap();
        third.assert_free("k");
    }
}

/// Nobody comes: the holder finds out all the same, and at the latest at its release.
#[test]
fn row_25_replaced_under_the_holder_without_a_rival() {
    for (how, replace) in REPLACE {
        let directory = Directory::new();
        let [mut holder, mut next] = Peer::start_many(&directory);
        let held = [holder.take("k", ""), holder.take("l", "shared"), holder.take("m", "")];
        for key in ["k", "l", "m"] {
            replace(&directory.file_of(key));
        }
        let [k, l, m] = held;
        until(&format!("the holder finds out that it was {how}"), || {
            holder.check(k).is_err() && holder.check(l).is_err()
        });
        // The last has not been looked at.
        for outcome in [holder.refresh(k), holder.release(l), holder.release(m)] {
            assert!(outcome.as_ref().is_err_and(Refused::is_lost), "row 25: {how}: {outcome:?}");
        }
        for (key, held) in ["k", "l", "m"].into_iter().zip(held) {
            let token = next.assert_free(key);
            assert!(token > held.token, "C7: {how}: {token} after {}", held.token);
        }
    }
}

/// One that has the old file open and waits for it goes on to the new one: what the old holder
/// releases is not the lock any more.
#[test]
fn row_25_deleted_between_open_and_lock() {
    for (how, replace) in REPLACE {
        let directory = Directory::new();
        let [mut holder, mut waiter, mut rival] = Peer::start_many(&directory);
        let file = directory.file_of("k");
        let held = holder.take("k", "");
        let waiting = waiter.begin("k", "");
        until("the waiter has the file open", || !waiter.descriptors_of(&file).is_empty());
        waiter.stop();
        replace(&file);
        let theirs = rival.begin("k", "wait=2000").granted();
        let _lost = holder.release(held);
        waiter.go_on();
        waiting.assert_waits();
        rival.check(theirs).unwrap_or_else(|lost| panic!("row 25: {how}: {lost:?}"));
        rival.release(theirs).unwrap();
        let last = waiting.granted();
        assert!(last.token > theirs.token && theirs.token > held.token, "C7: {how}");
        waiter.release(last).unwrap();
    }
}

/// Deleted again and again while several processes want it: tokens grow and nobody is stuck.
#[test]
fn row_25_deleted_all_the_time() {
    let directory = Directory::new();
    let [mut one, mut other] = Peer::start_many(&directory);
    let file = directory.file_of("k");
    let mut last = 0;
    for round in 0..100 {
        let (first, second) =
            (one.visit("k", Duration::ZERO, ""), other.visit("k", Duration::ZERO, ""));
        while !(first.is_answered() && second.is_answered()) {
            // It may not be there yet.
            let _ = fs::remove_file(&file);
            std::thread::yield_now();
        }
        let (first, second) = (first.visited().unwrap(), second.visited().unwrap());
        assert_ne!(first.token, second.token, "C7: round {round}");
        assert!(first.token.min(second.token) > last, "C7: round {round} after {last}");
        last = first.token.max(second.token);
    }
    one.assert_free("k");
}

/// What somebody writes into the file makes nobody a holder and no token go back (C7).
#[test]
fn c7_a_torn_or_foreign_record() {
    let directory = Directory::new();
    let [mut one, mut other] = Peer::start_many(&directory);
    let file = directory.file_of("k");
    let mut last = one.assert_free("k");
    let good = fs::read(&file).unwrap();
    let flipped = (0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let cut = (0..good.len()).step_by(7).map(|length| good[..length].to_vec());
    let others = [Vec::new(), vec![0; 64], vec![0; 4096], vec![0xff; 4096], b"\n\n\n".to_vec()];
    for bytes in flipped.chain(cut).chain(others) {
        // In place: it is the same file.
        fs::write(&file, &bytes).unwrap();
        let token = other.assert_free("k");
        assert!(token > last, "C7: {token} after {last} with {bytes:?}");
        last = token;
    }
    // Also while it is held: the kernel says who holds it, not the file.
    let held = one.take("k", "");
    for bytes in [&b""[..], b"something else", &[0; 512]] {
        fs::write(&file, bytes).unwrap();
        other.contended("k", "");
        one.check(held).unwrap();
    }
    one.release(held).unwrap();
    assert!(other.assert_free("k") > held.token, "C7");
}

/// The whole directory goes: nobody is stuck and nobody is let in beside another.
#[test]
fn row_25_the_directory_is_removed_under_the_holder() {
    let directory = Directory::new();
    let [mut holder, mut rival, mut third] = Peer::start_many(&directory);
    // All of them have opened it.
    for peer in [&mut holder, &mut rival, &mut third] {
        peer.assert_free("k");
    }
    let held = holder.take("k", "");
    // They have opened it, and make no file any more.
    rival.contended("k", "");
    third.contended("k", "");
    fs::remove_dir_all(directory.path()).unwrap();
    until("the holder finds out", || holder.check(held).is_err());
    assert!(holder.release(held).unwrap_err().is_lost());
    match rival.begin("k", "wait=2000").outcome() {
        // It has been made again.
        Ok(theirs) => {
            third.contended("k", "");
            rival.release(theirs).unwrap();
        }
        Err(refused) => {
            let contended = ["Contended", "Timeout"].contains(&refused.kind.as_str());
            assert!(!contended, "nobody has it: {refused:?}");
        }
    }
}
