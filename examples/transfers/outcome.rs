//! What became of a run, however many processes it was.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Failure;
use crate::files::Files;
use crate::ledger::Ledger;
use crate::store::Store;

/// What became of a run.
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    /// How many transfers were applied.
    pub(crate) applied: usize,
    pub(crate) balances: BTreeMap<String, i64>,
    pub(crate) waits: BTreeMap<String, Waits>,
    /// Empty if there was one process alone.
    pub(crate) workers: Vec<Worker>,
    /// How often whoever served the others was killed.
    pub(crate) servers_killed: usize,
    /// Marks of killed workers that others found and settled.
    pub(crate) found: u64,
}

/// How long transfers of one account waited for their locks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waits {
    pub(crate) transfers: u64,
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
}

/// How often whom of the processes was killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Killed {
    pub(crate) workers: Vec<usize>,
    pub(crate) servers: usize,
}

/// One of the processes, and those that took the place of killed ones.
#[derive(Clone, Copy, Default)]
pub(crate) struct Worker {
    pub(crate) killed: usize,
    pub(crate) applied: usize,
    /// The longest that one of its transfers waited for its locks.
    pub(crate) longest: Duration,
}

impl Waits {
    pub(crate) fn add(&mut self, waited: Duration) {
        self.transfers += 1;
        self.total += waited;
        self.longest = self.longest.max(waited);
    }
}

impl Outcome {
    /// What the files say of a run whose workers have ended.
    pub(crate) fn of_files(
        files: &Files,
        ledger: &Ledger,
        killed: &Killed,
        took: Duration,
    ) -> Result<Self, Failure> {
        let workers = killed.workers.iter();
        let workers = workers.map(|&killed| Worker { killed, ..Worker::default() });
        let mut workers = workers.collect::<Vec<_>>();
        let mut waits = BTreeMap::<String, Waits>::new();
        let entries = files.applied()?;
        for (line, entry) in &entries {
            let waited = Duration::from_nanos(entry.waited_nanos);
            let worker = usize::try_from(entry.worker).ok().and_then(|at| workers.get_mut(at));
            let worker = worker.ok_or("the journal has an entry of a worker that never was")?;
            worker.applied += 1;
            worker.longest = worker.longest.max(waited);
            // Without locks nobody waits.
            if entry.token > 0 {
                let transfer = &ledger.transfers[*line];
                for account in [&transfer.from, &transfer.to] {
                    waits.entry(account.clone()).or_default().add(waited);
                }
            }
        }
        let accounts = ledger.opening_balances().into_keys();
        Ok(Self {
            took,
            applied: entries.len(),
            balances: files.balances(accounts)?,
            waits,
            workers,
            servers_killed: killed.servers,
            found: files.found()?,
        })
    }
}
