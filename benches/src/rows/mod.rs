//! The rows: one file each, and in each what a user would write.

mod async_alone;
mod async_tasks;
mod build;
mod eight_threads;
#[cfg(unix)]
pub(crate) mod file;
mod formatted;
mod functions;
#[cfg(unix)]
mod latencies;
mod literal;
mod memory;
mod name;
mod package;
#[cfg(unix)]
mod place;
#[cfg(unix)]
pub(crate) mod server;
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
    /// A directory for files and sockets.
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
    Row {
        name: "steal-after",
        about: "2,000 tasks on one key, who may steal it",
        run: Run::Anywhere(async_tasks::stealing),
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
    #[cfg(unix)]
    Row {
        name: "server",
        about: "a server, one client: acquire, and acquire and release",
        run: Run::In(server::alone::run),
    },
    #[cfg(unix)]
    Row {
        name: "server-clients",
        about: "a server, 64 clients with a connection each",
        run: Run::In(server::clients::run),
    },
    #[cfg(unix)]
    Row {
        name: "server-tasks",
        about: "a server, 64 tasks on one connection",
        run: Run::In(server::tasks::run),
    },
    #[cfg(unix)]
    Row {
        name: "server-handover",
        about: "a server, a key handed over between two clients and shared by eight",
        run: Run::In(server::handover::run),
    },
    #[cfg(unix)]
    Row {
        name: "server-takeover",
        about: "a newcomer's wait after the process that served was killed",
        run: Run::In(server::takeover::run),
    },
    #[cfg(unix)]
    Row {
        name: "postgres",
        about: "locks at a PostgreSQL server, beside its advisory locks",
        run: Run::In(server::postgres_engine::run),
    },
    #[cfg(unix)]
    Row {
        name: "redis",
        about: "locks at a Redis server, beside `SET NX` and a script",
        run: Run::In(server::redis_engine::run),
    },
    #[cfg(unix)]
    Row {
        name: "etcd",
        about: "locks in an etcd cluster, beside etcd's own",
        run: Run::In(server::etcd_engine::run),
    },
    #[cfg(target_os = "linux")]
    Row {
        name: "server-capacity",
        about: "operations that a server does with one core",
        run: Run::In(server::capacity::run),
    },
    #[cfg(target_os = "linux")]
    Row {
        name: "server-memory",
        about: "a server's memory for a held key and for an idle connection",
        run: Run::In(server::memory::run),
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
