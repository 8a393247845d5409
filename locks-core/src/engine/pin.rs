use std::sync::Arc;

use super::Core;
use super::slot::{Slot, SlotRef};

/// A slot that stays, and keeps its key, while this lives.
pub(super) struct PinnedSlot {
    slot: SlotRef,
    core: Arc<Core>,
}

impl PinnedSlot {
    /// Pins a slot of this engine.
    ///
    /// # Safety
    /// The caller has the mutex of its shard, with the slot fixed if it is an inline slot (R3), or knows that
    /// there is a pin for as long as this takes.
    pub(super) unsafe fn new(core: &Arc<Core>, slot: SlotRef) -> Self {
        // SAFETY: by the caller (I2 of `Slot`).
        unsafe { slot.get() }.pin();
        Self { slot, core: core.clone() }
    }

    pub(super) fn slot_ref(&self) -> SlotRef {
        self.slot
    }

    pub(super) fn core(&self) -> &Arc<Core> {
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
