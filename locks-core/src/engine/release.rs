//! A guard's hold is given back.

use std::sync::Arc;

use super::ports::lost_error;
use super::state::Ended;
use super::table::{Core, PinnedSlot, Slot, SlotHold};
use crate::{LockError, LostCause, Op, Token};

impl Core {
    /// Ends a guard's hold (C4).
    #[inline]
    pub(super) fn release(self: &Arc<Self>, hold: SlotHold) -> Op<'static, ()> {
        match self.registry.let_go(hold) {
            Ok(()) => Op::ready(()),
            Err(hold) => self.release_frozen(hold),
        }
    }

    #[inline(never)]
    fn release_frozen(self: &Arc<Self>, hold: SlotHold) -> Op<'static, ()> {
        if hold.slot.try_pass_on(self, hold.token) {
            return Op::ready(());
        }
        let pinned;
        let slot = if hold.slot().is_kept() {
            hold.slot()
        } else {
            let found = self.registry.with_held(&hold, |slot| {
                // SAFETY: under the mutex of its shard, with an inline slot fixed.
                unsafe { PinnedSlot::new(self, slot) }
            });
            let Some(found) = found else {
                // Of another engine, which it is left to.
                return Op::failed(lost_error("", hold.token, LostCause::Forgotten));
            };
            pinned = found;
            &*pinned
        };
        let mut frozen = self.freeze(slot);
        let ended = frozen.release(hold.token, hold.level);
        // The hold is gone from here on, and only the pin keeps the slot, or its call site for ever.
        let grant = if let Ended::Released(grant) = ended { grant } else { None };
        match (frozen.finish(grant), ended) {
            (Some(op), _) => op,
            (None, Ended::Released(_)) => Op::ready(()),
            (None, Ended::Lost(cause)) => Op::failed(self.lost(slot, hold.token, cause)),
            (None, Ended::Unknown) => Op::failed(self.lost(slot, hold.token, LostCause::Forgotten)),
        }
    }

    /// The error of a hold that is lost, with who has the key now.
    #[cold]
    pub(super) fn lost(self: &Arc<Self>, slot: &Slot, token: Token, cause: LostCause) -> LockError {
        let holders = super::inspect::describe::holders(&self.freeze(slot));
        lost_error(slot.key(), token, cause).with_holders(holders)
    }
}
