//! What only an inline slot's slot does.

use super::{FIXED, HELD, SLOW, Slot, TOKEN_SHIFT};
use crate::Token;
use crate::clock::Stamp;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{spin_loop, thread};

/// The steps by which an inline slot changes its key; see
/// [`InlineSlot`](super::inline_slot::InlineSlot).
impl Slot {
    /// Takes the slot if nothing at all is going on around it, whatever its last key was, with a
    /// token above `floor`, which is read after it was found free.
    #[inline]
    pub(in crate::engine) fn try_take_over(&self, floor: &AtomicU64) -> Option<Token> {
        if let Some(token) = self.try_take_as_left() {
            if token.get() > floor.load(Ordering::Relaxed) {
                return Some(token);
            }
            self.give_up();
        }
        let word = self.word.load(Ordering::Acquire);
        if word & (HELD | SLOW | FIXED) != 0 {
            return None;
        }
        let token = (word >> TOKEN_SHIFT).max(floor.load(Ordering::Relaxed)) + 1;
        self.word
            .compare_exchange(
                word,
                token << TOKEN_SHIFT | HELD,
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
            .then(|| {
                self.has_no_stamp();
                Token::new(token)
            })
    }

    /// Gives back what [`try_take_over`](Self::try_take_over) took, before anything was written.
    #[cold]
    pub(in crate::engine) fn give_up(&self) {
        self.word.fetch_and(!HELD, Ordering::Release);
    }

    /// Says that the key is written, although the rest of the record is not: for who would have to
    /// wait for it while its shard does.
    #[inline]
    pub(in crate::engine) fn announce(&self) {
        self.stamp.store(Stamp::UNDATED, Ordering::Release);
    }

    /// The length of the key, by whoever has just taken the slot over, or fixed it while it was
    /// free.
    #[inline]
    pub(in crate::engine) fn set_key_len(&self, len: usize) {
        self.text.changed();
        self.key_len.store(len as u16, Ordering::Relaxed);
    }

    /// Keeps the slot's key what it is; under the shard's mutex. Says whether the slot is in use.
    pub(in crate::engine) fn fix(&self) -> bool {
        let word = self.word.fetch_or(FIXED, Ordering::AcqRel);
        if word & FIXED != 0 {
            // In this order: a pin can turn into a hold meanwhile, but no hold into a pin.
            return self.is_pinned() || !self.is_idle();
        }
        let mut rounds = 0_u32;
        // Whoever has just taken it is about to write the key, or to give up.
        while self.word.load(Ordering::Acquire) & (HELD | SLOW) == HELD {
            if self.stamp.load(Ordering::Acquire) != 0 {
                return true;
            }
            pause(rounds);
            rounds += 1;
        }
        !self.is_idle()
    }

    /// Lets the key change again; under the shard's mutex, without any pins.
    pub(in crate::engine) fn unfix(&self) {
        self.word.fetch_and(!FIXED, Ordering::Release);
    }

    /// Raises the token of a free slot that is fixed.
    pub(in crate::engine) fn raise_to(&self, floor: Token) {
        let word = self.word.load(Ordering::Relaxed);
        let token = (word >> TOKEN_SHIFT).max(floor.get());
        self.word.store(token << TOKEN_SHIFT | FIXED, Ordering::Release);
    }
}

/// Waits a moment for another thread to come on by a few instructions.
fn pause(rounds: u32) {
    match rounds {
        0..8 => spin_loop(),
        8..64 => thread::yield_now(),
        // It does not run, and may have less of a claim to this core than we have.
        _ => rest(),
    }
}

#[cfg(not(any(loom, shuttle)))]
fn rest() {
    thread::sleep(std::time::Duration::from_micros(50));
}

#[cfg(any(loom, shuttle))]
fn rest() {
    thread::yield_now();
}
