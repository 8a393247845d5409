//! Workers that die after each of their writes, and what their successors make of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use locks::Token;

use super::*;

/// Words of which only so many are still written; then the writer is dead.
struct Mortal {
    words: WordFile,
    left: Arc<AtomicUsize>,
}

impl Words for Mortal {
    fn read(&self, at: usize, words: &mut [u64]) -> io::Result<()> {
        self.words.read(at, words)
    }

    fn write(&self, at: usize, words: &[u64]) -> io::Result<()> {
        let left = self.left.load(Ordering::Relaxed);
        let written = left.min(words.len());
        self.left.store(left - written, Ordering::Relaxed);
        self.words.write(at, &words[..written])?;
        if written < words.len() { Err(io::Error::other("killed")) } else { Ok(()) }
    }
}

/// A directory of one test's own.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("transfers-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn mortal(&self, ledger: &Ledger, writes: usize) -> Files<Mortal> {
        let left = Arc::new(AtomicUsize::new(writes));
        let open = |name| Mortal {
            words: WordFile::open(&self.0.join(name)).unwrap(),
            left: Arc::clone(&left),
        };
        Files::over(open("accounts"), open("journal"), ledger, 1)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn ledger() -> Ledger {
    Ledger::parse("id,from,to,cents\n1,a,b,30\n2,a,c,5\n3,d,b,7\n").unwrap()
}

fn grant(token: u64) -> Grant {
    Grant { token: Token::new(token), waited: Duration::ZERO }
}

/// What a worker does under the locks of both accounts.
fn apply<W: Words>(files: &Files<W>, transfer: &Transfer, token: u64) -> Result<(), Failure> {
    if !files.begin(transfer, grant(token))? {
        return Ok(());
    }
    let (from, to) = (files.read(&transfer.from)?, files.read(&transfer.to)?);
    files.write(transfer, from - transfer.cents, to + transfer.cents, Some(grant(token)))
}

/// Whoever comes first after the death of a worker: the one who does its transfer again, or one
/// who wants either of the accounts for another transfer.
#[test]
fn whatever_a_worker_died_over_is_done_once() {
    let ledger = ledger();
    let before = ledger.opening_balances();
    let expected = Ledger::closing_balances(&ledger.transfers, &before);
    for successors in [[0, 1, 2], [1, 2, 0], [2, 1, 0]] {
        let mut deaths = 0;
        loop {
            let directory = Directory::new("once");
            Files::create(&directory.0, &ledger).unwrap();
            let mortal = directory.mortal(&ledger, deaths);
            let died = apply(&mortal, &ledger.transfers[0], 1).is_err();
            let files = Files::open(&directory.0, &ledger, 2).unwrap();
            for (token, line) in (2..).zip(successors) {
                apply(&files, &ledger.transfers[line], token).unwrap();
            }
            for account in before.keys() {
                files.settle(account).unwrap();
            }
            let found = files.balances(before.clone().into_keys()).unwrap();
            assert_eq!(found, expected, "died after {deaths} writes; then came {successors:?}");
            assert_eq!(files.applied().unwrap().len(), 3, "died after {deaths} writes");
            if !died {
                break;
            }
            deaths += 1;
        }
        assert_eq!(deaths, 2 + 2 + 8 + 4, "two tokens, two marks, an entry, and balances");
    }
}

#[test]
fn c7_a_store_refuses_a_token_that_is_not_above_the_last() {
    let ledger = ledger();
    let directory = Directory::new("token");
    Files::create(&directory.0, &ledger).unwrap();
    let files = Files::open(&directory.0, &ledger, 1).unwrap();
    apply(&files, &ledger.transfers[0], 7).unwrap();
    for stale in [6, 7] {
        let refused = apply(&files, &ledger.transfers[1], stale).unwrap_err().to_string();
        assert_eq!(refused, format!("account `a` has seen token 7: {stale} is refused"));
    }
    apply(&files, &ledger.transfers[1], 8).unwrap();
}
