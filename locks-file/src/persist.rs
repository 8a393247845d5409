//! Trying again what somebody else is in the way of for a moment: at the books, or by a theft.

use locks_core::LockError;

use crate::directory::{Directory, STALL_TIMEOUT};
use crate::kernel::{self, Nanos};
use crate::watch::{Signal, pause};

/// How soon to try again.
pub(crate) const SOON: Nanos = 200_000;
/// For how long, where it is not the books that are waited for.
const LONGEST: Nanos = 10_000_000_000;

/// Calls `attempt` until it comes to something.
///
/// # Errors
/// Those of `attempt`; `Unavailable` if whoever has the books does not get on.
pub(crate) async fn persist<T>(
    directory: &Directory,
    key: &str,
    mut attempt: impl FnMut() -> Result<Option<T>, LockError>,
) -> Result<T, LockError> {
    let (signal, end) = (Signal::default(), kernel::now() + LONGEST);
    let mut ticket = None;
    loop {
        if let Some(outcome) = attempt()? {
            return Ok(outcome);
        }
        let now = kernel::now();
        let epochs = &directory.epochs;
        let in_table = |inode| directory.in_table(inode);
        epochs.check_progress(STALL_TIMEOUT, in_table).map_err(|error| error.with_key(key))?;
        if now > end && !epochs.is_waited_for() {
            return Err(epochs.held_up(in_table).with_key(key));
        }
        if epochs.is_waited_for() {
            // So that its place comes, whoever else comes in meanwhile.
            ticket.get_or_insert_with(|| epochs.queue_up());
        }
        pause(&signal, now + SOON).await;
    }
}
