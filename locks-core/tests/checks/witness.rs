//! What is known of grants without asking the engine.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use locks_core::{Mode, OwnedGuard, Token};

/// A key that nobody steals: who is inside, strictly.
#[derive(Default)]
pub(crate) struct Strict {
    /// Readers, or `WRITER`.
    inside: AtomicI64,
    greatest: AtomicU64,
}

const WRITER: i64 = 1 << 32;

/// Somebody who is inside, until dropped.
pub(crate) struct Inside<'a> {
    key: &'a Strict,
    units: i64,
}

impl<'a> Inside<'a> {
    /// The one holder; tokens only grow (C7).
    pub(crate) fn alone(key: &'a Strict, token: Token) -> Self {
        let inside = Self::enter(key, WRITER, 0);
        let greatest = key.greatest.load(Ordering::Relaxed);
        assert!(token.get() > greatest, "C7: {token} after {greatest}");
        key.greatest.store(token.get(), Ordering::Relaxed);
        inside
    }

    /// One of `limit` at most.
    pub(crate) fn beside(key: &'a Strict, limit: u32) -> Self {
        Self::enter(key, 1, i64::from(limit) - 1)
    }

    fn enter(key: &'a Strict, units: i64, others: i64) -> Self {
        let before = key.inside.fetch_add(units, Ordering::Relaxed);
        assert!((0..=others).contains(&before), "C1: beside {before}");
        Self { key, units }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.key.inside.fetch_sub(self.units, Ordering::Relaxed);
    }
}

/// A key that may be stolen: the guards that are about, lost or not.
#[derive(Default)]
pub(crate) struct Stealable {
    guards: Mutex<Vec<(Mode, Arc<OwnedGuard>)>>,
    written: AtomicU64,
}

impl Stealable {
    /// Enters a grant: of two guards that conflict at least one is lost (C1).
    pub(crate) fn enter(&self, mode: Mode, guard: OwnedGuard) -> Entered<'_> {
        let guard = Arc::new(guard);
        let mut guards = self.guards.lock().unwrap();
        for (other_mode, other) in &*guards {
            let conflict = mode == Mode::Exclusive || *other_mode == Mode::Exclusive;
            // In this order: whoever is not lost at the second look was not lost at the first.
            let one_is_lost = guard.is_lost() || other.is_lost();
            assert!(!conflict || one_is_lost, "C1: {guard:?} beside {other:?}");
            assert_ne!(guard.token(), other.token(), "C7");
        }
        guards.push((mode, guard.clone()));
        Entered { key: self, guard: Some(guard) }
    }
}

/// A guard that others can look at, until dropped.
pub(crate) struct Entered<'a> {
    key: &'a Stealable,
    guard: Option<Arc<OwnedGuard>>,
}

impl Entered<'_> {
    /// A store that accepts a write only with a token that is not behind (C7): whoever is not
    /// lost afterwards was not refused.
    pub(crate) fn write(&self) {
        let guard = self.guard.as_ref().expect("it has not left yet");
        let token = guard.token().get();
        let refused = self.key.written.fetch_max(token, Ordering::SeqCst) > token;
        assert!(!refused || guard.is_lost(), "C6: {guard:?} was overtaken and is not lost");
    }

    /// The guard, to be given back.
    pub(crate) fn leave(mut self) -> OwnedGuard {
        self.take().expect("it has not left yet")
    }

    fn take(&mut self) -> Option<OwnedGuard> {
        let guard = self.guard.take()?;
        let mut guards = self.key.guards.lock().unwrap();
        guards.retain(|(_, other)| !Arc::ptr_eq(other, &guard));
        Some(Arc::into_inner(guard).expect("nobody looks at it outside the mutex"))
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
