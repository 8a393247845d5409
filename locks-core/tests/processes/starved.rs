//! C2: a system that cannot start a thread is no reason to wait for ever.

use std::thread;
use std::time::Duration;

use locks_core::{Backend, Engine, ErrorKind, LostCause, Op};

use crate::support::{alone, run};

const SOON: Duration = Duration::from_millis(30);

/// Sets how many threads this process may have at most; `None`: as many as it can be allowed.
/// Returns `true` if that is more than one.
fn limit_threads(to: Option<libc::rlim_t>) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain calls, of a process that is there for this test only.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NPROC, &mut limit), 0);
        limit.rlim_cur = to.unwrap_or(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &limit), 0);
    }
    limit.rlim_cur != 1
}

/// From here on this process gets no thread. Root is exempt from limits, and so becomes another
/// user.
fn no_more_threads() {
    limit_threads(Some(1));
    // SAFETY: as above.
    unsafe {
        if libc::geteuid() == 0 {
            assert_eq!((libc::setgid(54_321), libc::setuid(54_321)), (0, 0));
        }
    }
    thread::Builder::new().spawn(|| ()).expect_err("there is a limit");
}

#[test]
fn c2_without_a_timer_thread_limits_thefts_and_bounds_come_due() {
    if !alone("starved::c2_without_a_timer_thread_limits_thefts_and_bounds_come_due") {
        return;
    }
    no_more_threads();
    let backend = Backend::new(Engine::new());
    let lock = || backend.named("k");
    let held = lock().acquire().unwrap().into_owned();
    let late = run(lock().wait(SOON).acquire_async().into_future()).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    assert!(late.waited() >= Some(SOON), "{late:?}");
    // Blocking, on a future that has nothing but an alarm to wake it.
    let late = Op::later(lock().wait(SOON).acquire_async().into_future()).block().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    assert_eq!(lock().wait(SOON).acquire().unwrap_err().kind(), ErrorKind::Timeout);
    let thief = run(lock().steal_after(SOON).acquire_async().into_future()).unwrap();
    assert!(held.is_lost());
    drop((held, thief));
    let bounded = lock().hold_at_most(SOON).acquire().unwrap().into_owned();
    assert_eq!(run(bounded.lost()), LostCause::HeldTooLong);
    drop(lock().hold_at_least(SOON).acquire().unwrap());
    drop(run(lock().acquire_async().into_future()).unwrap());
    std::mem::forget(lock().hold_at_most(SOON).acquire().unwrap().into_owned());
    drop(lock().acquire().unwrap());
}

/// The timer starts as soon as it can.
#[test]
fn c2_a_timer_that_could_not_start_starts_later() {
    if !alone("starved::c2_a_timer_that_could_not_start_starts_later") {
        return;
    }
    no_more_threads();
    let backend = Backend::new(Engine::new());
    let held = backend.named("k").acquire().unwrap();
    let wait = || run(backend.named("k").wait(SOON).acquire_async().into_future());
    assert_eq!(wait().unwrap_err().kind(), ErrorKind::Timeout);
    if !limit_threads(None) {
        // Whoever runs this may have no more himself.
        return;
    }
    assert_eq!(wait().unwrap_err().kind(), ErrorKind::Timeout);
    #[cfg(target_os = "linux")]
    {
        let named = |task: std::io::Result<std::fs::DirEntry>| {
            let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
            (name.trim() == "locks-timer").then_some(())
        };
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        assert_eq!(tasks.filter_map(named).count(), 1, "the timer runs");
    }
    drop(held);
}
