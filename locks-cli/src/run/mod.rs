//! `locks run`: a command under a lock.

mod before;
mod child;
mod events;
mod jobs;
mod schedule;
mod signals;
mod terminal;
mod waiting;
mod watch;

use std::ffi::{OsStr, OsString};
use std::time::Instant;

use locks::OwnedGuard;

use self::child::{Child, Ended};
use self::events::Events;
use self::schedule::Schedule;
use self::terminal::Terminal;
use self::waiting::Waited;
use self::watch::{Cut, Watch};
use crate::args::RunArgs;
use crate::status::{Failure, Status, say};

pub(crate) use self::before::within;

/// Runs the command that is asked for, while its lock is held.
pub(crate) fn run(asked: RunArgs) -> Result<Status, Failure> {
    let backend = asked.place.open()?;
    let events = Events::new();
    signals::listen(&events).map_err(|error| Failure::during("signals", error))?;
    let guard = match waiting::acquire(&backend, &asked, &events) {
        Ok(Waited::Granted(guard)) => guard,
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
    guard.check()?;
    let environment = environment(&asked.keys, &guard);
    let mut terminal = Terminal::open();
    let foreground = terminal.as_ref().is_some_and(Terminal::is_all_ours);
    let mut child = Child::start(&asked.command, environment, foreground)
        .map_err(|error| Failure::during("the command could not be started", error))?;
    let mut watch = Watch::new(&guard, &events, schedule);
    let ended = watch.until_it_ends(&mut child, terminal.as_mut());
    let cut = watch.into_cut();
    let ended = ended.map_err(|error| Failure::during("the command cannot be watched", error))?;
    Ok(conclude(&asked, guard, ended, cut))
}

/// What the command finds in its environment.
fn environment(keys: &[String], guard: &OwnedGuard) -> [(&'static str, OsString); 2] {
    // A newline is the one separator that hardly any key has in it.
    let keys = OsString::from(keys.join("\n"));
    [("LOCKS_KEY", keys), ("LOCKS_TOKEN", OsString::from(guard.token().to_string()))]
}

/// Releases the lock, and says what went wrong with it meanwhile.
fn conclude(asked: &RunArgs, guard: OwnedGuard, ended: Ended, cut: Option<Cut>) -> Status {
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
    match guard.release() {
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
