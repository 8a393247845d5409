//! C4: a forked child has its parent's memory, and neither its threads nor its locks.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, Engine, ErrorKind, LockError, LostCause, OwnedGuard, fork};

use crate::support::{self, alone, poll_once, run, told};

const SOON: Duration = Duration::from_millis(30);

fn memory() -> Backend {
    Backend::new(Engine::new())
}

type Waiting = Pin<Box<dyn Future<Output = Result<OwnedGuard, LockError>> + Send>>;

/// A wait that has been polled, with an alarm for its limit.
fn waiting(backend: &Backend, limit: Duration) -> (OwnedGuard, Waiting) {
    let held = backend.named("k").acquire().unwrap().into_owned();
    let mut wait: Waiting = Box::pin(backend.named("k").wait(limit).acquire_async().into_future());
    assert!(poll_once(&mut wait).is_pending());
    (held, wait)
}

#[test]
fn c4_the_generation_grows_with_each_fork() {
    if !alone("forks::c4_the_generation_grows_with_each_fork") {
        return;
    }
    let parent = fork::generation();
    let child = |generation: u64| {
        assert!(fork::generation() > generation);
        assert_eq!(fork::generation(), fork::generation());
    };
    support::fork(|| {
        child(parent);
        let own = fork::generation();
        support::fork(|| child(own)).join();
    })
    .join();
    assert_eq!(fork::generation(), parent);
    #[cfg(target_os = "linux")]
    {
        // As one who makes a container forks, by no function that the C library knows of.
        let flags = i64::from(libc::SIGCHLD);
        let none = 0_i64;
        // SAFETY: without flags it is a fork.
        let clone = || unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
        support::fork_by(|| clone() as libc::pid_t, || child(parent)).join();
    }
}

/// Two workers that reopen one store would claim with one id, and both be granted.
#[cfg(feature = "leases")]
#[test]
fn c4_no_acquisition_id_is_given_twice() {
    use std::collections::HashSet;

    use locks_core::AcquisitionId;

    if !alone("forks::c4_no_acquisition_id_is_given_twice") {
        return;
    }
    let ids = || Vec::from_iter((0..100).map(|_| AcquisitionId::unique().get()));
    let mut all = HashSet::<u128>::from_iter(ids());
    let mut given = all.len();
    for _ in 0..3 {
        let child = told(|| ids().iter().flat_map(|id| id.to_ne_bytes()).collect());
        all.extend(child.chunks(16).map(|id| u128::from_ne_bytes(id.try_into().unwrap())));
        all.extend(ids());
        given += 200;
    }
    assert_eq!(all.len(), given);
}

/// Limits, thefts and bounds come due in a child although no thread of its parent is there, and
/// whatever those were at.
#[test]
fn c4_time_goes_on_in_a_forked_child() {
    if !alone("forks::c4_time_goes_on_in_a_forked_child") {
        return;
    }
    static OVER: AtomicBool = AtomicBool::new(false);
    struct Over;

    impl Drop for Over {
        fn drop(&mut self) {
            OVER.store(true, Ordering::Relaxed);
        }
    }

    thread::scope(|threads| {
        let _over = Over;
        // The timer is at work, and its mutex is mostly locked.
        for _ in 0..3 {
            threads.spawn(|| {
                let busy = memory();
                let _held = busy.named("busy").acquire().unwrap();
                while !OVER.load(Ordering::Relaxed) {
                    let wait = busy.named("busy").wait(Duration::from_secs(60)).acquire_async();
                    let _ = poll_once(&mut Box::pin(wait.into_future()));
                }
            });
        }
        let inherited = [(); 20].map(|()| waiting(&memory(), Duration::from_secs(60)));
        let child = |wait: Waiting| {
            // What was under way in the parent is dropped without a look at its timer.
            drop(wait);
            let backend = memory();
            let _held = backend.named("k").acquire().unwrap();
            let late = run(backend.named("k").wait(SOON).acquire_async().into_future());
            assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
            let thief = run(backend.named("k").steal_after(SOON).acquire_async().into_future());
            drop(thief.unwrap());
            let bounded = backend.named("k").hold_at_most(SOON).acquire().unwrap().into_owned();
            assert_eq!(run(bounded.lost()), LostCause::HeldTooLong);
        };
        let forked = inherited.map(|(held, wait)| {
            let forked = support::fork(|| child(wait));
            drop(held);
            forked
        });
        forked.into_iter().for_each(support::Child::join);
    });
}

