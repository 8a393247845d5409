//! Locks on files of one's own (F1).

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, LostCause, Op};
use locks_file::{FileBackend, PathLock, ReadPathLock, lock_path, lock_paths, read_path};

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

    fn read(&self) -> ReadPathLock {
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

/// Whoever reads it without a lock sees the old content or the new one, and the lock goes over.
#[test]
fn f1_a_file_is_replaced_in_one_step() {
    let set = Setting::new();
    fs::set_permissions(set.temp.at("data"), Permissions::from_mode(0o640)).unwrap();
    let (old, reader) = (fs::metadata(set.temp.at("data")).unwrap(), set.foreign());
    let mut guard = set.lock().acquire().unwrap();
    for content in ["first", "second, and longer"] {
        guard.replace(content.as_bytes()).unwrap();
        assert_eq!(set.data(), content);
        let mut text = String::new();
        guard.read_to_string(&mut text).unwrap();
        assert_eq!(text, content);
        guard.check().unwrap();
        let foreign = set.foreign();
        assert!(foreign.try_lock_shared().is_err(), "the new file is locked");
        assert!(set.lock().acquire().unwrap_err().is_contended());
    }
    let new = fs::metadata(set.temp.at("data")).unwrap();
    assert!(new.ino() != old.ino() && new.mode() == old.mode(), "{:o}", new.mode());
    assert_eq!(std::io::read_to_string(reader).unwrap(), "before", "nobody's view is torn");
    assert_eq!(fs::read_dir(set.temp.path()).unwrap().count(), 2, "nothing is left beside it");
    guard.release().unwrap();
    set.foreign().try_lock().unwrap();
    let guard = set.lock().acquire().unwrap();
    guard.release().unwrap();
    // Nested, the guard around it would not know.
    let outer = set.lock().reentrant().acquire().unwrap();
    let mut inner = set.lock().reentrant().acquire().unwrap();
    assert!(inner.replace(b"new").unwrap_err().to_string().contains("nested"));
    drop(outer);
    inner.replace(b"new").unwrap();
    assert_eq!(set.data(), "new");
    // One that is lost is not written to.
    fs::write(set.temp.at("other"), "of others").unwrap();
    fs::rename(set.temp.at("other"), set.temp.at("data")).unwrap();
    assert!(inner.replace(b"mine").is_err());
    assert_eq!(set.data(), "of others");
}

/// Another file is put in its place while somebody waits, as editors and `sed -i` do: whoever waits
/// goes over, whether the old one is held here, elsewhere, or by a user of `flock`.
#[test]
fn f12_whoever_waits_for_a_file_goes_over_to_the_one_that_takes_its_place() {
    for shared in [false, true] {
        for foreign in [false, true] {
            for blocking in [false, true] {
                let set = Setting::new();
                let other = FileBackend::new(set.temp.at("locks")).unwrap();
                let held = (!foreign).then(|| set.lock().acquire().unwrap());
                let of_others = set.foreign();
                if foreign {
                    of_others.lock().unwrap();
                }
                let acquire = |files: &FileBackend| {
                    let (path, long) = (set.temp.at("data"), Duration::from_secs(60));
                    let mut text = String::new();
                    if shared {
                        let lock = read_path(path).within(files).wait(long);
                        let mut guard = match blocking {
                            true => lock.acquire().unwrap().into_owned(),
                            false => Op::later(lock.acquire_async()).block().unwrap(),
                        };
                        guard.read_to_string(&mut text).unwrap();
                    } else {
                        let lock = lock_path(path).within(files).wait(long);
                        let mut guard = match blocking {
                            true => lock.acquire().unwrap().into_owned(),
                            false => Op::later(lock.acquire_async()).block().unwrap(),
                        };
                        guard.read_to_string(&mut text).unwrap();
                    }
                    text
                };
                std::thread::scope(|threads| {
                    // One behind the holder of its own process's, one elsewhere.
                    let waiting =
                        [&set.files, &other].map(|files| threads.spawn(|| acquire(files)));
                    let start = Instant::now();
                    while waiting.iter().any(|waiting| waiting.is_finished())
                        || start.elapsed() < Duration::from_millis(150)
                    {
                        assert!(start.elapsed() < Duration::from_secs(1), "it does not wait");
                        std::thread::yield_now();
                    }
                    fs::write(set.temp.at("saved"), "saved").unwrap();
                    fs::rename(set.temp.at("saved"), set.temp.at("data")).unwrap();
                    for waiting in waiting {
                        assert_eq!(waiting.join().unwrap(), "saved");
                    }
                });
                if let Some(held) = held {
                    assert!(held.release().unwrap_err().is_lost());
                }
            }
        }
    }
}

/// The file replaced by its own holder: those who wait follow, and are kept out until it is
/// released.
#[test]
fn f12_whoever_waits_follows_a_holder_that_replaces_the_file() {
    let set = Setting::new();
    let mut guard = set.lock().acquire().unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            let mut guard = set.lock().wait(Duration::from_secs(60)).acquire().unwrap();
            let mut text = String::new();
            guard.read_to_string(&mut text).unwrap();
            text
        });
        for number in 0..20 {
            guard.replace(format!("{number}").as_bytes()).unwrap();
            std::thread::park_timeout(Duration::from_millis(10));
            assert!(!waiting.is_finished(), "it is let in beside the holder");
            guard.check().unwrap();
        }
        guard.replace(b"last").unwrap();
        guard.release().unwrap();
        assert_eq!(waiting.join().unwrap(), "last");
    });
}

