use std::time::Duration;

use crate::{ErrorKind, LockError, OwnerId};

/// How long a request queues (C2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Wait {
    /// Until it is granted.
    #[default]
    Forever,
    /// Not at all: granted now or [`Contended`](crate::ErrorKind::Contended).
    No,
    /// At most this long, then [`Timeout`](crate::ErrorKind::Timeout).
    AtMost(Duration),
}

impl From<bool> for Wait {
    fn from(wait: bool) -> Self {
        if wait { Wait::Forever } else { Wait::No }
    }
}

impl From<Duration> for Wait {
    fn from(limit: Duration) -> Self {
        Wait::AtMost(limit)
    }
}

/// With whom a hold can share its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// With nobody.
    #[default]
    Exclusive,
    /// With other shared holds.
    Shared,
    /// One of `of` permits (C16).
    Permit {
        /// The request is granted while fewer than this hold the key. Each request has a number of
        /// its own.
        of: u32,
    },
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mode::Exclusive => f.write_str("exclusive"),
            Mode::Shared => f.write_str("shared"),
            Mode::Permit { of } => write!(f, "one of {of} permits"),
        }
    }
}

/// How much the lock matters, and so which backend serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// Exclusion is needed for correctness.
    #[default]
    Strong,
    /// Mere avoidance is enough: the backend installed as weak serves it, if there is one.
    Weak,
}

/// Everything a request can ask for; the builder and the attribute fill it in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How long to queue (C2). `None`: the backend's default, which is [`Wait::Forever`] unless
    /// its URL says otherwise.
    pub wait: Option<Wait>,
    /// Exclusive, shared or a permit.
    pub mode: Mode,
    /// Take over a conflicting hold that is older than this (C6).
    pub steal_after: Option<Duration>,
    /// Nest in a hold of one's own (C9).
    pub reentrant: bool,
    /// `Some(true)`: overtake nobody; `Some(false)`: overtake everybody; `None`: barge within
    /// half a millisecond (C3).
    pub fair: Option<bool>,
    /// How long the arbiter keeps the lock for a holder that has gone silent; only backends
    /// whose holds can expire have a use for it.
    pub lease: Option<Duration>,
    /// Keep the key reserved until this long after the grant (C14).
    pub hold_at_least: Option<Duration>,
    /// End the hold this long after the grant (C14).
    pub hold_at_most: Option<Duration>,
    /// The identity that asks, if it is not the thread or the scope (C9).
    pub owner: Option<OwnerId>,
    /// Strong or weak; resolved before a backend sees the request.
    pub kind: Kind,
    /// Both shared and permits were asked for, which [`check`](Self::check) refuses.
    pub(crate) mixed: bool,
}

impl Options {
    /// Refuses what no backend can do: no permits at all, and permits that are shared (C16).
    ///
    /// # Errors
    /// [`PermitsMismatch`](ErrorKind::PermitsMismatch), which says which of the two.
    #[inline]
    pub fn check(&self) -> Result<(), LockError> {
        if self.mixed || matches!(self.mode, Mode::Permit { of: 0 }) {
            return Err(self.refuse());
        }
        Ok(())
    }

    #[cold]
    fn refuse(&self) -> LockError {
        let why = if self.mixed {
            "`shared` and `permits` exclude each other: a permit is shared with the other permits"
        } else {
            "`permits(0)` would let nobody in: give at least 1"
        };
        LockError::new(ErrorKind::PermitsMismatch, "").with_message(why)
    }
}
