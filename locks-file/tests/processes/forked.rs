//! Children that are forked without `exec` (C4, row 36): daemons, and servers that fork their
//! workers.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, Guard, LockError, Op, OwnedGuard};
use locks_file::FileBackend;

use crate::directory::{Directory, PATIENCE, tell_directory, told_directory};
use crate::fork::{fork, wait_for};
use crate::peer::Peer;
use crate::program::program;

const SCENE: &str = "LOCKS_FILE_SCENE";

/// What is played by the program, with a backend that was opened before.
type Scene = fn(&FileBackend);

const SCENES: [(&str, Scene); 9] = [
    ("lost", guards_of_the_parent_are_lost),
    ("anew", the_child_acquires_anew),
    ("limits", limits_of_the_child_hold),
    ("busy", a_busy_parent_is_forked),
    ("daemon", a_daemon_closes_all_that_it_has_inherited),
    ("pending", what_the_parent_waits_for_is_the_parents),
    ("chroot", a_worker_is_locked_in),
    ("path", files_of_ones_own),
    ("path pending", a_file_that_the_parent_waits_for),
];

#[track_caller]
fn play(scene: &str) {
    let directory = Directory::new();
    let mut command = program("forked");
    tell_directory(&mut command, directory.path()).env(SCENE, scene);
    let mut process = command.stdin(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            process.kill().unwrap();
            process.wait().unwrap();
            panic!("row 36: `{scene}` hangs");
        }
        thread::park_timeout(Duration::from_millis(5));
    };
    assert!(status.success(), "row 36: `{scene}`: {status}");
}

/// The program.
pub(crate) fn play_told() {
    let told = std::env::var(SCENE).unwrap();
    let files = FileBackend::new(told_directory()).unwrap();
    let (_, scene) = SCENES.iter().find(|(name, _)| *name == told).unwrap();
    scene(&files);
}

/// Runs `child` in a forked process, in which it is the one thread; whether all went well there.
#[must_use]
fn forked(child: impl FnOnce()) -> bool {
    wait_for(fork(child))
}

fn take(backend: &Backend, key: &str) -> Guard {
    backend.named(key).wait(Duration::from_secs(20)).acquire().unwrap()
}

#[track_caller]
fn assert_contended(backend: &Backend, key: &str) {
    let error = backend.named(key).wait(false).acquire().unwrap_err();
    assert!(error.is_contended(), "{error}");
}

