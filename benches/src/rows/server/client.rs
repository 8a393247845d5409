//! What the contestants have in common, so that a row runs the same loop over each of them.

use std::io;

/// A connection that takes and gives one lock.
pub(super) trait Client: Send {
    /// Returns with the lock.
    fn take(&mut self) -> io::Result<()>;

    /// Gives the lock back as its users do: ours does not wait for an answer, the peers do.
    fn give(&mut self) -> io::Result<()>;

    /// Gives the lock back, and returns when the server has none of it left to do.
    fn give_and_wait(&mut self) -> io::Result<()>;
}

/// A server that can be connected to.
pub(super) trait Service {
    /// A connection of its own, for the lock on `key`.
    fn connect(&self, key: &str) -> io::Result<Box<dyn Client>>;
}

/// One that takes part in a table.
pub(super) struct Entrant {
    pub(super) name: &'static str,
    pub(super) service: Box<dyn Service>,
}

impl Entrant {
    pub(super) fn new(name: &'static str, service: impl Service + 'static) -> Self {
        Self { name, service: Box::new(service) }
    }

    /// # Panics
    /// If the server is not there any more.
    pub(super) fn connect(&self, key: &str) -> Box<dyn Client> {
        let connected = self.service.connect(key);
        connected.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}
