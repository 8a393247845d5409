//! Locks on files of one's own (F1).

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, LostCause, Op};
use locks_file::{FileBackend, PathLock, lock_path, read_path};

use crate::places::Temp;

struct Setting {
    temp: Temp,
    files: FileBackend,
}

impl Setting {
    fn new() -> Self {
        let temp = Temp::new();
        let files = FileBackend::new(temp.at("locks")).unwrap();
        fs::write(temp.at("data"), "before").unwrap();
        Self { temp, files }
    }

    fn lock(&self) -> PathLock {
        lock_path(self.temp.at("data")).within(&self.files).wait(false)
    }

    fn read(&self) -> PathLock {
        read_path(self.temp.at("data")).within(&self.files).wait(false)
    }

    fn data(&self) -> String {
        fs::read_to_string(self.temp.at("data")).unwrap()
    }

    /// A user of `flock` who knows nothing of us.
    fn foreign(&self) -> File {
        File::options().read(true).write(true).open(self.temp.at("data")).unwrap()
    }
}

#[test]
fn f1_the_file_is_read_and_written_through_the_guard() {
    let set = Setting::new();
    let mut guard = set.lock().acquire().unwrap();
    assert_eq!(set.data(), "before", "locking changes nothing");
    let mut text = String::new();
    guard.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before");
    guard.seek(SeekFrom::Start(2)).unwrap();
    guard.write_all(b"XX").unwrap();
    assert_eq!(set.data(), "beXXre");
    guard.rewrite(b"new").unwrap();
    assert_eq!((set.data(), guard.file().metadata().unwrap().len()), ("new".into(), 3));
    guard.release().unwrap();
    assert_eq!(set.data(), "new");
}

#[test]
fn f1_readers_share_and_a_writer_is_alone() {
    let set = Setting::new();
    let (one, other) = (set.read().acquire().unwrap(), set.read().acquire().unwrap());
    let error = set.lock().acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Contended);
    assert!(error.to_string().contains("/data`"), "{error}");
    drop((one, other));
    let writer = set.lock().acquire().unwrap();
    assert!(set.read().acquire().unwrap_err().is_contended());
    drop(writer);
    drop(set.read().acquire().unwrap());
}

#[test]
fn f2_users_of_flock_exclude_and_are_excluded() {
    let set = Setting::new();
    let foreign = set.foreign();
    let guard = set.lock().acquire().unwrap();
    assert!(foreign.try_lock().is_err() && foreign.try_lock_shared().is_err());
    drop(guard);
    foreign.try_lock_shared().unwrap();
    drop(set.read().acquire().unwrap());
    let error = set.lock().acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Contended);
    let pid = error.holders()[0].party.pid;
    assert_eq!(pid, Some(std::process::id()), "{error}");
    foreign.unlock().unwrap();
    let guard = set.read().acquire().unwrap();
    foreign.try_lock_shared().unwrap();
    foreign.unlock().unwrap();
    assert!(foreign.try_lock().is_err());
    drop(guard);
    foreign.try_lock().unwrap();
}

#[test]
fn f5_whoever_waits_is_woken_when_a_user_of_flock_closes_the_file() {
    let set = Setting::new();
    let foreign = set.foreign();
    foreign.lock().unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            let blocked = set.lock().wait(Duration::from_secs(20)).acquire().map(drop);
            blocked.unwrap();
            let again = set.lock().wait(Duration::from_secs(20)).acquire_async();
            Op::later(again).block().map(drop).unwrap();
        });
        let start = Instant::now();
        // Until it stands in the way of others: it has what users of this library meet by.
        while set.read().acquire().unwrap_err().holders().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
        drop(foreign);
        waiting.join().unwrap();
    });
}

/// Who is next among ourselves has what we meet by, and not the file.
#[test]
fn f2_it_is_the_user_of_flock_who_is_told_of_and_not_who_waits_for_him() {
    let set = Setting::new();
    let mut flock = Command::new("flock");
    flock.arg(set.temp.at("data")).args(["sh", "-c", "echo; read end"]);
    let mut flock = flock.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    flock.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            drop(set.lock().wait(Duration::from_secs(20)).acquire().unwrap());
        });
        let listed = Backend::new(set.files.clone());
        while listed.list().unwrap().iter().all(|lock| lock.holders.is_empty()) {
            assert!(!waiting.is_finished());
            std::thread::yield_now();
        }
        let error = set.lock().acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Contended);
        assert_eq!(error.holders()[0].party.pid, Some(flock.id()), "{error}");
        drop(flock.stdin.take());
        waiting.join().unwrap();
    });
    flock.wait().unwrap();
}

