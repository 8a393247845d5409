//! The command as a child process, with a process group of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, test_kill_process_group,
    waitid,
};

use crate::holding::keep_children;
use crate::inherited::Inherited;
use crate::reexec;

/// A child that has been started. Its process group bears its number, and keeps it until the child
/// is reaped: so signals reach nobody else.
pub(super) struct Child {
    pid: Pid,
}

/// What became of a child since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Stopped(Signal),
    /// It has ended, and is to be reaped.
    Ended,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Exited(u8),
    Killed(i32),
}

impl Child {
    /// Starts `command`, which may find that it cannot be run: then it ends with the status for
    /// that. In the foreground, it begins once its group has the terminal. Signals are to it as
    /// they were `inherited`.
    pub(super) fn start(
        command: &[OsString],
        environment: impl IntoIterator<Item = (&'static str, OsString)>,
        foreground: bool,
        inherited: &Inherited,
    ) -> io::Result<Self> {
        // It has to be ignored while the child is started, so that it is to the child as well, and
        // must not be when the child ends, or nobody would hear how.
        let is_kept = !inherited.ignores(Signal::CHILD);
        let child = reexec::command(foreground, !is_kept, inherited.blocked())
            .args(command)
            .envs(environment)
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
        let child = Self { pid };
        if !is_kept {
            // It stops before it does anything.
            retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED))?;
            keep_children()?;
            child.signal(Signal::CONT);
        }
        Ok(child)
    }

    pub(super) fn group(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the child and all in its group.
    pub(super) fn signal(&self, signal: Signal) {
        // It may have left its group for another one. That it has ended is noticed elsewhere.
        if kill_process_group(self.pid, signal).is_err() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Ends the child and all in its group, now.
    pub(super) fn kill(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = kill_process(self.pid, Signal::KILL);
    }

    /// Whether nobody is left in its group. For a child that has been reaped.
    pub(super) fn is_group_gone(&self) -> bool {
        test_kill_process_group(self.pid) == Err(Errno::SRCH)
    }

    /// What has changed; does not wait.
    pub(super) fn look(&self) -> io::Result<Change> {
        // Not reaped yet, so that its group can still be dealt with.
        let either = WaitIdOptions::EXITED | WaitIdOptions::STOPPED;
        let at_once = WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match waitid(WaitId::Pid(self.pid), either | at_once)? {
            None => Ok(Change::Nothing),
            Some(status) if !status.stopped() => Ok(Change::Ended),
            Some(_) => Ok(self.take_stop().map_or(Change::Nothing, Change::Stopped)),
        }
    }

    /// Returns the signal that has stopped the child, once for each stop; `None` if it runs again
    /// or has ended, which SIGCHLD reports by itself.
    fn take_stop(&self) -> Option<Signal> {
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::Pid(self.pid), stopped).ok()??;
        status.stopping_signal().and_then(Signal::from_named_raw)
    }

    /// How it ended. From then on its number may be somebody else's.
    pub(super) fn reap(&mut self) -> io::Result<Ended> {
        let status = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED)?;
        let status = status.ok_or_else(|| io::Error::other("it has not ended"))?;
        Ok(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Exited(u8::try_from(code & 0xff).unwrap_or(0)),
            (None, Some(signal)) => Ended::Killed(signal),
            (None, None) => return Err(io::Error::other("it ended in an unknown way")),
        })
    }
}
