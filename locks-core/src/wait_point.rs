//! Waiting where a backend's events come in, so that a blocked thread is woken by the event itself and
//! not by another thread that was woken by it.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// A place where a blocked thread can wait for a backend's own events, such as those of a file
/// descriptor, and tell whomever they concern.
pub trait WaitPoint: Send + Sync + 'static {
    /// Waits, and passes on what comes in, until `woken` says so or [`interrupt`](Self::interrupt) is
    /// called; it may also come back for no reason. `false`: not now, somebody else is waiting here
    /// and passes on what comes in; the thread parks instead.
    ///
    /// `woken` is to be asked after an interruption could no longer be missed, and whenever something
    /// has been passed on: no interruption comes of what this thread itself does.
    fn wait(&self, woken: &dyn Fn() -> bool) -> bool;

    /// Has whoever waits here look at its `woken`.
    fn interrupt(&self);
}

/// Has the thread that is blocked on the operation being polled wait at `point` for the next poll.
/// Says whether there is such a thread; otherwise a runtime polls, and somebody else has to pass on
/// what comes in.
pub fn wait_at(point: &'static dyn WaitPoint) -> bool {
    let asked = POLLING.try_with(|polling| {
        let blocked = !matches!(polling.get(), Polling::No);
        if blocked {
            polling.set(Polling::At(point));
        }
        blocked
    });
    // A thread that is ending parks.
    asked.unwrap_or(false)
}

#[derive(Clone, Copy)]
enum Polling {
    No,
    Blocked,
    At(&'static dyn WaitPoint),
}

thread_local! {
    static POLLING: Cell<Polling> = const { Cell::new(Polling::No) };
}

/// Polls for a blocked thread. Where it is to wait comes with the outcome.
pub(super) fn polling<T>(poll: impl FnOnce() -> T) -> (T, Option<&'static dyn WaitPoint>) {
    /// Puts back what was there, also if the poll panics.
    struct Before(Polling);

    impl Drop for Before {
        fn drop(&mut self) {
            let _ = POLLING.try_with(|polling| polling.set(self.0));
        }
    }

    let Ok(before) = POLLING.try_with(|polling| polling.replace(Polling::Blocked)) else {
        // The thread is ending.
        return (poll(), None);
    };
    let before = Before(before);
    let polled = poll();
    let at = match POLLING.try_with(Cell::get) {
        Ok(Polling::At(point)) => Some(point),
        _ => None,
    };
    drop(before);
    (polled, at)
}

/// Where a thread waits, for those who wake it.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// Whether there is something to look up.
    set: AtomicBool,
    point: Mutex<Option<&'static dyn WaitPoint>>,
}

impl Elsewhere {
    pub(super) fn set(&self, point: Option<&'static dyn WaitPoint>) {
        *self.point.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = point;
        self.set.store(point.is_some(), Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> Option<&'static dyn WaitPoint> {
        if !self.set.load(Ordering::SeqCst) {
            return None;
        }
        *self.point.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
