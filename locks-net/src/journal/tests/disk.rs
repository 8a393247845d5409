//! A server's directory across lives of servers and starts of the machine (N4, FAULTS 14, 15).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use locks_core::ErrorKind;

use super::scratch::{BOOT, Scratch};
use super::*;

const ANOTHER_BOOT: [u8; 16] = [2; 16];
const LEASE: Duration = Duration::from_secs(30);

fn floor(recovered: &Recovered) -> u64 {
    recovered.floor.get()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
}

fn batches() -> [Vec<Record>; 2] {
    [vec![session(1), grant(1, 1, [member("a", 7)])], vec![released(1, 1, 20)]]
}

#[test]
fn n4_a_new_directory_is_the_users_own_and_empty() {
    let scratch = Scratch::new("new");
    let (_store, found) = Store::open_in(&scratch.0.join("x/y/"), true, BOOT, at(0)).unwrap();
    assert_eq!((state(&found.ledger), floor(&found), found.silent_for), (vec![], 0, None));
    let mode = |name: &str| fs::metadata(scratch.file(name)).unwrap().mode() & 0o777;
    assert_eq!(mode("x/y"), 0o700);
    for name in ["journal", "tokens", "server.lock"] {
        assert_eq!(mode(&format!("x/y/{name}")), 0o600, "{name}");
    }
}

/// FAULTS 14.
#[test]
fn n4_the_next_server_continues_from_the_journal() {
    let scratch = Scratch::new("continues");
    let mut expected = Vec::new();
    for batch in batches() {
        let (mut store, found) = scratch.start();
        assert_eq!(state(&found.ledger), state(&ledger(expected.clone())));
        store.cover(Token::new(7), Duration::ZERO).unwrap();
        store.append(&encode(&batch)).unwrap();
        expected.extend(batch);
    }
    let (_store, found) = scratch.start();
    assert_eq!(state(&found.ledger), state(&ledger(expected)));
    assert_eq!(found.silent_for, None);
}

/// FAULTS 15.
#[test]
fn n4_a_journal_torn_at_the_end_goes_on_after_the_last_whole_record() {
    let scratch = Scratch::new("torn");
    let [first, second] = batches();
    let (mut store, _) = scratch.start();
    store.cover(Token::new(7), Duration::ZERO).unwrap();
    store.append(&encode(&first)).unwrap();
    drop(store);
    // Longer than what is written over it.
    let cut = &encode(&[grant(1, 9, [member(&"k".repeat(1000), 9)])])[..1000];
    change(&scratch.file("journal"), |journal| journal.extend_from_slice(cut));
    let (mut store, found) = scratch.start();
    assert_eq!(state(&found.ledger), state(&ledger(first.clone())));
    store.append(&encode(&second)).unwrap();
    drop(store);
    let (_store, found) = scratch.start();
    assert_eq!(state(&found.ledger), state(&ledger([first, second].concat())));
}

/// FAULTS 15.
#[test]
fn n4_damaged_files_are_refused_and_left_as_they_are() {
    let scratch = Scratch::new("damaged");
    let (mut store, _) = scratch.start();
    store.cover(Token::new(7), LEASE).unwrap();
    batches().iter().for_each(|batch| store.append(&encode(batch)).unwrap());
    drop(store);
    for (name, offsets) in [("journal", vec![0, 9, 40, 60, 70, 120]), ("tokens", (0..69).collect())]
    {
        let path = scratch.file(name);
        let whole = fs::read(&path).unwrap();
        for offset in offsets {
            change(&path, |content| content[offset] ^= 0x40);
            let damaged = fs::read(&path).unwrap();
            let error = scratch.refusal();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            let text = error.to_string();
            assert!(text.contains(&*path.to_string_lossy()) && text.contains("remove"), "{text}");
            assert_eq!(fs::read(&path).unwrap(), damaged);
            fs::write(&path, &whole).unwrap();
        }
        fs::write(&path, &whole[..30]).unwrap();
        assert_eq!(scratch.refusal().kind(), ErrorKind::Unavailable, "{name} is too short");
        fs::write(&path, &whole).unwrap();
    }
    scratch.start();
}

#[test]
fn n4_files_that_do_not_belong_together_are_refused() {
    let (scratch, other) = (Scratch::new("belongs"), Scratch::new("belongs-not"));
    let (mut store, _) = scratch.start();
    let old = fs::read(scratch.file("tokens")).unwrap();
    store.cover(Token::new(7), LEASE).unwrap();
    batches().iter().take(1).for_each(|batch| store.append(&encode(batch)).unwrap());
    drop((store, other.start()));
    let tokens = fs::read(scratch.file("tokens")).unwrap();

    fs::write(scratch.file("tokens"), old).unwrap();
    assert!(scratch.refusal().to_string().contains("old copy"));
    fs::copy(other.file("tokens"), scratch.file("tokens")).unwrap();
    assert!(scratch.refusal().to_string().contains("another directory"));
    fs::remove_file(scratch.file("tokens")).unwrap();
    assert!(scratch.refusal().to_string().contains("missing"));
    fs::write(scratch.file("tokens"), tokens).unwrap();
    scratch.start();
}

