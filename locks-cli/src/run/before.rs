//! What happens in the child before it becomes the command.
//!
//! Between fork and exec hardly anything may be done safely. So the child is this program once
//! more, which does what is to be done there as any program would, and then becomes the command.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, getpgrp, getpid, getppid, kill_process};

use super::terminal::{self, Terminal};
use crate::inherited::Blocked;
use crate::status::{Status, say};

/// The first argument of a child that is to become the command given by the rest.
const COMMAND: &str = "__command";
/// The first argument of a child that is to give the terminal to a group.
const TERMINAL: &str = "__terminal";

/// This program, to become the command that is added as arguments, with these signals blocked: in the foreground,
/// or where it is; at once, or only when it has stopped and is continued.
pub(super) fn command(foreground: bool, stops: bool, blocked: &Blocked) -> io::Result<Command> {
    let mut myself = myself()?;
    let parent = getpid().as_raw_nonzero().to_string();
    myself.arg(COMMAND).args([&parent, &blocked.to_string()]);
    myself.arg(if foreground { "foreground" } else { "background" });
    myself.arg(if stops { "stops" } else { "begins" });
    Ok(myself)
}

/// This program, to give the terminal to `group`.
pub(super) fn giver(group: Pid) -> io::Result<Command> {
    let mut myself = myself()?;
    myself.arg(TERMINAL).arg(group.as_raw_nonzero().to_string());
    Ok(myself)
}

/// Does what a child is to do, if `first` says that this process is one.
pub(crate) fn within(first: &OsStr, rest: impl Iterator<Item = OsString>) -> Option<Status> {
    let mut rest = rest;
    if first == COMMAND {
        let (parent, blocked) = (number(rest.next())?, rest.next()?.to_str()?.parse().ok()?);
        let (place, first) = (rest.next()?, rest.next()?);
        if first == "stops" {
            let _ = kill_process(getpid(), Signal::STOP);
        }
        Some(become_command(parent, place == "foreground", &blocked, rest))
    } else if first == TERMINAL {
        Some(terminal::give(number(rest.next())?))
    } else {
        None
    }
}

fn become_command(
    parent: Pid,
    foreground: bool,
    blocked: &Blocked,
    mut words: impl Iterator<Item = OsString>,
) -> Status {
    die_with_parent();
    if getppid() != Some(parent) {
        // It died before it could be noticed, and the lock with it.
        return Status::Failed;
    }
    if foreground && !Terminal::open().is_some_and(|terminal| terminal.is_with(getpgrp())) {
        // Stops until the parent has seen to that, as it does for a command that wants to read.
        let _ = kill_process(getpid(), Signal::TTIN);
    }
    let name = words.next().unwrap_or_default();
    blocked.apply();
    let error = Command::new(&name).args(words).exec();
    say(format_args!("cannot run `{}`: {error}", name.display()));
    match error.kind() {
        io::ErrorKind::NotFound => Status::NotFound,
        _ => Status::NotExecutable,
    }
}

#[cfg(target_os = "linux")]
fn die_with_parent() {
    // It cannot fail: the signal is one.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// Elsewhere nobody tells of it.
#[cfg(not(target_os = "linux"))]
fn die_with_parent() {}

fn number(word: Option<OsString>) -> Option<Pid> {
    Pid::from_raw(word?.to_str()?.parse().ok()?)
}

/// This very program, also if another has been installed in its place meanwhile.
fn myself() -> io::Result<Command> {
    let by_kernel = std::path::Path::new("/proc/self/exe");
    let mut command = match by_kernel.exists() {
        true => Command::new(by_kernel),
        false => Command::new(std::env::current_exe()?),
    };
    command.arg0("locks");
    Ok(command)
}
