//! C13: many acquisitions over many keys, half of which come to nothing, leave nothing behind.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use locks_core::LockBackend;
use locks_file::FileBackend;

use crate::directory::{Directory, open_files, tell_directory, told_directory, until};
use crate::peer::Peer;
use crate::polled::Polled;
use crate::program::program;

/// How many acquisitions there are to each key.
const PER_KEY: usize = 10;

/// A tenth of the number that `LOCKS_FILE_ACQUISITIONS` is usually set to for a long run.
const ACQUISITIONS: usize = 10_000;

fn acquisitions() -> usize {
    let told = std::env::var("LOCKS_FILE_ACQUISITIONS").ok();
    told.map_or(ACQUISITIONS, |count| count.parse().expect("a number of acquisitions"))
}

fn key(number: usize) -> String {
    format!("job:{number}")
}

/// What a process has: descriptors, threads, and kilobytes of memory.
fn usage() -> (usize, usize, usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
    let threads = fs::read_dir("/proc/self/task").unwrap().count();
    (open_files("self").len(), threads, memory)
}

/// The program: alone in its process, so that what is counted is its own.
pub(crate) fn acquire_again_and_again() {
    let backend = FileBackend::new(told_directory()).unwrap();
    let rival = FileBackend::new(told_directory()).unwrap().into_backend();
    let live_keys = |backend: &FileBackend| backend.inspect(locks_core::Query::All).block();
    let (client, backend) = (backend.clone(), backend.into_backend());
    let (count, keys) = (acquisitions(), acquisitions() / PER_KEY);
    let start = usage();
    let mut early = None;
    let mut outcomes = [0_usize; 4];
    for turn in 0..count {
        // A large step, so that neighbours in time are not neighbours in name.
        let key = key(turn * 7919 % keys);
        let lock = backend.named(key.clone());
        match turn % 4 {
            0 => lock.acquire().unwrap().release().unwrap(),
            1 => drop(lock.shared().acquire().unwrap()),
            2 => {
                let held = rival.named(key).acquire().unwrap();
                let limit = Duration::from_micros((turn % 8) as u64 * 25);
                let error = lock.wait(limit).acquire().unwrap_err();
                assert!(error.is_contended(), "{error}");
                drop(held);
            }
            _ => {
                let held = rival.named(key).acquire().unwrap();
                let mut pending = Polled::begin(lock);
                for _ in 0..turn / 4 % 3 {
                    assert!(pending.poll().is_none());
                }
                drop((pending, held));
            }
        }
        outcomes[turn % 4] += 1;
        if turn == count / 10 {
            early = Some(usage());
        }
    }
    let (files, threads, memory) = start;
    let mut end = usage();
    let until = Instant::now() + Duration::from_secs(60);
    // Two descriptors may be for events and one for the file that tells who waits, one thread is
    // for events, and one for alarms.
    while end.0 > files + 3 || end.1 > threads + 2 {
        assert!(Instant::now() < until, "C13: {start:?} became {end:?}: {:?}", open_files("self"));
        std::thread::sleep(Duration::from_millis(1));
        end = usage();
    }
    let (_, _, early_memory) = early.unwrap();
    eprintln!("C13: {start:?}, {early:?} after a tenth, {end:?} in the end of {outcomes:?}");
    assert!(end.2 < early_memory + 8 * 1024, "C13: {early_memory} kB grew to {} kB", end.2);
    assert!(memory > 0);
    if client.about().capabilities.listing {
        assert_eq!(live_keys(&client).unwrap().len(), 0, "C13: somebody is still listed");
    }
}

#[test]
fn c13_nothing_is_left_of_many_acquisitions() {
    let directory = Directory::new();
    let mut command = program("leaks");
    tell_directory(&mut command, directory.path()).stdin(Stdio::null()).stdout(Stdio::null());
    assert!(command.status().unwrap().success(), "see above");
    let keys = acquisitions() / PER_KEY;
    let files = directory.names().len();
    // One for each key, and a few for the directory.
    assert!(files >= keys / 2 && files <= keys + 8, "{files} files for {keys} keys");

    // Removed while another process takes and gives them all the time.
    let client = directory.client();
    let mut other = Peer::start(&directory);
    let busy = ["job:0", "job:1", "job:2", "fresh"];
    let churns = busy.map(|key| other.churn(&[key], Duration::from_micros(100), ""));
    let lock_files = || (0..keys).map(key).filter(|key| directory.file_of(key).exists()).count();
    until("all that nobody uses are removed", || {
        client.clean(Duration::ZERO).unwrap();
        lock_files() <= busy.len()
    });
    for _ in 0..200 {
        client.clean(Duration::ZERO).unwrap();
    }
    for churn in churns {
        assert!(other.settle(&churn) > 0, "F4: cleaning kept somebody from its lock");
    }
    client.clean(Duration::ZERO).unwrap();
    assert_eq!(lock_files(), 0, "F4: {:?}", directory.names());
    assert!(directory.names().len() <= 8, "{:?}", directory.names());
}

