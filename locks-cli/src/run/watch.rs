//! While the command runs: the child, the lock and the signals, until the child has ended.

use std::io;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use locks::LockError;
use rustix::process::Signal;

use super::child::{Change, Child, Ended};
use super::jobs::Job;
use crate::holding::{CommandHold, Due, Event, Events, LeaseEnd, Schedule, look_at_lease};

/// How soon to look again whether a killed group is gone.
const SOON: Duration = Duration::from_millis(1);

/// Why a command was not left to end by itself.
#[derive(Debug)]
pub(super) enum Cut {
    /// The lock was taken away.
    Lost(LockError),
    /// The lock was about to end: `--hold-at-most` was over.
    TimeIsUp,
    /// Its lease was about to end, and could not be renewed.
    LeaseEnds,
}

pub(super) struct CommandWatch<'a> {
    held: &'a CommandHold,
    events: &'a Events,
    schedule: Schedule,
    kill_after: Option<Duration>,
    cut: Option<Cut>,
}

impl<'a> CommandWatch<'a> {
    pub(super) fn new(
        held: &'a CommandHold,
        events: &'a Events,
        schedule: Schedule,
        kill_after: Option<Duration>,
    ) -> Self {
        Self { held, events, schedule, kill_after, cut: None }
    }

    /// Watches over the child until it has ended, or has been ended because of the lock.
    pub(super) fn until_it_ends(
        &mut self,
        child: &mut Child,
        mut job: Option<&mut Job>,
    ) -> io::Result<Ended> {
        loop {
            match child.look()? {
                Change::Ended => break,
                Change::Stopped(signal) => {
                    if let Some(job) = job.as_deref_mut() {
                        job.child_stopped(child, signal);
                    }
                }
                Change::Nothing => {}
            }
            if !matches!(self.cut, Some(Cut::Lost(_)))
                && let Poll::Ready(error) = self.held.poll_lost(Some(&mut self.events.context()))
            {
                // At once: somebody else may run already.
                child.kill();
                self.cut = Some(Cut::Lost(error));
            }
            self.end_what_is_due(child);
            let look_at = self.look_at_lease(child);
            let next = [self.schedule.next(), look_at].into_iter().flatten().min();
            if let Event::Signal(signal) = self.events.next(next) {
                if let (Signal::CONT, Some(job)) = (signal, job.as_deref_mut()) {
                    job.goes_on(child);
                }
                self.pass_on(signal, child);
            }
        }
        if self.cut.is_some() {
            // What the child has left behind is not to outlive the lock.
            child.kill();
        }
        if let Some(job) = job.as_deref_mut() {
            job.terminal().take_back();
        }
        let ended = child.reap()?;
        if let (Ended::Killed(_), Some(job)) = (ended, job) {
            job.terminal().restore();
        }
        if let (Some(Cut::TimeIsUp), Some(end)) = (&self.cut, self.schedule.end()) {
            // They are killed, but may have to be scheduled once more to notice. Nobody tells of
            // the end of those that are no children of ours.
            while !child.is_group_gone() && Instant::now() < end {
                thread::sleep(SOON);
            }
        }
        Ok(ended)
    }

    pub(super) fn into_cut(self) -> Option<Cut> {
        self.cut
    }

    fn end_what_is_due(&mut self, child: &Child) {
        match self.schedule.take_due(Instant::now()) {
            Due::Nothing => return,
            Due::Term => ask_to_end(child),
            Due::Kill => child.kill(),
        }
        self.cut.get_or_insert(Cut::TimeIsUp);
    }

    /// Asks the command to end if the lock's lease is about to. When it does, the lock is lost, and
    /// that is seen by itself. Says when to look again.
    fn look_at_lease(&mut self, child: &Child) -> Option<Instant> {
        if self.cut.is_some() {
            return None;
        }
        match look_at_lease(self.held, self.kill_after) {
            LeaseEnd::Far(look_at) => look_at,
            LeaseEnd::Near => {
                ask_to_end(child);
                self.cut = Some(Cut::LeaseEnds);
                None
            }
        }
    }

    fn pass_on(&self, signal: Signal, child: &Child) {
        // Whoever was stopped for long may wake up without the lock: not for the command to see.
        if signal != Signal::CONT || self.held.check().is_ok() {
            child.signal(signal);
        }
    }
}

fn ask_to_end(child: &Child) {
    child.signal(Signal::TERM);
    // A stopped process would hear of it too late.
    child.signal(Signal::CONT);
}
