//! How what clients have comes to an end.

use std::collections::{BTreeMap, HashMap, HashSet};

use locks_core::{ErrorKind, LockError, LostCause};

use super::events::Loss;
use super::session::{Requested, ServerSession};
use super::{Arbiter, Due, Notice};
use crate::journal::{LostGuards, Record};
use crate::wire::Event;

impl Arbiter {
    /// A client gives up what it asked for or holds; or its time is up, which it hears of. To the
    /// journal both are releases: of a nest, the other guards may have longer leases, and stay.
    pub(super) fn end(&mut self, realm: u32, request: u64) {
        self.end_for(realm, request, None);
    }

    /// As [`end`](Self::end); not by the client's own will, if there is a cause.
    pub(super) fn end_for(&mut self, realm: u32, request: u64, cause: Option<LostCause>) {
        let at = self.time_awake();
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        match session.take_request(request) {
            None => {}
            Some(Requested::Waiting(waiting)) => {
                self.waiting -= 1;
                drop(waiting);
            }
            Some(Requested::Held(held)) => {
                #[cfg(test)]
                self.release_by_key(&held);
                if held.lost.is_some() && !held.is_untold {
                    self.paper.lost -= 1;
                } else if !held.is_untold {
                    self.paper.guards -= 1;
                    self.count_end(held.granted, at, cause);
                    self.record(&Record::Ended { realm, request, cause: None, at });
                }
                drop(self.engine.release(held.hold));
            }
        }
    }

    /// Ends a request of a client that has gone silent, and tells it, should it come back.
    pub(super) fn expire_request(&mut self, realm: u32, request: u64, cause: LostCause) {
        let Some(session) = self.sessions.get(&realm) else { return };
        let event = match session.requests.get(&request) {
            None => return,
            Some(Requested::Held(held)) if !held.is_untold => Event::Lost { request, cause },
            Some(Requested::Held(_) | Requested::Waiting(_)) => {
                let why = "the lock server has not heard of this client for as long as its lease";
                let error = LockError::new(ErrorKind::Unavailable, "").with_message(why);
                Event::Refused { call: request, error }
            }
        };
        self.end_for(realm, request, Some(cause));
        self.tell(realm, &event);
    }

    /// After a restart: what the client has not named ends, and what is not there, or was taken
    /// away before the client came back, is lost (N4).
    pub(super) fn keep_only(&mut self, realm: u32) {
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        session.is_restored = false;
        // What is not named here was released to a server before; what comes of that is told behind
        // this (C4).
        session.owe_word(true);
        let (held, pending) = std::mem::take(&mut session.named);
        let lost_before = std::mem::take(&mut session.lost_before);
        self.paper.lost -= lost_before.len();
        let there = session.requests.keys().copied();
        let mut rest = there
            .filter(|request| !held.contains(request) && !pending.contains(request))
            .collect::<Vec<_>>();
        // What is not named was released, as far as the client knows, and that may not have been
        // heard of before it was taken away, by this server or one before: whoever waits for the
        // word hears of that (C4).
        let lost = held.into_iter().chain(rest.iter().copied()).filter_map(|request| match session
            .requests
            .get(&request)
        {
            None => Some((request, LostCause::Forgotten)),
            Some(Requested::Held(held)) => held.lost.map(|cause| (request, cause)),
            Some(Requested::Waiting(_)) => None,
        });
        let mut lost = lost.collect::<LostGuards>();
        lost.extend(lost_before);
        rest.sort_unstable();
        for request in rest {
            self.end(realm, request);
        }
        for (request, cause) in lost {
            self.tell(realm, &Event::Lost { request, cause });
        }
    }

    /// Holds were ended by the engine: stolen, evicted, held for too long.
    pub(super) fn tell_of_losses(&mut self, losses: Vec<Loss>) {
        if losses.is_empty() {
            return;
        }
        let at = self.time_awake();
        let mut by_session = BTreeMap::<_, Vec<_>>::new();
        for loss in losses {
            if let Some((holder, thief)) = &loss.theft {
                let parties = (self.describe_holder(holder), self.describe_holder(thief));
                self.say("stolen", format!("`{}` from {}, by {}", loss.key, parties.0, parties.1));
            }
            by_session.entry(loss.realm).or_default().push(loss);
        }
        for (realm, losses) in by_session {
            let Some(session) = self.sessions.get_mut(&realm) else { continue };
            for (request, cause, granted) in mark_lost(session, &losses) {
                if self.take_untold(realm, request) {
                    continue;
                }
                self.paper.guards -= 1;
                self.paper.lost += 1;
                self.count_end(granted, at, Some(cause));
                self.record(&Record::Ended { realm, request, cause: Some(cause), at });
                self.tell(realm, &Event::Lost { request, cause });
            }
        }
    }