/// The task that polls it is the same, and so is its waker.
#[test]
fn c4_a_wait_that_was_polled_before_a_fork_ends_in_time_in_the_child() {
    if !alone("forks::c4_a_wait_that_was_polled_before_a_fork_ends_in_time_in_the_child") {
        return;
    }
    let waker = support::unparker();
    let mut cx = Context::from_waker(&waker);
    let backend = memory();
    let _held = backend.named("k").acquire().unwrap();
    let mut wait: Waiting = Box::pin(backend.named("k").wait(SOON).acquire_async().into_future());
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    support::fork(|| {
        let mut polled = wait.as_mut().poll(&mut cx);
        if polled.is_pending() {
            // Until it is woken.
            thread::park();
            polled = wait.as_mut().poll(&mut cx);
        }
        let Poll::Ready(Err(error)) = polled else { panic!("it is late") };
        assert_eq!(error.kind(), ErrorKind::Timeout);
    })
    .join();
}

/// Children come while all that a process has for itself (its timer, its names, its parked threads)
/// is in use, and have their own, for `LOCKS_TORTURE_SECONDS` (3 unless it says otherwise).
#[test]
fn c4_children_that_are_forked_in_a_throng_have_locks_of_their_own() {
    if !alone("forks::c4_children_that_are_forked_in_a_throng_have_locks_of_their_own") {
        return;
    }
    let seconds = std::env::var("LOCKS_TORTURE_SECONDS").map_or(3, |it| it.parse().unwrap());
    let (over, busy) = (&AtomicBool::new(false), &Throng::new());
    let (begun, mut children) = (Instant::now(), 0);
    thread::scope(|threads| {
        for number in 0..6 {
            threads.spawn(move || {
                (number..)
                    .take_while(|_| !over.load(Ordering::Relaxed))
                    .for_each(|it| busy.turn(it));
            });
        }
        while begun.elapsed() < Duration::from_secs(seconds) {
            let forked = [(); 4].map(|()| {
                support::fork(|| {
                    let own = &Throng::new();
                    thread::scope(|threads| {
                        for number in 0..4 {
                            threads
                                .spawn(move || (number..number + 40).for_each(|it| own.turn(it)));
                        }
                    });
                    assert_eq!(own.engine.live_keys(), 0, "C13");
                })
            });
            children += forked.map(support::Child::join).len();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(children >= 4, "{children}");
}

/// An engine, and the number of holders of the key that is never stolen.
struct Throng {
    engine: Engine,
    backend: Backend,
    inside: AtomicU32,
}

impl Throng {
    fn new() -> Self {
        let engine = Engine::new();
        Self { backend: Backend::new(engine.clone()), engine, inside: AtomicU32::new(0) }
    }

    /// Locks in one of several ways.
    fn turn(&self, number: u32) {
        const SHORT: Duration = Duration::from_micros(300);
        let (strict, loose) = (|| self.backend.named("strict"), || self.backend.named("loose"));
        let guard = match number % 6 {
            0 => strict().acquire().map(locks_core::Guard::into_owned),
            1 => strict().wait(SHORT).acquire().map(locks_core::Guard::into_owned),
            2 => run(strict().acquire_async().into_future()),
            3 => run(strict().wait(SHORT).acquire_async().into_future()),
            4 => {
                return drop(
                    run(loose().steal_after(SHORT).acquire_async().into_future()).unwrap(),
                );
            }
            _ => return drop(loose().shared().hold_at_most(SHORT).acquire().unwrap()),
        };
        match guard {
            Ok(guard) => {
                assert_eq!(self.inside.fetch_add(1, Ordering::Relaxed), 0, "C1");
                thread::yield_now();
                self.inside.fetch_sub(1, Ordering::Relaxed);
                drop(guard);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout),
        }
    }
}

/// A wait that the child goes on with has its alarms with its parent's timer.
#[test]
fn c4_a_wait_that_is_gone_on_with_ends_in_the_child() {
    if !alone("forks::c4_a_wait_that_is_gone_on_with_ends_in_the_child") {
        return;
    }
    let backend = memory();
    let (_held, wait) = waiting(&backend, SOON);
    let bounded = backend.named("bounded").hold_at_most(SOON * 10).acquire().unwrap();
    support::fork(|| {
        assert_eq!(run(wait).unwrap_err().kind(), ErrorKind::Timeout);
        drop(run(backend.named("bounded").acquire_async().into_future()).unwrap());
    })
    .join();
    drop(bounded);
}

/// A child starts the threads that it needs although others of its parent were about to start or to
/// end: for that the standard library has a mutex.
#[test]
fn c4_a_child_starts_threads_while_those_of_its_parent_come_and_go() {
    if !alone("forks::c4_a_child_starts_threads_while_those_of_its_parent_come_and_go") {
        return;
    }
    const FORKS: usize = 300;
    static OVER: AtomicBool = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                while !OVER.load(Ordering::Relaxed) {
                    thread::spawn(|| ()).join().unwrap();
                }
            });
        }
        for _ in 0..FORKS {
            support::fork(|| {
                let backend = memory();
                let _held = backend.named("k").acquire().unwrap();
                let wait = Duration::from_millis(1);
                // The alarm for its limit is a thread's.
                let late = run(backend.named("k").wait(wait).acquire_async().into_future());
                assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
            })
            .join();
        }
        OVER.store(true, Ordering::Relaxed);
    });
}
