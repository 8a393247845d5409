use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use locks_core::LockError;

use crate::server::Server;

/// The servers that this process runs for its machine, by their directories. They live as long as the
/// process does, or until they cannot go on.
type Servers = HashMap<PathBuf, Server>;

/// One process's own. A forked child has a copy of its parent's, which may have been in use at that
/// moment, and begins anew.
struct Generation {
    pid: u32,
    servers: Mutex<Servers>,
    next: OnceLock<Box<Generation>>,
}

static FIRST: OnceLock<Generation> = OnceLock::new();

/// Serves the directory from this process, if `is_served` says that nobody does; `start` begins.
///
/// # Errors
/// Those of `start`.
pub(super) fn serve(
    directory: &Path,
    is_served: impl Fn() -> bool,
    start: impl FnOnce() -> Result<Server, LockError>,
) -> Result<(), LockError> {
    let mut servers = servers();
    // Another thread has been quicker.
    if is_served() {
        return Ok(());
    }
    // Whatever runs here for it is not to be found any more. What is gone is forgotten.
    let path = std::fs::canonicalize(directory);
    servers.retain(|served, server| server.is_running() && path.as_ref().ok() != Some(served));
    let server = start()?;
    let path = path.or_else(|_| std::fs::canonicalize(directory));
    servers.insert(path.unwrap_or_else(|_| directory.to_owned()), server);
    Ok(())
}

fn servers() -> MutexGuard<'static, Servers> {
    let pid = std::process::id();
    let mut generation = FIRST.get_or_init(Generation::new);
    while generation.pid != pid {
        generation = generation.next.get_or_init(|| Box::new(Generation::new()));
    }
    generation.servers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Generation {
    fn new() -> Self {
        let servers = Mutex::new(Servers::new());
        Self { pid: std::process::id(), servers, next: OnceLock::new() }
    }
}
