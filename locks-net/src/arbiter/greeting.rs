//! What is said before a connection is that of a session.

use locks_core::Moment;

use super::connection::{After, CloseReason, ConnectionStage};
use super::session::ServerSession;
use super::{Arbiter, ConnId, Notice};
use crate::journal::{Record, SessionKind, SessionRecord};
use crate::secret::are_equal;
use crate::wire::{Greeting, How, Open, Opened, Rejected, Resume, Why, put_frame};

/// Realms from 1 on: those that fit into the engine's fast path.
const REALMS: u32 = 1 << 21;

/// For so many clients descriptors are kept at a time.
const AWAITED: usize = 64;

/// So many descriptors are a client's at most: its socket, and its process.
const DESCRIPTORS: usize = 2;

impl Arbiter {
    /// The next frame of a connection that is not yet a session's.
    pub(super) fn greet(&mut self, id: ConnId, body: &[u8]) -> Result<After, CloseReason> {
        let connection = self.connections.get_mut(&id).ok_or(CloseReason::Over)?;
        let handshake = match &mut connection.stage {
            ConnectionStage::Greeting(handshake) => handshake,
            ConnectionStage::Open => {
                return self.open(id, Open::decode(body)?).map(|()| After::Greetings);
            }
            ConnectionStage::Session(_) | ConnectionStage::Over => return Err(CloseReason::Over),
        };
        let step = match handshake.receive(body) {
            Ok(step) => step,
            Err(rejected) => {
                if rejected.why == Why::Unauthorized {
                    self.notices.push(Notice::Unproven(id));
                }
                self.reject(id, rejected.why, rejected.text);
                return Err(CloseReason::Over);
            }
        };
        if let Some(reply) = step.reply {
            self.put(id, |body| body.extend_from_slice(&reply));
        }
        if let Some(established) = step.established {
            let connection = self.connections.get_mut(&id).ok_or(CloseReason::Over)?;
            connection.stage = ConnectionStage::Open;
            connection.peer.access = established.access;
        }
        Ok(After::Frame)
    }

    fn open(&mut self, id: ConnId, open: Open) -> Result<(), CloseReason> {
        let now = self.now();
        let peer = &self.connections.get(&id).ok_or(CloseReason::Over)?.peer;
        let (kept, access) = (peer.kept, peer.access.clone());
        // Over TCP it is a right.
        let administers = access.as_ref().map_or(peer.administers, |access| access.admin);
        let client = access.as_ref().map(|access| &*access.name);
        if let Some(name) =
            open.resume.as_ref().and_then(|resume| self.is_of_another(resume, client))
        {
            let why = format!(
                "the session belongs to the client `{name}`: only with its secret or certificate it goes on"
            );
            self.reject(id, Why::Unauthorized, why);
            return Err(CloseReason::Over);
        }
        let resumed = open.resume.as_ref().and_then(|resume| self.resumable(resume, kept));
        let (realm, how) = match resumed {
            Some(resumed) => resumed,
            None => (self.begin(id, &open, kept, client, now)?, How::New),
        };
        let Some(session) = self.sessions.get_mut(&realm) else { return Err(CloseReason::Over) };
        let older = session.connection.take();
        #[cfg(test)]
        if self.broken == Some(crate::simulation::Bug::AppliedTwice) {
            session.channel.forget_untold();
        }
        let (secret, lease, applied) = (session.secret, session.lease, session.channel.applied());
        let renews = session.is_leased();
        session.heard = now;
        session.access = access;
        session.administers = administers;
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
        let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
        let connection = self.connections.get_mut(&id).ok_or(CloseReason::Over)?;
        if how == How::Resumed {
            let received = open.resume.map_or(0, |resume| resume.received);
            let out = &mut connection.output;
            if let Err(malformed) = session.channel.repeat(received, out) {
                // It is without a connection, and ends as any other that is.
                session.ends_at = (!renews).then(|| now.after(session.lease));
                self.set_session_deadline(realm);
                return Err(malformed.into());
            }
            if session.may_lack_word() {
                // `Opened` says what was applied, and what is repeated behind it what became of
                // that.
                session.owe_word(true);
            }
        }
        session.connection = Some(id);
        if let Some(from) = connection.peer.from {
            self.notices.push(Notice::LetIn(from));
        }
        if let SessionKind::ByProcess(process) = session.kept {
            self.notices.push(Notice::Watch { realm, process, by: Some(id) });
        }
        connection.stage = ConnectionStage::Session(realm);
        connection.busy_since = None;
        self.newcomers.retain(|newcomer| *newcomer != id);
        self.set_session_deadline(realm);
        Ok(())
    }

