//! The storm before its judges.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use locks_core::Backend;

use super::judge::{Counts, Judge, Violation, Wrong};
use super::log::Reader;
use super::plan::{PLANS, Plan};
use super::worker::{FAULTS, NO_ROOM, REFUSALS};

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
        // One that is just being written ends with no line yet.
        if let Ok(faults) = fs::read_to_string(self.witness.join(FAULTS))
            && faults.ends_with('\n')
        {
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

/// Requests that came to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) timeouts: u64,
    pub(crate) cancelled: u64,
    /// For want of room on the disk.
    pub(crate) no_room: u64,
}

impl Refusals {
    /// Those that the processes have written down at their end.
    pub(crate) fn read(witness: &Path) -> Self {
        let text = fs::read_to_string(witness.join(REFUSALS)).unwrap_or_default();
        let no_room = fs::read_to_string(witness.join(NO_ROOM)).unwrap_or_default();
        let mut all = Self { no_room: no_room.lines().count() as u64, ..Self::default() };
        for line in text.lines() {
            let numbers = Vec::from_iter(line.split(' ').map(|it| it.parse::<u64>().unwrap()));
            let [timeouts, cancelled] = numbers[..] else { panic!("`{line}`") };
            all.timeouts += timeouts;
            all.cancelled += cancelled;
        }
        all
    }
}
