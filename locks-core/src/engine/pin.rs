use std::sync::Arc;

use super::Core;
use super::slot::{Slot, SlotRef};

/// A slot that stays, and keeps its key, while this lives.
pub(super) struct Pinned {
    slot: SlotRef,
    core: Arc<Core>,
}

impl Pinned {
    /// By whoever has the shard's mutex, with the slot fixed if it is a resident (R3), or a pin.
    pub(super) fn new(core: &Arc<Core>, slot: SlotRef) -> Self {
        // SAFETY: the caller may look at it (I2 of `Slot`).
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

impl std::ops::Deref for Pinned {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        // SAFETY: this is a pin (I2 of `Slot`).
        unsafe { self.slot.get() }
    }
}

impl Clone for Pinned {
    fn clone(&self) -> Self {
        Self::new(&self.core, self.slot)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.core.registry.unpin(self.slot);
    }
}
