//! The fast path, and a moment's wait for it.

use super::slot::{Slot, SlotRef};
use super::{Core, PinnedKey};
use crate::identity::SmallOwner;
use crate::request::Swift;
use crate::sync::{spin_loop, thread};
use crate::{CallSite, Hold, Request, Token};

impl Core {
    /// Takes `key` if it is one, and free.
    #[inline]
    pub(super) fn take(&self, key: &str, holder: Swift) -> Option<(SlotRef, Token)> {
        let taken = self.registry.take_over(key);
        let (slot, token) = taken.or_else(|| self.take_known(key))?;
        // SAFETY: we hold it (I2 of `Slot`).
        unsafe { slot.get() }.write_record(holder, self.clock.stamp());
        Some((slot, token))
    }

    /// Takes a key that has or needs a slot of its own.
    #[inline(never)]
    fn take_known(&self, key: &str) -> Option<(SlotRef, Token)> {
        self.registry.with(key, |slot, alive| Some((slot, alive.try_take()?)))?
    }

    /// The fast path, for requests that come as such.
    pub(super) fn take_plainly(
        &self,
        request: &Request<'_>,
        kept: Option<PinnedKey>,
    ) -> Option<Hold> {
        let caller = &request.caller;
        let plain = self.swift && request.options.is_plain() && caller.party.is_none();
        let (key, site) = (request.keys.single().filter(|_| plain)?, caller.site?);
        let owner = match caller.owner {
            None => SmallOwner::NOBODY,
            Some(owner) => owner.small()?,
        };
        let holder = Swift { owner, site };
        if let Some(kept) = kept {
            // SAFETY: the slot is pinned for ever.
            let slot = unsafe { kept.slot_ref().get() };
            let token = slot.try_take()?;
            slot.write_record(holder, self.clock.stamp());
            return Some(Hold::plain(kept.slot_ref(), token));
        }
        let (slot, token) = self.take(key, holder)?;
        Some(Hold::plain(slot, token))
    }

    /// Waits a few hundred nanoseconds for a holder on another core, where that costs no look-up. A
    /// thread that polls has other things to do than to wait longer, or to yield.
    pub(super) fn spin_briefly(
        &self,
        request: &Request<'_>,
        kept: Option<PinnedKey>,
    ) -> Option<Hold> {
        // SAFETY: the slot is pinned for ever.
        let alive = unsafe { kept?.slot_ref().get() };
        for round in 1..=3_u32 {
            if alive.is_frozen() {
                return None;
            }
            (0..1 << round).for_each(|_| spin_loop());
            if let Some(hold) = self.take_plainly(request, kept) {
                return Some(hold);
            }
        }
        None
    }

    /// Tries for a moment before it comes to queueing: most holds are short.
    pub(super) fn spin(&self, slot: SlotRef, alive: &Slot, site: CallSite) -> Option<Hold> {
        let owner = SmallOwner::current();
        for round in 1..=10_u32 {
            if round > 3 && alive.is_recorded_of(owner) {
                // One's own hold is not waited for; a record that is older has been written over.
                return None;
            }
            if alive.is_frozen() {
                // The state decides, once there is something to be had.
                if !alive.is_held() {
                    return None;
                }
            } else if let Some(token) = alive.try_take() {
                let holder = Swift { owner, site };
                alive.write_record(holder, self.clock.stamp());
                return Some(Hold::plain(slot, token));
            }
            if round <= 3 {
                (0..1 << round).for_each(|_| spin_loop());
            } else {
                thread::yield_now();
            }
        }
        None
    }
}
