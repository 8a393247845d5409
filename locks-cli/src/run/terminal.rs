//! The terminal, which one process group at a time can read from.

use std::fs::File;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use rustix::process::{Pid, getpgrp, getpid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

use crate::reexec;
use crate::status::Status;

/// The terminal that this process belongs to.
pub(super) struct Terminal {
    device: File,
    /// How it was when the child's group was first given it.
    modes: Option<Termios>,
    /// Whether the child's group was given it, and nobody has taken it back yet.
    given: bool,
}

impl Terminal {
    /// `None` for those that have no terminal, such as what cron starts.
    pub(super) fn open() -> Option<Self> {
        let device = File::options().read(true).write(true).open("/dev/tty").ok()?;
        Some(Self { device, modes: None, given: false })
    }

    /// Whether this is the group that has it now.
    pub(super) fn is_with(&self, group: Pid) -> bool {
        tcgetpgrp(&self.device) == Ok(group)
    }

    /// Whether nobody but the child could want it: the job is this process alone. In a pipeline the
    /// others may, and in a script Ctrl-C is to reach the script too; there the command gets it
    /// when it asks, by reading.
    pub(super) fn is_all_ours(&self) -> bool {
        let plain = std::io::stdin().is_terminal()
            && std::io::stdout().is_terminal()
            && std::io::stderr().is_terminal();
        plain && getpgrp() == getpid() && self.is_with(getpgrp())
    }

    /// Gives it to the child's group if this group has it. Says whether that has it now.
    pub(super) fn give_to(&mut self, group: Pid) -> bool {
        if self.is_with(getpgrp()) {
            self.modes = self.modes.take().or_else(|| tcgetattr(&self.device).ok());
            self.given |= tcsetpgrp(&self.device, group).is_ok();
        }
        self.is_with(group)
    }

    /// Has it given back to this group, if the child's group was given it. Says whether it was.
    pub(super) fn take_back(&mut self) -> bool {
        let was_given = std::mem::take(&mut self.given);
        if was_given
            && let Ok(group) = tcgetpgrp(&self.device)
            && group != getpgrp()
        {
            let mut giver = reexec::giver(getpgrp());
            // Whoever takes the terminal from another group gets TTOU, which stops it. So one of
            // that group gives it. Where that fails, the shell takes it when this job is done.
            let _ = giver.process_group(group.as_raw_nonzero().get()).stdin(Stdio::null()).status();
        }
        was_given
    }

    /// Restores the terminal's modes from before the child had it, for a child that a signal has
    /// ended before it could. Shells do the same, but see only a status here.
    pub(super) fn restore(&self) {
        if let Some(modes) = &self.modes
            && self.is_with(getpgrp())
        {
            let _ = tcsetattr(&self.device, OptionalActions::Drain, modes);
        }
    }
}

/// Gives the terminal, which the group of this process has, to another.
pub(crate) fn give(group: Pid) -> Status {
    let given = Terminal::open().is_some_and(|terminal| tcsetpgrp(&terminal.device, group).is_ok());
    if given { Status::Done } else { Status::Failed }
}
