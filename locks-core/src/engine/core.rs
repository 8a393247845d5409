use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use super::graph::Waits;
use super::pin::PinnedSlot;
use super::ports::{Observer, Time, TokenSource, Upstream, lost_error};
use super::registry::Registry;
use super::slot::{Frozen, Slot};
use super::state::{Broken, Ended, PROVISIONAL, Revoked};
use crate::backend::SlotHold;
use crate::calls::Calls;
use crate::clock::{Alarm, Moment};
use crate::{BackendInfo, LockError, LostCause, Op, Token};

/// What an engine is made of; shared by its handles, its waiters and its alarms.
pub(crate) struct Core {
    pub(super) about: BackendInfo,
    pub(super) registry: Registry,
    pub(super) clock: Time,
    pub(super) tokens: Option<Arc<dyn TokenSource>>,
    pub(super) upstream: Option<Arc<dyn Upstream>>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) waits: Waits,
    /// Whether free keys are granted by the fast path.
    pub(super) has_fast_path: bool,
}

impl Core {
    /// The slot of a key that has been checked.
    pub(super) fn pin(self: &Arc<Self>, key: &str) -> PinnedSlot {
        // SAFETY: under the mutex of its shard, with an inline slot fixed.
        let pinned = self.registry.with(key, |slot, _| unsafe { PinnedSlot::new(self, slot) });
        pinned.expect("the key was checked before")
    }

    /// The slot of a key, if it has one.
    pub(super) fn find(self: &Arc<Self>, key: &str) -> Option<PinnedSlot> {
        // SAFETY: under the mutex of its shard, with an inline slot fixed.
        self.registry.find(key, |slot| unsafe { PinnedSlot::new(self, slot) })
    }

    /// A token for a grant that comes after this one. It may be anybody's code that says so.
    pub(super) fn token_above(&self, token: Token) -> Token {
        let Some(source) = &self.tokens else { return Token::new(token.get() + 1) };
        let next = source.next(token);
        assert!(
            next > token && next.get() < PROVISIONAL,
            "C7: `TokenSource` went from {token} to {next}"
        );
        next
    }

    /// The slot's state, to be let go of soon.
    pub(super) fn freeze<'a>(self: &'a Arc<Self>, slot: &'a Slot) -> Frozen<'a> {
        slot.freeze(self, self.clock.now())
    }

    /// Has the state of `key` looked after when something happens there by itself.
    pub(super) fn ring_at(self: &Arc<Self>, at: Moment, key: &str) -> Alarm {
        let bell = Bell { core: Arc::downgrade(self), key: key.into() };
        self.clock.wake_at(at, Waker::from(Arc::new(bell)))
    }

    /// Reports the loss to subscribers. What clients of an arbiter lose is theirs, and the arbiter's, to tell.
    pub(super) fn tell_subscribers(key: &str, lost: &Revoked) {
        if lost.owner.is_none_or(|owner| owner.realm() == 0) {
            crate::observe::lost(
                key,
                lost.token,
                lost.cause,
                Some(&lost.holder),
                lost.thief.as_ref(),
            );
        }
    }

    pub(super) fn tell_observer(&self, key: &str, lost: &Revoked) {
        // What the upstream has not granted was no hold.
        if let Some(observer) = self.observer.as_ref().filter(|_| lost.token.get() < PROVISIONAL) {
            observer.lost(&lost.loss(key));
        }
    }

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
        let holders = super::describe::holders(&self.freeze(slot));
        lost_error(slot.key(), token, cause).with_holders(holders)
    }

    /// Ends what is left of grants of several keys (C11), and of those whose guards were nested in them: one
    /// after the other, however many there are.
    pub(super) fn end_sets(self: &Arc<Self>, mut broken: Vec<Broken>) {
        let mut calls = Calls::default();
        while let Some((set, token, cause)) = broken.pop() {
            for key in set.as_slice() {
                calls.make(|| {
                    let Some(slot) = self.find(key) else { return };
                    let mut frozen = self.freeze(&slot);
                    frozen.end_member(token, cause);
                    if let Some(more) = &mut frozen.effects.more {
                        broken.append(&mut more.broken);
                    }
                });
            }
        }
        calls.end();
    }

    /// Ends the hold or reservation with this token from outside.
    pub(super) fn end(self: &Arc<Self>, key: &str, token: Token, cause: LostCause) -> bool {
        let Some(slot) = self.find(key) else { return false };
        self.freeze(&slot).end(token, cause)
    }
}

/// Looks after a key when something happens there by itself: a theft, or the end of a bound (C6, C14).
struct Bell {
    core: Weak<Core>,
    key: Box<str>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let Some(core) = self.core.upgrade() else { return };
        let Some(slot) = core.find(&self.key) else { return };
        // It has gone off, and a new one is set where there is more to come.
        let alarm = core.freeze(&slot).set_alarm(None);
        drop(alarm);
    }
}