    /// What was taken away before its client heard of it, if it was: a refusal (C8).
    fn take_untold(&mut self, realm: u32, request: u64) -> bool {
        let Some(session) = self.sessions.get_mut(&realm) else { return false };
        let held = match session.requests.get(&request) {
            Some(Requested::Held(held)) if held.is_untold => session.take_request(request),
            _ => return false,
        };
        if let Some(Requested::Held(held)) = held {
            drop(self.engine.release(held.hold));
        }
        let why = "the lock server could not write down what it had granted, and had to take it away again";
        let error = LockError::new(ErrorKind::Unavailable, "").with_message(why);
        self.tell(realm, &Event::Refused { call: request, error });
        true
    }

    /// A session is over, and with it all it waited for and held; not by its client's own will, if
    /// there is a cause.
    pub(super) fn end_session(&mut self, realm: u32, cause: Option<LostCause>) {
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        let mut requests = session
            .requests
            .iter()
            .map(|(request, requested)| (matches!(requested, Requested::Held(_)), *request))
            .collect::<Vec<_>>();
        // Those who wait first: none of them is to be granted what the others give back.
        requests.sort_unstable();
        for (_, request) in requests {
            self.end_for(realm, request, cause);
        }
        self.drop_mailbox(realm);
        let Some(session) = self.sessions.remove(&realm) else { return };
        self.paper.lost -= session.lost_before.len();
        if session.is_recorded {
            self.paper.sessions -= 1;
            self.record(&Record::Gone { realm });
        }
        if let Some(alarm) = session.alarm {
            self.deadlines.remove(&(alarm, Due::Session(realm)));
        }
        if !session.is_leased() {
            self.notices.push(Notice::Unwatch { realm });
        }
        if let Some(id) = session.connection {
            self.close_connection(id);
        }
    }
}

/// The engine never frees a slot whose hold is not given back. Nothing of this is written down: the
/// journal is for the successor.
impl Drop for Arbiter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // In a state that nobody knows: another panic would end the whole process.
            return;
        }
        let sessions =
            self.sessions.drain().flat_map(|(_, session)| session.requests.into_values());
        // Those who wait first: none of them is to be granted what the others give back.
        let (held, waiting): (Vec<_>, Vec<_>) =
            sessions.partition(|requested| matches!(requested, Requested::Held(_)));
        drop(waiting);
        for requested in held {
            if let Requested::Held(held) = requested {
                drop(self.engine.release(held.hold));
            }
        }
        // Those that are over by now have an alarm, which ends them; the others are ended.
        let reservations = self.engine.reservations();
        // If not everything could be put back, what is over would never end.
        self.time.go();
        self.time.fire();
        for (key, _, token, _) in reservations {
            drop(self.engine.evict(&key, token));
        }
    }
}

/// Marks the guards of a session that are lost, in one pass however many there are: which, in
/// ascending order, why, and when they were granted.
fn mark_lost(session: &mut ServerSession, losses: &[Loss]) -> Vec<(u64, LostCause, u32)> {
    let mut ended = HashMap::new();
    let mut tokens = HashSet::new();
    for (index, Loss { key, tokens: guards, .. }) in losses.iter().enumerate() {
        for token in guards {
            ended.entry((key.as_str(), *token)).or_insert(index);
            tokens.insert(*token);
        }
    }
    let mut lost = Vec::new();
    for (request, requested) in &mut session.requests {
        let Requested::Held(held) = requested else { continue };
        let token = held.hold.token();
        // Most are passed over without a look at their keys.
        if held.lost.is_some() || !tokens.contains(&token) {
            continue;
        }
        // Of several keys, the first that was lost says why.
        let first = held.hold.keys().filter_map(|key| ended.get(&(key, token)).copied()).min();
        if let Some(cause) = first.map(|first| losses[first].cause) {
            held.lost = Some(cause);
            lost.push((*request, cause, held.granted));
        }
    }
    lost.sort_unstable_by_key(|(request, ..)| *request);
    lost
}

#[cfg(test)]
impl Arbiter {
    /// Frees whoever has what was taken away from this hold, if that is the mistake to be made.
    fn release_by_key(&self, late: &super::session::ServerHold) {
        if self.broken != Some(crate::simulation::Bug::ReleasedByKey) || late.lost.is_none() {
            return;
        }
        let listed = self.engine.inspect(locks_core::Query::All);
        let locks_core::Op::Now(Ok(infos)) = listed else { return };
        for info in infos.into_iter().filter(|info| late.hold.keys().any(|key| key == info.key)) {
            for token in info.holders.iter().filter_map(|holder| holder.token) {
                drop(self.engine.evict(&info.key, token));
            }
        }
    }
}
