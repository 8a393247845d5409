//! Waiting where a backend's events come in, so that a blocked thread is woken by the event itself
//! and not by another thread that was woken by it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::plain::Mutex;

/// A place where a blocked thread can wait for a backend's own events, such as those of a file
/// descriptor, and pass them on.
pub trait WaitPoint: Send + Sync + 'static {
    /// Waits, and passes on what comes in, until `woken` returns `true` or
    /// [`interrupt`](Self::interrupt) is called; spurious returns are allowed. Returns `false`
    /// without waiting if another thread waits here already and passes on what comes in; the caller
    /// then parks.
    ///
    /// `woken` is to be asked after an interruption could no longer be missed, and whenever
    /// something has been passed on: no interruption comes of what this thread itself does.
    fn wait(&self, woken: &dyn Fn() -> bool) -> bool;

    /// Makes the thread that waits here look at its `woken`.
    fn interrupt(&self);
}

/// Makes the thread that is blocked on the operation being polled wait at `point` for the next
/// poll, instead of parking. Returns `false` if an async runtime is polling: then another thread
/// has to pass on what comes in.
pub fn wait_at(point: Arc<dyn WaitPoint>) -> bool {
    let asked = is_blocked()
        // A thread that is ending parks.
        && POINT.try_with(|asked| asked.replace(Some(point))).is_ok();
    if asked {
        POLLING.set(Polling::AtPoint);
    }
    asked
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Polling {
    No,
    Blocked,
    /// As `POINT` says.
    AtPoint,
}

thread_local! {
    /// Apart from the point, which has a destructor: nearly every poll looks at this only.
    static POLLING: Cell<Polling> = const { Cell::new(Polling::No) };
    static POINT: Cell<Option<Arc<dyn WaitPoint>>> = const { Cell::new(None) };
}

/// Whether this thread polls what it is blocked on.
pub(super) fn is_blocked() -> bool {
    POLLING.get() != Polling::No
}

fn take_point() -> Option<Arc<dyn WaitPoint>> {
    POINT.try_with(Cell::take).ok().flatten()
}

/// Polls for a blocked thread. Where it is to wait comes with the outcome.
pub(super) fn polling<T>(poll: impl FnOnce() -> T) -> (T, Option<Arc<dyn WaitPoint>>) {
    /// Puts back what was there, also if the poll panics.
    struct Before(Polling, Option<Arc<dyn WaitPoint>>);

    impl Drop for Before {
        fn drop(&mut self) {
            if POLLING.replace(self.0) == Polling::AtPoint {
                drop(take_point());
            }
            if let Some(point) = self.1.take() {
                let _ = POINT.try_with(|asked| asked.set(Some(point)));
            }
        }
    }

    let outer = POLLING.replace(Polling::Blocked);
    let before = Before(outer, if outer == Polling::AtPoint { take_point() } else { None });
    let polled = poll();
    let at = if POLLING.get() == Polling::AtPoint { take_point() } else { None };
    drop(before);
    (polled, at)
}

/// Where a thread waits, for those who wake it.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// Whether there is something to look up.
    set: AtomicBool,
    point: Mutex<Option<Arc<dyn WaitPoint>>>,
}

impl Elsewhere {
    pub(super) fn set(&self, point: Option<Arc<dyn WaitPoint>>) {
        let set = point.is_some();
        let before = {
            let mut found = self.point.lock();
            std::mem::replace(&mut *found, point)
        };
        self.set.store(set, Ordering::SeqCst);
        // Somebody else's code, and so not with the mutex.
        drop(before);
    }

    pub(super) fn get(&self) -> Option<Arc<dyn WaitPoint>> {
        if !self.set.load(Ordering::SeqCst) {
            return None;
        }
        self.point.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Point(&'static str);

    impl WaitPoint for Point {
        fn wait(&self, _: &dyn Fn() -> bool) -> bool {
            unreachable!("nobody waits for {}", self.0)
        }

        fn interrupt(&self) {}
    }

    fn ask() -> (Arc<dyn WaitPoint>, bool) {
        let point: Arc<dyn WaitPoint> = Arc::new(Point("this"));
        (point.clone(), wait_at(point))
    }

    #[test]
    fn c2_only_a_poll_of_a_blocked_thread_is_asked_to_wait_elsewhere() {
        let (kept, blocked) = ask();
        assert!(!blocked);
        assert_eq!(Arc::strong_count(&kept), 1, "it was not kept");
        let ((asked, blocked), at) = polling(ask);
        assert!(blocked && Arc::ptr_eq(&asked, &at.unwrap()));
        assert!(polling(|| ()).1.is_none(), "the next poll has to ask again");
    }

    #[test]
    fn c2_a_poll_within_a_poll_waits_at_a_point_of_its_own() {
        let (asked, at) = polling(|| {
            let (outer, _) = ask();
            let ((inner, _), at) = polling(ask);
            assert!(Arc::ptr_eq(&inner, &at.unwrap()));
            assert!(polling(|| ()).1.is_none());
            outer
        });
        assert!(Arc::ptr_eq(&asked, &at.unwrap()));
        assert_eq!(Arc::strong_count(&asked), 1, "nothing is left of it");
    }
}
