//! `locks run`: a command under a lock.

mod before;
mod child;
mod events;
mod held;
mod jobs;
mod schedule;
mod signals;
mod terminal;
mod waiting;
mod watch;

use std::ffi::{OsStr, OsString};
use std::time::Instant;

use self::child::{Child, Ended};
use self::events::Events;
use self::held::Held;
use self::jobs::Job;
use self::schedule::Schedule;
use self::waiting::Waited;
use self::watch::{Cut, Watch};
use crate::args::RunArgs;
use crate::inherited::Inherited;
use crate::status::{Failure, Status, say};

pub(crate) use self::before::within;

/// Runs the command that is asked for, while its lock is held.
pub(crate) fn run(asked: RunArgs, inherited: &Inherited) -> Result<Status, Failure> {
    // A server hears of processes, not of their requests, and this one is here for its command.
    let party = waiting::party(&asked);
    let name = party.label.or(party.process).unwrap_or_default();
    let events = Events::new();
    signals::listen(&events, inherited).map_err(|error| Failure::during("signals", error))?;
    let backend = asked.place.open(&name)?;
    let held = match waiting::acquire(&backend, &asked, &events) {
        Ok(Waited::Granted(held)) => held,
        Ok(Waited::Ended(signal)) => return Ok(Status::Signalled(signal.as_raw())),
        Err(error) if error.is_contended() => {
            if !asked.quiet {
                say(&error);
            }
            return Ok(Status::Conflict(asked.conflict));
        }
        Err(error) => return Err(error.into()),
    };
    let schedule = Schedule::new(Instant::now(), asked.options.hold_at_most, asked.kill_after);
    // Whoever was stopped between the grant and here may have lost it already.
    if let Err(error) = held.check() {
        say(format_args!("{error}, before the command was started"));
        return Ok(Status::Lost);
    }
    let environment = environment(&asked.keys, &held);
    let mut job = Job::open();
    let foreground = job.as_mut().is_some_and(|job| job.terminal().is_all_ours());
    let mut child = Child::start(&asked.command, environment, foreground, inherited)
        .map_err(|error| Failure::during("the command could not be started", error))?;
    let mut watch = Watch::new(&held, &events, schedule);
    let ended = watch.until_it_ends(&mut child, job.as_mut());
    let cut = watch.into_cut();
    let ended = ended.map_err(|error| {
        child.kill();
        Failure::during("the command cannot be watched, and was killed", error)
    })?;
    Ok(conclude(&asked, held, ended, cut))
}

/// What the command finds in its environment.
fn environment(keys: &[String], held: &Held) -> [(&'static str, OsString); 2] {
    // A newline is the one separator that hardly any key has in it.
    let keys = OsString::from(keys.join("\n"));
    [("LOCKS_KEY", keys), ("LOCKS_TOKEN", OsString::from(held.token().to_string()))]
}

/// Releases the lock, unless it is lost, and says what went wrong with it meanwhile.
fn conclude(asked: &RunArgs, held: Held, ended: Ended, cut: Option<Cut>) -> Status {
    let name = asked.command.first().map_or(OsStr::new(""), OsString::as_os_str).display();
    match cut {
        Some(Cut::Lost(error)) => {
            say(format_args!("{error}; `{name}` was killed"));
            return Status::Lost;
        }
        Some(Cut::TimeIsUp) => {
            let key = asked.keys.join("`, `");
            say(format_args!("`{key}`: `--hold-at-most` is over, so `{name}` was ended"));
        }
        None => {}
    }
    match held.release() {
        Err(error) if error.is_lost() && cut.is_none() => {
            say(format_args!("{error}, while `{name}` ran"));
            return Status::Lost;
        }
        // That its time is up is known.
        Err(error) if !error.is_lost() => say(error),
        _ => {}
    }
    match (cut, ended) {
        (Some(_), _) => Status::Lost,
        (None, Ended::Exited(code)) => Status::Exited(code),
        (None, Ended::Killed(signal)) => Status::Signalled(signal),
    }
}
