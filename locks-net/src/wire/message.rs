//! What the two ends of a session tell each other, as values.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{
    HolderInfo, LockError, LockInfo, LostCause, Options, OwnerChain, OwnerId, ProcessInfo, Query,
    SharedOwner, Token,
};

use super::{Note, Publish, Published};

/// What a client asks for. A request is called by a number of the client's choosing, which it never
/// uses again in that session.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// Wants keys; answered by `Granted` or `Refused`. Of a request that is there already, the
    /// answer is repeated.
    Acquire(Box<Acquire>),
    /// Does not want them any more: pending → withdrawn, granted → released, else nothing (C4, C5).
    /// Not answered; that it was applied is known by the acknowledgement.
    End { request: u64 },
    /// The hold's age counts from now (C6); answered by `Done` or `Refused`, to `call`.
    Refresh { call: u64, request: u64 },
    /// The hold's guard may leave its thread (C9).
    Disown { request: u64 },
    /// Who holds and waits; answered by `Listed` or `Refused`.
    Inspect { call: u64, query: Query },
    /// Ends whatever holds or reserves the key with this token; answered by `Evicted` or `Refused`.
    Evict { call: u64, key: String, token: Token },
    /// Who serves, and how it is; answered by `Status`.
    Status { call: u64 },
    /// Call sites are named by number from now on (C12). Numbers begin at 1 and go up by one.
    Site { id: u32, text: String },
    /// What a thread of the client is called (C12).
    Name { thread: u64, text: String },
    /// After a restart of the server, before anything else: what of the session still matters. What
    /// is not listed ends; what is listed as held and is not there is answered by `Lost`. `more`:
    /// the list goes on in the next frame, and nothing ends before it does.
    Holding { held: Vec<u64>, pending: Vec<u64>, more: bool },
    /// Wants others to have a message (N8); answered by `Published` or `Refused`.
    Publish { call: u64, publish: Box<Publish> },
    /// Wants messages, or none any more, and has so many; answered by `Done`.
    Mailbox { call: u64, open: bool, count: u32, bytes: u64 },
    /// So many messages are not kept any more.
    Taken { count: u32, bytes: u64 },
    /// What was done under the hold has succeeded (C14).
    Done { request: u64 },
    /// The hold is shared from now on (C9); answered by `Done` or `Refused`, to `call`.
    Share { call: u64, request: u64 },
    /// Nothing; wants to be acknowledged at once (renewal, confirmation).
    Ping,
    /// The session is over.
    Bye,
}

/// A request for keys.
#[derive(Clone, Debug)]
pub(crate) struct Acquire {
    pub(crate) request: u64,
    /// In ascending order, each once (C11).
    pub(crate) keys: Vec<String>,
    /// `wait` is what is left of it; `owner` and `kind` are not sent.
    pub(crate) options: Options,
    /// None of the session's own where it is shared.
    pub(crate) owner: Option<OwnerId>,
    /// The owner in whose name it is asked for, if that is one of several clients (C9).
    pub(crate) shared: Option<SharedOwner>,
    /// At most [`MAX_WITHIN`], innermost first (C9, C10).
    pub(crate) within: OwnerChain,
    pub(crate) opens_scope: bool,
    /// Number of the call site; 0 for none.
    pub(crate) site: u32,
    /// How long it has been asked for already, elsewhere: before the server was restarted.
    pub(crate) waited: Duration,
    /// What it is labelled (C12).
    pub(crate) label: Option<Arc<str>>,
}

/// So many enclosing identities are sent along, the innermost ones.
pub(crate) const MAX_WITHIN: usize = 32;

/// What a server tells.
#[derive(Debug)]
pub(crate) enum Event {
    Granted {
        request: u64,
        token: Token,
        /// At most [`MAX_TOLD`](super::info::MAX_TOLD) of those that it has been stolen from (C6).
        stolen_from: Vec<HolderInfo>,
    },
    /// `call`: the number of the request, or of the call that is answered.
    Refused {
        call: u64,
        error: LockError,
    },
    Done {
        call: u64,
    },
    /// `more`: the rest follows in another one.
    Listed {
        call: u64,
        infos: Vec<LockInfo>,
        more: bool,
    },
    Evicted {
        call: u64,
        found: bool,
    },
    Status {
        call: u64,
        status: Status,
    },
    /// A hold has ended otherwise than by its client (C8).
    Lost {
        request: u64,
        cause: LostCause,
    },
    /// A message of another client (N8).
    Message {
        note: Box<Note>,
        from: ProcessInfo,
    },
    Published {
        call: u64,
        published: Published,
    },
    /// The server goes: the connection closes, the session stays for a successor.
    Closing,
}

/// The process that serves, and the load on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The serving process.
    pub pid: u32,
    /// The name of its program.
    pub process: String,
    /// The version of this crate that it runs.
    pub version: String,
    /// The time for which it has been serving.
    pub serving_for: Duration,
    /// The number of sessions, connected or not; for a client with a
    /// [namespace](crate::Client::namespace), only those of that namespace, like the next two
    /// numbers.
    pub sessions: u64,
    /// The number of keys that are held, waited for or reserved.
    pub keys: u64,
    /// The number of requests that wait.
    pub waiters: u64,
}
