//! The table at the end: is every cent where it belongs?

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::Failure;
use crate::apply::Run;
use crate::args::Plan;
use crate::ledger::Ledger;

/// How many of the most contended accounts are listed.
const SHOWN: usize = 5;

/// What became of a run.
pub(crate) struct Report {
    ledger: String,
    workers: String,
    locked: bool,
    transfers: usize,
    accounts: usize,
    expected_total: i64,
    found_total: i64,
    /// Account, expected, found.
    wrong: Vec<(String, i64, i64)>,
    took: Duration,
    contended: Vec<Contended>,
}

struct Contended {
    account: String,
    transfers: u64,
    waited: Duration,
    longest: Duration,
}

impl Report {
    pub(crate) fn new(
        plan: &Plan,
        run: &Run,
        before: &BTreeMap<String, i64>,
        took: Duration,
    ) -> Result<Self, Failure> {
        let expected = Ledger::closing_balances(&run.transfers, before);
        let mut found_total = 0;
        let mut wrong = Vec::new();
        for (account, &expected) in &expected {
            let found = run.store.read(account)?;
            found_total += found;
            if found != expected {
                wrong.push((account.clone(), expected, found));
            }
        }
        wrong.sort_by_key(|(_, expected, found)| std::cmp::Reverse((expected - found).abs()));
        Ok(Self {
            ledger: plan.ledger.display().to_string(),
            workers: format!("{} threads and {} tasks at once", plan.threads, plan.tasks),
            locked: plan.locked,
            transfers: run.applied(),
            accounts: before.len(),
            expected_total: before.values().sum(),
            found_total,
            wrong,
            took,
            contended: most_contended(run),
        })
    }

    /// Whether every account has what it should have.
    pub(crate) fn is_sound(&self) -> bool {
        self.wrong.is_empty() && self.found_total == self.expected_total
    }
}

fn most_contended(run: &Run) -> Vec<Contended> {
    let nanos =
        |cell: &std::sync::atomic::AtomicU64| Duration::from_nanos(cell.load(Ordering::Relaxed));
    let accounts = run.waits().map(|(account, waits)| Contended {
        account: account.clone(),
        transfers: waits.transfers.load(Ordering::Relaxed),
        waited: nanos(&waits.total_nanos),
        longest: nanos(&waits.longest_nanos),
    });
    let mut accounts = accounts.filter(|found| found.transfers > 0).collect::<Vec<_>>();
    accounts.sort_by_key(|found| std::cmp::Reverse(found.waited));
    accounts.truncate(SHOWN);
    accounts
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locks = if self.locked { "one per account, two per transfer" } else { "none" };
        let per_second = self.transfers as f64 / self.took.as_secs_f64();
        writeln!(f, "ledger        {}", self.ledger)?;
        writeln!(
            f,
            "transfers     {}, over {} accounts",
            Thousands(self.transfers),
            Thousands(self.accounts)
        )?;
        writeln!(f, "workers       {}", self.workers)?;
        writeln!(f, "locks         {locks}")?;
        writeln!(f, "time          {:.3} s", self.took.as_secs_f64())?;
        if self.locked {
            let rate = Thousands(per_second as usize);
            writeln!(f, "acquisitions  {rate} per second, of two keys each")?;
        }
        writeln!(f)?;
        self.write_balances(f)?;
        self.write_contended(f)?;
        let verdict = match (self.is_sound(), self.locked) {
            (true, true) => "every cent is where it belongs",
            (true, false) => "nothing was lost, by luck: nothing prevents it",
            (false, true) => "cents are not where they belong, in spite of the locks: a defect",
            (false, false) => "cents are not where they belong: that is what the locks prevent",
        };
        writeln!(f, "\n{verdict}")
    }
}

impl Report {
    fn write_balances(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, found) = (Money(self.expected_total), Money(self.found_total));
        let conserved = if self.found_total == self.expected_total { "conserved" } else { "WRONG" };
        let lost = if self.wrong.is_empty() { "no lost update" } else { "UPDATES LOST" };
        writeln!(f, "{:20}{:>16}{:>16}", "", "expected", "found")?;
        writeln!(f, "{:20}{expected:>16}{found:>16}  {conserved}", "total of balances")?;
        writeln!(f, "{:20}{:>16}{:>16}  {lost}", "wrong accounts", 0, self.wrong.len())?;
        for (account, expected, found) in self.wrong.iter().take(SHOWN) {
            let (expected, found) = (Money(*expected), Money(*found));
            writeln!(f, "  {account:18}{expected:>16}{found:>16}")?;
        }
        match self.wrong.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }

    fn write_contended(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.contended.is_empty() {
            return Ok(());
        }
        let head = ["transfers", "waited in sum", "longest wait"];
        writeln!(f)?;
        writeln!(f, "{:20}{:>16}{:>16}{:>16}", "most contended", head[0], head[1], head[2])?;
        for Contended { account, transfers, waited, longest } in &self.contended {
            let transfers = Thousands(*transfers as usize).to_string();
            let (waited, longest) = (millis(*waited), millis(*longest));
            writeln!(f, "  {account:18}{transfers:>16}{waited:>16}{longest:>16}")?;
        }
        Ok(())
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// A number with a comma at every third digit.
pub(crate) struct Thousands(pub(crate) usize);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&grouped(self.0 as u64))
    }
}

/// Cents as money.
struct Money(i64);

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        f.pad(&format!("{sign}{}.{:02}", grouped(cents / 100), cents % 100))
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (number, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(Thousands(number).to_string(), shown);
        }
        assert_eq!(Money(-123_405).to_string(), "-1,234.05");
    }
}
