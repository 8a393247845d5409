//! What stands between a TCP connection and the arbiter.

use std::sync::Arc;

use super::Driver;
use crate::access::Clients;
use crate::arbiter::{ConnId, Peer};
use crate::secret::Proving;
use crate::server::accept::refusal;
use crate::server::connection::Incoming;
use crate::server::handshakes::Done;
use crate::server::log::LogLevel;
use crate::server::ready_queue::Admission;
use crate::wire::{VERSIONS, Why};

/// Said as it is, to whom it may concern.
const NO_TLS: &str = "over TCP this lock server speaks TLS alone, and the client has said something else: use a \
    client of its version, or one that speaks TLS 1.3";

impl Driver {
    /// Lets these in, over TCP.
    pub(in crate::server) fn let_in(&mut self, clients: Clients) {
        self.clients = Arc::new(clients);
    }

    /// Lets others in, from now on, and by another certificate.
    pub(super) fn admit(&mut self, admission: Admission) {
        let Admission { clients, tls } = admission;
        self.listeners.iter_mut().for_each(|(listener, _)| listener.set_tls(&tls));
        self.arbiter.set_clients(&clients);
        self.let_in(clients);
        let text = format!("who is let in, by the certificate {}", tls.fingerprint());
        self.log.say(LogLevel::Info, "read anew", &text);
    }

    /// What has been read from a connection.
    pub(super) fn take_in(&mut self, id: ConnId, read: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.take_in(id, &self.buffer[..read], &mut self.plain) {
            Incoming::AsTheyAre => self.arbiter.receive(id, &self.buffer[..read]),
            Incoming::Said => self.arbiter.receive(id, &self.plain),
            Incoming::LastWords => {
                self.arbiter.receive(id, &self.plain);
                self.disconnect(id);
            }
            Incoming::Step(job) => self.handshakes.begin(job),
            Incoming::Nothing => {}
            Incoming::Foreign => {
                connection.say_what(&mut self.plain, |to| {
                    to.extend(refusal(Why::Version(VERSIONS), NO_TLS))
                });
                let from = connection.from;
                self.log_of(from, "it does not speak TLS");
                self.close(id);
            }
        }
    }

    pub(super) fn go_on_with_handshakes(&mut self) {
        for Done { id, tls, plain, out, outcome } in self.handshakes.take_done() {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let shown = connection.secure(tls, &out);
            connection.mark_ready();
            if let Err(why) = outcome {
                let from = connection.from;
                self.log_of(from, &why);
                self.close(id);
                continue;
            }
            if let Some((certificate, client)) = shown {
                let clients = Arc::clone(&self.clients);
                self.arbiter.secure(id, Proving { clients, certificate, client });
                self.arbiter.receive(id, &plain);
            }
            self.flush(id);
        }
    }

    /// Those from whose address somebody was let in lately come before others.
    pub(super) fn recognize(&self, peer: &mut Peer) {
        let now = self.clock.now();
        peer.is_familiar =
            peer.from.is_some_and(|from| self.attempts.is_familiar(from, self.limits.lease, now));
    }

    fn log_of(&mut self, from: Option<std::net::IpAddr>, why: &str) {
        if let Some(from) = from {
            self.log.say(LogLevel::Warn, "refused", &format!("a connection from {from}: {why}"));
        }
    }
}
