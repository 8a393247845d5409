use super::{FIXED, HELD, SLOW, Slot, TOKEN_SHIFT};
use crate::engine::state::State;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

/// A slot's state, while nobody else sees it.
pub(in crate::engine) struct Frozen<'a> {
    pub(super) slot: &'a Slot,
    pub(super) state: MutexGuard<'a, Option<Box<State>>>,
}

impl Frozen<'_> {
    pub(in crate::engine) fn slot(&self) -> &Slot {
        self.slot
    }
}

impl std::ops::Deref for Frozen<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_ref().expect("I3: there is a state while the slot is frozen")
    }
}

impl std::ops::DerefMut for Frozen<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect("I3: there is a state while the slot is frozen")
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let token = self.token().get() << TOKEN_SHIFT;
        let held = if self.is_held() { HELD } else { 0 };
        let settled = match self.thaws() {
            None => token | held | SLOW,
            Some(holder) => {
                if let Some((swift, since)) = holder {
                    self.slot.write_record(swift, since);
                } else if held == 0 {
                    self.slot.stamp.store(0, Ordering::Relaxed);
                }
                *self.state = None;
                token | held
            }
        };
        // I3: `FIXED` is not ours.
        let word = &self.slot.word;
        let update = |found: u64| Some(found & FIXED | settled);
        let _ = word.fetch_update(Ordering::Release, Ordering::Relaxed, update);
    }
}
