//! Where the balances are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::Failure;

/// Where the balances are.
///
/// Reading and writing are two steps, as they are with a file or a table: what happens in between
/// is what the locks are for.
pub(crate) trait Store: Send + Sync {
    fn read(&self, account: &str) -> Result<i64, Failure>;
    fn write(&self, account: &str, cents: i64) -> Result<(), Failure>;
}

/// Balances in memory.
pub(crate) struct Memory(BTreeMap<String, AtomicI64>);

impl Memory {
    pub(crate) fn new(balances: &BTreeMap<String, i64>) -> Self {
        let cells = balances.iter().map(|(name, cents)| (name.clone(), AtomicI64::new(*cents)));
        Self(cells.collect())
    }

    fn cell(&self, account: &str) -> Result<&AtomicI64, Failure> {
        self.0.get(account).ok_or_else(|| format!("no account `{account}`").into())
    }
}

// Relaxed: whoever holds an account's lock sees what its last holder wrote.
impl Store for Memory {
    fn read(&self, account: &str) -> Result<i64, Failure> {
        Ok(self.cell(account)?.load(Ordering::Relaxed))
    }

    fn write(&self, account: &str, cents: i64) -> Result<(), Failure> {
        self.cell(account)?.store(cents, Ordering::Relaxed);
        Ok(())
    }
}
