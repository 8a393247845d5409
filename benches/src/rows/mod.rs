//! The rows: one file each, and in each what a user would write.

mod async_alone;
mod async_tasks;
mod build;
mod eight_threads;
mod formatted;
mod functions;
mod literal;
mod memory;
mod name;
mod package;
mod two_threads;

use locks_benches::measure::Pace;
use locks_benches::report::Report;

/// One comparison, or a few that are measured together.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it measures, for `--help`.
    pub(crate) about: &'static str,
    pub(crate) run: fn(Pace) -> Vec<Report>,
}

pub(crate) const ROWS: &[Row] = &[
    Row { name: "literal", about: "a literal key, uncontended", run: literal::run },
    Row { name: "name", about: "a key looked up by `&str`, uncontended", run: name::run },
    Row {
        name: "formatted",
        about: "a formatted key, 1,000 and 100,000 keys",
        run: formatted::run,
    },
    Row { name: "two-threads", about: "two threads on different keys", run: two_threads::run },
    Row { name: "eight-threads", about: "eight threads on one key", run: eight_threads::run },
    Row { name: "async", about: "async, alone", run: async_alone::run },
    Row { name: "async-one-key", about: "1,000 tasks on one key", run: async_tasks::one_key },
    Row { name: "async-keys", about: "1,000 tasks on 1,000 keys", run: async_tasks::many_keys },
    Row { name: "memory", about: "bytes per key, and what is left", run: memory::run },
    Row { name: "build", about: "clean build of a hello world", run: build::run },
    Row { name: "functions", about: "build of 200 annotated functions", run: functions::run },
];
