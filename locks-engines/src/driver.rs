//! The thread on which the clients of servers run.
//!
//! They want a runtime of tokio's. That of the caller will not do: there may be none, and a thread
//! that blocks on a lock inside a runtime of one thread would wait for a client that nothing polls.

use std::future::Future;
use std::io;
use std::pin::Pin;

use locks_core::fork::PerProcess;
use locks_core::thread;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

/// A step that is to be carried out.
type Step = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The driver of each process; its thread ends with the process, and a forked child has one of its
/// own.
///
/// Steps go through a channel, and are spawned by the thread itself: it is woken once for all that
/// come meanwhile, and a connection sends them together. Spawned from outside, each would cost a
/// system call to wake the thread, and one to send it.
static DRIVER: PerProcess<mpsc::UnboundedSender<Step>> = PerProcess::new();

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
    // What an async block awaits is in it twice, as it came and as it is polled: here as a pointer.
    let step = Box::pin(step);
    let step = async move {
        // Whether it is still waited for makes no difference to the step.
        let _ = sender.send(step.await);
    };
    // Of two threads that start one at a time, one starts a driver that nothing is sent to, which
    // ends. The other's ends with the process: what it does not get is answered by `None`.
    let _ = DRIVER.get_or_try_init(start)?.send(Box::pin(step));
    Ok(async move { receiver.await.ok() })
}

fn start() -> io::Result<mpsc::UnboundedSender<Step>> {
    let (started, outcome) = std::sync::mpsc::channel();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    thread::start("locks-engine", 2 << 20, move || {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        if started.send(Ok(())).is_ok() {
            runtime.block_on(async {
                while let Some(step) = receiver.recv().await {
                    drop(tokio::spawn(step));
                }
            });
        }
    })?;
    let ended = || Err(io::Error::other("the thread of the clients ended"));
    outcome.recv().unwrap_or_else(|_| ended()).map(|()| sender)
}
