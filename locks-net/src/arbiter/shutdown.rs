//! The end of a server: for a successor, or because another one may serve.

use locks_core::{LostCause, Moment};

use super::Arbiter;
use super::session::{Requested, ServerSession};
use crate::wire::Event;

impl Arbiter {
    /// Tells everybody that the server goes. Their sessions stay, for a successor.
    pub(crate) fn close(&mut self) {
        let realms = self.sessions.keys().copied().collect::<Vec<_>>();
        for realm in realms {
            self.tell(realm, &Event::Closing);
        }
        let connections = self.connections.keys().copied().collect::<Vec<_>>();
        for id in connections {
            self.close_connection(id);
        }
    }

    /// Takes everything back: somebody else may be about to grant the same. Nobody is granted
    /// anything by that.
    ///
    /// The sessions that it does not reach, and that may go by what they had until they end.
    pub(crate) fn forsake(&mut self) -> Vec<u32> {
        let holds = |session: &ServerSession| {
            session.requests.values().any(|requested| matches!(requested, Requested::Held(_)))
        };
        let unheard = self.sessions.iter();
        let unheard = unheard.filter(|(_, it)| it.connection.is_none() && holds(it));
        let unheard = unheard.map(|(realm, _)| *realm).collect();
        let sessions = self.sessions.iter_mut();
        let all = sessions.flat_map(|(realm, session)| {
            let requests = session.requests.iter();
            requests.map(|(request, requested)| {
                (matches!(requested, Requested::Held(_)), *realm, *request)
            })
        });
        let mut all = all.collect::<Vec<_>>();
        // Those who wait first: none of them is to be granted what the others give back.
        all.sort_unstable();
        for (is_held, realm, request) in all {
            self.end(realm, request);
            if is_held {
                self.tell(realm, &Event::Lost { request, cause: LostCause::Forgotten });
            }
        }
        self.drain_events();
        self.journal.clear();
        unheard
    }

    /// When the last of these sessions ends, those that have not yet.
    pub(crate) fn end_of(&self, realms: &[u32]) -> Option<Moment> {
        realms.iter().filter_map(|realm| self.sessions.get(realm)?.end()).max()
    }
}
