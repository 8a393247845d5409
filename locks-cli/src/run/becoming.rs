//! What happens in the child before it becomes the command.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, getpgrp, getpid, getppid, kill_process};

use super::terminal::Terminal;
use crate::inherited::Blocked;
use crate::status::{Status, say};

/// Becomes the command that `words` are, as a child of `parent`; see [`crate::reexec::command`].
pub(crate) fn become_command(
    parent: Pid,
    foreground: bool,
    stops: bool,
    blocked: &Blocked,
    mut words: impl Iterator<Item = OsString>,
) -> Status {
    die_with_parent();
    if getppid() != Some(parent) {
        // It died before it could be noticed, and the lock with it.
        return Status::Failed;
    }
    if stops {
        let _ = kill_process(getpid(), Signal::STOP);
    }
    if foreground && !Terminal::open().is_some_and(|terminal| terminal.is_with(getpgrp())) {
        // Stops until the parent has seen to that, as it does for a command that wants to read.
        let _ = kill_process(getpid(), Signal::TTIN);
    }
    let name = words.next().unwrap_or_default();
    blocked.apply();
    could_not_run(&name, &Command::new(&name).args(words).exec())
}

/// Says why a command could not be executed.
pub(super) fn could_not_run(name: &OsStr, error: &io::Error) -> Status {
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