#[test]
fn c7_tokens_grow_across_restarts() {
    let scratch = Scratch::new("tokens");
    let (store, found) = scratch.start();
    assert_eq!(floor(&found), 0);
    drop(store);
    let mut last = 0;
    for (request, boot) in [BOOT, BOOT, ANOTHER_BOOT, ANOTHER_BOOT, BOOT].into_iter().enumerate() {
        let (mut store, found) = scratch.start_at(boot, 0, false);
        assert!(floor(&found) >= last, "{} after {last}", floor(&found));
        last = floor(&found) + 3;
        let granted = grant(1, request as u64, [member("a", last)]);
        store.append(&encode(&[session(1), granted, released(1, request as u64, 0)])).unwrap();
        store.cover(Token::new(last), Duration::ZERO).unwrap();
        if request % 2 == 0 {
            store.compact(&encode(&[session(1)])).unwrap();
        }
    }
}

#[test]
fn c7_only_another_boot_uses_up_a_block_of_tokens() {
    let scratch = Scratch::new("blocks");
    for token in 1..4 {
        let (mut store, found) = scratch.start();
        assert_eq!(floor(&found), token - 1);
        let granted = grant(1, token, [member("a", token)]);
        store.append(&encode(&[session(1), granted, released(1, token, 0)])).unwrap();
        store.cover(Token::new(token), Duration::ZERO).unwrap();
    }
    for boot in [ANOTHER_BOOT, BOOT, ANOTHER_BOOT] {
        // Who grants nothing uses nothing up.
        assert_eq!(floor(&scratch.start_at(boot, 0, false).1), (1 << 32) - 1);
    }
}

#[test]
fn c7_what_is_covered_already_costs_no_writing() {
    let scratch = Scratch::new("cover");
    let (mut store, _) = scratch.start();
    let inode = || fs::metadata(scratch.file("tokens")).unwrap().ino();
    let mut written = Vec::new();
    let steps = [(1, 0), (2, 0), (u64::from(u32::MAX), 0), (1 << 32, 0), (1 << 32, 5), (9, 4)];
    for (token, lease) in steps {
        let before = inode();
        store.cover(Token::new(token), Duration::from_secs(lease)).unwrap();
        written.push(inode() != before);
    }
    assert_eq!(written, [true, false, false, true, true, false]);
    assert!(store.cover(Token::new(1 << 61), Duration::ZERO).is_err(), "there are no such tokens");
}

#[test]
fn n4_on_another_boot_sessions_are_void_and_leases_are_waited_for() {
    let scratch = Scratch::new("boot");
    let (mut store, _) = scratch.start_at(BOOT, 0, true);
    store.cover(Token::new(7), LEASE).unwrap();
    store.cover(Token::new(1 << 33), LEASE / 2).unwrap();
    store.append(&encode(&batches()[0])).unwrap();
    drop(store);
    // Also by a server that does not offer TCP itself.
    let (store, found) = scratch.start_at(ANOTHER_BOOT, 0, false);
    assert_eq!((state(&found.ledger), found.silent_for), (vec![], Some(LEASE)));
    assert!(floor(&found) >= 7);
    drop(store);
}

#[test]
fn n4_who_never_offered_tcp_is_never_silent() {
    let scratch = Scratch::new("local");
    let (mut store, _) = scratch.start();
    store.cover(Token::new(7), LEASE).unwrap();
    drop(store);
    assert_eq!(scratch.start_at(ANOTHER_BOOT, 0, true).1.silent_for, None);
    // Now it has been offered.
    assert_eq!(scratch.start_at(BOOT, 0, false).1.silent_for, Some(LEASE));
}

#[test]
fn n4_a_journal_that_is_missing_is_as_if_on_another_boot() {
    let scratch = Scratch::new("missing");
    let (mut store, _) = scratch.start_at(BOOT, 0, true);
    store.cover(Token::new(7), LEASE).unwrap();
    store.append(&encode(&batches()[0])).unwrap();
    drop(store);
    fs::remove_file(scratch.file("journal")).unwrap();
    let (_store, found) = scratch.start();
    assert_eq!((state(&found.ledger), found.silent_for), (vec![], Some(LEASE)));
    assert!(floor(&found) >= 7);
}

