//! Connections: accepted, read from and closed.

use super::connection::{After, CloseReason, ConnectionStage, ConnectionState};
use super::deadlines::Due;
use super::{Arbiter, ConnId, Notice, Peer};
use crate::channel::Arrived;
use crate::secret::{Proving, ServerHandshake};
use crate::wire::{Call, Malformed, split_frame};

/// After so many frames a client hears how far it was understood, if nothing else is told to it.
const ACK_AFTER: u64 = 32;

impl Arbiter {
    /// A connection was accepted. Too many newcomers make it close [one](super::newcomers) of them.
    pub(crate) fn connect(&mut self, peer: Peer) -> ConnId {
        self.next_connection += 1;
        let id = ConnId(self.next_connection);
        let now = self.now();
        let mut nonce = [0; 32];
        (self.setup.random)(&mut nonce);
        let handshake = ServerHandshake::new(peer.proving.clone(), self.setup.server, nonce);
        let connection = ConnectionState::new(peer, handshake, now);
        self.connections.insert(id, connection);
        self.set_deadline(now.after(self.setup.limits.patience), Due::Connection(id));
        self.newcomers.push_back(id);
        while self.newcomers.len() > self.setup.limits.newcomers.max(1) {
            let Some(least) = self.least_welcome(|_| true) else { break };
            self.reject_newcomer(least);
        }
        id
    }

    /// A connection's TLS is there, and with it what its client has to prove.
    pub(crate) fn secure(&mut self, id: ConnId, proving: Proving) {
        let connection = self.connections.get_mut(&id);
        if let Some(ConnectionStage::Greeting(handshake)) = connection.map(|it| &mut it.stage) {
            handshake.prove(proving);
        }
    }

    /// Bytes have come in.
    pub(crate) fn receive(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(mut reader) =
            self.connections.get_mut(&id).and_then(|connection| connection.take_reader())
        else {
            return;
        };
        reader.push(bytes);
        let mut progress = false;
        let fault = loop {
            let step = match reader.next() {
                Ok(None) => break None,
                Ok(Some(body)) => self.frame(id, body),
                Err(malformed) => Err(malformed.into()),
            };
            progress = true;
            match step {
                Ok(After::Frame) => {}
                Ok(After::Greetings) => reader.set_max(self.setup.limits.frame),
                Err(fault) => break Some(fault),
            }
        };
        let now = self.now();
        match (fault, self.connections.get_mut(&id)) {
            (Some(CloseReason::Malformed(malformed)), Some(_)) => {
                self.refuse_nonsense(id, malformed)
            }
            (Some(CloseReason::Over), _) | (_, None) => {}
            (None, Some(connection)) => {
                connection.put_reader(reader, progress, now);
                if connection.is_open() && connection.busy_since == Some(now) {
                    self.set_deadline(now.after(self.setup.limits.patience), Due::Connection(id));
                }
                self.acknowledge(id, ACK_AFTER);
            }
        }
        self.drain_events();
    }

    /// The connection has ended: end of file, an error, or closed there.
    pub(crate) fn disconnect(&mut self, id: ConnId) {
        self.forget(id);
        self.drain_events();
    }

    fn frame(&mut self, id: ConnId, body: &[u8]) -> Result<After, CloseReason> {
        let connection = self.connections.get(&id).ok_or(CloseReason::Over)?;
        let ConnectionStage::Session(realm) = connection.stage else { return self.greet(id, body) };
        let (number, ack, message) = split_frame(body)?;
        let now = self.now();
        let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
        session.heard = now;
        session.channel.acknowledged(ack)?;
        // What was not understood has not arrived: it comes again, and so its client hears of it.
        let call = match number > session.channel.applied() {
            true => Some(Call::decode(message)?),
            false => None,
        };
        let is_over = number == 0 || session.channel.arrived(number)? == Arrived::Repeated;
        if session.long_list.is_some() {
            self.go_on_listing(realm);
            self.go_on_with_lists();
        }
        let Some(call) = call.filter(|_| !is_over) else { return Ok(After::Frame) };
        let session = self.sessions.get_mut(&realm).ok_or(CloseReason::Over)?;
        if session.is_restored != matches!(call, Call::Holding { .. }) {
            return Err(Malformed(
                "what still matters is told first after a restart, and only then",
            )
            .into());
        }
        self.apply(id, realm, call)?;
        // What it has brought about is in the journal before what the next frame does.
        self.drain_events();
        Ok(After::Frame)
    }

    /// Has a connection's client know how far it was understood, if that is so many frames on.
    pub(super) fn acknowledge(&mut self, id: ConnId, frames: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let ConnectionStage::Session(realm) = connection.stage else { return };
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        if session.channel.owes() >= frames {
            session.channel.acknowledge(&mut connection.output);
            if !connection.told {
                connection.told = true;
                self.notices.push(Notice::Output(id));
            }
        }
    }

    fn refuse_nonsense(&mut self, id: ConnId, malformed: Malformed) {
        let opened = self.connections.get(&id).is_some_and(ConnectionState::is_open);
        if !opened {
            self.reject(id, crate::wire::Why::Protocol, malformed.to_string());
        } else {
            self.close_connection(id);
        }
    }

    /// Closes a connection from here, once its output has been written.
    pub(super) fn close_connection(&mut self, id: ConnId) {
        self.detach(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.stage = ConnectionStage::Over;
        connection.busy_since = None;
        self.notices.push(Notice::Close(id));
    }

    /// A connection is no more.
    pub(super) fn forget(&mut self, id: ConnId) {
        self.detach(id);
        self.connections.remove(&id);
    }

    /// Parts a connection from its session, and counts for that from now on (N1).
    pub(super) fn detach(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let ConnectionStage::Session(realm) = connection.stage else {
            self.newcomers.retain(|newcomer| *newcomer != id);
            return;
        };
        let now = self.now();
        let Some(session) = self.sessions.get_mut(&realm) else { return };
        if session.connection != Some(id) {
            return;
        }
        session.connection = None;
        if !session.is_leased() {
            session.ends_at = Some(now.after(session.lease));
        }
        self.set_session_deadline(realm);
    }
}
