//! Where the balances are.

use std::collections::BTreeMap;
use std::collections::btree_map::IntoKeys;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use locks::Token;

use crate::Failure;
use crate::ledger::Transfer;

/// Where the balances are.
///
/// Reading and writing are two steps, as they are with a file or a table: what happens in between
/// is what the locks are for.
pub(crate) trait Store: Send + Sync {
    /// What is on an account.
    fn read(&self, account: &str) -> Result<i64, Failure>;

    /// What is on each of `accounts`.
    fn balances(&self, accounts: IntoKeys<String, i64>) -> Result<BTreeMap<String, i64>, Failure> {
        accounts.map(|account| Ok((account.clone(), self.read(&account)?))).collect()
    }

    /// Writes what is on the two accounts of `transfer` after it.
    fn write(
        &self,
        transfer: &Transfer,
        from: i64,
        to: i64,
        grant: Option<Grant>,
    ) -> Result<(), Failure>;

    /// Puts both accounts in order, once their locks are held; whether the transfer is still to
    /// be done.
    fn begin(&self, _: &Transfer, _: Grant) -> Result<bool, Failure> {
        Ok(true)
    }

    /// Whether somebody has done it before: asked without the locks, by the one who is to do it.
    fn is_done(&self, _: &Transfer) -> Result<bool, Failure> {
        Ok(false)
    }
}

/// The locks of a transfer, as they were granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) token: Token,
    pub(crate) waited: Duration,
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

    fn write(
        &self,
        transfer: &Transfer,
        from: i64,
        to: i64,
        _: Option<Grant>,
    ) -> Result<(), Failure> {
        self.cell(&transfer.from)?.store(from, Ordering::Relaxed);
        self.cell(&transfer.to)?.store(to, Ordering::Relaxed);
        Ok(())
    }
}
