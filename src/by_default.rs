//! The default of those who choose none, where processes have to agree on it.

use locks_core::directory::{DefaultMarker, default_directory};
use locks_core::fork::Inherited;
use locks_core::{Backend, LockError};

use crate::url;

/// Kept until the process ends.
static MARKER: Inherited<DefaultMarker> = Inherited::new();

/// Opens the backend at `url`, and says for as long as this process lives that it has it by
/// default.
///
/// # Errors
/// `NotConfigured` if other processes of this user have another one by default, since the two would
/// not exclude each other.
pub(crate) fn open(url: &str) -> Result<Backend, LockError> {
    declare(url)?;
    url::open(url)
}

/// Says that this process has the backend at `url` by default.
///
/// # Errors
/// As [`open`].
pub(crate) fn declare(url: &str) -> Result<(), LockError> {
    let marker = DefaultMarker::keep(&default_directory()?, url)?;
    // Whoever was here before has said the same.
    let _ = MARKER.get_or_init(|| marker);
    Ok(())
}

/// Has that stand when this process executes another program.
///
/// # Errors
/// Those of the system.
#[cfg(feature = "file")]
pub(crate) fn keep_across_exec() -> Result<(), LockError> {
    MARKER.get().map_or(Ok(()), DefaultMarker::keep_across_exec)
}

/// What the processes of this user that run now have by default, if any do.
pub(crate) fn in_use() -> Result<Option<String>, LockError> {
    DefaultMarker::in_use(&default_directory()?)
}
