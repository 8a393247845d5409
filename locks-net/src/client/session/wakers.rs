//! Wakers of those who wait. They are others' code: nothing of it runs under the link's mutex,
//! where it could wait for whoever wants that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// What is to be done with wakers once nothing is locked.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Wakers {
    to_wake: Vec<Waker>,
    to_drop: Vec<Waker>,
}

impl Wakers {
    pub(super) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.to_wake.extend(wakers);
    }

    /// Nobody is to be woken by them any more.
    pub(super) fn put_away(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.to_drop.extend(wakers);
    }

    /// Wakes and drops them, with nothing locked. Whatever a waker does wrong is its own affair:
    /// the panic hook has told of it, and others wait.
    pub(crate) fn run(self) {
        for waker in self.to_wake {
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        for waker in self.to_drop {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
        }
    }
}

/// Leaves a waker there, which was cloned before anything was locked; the one that was there is the
/// caller's to drop.
pub(super) fn leave(waker: &mut Waker, there: &mut Option<Waker>) {
    match there {
        Some(there) => std::mem::swap(there, waker),
        none => *none = Some(take(waker)),
    }
}

/// Takes the caller's waker, and leaves him one that costs nothing to drop.
pub(super) fn take(waker: &mut Waker) -> Waker {
    std::mem::replace(waker, Waker::noop().clone())
}
