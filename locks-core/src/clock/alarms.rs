use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use super::Moment;
use crate::fork;
use crate::sync::plain::Mutex;

/// A set of pending alarms, for implementing a [`Clock`](super::Clock).
pub struct Alarms {
    set: Mutex<Set>,
    /// In a forked child they go off no more, and the mutex may be locked for ever.
    made_in: u64,
}

#[derive(Default)]
struct Set {
    /// By time, then in the order in which they were set.
    due: BTreeMap<(Moment, u64), Waker>,
    next: u64,
}

/// A pending alarm; dropping it cancels it.
#[must_use = "dropping an alarm calls it off"]
pub struct Alarm {
    alarms: Arc<Alarms>,
    key: (Moment, u64),
}

impl Alarms {
    /// Creates an empty set.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { set: Mutex::default(), made_in: fork::generation() })
    }

    /// Adds an alarm that wakes `waker` at `at`.
    pub fn set(self: &Arc<Self>, at: Moment, waker: Waker) -> Alarm {
        let mut set = self.set.lock();
        let key = (at, set.next);
        set.next += 1;
        set.due.insert(key, waker);
        Alarm { alarms: self.clone(), key }
    }

    /// Returns the time of the next alarm.
    pub fn next(&self) -> Option<Moment> {
        self.set.lock().due.keys().next().map(|key| key.0)
    }

    /// Wakes every alarm that is due at `now`.
    pub fn fire(&self, now: Moment) {
        let rest = (now, u64::MAX);
        loop {
            let due = match self.set.lock().due.first_entry() {
                Some(first) if *first.key() <= rest => first.remove(),
                _ => return,
            };
            due.wake();
        }
    }
}

impl Alarm {
    /// Returns the time of the alarm.
    pub fn at(&self) -> Moment {
        self.key.0
    }

    /// Returns `true` in a forked child for an alarm that its parent has set: it never goes off
    /// here ([C4](crate::contract#c4-release)).
    pub fn is_inherited(&self) -> bool {
        self.alarms.made_in != fork::generation()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.is_inherited() {
            return;
        }
        let waker = self.alarms.set.lock().due.remove(&self.key);
        drop(waker);
    }
}

impl fmt::Debug for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alarms({} set)", self.set.lock().due.len())
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alarm(at {:?})", self.key.0)
    }
}
