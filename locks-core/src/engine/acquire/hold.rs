//! What becomes of a hold: it is released, lost, shared, refreshed.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::backend::HoldRepr;
use crate::engine::inspect::describe;
use crate::engine::ports::{UpstreamGrant, lost_error};
use crate::engine::state::Ended;
use crate::engine::table::{Core, PinnedSlot, Slot, SlotHold};
use crate::{Hold, LockError, LostCause, Mode, Op, Token};

impl Core {
    /// Ends a guard's hold (C4).
    #[inline]
    pub(in crate::engine) fn release(self: &Arc<Self>, hold: SlotHold) -> Op<'static, ()> {
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
        // The hold is gone from here on, and only the pin keeps the slot, or its call site for
        // ever.
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
        let holders = describe::holders(&self.freeze(slot));
        lost_error(slot.key(), token, cause).with_holders(holders)
    }

    pub(in crate::engine) fn poll_lost(
        self: &Arc<Self>,
        hold: &SlotHold,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<LostCause> {
        if cx.is_none()
            && self.upstream.is_none()
            && hold.slot().is_plainly_held(hold.token) == Some(true)
        {
            return Poll::Pending;
        }
        let mut watcher = cx.as_ref().map(|cx| cx.waker().clone());
        let grant = self.with_hold(hold, |entry| {
            if let Some(new) = &watcher
                && !entry.watchers.iter().any(|watcher| watcher.will_wake(new))
            {
                entry.watchers.extend(watcher.take());
            }
            entry.upstream_grant
        });
        drop(watcher);
        let (upstream, grant) = match (grant, &self.upstream) {
            (Err(cause), _) => return Poll::Ready(cause),
            (Ok(Some(grant)), Some(upstream)) => (upstream, grant),
            (Ok(_), _) => return Poll::Pending,
        };
        let key = hold.slot().key();
        let lost = upstream.poll_lost(key, grant, cx);
        if let Poll::Ready(cause) = lost {
            self.end(key, hold.token, cause);
        }
        lost
    }

    pub(in crate::engine) fn unwatch(self: &Arc<Self>, hold: &SlotHold, waker: &Waker) {
        let mut forgotten = None;
        let grant = self.with_hold(hold, |entry| {
            let found = entry.watchers.iter().position(|watcher| watcher.will_wake(waker));
            forgotten = found.map(|index| entry.watchers.swap_remove(index));
            entry.upstream_grant
        });
        if let (Ok(Some(grant)), Some(upstream)) = (grant, &self.upstream) {
            upstream.unwatch(hold.slot().key(), grant, waker);
        }
    }

    pub(in crate::engine) fn share(self: &Arc<Self>, hold: &SlotHold) -> Result<(), LockError> {
        let refuse = |why| Err(LockError::unsupported(&self.about.name, "downgrade", why));
        if self.upstream.is_some() {
            return refuse("it cannot share a key that it holds without letting it go: use `net:`");
        }
        let mut frozen = self.freeze(hold.slot());
        if let Some(cause) = frozen.lost(hold.token, hold.level) {
            drop(frozen);
            return Err(self.lost(hold.slot(), hold.token, cause));
        }
        let entry = frozen.hold_mut(hold.token, hold.level).expect("it is not lost");
        if matches!(entry.mode, Mode::Permit { .. }) {
            return refuse("a permit is shared with the other permits");
        }
        entry.weaken(hold.level, hold.token);
        frozen.grant_waiters();
        Ok(())
    }

    pub(in crate::engine) fn refresh(
        self: &Arc<Self>,
        hold: &SlotHold,
    ) -> Result<Option<UpstreamGrant>, LockError> {
        let mut frozen = self.freeze(hold.slot());
        let now = frozen.now();
        let refreshed = match frozen.lost(hold.token, hold.level) {
            Some(cause) => Err(cause),
            None => {
                let entry = frozen.hold_mut(hold.token, hold.level).expect("it is not lost");
                entry.refresh(now);
                Ok(entry.upstream_grant)
            }
        };
        drop(frozen);
        refreshed.map_err(|cause| self.lost(hold.slot(), hold.token, cause))
    }
}

impl Hold {
    /// Releases a plain hold whose slot stays behind. `false`: it is not that simple.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn release_in_place(&self) -> bool {
        let HoldRepr::Slot(hold) = &self.0 else { return false };
        hold.slot().try_let_go_in_place(hold.token)
    }

    /// Whether it is a plain hold whose slot stays behind. Its engine has the fast path, and so no
    /// upstream that would have to be waited for.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_plain(&self) -> bool {
        let HoldRepr::Slot(hold) = &self.0 else { return false };
        let slot = hold.slot();
        slot.stays() && slot.is_plainly_held(hold.token) == Some(true)
    }
}

/// Releases a hold on drop unless it is handed on, so that a panic of a caller's code leaks none.
pub(super) struct ReleaseOnDrop<'a> {
    core: &'a Arc<Core>,
    hold: Option<SlotHold>,
}

impl<'a> ReleaseOnDrop<'a> {
    pub(super) fn new(core: &'a Arc<Core>, hold: SlotHold) -> Self {
        Self { core, hold: Some(hold) }
    }

    pub(super) fn slot(&self) -> &Slot {
        self.hold.as_ref().expect("it is not handed on").slot()
    }

    pub(super) fn hand_on(mut self) -> SlotHold {
        self.hold.take().expect("it is handed on once")
    }
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            drop(self.core.release(hold));
        }
    }
}
