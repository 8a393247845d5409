use locks_core::{ErrorKind, LockError, Op, Query, Token};

use super::Arbiter;
use super::session::Session;
use crate::journal::Record;
use crate::wire::{Event, Status};

/// What is written of a reservation that is ended, in bytes, without its key.
const FREED: usize = 64;

impl Arbiter {
    /// Answers with what is held and waited for.
    pub(super) fn inspect(&mut self, realm: u32, call: u64, query: Query) {
        let infos = match self.engine.inspect(query) {
            Op::Now(Ok(infos)) => infos,
            Op::Now(Err(error)) => return self.tell(realm, &Event::Refused { call, error }),
            Op::Later(_) => unreachable!("an engine without an upstream lists at once"),
        };
        let infos = self.seen(realm, infos);
        let infos = infos.into_iter().map(|info| self.describe_info(info)).collect::<Vec<_>>();
        let most = self.setup.limits.write_buffer / 2;
        let parts = Event::listed(call, infos, most / 4);
        let size = parts.iter().map(Event::size).sum::<usize>();
        if size <= most {
            parts.iter().for_each(|part| self.tell(realm, part));
            return;
        }
        // Its connection would be closed over it, again and again, with all that it has to say.
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        if session.long_list.is_empty() {
            session.long_list = parts.into();
            self.go_on_listing(realm);
        } else {
            let why = "a long list is being told to this client: ask again when it has been";
            let error = LockError::new(ErrorKind::LimitExceeded, "").with_message(why);
            self.tell(realm, &Event::Refused { call, error });
        }
    }

    /// Tells as much more of a long list as the client has taken in before.
    pub(super) fn go_on_listing(&mut self, realm: u32) {
        let most = self.setup.limits.write_buffer / 2;
        while let Some(session) = self.sessions.get_mut(&realm)
            && let Some(part) = session.long_list.pop_front()
        {
            let (kept, _) = session.channel.kept();
            if kept > 0 && kept + part.size() > most {
                session.long_list.push_front(part);
                return;
            }
            self.tell(realm, &part);
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

    /// Ends whatever holds or reserves `key` with this token; `who` wants it so. Whether there was such a hold.
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

    /// What a session may know of [`status`](Self::status): counts of its namespace.
    pub(super) fn status_for(&self, realm: u32) -> Status {
        let status = self.status();
        let namespace = self.sessions.get(&realm).map_or("", Session::namespace);
        if namespace.is_empty() {
            return status;
        }
        let within = |session: &&Session| session.namespace().starts_with(namespace);
        let sessions = self.sessions.values().filter(within).count() as u64;
        let infos = match self.engine.inspect(Query::Prefix(namespace.to_owned())) {
            Op::Now(infos) => infos.unwrap_or_default(),
            Op::Later(_) => unreachable!("an engine without an upstream lists at once"),
        };
        let keys = infos.len() as u64;
        let waiters = infos.iter().map(|info| info.waiters.len() as u64).sum();
        Status { sessions, keys, waiters, ..status }
    }

    pub(super) fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            process: self.setup.process.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            serving_for: self.now().since(self.setup.started),
            sessions: self.sessions.len() as u64,
            keys: self.live_keys() as u64,
            waiters: self.waiting as u64,
        }
    }
}
