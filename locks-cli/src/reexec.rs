//! This program, started once more for a part of its work.
//!
//! Between fork and exec hardly anything may be done safely. So a child that has to prepare itself
//! is this program once more, which does what is to be done as any program would. Its first
//! argument says what it is.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, getpid};

use crate::inherited::Blocked;
use crate::status::Status;
use crate::{hold, run};

/// A child that is to become the command given by the rest.
const COMMAND: &str = "__command";
/// A child that is to give the terminal to a group.
const TERMINAL: &str = "__terminal";
/// A child that is to hold a lock for another process.
pub(crate) const KEEPER: &str = "__hold-for";

/// To become the command that is added as arguments, with these signals blocked: in the foreground,
/// or where it is; at once, or only when it has stopped and is continued.
pub(crate) fn command(foreground: bool, stops: bool, blocked: &Blocked) -> Command {
    let mut myself = myself(COMMAND);
    myself.args([number_of(getpid()), blocked.to_string()]);
    myself.arg(if foreground { "foreground" } else { "background" });
    myself.arg(if stops { "stops" } else { "begins" });
    myself
}

/// To give the terminal to `group`.
pub(crate) fn giver(group: Pid) -> Command {
    let mut myself = myself(TERMINAL);
    myself.arg(number_of(group));
    myself
}

/// To hold a lock for process `pid`, as the arguments of a `locks hold` say.
pub(crate) fn keeper(pid: Pid, arguments: impl Iterator<Item = OsString>) -> Command {
    let mut myself = myself(KEEPER);
    myself.arg(number_of(pid)).args(arguments);
    myself
}

/// Does what a child is to do, if `first` says that this process is one.
pub(crate) fn within(first: &OsStr, rest: impl Iterator<Item = OsString>) -> Option<Status> {
    let mut rest = rest;
    if first == COMMAND {
        let (parent, blocked) = (number(rest.next())?, rest.next()?.to_str()?.parse().ok()?);
        let (place, beginning) = (rest.next()?, rest.next()?);
        let (foreground, stops) = (place == "foreground", beginning == "stops");
        Some(run::become_command(parent, foreground, stops, &blocked, rest))
    } else if first == TERMINAL {
        Some(run::give_terminal(number(rest.next())?))
    } else if first == KEEPER {
        Some(hold::keep(number(rest.next())?, rest))
    } else {
        None
    }
}

fn number(word: Option<OsString>) -> Option<Pid> {
    Pid::from_raw(word?.to_str()?.parse().ok()?)
}

fn number_of(pid: Pid) -> String {
    pid.as_raw_nonzero().to_string()
}

/// This very program, also if another has been installed in its place meanwhile.
fn myself(part: &str) -> Command {
    let by_kernel = Path::new("/proc/self/exe");
    let mut command = if by_kernel.exists() {
        Command::new(by_kernel)
    } else {
        // As it was executed, for the directory is still the same.
        Command::new(OsStr::from_bytes(rustix::param::linux_execfn().to_bytes()))
    };
    std::os::unix::process::CommandExt::arg0(&mut command, "locks").arg(part);
    command
}