/// Says so in every way.
#[track_caller]
fn assert_lost(guard: OwnedGuard, key: &str) {
    assert!(guard.is_lost());
    let error = guard.check().unwrap_err();
    assert!(error.is_lost() && error.key() == key, "{error}");
    let said = "was lost: this process was forked from the one that holds it, and has to acquire it itself";
    assert!(error.to_string().ends_with(said), "{error}");
    assert!(guard.refresh().unwrap_err().is_lost());
    let lost = pin!(guard.lost()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(lost.is_ready());
    assert!(guard.release().unwrap_err().is_lost());
}

fn guards_of_the_parent_are_lost(files: &FileBackend) {
    let backend = files.clone().into_backend();
    let directly = Backend::new(files.clone());
    let mut guards = vec![
        ("k", take(&backend, "k").into_owned()),
        ("l", take(&directly, "l").into_owned()),
        ("s", backend.named("s").shared().acquire().unwrap().into_owned()),
        (
            "r",
            backend
                .named("r")
                .hold_at_least(Duration::from_secs(60))
                .acquire()
                .unwrap()
                .into_owned(),
        ),
    ];
    let set = backend.all(["a", "b"]).acquire().unwrap();
    for generations in 1..4 {
        // Also in a child of a child.
        fn descend(generations: u32, then: impl FnOnce()) -> bool {
            match generations {
                0 => {
                    then();
                    true
                }
                _ => forked(|| assert!(descend(generations - 1, then))),
            }
        }
        assert!(descend(generations, || {
            for (key, guard) in guards.drain(..) {
                assert_lost(guard, key);
            }
            assert!(set.check().is_err());
            for key in ["k", "l", "a", "b", "s", "r"] {
                assert_contended(&backend, key);
                assert_contended(&directly, key);
            }
            let own = take(&backend, "own");
            own.check().unwrap();
            own.refresh().unwrap();
            assert_contended(&backend, "own");
            own.release().unwrap();
        }));
    }
    for (key, guard) in guards {
        guard.check().unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(forked(|| assert_contended(&backend, key)));
        guard.release().unwrap();
        if key != "r" {
            assert!(forked(|| drop(take(&backend, key))));
        }
    }
    drop(set);
    assert!(forked(|| drop(backend.all(["a", "b"]).wait(false).acquire().unwrap())));
}

fn the_child_acquires_anew(files: &FileBackend) {
    let backend = files.clone().into_backend();
    let held = take(&backend, "k");
    let tokens = held.token();
    // It waits for the parent.
    let child = fork(|| {
        let guard = take(&backend, "k");
        assert!(guard.token() > tokens, "C7");
        let [other] = <[_; 1]>::try_from(backend.list().unwrap()).unwrap();
        assert_eq!(other.holders.len(), 1);
        let guard = guard.into_owned();
        let nested = locks_core::scope(async {
            let outer = backend.named("n").reentrant().acquire().unwrap();
            drop(backend.named("n").reentrant().acquire().unwrap());
            outer.check().unwrap();
        });
        let nested = async {
            nested.await;
            Ok::<_, LockError>(())
        };
        Op::later(nested).block().unwrap();
        let async_guard = backend.named("async").wait(Duration::from_secs(20)).acquire_async();
        let async_guard = Op::later(async_guard).block().unwrap();
        async_guard.check().unwrap();
        guard.check().unwrap();
        // What it passes to a child of its own is lost there.
        let mut guards = Some((guard, async_guard));
        assert!(forked(|| {
            let (guard, async_guard) = guards.take().unwrap();
            assert!(guard.check().unwrap_err().is_lost());
            assert!(guard.release().unwrap_err().is_lost());
            drop(async_guard);
            assert_contended(&backend, "k");
            assert_contended(&backend, "async");
        }));
    });
    thread::park_timeout(Duration::from_millis(300));
    held.release().unwrap();
    assert!(wait_for(child));
    drop(take(&backend, "k"));
}

fn limits_of_the_child_hold(files: &FileBackend) {
    let backend = files.clone().into_backend();
    // The parent has threads for all that the child needs.
    let held = take(&backend, "k");
    let other = FileBackend::new(files.directory()).unwrap().into_backend();
    let limit = Duration::from_millis(100);
    let limited = || {
        let error = other.named("k").wait(limit).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let waiting = other.named("k").wait(limit).acquire_async();
        let error = Op::later(waiting).block().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    };
    limited();
    assert!(forked(limited));
    assert!(forked(|| {
        let brief = backend.named("brief").hold_at_most(limit).acquire().unwrap();
        let start = Instant::now();
        while brief.check().is_ok() {
            assert!(start.elapsed() < PATIENCE, "it is not ended");
            thread::park_timeout(Duration::from_millis(5));
        }
        let mine = take(&backend, "mine");
        let stolen = other.named("mine").steal_after(limit).acquire().unwrap();
        assert!(mine.check().is_err());
        stolen.check().unwrap();
        let stolen = backend.named("k").steal_after(limit).acquire().unwrap();
        stolen.check().unwrap();
    }));
    assert!(held.check().is_err(), "it was stolen by the child");
}

fn a_busy_parent_is_forked(files: &FileBackend) {
    let backend = files.clone().into_backend();
    let held = take(&backend, "held").into_owned();
    let mut held = Some(held);
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        for number in 0..4 {
            let (backend, over) = (&backend, &over);
            threads.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let keys = ["busy".to_owned(), format!("busy {number}")];
                    for key in &keys {
                        drop(backend.named(&**key).acquire().unwrap());
                        drop(backend.named(&**key).shared().acquire().unwrap());
                    }
                    drop(backend.all(keys).acquire().unwrap());
                    let waiting = backend.named("held").wait(Duration::from_millis(1));
                    drop(Op::later(waiting.acquire_async()).block());
                }
            });
        }
        for round in 0..60 {
            let child = || {
                drop(held.take());
                assert_contended(&backend, "held");
                let own = take(&backend, "of the child");
                own.check().unwrap();
                drop(own);
                drop(backend.list().unwrap());
            };
            assert!(forked(child), "round {round}");
        }
        over.store(true, Ordering::Relaxed);
    });
    held.unwrap().release().unwrap();
}

