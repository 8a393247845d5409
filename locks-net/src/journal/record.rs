use std::collections::BTreeMap;
use std::time::Duration;

use locks_core::{LostCause, Mode, Moment, OwnerId, ProcessInfo, Token};

use crate::pidfd::Process;

/// What the journal tells of (N4). Moments are those of the server's two clocks, which go on across
/// its restarts until the machine is started anew.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// A session has begun, or is told of anew.
    Session(SessionRecord),
    /// A session is over. Its holds have ended before.
    Gone { realm: u32 },
    /// A guard was granted.
    Grant(Grant),
    /// A guard's hold has ended: released (`None`), or taken away. The client may still have the
    /// guard. All guards of a hold that is taken away have records with the same moment. A snapshot
    /// repeats the record of one that was taken away until its client has given the guard up.
    Ended { realm: u32, request: u64, cause: Option<LostCause>, at: Moment },
    /// The age of the guard's hold counts from then (C6).
    Refreshed { realm: u32, request: u64, at: Moment },
    /// The guard has left its thread (C9).
    Disowned { realm: u32, request: u64 },
    /// What was done under the guard has succeeded (C14).
    Done { realm: u32, request: u64 },
    /// The guard's hold is shared (C9).
    Shared { realm: u32, request: u64 },
    /// A key is reserved although nobody holds it for that (C14); in snapshots.
    Reserved(Reserved),
    /// The reservation that the hold with this token had left was ended.
    Freed { key: String, token: Token },
}

/// Guards of a session that were taken away, by their requests, and why.
pub(crate) type LostGuards = BTreeMap<u64, LostCause>;

/// A session, as far as it outlives the server.
#[derive(Clone, PartialEq)]
pub(crate) struct SessionRecord {
    pub(crate) realm: u32,
    pub(crate) secret: [u8; 16],
    pub(crate) party: ProcessInfo,
    pub(crate) kept: SessionKind,
    pub(crate) lease: Duration,
    /// The name of the client that it belongs to, over TCP.
    pub(crate) client: Option<String>,
}

impl std::fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionRecord")
            .field("realm", &self.realm)
            .field("party", &self.party)
            .field("kept", &self.kept)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// What keeps a session (N1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// A process of this machine, while it lives.
    ByProcess(Process),
    /// Its lease.
    ByLease,
}

impl SessionKind {
    /// Whether a session that was kept by this may be gone on with by a connection that is: it does
    /// not change from one measure to the other.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (SessionKind::ByProcess(one), SessionKind::ByProcess(other)) => one.may_be(other),
            (SessionKind::ByLease, SessionKind::ByLease) => true,
            (SessionKind::ByProcess(_), SessionKind::ByLease)
            | (SessionKind::ByLease, SessionKind::ByProcess(_)) => false,
        }
    }
}

/// One guard: all keys of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grant {
    pub(crate) realm: u32,
    pub(crate) request: u64,
    pub(crate) lease: Duration,
    /// In ascending order of their keys.
    pub(crate) members: Vec<Member>,
}

/// One key of a guard; the engine's record of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: String,
    /// The guard's token.
    pub(crate) token: Token,
    /// That of the hold it is in, which is another one for some nested guards.
    pub(crate) outer: Token,
    pub(crate) nested: bool,
    pub(crate) mode: Mode,
    pub(crate) owner: Option<OwnerId>,
    /// What has to go on for it to be released, which is the owner or, in its name, a thread or
    /// scope (C10).
    pub(crate) runs_as: Option<OwnerId>,
    pub(crate) site: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) since: Option<Moment>,
    pub(crate) reserved_until: Option<Moment>,
    /// Whether it is reserved only if it was done, and then released.
    pub(crate) if_done: bool,
    pub(crate) is_done: bool,
    pub(crate) ends_at: Option<Moment>,
}

/// What remains of a hold that ended before its `hold_at_least` (C14).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reserved {
    pub(crate) key: String,
    pub(crate) mode: Mode,
    pub(crate) token: Token,
    pub(crate) until: Moment,
}
