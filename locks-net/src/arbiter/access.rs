//! What clients may do by their names (N5).

use std::time::Duration;

use locks_core::{ErrorKind, LockError, LostCause};

use super::Arbiter;
use super::session::{Requested, ServerSession};
use crate::access::{Access, Clients, Shown};
use crate::wire::{Acquire, Event};

impl Arbiter {
    /// From now on these are let in, and may do what this list says. A session whose name is gone
    /// ends; one that was let in by what is good no more has to come again, and so has who has
    /// shown a certificate: authorities may be others.
    pub(crate) fn set_clients(&mut self, clients: &Clients) {
        let realms = self.sessions.keys().copied().collect::<Vec<_>>();
        for realm in realms {
            let Some(session) = self.sessions.get_mut(&realm) else { continue };
            let Some(client) = session.client.clone() else { continue };
            if !clients.knows(&client) {
                self.say("client removed", format!("`{client}`: its session is over"));
                self.take_back(realm);
                continue;
            }
            let still = session.access.as_ref().and_then(|access| clients.still(access));
            let connection = session.connection;
            match still {
                Some(access) if matches!(access.shown, Shown::Secret(_)) => {
                    session.administers = access.admin;
                    session.access = Some(access);
                }
                _ => connection.into_iter().for_each(|id| self.close_connection(id)),
            }
        }
        // Who has not opened a session yet was let in by the list before.
        let newcomers = self.newcomers.iter().copied().collect::<Vec<_>>();
        for id in newcomers {
            let peer = self.connections.get(&id).map(|connection| &connection.peer);
            if peer.is_some_and(|peer| peer.proving.is_some()) {
                self.close_connection(id);
            }
        }
        self.drain_events();
    }

    /// Ends a session against its client's will, and tells it what becomes of it.
    fn take_back(&mut self, realm: u32) {
        let Some(session) = self.sessions.get(&realm) else { return };
        let requests = session.requests.iter();
        let requests = requests.map(|(request, it)| (matches!(it, Requested::Held(_)), *request));
        let mut requests = requests.collect::<Vec<_>>();
        // Those who wait first: none of them is to be granted what the others give back.
        requests.sort_unstable();
        let cause = LostCause::SessionEnded;
        for (is_held, request) in requests {
            let why =
                "the lock server lets this client in no more: its name was removed from the list";
            let error = || LockError::new(ErrorKind::Unauthorized, "").with_message(why);
            let event = match is_held {
                true => Event::Lost { request, cause },
                false => Event::Refused { call: request, error: error() },
            };
            self.end_for(realm, request, Some(cause));
            self.tell(realm, &event);
        }
        self.end_session(realm, Some(cause));
    }

    /// Whether a session may ask for that.
    pub(super) fn allow(&self, realm: u32, acquire: &Acquire) -> Result<(), LockError> {
        let Some(access) = self.access(realm) else { return Ok(()) };
        let refused = |key: &str, why: String| {
            Err(LockError::new(ErrorKind::Unauthorized, key).with_message(why))
        };
        let Access { name, namespace, steal, .. } = access;
        if let Some(key) = acquire.keys.iter().find(|key| !key.starts_with(namespace)) {
            return refused(
                key,
                format!(
                    "the client `{name}` may lock only keys that begin with `{namespace}`, not `{key}`"
                ),
            );
        }
        let key = acquire.keys.first().map_or("", String::as_str);
        if acquire.options.steal_after.is_some() && !steal {
            return refused(
                key,
                format!(
                    "the client `{name}` may not take `{key}` from others: leave out `steal_after`, or give it \
                     the right `steal` at the server"
                ),
            );
        }
        Ok(())
    }

    /// Whether a session may see the key.
    pub(super) fn sees(&self, realm: u32, key: &str) -> bool {
        self.sessions.get(&realm).is_some_and(|session| key.starts_with(session.namespace()))
    }

    /// The error without what is beyond the namespace of a session.
    pub(super) fn bounded(&self, realm: u32, error: LockError) -> LockError {
        if error.cycle().iter().all(|step| self.sees(realm, &step.wants)) {
            return error;
        }
        let steps = error.cycle().iter().map(|step| {
            let mut step = step.clone();
            if !self.sees(realm, &step.wants) {
                step.wants = "a key of another namespace".into();
                let (waiter, holder) = (&mut step.waiter, &mut step.holder);
                (waiter.owner, waiter.who, waiter.label, waiter.party) = Default::default();
                (holder.owner, holder.who, holder.label, holder.party) = Default::default();
                (holder.token, holder.age, holder.site) = (None, None, None);
                (waiter.waited, waiter.site) = (Duration::ZERO, None);
            }
            step
        });
        let steps = steps.collect();
        error.with_cycle(steps)
    }

    fn access(&self, realm: u32) -> Option<&Access> {
        self.sessions.get(&realm).and_then(|session: &ServerSession| session.access.as_ref())
    }
}
