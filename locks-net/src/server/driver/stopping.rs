//! The end of a server: told to stop, out of reach, or replaced (N3).

use std::time::Duration;

use locks_core::{ErrorKind, LockError, Moment};

use super::Driver;
use crate::server::connection::ConnectionSocket;
use crate::server::timer::Timer;

/// How long clients have to take what was written last.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

impl Driver {
    /// Ends the server that nobody can find, or that another one may take the place of (N3).
    pub(super) fn ensure_reachable(&mut self, now: Moment) -> Result<(), LockError> {
        if now < self.reachable_until {
            return Ok(());
        }
        self.reachable_until = now.after(Timer::LONGEST);
        if self.is_discharged() {
            self.discharge();
            return Ok(());
        }
        self.rest_journal();
        match self.files.iter().find(|file| !file.is_there()) {
            None => Ok(()),
            Some(file) => {
                let path = file.path().display();
                Err(ended(&format!("its socket `{path}` was removed or replaced")))
            }
        }
    }

    /// Whether somebody has removed the lock that it goes by. What cannot be found out now is
    /// looked at again.
    fn is_discharged(&self) -> bool {
        self.store().is_in_charge().is_ok_and(|is| !is)
    }

    /// Another server may be about to begin, and begins once this one has told its clients that
    /// they hold nothing of it any more.
    fn discharge(&mut self) {
        self.unheard = self.arbiter.forsake();
        self.is_discharged = true;
        self.begin_to_stop();
    }

    pub(super) fn begin_to_stop(&mut self) {
        if !self.is_discharged && self.is_discharged() {
            return self.discharge();
        }
        self.looked_around = true;
        self.stops_by = Some(self.clock.now().after(FAREWELL));
        // While it still listens, so that nobody takes the file for a stale one.
        for file in self.files.drain(..) {
            file.remove();
        }
        self.listeners.clear();
        self.rest_journal();
        self.arbiter.close();
    }

    pub(super) fn has_stopped(&self) -> bool {
        let Some(by) = self.stops_by else { return false };
        match self.arbiter.end_of(&self.unheard) {
            Some(end) => by.max(end) <= self.clock.now(),
            None => {
                by <= self.clock.now()
                    || !self.connections.values().any(ConnectionSocket::has_output)
            }
        }
    }
}

/// Why the server cannot go on.
fn ended(why: &str) -> LockError {
    let why =
        format!("the server has ended: {why}; locks are kept for the next one on its directory");
    LockError::new(ErrorKind::Unavailable, "").with_message(why)
}

/// Why a server has ended that was discharged: nothing of it is kept.
pub(super) fn discharged() -> LockError {
    let why = "the server has ended: its directory, or the lock in it, was removed, and whoever \
               held locks was told that they are lost; name a directory that nothing cleans up";
    LockError::new(ErrorKind::Unavailable, "").with_message(why)
}
