//! Blocked threads read for themselves.

use std::sync::Arc;
use std::time::Duration;

use locks_core::WaitPoint;

use super::socket::{LinkSocket, ReadOutcome};
use super::{Link, NAP, ReaderRole};
use crate::adaptive_spin::AdaptiveSpin;

/// For how long a blocked thread waits at most before it looks around.
const LONG: Duration = Duration::from_secs(1);

impl WaitPoint for Link {
    fn wait(&self, woken: &dyn Fn() -> bool) -> bool {
        let Some((mut lead, wire)) = self.lead() else { return false };
        let mut patient = false;
        while !woken() {
            let at = self.clock.now();
            if patient {
                wire.wait(&self.leader_notifier, Some(self.leader_limit()));
            }
            let received = if patient {
                wire.receive(&mut lead.buffer)
            } else {
                wire.receive_soon(&mut lead.buffer, &mut lead.spin)
            };
            let mut shared = self.lock();
            if !shared.is_current(&wire) {
                break;
            }
            shared.take_in(&lead.buffer, received, at);
            if received == ReadOutcome::Nothing {
                if patient {
                    self.leader_notifier.drain();
                    shared.tick();
                }
                patient = true;
                shared.reader = ReaderRole::PatientLeader;
            }
            let over = shared.wire.is_none();
            self.flush_and_wake(shared);
            if over {
                break;
            }
        }
        true
    }

    fn interrupt(&self) {
        self.leader_notifier.notify();
    }
}

/// A blocked thread reads, until this is dropped.
struct Lead<'a> {
    link: &'a Link,
    buffer: Vec<u8>,
    spin: AdaptiveSpin,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut shared = self.link.lock();
        shared.buffer = std::mem::take(&mut self.buffer);
        shared.spin = std::mem::take(&mut self.spin);
        shared.reader = ReaderRole::Nobody;
        // Others wait, and want to be woken at once; otherwise there is time until the thread
        // looks.
        let awaited = shared.wire.is_none() || shared.session.is_awaited();
        let grace = if awaited { Duration::ZERO } else { 2 * NAP };
        shared.led = !awaited;
        if shared.wire.is_none() || shared.is_unread(grace) {
            shared.call_thread(self.link);
        }
    }
}

impl Link {
    /// The lead of what there is to be read from, if nobody has it.
    fn lead(&self) -> Option<(Lead<'_>, Arc<LinkSocket>)> {
        let mut shared = self.lock();
        let wire = shared.wire.clone().filter(|_| shared.reader == ReaderRole::Nobody)?;
        shared.reader = ReaderRole::Leader;
        let buffer = std::mem::take(&mut shared.buffer);
        let spin = std::mem::take(&mut shared.spin);
        drop(shared);
        Some((Lead { link: self, buffer, spin }, wire))
    }

    fn leader_limit(&self) -> Duration {
        let shared = self.lock();
        let now = self.clock.now();
        let due = shared.session.next_deadline().map(|due| due.since(now));
        due.unwrap_or(LONG).min(LONG)
    }
}
