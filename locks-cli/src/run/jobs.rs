//! Job control: stopping with the command, and going on with it.

use rustix::process::{Pid, Signal, getpgrp, getpid, kill_current_process_group, kill_process};

use super::child::Child;
use super::signals;
use super::terminal::Terminal;

/// This process and its command, as a job of the terminal that both belong to.
pub(super) struct Job {
    terminal: Terminal,
    /// The command was stopped by Ctrl-Z, and all of this job has been asked to stop as well: of this process
    /// the signal comes as an event.
    stopping: bool,
}

impl Job {
    /// `None`: there is no terminal, so nobody minds jobs.
    pub(super) fn open() -> Option<Self> {
        Terminal::open().map(|terminal| Self { terminal, stopping: false })
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
            // No shell would continue us. The kernel would not have stopped such a command either: it
            // would have hung up on one that reads.
            if wants_terminal {
                child.signal(Signal::HUP);
            }
            return child.signal(Signal::CONT);
        }
        // Whoever has started this job finds it stopped as it would find the command, and does what is to be
        // done then: a shell says so, another `locks run` gives it the terminal.
        if wants_terminal {
            // The kernel does so to all of a job of which one wants to read.
            let _ = kill_current_process_group(signal);
        } else if had_terminal {
            // Ctrl-Z reached the child's group alone; without it all of the job would have stopped.
            self.stopping = true;
            let _ = kill_current_process_group(signal);
        } else {
            stop_myself();
        }
    }

    /// This process was told to stop. Says whether that was for its command, which is stopped already.
    pub(super) fn stops(&mut self, child: &Child) -> bool {
        if !std::mem::take(&mut self.stopping) {
            return false;
        }
        stop_myself();
        // It goes on where it was.
        self.terminal.give_to(child.group());
        true
    }
}

/// Stops, as by Ctrl-Z, until continued.
pub(super) fn stop_myself() {
    if is_orphaned() {
        // The kernel would not do it by the other signal.
        let _ = kill_process(getpid(), Signal::STOP);
    } else {
        signals::suffer(Signal::TSTP);
    }
}

/// Whether nobody is left who could continue this job: no member of its group has a parent that is
/// outside of it and in the same session.
fn is_orphaned() -> bool {
    let group = getpgrp();
    let Some(mut place) = Place::of(getpid()) else { return false };
    let session = place.session;
    while let Some(parent) = Pid::from_raw(place.parent).and_then(Place::of) {
        if parent.session != session {
            return true;
        }
        if parent.group != group.as_raw_nonzero().get() {
            return false;
        }
        place = parent;
    }
    true
}

/// Where a process stands among the others.
struct Place {
    parent: i32,
    group: i32,
    session: i32,
}

impl Place {
    fn of(pid: Pid) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The name comes before, in brackets, and may have anything in it.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut numbers = fields.split_whitespace().skip(1).map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { parent: next()?, group: next()?, session: next()? })
    }
}