fn a_daemon_closes_all_that_it_has_inherited(files: &FileBackend) {
    let backend = files.clone().into_backend();
    let file = files.directory().join("data");
    fs::write(&file, "kept").unwrap();
    let own = locks_file::lock_path(&file).within(files).acquire().unwrap().into_owned();
    let mut held = Some((take(&backend, "k").into_owned(), take(&backend, "l").into_owned(), own));
    let other = FileBackend::new(files.directory()).unwrap().into_backend();
    let waiting = pin!(other.named("k").acquire_async());
    let mut waiting = Some(Box::pin(waiting));
    let polled = waiting.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    assert!(forked(|| {
        rustix_close_from(3);
        // By the numbers of what it has closed.
        let files_of_its_own = Vec::from_iter((0..50).map(|_| File::open("/dev/null").unwrap()));
        let mine = take(&backend, "of the daemon");
        drop(held.take());
        drop(waiting.take());
        mine.check().unwrap();
        for file in &files_of_its_own {
            let open = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            assert_eq!(
                open.to_str(),
                Some("/dev/null"),
                "something was closed that is not the lock's"
            );
        }
        assert!(forked(|| {
            assert_contended(&backend, "of the daemon");
            assert_contended(&backend, "k");
        }));
    }));
    let (k, l, own) = held.take().unwrap();
    own.release().unwrap();
    k.release().unwrap();
    l.release().unwrap();
}

#[expect(unsafe_code, reason = "it closes what objects of this program refer to, as daemons do")]
fn rustix_close_from(first: u32) {
    // SAFETY: of a forked child, which uses none of them.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }, 0);
}

fn what_the_parent_waits_for_is_the_parents(files: &FileBackend) {
    let backend = files.clone().into_backend();
    let other = FileBackend::new(files.directory()).unwrap().into_backend();
    let held = take(&other, "k");
    let mut waiting = Box::pin(backend.named("k").acquire_async());
    let mut behind = Box::pin(backend.named("k").acquire_async());
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(behind.as_mut().poll(&mut cx).is_pending());
    }
    let child = |poll: bool| {
        move |(mut waiting, behind): (std::pin::Pin<Box<locks_core::Acquire<'_>>>, _)| {
            if poll {
                let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                let Poll::Ready(Err(error)) = polled else { panic!("{polled:?}") };
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                assert!(error.to_string().contains("begin it again"), "{error}");
            }
            drop(waiting);
            drop::<std::pin::Pin<Box<locks_core::Acquire<'_>>>>(behind);
        }
    };
    for poll in [false, true] {
        let mut taken = Some((waiting, behind));
        assert!(forked(|| {
            child(poll)(taken.take().unwrap());
            assert_contended(&backend, "k");
            drop(take(&backend, "free"));
        }));
        (waiting, behind) = taken.unwrap();
    }
    held.release().unwrap();
    let guard = Op::later(waiting).block().unwrap();
    guard.release().unwrap();
    Op::later(behind).block().unwrap().release().unwrap();
}

fn a_worker_is_locked_in(files: &FileBackend) {
    let backend = files.clone().into_backend();
    let _held = take(&backend, "k");
    let jail = std::env::temp_dir().join(format!("locks-file-jail-{}", std::process::id()));
    fs::create_dir_all(&jail).unwrap();
    let worked = forked(|| {
        std::os::unix::fs::chroot(&jail).unwrap();
        assert_contended(&backend, "k");
        let own = take(&backend, "of the worker");
        own.check().unwrap();
        assert!(forked(|| assert_contended(&backend, "of the worker")));
    });
    assert_eq!(fs::read_dir(&jail).unwrap().count(), 0);
    fs::remove_dir(&jail).unwrap();
    assert!(worked);
}

