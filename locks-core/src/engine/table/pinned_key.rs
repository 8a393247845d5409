use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::slot::{Slot, SlotRef};

/// A key of the [process's engine](crate::Engine::process) that has been looked up once and for
/// all: for a call site whose key never changes ([A6](crate::contract#a6-cost)).
///
/// The key stays in the engine's table for as long as the process runs.
#[derive(Clone, Copy)]
pub struct PinnedKey {
    slot: SlotRef,
}

impl PinnedKey {
    /// Creates the key of a slot.
    ///
    /// # Safety
    /// The slot is one of the process's engine, and pinned for ever.
    pub(in crate::engine) const unsafe fn new_unchecked(slot: SlotRef) -> Self {
        Self { slot }
    }

    /// Returns the key.
    pub fn key(&self) -> &'static str {
        // SAFETY: the slot is pinned for ever, and the process's engine is never dropped.
        unsafe { self.slot.get() }.key()
    }

    #[inline]
    pub(in crate::engine) const fn slot_ref(self) -> SlotRef {
        self.slot
    }
}

/// Where a call site keeps its [`PinnedKey`], once it has one.
///
/// Unlike a `OnceLock`, no thread waits for another here. Threads that set it at the same time set
/// the same slot: it is the key's for ever.
#[derive(Default)]
pub struct PinnedCell(AtomicPtr<Slot>);

impl PinnedCell {
    /// Creates a cell without a key.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Returns the key, if there is one.
    #[inline]
    pub fn get(&self) -> Option<PinnedKey> {
        // Acquire: the slot was made by the thread that set it.
        let slot = NonNull::new(self.0.load(Ordering::Acquire))?;
        Some(PinnedKey { slot: SlotRef::from_ptr(slot) })
    }

    /// Keeps the key.
    pub fn set(&self, key: PinnedKey) {
        self.0.store(key.slot.as_ptr(), Ordering::Release);
    }
}

impl fmt::Debug for PinnedCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PinnedCell").field(&self.get()).finish()
    }
}

impl fmt::Debug for PinnedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedKey({:?})", self.key())
    }
}
