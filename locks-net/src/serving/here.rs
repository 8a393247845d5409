use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use locks_core::fork::PerProcess;
use locks_core::{ErrorKind, LockError};

use crate::server::Server;

/// The servers that this process runs for its machine, by their directories. They live as long as
/// the process does, or until they cannot go on.
type Servers = BTreeMap<PathBuf, Server>;

static HERE: PerProcess<Mutex<Servers>> = PerProcess::new();

/// Serves the directory from this process, if `is_served` says that nobody does; `start` begins.
///
/// # Errors
/// Those of `start`, and, once, why the one before could not go on.
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
    let before = std::fs::canonicalize(directory).ok().and_then(|path| servers.remove(&path));
    if let Some(before) = before {
        // If it still runs it is not to be found any more.
        let ended = if before.is_running() { Ok(()) } else { before.wait() };
        match ended {
            // The next one would not fare better.
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            _ => drop(before),
        }
    }
    servers.retain(|_, server| server.is_running());
    let server = start()?;
    let path = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    servers.insert(path, server);
    Ok(())
}

fn servers() -> MutexGuard<'static, Servers> {
    HERE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}
