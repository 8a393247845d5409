//! What clients may do by their names (N5).

use locks_core::{ErrorKind, LockError, LockInfo};

use super::Arbiter;
use super::session::Session;
use crate::access::{Access, Clients};
use crate::wire::Acquire;

impl Arbiter {
    /// From now on these are let in, and may do what this list says. A session whose name is gone ends; one that was let in by
    /// what is good no more has to come again.
    pub(crate) fn set_clients(&mut self, clients: &Clients) {
        let realms = self.sessions.keys().copied().collect::<Vec<_>>();
        for realm in realms {
            let Some(session) = self.sessions.get_mut(&realm) else { continue };
            let Some(client) = session.client.clone() else { continue };
            let still = session.access.as_ref().map(|access| clients.still(access));
            let connection = session.connection;
            match still {
                _ if !clients.knows(&client) => {
                    self.say("client removed", format!("`{client}`: its session is over"));
                    self.end_session(realm, None);
                }
                Some(Some(access)) => {
                    let connection = connection.and_then(|id| self.connections.get_mut(&id));
                    if let Some(connection) = connection {
                        connection.peer.administers = access.admin;
                    }
                    session.access = Some(access);
                }
                Some(None) => {
                    connection.into_iter().for_each(|id| self.close_connection(id));
                }
                None => {}
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
        self.settle();
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
        self.access(realm).is_none_or(|access| key.starts_with(&access.namespace))
    }

    /// Those of them that a session may see.
    pub(super) fn seen(&self, realm: u32, mut infos: Vec<LockInfo>) -> Vec<LockInfo> {
        infos.retain(|info| self.sees(realm, &info.key));
        infos
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
                (step.waiter.owner, step.waiter.who, step.waiter.party) = Default::default();
                (step.holder.owner, step.holder.who, step.holder.party) = Default::default();
                step.holder.token = None;
            }
            step
        });
        let steps = steps.collect();
        error.with_cycle(steps)
    }

    fn access(&self, realm: u32) -> Option<&Access> {
        self.sessions.get(&realm).and_then(|session: &Session| session.access.as_ref())
    }
}
