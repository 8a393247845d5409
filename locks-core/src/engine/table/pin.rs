use std::sync::Arc;

use super::core::Core;
use super::slot::{Slot, SlotRef};

/// A slot that stays, and keeps its key, while this lives.
pub(in crate::engine) struct PinnedSlot {
    slot: SlotRef,
    core: Arc<Core>,
}

impl PinnedSlot {
    /// Pins a slot of this engine.
    ///
    /// # Safety
    /// The caller has the mutex of its shard, with the slot fixed if it is an inline slot (R3), or
    /// knows that there is a pin for as long as this takes.
    pub(in crate::engine) unsafe fn new(core: &Arc<Core>, slot: SlotRef) -> Self {
        // SAFETY: by the caller (I2 of `Slot`).
        unsafe { slot.get() }.pin();
        Self { slot, core: core.clone() }
    }

    pub(in crate::engine) fn slot_ref(&self) -> SlotRef {
        self.slot
    }

    pub(in crate::engine) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl std::ops::Deref for PinnedSlot {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        // SAFETY: this is a pin (I2 of `Slot`).
        unsafe { self.slot.get() }
    }
}

impl Clone for PinnedSlot {
    fn clone(&self) -> Self {
        // SAFETY: this is a pin.
        unsafe { Self::new(&self.core, self.slot) }
    }
}

impl Drop for PinnedSlot {
    fn drop(&mut self) {
        // SAFETY: this was the pin.
        unsafe { self.core.registry.unpin(self.slot) };
    }
}

impl Core {
    /// The slot of a key that has been checked.
    pub(in crate::engine) fn pin(self: &Arc<Self>, key: &str) -> PinnedSlot {
        // SAFETY: under the mutex of its shard, with an inline slot fixed.
        let pinned = self.registry.with(key, |slot, _| unsafe { PinnedSlot::new(self, slot) });
        pinned.expect("the key was checked before")
    }

    /// The slot of a key, if it has one.
    pub(in crate::engine) fn find(self: &Arc<Self>, key: &str) -> Option<PinnedSlot> {
        // SAFETY: under the mutex of its shard, with an inline slot fixed.
        self.registry.find(key, |slot| unsafe { PinnedSlot::new(self, slot) })
    }
}
