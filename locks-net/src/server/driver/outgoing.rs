//! What goes to the clients, and what becomes of connections on their way out.

use super::Driver;
use super::stopping::FAREWELL;
use crate::arbiter::ConnId;
use crate::server::connection::ConnectionSocket;
use crate::server::log::LogLevel;

/// So many connections may be on their way out.
pub(super) const LEAVING: usize = 256;

impl Driver {
    /// Sends what the arbiter has for a connection.
    pub(super) fn output(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.say_what(&mut self.plain, |to| self.arbiter.take_output(id, to));
        self.flush(id);
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.waiting() > self.limits.write_buffer {
            self.disconnect(id);
        }
    }

    /// Writes what the socket takes, and sees to what follows.
    pub(super) fn flush(&mut self, id: ConnId) {
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.has_output() && connection.flush(now).is_err() {
            return self.disconnect(id);
        }
        if connection.has_gone() {
            self.disconnect(id);
        } else if connection.has_deadline() && !connection.is_attended {
            connection.is_attended = true;
            self.attended.push(id);
        }
    }

    /// Closes a connection once its output has been written.
    pub(super) fn close(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let from = connection.withheld_until.unwrap_or_else(|| self.clock.now());
        connection.closing_by = Some(from.after(FAREWELL));
        connection.process = None;
        self.arbiter.disconnect(id);
        self.leaving.push_back(id);
        if self.leaving.len() > LEAVING {
            let connections = &self.connections;
            self.leaving.retain(|id| connections.contains_key(id));
        }
        if self.leaving.len() > LEAVING
            && let Some(first) = self.leaving.pop_front()
            && let Some(mut first) = self.remove(first)
        {
            // Sooner than it should be, but told.
            first.withheld_until = None;
            let _ = first.flush(self.clock.now());
        }
        self.flush(id);
    }

    /// All that the server has of a connection.
    fn remove(&mut self, id: ConnId) -> Option<ConnectionSocket> {
        let connection = self.connections.remove(&id)?;
        if connection.is_away() {
            self.handshakes.forget(id);
        }
        Some(connection)
    }

    /// It was wrong about the secret.
    pub(super) fn withhold(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(address) = connection.from {
            let now = self.clock.now();
            self.log.say(LogLevel::Warn, "proof failed", &format!("from {address}"));
            connection.withheld_until = Some(now.after(self.attempts.failed(address, now)));
        }
    }

    pub(super) fn disconnect(&mut self, id: ConnId) {
        if self.remove(id).is_some_and(|connection| connection.closing_by.is_none()) {
            self.arbiter.disconnect(id);
        }
        if std::mem::take(&mut self.exhausted) {
            self.listeners.iter().for_each(|(_, ready_source)| ready_source.mark_ready());
        }
    }
}