fn files_of_ones_own(files: &FileBackend) {
    let file = files.directory().join("data");
    fs::write(&file, "kept").unwrap();
    let lock = || locks_file::lock_path(&file).within(files);
    let is_free = || {
        let opened = File::open(&file).unwrap();
        fs4::FileExt::try_lock(&opened).is_ok()
    };
    let mut guard = Some(lock().acquire().unwrap());
    assert!(forked(|| {
        let mut guard = guard.take().unwrap();
        assert!(guard.check().unwrap_err().is_lost());
        assert_eq!(io::read_to_string(&mut guard).unwrap(), "kept", "it is open all the same");
        assert!(guard.replace(b"of the child").is_err());
        assert!(guard.release().unwrap_err().is_lost());
        assert!(!is_free(), "the parent's lock is gone");
        assert!(lock().wait(false).acquire().unwrap_err().is_contended());
    }));
    assert!(!is_free(), "the parent's lock is gone");
    guard.as_ref().unwrap().check().unwrap();
    drop(guard);
    assert!(forked(|| {
        let guard = lock().acquire().unwrap();
        guard.check().unwrap();
        assert!(!is_free());
        guard.release().unwrap();
        assert!(is_free());
    }));
}

/// A wait for another user of `flock`, that of the parent has what our users meet by.
fn a_file_that_the_parent_waits_for(files: &FileBackend) {
    let file = files.directory().join("data");
    fs::write(&file, "kept").unwrap();
    let lock = || locks_file::lock_path(&file).within(files);
    let foreign = File::open(&file).unwrap();
    fs4::FileExt::lock(&foreign).unwrap();
    let mut waiting = Some(Box::pin(lock().acquire_async()));
    let mut cx = Context::from_waker(Waker::noop());
    let listed = Backend::new(files.clone());
    while listed.list().unwrap().iter().all(|lock| lock.holders.is_empty()) {
        assert!(waiting.as_mut().unwrap().as_mut().poll(&mut cx).is_pending());
        thread::yield_now();
    }
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(forked(|| {
        // By the numbers of what was closed here, perhaps.
        let files_of_its_own = Vec::from_iter((0..descriptors).map(|_| File::open(&file).unwrap()));
        fs4::FileExt::unlock(&foreign).unwrap();
        let mut waiting = waiting.take().unwrap();
        // Until it looks at the file again.
        let start = Instant::now();
        let error = loop {
            match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => break outcome.unwrap_err(),
                Poll::Pending => assert!(start.elapsed() < PATIENCE, "it hangs"),
            }
            thread::park_timeout(Duration::from_millis(5));
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("begin it again"), "{error}");
        drop(waiting);
        let free = File::open(&file).unwrap();
        fs4::FileExt::try_lock(&free).expect("nothing of the child's has locked it");
        for file in files_of_its_own {
            file.metadata().expect("it is open");
        }
    }));
    let guard = Op::later(waiting.take().unwrap()).block().unwrap();
    guard.release().unwrap();
}

#[test]
fn row_36_guards_of_the_parent_are_lost_in_the_child() {
    play("lost");
}

#[test]
fn row_36_the_child_acquires_anew() {
    play("anew");
}

#[test]
fn row_36_limits_of_the_child_hold() {
    play("limits");
}

#[test]
fn row_36_a_child_of_a_busy_parent_does_not_hang() {
    play("busy");
}

#[test]
fn row_36_a_daemon_closes_nothing_but_locks() {
    play("daemon");
}

#[test]
fn row_36_what_the_parent_waits_for_is_the_parents() {
    play("pending");
}

#[test]
fn row_36_a_worker_in_another_root_acquires() {
    play("chroot");
}

#[test]
fn row_36_files_of_ones_own() {
    play("path");
}

#[test]
fn row_36_a_file_that_the_parent_waits_for_is_waited_for_by_the_parent() {
    play("path pending");
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
