//! What is done beside a plain hold without taking it over from the fast path: with the mutex, and
//! without `SLOW`.

use std::sync::Arc;
use std::task::Waker;

use super::super::core::Core;
use super::super::pin::PinnedSlot;
use super::{FIXED, HELD, SLOW, STATED, Slot, SlotRef, StateGuard, TOKEN_SHIFT, WAITED};
use crate::calls::Calls;
use crate::clock::{Moment, Stamp};
use crate::engine::state::{Passed, QueuePosition, Waiter};
use crate::sync::atomic::Ordering;
use crate::{OwnerId, Token};

impl SlotRef {
    /// Ends the plain hold with this token, by whoever has it, if somebody waits and it is simple
    /// who is next. Otherwise nothing is done.
    pub(in crate::engine) fn try_pass_on(self, core: &Arc<Core>, token: Token) -> bool {
        // SAFETY: by the caller's hold (I2).
        let slot = unsafe { self.get() };
        let held = (token.get() << TOKEN_SHIFT) | HELD | WAITED;
        if slot.word.load(Ordering::Relaxed) & !FIXED != held {
            return false;
        }
        let Some(mut guard) = slot.beside() else { return false };
        if slot.word.load(Ordering::Relaxed) & !FIXED != held {
            return false;
        }
        let Some(state) = guard.as_mut() else { return false };
        let passed = state.pass_on(|| core.clock.about_now(), || core.clock.now());
        let is_kept = slot.is_kept();
        if matches!(passed, Passed::Unknown) || !is_kept && matches!(passed, Passed::ToNobody) {
            return false;
        }
        // SAFETY: those who wait have pins, and do without them only with the mutex.
        let _pin = (!is_kept).then(|| unsafe { PinnedSlot::new(core, self) });
        let (waker, over) = match passed {
            Passed::Woken(at, waker) => {
                // I4: before letting go, for whoever takes the key.
                slot.stamp.store(Stamp::of_woken(at), Ordering::Relaxed);
                // I3: of what is in the word only `FIXED` is not ours.
                slot.word.fetch_and(!HELD, Ordering::Release);
                (waker, None)
            }
            Passed::Handed(holder, since, waker) => {
                slot.write_record(holder, Stamp::exact(since));
                slot.word.fetch_add(1 << TOKEN_SHIFT, Ordering::Release);
                state.grant_handed(Token::new(token.get() + 1));
                (waker, None)
            }
            Passed::ToNobody | Passed::Unknown => {
                slot.stamp.store(0, Ordering::Relaxed);
                let over = guard.take();
                slot.flags.fetch_and(!STATED, Ordering::Release);
                slot.word.fetch_and(!(HELD | WAITED), Ordering::Release);
                (None, over)
            }
        };
        drop(guard);
        drop(over);
        let mut calls = Calls::default();
        waker.into_iter().for_each(|waker| calls.wake(waker));
        calls.end();
        true
    }
}

impl Slot {
    /// The state beside a plain hold, which can be neither released nor taken over meanwhile (I3).
    /// `None`: there is none, or more.
    fn beside(&self) -> Option<StateGuard<'_>> {
        let guard = self.state.lock();
        self.is_waited_for().then_some(guard)
    }

    /// Whether somebody waits beside a plain hold; without the mutex, it may be out of date at
    /// once.
    pub(in crate::engine) fn is_waited_for(&self) -> bool {
        self.word.load(Ordering::Relaxed) & (HELD | SLOW | WAITED) == HELD | WAITED
    }

    /// Queues a plain request behind others, and returns its place and who holds the key. `None`:
    /// it has to be asked for. `enter` is called with the mutex.
    pub(in crate::engine) fn join<E>(
        &self,
        waiter: &mut Arc<Waiter>,
        waker: Waker,
        now: Moment,
        enter: impl FnOnce(QueuePosition) -> E,
    ) -> Option<(QueuePosition, Option<OwnerId>, E)> {
        let mut guard = self.beside()?;
        // I4: the holder's, if it is there, since it cannot be another's any more.
        let record = self.read_record()?;
        let owner = record.owner.full();
        let state = guard.as_mut()?;
        if waiter.ask.caller.counts_as(owner)
            || !state.may_join(&waiter.ask, record.since.moment(), now)
        {
            return None;
        }
        let place = state.join(waiter, waker, now);
        Some((place, owner, enter(place)))
    }

    /// Has a waiter wait on, if the key is held. Returns `false` if it has to look for itself.
    pub(in crate::engine) fn stay(&self, place: QueuePosition, waker: Waker) -> bool {
        // The one that is left over goes without the mutex: its drop may be anybody's code.
        let mut waker = Some(waker);
        let Some(mut guard) = self.beside() else { return false };
        guard.as_mut().is_some_and(|state| state.stay(place, &mut waker))
    }
}
