//! The keys of the storm, and what may befall each.

use std::time::Duration;

use locks_core::{ErrorKind, LockError};

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) key: &'static str,
    /// Requests steal it.
    pub(crate) steals: bool,
    /// Of files: never here.
    pub(crate) deletes: bool,
    /// It is reserved for a while after each grant.
    pub(crate) least: bool,
    /// It is kept by leases, which may run out.
    pub(crate) leased: bool,
    /// For how long at most whoever decides may not hear that a request was withdrawn, and grant
    /// it, in nanoseconds: a server that stands still finds both when it goes on.
    pub(crate) deaf: u64,
}

const STRICT: Plan =
    Plan { key: "", steals: false, deletes: false, least: false, leased: false, deaf: 0 };

/// Apart, so that on most keys nothing has an excuse.
pub(crate) const PLANS: [Plan; 6] = [
    Plan { key: "strict-0", ..STRICT },
    Plan { key: "strict-1", ..STRICT },
    Plan { key: "strict-2", ..STRICT },
    Plan { key: "stolen-0", steals: true, ..STRICT },
    Plan { key: "stolen-1", steals: true, ..STRICT },
    Plan { key: "reserved", least: true, ..STRICT },
];

/// Keys that are taken in one request. What nobody ever loses stays apart from what somebody does.
pub(crate) const SETS: [&[usize]; 3] = [&[0, 1], &[0, 1, 2], &[3, 4]];

/// The ages at which requests steal.
pub(crate) const AGES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(40), Duration::from_millis(60)];

/// How long a key stays reserved.
pub(crate) const LEAST: Duration = Duration::from_millis(4);

/// The threads of each process.
pub(crate) const THREADS: u32 = 3;

/// The longest of the short waits, in microseconds.
pub(crate) const WAIT: u64 = 40_000;

/// How long somebody stays who does not stay for long, in microseconds.
pub(crate) const STAY: u64 = 600;

/// Whether it is what may come of a request.
pub(crate) fn came_to_nothing(error: &LockError) -> bool {
    // With no server there for a moment a short wait comes to nothing; and what was lost before its
    // grant was heard of, by one who stood still, has never been inside.
    error.is_contended() || error.is_lost() || error.kind() == ErrorKind::Unavailable
}

impl Plan {
    /// Whether nobody ever loses it.
    pub(crate) const fn is_strict(&self) -> bool {
        !self.steals && !self.deletes && !self.leased
    }
}
