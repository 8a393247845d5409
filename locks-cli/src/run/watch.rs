//! While the command runs: the child, the lock and the signals, until the child has ended.

use std::io;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use locks::LockError;
use rustix::process::Signal;

use super::child::{Change, Child, Ended};
use super::jobs::Job;
use crate::holding::{Due, Event, Events, Held, Schedule};

/// How soon to look again whether a killed group is gone.
const SOON: Duration = Duration::from_millis(1);

/// Why a command was not left to end by itself.
#[derive(Debug)]
pub(super) enum Cut {
    /// The lock was taken away.
    Lost(LockError),
    /// The lock was about to end.
    TimeIsUp,
}

pub(super) struct Watch<'a> {
    held: &'a Held,
    events: &'a Events,
    schedule: Schedule,
    cut: Option<Cut>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(held: &'a Held, events: &'a Events, schedule: Schedule) -> Self {
        Self { held, events, schedule, cut: None }
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
            if let Event::Signal(signal) = self.events.next(self.schedule.next()) {
                let stops = |job: &mut Job| signal == Signal::TSTP && job.stops(child);
                if !job.as_deref_mut().is_some_and(stops) {
                    self.pass_on(signal, child);
                }
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
            // They are killed, but may have to be scheduled once more to notice. Nobody tells of the end
            // of those that are no children of ours.
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
            Due::Term => {
                child.signal(Signal::TERM);
                // A stopped process would hear of it too late.
                child.signal(Signal::CONT);
            }
            Due::Kill => child.kill(),
        }
        self.cut.get_or_insert(Cut::TimeIsUp);
    }

    fn pass_on(&self, signal: Signal, child: &Child) {
        // Whoever was stopped for long may wake up without the lock: not for the command to see.
        if signal != Signal::CONT || self.held.check().is_ok() {
            child.signal(signal);
        }
    }
}
