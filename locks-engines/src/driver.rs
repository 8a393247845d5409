//! The thread on which the clients of servers run.
//!
//! They want a runtime of tokio's. That of the caller will not do: there may be none, and a thread
//! that blocks on a lock inside a runtime of one thread would wait for a client that nothing polls.

use std::future::Future;
use std::io;
use std::sync::mpsc;

use locks_core::fork::PerProcess;
use locks_core::thread;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The driver of each process; its thread ends with the process, and a forked child has one of its
/// own.
static DRIVER: PerProcess<Handle> = PerProcess::new();

/// Carries `step` out on the driver, in the order of these calls as far as their first suspension.
/// Returns its output, or `None` if it panicked.
///
/// # Cancel safety
/// The step goes on if the future is dropped.
///
/// # Errors
/// What keeps the thread or its runtime from being started.
pub(crate) fn run<T: Send + 'static>(
    step: impl Future<Output = T> + Send + 'static,
) -> io::Result<impl Future<Output = Option<T>> + Send + 'static> {
    let (sender, receiver) = oneshot::channel();
    let step = async move {
        // Whether it is still waited for makes no difference to the step.
        let _ = sender.send(step.await);
    };
    // Of two threads that start one at a time, one starts a driver that nothing is sent to.
    drop(DRIVER.get_or_try_init(start)?.spawn(step));
    Ok(async move { receiver.await.ok() })
}

fn start() -> io::Result<Handle> {
    let (sender, receiver) = mpsc::channel();
    thread::start("locks-engine", 2 << 20, move || {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(sender.send(Err(error))),
        };
        if sender.send(Ok(runtime.handle().clone())).is_ok() {
            runtime.block_on(std::future::pending::<()>());
        }
    })?;
    receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread of the clients ended")))
}
