//! Children that outlive their parent: its locks are free.

use std::fs;
use std::time::Duration;
use std::{mem, thread};

use locks_core::{ErrorKind, LockError};
use locks_file::FileBackend;

use crate::directory::{Directory, told_directory};
use crate::fork::fork;
use crate::peer::Peer;

/// What the peer does for that: locks a file until it ends.
pub(crate) fn lock_a_file(how: &str, path: &str, millis: u64) -> Result<(), LockError> {
    let files = FileBackend::new(told_directory())?;
    let wait = Duration::from_millis(millis);
    let lock = || locks_file::lock_path(path).within(&files).wait(wait);
    match how {
        "lock" => mem::forget(lock().acquire()?),
        "read" => mem::forget(locks_file::read_path(path).within(&files).wait(wait).acquire()?),
        "several" => {
            let beside = format!("{path} beside it");
            let both = locks_file::lock_paths([&beside, path]).within(&files).create(true);
            mem::forget(both.wait(wait).acquire()?);
        }
        "nested" => {
            let outer = lock().reentrant().acquire()?;
            mem::forget(lock().reentrant().acquire()?);
            drop(outer);
        }
        "replaced" => {
            let mut guard = lock().acquire()?;
            let replaced = guard.replace(b"new");
            replaced.map_err(|error| LockError::new(ErrorKind::Io, path).with_source(error))?;
            mem::forget(guard);
        }
        _ => panic!("`{how}` is no way to lock a file"),
    }
    Ok(())
}

/// What the peer does for that: forks a child that does nothing.
pub(crate) fn fork_a_sleeper() -> String {
    let pid = fork(|| {
        loop {
            thread::park_timeout(Duration::from_secs(1));
        }
    });
    format!("forked {pid}")
}

/// The locks of a parent that is killed are free, although a child lives on that has not looked at
/// them.
#[test]
fn row_36_a_child_does_not_keep_its_dead_parents_locks() {
    let directory = Directory::new();
    let mut next = Peer::start(&directory);
    let mut holder = Peer::start(&directory);
    let held = [holder.take("k", ""), holder.take("s", "shared")];
    let child = holder.ask("fork").reply();
    let child: i32 = child.strip_prefix("forked ").unwrap().parse().unwrap();
    next.contended("k", "");
    next.contended("s", "");
    for held in held {
        holder.check(held).unwrap();
    }
    holder.send_kill();
    holder.reap();
    let outcomes = ["k", "s"].map(|key| next.begin(key, "wait=20000").outcome());
    let child = rustix::process::Pid::from_raw(child).unwrap();
    let lived = rustix::process::kill_process(child, rustix::process::Signal::KILL);
    assert!(lived.is_ok(), "it was to outlive the holder");
    for outcome in outcomes {
        outcome.expect("row 36: the lock is kept by a forked child");
    }
}

/// Nor the locks of its files, whichever way they were locked.
#[test]
fn row_36_a_child_does_not_keep_the_files_of_its_dead_parent() {
    let mut ways = vec!["lock", "read", "several", "nested", "replaced"];
    ways.retain(|how| !frees_its_file_when_killed(how));
    assert!(ways.is_empty(), "row 36: kept by a forked child: {ways:?}");
}

fn frees_its_file_when_killed(how: &str) -> bool {
    let directory = Directory::new();
    let data = directory.path().join("data");
    fs::write(&data, "kept").unwrap();
    let [mut next, mut holder] = Peer::start_many(&directory);
    assert_eq!(holder.lock_file(how, &data, 0).reply(), "locked");
    let child = holder.ask("fork").reply();
    let child: i32 = child.strip_prefix("forked ").unwrap().parse().unwrap();
    let waiting = next.lock_file("lock", &data, 20_000);
    waiting.assert_waits();
    holder.send_kill();
    holder.reap();
    let free = waiting.reply_within(Duration::from_secs(2));
    let child = rustix::process::Pid::from_raw(child).unwrap();
    let lived = rustix::process::kill_process(child, rustix::process::Signal::KILL);
    assert!(lived.is_ok(), "it was to outlive the holder");
    assert_eq!(waiting.reply(), "locked");
    free.is_some()
}
