//! Job control: stopping with the command, and going on with it.

use rustix::process::{Signal, kill_current_process_group};

use super::child::Child;
use super::terminal::Terminal;
use crate::holding::{has_group_stopped, is_orphaned, stop_group, stop_myself};

/// This process and its command, as a job of the terminal that both belong to.
pub(super) struct Job {
    terminal: Terminal,
}

impl Job {
    /// `None`: there is no terminal, so nobody minds jobs.
    pub(super) fn open() -> Option<Self> {
        Terminal::open().map(|terminal| Self { terminal })
    }

    pub(super) fn terminal(&mut self) -> &mut Terminal {
        &mut self.terminal
    }

    /// The child's group was stopped by `signal`.
    pub(super) fn child_stopped(&mut self, child: &Child, signal: Signal) {
        let wants_terminal = [Signal::TTIN, Signal::TTOU].contains(&signal);
        if wants_terminal && self.terminal.give_to(child.group()) {
            return child.signal(Signal::CONT);
        }
        if !wants_terminal && signal != Signal::TSTP {
            // A plain STOP is between the child and whoever sent it.
            return;
        }
        let had_terminal = self.terminal.take_back();
        if is_orphaned() {
            // No shell would continue us. The kernel would not have stopped such a command either:
            // it would have hung up on one that reads.
            if wants_terminal {
                child.signal(Signal::HUP);
            }
            return child.signal(Signal::CONT);
        }
        // Whoever has started this job finds it stopped as it would find the command, and does what
        // is to be done then: a shell says so, another `locks run` gives it the terminal.
        if wants_terminal {
            // The kernel does so to all of a job of which one wants to read.
            let _ = kill_current_process_group(signal);
        } else if had_terminal {
            // Ctrl-Z reached the child's group alone; without it all of the job would have stopped.
            stop_group();
        } else {
            stop_myself();
        }
    }

    /// This process was continued. If it had stopped with all of its job, the child goes on where
    /// it was.
    pub(super) fn goes_on(&mut self, child: &Child) {
        if has_group_stopped() {
            self.terminal.give_to(child.group());
        }
    }
}
