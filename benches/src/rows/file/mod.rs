//! Locks in files: what excludes the processes of one machine from each other.

pub(crate) mod alone;
mod board;
pub(crate) mod child;
mod contestant;
mod crowd;
pub(crate) mod processes;
mod python;
pub(crate) mod threads;

use std::path::Path;
use std::time::Duration;

use locks::Backend;
use locks::file::FileBackend;

/// How long everybody is ready to wait who can say so: longer than anybody has to.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Ours, with its files in `directory`.
fn backend(directory: &Path) -> Backend {
    let opened = FileBackend::new(directory);
    let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    Backend::new(opened)
}
