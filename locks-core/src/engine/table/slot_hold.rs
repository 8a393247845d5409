use super::slot::{Slot, SlotRef};
use crate::Token;

/// A hold of one slot of the engine.
///
/// I1: the slot lives while this does; the engine frees no slot that has a hold which has not
/// been released.
pub(crate) struct SlotHold {
    pub(crate) slot: SlotRef,
    pub(crate) token: Token,
    /// Which guard of a nest it is; see `engine::state`.
    pub(crate) level: u32,
    pub(crate) nesting: Nesting,
}

/// Whether a hold is nested in another guard's. A whole word, so that a guard is moved in words.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Nesting {
    Outermost,
    Inner,
}

impl SlotHold {
    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: I1.
        unsafe { self.slot.get() }
    }
}
