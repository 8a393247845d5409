//! What is held, waited for and counted, and what is ended from outside.

use std::time::Duration;

use locks_core::{ErrorKind, LockError, LockInfo, Op, Query, Token};

use super::Arbiter;
use super::lists::LongList;
use super::session::ServerSession;
use crate::journal::Record;
use crate::wire::{Event, Status};

/// What is written of a reservation that is ended, in bytes, without its key.
const FREED: usize = 64;

impl Arbiter {
    /// Answers with what is held and waited for; what that has cost.
    pub(super) fn inspect(&mut self, realm: u32, call: u64, query: Query) -> Duration {
        let looks_at_all = !matches!(query, Query::Key(_));
        let infos = self.visible(realm, query);
        let cost = self.cost_of_list(looks_at_all, &infos);
        let infos = infos.into_iter().map(|info| self.describe_info(info)).collect::<Vec<_>>();
        let most = self.setup.limits.write_buffer / 2;
        let parts = Event::listed(call, infos, most / 4);
        let size = parts.iter().map(Event::size).sum::<usize>();
        if size <= most {
            parts.iter().for_each(|part| self.tell(realm, part));
        } else if self.sessions.get(&realm).is_some_and(|session| session.long_list.is_some()) {
            // It was asked for together with that one.
            let why = "a long list is being told to this client: ask again when it has been";
            let error = LockError::new(ErrorKind::LimitExceeded, "").with_message(why);
            self.tell(realm, &Event::Refused { call, error });
        } else {
            self.begin_to_list(realm, LongList::new(call, parts, size, self.now()));
        }
        cost
    }

    /// What a session may see of what is held and waited for.
    fn visible(&self, realm: u32, query: Query) -> Vec<LockInfo> {
        let namespace = self.sessions.get(&realm).map_or("", ServerSession::namespace);
        let Some(query) = within(namespace, query) else { return Vec::new() };
        match self.engine.inspect(query) {
            Op::Now(infos) => infos.unwrap_or_default(),
            Op::Later(_) => unreachable!("an engine without an upstream lists at once"),
        }
    }

    /// Ends whatever holds or reserves `key` with this token.
    pub(super) fn evict(&mut self, realm: u32, call: u64, key: String, token: Token) {
        if !self.administers(realm) || !self.sees(realm, &key) {
            let why = format!(
                "this user may not release `{key}`: that is up to its holder, to the user who runs the lock \
                 server, to root, and over TCP to clients with the right `admin`, within their namespace"
            );
            let error = LockError::new(ErrorKind::Unauthorized, key).with_message(why);
            return self.tell(realm, &Event::Refused { call, error });
        }
        let who = self.sessions.get(&realm).map(|session| session.party.to_string());
        let event = match self.evict_for(&key, token, &who.unwrap_or_default()) {
            Ok(found) => Event::Evicted { call, found },
            Err(error) => Event::Refused { call, error },
        };
        self.tell(realm, &event);
    }

    /// Ends whatever holds or reserves `key` with this token; `who` wants it so. Whether there was
    /// such a hold.
    pub(super) fn evict_for(
        &mut self,
        key: &str,
        token: Token,
        who: &str,
    ) -> Result<bool, LockError> {
        if let Err(why) = self.has_room_to_write(key.len() + FREED) {
            let why = format!("the lock server cannot write down what is released: {why}");
            return Err(LockError::new(ErrorKind::Unavailable, key).with_message(why));
        }
        let found = match self.engine.evict(key, token) {
            Op::Now(found) => found?,
            Op::Later(_) => unreachable!("an engine without an upstream evicts at once"),
        };
        let lost = self.happened.take_lost();
        if found && lost.is_empty() {
            self.record(&Record::Freed { key: key.to_owned(), token });
        }
        self.tell_of_losses(lost);
        if found {
            self.figures.evictions += 1;
            self.say("evicted", format!("`{key}`, token {token}, by {who}"));
        }
        Ok(found)
    }

    /// Whether a session may release what others hold (N9).
    fn administers(&self, realm: u32) -> bool {
        self.sessions.get(&realm).is_some_and(|session| session.administers)
    }

    /// Answers with what a session may know of [`status`](Self::status): counts of its namespace.
    /// What that has cost.
    pub(super) fn tell_status(&mut self, realm: u32, call: u64) -> Duration {
        let mut status = self.status();
        let namespace = self.sessions.get(&realm).map_or("", ServerSession::namespace);
        let mut cost = Duration::ZERO;
        if !namespace.is_empty() {
            let within = |session: &&ServerSession| session.namespace().starts_with(namespace);
            status.sessions = self.sessions.values().filter(within).count() as u64;
            let infos = self.visible(realm, Query::All);
            cost = self.cost_of_list(true, &infos);
            let waiters = infos.iter().map(|info| info.waiters.len()).sum::<usize>();
            (status.keys, status.waiters) = (infos.len() as u64, waiters as u64);
        }
        self.tell(realm, &Event::Status { call, status });
        cost
    }

    pub(super) fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            process: self.setup.process.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            serving_for: self.now().since(self.setup.started),
            sessions: self.sessions.len() as u64,
            keys: self.engine.known_keys() as u64,
            waiters: self.waiting as u64,
        }
    }
}

/// What a query comes to within a namespace; `None`: to nothing.
fn within(namespace: &str, query: Query) -> Option<Query> {
    match query {
        Query::All if namespace.is_empty() => Some(Query::All),
        Query::All => Some(Query::Prefix(namespace.to_owned())),
        Query::Key(key) => key.starts_with(namespace).then_some(Query::Key(key)),
        Query::Prefix(prefix) if namespace.starts_with(&prefix) => within(namespace, Query::All),
        Query::Prefix(prefix) => prefix.starts_with(namespace).then_some(Query::Prefix(prefix)),
        // The protocol has no others.
        _ => None,
    }
}