/// What has been used lately stays.
/// The kernel tells of many locks in parts, between which others come and go: nobody is taken to be
/// dead who was not told of.
#[test]
fn c8_readers_are_not_forgotten_while_they_live() {
    let directory = Directory::new();
    let mut readers = Vec::from_iter((0..18).map(|_| Peer::start(&directory)));
    let held = Vec::from_iter(readers.iter_mut().map(|reader| reader.take("k", "shared")));
    let backend = directory.backend();
    let _many =
        Vec::from_iter((0..150).map(|number| backend.named(key(number)).acquire().unwrap()));
    let [mut one, mut other, mut reader] = Peer::start_many(&directory);
    let others = Vec::from_iter((200..240).map(key));
    let others = Vec::from_iter(others.iter().map(String::as_str));
    let churns = [
        one.churn(&others[..20], Duration::ZERO, ""),
        other.churn(&others[20..], Duration::ZERO, ""),
        reader.churn(&["k"], Duration::ZERO, "shared"),
    ];
    std::thread::sleep(Duration::from_secs(3));
    for (peer, churn) in [&mut one, &mut other, &mut reader].into_iter().zip(&churns) {
        peer.settle(churn);
    }
    for (reader, held) in readers.iter_mut().zip(held) {
        reader.check(held).unwrap();
        reader.release(held).unwrap();
    }
}

/// Readers who come and go all the time, so that the books are hard to come by, leave no holds on
/// record.
#[test]
fn c12_readers_who_have_gone_are_not_listed() {
    let directory = Directory::new();
    let backend = directory.backend();
    let stays = backend.named("k").shared().acquire().unwrap();
    let mut peers = Vec::from_iter((0..6).map(|_| Peer::start(&directory)));
    let stay = Vec::from_iter(peers.iter_mut().map(|peer| peer.take("k", "shared")));
    let churn = |peer: &mut Peer| peer.churn(&["k"], Duration::ZERO, "shared");
    let churns = Vec::from_iter(peers.iter_mut().map(churn));
    std::thread::sleep(Duration::from_secs(2));
    for (peer, churn) in peers.iter_mut().zip(&churns) {
        peer.settle(churn);
    }
    until("those who are there are listed", || {
        backend.list().unwrap().iter().map(|info| info.holders.len()).sum::<usize>() == 7
    });
    peers.iter_mut().zip(stay).for_each(|(peer, held)| peer.release(held).unwrap());
    drop(stays);
}

/// That holds still stand is looked at for a file at once, not for each of its readers.
#[test]
fn c13_readers_who_stay_keep_no_processor_busy() {
    let directory = Directory::new();
    let mut peer = Peer::start(&directory);
    for _ in 0..200 {
        peer.take("k", "shared");
    }
    let before = peer.processor_time();
    std::thread::sleep(Duration::from_secs(2));
    let busy = peer.processor_time() - before;
    assert!(busy < Duration::from_millis(500), "it was busy for {busy:?} of 2 s");
}

#[test]
fn f4_cleaning_leaves_young_files_alone() {
    let directory = Directory::new();
    let (client, mut other) = (directory.client(), Peer::start(&directory));
    let token = other.assert_free("k");
    client.clean(Duration::from_secs(3600)).unwrap();
    assert!(directory.file_of("k").exists(), "it was used a moment ago");
    client.clean(Duration::ZERO).unwrap();
    assert!(!directory.file_of("k").exists(), "nobody uses it");
    assert!(other.assert_free("k") > token, "C7: across cleaning");
}

/// What is held or reserved stays, whatever its age.
#[test]
fn f4_cleaning_leaves_what_is_held_or_reserved_alone() {
    let directory = Directory::new();
    let (client, [mut holder, mut next]) = (directory.client(), Peer::start_many(&directory));
    let held = [holder.take("k", ""), holder.take("l", "shared")];
    let least = Duration::from_millis(1500);
    let asked = crate::peer::now();
    let reserved = holder.take("m", &format!("least={}", least.as_millis()));
    holder.release(reserved).unwrap();
    for _ in 0..20 {
        client.clean(Duration::ZERO).unwrap();
    }
    for (key, held) in ["k", "l"].into_iter().zip(held) {
        assert!(directory.file_of(key).exists(), "F4: `{key}` was removed while it was held");
        holder.check(held).unwrap();
        next.contended(key, "");
        holder.release(held).unwrap();
    }
    if crate::peer::now() < asked + least.as_nanos() as u64 / 2 {
        next.contended("m", "");
    }
    let token = next.take("m", "wait=10000");
    let waited = Duration::from_nanos(token.at - asked);
    assert!(waited >= least, "C14: cleaning has removed a reservation after {waited:?}");
    assert!(token.token > reserved.token, "C7");
}
