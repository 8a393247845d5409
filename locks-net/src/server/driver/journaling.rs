//! Writing the journal, before anything that depends on it leaves (N4).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BUFFER, Driver};
use crate::journal::Store;
use crate::server::connection::ConnectionSocket;
use crate::server::log::LogLevel;
use crate::server::timer::Timer;

impl Driver {
    pub(super) fn is_written_down(&mut self) -> bool {
        let written = self.write_down();
        match &written {
            Ok(()) if self.is_stalled => {
                self.log.say(LogLevel::Info, "disk", "the journal is written again");
            }
            Err(error) if !self.is_stalled => {
                self.log.say(LogLevel::Error, "disk", &error.to_string());
            }
            _ => {}
        }
        self.is_stalled = written.is_err();
        written.is_ok()
    }

    /// Nothing leaves before this is done (N4).
    fn write_down(&mut self) -> std::io::Result<()> {
        if self.is_discharged {
            // Whatever there is to be said, nobody goes by what is written there.
            self.arbiter.journal().clear();
            return Ok(());
        }
        let promised = self.arbiter.promised();
        if self.covered != Some(promised) {
            self.store().cover(promised.0, promised.1)?;
            self.covered = Some(promised);
        }
        let store = Arc::clone(&self.store);
        let records = self.arbiter.journal();
        if !records.is_empty() {
            lock(&store).append(records)?;
            records.clear();
            records.shrink_to(BUFFER);
        }
        Ok(())
    }

    pub(super) fn compact(&mut self) {
        if self.store().is_due_for_compaction() && self.arbiter.journal().is_empty() {
            let now = self.clock.now();
            if self.compact_from <= now && self.store().compact(&self.arbiter.snapshot()).is_err() {
                // The journal is longer than it need be, and as good as before.
                self.compact_from = now.after(Timer::LONGEST);
            }
        }
    }

    /// Leaves nothing in the journal of an idle server but what every build reads (N11).
    pub(super) fn rest_journal(&mut self) {
        if self.is_discharged || !self.store().has_records() {
            return;
        }
        // What their sockets have not taken dies with the server.
        if !self.arbiter.is_idle() || self.connections.values().any(ConnectionSocket::has_output) {
            return self.arbiter.ask_for_word();
        }
        if self.write_down().is_ok() && self.store().compact(&[]).is_ok() {
            self.arbiter.forget_records();
        }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
