//! What an arbiter is made of.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{Clock, Moment, Token};

use super::limits::Limits;
use crate::journal::Ledger;
use crate::secret::RandomSource;

/// Sees to it that a token may be granted with a lease, and that so many more bytes can be written
/// down, whatever becomes of the disk. Otherwise says why not, for people.
pub(crate) type Promise = Box<dyn FnMut(Token, Duration, usize) -> Result<(), String> + Send>;

/// What an arbiter is made of.
pub(crate) struct ArbiterSetup {
    pub(crate) limits: Limits,
    /// This life of the server.
    pub(crate) server: [u8; 16],
    /// What the serving process is called.
    pub(crate) process: String,
    /// The time awake: ages, waits, bounds.
    pub(crate) clock: Arc<dyn Clock>,
    /// The time that goes on in suspend: leases.
    pub(crate) boot_clock: Arc<dyn Clock>,
    /// For sessions' secrets.
    pub(crate) random: RandomSource,
    /// What the journal had.
    pub(crate) ledger: Ledger,
    /// All tokens are greater.
    pub(crate) floor: Token,
    /// Sees to it that a grant can be written down.
    pub(crate) promise: Promise,
    /// Nothing is granted for so long: somebody may still hold what was granted in a life of which
    /// there is no record (N4).
    pub(crate) silent_for: Option<Duration>,
}

/// What does not change.
pub(super) struct Fixed {
    pub(super) limits: Limits,
    pub(super) server: [u8; 16],
    pub(super) process: String,
    pub(super) boot_clock: Arc<dyn Clock>,
    pub(super) random: RandomSource,
    pub(super) started: Moment,
}
