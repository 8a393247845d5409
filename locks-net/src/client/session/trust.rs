use std::time::Duration;

use locks_core::Moment;

/// For how long the client knows by itself that the server has ended none of its holds (C8, N1).
///
/// T1: no server has begun to count a lease of ours before `base`; for a session kept by its
/// process, none counts at all while `open`.
#[derive(Debug)]
pub(super) struct Trust {
    /// Whether the session is kept by its lease, and not by its process.
    pub(super) renews: bool,
    /// The session's lease.
    pub(super) lease: Duration,
    base: Moment,
    open: bool,
}

impl Trust {
    /// Of a session whose `Open` was sent at `at`.
    pub(super) fn new(renews: bool, lease: Duration, at: Moment) -> Self {
        Self { renews, lease, base: at, open: true }
    }

    /// The session goes on over a connection whose `Open` was sent at `at`: whatever the server had
    /// begun to count before, for a session kept by its process, it has stopped since.
    pub(super) fn resumed(&mut self, renews: bool, lease: Duration, at: Moment) {
        (self.renews, self.lease, self.open) = (renews, lease, true);
        if !renews {
            self.base = self.base.max(at);
        }
    }

    /// The newest frame that is acknowledged was sent at `at`.
    pub(super) fn acknowledged(&mut self, at: Moment) {
        if self.renews {
            self.base = self.base.max(at);
        }
    }

    /// At `at` the connection was seen to be open, or nobody was there who could count.
    pub(super) fn seen(&mut self, at: Moment) {
        if !self.renews {
            self.base = self.base.max(at);
        }
    }

    /// The connection is over.
    pub(super) fn disconnected(&mut self) {
        self.open = false;
    }

    /// Until when a hold with this lease is known to be there; `None`: until something is heard.
    pub(super) fn until(&self, lease: Option<Duration>) -> Option<Moment> {
        let lease = match (self.renews, self.open) {
            (false, true) => return None,
            (false, false) => self.lease,
            (true, _) => lease.unwrap_or(self.lease),
        };
        Some(self.base.after(lease.saturating_sub(margin(lease))))
    }

    /// Whether a hold with this lease is known to be there at `now`.
    pub(super) fn covers(&self, lease: Option<Duration>, now: Moment) -> bool {
        self.until(lease).is_none_or(|until| now < until)
    }

    /// The moment that leases count from, as far as is known.
    pub(super) fn base(&self) -> Moment {
        self.base
    }
}

/// How much sooner than the server a client takes a lease to be over (C8).
pub(super) fn margin(lease: Duration) -> Duration {
    (lease / 20).max(Duration::from_millis(100))
}
