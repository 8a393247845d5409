//! What an operator sees and does (N9, N12).

use std::time::{Duration, Instant};

use locks_core::{LockError, LockInfo, Op, ProcessInfo, Query, Token};

use super::session::Requested;
use super::{Arbiter, Figures};
use crate::journal::SessionKind;
use crate::wire::Status;

/// A client of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The number by which the server tells it from others, as
    /// [`OwnerId::to_parts`](locks_core::OwnerId::to_parts) has it for its holds and waits.
    pub number: u32,
    /// The client as others see it: its process, host and label.
    pub party: ProcessInfo,
    /// `true` if it is connected now.
    pub connected: bool,
    /// `true` if its lease keeps its locks; `false` if its process does.
    pub leased: bool,
    /// The lease, if its requests do not ask for another one.
    pub lease: Duration,
    /// The time since it became a client, on the clock of leases; or since the server's start.
    pub since: Duration,
    /// The time since its last frame, on the clock of leases.
    pub silent: Duration,
    /// The number of its guards, each of one key or of several.
    pub holds: usize,
    /// The number of its requests that wait.
    pub waits: usize,
}

/// The state of a server at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Observation {
    /// The serving process.
    pub status: Status,
    /// Counts since the start.
    pub figures: Figures,
    /// Sessions that are connected.
    pub connected: u64,
    /// Guards that are held.
    pub holds: u64,
    /// The time for which nothing is granted yet, since what was granted before a restart is not
    /// known ([N4](locks_core::contract#n4-the-journal)).
    pub recovering: Option<Duration>,
    /// `true` if the journal cannot be written, so that nothing new is granted
    /// ([N6](locks_core::contract#n6-limits)).
    pub stalled: bool,
    /// The time that the server's thread took to look all this up.
    pub took: Duration,
    /// Keys that are held, waited for or reserved, in ascending order; empty if they were not asked
    /// for.
    pub locks: Vec<LockInfo>,
    /// The clients, in ascending order of their numbers; empty if they were not asked for.
    pub clients: Vec<ClientInfo>,
}

impl Arbiter {
    /// `all`: locks and clients too, which takes as long as there are many.
    pub(crate) fn observe(&self, all: bool) -> Observation {
        let begun = Instant::now();
        let connected = self.sessions.values().filter(|session| session.connection.is_some());
        let mut observation = Observation {
            status: self.status(),
            figures: self.figures.clone(),
            connected: connected.count() as u64,
            holds: self.paper.guards as u64,
            recovering: self.silent_until.map(|until| until.since(self.now())),
            stalled: false,
            took: Duration::ZERO,
            locks: Vec::new(),
            clients: Vec::new(),
        };
        if all {
            if let Op::Now(Ok(infos)) = self.engine.inspect(Query::All) {
                let infos = infos.into_iter().map(|info| self.describe_info(info));
                observation.locks = infos.collect();
                observation.locks.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            }
            observation.clients = self.clients();
        }
        observation.took = begun.elapsed();
        observation
    }

    fn clients(&self) -> Vec<ClientInfo> {
        let now = self.now();
        let clients = self.sessions.values().map(|session| {
            let held = |it: &&Requested| matches!(it, Requested::Held(held) if held.lost.is_none());
            let waits = |it: &&Requested| matches!(it, Requested::Waiting(_));
            ClientInfo {
                number: session.realm,
                party: session.party.clone(),
                connected: session.connection.is_some(),
                leased: session.kept == SessionKind::ByLease,
                lease: session.lease,
                since: now.since(session.began),
                silent: now.since(session.heard),
                holds: session.requests.values().filter(held).count(),
                waits: session.requests.values().filter(waits).count(),
            }
        });
        let mut clients = clients.collect::<Vec<_>>();
        clients.sort_unstable_by_key(|client| client.number);
        clients
    }

    /// Ends whatever holds or reserves `key` with this token, for the operator. Whether there was
    /// such a hold.
    pub(crate) fn release_for_operator(
        &mut self,
        key: &str,
        token: Token,
    ) -> Result<bool, LockError> {
        let found = self.evict_for(key, token, "the operator");
        self.drain_events();
        found
    }
}
