//! `locks run`: a command under a lock.

mod becoming;
mod child;
mod in_place;
mod jobs;
mod terminal;
mod watch;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Instant;

use locks::{ProcessInfo, SharedOwner};

use self::child::{Child, Ended};
use self::jobs::Job;
use self::watch::{CommandWatch, Cut};
use crate::args::RunArgs;
use crate::holding::{self, CommandHold, Events, Outcome, Schedule};
use crate::inherited::Inherited;
use crate::status::{Failure, Status, say};

pub(crate) use self::becoming::become_command;
pub(crate) use self::terminal::give as give_terminal;

/// Runs the command that is asked for, while its lock is held.
pub(crate) fn run(asked: RunArgs, inherited: &Inherited) -> Result<Status, Failure> {
    if asked.no_fork {
        return in_place::run(&asked, inherited);
    }
    let events = Events::new();
    let listen =
        || holding::listen(&events, inherited).map_err(|error| Failure::during("signals", error));
    let listening = listen()?;
    let held = match holding::acquire(&asked.lock, party(&asked), &events)? {
        Outcome::Held(held) => held,
        Outcome::Not(status) => return Ok(status),
    };
    let schedule =
        Schedule::new(Instant::now(), asked.lock.options.hold_at_most, asked.lock.kill_after);
    // What comes from here on is for the command.
    if let Some(signal) = listening.end_with_wait(&events) {
        return Ok(Status::Signalled(signal.as_raw()));
    }
    listen()?;
    // Whoever was stopped between the grant and here may have lost it already.
    if let Err(error) = held.check() {
        say(format_args!("{error}, before the command was started"));
        return Ok(Status::Lost);
    }
    let environment = environment(&asked.lock.keys, &held);
    let mut job = Job::open();
    let foreground = job.as_mut().is_some_and(|job| job.terminal().is_all_ours());
    let mut child = Child::start(&asked.command, environment, foreground, inherited)
        .map_err(|error| Failure::during("the command could not be started", error))?;
    let mut watch = CommandWatch::new(&held, &events, schedule, asked.lock.kill_after);
    let ended = watch.until_it_ends(&mut child, job.as_mut());
    let cut = watch.into_cut();
    let ended = ended.map_err(|error| {
        child.kill();
        Failure::during("the command cannot be watched, and was killed", error)
    })?;
    Ok(conclude(&asked, held, ended, cut))
}

/// Who is going to hold it, in lists and errors: the command. The process is this one, which passes
/// signals on.
fn party(asked: &RunArgs) -> ProcessInfo {
    let command = asked.command.first().map(Path::new).and_then(Path::file_name);
    let mut party = ProcessInfo::default();
    party.label.clone_from(&asked.lock.label);
    party.process = command.map(|name| name.to_string_lossy().into_owned());
    party
}

/// What the command finds in its environment.
fn environment(keys: &[String], held: &CommandHold) -> Vec<(&'static str, OsString)> {
    let within = holding::within(keys, held.token());
    // A newline is the one separator that hardly any key has in it.
    let keys = keys.join("\n");
    let token = held.token().to_string();
    let owner = held.owner().map(|owner| (SharedOwner::ENV, owner.to_string().into()));
    let said = [
        ("LOCKS_KEY", keys.into()),
        ("LOCKS_TOKEN", token.into()),
        (holding::WITHIN, within.into()),
    ];
    said.into_iter().chain(owner).collect()
}

/// Releases the lock, unless it is lost, and says what went wrong with it meanwhile.
fn conclude(asked: &RunArgs, held: CommandHold, ended: Ended, cut: Option<Cut>) -> Status {
    let name = asked.command.first().map_or(OsStr::new(""), OsString::as_os_str).display();
    match cut {
        Some(Cut::Lost(error)) => {
            say(format_args!("{error}; `{name}` was killed"));
            return Status::Lost;
        }
        Some(Cut::TimeIsUp) => {
            let key = asked.lock.keys.join("`, `");
            say(format_args!("`{key}`: `--hold-at-most` is over, so `{name}` was ended"));
        }
        Some(Cut::LeaseEnds) => {
            let key = asked.lock.keys.join("`, `");
            say(format_args!(
                "`{key}`: the lock is about to be lost, since its lease cannot be renewed; `{name}` was ended"
            ));
        }
        None => {}
    }
    match held.release() {
        Err(error) if error.is_lost() && cut.is_none() => {
            say(format_args!("{error}, while `{name}` ran"));
            return Status::Lost;
        }
        // That its time is up is known, and that its server is away.
        Err(error) if !error.is_lost() && !matches!(cut, Some(Cut::LeaseEnds)) => say(error),
        _ => {}
    }
    match (cut, ended) {
        (Some(_), _) => Status::Lost,
        (None, Ended::Exited(code)) => Status::Exited(code),
        (None, Ended::Killed(signal)) => Status::Signalled(signal),
    }
}