/// All of them or none, in whatever order, by whatever names.
#[test]
fn f1_several_files_are_locked_together() {
    let set = Setting::new();
    let path = |name: &str| set.temp.at(name);
    fs::write(path("other"), "other").unwrap();
    symlink(path("other"), path("link")).unwrap();
    fs::hard_link(path("data"), path("second name")).unwrap();
    let lock = |names: &[&str]| {
        lock_paths(names.iter().map(|name| path(name))).within(&set.files).wait(false)
    };
    let mut guard = lock(&["other", "data", "link", "second name", "data"]).acquire().unwrap();
    let texts = guard.files_mut().iter_mut().map(|file| {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(Vec::from_iter(texts), ["other", "before", "other", "before", "before"]);
    let at = guard.files().iter().map(|file| file.path().file_name().unwrap().to_owned());
    assert_eq!(Vec::from_iter(at), ["other", "data", "other", "second name", "data"]);
    guard.check().unwrap();
    assert!(set.lock().acquire().unwrap_err().is_contended());
    assert!(set.foreign().try_lock().is_err());
    guard.files_mut()[0].rewrite(b"new").unwrap();
    guard.release().unwrap();
    assert_eq!(fs::read_to_string(path("other")).unwrap(), "new");
    // One is busy: nothing of the others is kept.
    let foreign = set.foreign();
    foreign.lock().unwrap();
    for names in [["other", "data"], ["data", "other"]] {
        let error = lock(&names).acquire().unwrap_err();
        assert!(error.is_contended(), "{error}");
        assert!(error.to_string().contains("/data`"), "{error}");
        let waits = lock(&names).wait(Duration::from_millis(100)).acquire().unwrap_err();
        assert_eq!(waits.kind(), ErrorKind::Timeout);
        drop(lock_path(path("other")).within(&set.files).wait(false).acquire().unwrap());
    }
    drop(foreign);
    // Two who name them in opposite orders.
    std::thread::scope(|threads| {
        for names in [["other", "data"], ["data", "other"]] {
            threads.spawn(move || {
                for _ in 0..50 {
                    let long = lock(&names).wait(Duration::from_secs(60));
                    long.acquire().unwrap().release().unwrap();
                    let long = lock(&names).wait(Duration::from_secs(60));
                    Op::later(long.acquire_async()).block().unwrap().release().unwrap();
                }
            });
        }
    });
    // One of them is replaced.
    let guard = lock(&["other", "data"]).acquire().unwrap();
    fs::write(path("saved"), "saved").unwrap();
    fs::rename(path("saved"), path("data")).unwrap();
    assert!(guard.check().unwrap_err().to_string().contains("/data`"));
    assert!(guard.release().unwrap_err().is_lost());
    let missing = lock(&["other", "missing"]).acquire().unwrap_err();
    assert!(missing.to_string().contains("missing"), "{missing}");
    assert_eq!(lock(&[]).acquire().unwrap_err().kind(), ErrorKind::InvalidKey);
}

/// Nobody has named the key that stands for a file: errors do not tell of it.
#[test]
fn f1_errors_name_the_file_and_not_its_number() {
    let set = Setting::new();
    fs::write(set.temp.at("other"), "").unwrap();
    let other = || lock_path(set.temp.at("other")).within(&set.files);
    let (first, second) = (Barrier::new(2), Barrier::new(2));
    let cross = |one: PathLock, two: PathLock| {
        let guard = one.acquire().unwrap();
        first.wait();
        let outcome = two.wait(Duration::from_secs(60)).acquire().map(drop);
        drop(guard);
        second.wait();
        outcome.err()
    };
    let deadlocks = std::thread::scope(|threads| {
        let one = threads.spawn(|| cross(set.lock(), other()));
        let two = threads.spawn(|| cross(other(), set.lock()));
        [one.join().unwrap(), two.join().unwrap()]
    });
    let deadlock = deadlocks.into_iter().flatten().next().expect("one of them hears of the cycle");
    assert_eq!(deadlock.kind(), ErrorKind::Deadlock);
    let _guard = set.lock().acquire().unwrap();
    let errors = [
        set.lock().acquire().unwrap_err(),
        set.read().acquire().unwrap_err(),
        set.lock().wait(Duration::from_millis(1)).acquire().unwrap_err(),
        set.lock().wait(true).acquire().unwrap_err(),
        lock_paths([set.temp.at("data"), set.temp.at("other")])
            .within(&set.files)
            .wait(Duration::from_millis(1))
            .acquire()
            .unwrap_err(),
        deadlock,
    ];
    for error in errors {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("path:"), "{text}");
        assert!(text.contains("/data"), "{text}");
    }
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
