use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use super::builder::{Time, TokenSource};
use super::effects::{Broken, Effects};
use super::graph::Graph;
use super::observer::Observer;
use super::pin::Pinned;
use super::registry::Registry;
use super::slot::{Frozen, Slot};
use super::state::{Ended, TURNS};
use super::upstream::{Upstream, lost_error};
use crate::backend::SlotHold;
use crate::clock::Moment;
use crate::sync::Mutex;
use crate::{About, LockError, LostCause, Op, Token};

/// What an engine is made of; shared by its handles, its waiters and its alarms.
pub(crate) struct Core {
    pub(super) about: About,
    pub(super) registry: Registry,
    pub(super) clock: Time,
    pub(super) tokens: Option<Arc<dyn TokenSource>>,
    pub(super) upstream: Option<Arc<dyn Upstream>>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) graph: Mutex<Graph>,
    /// Whether free keys are granted by the fast path.
    pub(super) swift: bool,
}

impl Core {
    /// The slot of a key that has been checked.
    pub(super) fn pin(self: &Arc<Self>, key: &str) -> Pinned {
        let pinned = self.registry.with(key, |slot, _| Pinned::new(self, slot));
        pinned.expect("the key was checked before")
    }

    /// The slot of a key, if it has one.
    pub(super) fn find(self: &Arc<Self>, key: &str) -> Option<Pinned> {
        self.registry.find(key, |slot| Pinned::new(self, slot))
    }

    /// A token for a grant that comes after this one.
    pub(super) fn token_above(&self, token: Token) -> Token {
        match &self.tokens {
            None => Token::new(token.get() + 1),
            Some(source) => source.next(token),
        }
    }

