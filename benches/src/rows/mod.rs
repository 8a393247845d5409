//! The rows: one file each, and in each what a user would write.

mod async_alone;
mod async_tasks;
mod build;
mod eight_threads;
#[cfg(unix)]
pub(crate) mod file;
mod formatted;
mod functions;
mod literal;
mod memory;
mod name;
mod package;
mod two_threads;

use std::path::Path;

use locks_benches::measure::Pace;
use locks_benches::report::Report;

/// One comparison, or a few that are measured together.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it measures, for `--help`.
    pub(crate) about: &'static str,
    pub(crate) run: Run,
}

/// What a row takes to run.
#[derive(Debug)]
pub(crate) enum Run {
    Anywhere(fn(Pace) -> Vec<Report>),
    /// A directory to lock files in.
    In(fn(Pace, &Path) -> Vec<Report>),
}

pub(crate) const ROWS: &[Row] = &[
    Row { name: "literal", about: "a literal key, uncontended", run: Run::Anywhere(literal::run) },
    Row {
        name: "name",
        about: "a key looked up by `&str`, uncontended",
        run: Run::Anywhere(name::run),
    },
    Row {
        name: "formatted",
        about: "a formatted key, 1,000 and 100,000 keys",
        run: Run::Anywhere(formatted::run),
    },
    Row {
        name: "two-threads",
        about: "two threads on different keys",
        run: Run::Anywhere(two_threads::run),
    },
    Row {
        name: "eight-threads",
        about: "eight threads on one key",
        run: Run::Anywhere(eight_threads::run),
    },
    Row { name: "async", about: "async, alone", run: Run::Anywhere(async_alone::run) },
    Row {
        name: "async-one-key",
        about: "1,000 tasks on one key",
        run: Run::Anywhere(async_tasks::one_key),
    },
    Row {
        name: "async-keys",
        about: "1,000 tasks on 1,000 keys",
        run: Run::Anywhere(async_tasks::many_keys),
    },
    #[cfg(unix)]
    Row { name: "file", about: "a file, uncontended", run: Run::In(file::alone::run) },
    #[cfg(unix)]
    Row {
        name: "file-processes",
        about: "a file, handed over between processes that wait with a timeout",
        run: Run::In(file::processes::run),
    },
    #[cfg(unix)]
    Row {
        name: "file-threads",
        about: "a file, handed over within one process",
        run: Run::In(file::threads::run),
    },
    Row {
        name: "memory",
        about: "bytes per key, and what is left",
        run: Run::Anywhere(memory::run),
    },
    Row { name: "build", about: "clean build of a hello world", run: Run::Anywhere(build::run) },
    Row {
        name: "functions",
        about: "build of 200 annotated functions",
        run: Run::Anywhere(functions::run),
    },
];
