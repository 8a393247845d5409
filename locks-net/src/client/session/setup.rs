//! What a session is made of.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{Clock, ProcessInfo};

use crate::secret::RandomSource;

/// What a session is made of.
pub(crate) struct SessionSetup {
    /// What the backend is called, in errors.
    pub(crate) name: String,
    /// The time, which goes on in suspend.
    pub(crate) clock: Arc<dyn Clock>,
    /// Who the client is, for others.
    pub(crate) party: ProcessInfo,
    /// The lease to ask for.
    pub(crate) lease: Option<Duration>,
    /// How long the server may take to be reached, and to answer what needs no waiting (C2).
    pub(crate) connect: Duration,
    /// For the nonces of handshakes.
    pub(crate) random: RandomSource,
}
