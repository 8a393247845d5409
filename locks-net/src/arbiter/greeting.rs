//! What is said before a connection is that of a session.

use locks_core::Moment;

use super::connection::{After, Fault, Stage};
use super::session::Session;
use super::{Arbiter, ConnId, Notice};
use crate::journal::{Kept, Record, SessionRecord};
use crate::secret::are_equal;
use crate::wire::{Greeting, How, Open, Opened, Rejected, Resume, Why};

/// Realms from 1 on: those that fit into the engine's fast path.
const REALMS: u32 = 1 << 21;

impl Arbiter {
    /// The next frame of a connection that is not yet a session's. What comes after it may have to be
    /// opened by a key.
    pub(super) fn greet(&mut self, id: ConnId, body: &[u8]) -> Result<After, Fault> {
        let connection = self.connections.get_mut(&id).ok_or(Fault::Over)?;
        let handshake = match &mut connection.stage {
            Stage::Greeting(handshake) => handshake,
            Stage::Open => return self.open(id, Open::decode(body)?).map(|()| After::Greetings),
            Stage::Session(_) | Stage::Over => return Err(Fault::Over),
        };
        let step = match handshake.receive(body) {
            Ok(step) => step,
            Err(rejected) => {
                if rejected.why == Why::Unauthorized {
                    self.notices.push(Notice::Unproven(id));
                }
                self.reject(id, rejected.why, rejected.text);
                return Err(Fault::Over);
            }
        };
        if let Some(reply) = step.reply {
            self.put(id, |body| body.extend_from_slice(&reply));
        }
        let Some(established) = step.established else { return Ok(After::Frame) };
        let connection = self.connections.get_mut(&id).ok_or(Fault::Over)?;
        connection.stage = Stage::Open;
        let Some(keys) = established.keys else { return Ok(After::Frame) };
        connection.writer.seal(keys.sealer);
        Ok(After::Proofs(Box::new(keys.opener)))
    }

    fn open(&mut self, id: ConnId, open: Open) -> Result<(), Fault> {
        let now = self.now();
        let kept = self.connections.get(&id).ok_or(Fault::Over)?.peer.kept;
        let resumed = open.resume.as_ref().and_then(|resume| self.resumable(resume, kept));
        let (realm, how) = match resumed {
            Some(resumed) => resumed,
            None => (self.begin(id, &open, kept, now)?, How::New),
        };
        let Some(session) = self.sessions.get_mut(&realm) else { return Err(Fault::Over) };
        let older = session.connection.take();
        #[cfg(test)]
        if self.broken == Some(crate::simulation::Bug::AppliedTwice) {
            session.channel.forget_untold();
        }
        let (secret, lease, applied) = (session.secret, session.lease, session.channel.applied());
        let renews = session.is_leased();
        session.heard = now;
        session.ends_at = None;
        if let Some(older) = older {
            // What it had not read is discarded (N1).
            if let Some(older) = self.connections.get_mut(&older) {
                older.output.clear();
            }
            self.close_connection(older);
        }
        let max_frame = u32::try_from(self.setup.limits.frame).unwrap_or(u32::MAX);
        let opened = Opened { how, realm, secret, applied, max_frame, lease, renews };
        self.put(id, |body| opened.encode(body));
        let session = self.sessions.get_mut(&realm).ok_or(Fault::Over)?;
        let connection = self.connections.get_mut(&id).ok_or(Fault::Over)?;
        if how == How::Resumed {
            let received = open.resume.map_or(0, |resume| resume.received);
            let out = &mut connection.output;
            if let Err(malformed) = session.channel.repeat(received, &mut connection.writer, out) {
                // It is without a connection, and ends as any other that is.
                session.ends_at = (!renews).then(|| now.after(session.lease));
                self.set_session_deadline(realm);
                return Err(malformed.into());
            }
        }
        session.connection = Some(id);
        if let Kept::ByProcess(process) = session.kept {
            self.notices.push(Notice::Watch { realm, process, by: Some(id) });
        }
        connection.stage = Stage::Session(realm);
        connection.busy_since = None;
        self.newcomers.retain(|newcomer| *newcomer != id);
        self.set_session_deadline(realm);
        Ok(())
    }

    /// The session that is to be resumed, if it is there and the secret is its own.
    fn resumable(&mut self, resume: &Resume, kept: Kept) -> Option<(u32, How)> {
        let session = self.sessions.get_mut(&resume.realm)?;
        let same = are_equal(&session.secret, &resume.secret);
        if !same || !session.kept.may_be(&kept) {
            return None;
        }
        if session.kept != kept {
            // The same process, seen from another namespace.
            session.kept = kept;
            let record = session.record();
            self.record(&Record::Session(record));
        }
        let session = self.sessions.get_mut(&resume.realm)?;
        if resume.server == self.setup.server && !session.is_restored {
            return Some((session.realm, How::Resumed));
        }
        session.is_restored = true;
        session.start_over();
        Some((session.realm, How::Restored))
    }

    fn begin(&mut self, id: ConnId, open: &Open, kept: Kept, now: Moment) -> Result<u32, Fault> {
        let limits = &self.setup.limits;
        if self.sessions.len() >= limits.sessions {
            let why =
                format!("the lock server has {} clients, and no more are let in", limits.sessions);
            self.reject(id, Why::LimitExceeded, format!("{why} (`sessions`)"));
            return Err(Fault::Over);
        }
        let lease =
            open.lease.unwrap_or(limits.lease).clamp(limits.shortest_lease, limits.longest_lease);
        loop {
            self.next_realm = self.next_realm % (REALMS - 1) + 1;
            if !self.sessions.contains_key(&self.next_realm) {
                break;
            }
        }
        let realm = self.next_realm;
        let mut secret = [0; 16];
        (self.setup.random)(&mut secret);
        let record = SessionRecord { realm, secret, party: open.party.clone(), kept, lease };
        self.record(&Record::Session(record.clone()));
        self.sessions.insert(realm, Session::new(record, now));
        if kept == Kept::ByLease {
            self.promised.1 = self.promised.1.max(lease);
        }
        Ok(realm)
    }

    /// Says why not, and closes the connection.
    pub(super) fn reject(&mut self, id: ConnId, why: Why, text: String) {
        let rejected = Rejected { why, text };
        self.put(id, |body| rejected.encode(body));
        self.close_connection(id);
    }

    /// There are too many who have not said who they are.
    pub(super) fn reject_newcomer(&mut self, id: ConnId) {
        let why =
            "the lock server has too many connections that have not opened a session (`newcomers`)";
        self.reject(id, Why::LimitExceeded, why.into());
    }

    /// Puts a greeting into the connection's output.
    fn put(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.writer.put(&mut connection.output, write);
        if !connection.told {
            connection.told = true;
            self.notices.push(Notice::Output(id));
        }
    }
}
