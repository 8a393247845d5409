//! What is played by the program, with a backend that was opened before it forks.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use std::{io, thread};

use locks_core::{Backend, ErrorKind, Guard, LockError, Op, OwnedGuard};
use locks_file::FileBackend;

use crate::directory::PATIENCE;
use crate::fork::{fork, wait_for};

pub(super) fn guards_of_the_parent_are_lost(files: &FileBackend) {
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

pub(super) fn the_child_acquires_anew(files: &FileBackend) {
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

pub(super) fn limits_of_the_child_hold(files: &FileBackend) {
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

pub(super) fn a_busy_parent_is_forked(files: &FileBackend) {
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

pub(super) fn a_daemon_closes_all_that_it_has_inherited(files: &FileBackend) {
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

pub(super) fn what_the_parent_waits_for_is_the_parents(files: &FileBackend) {
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

pub(super) fn a_worker_is_locked_in(files: &FileBackend) {
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

pub(super) fn files_of_ones_own(files: &FileBackend) {
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
pub(super) fn a_file_that_the_parent_waits_for(files: &FileBackend) {
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

#[expect(unsafe_code, reason = "it closes what objects of this program refer to, as daemons do")]
fn rustix_close_from(first: u32) {
    // SAFETY: of a forked child, which uses none of them.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }, 0);
}
