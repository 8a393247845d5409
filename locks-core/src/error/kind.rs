use std::fmt;

/// The kind of a [`LockError`](crate::LockError), by what a caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another holder has the lock, and the request did not wait.
    Contended,
    /// Another holder had the lock for as long as the request waited.
    Timeout,
    /// The wait would never have ended: the request is part of a cycle of holders and waiters
    /// ([C10](crate::contract#c10-deadlocks)).
    Deadlock,
    /// The request's [`CancelToken`](crate::CancelToken) was cancelled.
    Cancelled,
    /// The lock was held and has been lost ([C8](crate::contract#c8-loss)).
    Lost {
        /// Why it was lost.
        cause: LostCause,
    },
    /// The key is empty, too long or contains a NUL byte ([C1](crate::contract#c1-exclusion)).
    InvalidKey,
    /// The backend does not support an option of the request
    /// ([C15](crate::contract#c15-capabilities)).
    Unsupported,
    /// The configuration is missing, wrong or contradictory; the text names the remedy.
    NotConfigured,
    /// The backend cannot be reached, or cannot grant at the moment; trying again may help.
    Unavailable,
    /// The key is in use with permits where the request asked for a lock, or the other way round;
    /// or the request asks for no permits, or for more than there are
    /// ([C16](crate::contract#c16-permits)).
    PermitsMismatch,
    /// The backend refuses this client or this right.
    Unauthorized,
    /// A resource limit of the backend was reached.
    LimitExceeded,
    /// The answer of the backend was not understood, as with incompatible versions.
    Protocol,
    /// The operating system reported an error.
    Io,
}

/// The cause of the loss of a lock ([C8](crate::contract#c8-loss)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LostCause {
    /// A request with `steal_after` took it ([C6](crate::contract#c6-stealing)).
    Stolen,
    /// It was held for as long as `hold_at_most` allows
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    HeldTooLong,
    /// Its lease expired before it was renewed.
    Expired,
    /// An administrator released it.
    Evicted,
    /// The session that it belonged to has ended.
    SessionEnded,
    /// The locked file was removed or replaced.
    Replaced,
    /// The backend no longer knows of it.
    Forgotten,
    /// This process was forked from the one that holds it, which goes on holding it
    /// ([C4](crate::contract#c4-release)).
    Forked,
}

impl ErrorKind {
    pub(super) fn summary(self) -> &'static str {
        match self {
            ErrorKind::Contended => "somebody else holds it",
            ErrorKind::Timeout => "somebody else held it for too long",
            ErrorKind::Deadlock => "waiting would never end",
            ErrorKind::Cancelled => "the wait was cancelled",
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
            ErrorKind::Cancelled => "cancelled: the wait for a lock was given up",
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
            LostCause::Forked => {
                "this process was forked from the one that holds it, and has to acquire it itself"
            }
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
