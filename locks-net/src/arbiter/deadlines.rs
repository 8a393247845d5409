//! What ends by itself: sessions, holds whose lease is over, connections that say nothing.

use std::time::Duration;

use locks_core::{LostCause, Moment};

use super::session::Requested;
use super::{Arbiter, ConnId};
use crate::wire::Why;

/// Whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Session(u32),
    /// It has not finished what it began to say, unless it has meanwhile.
    Connection(ConnId),
}

impl Arbiter {
    pub(super) fn set_deadline(&mut self, at: Moment, due: Due) {
        self.deadlines.insert((at, due));
    }

    /// Looks after the session no later than at its deadline.
    pub(super) fn set_session_deadline(&mut self, realm: u32) {
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        let Some(at) = session.deadline() else { return };
        if session.alarm.is_none_or(|alarm| at < alarm) {
            if let Some(alarm) = session.alarm.replace(at) {
                self.deadlines.remove(&(alarm, Due::Session(realm)));
            }
            self.deadlines.insert((at, Due::Session(realm)));
        }
    }

    pub(super) fn meet_deadlines(&mut self) {
        let now = self.now();
        while let Some((at, due)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            match due {
                Due::Session(realm) => self.expire_session(realm, now),
                Due::Connection(id) => self.expire_connection(id, now),
            }
        }
        if self.silent_until.is_some_and(|until| until <= now) {
            self.silent_until = None;
        }
    }

    fn expire_session(&mut self, realm: u32, now: Moment) {
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        session.alarm = None;
        if session.end().is_some_and(|end| end <= now) {
            let cause =
                if session.is_leased() { LostCause::Expired } else { LostCause::SessionEnded };
            self.end_session(realm, Some(cause));
            return;
        }
        if session.is_leased() {
            self.expire_holds(realm, now);
        }
        self.set_session_deadline(realm);
    }

    /// Ends those whose lease is over, although the session goes on for the sake of longer ones,
    /// and what waits when the session's own is.
    fn expire_holds(&mut self, realm: u32, now: Moment) {
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        session.checked = now;
        let silent = now.since(session.heard);
        let over = |lease: Option<Duration>| lease.unwrap_or(session.lease) <= silent;
        let over = session.requests.iter().filter_map(|(request, requested)| match requested {
            Requested::Held(held) => {
                (held.lost.is_none() && over(held.lease())).then_some(*request)
            }
            Requested::Waiting(_) => over(None).then_some(*request),
        });
        let mut over = over.collect::<Vec<_>>();
        over.sort_unstable();
        for request in over {
            self.expire_request(realm, request, LostCause::Expired);
            self.drain_events();
        }
    }

    fn expire_connection(&mut self, id: ConnId, now: Moment) {
        let patience = self.setup.limits.patience;
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(since) = connection.busy_since else { return };
        if since.after(patience) > now {
            self.set_deadline(since.after(patience), Due::Connection(id));
        } else if connection.is_open() {
            self.close_connection(id);
        } else {
            self.reject(id, Why::Protocol, "the greeting took too long".into());
        }
    }
}
