//! Applies transfers with threads and tasks at once: the reason for the locks, and the locks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use locks::{Token, lock};
use tokio::task::JoinSet;

use crate::Failure;
use crate::ledger::{Ledger, Transfer};
use crate::outcome::{Outcome, Waits};
use crate::store::{Grant, Store};
use crate::workers::Share;

/// Only one at a time touches either account. Both keys are taken together, so that a transfer
/// from A to B and one from B to A cannot deadlock.
#[lock("account_{transfer.from}", "account_{transfer.to}", guard = held)]
fn apply(run: &Run, transfer: &Transfer, asked: Instant) -> Result<(), Failure> {
    match run.begin(transfer, held.token(), asked)? {
        Some(grant) => apply_without_lock(run, transfer, Some(grant)),
        None => Ok(()),
    }
}

/// The same in async code. Tasks and threads queue for the same locks.
#[lock("account_{transfer.from}", "account_{transfer.to}", guard = held)]
async fn apply_async(run: &Run, transfer: &Transfer, asked: Instant) -> Result<(), Failure> {
    match run.begin(transfer, held.token(), asked)? {
        Some(grant) => apply_without_lock_async(run, transfer, Some(grant)).await,
        None => Ok(()),
    }
}

fn apply_without_lock(run: &Run, transfer: &Transfer, grant: Option<Grant>) -> Result<(), Failure> {
    let (from, to) = run.read(transfer)?;
    thread::yield_now(); // Others run now; without the lock, with the same two balances.
    run.write(transfer, from, to, grant)
}

async fn apply_without_lock_async(
    run: &Run,
    transfer: &Transfer,
    grant: Option<Grant>,
) -> Result<(), Failure> {
    let (from, to) = run.read(transfer)?;
    tokio::task::yield_now().await;
    run.write(transfer, from, to, grant)
}

/// One application of a ledger, or of a share of it, shared by everybody in this process who
/// works at it.
pub(crate) struct Run {
    ledger: Arc<Ledger>,
    store: Box<dyn Store>,
    locked: bool,
    share: Share,
    waits: HashMap<String, Mutex<Waits>>,
    applied: AtomicUsize,
    failed: AtomicBool,
}

impl Run {
    pub(crate) fn new(
        ledger: Arc<Ledger>,
        store: impl Store + 'static,
        locked: bool,
        share: Share,
    ) -> Arc<Self> {
        let accounts = ledger.opening_balances().into_keys();
        Arc::new(Self {
            waits: accounts.map(|account| (account, Mutex::default())).collect(),
            ledger,
            store: Box::new(store),
            locked,
            share,
            applied: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        })
    }

