//! What ends, or comes due, without its guard.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use super::core::Core;
use crate::calls::Calls;
use crate::clock::{Alarm, Moment};
use crate::engine::state::Broken;
use crate::{LostCause, Token};

impl Core {
    /// Ends what is left of grants of several keys (C11), and of those whose guards were nested in
    /// them: one after the other, however many there are.
    pub(in crate::engine) fn end_sets(self: &Arc<Self>, mut broken: Vec<Broken>) {
        let mut calls = Calls::default();
        while let Some((set, token, cause)) = broken.pop() {
            for key in set.as_slice() {
                calls.make(|| {
                    let Some(slot) = self.find(key) else { return };
                    let mut frozen = self.freeze(&slot);
                    frozen.end_member(token, cause);
                    if let Some(more) = &mut frozen.effects.more {
                        broken.append(&mut more.broken);
                    }
                });
            }
        }
        calls.end();
    }

    /// Ends the hold or reservation with this token from outside.
    pub(in crate::engine) fn end(
        self: &Arc<Self>,
        key: &str,
        token: Token,
        cause: LostCause,
    ) -> bool {
        let Some(slot) = self.find(key) else { return false };
        self.freeze(&slot).end(token, cause)
    }

    /// Has the state of `key` looked after when something happens there by itself.
    pub(in crate::engine) fn wake_key_at(self: &Arc<Self>, at: Moment, key: &str) -> Alarm {
        let alarm = KeyAlarm { core: Arc::downgrade(self), key: key.into() };
        self.clock.wake_at(at, Waker::from(Arc::new(alarm)))
    }
}

/// Looks after a key when something happens there by itself: a theft, or the end of a bound (C6,
/// C14).
struct KeyAlarm {
    core: Weak<Core>,
    key: Box<str>,
}

impl Wake for KeyAlarm {
    fn wake(self: Arc<Self>) {
        let Some(core) = self.core.upgrade() else { return };
        let Some(slot) = core.find(&self.key) else { return };
        // It has gone off, and a new one is set where there is more to come.
        let alarm = core.freeze(&slot).set_alarm(None);
        drop(alarm);
    }
}
