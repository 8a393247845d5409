//! The storm before its judges.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use locks_core::Backend;

use super::judge::{Counts, Judge, Violation, Wrong};
use super::log::Reader;
use super::plan::{PLANS, Plan};
use super::worker::{FAULTS, REFUSALS};

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Failure {
    Violation(Violation),
    Fault(String),
}

/// The judges of all keys.
pub(crate) struct Court {
    witness: PathBuf,
    cases: Vec<(Reader, Judge)>,
}

impl Court {
    pub(crate) fn new(witness: &Path, plans: impl IntoIterator<Item = Plan>) -> Self {
        let cases =
            plans.into_iter().map(|plan| (Reader::open(witness, plan.key), Judge::new(plan)));
        Self { witness: witness.to_owned(), cases: cases.collect() }
    }

    /// Hears what has happened since the last time.
    pub(crate) fn sit(&mut self) -> Result<(), Failure> {
        if let Ok(faults) = fs::read_to_string(self.witness.join(FAULTS)) {
            return Err(Failure::Fault(faults));
        }
        for (reader, judge) in &mut self.cases {
            for record in reader.news() {
                judge.hear(record).map_err(Failure::Violation)?;
            }
        }
        Ok(())
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.cases.iter().for_each(|(_, judge)| all += judge.counts);
        all
    }

    /// After the storm nobody has anything (C13), and tokens go on growing (C7).
    pub(crate) fn assert_all_free(
        &self,
        backend: &Backend,
        patience: Duration,
    ) -> Result<(), Failure> {
        for (plan, (_, judge)) in PLANS.iter().zip(&self.cases) {
            let key = plan.key;
            match backend.named(key).wait(patience).acquire() {
                Ok(guard) if guard.token().get() > judge.greatest() => {}
                Ok(guard) => {
                    let text = format!("`{key}`: {} after {}", guard.token(), judge.greatest());
                    return Err(Failure::Violation(Violation { wrong: Wrong::Token, text }));
                }
                Err(error) => {
                    return Err(Failure::Fault(format!("after the storm: {error:?}")));
                }
            }
        }
        Ok(())
    }
}

/// How many requests came to nothing, and how many were cancelled.
pub(crate) fn refusals(witness: &Path) -> (u64, u64) {
    let text = fs::read_to_string(witness.join(REFUSALS)).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let numbers = pairs.map(|(one, other)| (one.parse().unwrap(), other.parse().unwrap()));
    numbers.fold((0, 0), |sum: (u64, u64), pair: (u64, u64)| (sum.0 + pair.0, sum.1 + pair.1))
}