    /// Applies every transfer of its share, every other one by threads and the rest by tasks, and
    /// says how long that took.
    pub(crate) fn go(self: &Arc<Self>, threads: usize, tasks: usize) -> Result<Duration, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
        let lines = [0, 1].map(|first| Arc::new(Lines { next: AtomicUsize::new(first) }));
        let began = Instant::now();
        let threads = (0..threads).map(|_| {
            let (run, lines) = (Arc::clone(self), Arc::clone(&lines[0]));
            thread::spawn(move || run.stop_others_on_error(run.work(&lines)))
        });
        let threads = threads.collect::<Vec<_>>();
        let mut outcome = runtime.block_on(async {
            let mut set = JoinSet::new();
            for _ in 0..tasks {
                let (run, lines) = (Arc::clone(self), Arc::clone(&lines[1]));
                set.spawn(async move { run.stop_others_on_error(run.work_async(&lines).await) });
            }
            let mut outcome = Ok(());
            while let Some(ended) = set.join_next().await {
                outcome = outcome.and(ended?);
            }
            outcome
        });
        for thread in threads {
            outcome = outcome.and(thread.join().map_err(|_| "a thread panicked")?);
        }
        outcome.map(|()| began.elapsed())
    }

    pub(crate) fn applied(&self) -> usize {
        self.applied.load(Ordering::Relaxed)
    }

    /// What became of a run that was the only one.
    pub(crate) fn outcome(&self, took: Duration) -> Result<Outcome, Failure> {
        let waits = self.waits.iter();
        Ok(Outcome {
            took,
            applied: self.applied(),
            balances: self.store.balances(self.ledger.opening_balances().into_keys())?,
            waits: waits.map(|(account, waits)| (account.clone(), *lock(waits))).collect(),
            workers: Vec::new(),
            servers_killed: 0,
            found: 0,
        })
    }

    fn work(&self, lines: &Lines) -> Result<(), Failure> {
        while let Some(transfer) = self.next(lines)? {
            if self.locked {
                apply(self, transfer, Instant::now())?;
            } else {
                apply_without_lock(self, transfer, None)?;
            }
            self.applied.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn work_async(&self, lines: &Lines) -> Result<(), Failure> {
        while let Some(transfer) = self.next(lines)? {
            if self.locked {
                apply_async(self, transfer, Instant::now()).await?;
            } else {
                apply_without_lock_async(self, transfer, None).await?;
            }
            self.applied.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The next transfer that a predecessor, who may have been killed, has not done.
    fn next(&self, lines: &Lines) -> Result<Option<&Transfer>, Failure> {
        while !self.failed.load(Ordering::Relaxed) {
            let line = self.share.line(lines.next.fetch_add(2, Ordering::Relaxed));
            let Some(transfer) = self.ledger.transfers.get(line) else { break };
            if !self.store.is_done(transfer)? {
                return Ok(Some(transfer));
            }
        }
        Ok(None)
    }

    fn stop_others_on_error(&self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        self.failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
        outcome
    }

    fn read(&self, transfer: &Transfer) -> Result<(i64, i64), Failure> {
        Ok((self.store.read(&transfer.from)?, self.store.read(&transfer.to)?))
    }

    fn write(
        &self,
        transfer: &Transfer,
        from: i64,
        to: i64,
        grant: Option<Grant>,
    ) -> Result<(), Failure> {
        self.store.write(transfer, from - transfer.cents, to + transfer.cents, grant)
    }

    /// What comes first under the locks; `None` if the transfer turns out to be done.
    fn begin(
        &self,
        transfer: &Transfer,
        token: Token,
        asked: Instant,
    ) -> Result<Option<Grant>, Failure> {
        let grant = Grant { token, waited: asked.elapsed() };
        for account in [&transfer.from, &transfer.to] {
            if let Some(waits) = self.waits.get(account) {
                lock(waits).add(grant.waited);
            }
        }
        Ok(self.store.begin(transfer, grant)?.then_some(grant))
    }
}

/// Of counters, which nobody leaves half counted.
fn lock(waits: &Mutex<Waits>) -> MutexGuard<'_, Waits> {
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every second transfer of a share, handed out one by one.
struct Lines {
    next: AtomicUsize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Plan;
    use crate::report::Report;
    use crate::store::Memory;

    fn report(locked: bool) -> Report {
        let ledger = concat!(env!("CARGO_MANIFEST_DIR"), "/data/ledger.csv").into();
        let plan = Plan {
            ledger,
            locked,
            threads: 8,
            tasks: 64,
            processes: 0,
            kill: false,
            backend: "file:".into(),
        };
        crate::apply_ledger(&plan).unwrap()
    }

    #[test]
    fn c1_no_update_is_lost_under_locks() {
        let report = report(true);
        assert!(report.is_sound(), "{report}");
    }

    /// The test above could not fail if this one did.
    #[test]
    fn updates_are_lost_without_locks() {
        let report = report(false);
        assert!(!report.is_sound(), "{report}");
    }

    #[test]
    fn the_first_error_stops_everybody() {
        let text = "id,from,to,cents\n1,a,b,1\n2,a,b,1\n3,a,b,1\n";
        let path = std::env::temp_dir().join(format!("transfers-{}.csv", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let ledger = Ledger::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let ledger = Arc::new(ledger);
        let run = Run::new(ledger, Memory::new(&[("a".into(), 1)].into()), true, Share::WHOLE);
        assert_eq!(run.go(1, 1).unwrap_err().to_string(), "no account `b`");
        assert_eq!(run.applied(), 0);
    }
}
