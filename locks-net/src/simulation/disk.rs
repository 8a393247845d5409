//! What outlives a server, as its store keeps it (N4).

use std::time::Duration;

use locks_core::Token;

use crate::journal::{Ledger, Record, Records, Recovered};

/// Tokens are covered in blocks of so many.
const BLOCK: u64 = 64;

#[derive(Debug, Default)]
pub(super) struct Disk {
    journal: Vec<u8>,
    /// The greatest token covered when the journal was begun.
    floor: u64,
    /// The greatest token covered so far.
    covered: u64,
    /// No token from here on was ever granted.
    tokens: u64,
    /// The greatest lease that was ever promised to a session kept by it.
    lease: Duration,
    /// The journal is of an earlier start of the machine.
    is_void: bool,
    /// Somebody may still hold what was granted in a life of which there is no record.
    is_silent: bool,
}

impl Disk {
    /// What a new server goes on from.
    ///
    /// # Errors
    /// If the journal does not add up.
    pub(super) fn recover(&mut self) -> Result<Recovered, String> {
        if std::mem::take(&mut self.is_void) {
            self.journal.clear();
            self.floor = self.tokens;
            self.is_silent = !self.lease.is_zero();
        }
        let mut ledger = Ledger::default();
        let mut floor = Token::new(self.floor);
        let mut records = Records::new(&self.journal);
        while let Some(record) = records.next().map_err(|corrupt| corrupt.to_string())? {
            if let Record::Grant(grant) = &record {
                floor = grant.members.iter().map(|member| member.token).fold(floor, Token::max);
            }
            ledger.apply(record).map_err(str::to_owned)?;
        }
        let len = records.offset();
        self.journal.truncate(len);
        let silent_for = self.is_silent.then_some(self.lease);
        Ok(Recovered { ledger, floor, silent_for })
    }

    /// Makes sure of these before they are used.
    pub(super) fn cover(&mut self, (token, lease): (Token, Duration)) {
        self.covered = self.covered.max(token.get());
        if token.get() >= self.tokens {
            self.tokens = token.get() + BLOCK;
        }
        self.lease = self.lease.max(lease);
    }

    /// The records that are on the disk now, with the batch or a part of it.
    pub(super) fn append(&mut self, batch: &[u8]) -> Vec<Record> {
        self.journal.extend_from_slice(batch);
        read(batch)
    }

    /// The journal is replaced by a shorter one.
    pub(super) fn compact(&mut self, snapshot: Vec<u8>) {
        self.journal = snapshot;
        self.floor = self.covered;
    }

    /// The machine was started anew.
    pub(super) fn rebooted(&mut self) {
        self.is_void = true;
    }

    /// Nobody can hold anything any more of which there is no record.
    pub(super) fn silence_is_over(&mut self) {
        self.is_silent = false;
    }
}

/// Those of the records that are whole.
pub(super) fn read(bytes: &[u8]) -> Vec<Record> {
    let mut records = Records::new(bytes);
    std::iter::from_fn(|| records.next().ok().flatten()).collect()
}
