use std::cell::Cell;
use std::sync::Arc;

use super::super::core::Core;
use super::super::slot_hold::SlotHold;
use super::{FIXED, HELD, SLOW, STATED, Slot, StateGuard, TOKEN_SHIFT, WAITED};
use crate::calls::Calls;
use crate::clock::{Moment, Stamp};
use crate::engine::ports::{UpstreamEnd, UpstreamGrant};
use crate::engine::state::{Effects, HoldEntry, More, QueuePosition, State, Thaw};
use crate::sync::atomic::Ordering;
use crate::{Alarm, LostCause, Op, Token};

/// A slot's state, while nobody else sees it. Letting go of it carries out its effects, without the
/// mutex, and on the way out of a panic as well.
pub(in crate::engine) struct Frozen<'a> {
    core: &'a Arc<Core>,
    slot: &'a Slot,
    /// I3: there is a state. Gone once the mutex is.
    state: Option<StateGuard<'a>>,
}

thread_local! {
    /// How many errands this thread is on: it cannot wait for the end of one.
    static ERRANDS: Cell<usize> = const { Cell::new(0) };
}

/// This thread is on an errand for as long as it lives.
struct OnErrand;

impl OnErrand {
    fn new() -> Self {
        ERRANDS.set(ERRANDS.get() + 1);
        Self
    }
}

impl Drop for OnErrand {
    fn drop(&mut self) {
        ERRANDS.set(ERRANDS.get() - 1);
    }
}

const PRESENT: &str = "I3: there is a state while the slot is frozen";

impl<'a> Frozen<'a> {
    fn new(core: &'a Arc<Core>, slot: &'a Slot, state: StateGuard<'a>) -> Self {
        Self { core, slot, state: Some(state) }
    }

    pub(in crate::engine) fn slot(&self) -> &Slot {
        self.slot
    }

    /// Looks again who the holder is, if it had not said so.
    pub(in crate::engine) fn complete(&mut self) {
        let slot = self.slot;
        State::complete(self, || slot.read_record());
    }

    /// Whether a waiter whose time is over waits on for the end of an errand, of another thread.
    pub(in crate::engine) fn sees_errand_out(&mut self, place: QueuePosition) -> bool {
        ERRANDS.get() == 0 && self.watch_errands(place)
    }

    /// Lets go of it, and returns how the upstream answers the end of `confirm`, if that has ended.
    pub(in crate::engine) fn finish(
        mut self,
        confirm: Option<UpstreamGrant>,
    ) -> Option<Op<'static, ()>> {
        self.close(confirm)
    }

    fn close(&mut self, confirm: Option<UpstreamGrant>) -> Option<Op<'static, ()>> {
        let mut calls = Calls::default();
        let (mut confirmed, mut late) = (None, (Vec::new(), Vec::new()));
        while let Some(mut guard) = self.state.take() {
            let state = guard.as_mut().expect(PRESENT);
            let Effects { waker, discarded, more } = std::mem::take(&mut state.effects);
            let alarm = state.needs_alarm();
            if more.is_some() || alarm.is_some() {
                let (next, token) = (state.next_waits(), state.token());
                let key = Box::<str>::from(self.slot.key());
                self.slot.thaw(guard);
                let on_errand = OnErrand::new();
                let More { ended, draws, wakers, lost, broken, discarded: late_discarded } =
                    *more.unwrap_or_default();
                let mut errands = Errands { ended: ended.len(), ..Errands::default() };
                for (grant, reserves) in ended {
                    let upstream = self.core.upstream.as_ref();
                    let how = UpstreamEnd { next, reserves };
                    let op = calls.make(|| upstream.map(|upstream| upstream.end(&key, grant, how)));
                    if Some(grant) == confirm {
                        confirmed = op.flatten();
                    } else {
                        // Nobody is there to hear how it ends.
                        calls.make(|| drop(op));
                    }
                }
                if draws {
                    errands.drawn = Some(calls.make(|| self.core.token_above(token)));
                }
                errands.alarm = alarm.and_then(|at| calls.make(|| self.core.wake_key_at(at, &key)));
                for lost in &lost {
                    calls.make(|| Core::tell_subscribers(&key, lost));
                    calls.make(|| self.core.tell_observer(&key, lost));
                }
                if !broken.is_empty() {
                    calls.make(|| self.core.end_sets(broken));
                }
                // Who is woken may ask for the key at once, on this thread.
                late.0.extend(wakers);
                late.1.extend(late_discarded);
                late.0.extend(waker);
                late.1.extend(discarded);
                drop(on_errand);
                // It may have the mutex again.
                self.come_back(errands, &mut calls);
            } else {
                self.slot.thaw(guard);
                waker.into_iter().for_each(|waker| calls.wake(waker));
                discarded.into_iter().for_each(|waker| calls.discard(waker));
            }
        }
        let (wakers, discarded) = late;
        wakers.into_iter().for_each(|waker| calls.wake(waker));
        discarded.into_iter().for_each(|waker| calls.discard(waker));
        calls.end();
        confirmed
    }

    /// Errands have been run: what had to wait for them is granted.
    fn come_back(&mut self, errands: Errands, calls: &mut Calls) {
        let Errands { ended, drawn, alarm } = errands;
        if ended == 0 && drawn.is_none() && alarm.is_none() {
            return;
        }
        let now = calls.make(|| self.core.clock.now()).unwrap_or(Moment::from_nanos(0));
        let mut guard = self.slot.look(now);
        let Some(state) = guard.as_mut() else { return };
        state.have_begun_to_end(ended);
        if drawn == Some(None) {
            // Whoever is next tries for itself.
            state.wake_first();
        } else {
            drawn.flatten().into_iter().for_each(|token| state.add_token(token));
            state.advance(now);
            state.grant_waiters();
        }
        state.show_errands_end();
        if alarm.is_some() && state.needs_alarm().is_some() {
            // Its waker is our own.
            drop(state.set_alarm(alarm));
        }
        self.state = Some(guard);
    }
}

