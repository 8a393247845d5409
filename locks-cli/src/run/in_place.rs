//! `locks run --no-fork`: the command takes the place of this process, and the lock with it.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::becoming::could_not_run;
use super::{environment, party};
use crate::args::RunArgs;
use crate::holding::{self, Events, Outcome};
use crate::inherited::Inherited;
use crate::status::{Failure, Status};

/// Becomes the command, once the lock is held.
///
/// No process is left then to renew the lock, to notice its loss, or to end the command in time. So
/// this takes only a lock that the kernel keeps while the process has its file open, and that
/// nothing else ends.
pub(super) fn run(asked: &RunArgs, inherited: &Inherited) -> Result<Status, Failure> {
    let options = &asked.lock.options;
    let needs_keeper = [
        ("--hold-at-least", options.hold_at_least.is_some()),
        ("--hold-at-most", options.hold_at_most.is_some()),
        ("--lease", options.lease.is_some()),
    ];
    if let Some((option, _)) = needs_keeper.iter().find(|(_, is_given)| *is_given) {
        return Err(Failure::new(format!(
            "`--no-fork` cannot do `{option}`: nobody is left to see to it once the command runs; leave out \
             one of the two"
        )));
    }
    let (at, files) = asked.lock.backend.open_to_keep()?;
    let events = Events::new();
    let listening =
        holding::listen(&events, inherited).map_err(|error| Failure::during("signals", error))?;
    let held = match holding::acquire_at(&at, &asked.lock, party(asked), &events)? {
        Outcome::Held(held) => held,
        Outcome::Not(status) => return Ok(status),
    };
    locks::keep_across_exec(&files, held.token())?;
    // What comes from here on waits for the command, or ends this process before there is one.
    if let Some(signal) = listening.end_with_wait(&events) {
        return Ok(Status::Signalled(signal.as_raw()));
    }
    let (name, arguments) = asked.command.split_first().expect("it is not empty");
    inherited.blocked().apply();
    let mut command = Command::new(name);
    let error = command.args(arguments).envs(environment(&asked.lock.keys, &held)).exec();
    Ok(could_not_run(name, &error))
}
