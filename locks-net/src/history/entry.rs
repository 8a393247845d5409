use std::fmt;
use std::time::Duration;

use locks_core::{ErrorKind, LostCause, Mode, Moment, Token};

/// One request of one client process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) client: u32,
    pub(crate) request: u64,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// In real time.
    pub(crate) at: Moment,
    pub(crate) what: What,
}

/// What keeps the sessions of a client (N1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptBy {
    Process,
    Lease,
}

/// What a request asks for, as far as it matters here.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) keys: Vec<String>,
    pub(crate) mode: Mode,
    /// The thread in whose name it is made, if it is in one's.
    pub(crate) owner: Option<u64>,
    /// The owner of several clients in whose name it is made, if it is in one's.
    pub(crate) shared: Option<u8>,
    pub(crate) reentrant: bool,
    pub(crate) steal_after: Option<Duration>,
    pub(crate) at_least: Option<Duration>,
    pub(crate) at_most: Option<Duration>,
    /// Its own, or that of its session.
    pub(crate) lease: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    // What clients do and learn.
    /// A client process has begun; this is the lease of its session.
    Joined {
        client: u32,
        kept: KeptBy,
        lease: Duration,
    },
    Asked {
        it: Id,
        ask: Ask,
    },
    /// The client has it, by what it knows.
    Granted {
        it: Id,
        token: Token,
    },
    Refused {
        it: Id,
        why: ErrorKind,
    },
    /// Withdrawn before its outcome was known.
    GivenUp {
        it: Id,
    },
    /// Its release has begun.
    Released {
        it: Id,
    },
    /// It is known to be released.
    Confirmed {
        it: Id,
    },
    /// The client has looked, and still has it.
    Held {
        it: Id,
    },
    Lost {
        it: Id,
        cause: LostCause,
    },
    /// It belongs to no thread any more.
    Disowned {
        it: Id,
    },
    Evicting {
        key: String,
        token: Token,
    },
    Left {
        client: u32,
    },

    // What happens to them.
    Paused {
        client: u32,
    },
    Resumed {
        client: u32,
    },
    /// The process is gone.
    Died {
        client: u32,
    },
    /// Its connection has ended, or a server that had it.
    Cut {
        client: u32,
    },
    /// Its session was opened on a connection, and it knows.
    Opened {
        client: u32,
        session: u32,
    },
    /// A frame of its session has come to where the server can read it.
    Arrived {
        client: u32,
    },

    // What the server has written down.
    /// Keys with their tokens, and whether it is nested in a hold that there was.
    Given {
        it: Id,
        keys: Vec<(String, Token, bool)>,
    },
    Taken {
        it: Id,
        cause: Option<LostCause>,
    },
    Refreshed {
        it: Id,
    },
    /// The reservation of the key was ended.
    Freed {
        key: String,
        token: Token,
    },
    /// A session of the client.
    Over {
        client: u32,
        session: u32,
    },

    Crashed,
    /// What the server takes to be held, after a start or as a new journal is begun.
    Stands {
        alive: Vec<Id>,
    },
    /// The machine was started anew, and what the server had written down is void.
    Rebooted,
    /// All clients have let go of everything, and that has had time to come to the server.
    Quiet {
        sessions: usize,
    },
    /// There is nothing more to come.
    Finished {
        live_keys: usize,
        sessions: usize,
    },
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.client, self.request)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.nanos() / 1000;
        write!(f, "{:>6}.{:06}  {:?}", micros / 1_000_000, micros % 1_000_000, self.what)
    }
}
