//! Applies transfers with threads and tasks at once: the reason for the locks, and the locks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks::lock;
use tokio::task::JoinSet;

use crate::Failure;
use crate::ledger::{Ledger, Transfer};
use crate::store::Store;

/// Only one at a time touches either account. Both keys are taken together, so that a transfer
/// from A to B and one from B to A cannot deadlock.
#[lock("account_{transfer.from}", "account_{transfer.to}")]
fn apply(run: &Run, transfer: &Transfer, asked: Instant) -> Result<(), Failure> {
    run.note_wait(transfer, asked);
    apply_without_lock(run, transfer)
}

/// The same in async code. Tasks and threads queue for the same locks.
#[lock("account_{transfer.from}", "account_{transfer.to}")]
async fn apply_async(run: &Run, transfer: &Transfer, asked: Instant) -> Result<(), Failure> {
    run.note_wait(transfer, asked);
    apply_without_lock_async(run, transfer).await
}

fn apply_without_lock(run: &Run, transfer: &Transfer) -> Result<(), Failure> {
    let (from, to) = run.read(transfer)?;
    thread::yield_now(); // Others run now; without the lock, with the same two balances.
    run.write(transfer, from, to)
}

async fn apply_without_lock_async(run: &Run, transfer: &Transfer) -> Result<(), Failure> {
    let (from, to) = run.read(transfer)?;
    tokio::task::yield_now().await;
    run.write(transfer, from, to)
}

/// One application of a ledger, shared by everybody who works at it.
pub(crate) struct Run {
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) store: Box<dyn Store>,
    waits: HashMap<String, Waits>,
    locked: bool,
    applied: AtomicUsize,
    failed: AtomicBool,
}

/// How long transfers of one account waited for their locks.
#[derive(Default)]
pub(crate) struct Waits {
    pub(crate) transfers: AtomicU64,
    pub(crate) total_nanos: AtomicU64,
    pub(crate) longest_nanos: AtomicU64,
}

impl Run {
    pub(crate) fn new(ledger: Ledger, store: impl Store + 'static, locked: bool) -> Arc<Self> {
        let accounts = ledger.opening_balances().into_keys();
        Arc::new(Self {
            waits: accounts.map(|account| (account, Waits::default())).collect(),
            transfers: ledger.transfers,
            store: Box::new(store),
            locked,
            applied: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        })
    }

    /// Applies every transfer, the even lines by threads and the odd ones by tasks, and says how
    /// long that took.
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

    pub(crate) fn waits(&self) -> impl Iterator<Item = (&String, &Waits)> {
        self.waits.iter()
    }

    fn work(&self, lines: &Lines) -> Result<(), Failure> {
        while let Some(transfer) = self.next(lines) {
            if self.locked {
                apply(self, transfer, Instant::now())?;
            } else {
                apply_without_lock(self, transfer)?;
            }
            self.applied.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn work_async(&self, lines: &Lines) -> Result<(), Failure> {
        while let Some(transfer) = self.next(lines) {
            if self.locked {
                apply_async(self, transfer, Instant::now()).await?;
            } else {
                apply_without_lock_async(self, transfer).await?;
            }
            self.applied.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn next(&self, lines: &Lines) -> Option<&Transfer> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        self.transfers.get(lines.next.fetch_add(2, Ordering::Relaxed))
    }

    fn stop_others_on_error(&self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        self.failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
        outcome
    }

    fn read(&self, transfer: &Transfer) -> Result<(i64, i64), Failure> {
        Ok((self.store.read(&transfer.from)?, self.store.read(&transfer.to)?))
    }

    fn write(&self, transfer: &Transfer, from: i64, to: i64) -> Result<(), Failure> {
        self.store.write(&transfer.from, from - transfer.cents)?;
        self.store.write(&transfer.to, to + transfer.cents)
    }

    fn note_wait(&self, transfer: &Transfer, asked: Instant) {
        let nanos = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for account in [&transfer.from, &transfer.to] {
            if let Some(waits) = self.waits.get(account) {
                waits.transfers.fetch_add(1, Ordering::Relaxed);
                waits.total_nanos.fetch_add(nanos, Ordering::Relaxed);
                waits.longest_nanos.fetch_max(nanos, Ordering::Relaxed);
            }
        }
    }
}

/// Every second line, handed out one by one.
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
        crate::apply_ledger(&Plan { ledger, locked, threads: 8, tasks: 64 }).unwrap()
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
        let run = Run::new(ledger, Memory::new(&[("a".into(), 1)].into()), true);
        assert_eq!(run.go(1, 1).unwrap_err().to_string(), "no account `b`");
        assert_eq!(run.applied(), 0);
    }
}