/// What was done without the mutex, and has to be known with it.
#[derive(Default)]
struct Errands {
    ended: usize,
    /// `Some(None)`: that came to nothing.
    drawn: Option<Option<Token>>,
    alarm: Option<Alarm>,
}

impl Core {
    /// The slot's state, to be let go of soon.
    pub(in crate::engine) fn freeze<'a>(self: &'a Arc<Self>, slot: &'a Slot) -> Frozen<'a> {
        slot.freeze(self, self.clock.now())
    }

    /// Calls `look` with the entry of a hold, if it has not ended.
    pub(in crate::engine) fn with_hold<R>(
        self: &Arc<Self>,
        hold: &SlotHold,
        look: impl FnOnce(&mut HoldEntry) -> R,
    ) -> Result<R, LostCause> {
        let mut frozen = self.freeze(hold.slot());
        match frozen.lost(hold.token, hold.level) {
            Some(cause) => Err(cause),
            None => {
                let entry = frozen.hold_mut(hold.token, hold.level);
                Ok(look(entry.expect("it is not lost")))
            }
        }
    }
}

impl Slot {
    /// The state at this time, with the word frozen (I3).
    pub(in crate::engine) fn freeze<'a>(&'a self, core: &'a Arc<Core>, now: Moment) -> Frozen<'a> {
        let mut guard = self.state.lock();
        let state = guard.get_or_insert_with(|| {
            let drawn = core.tokens.is_some() && core.upstream.is_none();
            Box::new(State::new(drawn, core.has_fast_path, now))
        });
        self.catch_up(state, now);
        state.advance(now);
        Frozen::new(core, self, guard)
    }

    /// Lets go of the mutex, and gives the key back to the fast path if that can take over.
    fn thaw(&self, mut guard: StateGuard<'_>) {
        let state = guard.as_mut().expect(PRESENT);
        let token = state.token().get() << TOKEN_SHIFT;
        let held = if state.is_held() { HELD } else { 0 };
        let (record, flags, stamp) = match state.thaw() {
            Thaw::Not => (None, SLOW, None),
            Thaw::Beside { record, woken } => (record, WAITED, woken.map(Stamp::of_woken)),
            Thaw::Wholly(record) => (record, 0, (held == 0).then_some(0)),
        };
        let over = if flags == 0 { guard.take() } else { None };
        if over.is_some() && (held == 0 || record.is_none()) {
            // I5: this state writes nobody's record. Release: what one before it wrote is over.
            self.flags.fetch_and(!STATED, Ordering::Release);
        }
        if let Some((holder, since)) = record {
            self.write_record(holder, since);
        } else if let Some(stamp) = stamp {
            self.stamp.store(stamp, Ordering::Relaxed);
        }
        let settled = token | held | flags;
        // I3: `FIXED` is not ours.
        let update = |found: u64| Some(found & FIXED | settled);
        let _ = self.word.fetch_update(Ordering::Release, Ordering::Relaxed, update);
        drop(guard);
        drop(over);
    }
}

impl std::ops::Deref for Frozen<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_ref().and_then(|state| state.as_ref()).expect(PRESENT)
    }
}

impl std::ops::DerefMut for Frozen<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().and_then(|state| state.as_mut()).expect(PRESENT)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        drop(self.close(None));
    }
}
