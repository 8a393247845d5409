//! Whether anything of this server has to be known after a restart.

use super::Arbiter;
use super::session::ServerSession;
use crate::wire::Event;

impl Arbiter {
    /// Whether nothing has to be known of it after a restart. What was written down of a session
    /// has to be as long as its client may not know what has become of its releases: it would be
    /// told by the next server that it has lost what it had released (C4).
    pub(crate) fn is_idle(&self) -> bool {
        self.holds_nothing()
            && self.sessions.values().all(|session| !self.may_be_asked_for(session))
    }

    /// Has clients say that they have heard what has become of their releases, if nothing else is
    /// left to be known.
    pub(crate) fn ask_for_word(&mut self) {
        if !self.holds_nothing() {
            return;
        }
        let silent = self.sessions.values().filter(|session| {
            // What is under way to it will be acknowledged, and tells enough or is followed by
            // this.
            session.is_recorded && session.may_lack_word() && session.channel.kept().1 == 0
        });
        let silent = silent.filter(|session| session.connection.is_some());
        for realm in silent.map(|session| session.realm).collect::<Vec<_>>() {
            // It answers nobody, and is acknowledged with the next that the client says.
            self.tell(realm, &Event::Done { call: 0 });
        }
    }

    /// Nothing of it is in the journal any more.
    pub(crate) fn forget_records(&mut self) {
        self.paper.sessions = 0;
        self.sessions.values_mut().for_each(|session| session.is_recorded = false);
    }

    fn holds_nothing(&self) -> bool {
        self.paper.guards == 0
            && self
                .sessions
                .values()
                .all(|session| session.requests.is_empty() && session.lost_before.is_empty())
            && self.engine.reservations().is_empty()
    }

    /// Whether its client may have to find a session that is written down.
    fn may_be_asked_for(&self, session: &ServerSession) -> bool {
        let connection = session.connection.and_then(|id| self.connections.get(&id));
        let is_told = connection.is_some_and(|connection| connection.output.is_empty());
        session.is_recorded && (!is_told || session.may_lack_word())
    }
}
