//! Before the command: the wait for the lock, which signals can end.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use locks::backend::Exclusion;
use locks::{LockError, ProcessInfo, Wait};
use rustix::process::Signal;

use super::events::{Event, Events};
use super::held::CommandHold;
use super::{caller, handed, lease, signals};
use crate::args::LockArgs;
use crate::backend_choice::Opened;
use crate::status::{Failure, Status, say};

/// How long a wait lasts before a look at who is in the way is worth it.
const SOON: Duration = Duration::from_millis(20);

/// What came of asking for a lock.
pub(crate) enum Outcome {
    Held(CommandHold),
    /// Somebody else has it, or a signal has ended the wait: how this process is to end.
    Not(Status),
}

/// Waits for the lock for as long as was asked; `party` is who is going to hold it.
///
/// # Errors
/// Whatever is wrong, but for a conflict.
pub(crate) fn acquire(
    asked: &LockArgs,
    party: ProcessInfo,
    events: &Events,
) -> Result<Outcome, Failure> {
    acquire_at(&asked.backend.open(&party)?, asked, party, events)
}

/// The same, at this backend.
///
/// # Errors
/// As [`acquire`].
pub(crate) fn acquire_at(
    at: &Opened,
    asked: &LockArgs,
    party: ProcessInfo,
    events: &Events,
) -> Result<Outcome, Failure> {
    if !asked.quiet {
        for key in &asked.like_options {
            say(format_args!(
                "`{key}` is a key here, since it comes after one: options go before the keys, and a key \
                 that is meant to look like one is better given by `--key`"
            ));
        }
    }
    let about = at.backend.about();
    if asked.kill_after.is_some()
        && asked.options.hold_at_most.is_none()
        && about.capabilities.exclusion == Exclusion::Kernel
    {
        return Err(Failure::new(format!(
            "`--kill-after` has no end to count from: `{}` keeps a lock for as long as its holder runs; say \
             `--hold-at-most` as well, or leave it out",
            about.name
        )));
    }
    if asked.hand_over && !about.capabilities.shared_owner {
        return Err(Failure::new(format!(
            "`--hand-over` needs a server that knows one holder in several processes, which `{}` is not: say \
             `--backend net:` or name a `locks serve`, or leave it out",
            about.name
        )));
    }
    match wait(at, asked, party, events) {
        Ok(Waited::Granted(held)) => {
            lease::check(&held, asked.kill_after)?;
            Ok(Outcome::Held(held))
        }
        Ok(Waited::Ended(signal)) => Ok(Outcome::Not(Status::Signalled(signal.as_raw()))),
        Err(error) if error.is_contended() => {
            if !asked.quiet {
                say(&error);
            }
            Ok(Outcome::Not(Status::Conflict(asked.conflict)))
        }
        Err(error) => Err(error.into()),
    }
}

/// How a wait ended.
enum Waited {
    Granted(CommandHold),
    /// By a signal; the place in the queue is given up.
    Ended(Signal),
}

fn wait(
    at: &Opened,
    asked: &LockArgs,
    party: ProcessInfo,
    events: &Events,
) -> Result<Waited, LockError> {
    let backend = &at.backend;
    let is_on_its_own = Cell::new(false);
    let mut acquisition = pin!(handed::acquire(at, asked, party, &is_on_its_own));
    let mut look = pin!(caller::is_not_in_the_way(backend, asked));
    // Who does not wait has a conflict, and no more.
    let waits = asked.options.wait != Some(Wait::Try);
    let (mut look_at, mut looking) = (Some(Instant::now() + SOON), waits);
    loop {
        if let Poll::Ready(outcome) = acquisition.as_mut().poll(&mut events.context()) {
            return outcome.map(Waited::Granted);
        }
        if look_at.is_some_and(|at| at <= Instant::now()) {
            look_at = None;
        }
        // What it enters is meant to be around it.
        if looking
            && is_on_its_own.get()
            && look_at.is_none()
            && let Poll::Ready(outcome) = look.as_mut().poll(&mut events.context())
        {
            outcome?;
            looking = false;
        }
        // Dropping the acquisition withdraws it (C5).
        match events.next(look_at) {
            Event::Signal(signal) if signals::ends_waiting(signal) => {
                return Ok(Waited::Ended(signal));
            }
            Event::Gone | Event::Unheard => return Ok(Waited::Ended(Signal::HUP)),
            Event::Signal(Signal::TSTP) => signals::stop_myself(),
            // Of the others there is nobody yet whom they could concern.
            Event::Signal(_) | Event::Look => {}
        }
    }
}
