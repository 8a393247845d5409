use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// For how long a process may take for what takes it some milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the test of this name in a process of its own, which has one thread. Returns `true` there.
pub(crate) fn alone(test: &str) -> bool {
    const ALONE: &str = "LOCKS_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .stdin(Stdio::null())
        // To be ended with all that it has forked.
        .process_group(0)
        .spawn()
        .expect("the test starts");
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is a child") {
            assert!(status.success(), "`{test}`, alone: {status}");
            return false;
        }
        if begun.elapsed() > PATIENCE * 2 {
            // SAFETY: the group is that of a child which has not been waited for.
            unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
            child.wait().expect("it is a child");
            panic!("`{test}` does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Forks. The child runs `body` and ends; its panics and hangs are this process's.
pub(crate) fn fork(body: impl FnOnce()) -> Child {
    // SAFETY: the child runs `body`, which is what is tested, and then ends without coming back.
    fork_by(|| unsafe { libc::fork() }, body)
}

/// Forks as `fork` does it.
pub(crate) fn fork_by(fork: impl FnOnce() -> libc::pid_t, body: impl FnOnce()) -> Child {
    match fork() {
        0 => {
            let outcome = catch_unwind(AssertUnwindSafe(body));
            // SAFETY: nothing of the parent's is carried out at this end.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        pid => {
            assert!(pid > 0, "the system forks");
            Child(pid)
        }
    }
}

pub(crate) struct Child(libc::pid_t);

impl Child {
    /// Waits until it has ended well.
    pub(crate) fn join(self) {
        let begun = Instant::now();
        let mut status = 0;
        // SAFETY: `status` is to be written to, and the child is this process's.
        while unsafe { libc::waitpid(self.0, &mut status, libc::WNOHANG) } == 0 {
            if begun.elapsed() > PATIENCE {
                // SAFETY: as above.
                unsafe { libc::kill(self.0, libc::SIGKILL) };
                panic!("the forked child does not end");
            }
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(status, 0, "in the forked child");
    }
}

/// What a forked child writes for its parent.
pub(crate) fn told(body: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let (mut parent, mut child) = UnixStream::pair().expect("the system has sockets");
    let forked = fork(|| child.write_all(&body()).expect("the parent reads"));
    drop(child);
    let mut told = Vec::new();
    parent.read_to_end(&mut told).expect("the child writes");
    forked.join();
    told
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The simplest executor: no thread and no timer of its own.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A waker that unparks this thread.
pub(crate) fn unparker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}
