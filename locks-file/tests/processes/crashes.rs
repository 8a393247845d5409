//! Rows 1 and 26: holders that are killed, and holders that fork.

use std::io::BufRead;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use locks_file::FileBackend;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};

use crate::directory::{Directory, PATIENCE, open_files, tell_directory, told_directory};
use crate::peer::{Peer, now};
use crate::program::program;

#[test]
fn row_1_who_waits_has_it_at_once_when_the_holder_is_killed() {
    let directory = Directory::new();
    let mut waiter = Peer::start(&directory);
    let mut last = 0;
    for round in 0..12 {
        let mut holder = Peer::start(&directory);
        let (holds, waits) = [("", ""), ("shared", ""), ("", "shared")][round % 3];
        let held = holder.take("k", holds);
        let waiting = waiter.begin("k", waits);
        waiting.assert_waits();
        let killed = now();
        holder.send_kill();
        let next = waiting.granted();
        let gap = Duration::from_nanos(next.at.saturating_sub(killed));
        eprintln!("row 1: it had it after {gap:?}");
        assert!(last < held.token && held.token < next.token, "C7: across a crash");
        last = next.token;
        waiter.release(next).unwrap();
    }
}

#[test]
fn row_1_a_killed_waiter_is_in_nobodys_way() {
    let directory = Directory::new();
    let [mut holder, mut waiter, mut next] = Peer::start_many(&directory);
    let held = holder.take("k", "");
    let first = waiter.begin("k", "");
    first.assert_waits();
    let second = next.begin("k", "");
    waiter.send_kill();
    second.assert_waits();
    holder.release(held).unwrap();
    let held = second.granted();
    next.release(held).unwrap();
}

/// Killed at any moment of what it does: tokens grow, and the key is free (C7).
#[test]
fn c7_killed_anywhere_in_a_grant_or_a_release() {
    let directory = Directory::new();
    let mut next = Peer::start(&directory);
    let mut last = 0;
    for round in 0..30_u32 {
        let mut churning = Peer::start(&directory);
        let started = churning.take("started", "");
        churning.release(started).unwrap();
        let _churn = churning.churn(&["k", "l"], Duration::from_micros(20), "");
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(1000 + u64::from(round) * 137) {
            std::hint::spin_loop();
        }
        churning.send_kill();
        let token = next.assert_free("k");
        assert!(last < token, "C7: {token} after {last}");
        last = token;
        next.assert_free("l");
    }
}

/// What a process starts does not inherit its locks.
#[test]
fn row_26_a_started_program_does_not_keep_the_lock() {
    let directory = Directory::new();
    let [mut holder, mut next] = Peer::start_many(&directory);
    holder.take("k", "");
    let reply = holder.ask("spawn sleep 600").reply();
    let pid = reply.strip_prefix("spawned ").unwrap();
    let inherited = open_files(pid);
    holder.send_kill();
    holder.reap();
    let free = next.begin("k", "wait=2000").outcome();
    let sleeper = Pid::from_raw(pid.parse().unwrap()).unwrap();
    let lived = kill_process(sleeper, Signal::KILL);
    assert!(lived.is_ok(), "it was to outlive the holder");
    free.expect("row 26: the lock is kept by a program that the holder had started");
    let lock_files = inherited.iter().filter(|(_, open)| open.starts_with(directory.path()));
    assert_eq!(lock_files.count(), 0, "row 26: {inherited:?}");
}

/// Between its fork and its exec a child has a copy of every descriptor: the release of the
/// parent frees the lock all the same.
#[test]
fn row_26_a_release_frees_although_a_forked_child_has_a_copy() {
    let directory = Directory::new();
    let [mut holder, mut next] = Peer::start_many(&directory);
    for options in ["", "shared"] {
        let held = holder.take("k", options);
        let waiting = next.begin("k", "");
        waiting.assert_waits();
        let pidfd = pidfd_open(holder.pid(), PidfdFlags::empty()).unwrap();
        let descriptors = holder.descriptors_of(&directory.file_of("k"));
        assert!(!descriptors.is_empty(), "the holder has its lock file open");
        // As a fork does: another descriptor of the same open file, and so of the same lock.
        let copies = descriptors.iter().map(|&number| {
            pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).expect("it is our child")
        });
        let copies = Vec::from_iter(copies);
        holder.release(held).unwrap();
        let limit = Duration::from_secs(2);
        assert!(waiting.reply_within(limit).is_some(), "row 26: the copy keeps the lock");
        let theirs = waiting.granted();
        // The copy goes, as when the child ends: the lock of another is not touched.
        drop(copies);
        holder.contended("k", "");
        next.release(theirs).unwrap();
    }
}

