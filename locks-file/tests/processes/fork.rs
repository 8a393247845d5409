//! Children that are forked without `exec`: in the tests of the file backend and of the lock
//! server.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Forks a child that runs `child` and ends, and returns its number.
#[expect(unsafe_code, reason = "the one way to run anything in a forked child")]
pub(crate) fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child does more than is guaranteed to work in a process of several threads, which
    // is what is to be tested; it does not return.
    unsafe {
        match libc::fork() {
            0 => {
                // Should it hang, it does not stay.
                libc::alarm(40);
                let outcome = catch_unwind(AssertUnwindSafe(child));
                libc::_exit(i32::from(outcome.is_err()))
            }
            pid => pid,
        }
    }
}

/// Waits for a forked child and returns whether it ended well.
#[expect(unsafe_code, reason = "a child that was forked is no `Child`")]
pub(crate) fn wait_for(pid: libc::pid_t) -> bool {
    let mut status = -1;
    // SAFETY: `status` is a place to write to.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status == 0
}

/// Lets this forked child end with the thread that forked it, in the process `parent`.
#[expect(unsafe_code, reason = "the standard library has no name for it")]
pub(crate) fn end_with(parent: u32) {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if std::os::unix::process::parent_id() != parent {
        // It had ended before that was said. SAFETY: it does not return.
        unsafe { libc::_exit(0) };
    }
}
