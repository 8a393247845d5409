//! Whether what a body comes to is a success (C14, `once_per`).

use locks_core::{Guard, OwnedGuard};

/// The value of a body, to be asked whether it is that of a success: `Ok` and `Some` are, `Err` and
/// `None` are not, and any other is, as it came back without a panic.
///
/// `__locks_is_done` is found here for `Result` and `Option`, and in [`AnyOutcome`] for everything
/// else.
#[derive(Debug)]
pub struct Outcome<'a, R>(pub &'a R);

/// Has `note` see the value of a block, and returns it. A function, so that the value has its type
/// before it is asked what it is.
#[inline]
pub fn noted<R>(output: R, note: impl FnOnce(&R)) -> R {
    note(&output);
    output
}

/// A guard, to be marked by its name and not by a method, which the user's own traits may have
/// as well.
pub trait Marked {
    /// Marks what was done under it as done.
    fn mark(&self);
}

impl Marked for Guard {
    fn mark(&self) {
        Self::mark_done(self);
    }
}

impl Marked for OwnedGuard {
    fn mark(&self) {
        Self::mark_done(self);
    }
}

impl<G: Marked> Marked for &G {
    fn mark(&self) {
        G::mark(self);
    }
}

/// Marks what was done under the guard as done.
pub fn mark_done(guard: &impl Marked) {
    Marked::mark(guard);
}

impl<T, E> Outcome<'_, Result<T, E>> {
    /// Returns whether it is `Ok`.
    pub const fn __locks_is_done(&self) -> bool {
        self.0.is_ok()
    }
}

impl<T> Outcome<'_, Option<T>> {
    /// Returns whether it is `Some`.
    pub const fn __locks_is_done(&self) -> bool {
        self.0.is_some()
    }
}

/// Every other type.
pub trait AnyOutcome {
    /// Returns `true`.
    fn __locks_is_done(&self) -> bool;
}

impl<R> AnyOutcome for Outcome<'_, R> {
    fn __locks_is_done(&self) -> bool {
        true
    }
}
