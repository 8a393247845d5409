//! Where keys live, and what one compare-and-swap decides.

mod core;
mod ends;
mod inline_slot;
mod pin;
mod pinned_key;
mod registry;
mod slot;
mod slot_hold;
mod waits;

pub(super) use self::core::Core;
pub(super) use self::pin::PinnedSlot;
pub use self::pinned_key::{PinnedCell, PinnedKey};
pub(super) use self::registry::Registry;
pub(super) use self::slot::{Frozen, StateGuard};
pub(crate) use self::slot::{Slot, SlotRef};
pub(crate) use self::slot_hold::{Nesting, SlotHold};
pub(super) use self::waits::{WaitEntry, WaitId, WaitSite, Waits};