    /// The slot's state, to be given to [`finish`](Self::finish).
    pub(super) fn freeze<'a>(&self, slot: &'a Slot, now: Moment) -> Frozen<'a> {
        slot.freeze(self, now)
    }

    /// Lets go of a slot's state: sets the alarm for what happens next by itself, and only then,
    /// without the mutex, does what may run anybody's code.
    pub(super) fn finish(self: &Arc<Self>, mut frozen: Frozen<'_>, effects: Effects) {
        let next = frozen.next_event();
        let set = frozen.alarm_mut().as_ref().filter(|alarm| !alarm.is_inherited());
        if set.map(|alarm| alarm.at()) != next {
            let key: Box<str> = frozen.slot().key().into();
            let ring = |at| {
                let bell = Bell { core: Arc::downgrade(self), key: key.clone() };
                self.clock.wake_at(at, Waker::from(Arc::new(bell)))
            };
            *frozen.alarm_mut() = next.map(ring);
        }
        let Effects { waker, discarded, more } = effects;
        if let (Some(upstream), Some(more)) = (&self.upstream, &more) {
            let next = frozen.next_waits(self.clock.now());
            for turn in &more.ended {
                // Under the mutex, so that no local turn asks before the upstream has heard of the
                // end of this one. Nobody is there to hear how it ends.
                drop(upstream.end(frozen.slot().key(), *turn, next));
            }
        }
        let Some(more) = more else {
            drop(frozen);
            if let Some(waker) = waker {
                waker.wake();
            }
            drop(discarded);
            return;
        };
        let key = Box::<str>::from(frozen.slot().key());
        drop(frozen);
        let mut wakers = Wakers(waker.into_iter().chain(more.wakers));
        for lost in more.lost {
            crate::observe::lost(&key, lost.token, lost.cause);
            // A turn that the upstream has not granted was no hold.
            if let Some(observer) = self.observer.as_ref().filter(|_| lost.token.get() < TURNS) {
                observer.lost(&lost.loss(&key));
            }
        }
        self.end_sets(more.broken);
        for waker in wakers.0.by_ref() {
            waker.wake();
        }
        drop((discarded, more.discarded));
    }

    /// Ends a guard's hold (C4).
    #[inline]
    pub(super) fn release(self: &Arc<Self>, hold: SlotHold) -> Op<'static, ()> {
        if self.registry.let_go(hold.slot, hold.token) {
            return Op::ready(());
        }
        self.release_frozen(hold)
    }

    #[inline(never)]
    fn release_frozen(self: &Arc<Self>, hold: SlotHold) -> Op<'static, ()> {
        let pinned;
        let slot = if hold.slot().is_kept() {
            hold.slot()
        } else {
            let found = self.registry.with_held(hold.slot, |slot| Pinned::new(self, slot));
            let Some(found) = found else {
                // Of another engine, which it is left to.
                return Op::failed(lost_error("", hold.token, LostCause::Forgotten));
            };
            pinned = found;
            &*pinned
        };
        let now = self.clock.now();
        let mut effects = Effects::default();
        let mut frozen = self.freeze(slot, now);
        let ended = frozen.release(hold.token, hold.level, now, &mut effects);
        // The hold is gone from here on, and only the pin keeps the slot, or its call site for ever.
        let confirmed = match (&self.upstream, ended) {
            (Some(upstream), Ended::Released(Some(turn))) => {
                Some(upstream.end(slot.key(), turn, frozen.next_waits(now)))
            }
            _ => None,
        };
        self.finish(frozen, effects);
        match (confirmed, ended) {
            (Some(op), _) => op,
            (None, Ended::Released(_)) => Op::ready(()),
            (None, Ended::Lost(cause)) => Op::failed(self.lost(slot, hold.token, cause)),
            (None, Ended::Unknown) => Op::failed(self.lost(slot, hold.token, LostCause::Forgotten)),
        }
    }

    /// The error of a hold that is lost, with who has the key now.
    #[cold]
    pub(super) fn lost(self: &Arc<Self>, slot: &Slot, token: Token, cause: LostCause) -> LockError {
        let now = self.clock.now();
        let frozen = self.freeze(slot, now);
        let holders = super::describe::holders(&frozen, now);
        self.finish(frozen, Effects::default());
        lost_error(slot.key(), token, cause).with_holders(holders)
    }

    /// Ends what is left of grants of several keys (C11), and of those whose guards were nested in them: one
    /// after the other, however many there are.
    pub(super) fn end_sets(self: &Arc<Self>, mut broken: Vec<Broken>) {
        while let Some((set, token, cause)) = broken.pop() {
            for key in set.as_slice() {
                let Some(slot) = self.find(key) else { continue };
                let now = self.clock.now();
                let mut effects = Effects::default();
                let mut frozen = self.freeze(&slot, now);
                frozen.end_member(token, cause, now, &mut effects);
                if let Some(more) = &mut effects.more {
                    broken.append(&mut more.broken);
                }
                self.finish(frozen, effects);
            }
        }
    }

    /// Ends the hold or reservation with this token from outside.
    pub(super) fn end(self: &Arc<Self>, key: &str, token: Token, cause: LostCause) -> bool {
        let Some(slot) = self.find(key) else { return false };
        let now = self.clock.now();
        let mut effects = Effects::default();
        let mut frozen = self.freeze(&slot, now);
        let ended = frozen.end(token, cause, now, &mut effects);
        self.finish(frozen, effects);
        ended
    }
}

/// Wakers to be woken, also if somebody's code panics before all of them are.
struct Wakers<I: Iterator<Item = Waker>>(I);

impl<I: Iterator<Item = Waker>> Drop for Wakers<I> {
    fn drop(&mut self) {
        self.0.by_ref().for_each(Waker::wake);
    }
}

/// Ends what is bounded in time (C14), when the time has come.
struct Bell {
    core: Weak<Core>,
    key: Box<str>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let Some(core) = self.core.upgrade() else { return };
        let Some(slot) = core.find(&self.key) else { return };
        let now = core.clock.now();
        let mut effects = Effects::default();
        let mut frozen = core.freeze(&slot, now);
        frozen.expire(now, &mut effects);
        core.finish(frozen, effects);
    }
}