#[test]
fn n4_silence_is_not_forgotten_in_a_second_crash() {
    let scratch = Scratch::new("silence");
    let (mut store, _) = scratch.start_at(BOOT, 0, true);
    store.cover(Token::new(7), LEASE).unwrap();
    drop(store);
    let lease = u64::try_from(LEASE.as_nanos()).unwrap();
    let (mut store, _) = scratch.start_at(ANOTHER_BOOT, 1000, false);
    let known = [session(1)];
    store.append(&encode(&known)).unwrap();
    store.compact(&encode(&known)).unwrap();
    drop(store);
    // Within it, for the full time again, and those who came meanwhile are known.
    let (store, found) = scratch.start_at(ANOTHER_BOOT, 1000 + lease - 1, false);
    assert_eq!((state(&found.ledger), found.silent_for), (known.to_vec(), Some(LEASE)));
    drop(store);
    let (store, found) = scratch.start_at(ANOTHER_BOOT, 1000 + 2 * lease - 2, false);
    assert_eq!((state(&found.ledger), found.silent_for), (known.to_vec(), Some(LEASE)));
    drop(store);
    // On another boot, also when that server did not come to its journal.
    let journal = fs::read(scratch.file("journal")).unwrap();
    drop(scratch.start_at(BOOT, 5, false));
    fs::write(scratch.file("journal"), journal).unwrap();
    let (store, found) = scratch.start_at(BOOT, 6, false);
    assert_eq!((state(&found.ledger), found.silent_for), (vec![], Some(LEASE)));
    drop(store);
    // After it.
    assert_eq!(scratch.start_at(BOOT, 6 + lease, false).1.silent_for, None);
}

#[test]
fn n4_a_journal_is_made_anew_instead_of_growing() {
    let scratch = Scratch::new("compact");
    let (mut store, _) = scratch.start();
    let kept = [session(1), grant(1, 1, [member("a", 7)])];
    store.cover(Token::new(7), Duration::ZERO).unwrap();
    store.append(&encode(&kept)).unwrap();
    let refreshed = Record::Refreshed { realm: 1, request: 1, at: at(7) };
    let batch = encode(&vec![refreshed; 4096]);
    while !store.is_due_for_compaction() {
        store.append(&batch).unwrap();
    }
    assert!(fs::metadata(scratch.file("journal")).unwrap().len() > 1 << 20);
    store.compact(&encode(&kept)).unwrap();
    assert!(!store.is_due_for_compaction());
    let len = fs::metadata(scratch.file("journal")).unwrap().len();
    assert!(len < 1000, "{len}");
    store.append(&encode(&[released(1, 1, 9)])).unwrap();
    // What lives can be much; then it takes more of what is over.
    store.compact(&[encode(&kept), batch.repeat(5)].concat()).unwrap();
    let much = fs::metadata(scratch.file("journal")).unwrap().len();
    store.append(&batch.repeat(10)).unwrap();
    assert!(much > 1 << 19 && !store.is_due_for_compaction());
    store.append(&batch.repeat(6)).unwrap();
    assert!(store.is_due_for_compaction());
    store.compact(&encode(&kept)).unwrap();
    store.append(&encode(&[released(1, 1, 9)])).unwrap();
    drop(store);
    // A server that died while it made the next one has left what it had begun.
    fs::write(scratch.file("journal.new"), b"half").unwrap();
    let (mut store, found) = scratch.start();
    assert_eq!(state(&found.ledger), [session(1)]);
    store.compact(&encode(&[session(1)])).unwrap();
    drop(store);
    assert_eq!(state(&scratch.start().1.ledger), [session(1)]);
}

/// An idle journal of another build is no reason to refuse; one that tells of locks is (N11).
#[test]
fn n11_a_journal_of_another_version_is_gone_on_from_only_if_nothing_is_held() {
    let scratch = Scratch::new("version");
    let (mut store, _) = scratch.start();
    store.cover(Token::new(77), Duration::ZERO).unwrap();
    store.compact(&[]).unwrap();
    drop(store);
    let of_another = |scratch: &Scratch| {
        let mut journal = fs::read(scratch.file("journal")).unwrap();
        journal[8] = 9;
        let end = super::super::header::Header::LEN - 4;
        let sum = crc32fast::hash(&journal[..end]).to_le_bytes();
        journal[end..end + 4].copy_from_slice(&sum);
        fs::write(scratch.file("journal"), journal).unwrap();
    };
    of_another(&scratch);
    let (mut store, found) = scratch.start();
    assert_eq!(found.floor, Token::new(77));
    store.append(&encode(&[session(1)])).unwrap();
    drop(store);
    of_another(&scratch);
    let text = scratch.refusal().to_string();
    assert!(text.contains("another version") && text.contains("upgrade"), "{text}");
    // And whoever has that version may serve.
    assert_eq!(serving_pid(&scratch.0), None);
}
