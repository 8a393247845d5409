//! What there is to be sent, and when it leaves.

use std::io;
use std::sync::MutexGuard;
use std::time::Duration;

use locks_core::Moment;

use super::socket::LinkSocket;
use super::{Link, LinkShared, ReaderRole};

/// For how long is held back what those say who were woken together (L4).
const TOGETHER: Duration = Duration::from_millis(1);

/// Most bytes that are held back: the server begins with them while others still come.
const HELD_BACK: usize = 2048;

/// What is held back (L4).
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldBack {
    pub(super) until: Moment,
    /// When no more than so many are expected, all have come.
    absent: usize,
}

impl Link {
    /// Sends what there is to be sent and then, with nothing locked, wakes whom it concerns.
    pub(super) fn flush_and_wake<'a>(&'a self, shared: MutexGuard<'a, LinkShared>) {
        wake(self.flush(shared));
    }

    /// Says good-bye over a connection that nobody finds any more: whoever comes from here on needs
    /// another one (L3).
    pub(super) fn part(&self, mut shared: MutexGuard<'_, LinkShared>) {
        shared.session.bye();
        let mut bytes = std::mem::take(&mut shared.unsent);
        shared.session.take_output(&mut bytes);
        let wire = shared.wire.take();
        if wire.is_some() {
            let now = shared.session.now();
            shared.reach.lost(now);
        }
        drop(shared);
        if let Some(wire) = wire {
            // Its server finds the end in any case.
            let _ = self.send(&wire, &bytes);
            wire.shut_down();
        }
        wake(self.lock());
    }

    /// L2: whoever comes while somebody writes leaves it to him. L4: and who is not the last to
    /// come, to those who follow.
    pub(super) fn flush<'a>(
        &'a self,
        mut shared: MutexGuard<'a, LinkShared>,
    ) -> MutexGuard<'a, LinkShared> {
        if shared.writing || shared.holds_back() {
            return shared;
        }
        loop {
            let Some(wire) = shared.wire.clone() else { return shared };
            let mut bytes = std::mem::take(&mut shared.unsent);
            let had = bytes.len();
            shared.session.take_output(&mut bytes);
            if bytes.is_empty() && !wire.is_stuck() {
                shared.unsent = bytes;
                return shared;
            }
            shared.writing = true;
            drop(shared);
            let sent = self.send(&wire, &bytes);
            shared = self.lock();
            shared.writing = false;
            if !shared.is_current(&wire) {
                continue;
            }
            match sent {
                Ok(sent) if sent == bytes.len() && !wire.is_stuck() => {
                    bytes.clear();
                    shared.unsent = bytes;
                }
                Ok(sent) => {
                    bytes.drain(..sent);
                    shared.unsent = bytes;
                    if had == 0 {
                        // It goes on once the socket takes more.
                        shared.call_thread(self);
                    }
                    return shared;
                }
                Err(error) => {
                    // What the server had said before is still there: a loss, it may be, of what is
                    // released just now.
                    self.read(&mut shared);
                    if shared.reader == ReaderRole::Nobody {
                        shared.lose_line(&error.to_string());
                    } else {
                        // The leader reads to the end, and finds that.
                        wire.shut_down();
                    }
                    shared.call_thread(self);
                    return shared;
                }
            }
        }
    }
}

impl Link {
    /// Sends as much as the socket takes now, with nothing locked.
    fn send(&self, wire: &LinkSocket, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        self.before_sending();
        wire.send(bytes)
    }

    #[cfg(test)]
    fn before_sending(&self) {
        let act = self.before_sending.lock().unwrap().take();
        act.into_iter().for_each(|act| act());
    }
}

/// Wakes whom it concerns, with nothing locked.
pub(super) fn wake(mut shared: MutexGuard<'_, LinkShared>) {
    let wakers = shared.session.take_wakers();
    drop(shared);
    wakers.run();
}

impl LinkShared {
    /// L4: those whose answers the thread has just read are about to be woken together. Before it
    /// did, `absent` were expected, who may never come: nobody waits for them once more.
    pub(super) fn hold_back(&mut self, absent: usize) {
        if self.held_back.is_none() && self.session.expects() > absent + 1 {
            let until = self.session.now().after(TOGETHER);
            self.held_back = Some(HeldBack { until, absent });
        }
    }

    /// Whether what there is to be sent is held back.
    fn holds_back(&mut self) -> bool {
        let Some(HeldBack { until, absent }) = self.held_back else { return false };
        if self.closed || self.session.expects() <= absent || self.session.now() >= until {
            self.held_back = None;
            return false;
        }
        self.unsent.is_empty() && !self.session.is_urgent() && self.session.unsent() < HELD_BACK
    }
}