#[test]
fn c2_a_wait_for_a_user_of_flock_ends_in_time_and_leaves_nothing() {
    let set = Setting::new();
    let foreign = set.foreign();
    foreign.lock().unwrap();
    let start = Instant::now();
    let error = set.lock().wait(Duration::from_millis(30)).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert!(!error.to_string().contains("after 29 ms"), "{error}");
    foreign.unlock().unwrap();
    drop(set.lock().acquire().unwrap());
    assert_eq!(set.files.live_keys(), 0);
}

#[test]
fn f1_replacing_the_file_ends_the_hold() {
    let set = Setting::new();
    let guard = set.lock().acquire().unwrap();
    fs::write(set.temp.at("new"), "saved").unwrap();
    fs::rename(set.temp.at("new"), set.temp.at("data")).unwrap();
    let cause = LostCause::Replaced;
    assert_eq!(guard.check().unwrap_err().kind(), ErrorKind::Lost { cause });
    // What is there now is free.
    let next = set.lock().acquire().unwrap();
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost { cause });
    next.check().unwrap();
    assert_eq!(set.data(), "saved");
}

#[test]
fn f1_links_are_followed_once() {
    let set = Setting::new();
    symlink(set.temp.at("data"), set.temp.at("link")).unwrap();
    let link = lock_path(set.temp.at("link")).within(&set.files).wait(false);
    let guard = link.clone().acquire().unwrap();
    assert!(set.lock().acquire().unwrap_err().is_contended());
    fs::write(set.temp.at("other"), "").unwrap();
    fs::remove_file(set.temp.at("link")).unwrap();
    symlink(set.temp.at("other"), set.temp.at("link")).unwrap();
    guard.check().unwrap();
    drop(link.acquire().unwrap());
}

#[test]
fn c9_a_nest_locks_once_and_unlocks_with_its_last_guard() {
    let set = Setting::new();
    let mut outer = set.lock().acquire().unwrap();
    assert_eq!(set.lock().wait(true).acquire().unwrap_err().kind(), ErrorKind::Deadlock);
    let mut inner = set.lock().reentrant().acquire().unwrap();
    assert_eq!(outer.token(), inner.token());
    let mut text = String::new();
    outer.read_to_string(&mut text).unwrap();
    inner.read_to_string(&mut text).unwrap();
    assert_eq!(text, "beforebefore", "each reads at a place of its own");
    drop(outer);
    assert!(set.foreign().try_lock().is_err());
    inner.release().unwrap();
    set.foreign().try_lock().unwrap();
}

#[test]
fn c15_what_cannot_be_is_refused() {
    let set = Setting::new();
    let error = set.lock().steal_after(Duration::ZERO).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let guard = set.read().acquire().unwrap();
    // An upgrade.
    let error = set.lock().reentrant().acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    drop(guard);
}

#[test]
fn c14_a_file_is_reserved_among_ourselves() {
    let set = Setting::new();
    drop(set.lock().hold_at_least(Duration::from_secs(60)).acquire().unwrap());
    assert!(set.lock().acquire().unwrap_err().is_contended());
    set.foreign().try_lock().unwrap();
}

#[test]
fn f7_what_is_no_file_is_refused_untouched() {
    let set = Setting::new();
    let missing = lock_path(set.temp.at("none")).within(&set.files);
    let error = missing.clone().acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("`create(true)` makes it"), "{error}");
    assert!(!set.temp.at("none").exists());
    let below = lock_path(set.temp.at("none/below")).within(&set.files).create(true);
    let error = below.acquire().unwrap_err();
    assert!(error.to_string().ends_with("; its directory is not there"), "{error}");
    drop(missing.create(true).acquire().unwrap());
    assert_eq!(fs::read(set.temp.at("none")).unwrap(), b"");
    let error = lock_path(set.temp.path()).within(&set.files).acquire().unwrap_err();
    assert!(error.to_string().ends_with("is a directory, and cannot be locked"), "{error}");
    let error = read_path("/dev/null").within(&set.files).acquire().unwrap_err();
    assert!(error.to_string().ends_with("is no regular file, and cannot be locked"), "{error}");
}
