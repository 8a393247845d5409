//! Trying again what somebody else is in the way of for a moment: at the books, or by a theft.

use locks_core::LockError;

use crate::fault;
use crate::files::Files;
use crate::kernel::{self, Nanos};
use crate::watch::{Signal, pause};

/// How soon to try again.
pub(crate) const SOON: Nanos = 200_000;
/// For how long.
const PATIENCE: Nanos = 10_000_000_000;

/// Calls `attempt` until it comes to something.
///
/// # Errors
/// Those of `attempt`; `Unavailable` if something is in the way for too long.
pub(crate) async fn persist<T>(
    files: &Files,
    key: &str,
    mut attempt: impl FnMut() -> Result<Option<T>, LockError>,
) -> Result<T, LockError> {
    let (signal, end) = (Signal::default(), kernel::now() + PATIENCE);
    loop {
        if let Some(outcome) = attempt()? {
            return Ok(outcome);
        }
        if kernel::now() > end {
            let directory = &files.directory;
            let pid = directory.epochs.holder(|inode| directory.in_table(inode));
            return Err(fault::held_up(&directory.name, pid).with_key(key));
        }
        pause(&signal, kernel::now() + SOON).await;
    }
}
