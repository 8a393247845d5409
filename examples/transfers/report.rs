//! The table at the end: is every cent where it belongs?

use std::fmt;
use std::time::Duration;

use crate::args::Plan;
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Waits};

/// How many of the most contended accounts are listed.
const SHOWN: usize = 5;

/// What became of a run, beside what should have.
pub(crate) struct Report {
    ledger: String,
    workers: String,
    locked: bool,
    expected_total: i64,
    found_total: i64,
    /// Account, expected, found.
    wrong: Vec<(String, i64, i64)>,
    contended: Vec<(String, Waits)>,
    /// Transfers that should have been applied.
    transfers: usize,
    outcome: Outcome,
}

impl Report {
    pub(crate) fn new(plan: &Plan, ledger: &Ledger, outcome: Outcome) -> Self {
        let before = ledger.opening_balances();
        let expected = Ledger::closing_balances(&ledger.transfers, &before);
        let found = |account| outcome.balances.get(account).copied().unwrap_or_default();
        let accounts = expected.iter().map(|(account, &cents)| (account, cents, found(account)));
        let wrong = accounts.filter(|(_, expected, found)| expected != found);
        let mut wrong = wrong.map(|(name, a, b)| (name.clone(), a, b)).collect::<Vec<_>>();
        wrong.sort_by_key(|(_, expected, found)| std::cmp::Reverse((expected - found).abs()));
        Self {
            ledger: plan.ledger.display().to_string(),
            workers: workers(plan),
            locked: plan.locked,
            expected_total: before.values().sum(),
            found_total: outcome.balances.values().sum(),
            wrong,
            contended: most_contended(&outcome),
            transfers: ledger.transfers.len(),
            outcome,
        }
    }

    /// Whether every account has what it should have, and every transfer was applied.
    pub(crate) fn is_sound(&self) -> bool {
        let complete = self.outcome.applied == self.transfers;
        self.wrong.is_empty() && self.found_total == self.expected_total && complete
    }
}

fn workers(plan: &Plan) -> String {
    let (threads, tasks) = (plan.threads, plan.tasks);
    match plan.processes {
        0 => format!("{threads} threads and {tasks} tasks at once"),
        1 => format!("1 process of {threads} threads and {tasks} tasks"),
        many => format!("{many} processes at once, each of {threads} threads and {tasks} tasks"),
    }
}

fn most_contended(outcome: &Outcome) -> Vec<(String, Waits)> {
    let accounts = outcome.waits.iter().filter(|(_, waits)| waits.transfers > 0);
    let mut accounts = accounts.map(|(name, waits)| (name.clone(), *waits)).collect::<Vec<_>>();
    accounts.sort_by_key(|(_, waits)| std::cmp::Reverse(waits.total));
    accounts.truncate(SHOWN);
    accounts
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locks = if self.locked { "one per account, two per transfer" } else { "none" };
        let Outcome { applied, took, .. } = self.outcome;
        let per_second = applied as f64 / took.as_secs_f64();
        writeln!(f, "ledger        {}", self.ledger)?;
        writeln!(
            f,
            "transfers     {}, over {} accounts",
            Thousands(applied),
            Thousands(self.outcome.balances.len())
        )?;
        writeln!(f, "workers       {}", self.workers)?;
        writeln!(f, "locks         {locks}")?;
        writeln!(f, "time          {:.3} s", took.as_secs_f64())?;
        if self.locked {
            let rate = Thousands(per_second as usize);
            writeln!(f, "acquisitions  {rate} per second, of two keys each")?;
        }
        writeln!(f)?;
        self.write_balances(f)?;
        self.write_workers(f)?;
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
        let missing = self.transfers.abs_diff(self.outcome.applied);
        let conserved = if self.found_total == self.expected_total { "conserved" } else { "WRONG" };
        let lost = if self.wrong.is_empty() { "no lost update" } else { "UPDATES LOST" };
        writeln!(f, "{:20}{:>16}{:>16}", "", "expected", "found")?;
        writeln!(f, "{:20}{expected:>16}{found:>16}  {conserved}", "total of balances")?;
        writeln!(f, "{:20}{:>16}{:>16}  {lost}", "wrong accounts", 0, self.wrong.len())?;
        if missing > 0 {
            writeln!(f, "{:20}{:>16}{:>16}  TRANSFERS LOST", "missing transfers", 0, missing)?;
        }
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
        for (account, Waits { transfers, total, longest }) in &self.contended {
            let transfers = Thousands(*transfers as usize);
            let (waited, longest) = (Millis(*total), Millis(*longest));
            writeln!(f, "  {account:18}{transfers:>16}{waited:>16}{longest:>16}")?;
        }
        Ok(())
    }

    fn write_workers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { workers, found, .. } = &self.outcome;
        if workers.is_empty() {
            return Ok(());
        }
        let head = ["transfers", "longest wait", "killed"];
        writeln!(f)?;
        writeln!(f, "{:20}{:>16}{:>16}{:>16}", "processes", head[0], head[1], head[2])?;
        for (number, worker) in (1..).zip(workers) {
            let (applied, longest) = (Thousands(worker.applied), Millis(worker.longest));
            writeln!(f, "  {number:<18}{applied:>16}{longest:>16}{:>16}", worker.killed)?;
        }
        if self.outcome.servers_killed > 0 {
            let times = Thousands(self.outcome.servers_killed);
            writeln!(f, "  whoever served the locks was killed {times} times")?;
        }
        if self.locked && workers.iter().any(|worker| worker.killed > 0) {
            let left = "accounts that killed ones left in the middle of a transfer, and others put";
            writeln!(f, "  {left} in order: {}", Thousands(*found as usize))?;
        }
        Ok(())
    }
}

/// A time in milliseconds.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1} ms", self.0.as_secs_f64() * 1e3))
    }
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