    /// Whose session it is that is to be resumed, if that is somebody else.
    fn is_of_another(&self, resume: &Resume, client: Option<&str>) -> Option<String> {
        let session = self.sessions.get(&resume.realm)?;
        let same = are_equal(&session.secret, &resume.secret);
        let owner = session.client.as_deref();
        (same && owner != client).then(|| owner.unwrap_or_default().to_owned())
    }

    /// The session that is to be resumed, if it is there and the secret is its own.
    fn resumable(&mut self, resume: &Resume, kept: SessionKind) -> Option<(u32, How)> {
        let session = self.sessions.get_mut(&resume.realm)?;
        let same = are_equal(&session.secret, &resume.secret);
        if !same || !session.kept.may_be(&kept) {
            return None;
        }
        if session.kept != kept {
            // The same process, seen from another namespace.
            session.kept = kept;
            let (is_recorded, record) = (session.is_recorded, session.record());
            let mut bytes = Vec::new();
            Record::Session(record).encode(&mut bytes);
            // Without it the process is known by what it was written down as, as it was until now.
            if is_recorded && self.has_room_to_write(bytes.len()).is_ok() {
                self.journal.append(&mut bytes);
            }
        }
        let session = self.sessions.get_mut(&resume.realm)?;
        if resume.server == self.setup.server && !session.is_restored {
            return Some((session.realm, How::Resumed));
        }
        session.is_restored = true;
        session.start_over();
        let realm = session.realm;
        // What was on its way is on its way no more, and it says anew what it has.
        self.drop_mailbox(realm);
        Some((realm, How::Restored))
    }

    fn begin(
        &mut self,
        id: ConnId,
        open: &Open,
        kept: SessionKind,
        client: Option<&str>,
        now: Moment,
    ) -> Result<u32, CloseReason> {
        let limits = &self.setup.limits;
        if self.sessions.len() >= limits.sessions {
            let why =
                format!("the lock server has {} clients, and no more are let in", limits.sessions);
            self.reject(id, Why::LimitExceeded, format!("{why} (`sessions`)"));
            return Err(CloseReason::Over);
        }
        // Those that come back need as many as they had.
        let awaited = self.awaited_clients();
        let peer = self.connections.get(&id).map(|connection| connection.peer.descriptors_left);
        if peer.is_some_and(|left| left < DESCRIPTORS * awaited) {
            let why = "the lock server has no descriptors left for more clients: raise its limit (`ulimit -n`)";
            self.reject(id, Why::LimitExceeded, why.into());
            return Err(CloseReason::Over);
        }
        let limits = &self.setup.limits;
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
        let (party, client) = (open.party.clone(), client.map(str::to_owned));
        let record = SessionRecord { realm, secret, party, kept, lease, client };
        self.sessions.insert(realm, ServerSession::new(record, now));
        self.figures.sessions += 1;
        Ok(realm)
    }

    /// Says why not, and closes the connection.
    pub(super) fn reject(&mut self, id: ConnId, why: Why, text: String) {
        if why != Why::Unauthorized {
            self.say("refused", text.clone());
        }
        let rejected = Rejected { why, text };
        self.put(id, |body| rejected.encode(body));
        self.close_connection(id);
    }

    /// How many clients may be about to come back to their sessions, as far as that makes a
    /// difference.
    pub(crate) fn awaited_clients(&self) -> usize {
        let awaited = self.sessions.values().filter(|session| session.connection.is_none());
        awaited.take(AWAITED).count()
    }

    /// Puts a greeting into the connection's output.
    fn put(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        put_frame(&mut connection.output, write);
        if !connection.told {
            connection.told = true;
            self.notices.push(Notice::Output(id));
        }
    }
}
