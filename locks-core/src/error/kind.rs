use std::fmt;

/// What happened, sorted by what a caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Somebody else has it, and the request did not wait.
    Contended,
    /// Somebody else had it for as long as the request waited.
    Timeout,
    /// Waiting would never have ended (C10).
    Deadlock,
    /// The lock was held and has been given away (C8).
    Lost {
        /// How it came to be lost.
        cause: LostCause,
    },
    /// The key cannot be a key on any backend (C1).
    InvalidKey,
    /// The backend cannot do what was asked (C15).
    Unsupported,
    /// The set-up does not say, or contradicts itself about, which backend to use.
    NotConfigured,
    /// The arbiter cannot be reached.
    Unavailable,
    /// The key is in use with another capacity (C16).
    PermitsMismatch,
    /// The arbiter refuses this client.
    Unauthorized,
    /// A bound of the arbiter was hit.
    LimitExceeded,
    /// The arbiter and this client do not understand each other.
    Protocol,
    /// The operating system refused.
    Io,
}

/// How a lock came to be lost (C8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LostCause {
    /// A request with `steal_after` took it (C6).
    Stolen,
    /// It was held for as long as `hold_at_most` allows (C14).
    HeldTooLong,
    /// Its lease ran out before it was renewed (C8).
    Expired,
    /// It was released by an administrator.
    Evicted,
    /// The session that it belonged to has ended.
    SessionEnded,
    /// What was locked is no longer what it was: the file was removed or replaced.
    Replaced,
    /// The arbiter no longer knows of it.
    Forgotten,
}

impl ErrorKind {
    pub(super) fn summary(self) -> &'static str {
        match self {
            ErrorKind::Contended => "somebody else holds it",
            ErrorKind::Timeout => "somebody else held it for too long",
            ErrorKind::Deadlock => "waiting would never end",
            ErrorKind::Lost { cause } => cause.summary(),
            ErrorKind::InvalidKey => "not a key",
            ErrorKind::Unsupported => "not supported",
            ErrorKind::NotConfigured => "no backend is configured",
            ErrorKind::Unavailable => "cannot be reached",
            ErrorKind::PermitsMismatch => "locks and permits on one key",
            ErrorKind::Unauthorized => "access refused",
            ErrorKind::LimitExceeded => "a limit was reached",
            ErrorKind::Protocol => "the answer was not understood",
            ErrorKind::Io => "the operating system refused",
        }
    }
}

impl ErrorKind {
    /// See [`LockError::public_message`](super::LockError::public_message).
    pub(super) fn public_message(self) -> &'static str {
        match self {
            ErrorKind::Contended => "busy: another request holds the lock; try again later",
            ErrorKind::Timeout => {
                "busy: another request held the lock for too long; try again later"
            }
            ErrorKind::Deadlock => "busy: two requests waited for each other; try again",
            ErrorKind::Lost { .. } => {
                "interrupted: the lock was lost before the work was confirmed"
            }
            ErrorKind::Unavailable | ErrorKind::LimitExceeded => {
                "unavailable: locks cannot be granted at the moment; try again later"
            }
            ErrorKind::InvalidKey
            | ErrorKind::Unsupported
            | ErrorKind::NotConfigured
            | ErrorKind::PermitsMismatch
            | ErrorKind::Unauthorized
            | ErrorKind::Protocol
            | ErrorKind::Io => "internal error: a lock could not be acquired",
        }
    }
}

impl LostCause {
    pub(super) fn summary(self) -> &'static str {
        match self {
            LostCause::Stolen => "it was older than another request's `steal_after` and taken over",
            LostCause::HeldTooLong => "it was held for as long as `hold_at_most` allows",
            LostCause::Expired => "its lease ran out before it could be renewed",
            LostCause::Evicted => "an administrator released it",
            LostCause::SessionEnded => "the session it belonged to has ended",
            LostCause::Replaced => "what was locked has been removed or replaced",
            LostCause::Forgotten => "the arbiter no longer knows of it",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.summary())
    }
}

impl fmt::Display for LostCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.summary())
    }
}
