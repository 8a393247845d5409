//! Balances in files, which a worker may be killed over at any time.
//!
//! A transfer is three steps, under the locks of both accounts:
//!
//! 1. Each account is marked with the transfer.
//! 2. The journal's entry is written: what will be on both accounts. From now on the transfer is
//!    applied, whatever becomes of who applies it; before, nothing has happened.
//! 3. Each account gets its new balance, and then loses its mark.
//!
//! Whoever has an account's lock and finds a mark knows that its writer is dead, and settles it
//! before anything else: if the journal has the entry, the account gets its balance from there,
//! which does no harm if it has it already; else there is nothing to do. It needs the lock of that
//! one account only: the mark on the other one waits for whoever comes there.
//!
//! That is proof against killed processes. Against a machine that loses power it would take a
//! sync after each step as well.

use std::io;
use std::path::Path;

use crate::Failure;
use crate::journal::{Entry, Journal};
use crate::ledger::{Ledger, Transfer};
use crate::store::{Grant, Store};
use crate::words::{Slow, WordFile, Words};

/// Words of an account: what is on it, its mark, the greatest token it has seen, and how many
/// marks of dead writers were found on it.
const LENGTH: usize = 4;
const CENTS: usize = 0;
const MARK: usize = 1;
const TOKEN: usize = 2;
const FOUND: usize = 3;

/// Balances and a journal, in two files.
pub(crate) struct Files<W = WordFile> {
    names: Vec<String>,
    accounts: W,
    journal: Journal<W>,
    lines: usize,
    /// Who writes here.
    worker: u64,
}

impl Files {
    /// Makes the files in `directory`, with `balances` and an empty journal.
    pub(crate) fn create(directory: &Path, ledger: &Ledger) -> Result<(), Failure> {
        let balances = ledger.opening_balances();
        WordFile::create(&directory.join("accounts"), balances.len() * LENGTH)?;
        let journal = Journal::<WordFile>::words(ledger.transfers.len());
        WordFile::create(&directory.join("journal"), journal)?;
        let files = Self::open(directory, ledger, 0)?;
        for (account, cents) in balances.values().enumerate() {
            files.set(account, CENTS, cents.cast_unsigned())?;
        }
        Ok(())
    }

    /// The files in `directory`, for a worker.
    pub(crate) fn open(directory: &Path, ledger: &Ledger, worker: u64) -> Result<Self, Failure> {
        let open = |name| WordFile::open(&directory.join(name));
        Ok(Self::over(open("accounts")?, open("journal")?, ledger, worker))
    }

    /// The same, written to more slowly.
    pub(crate) fn slowed(self) -> Files<Slow<WordFile>> {
        let Self { names, accounts, journal, lines, worker } = self;
        let (accounts, journal) = (Slow::new(accounts), journal.map(Slow::new));
        Files { names, accounts, journal, lines, worker }
    }
}

impl<W: Words> Files<W> {
    fn over(accounts: W, journal: W, ledger: &Ledger, worker: u64) -> Self {
        let names = ledger.opening_balances().into_keys().collect();
        let lines = ledger.transfers.len();
        Self { names, accounts, journal: Journal::new(journal), lines, worker }
    }

    /// Every transfer that has been applied.
    pub(crate) fn applied(&self) -> io::Result<Vec<(usize, Entry)>> {
        self.journal.entries(self.lines)
    }

    /// How many marks of dead writers were found and settled.
    pub(crate) fn found(&self) -> Result<u64, Failure> {
        let accounts = 0..self.names.len();
        accounts.map(|account| Ok(self.word(account, FOUND)?)).sum()
    }

    /// Puts an account in order, under its lock.
    pub(crate) fn settle(&self, account: &str) -> Result<(), Failure> {
        let account = self.place(account)?;
        let Some(line) = self.word(account, MARK)?.checked_sub(1) else { return Ok(()) };
        if let Some(entry) = self.journal.read(usize::try_from(line)?)? {
            self.set_from(&entry, account)?;
        }
        self.set(account, MARK, 0)?;
        Ok(self.set(account, FOUND, self.word(account, FOUND)? + 1)?)
    }

    /// Refuses whoever had the lock before those who have written since.
    fn fence(&self, account: &str, grant: Grant) -> Result<(), Failure> {
        let (place, token) = (self.place(account)?, grant.token.get());
        let seen = self.word(place, TOKEN)?;
        if token <= seen {
            let refused = format!("account `{account}` has seen token {seen}: {token} is refused");
            return Err(refused.into());
        }
        Ok(self.set(place, TOKEN, token)?)
    }

    fn set_from(&self, entry: &Entry, account: usize) -> io::Result<()> {
        let own = entry.after.iter().find(|(place, _)| *place == account);
        match own {
            Some((_, cents)) => self.set(account, CENTS, cents.cast_unsigned()),
            None => Err(io::Error::other("an account is marked with a transfer of others")),
        }
    }

    fn place(&self, account: &str) -> Result<usize, Failure> {
        let found = self.names.binary_search_by(|name| name.as_str().cmp(account));
        found.map_err(|_| format!("no account `{account}`").into())
    }

    fn word(&self, account: usize, which: usize) -> io::Result<u64> {
        let mut word = [0];
        self.accounts.read(account * LENGTH + which, &mut word)?;
        Ok(word[0])
    }

    fn set(&self, account: usize, which: usize, word: u64) -> io::Result<()> {
        self.accounts.write(account * LENGTH + which, &[word])
    }
}

impl<W: Words> Store for Files<W> {
    fn read(&self, account: &str) -> Result<i64, Failure> {
        Ok(self.word(self.place(account)?, CENTS)?.cast_signed())
    }

    fn write(
        &self,
        transfer: &Transfer,
        from: i64,
        to: i64,
        grant: Option<Grant>,
    ) -> Result<(), Failure> {
        let after = [(self.place(&transfer.from)?, from), (self.place(&transfer.to)?, to)];
        let nanos = |grant: Grant| u64::try_from(grant.waited.as_nanos()).unwrap_or(u64::MAX);
        let entry = Entry {
            after,
            token: grant.map_or(0, |grant| grant.token.get()),
            worker: self.worker,
            waited_nanos: grant.map_or(0, nanos),
        };
        for (account, _) in after {
            self.set(account, MARK, transfer.at as u64 + 1)?;
        }
        self.journal.write(transfer.at, &entry)?;
        for (account, _) in after {
            self.set_from(&entry, account)?;
            self.set(account, MARK, 0)?;
        }
        Ok(())
    }

    fn begin(&self, transfer: &Transfer, grant: Grant) -> Result<bool, Failure> {
        for account in [&transfer.from, &transfer.to] {
            self.fence(account, grant)?;
            self.settle(account)?;
        }
        Ok(!self.is_done(transfer)?)
    }

    fn is_done(&self, transfer: &Transfer) -> Result<bool, Failure> {
        Ok(self.journal.read(transfer.at)?.is_some())
    }
}

#[cfg(test)]
mod tests;
