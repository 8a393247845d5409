//! Before the command: the wait for the lock, which signals can end.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use locks::{Backend, LockError, Party};
use rustix::process::Signal;

use super::events::{Event, Events};
use super::held::{Asked, Held};
use super::{jobs, signals};
use crate::args::RunArgs;

/// How a wait ended.
pub(super) enum Waited {
    Granted(Held),
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
    let wanted = Asked::new(&asked.keys, asked.options, party(asked));
    let mut acquisition = pin!(wanted.of(backend));
    loop {
        if let Poll::Ready(outcome) = acquisition.as_mut().poll(&mut events.context()) {
            return outcome.map(|granted| Waited::Granted(wanted.held(backend, granted)));
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

/// Who is going to hold it, in lists and errors: the command. The process is this one, which passes
/// signals on.
pub(super) fn party(asked: &RunArgs) -> Party {
    let command = asked.command.first().map(Path::new).and_then(Path::file_name);
    let mut party = Party::default();
    party.label.clone_from(&asked.label);
    party.process = command.map(|name| name.to_string_lossy().into_owned());
    party
}
