//! Several processes at one ledger: this program, started by itself again and again.
//!
//! They agree on nothing but where the files are, and share no memory: what keeps them apart are
//! the same two `#[lock]` as in one process. Which arbiter these ask is said by `LOCKS_URL`.

mod arbiter;
mod kills;
mod place;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::apply::Run;
use crate::args::Plan;
use crate::files::Files;
use crate::ledger::Ledger;
use crate::outcome::{Killed, Outcome};
use crate::progress::Progress;

use self::arbiter::Arbiter;
use self::kills::Kills;
use self::place::Place;

pub(crate) use self::arbiter::serve;

/// Which lines of the ledger are whose: every `of`-th, beginning with line `number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) number: usize,
    pub(crate) of: usize,
}

impl Share {
    pub(crate) const WHOLE: Self = Self { number: 0, of: 1 };

    /// The line that comes after so many others of this share.
    pub(crate) fn line(self, after: usize) -> usize {
        self.number + after * self.of
    }
}

/// Does one worker's share of `plan`, in the files in `directory`.
pub(crate) fn work(plan: &Plan, directory: &Path, share: Share) -> Result<(), Failure> {
    let ledger = Arc::new(Ledger::read(&plan.ledger)?);
    let files = Files::open(directory, &ledger, share.number as u64)?;
    let run = match plan.kill {
        true => Run::new(ledger, files.slowed(), plan.locked, share),
        false => Run::new(ledger, files, plan.locked, share),
    };
    run.go(plan.threads, plan.tasks)?;
    Ok(())
}

/// This program with other arguments.
pub(crate) type Itself = fn(Vec<OsString>) -> Result<Command, Failure>;

/// Has `plan.processes` workers apply the ledger.
pub(crate) fn apply_ledger(
    plan: &Plan,
    ledger: &Ledger,
    itself: Itself,
) -> Result<Outcome, Failure> {
    let place = Place::new()?;
    let mut arbiter = Arbiter::new(&plan.backend, &place, itself)?;
    Files::create(&place.0, ledger)?;
    let files = Arc::new(Files::open(&place.0, ledger, 0)?);
    let progress = Progress::show(ledger.transfers.len(), {
        let files = Arc::clone(&files);
        move || files.applied().map_or(0, |applied| applied.len())
    });
    let began = Instant::now();
    let workers = Workers::start(plan, &place, &mut arbiter, itself);
    let killed = workers.and_then(|workers| workers.go(&files, ledger.transfers.len()));
    let took = began.elapsed();
    progress.finish();
    let killed = killed?;
    if plan.locked {
        settle(&files, &arbiter, ledger)?;
    }
    Outcome::of_files(&files, ledger, &killed, took)
}

/// Puts in order what killed workers have left, where nobody else has come by since.
fn settle(files: &Files, arbiter: &Arbiter, ledger: &Ledger) -> Result<(), Failure> {
    let backend = locks::open(arbiter.url())?;
    for account in ledger.opening_balances().keys() {
        let _held = backend.named(format!("account_{account}")).acquire()?;
        files.settle(account)?;
    }
    Ok(())
}

/// All workers of a run. Dropping them kills those that are still at work.
struct Workers<'a> {
    plan: &'a Plan,
    place: &'a Place,
    arbiter: &'a mut Arbiter,
    itself: Itself,
    working: Vec<Worker>,
}

struct Worker {
    /// `None` once its share is done.
    process: Option<Child>,
    killed: usize,
}

impl<'a> Workers<'a> {
    fn start(
        plan: &'a Plan,
        place: &'a Place,
        arbiter: &'a mut Arbiter,
        itself: Itself,
    ) -> Result<Self, Failure> {
        let mut workers = Self { plan, place, arbiter, itself, working: Vec::new() };
        for number in 0..plan.processes {
            let process = Some(workers.start_one(number)?);
            workers.working.push(Worker { process, killed: 0 });
        }
        Ok(workers)
    }

    fn start_one(&self, number: usize) -> Result<Child, Failure> {
        let share = Share { number, of: self.plan.processes };
        let mut command = (self.itself)(self.plan.for_worker(&self.place.0, share))?;
        Ok(command.env("LOCKS_URL", self.arbiter.url()).spawn()?)
    }

    /// Waits for all of them, kills some if that is planned, and says how often each was killed.
    fn go(mut self, files: &Files, transfers: usize) -> Result<Killed, Failure> {
        let mut kills = Kills::new(self.plan.kill, self.plan.processes, transfers);
        while self.look()? {
            if kills.is_due(files.applied()?.len()) {
                self.kill_one(&mut kills)?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let workers = self.working.iter().map(|worker| worker.killed).collect();
        Ok(Killed { workers, servers: self.arbiter.killed() })
    }

    /// Whether any of them is still at work.
    fn look(&mut self) -> Result<bool, Failure> {
        for worker in &mut self.working {
            let Some(process) = &mut worker.process else { continue };
            if let Some(status) = process.try_wait()? {
                worker.process = None;
                if !status.success() {
                    return Err(format!("a worker failed: {status}").into());
                }
            }
        }
        Ok(!self.at_work().is_empty())
    }

    fn at_work(&self) -> Vec<usize> {
        let workers = self.working.iter().enumerate();
        workers.filter_map(|(number, worker)| worker.process.as_ref().map(|_| number)).collect()
    }

    /// Kills whoever serves, every other time and if anybody does; else any worker.
    fn kill_one(&mut self, kills: &mut Kills) -> Result<(), Failure> {
        if kills.is_for_a_server() {
            if self.arbiter.kill_server_beside()? {
                return Ok(());
            }
            if let Some(pid) = self.arbiter.serving_pid() {
                let serves = |worker: &Worker| {
                    worker.process.as_ref().is_some_and(|process| process.id() == pid)
                };
                if let Some(number) = self.working.iter().position(serves) {
                    let before = self.working[number].killed;
                    self.kill(number)?;
                    self.arbiter.count(self.working[number].killed - before);
                    return Ok(());
                }
            }
        }
        match kills.choose(&self.at_work()) {
            Some(number) => self.kill(number),
            None => Ok(()),
        }
    }

    /// Kills a worker without warning, and starts another in its place.
    fn kill(&mut self, number: usize) -> Result<(), Failure> {
        let Some(mut process) = self.working[number].process.take() else { return Ok(()) };
        process.kill()?;
        if process.wait()?.success() {
            return Ok(()); // It was quicker.
        }
        self.working[number].killed += 1;
        self.working[number].process = Some(self.start_one(number)?);
        Ok(())
    }
}

impl Drop for Workers<'_> {
    fn drop(&mut self) {
        for process in self.working.iter_mut().filter_map(|worker| worker.process.as_mut()) {
            // Those that have just ended need no killing.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Plan {
    /// The arguments of a worker; `args.rs` reads them.
    fn for_worker(&self, directory: &Path, share: Share) -> Vec<OsString> {
        let mut arguments = vec![self.ledger.clone().into_os_string()];
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        option("--threads", self.threads.to_string().into());
        option("--tasks", self.tasks.to_string().into());
        option("--work-in", directory.into());
        option("--share", format!("{}/{}", share.number, share.of).into());
        if self.kill {
            arguments.push("--kill".into());
        }
        if !self.locked {
            arguments.push("--without-locks".into());
        }
        arguments
    }
}

#[cfg(test)]
mod tests;
