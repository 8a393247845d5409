//! Before the command: the wait for the lock, which signals can end.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use locks::{Backend, LockError, OwnedGuard};
use rustix::process::Signal;

use super::events::{Event, Events};
use super::{jobs, signals};
use crate::args::RunArgs;

/// How a wait ended.
pub(super) enum Waited {
    Granted(OwnedGuard),
    /// By a signal; the place in the queue is given up.
    Ended(Signal),
}

/// Waits for the lock for as long as was asked.
///
/// # Errors
/// Those of the acquisition.
pub(super) fn acquire(
    backend: &Backend,
    asked: &RunArgs,
    events: &Events,
) -> Result<Waited, LockError> {
    let builder = match asked.keys.as_slice() {
        [key] => backend.named(key.as_str()),
        keys => backend.all(keys),
    };
    let mut acquisition = pin!(builder.options(asked.options).acquire_async());
    loop {
        if let Poll::Ready(outcome) = acquisition.as_mut().poll(&mut events.context()) {
            return outcome.map(Waited::Granted);
        }
        // Dropping the acquisition withdraws it (C5).
        match events.next(None) {
            Event::Signal(signal) if signals::ends_waiting(signal) => {
                return Ok(Waited::Ended(signal));
            }
            Event::Signal(Signal::TSTP) => jobs::stop_myself(),
            // Of the others there is nobody yet whom they could concern.
            Event::Signal(_) | Event::Look => {}
        }
    }
}