/// A lock that is kept for the next turn, which is of no use to it, is given back as a release
/// does.
#[test]
fn row_26_a_reader_follows_a_writer_although_a_forked_child_has_a_copy() {
    let directory = Directory::new();
    let mut peer = Peer::start(&directory);
    let file = directory.file_of("k");
    let pidfd = pidfd_open(peer.pid(), PidfdFlags::empty()).unwrap();
    for _ in 0..10 {
        // It is kept only where it has not been here for long.
        let (held, waiting) = (peer.take("k", ""), peer.begin("k", "shared"));
        let descriptors = peer.descriptors_of(&file).into_iter();
        let copies = Vec::from_iter(descriptors.map(|number| {
            pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).expect("it is our child")
        }));
        assert!(!copies.is_empty(), "the holder has its lock file open");
        peer.release(held).unwrap();
        let limit = Duration::from_secs(2);
        assert!(waiting.reply_within(limit).is_some(), "row 26: the copy keeps the lock");
        let held = waiting.granted();
        peer.release(held).unwrap();
    }
}

/// A guard that a forked child drops is the parent's all the same (C4).
#[test]
fn row_26_a_guard_dropped_in_a_forked_child_is_still_the_parents() {
    let directory = Directory::new();
    let mut next = Peer::start(&directory);
    let mut command = program("forks");
    tell_directory(&mut command, directory.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut forking = command.spawn().unwrap();
    let mut lines = std::io::BufReader::new(forking.stdout.take().unwrap()).lines();
    let forked = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("has forked")));
    forked.expect("it says when it has forked").unwrap();
    next.contended("k", "");
    next.contended("set", "");
    drop(forking.stdin.take());
    let start = Instant::now();
    while forking.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "it hangs");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert!(forking.wait().unwrap().success(), "the parent's guards were good");
    next.assert_free("k");
    next.assert_free("set");
}

/// Holds two locks, forks a child that drops both, and checks that they are held still.
pub(crate) fn drop_a_guard_in_a_forked_child() {
    let files = FileBackend::new(told_directory()).unwrap();
    let backend = files.clone().into_backend();
    let plain = backend.named("k").acquire().unwrap().into_owned();
    let set = backend.all(["set", "set of two"]).acquire().unwrap().into_owned();
    let guards = Arc::new(Mutex::new(Some((plain, set))));
    let theirs = guards.clone();
    let mut command = Command::new("true");
    // SAFETY: what runs between fork and exec here is more than is guaranteed to work in a process
    // of several threads; it is what is to be tested, and no other thread is at work.
    #[expect(unsafe_code, reason = "the one way to run anything in a forked child")]
    unsafe {
        command.pre_exec(move || {
            drop(theirs.lock().unwrap().take());
            // It opens the books anew, and leaves what its parent holds.
            files.clean(Duration::ZERO).map(drop).map_err(std::io::Error::other)
        })
    };
    assert!(command.status().unwrap().success());
    drop(command);
    let (plain, set) = guards.lock().unwrap().take().expect("the child took its own copy");
    plain.check().unwrap();
    set.check().unwrap();
    let mut stdout = std::io::stdout().lock();
    std::io::Write::write_all(&mut stdout, b"\nhas forked\n").unwrap();
    std::io::Write::flush(&mut stdout).unwrap();
    drop(stdout);
    // Until the test has looked.
    std::io::stdin().lines().for_each(drop);
    plain.release().unwrap();
    set.release().unwrap();
}
