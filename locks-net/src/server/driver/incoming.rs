//! What comes in: connections, what they say, and other events that are ready.

use locks_core::LockError;

use super::Driver;
use crate::arbiter::ConnId;
use crate::server::accept::Accepted;
use crate::server::connection::ConnectionSocket;
use crate::server::log::LogLevel;
use crate::server::ready_queue::Source;

/// How often a connection is read from in one round, before others have their turn.
const READS: usize = 4;

/// How many connections are accepted in one round.
const ACCEPTS: usize = 32;

impl Driver {
    pub(super) fn attend(&mut self, source: Source) -> Result<(), LockError> {
        match source {
            Source::Connection(id) => self.read(id),
            Source::Listener(place) => self.accept(place),
            Source::Handshakes => self.go_on_with_handshakes(),
            Source::Process(realm) => {
                if self.processes.has_ended(realm) {
                    self.arbiter.process_ended(realm);
                }
            }
            Source::Operator => {
                if let Some(inquiries) = &self.inquiries {
                    inquiries.answer(&mut self.arbiter, self.is_stalled, &mut self.answers);
                }
            }
            Source::Timer => {
                self.timer.answer();
                return self.look_around();
            }
        }
        Ok(())
    }

    fn read(&mut self, id: ConnId) {
        for _ in 0..READS {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            if connection.is_away() {
                return;
            }
            match connection.read(&mut self.buffer) {
                None => return self.flush(id),
                Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Some(Ok(0) | Err(_)) => return self.disconnect(id),
                // Nobody is listened to any more.
                Some(Ok(_)) if self.stops_by.is_some() => {}
                Some(Ok(read)) => self.take_in(id, read),
            }
        }
        if let Some(connection) = self.connections.get(&id) {
            connection.mark_ready();
        }
    }

    fn accept(&mut self, place: usize) {
        for _ in 0..ACCEPTS {
            let Some((listener, _)) = self.listeners.get_mut(place) else { return };
            match listener.accept(self.arbiter.awaited_clients()) {
                Accepted::Peer(mut newcomer) => {
                    self.recognize(&mut newcomer.peer);
                    let id = self.arbiter.connect(newcomer.peer.clone());
                    let ready_source = self.ready_queue.source(Source::Connection(id));
                    // Its waker is registered by reading.
                    ready_source.mark_ready();
                    self.connections.insert(id, ConnectionSocket::new(*newcomer, ready_source));
                }
                Accepted::TurnedAway(None) => {}
                Accepted::TurnedAway(Some(why)) => self.log.say(LogLevel::Warn, "refused", &why),
                Accepted::Nobody => return,
                Accepted::Exhausted => {
                    self.log.say(
                        LogLevel::Warn,
                        "refused",
                        "no descriptors are left for more clients",
                    );
                    self.arbiter.make_room();
                    self.exhausted = true;
                    return;
                }
            }
        }
        self.listeners[place].1.mark_ready();
    }
}
