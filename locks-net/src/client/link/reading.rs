//! Blocked threads read for themselves.

use std::time::Duration;

use locks_core::WaitPoint;

use super::socket::Received;
use super::{Link, NAP, Reader};

/// For how long a blocked thread waits at most before it looks around.
const LONG: Duration = Duration::from_secs(1);

impl WaitPoint for Link {
    fn wait(&self, woken: &dyn Fn() -> bool) -> bool {
        let mut buffer;
        let mut patience;
        let wire = {
            let mut shared = self.lock();
            if shared.reader != Reader::Nobody {
                return false;
            }
            let Some(wire) = shared.wire.clone() else { return false };
            shared.reader = Reader::Leader;
            buffer = std::mem::take(&mut shared.buffer);
            patience = std::mem::take(&mut shared.patience);
            wire
        };
        let mut patient = false;
        while !woken() {
            let at = self.clock.now();
            if patient {
                wire.wait(&self.leader_notifier, Some(self.leader_limit()));
            }
            let received = if patient {
                wire.receive(&mut buffer)
            } else {
                wire.receive_soon(&mut buffer, &mut patience)
            };
            let mut shared = self.lock();
            if !shared.is_current(&wire) {
                break;
            }
            shared.take_in(&buffer, received, at);
            if received == Received::Nothing {
                if patient {
                    self.leader_notifier.drain();
                    shared.tick();
                }
                patient = true;
                shared.reader = Reader::PatientLeader;
            }
            let over = shared.wire.is_none();
            self.flush_and_wake(shared);
            if over {
                break;
            }
        }
        let mut shared = self.lock();
        (shared.buffer, shared.patience) = (buffer, patience);
        shared.reader = Reader::Nobody;
        // Others wait, and want to be woken at once; otherwise there is time until the thread looks.
        let awaited = shared.wire.is_none() || shared.session.is_awaited();
        let patience = if awaited { Duration::ZERO } else { 2 * NAP };
        shared.led = !awaited;
        if shared.wire.is_none() || shared.is_unread(patience) {
            shared.call_thread(self);
        }
        true
    }

    fn interrupt(&self) {
        self.leader_notifier.notify();
    }
}

impl Link {
    fn leader_limit(&self) -> Duration {
        let shared = self.lock();
        let now = self.clock.now();
        let due = shared.session.next_deadline().map(|due| due.since(now));
        due.unwrap_or(LONG).min(LONG)
    }
}
