use std::time::Duration;

use crate::OwnerId;

/// The time for which a request waits for the lock ([C2](crate::contract#c2-waiting)).
///
/// `true`, `false` and a [`Duration`] convert into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Wait {
    /// Until it is granted.
    #[default]
    Forever,
    /// Not at all: granted now or [`Contended`](crate::ErrorKind::Contended).
    Try,
    /// At most this long, then [`Timeout`](crate::ErrorKind::Timeout).
    AtMost(Duration),
}

impl From<bool> for Wait {
    fn from(wait: bool) -> Self {
        if wait { Wait::Forever } else { Wait::Try }
    }
}

impl From<Duration> for Wait {
    fn from(limit: Duration) -> Self {
        Wait::AtMost(limit)
    }
}

/// The mode of a lock: which other holds its key can have at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// No other hold.
    #[default]
    Exclusive,
    /// Any number of shared holds.
    Shared,
    /// Permits, up to a number of them ([C16](crate::contract#c16-permits)).
    Permit {
        /// The number of permits of this hold: 1, unless [`take`](crate::LockBuilder::take) asked
        /// for more.
        take: u32,
        /// The number of permits there are, by this request's count: it is granted if no more are
        /// held, its own included.
        of: u32,
    },
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mode::Exclusive => f.write_str("exclusive"),
            Mode::Shared => f.write_str("shared"),
            Mode::Permit { take: 1, of } => write!(f, "one of {of} permits"),
            Mode::Permit { take, of } => write!(f, "{take} of {of} permits"),
        }
    }
}

/// The purpose of a lock, correctness or saved work, which decides the backend that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// Exclusion is needed for correctness.
    #[default]
    Strong,
    /// Doing the work twice is harmless: the backend installed by `install_weak` serves it, if
    /// there is one.
    Weak,
}

/// When [`hold_at_least`](Options::hold_at_least) keeps the key reserved after its hold has ended
/// ([C14](crate::contract#c14-bounds-of-a-hold)). In either case the hold is not stolen before the
/// time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Reserve {
    /// However it ended, unless an administrator ended it.
    #[default]
    Always,
    /// Only if its guard was [marked as done](crate::Guard::mark_done) and then released. Not if it
    /// was dropped without the mark, was lost, or its process died.
    IfDone,
}

/// The options of a request, as the builder and the attribute set them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The time to wait. `None` is the backend's default, which is [`Wait::Forever`] unless its URL
    /// says otherwise.
    pub wait: Option<Wait>,
    /// Exclusive, shared or permits.
    pub mode: Mode,
    /// Steal from a conflicting holder that has had the lock for longer than this
    /// ([C6](crate::contract#c6-stealing)).
    pub steal_after: Option<Duration>,
    /// Re-enter a hold of the same identity ([C9](crate::contract#c9-re-entry)).
    pub reentrant: bool,
    /// With `reentrant`: nest, in whatever mode that hold has, or fail with
    /// [`Contended`](crate::ErrorKind::Contended) at once where there is no such hold.
    pub only_nests: bool,
    /// The queueing policy: `Some(true)` never overtakes a waiter, `Some(false)` ignores the queue
    /// where the current holders permit it, `None` may barge for half a millisecond
    /// ([C3](crate::contract#c3-fairness)).
    pub fair: Option<bool>,
    /// The time for which a remote backend keeps the lock for a holder that no longer answers.
    /// Other backends ignore it, since their holds cannot expire.
    pub lease: Option<Duration>,
    /// Keep the key reserved until this long after the grant
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub hold_at_least: Option<Duration>,
    /// The condition of that reservation: always, or only if what was done under the lock succeeded
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub reserve: Reserve,
    /// End the hold this long after the grant ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub hold_at_most: Option<Duration>,
    /// The identity that holds the lock, in place of the thread or scope
    /// ([C9](crate::contract#c9-re-entry)).
    pub owner: Option<OwnerId>,
    /// Strong or weak; resolved before a backend sees the request.
    pub kind: Kind,
    /// Both shared and permits were asked for, which [`check`](Self::check) refuses.
    pub(crate) mixed: bool,
}

impl Options {
    /// More permits than one are asked for.
    pub(crate) fn takes_several(&self) -> bool {
        matches!(self.mode, Mode::Permit { take: 2.., .. })
    }
}
