//! The slot that lives in each shard of the registry and lends itself to one key after another.

use std::cell::UnsafeCell;

use super::slot::{Slot, SlotRef};
use crate::Token;
use crate::sync::atomic::AtomicU64;

/// A slot that is part of its shard. A key that nobody else is at is held here, without a look at
/// the table, the shard's mutex, or the heap: whoever takes the slot writes the key into it.
///
/// * R1 (one slot for a key): a key is here or in the table, never in both. Who takes the slot
///   [over](Self::take_over) checks afterwards that the key cannot be in the table; who puts a key
///   into the table has fixed the slot since it said that the key may be there, and looks at its
///   key.
/// * R2 (tokens): whoever takes it over does so above the shard's floor, which is raised, and the
///   slot fixed after that, before a key leaves the table (C7).
/// * R3 (fixing): `FIXED` is set and cleared under the shard's mutex. It is set while there are
///   pins.
#[repr(C)]
pub(in crate::engine) struct InlineSlot {
    slot: Slot,
    /// Right behind the slot, where [`Slot::key`] looks for it. I6 says who may touch it.
    text: UnsafeCell<[u64; WORDS]>,
}

const WORDS: usize = 7;

/// The longest key that finds room in an inline slot.
pub(in crate::engine) const ROOM: usize = WORDS * 8;

// SAFETY: the slot is `Sync`; the text is written only by whoever has the slot to itself (I6).
unsafe impl Sync for InlineSlot {}
// SAFETY: as above.
unsafe impl Send for InlineSlot {}

impl InlineSlot {
    pub(in crate::engine) fn new(shard: u8, barges: bool) -> Self {
        Self { slot: Slot::inline(shard, barges), text: UnsafeCell::new([0; WORDS]) }
    }

    /// Once it is where it stays: makes its text known to [`Slot::key`].
    pub(in crate::engine) fn expose(&self) {
        std::ptr::from_ref(self).expose_provenance();
    }

    pub(in crate::engine) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(in crate::engine) fn slot_ref(&self) -> SlotRef {
        SlotRef::of_inline(&self.slot)
    }

    /// Takes the slot for `key`, unless somebody is at it, the key is none (C1) or too long, or it
    /// `may_be_elsewhere`: in the table.
    #[inline]
    pub(in crate::engine) fn take_over(
        &self,
        key: &str,
        floor: &AtomicU64,
        may_be_elsewhere: impl Fn() -> bool,
    ) -> Option<Token> {
        if key.is_empty() || key.len() > ROOM || may_be_elsewhere() {
            return None;
        }
        let token = self.slot.try_take_over(floor)?;
        // R1: again, since the table may have got the key in between.
        // SAFETY: the slot was free, is held by us now, and has no stamp yet (I6); the length fits.
        if may_be_elsewhere() || !unsafe { self.write(key.as_bytes()) } {
            self.slot.give_up();
            return None;
        }
        self.slot.announce();
        Some(token)
    }

    /// Gives the slot to `key`, above `floor`; under the shard's mutex, when it is fixed and free,
    /// and the key is not in the table. Says whether it has room for the key.
    #[inline(never)]
    pub(in crate::engine) fn assign(&self, key: &str, floor: Token) -> bool {
        if key.len() > ROOM {
            return false;
        }
        // Raised in any case: whoever saw it free before this must not take it over after it, with
        // the floor as it was then (R2).
        let next = Token::new(self.slot.last_token().get() + 1);
        self.slot.raise_to(floor.max(next));
        // SAFETY: it is fixed and free, so nobody looks at the key or writes one (I6); it fits.
        unsafe { self.write(key.as_bytes()) };
        true
    }

    /// Writes the key, and says whether it can be one (C1).
    ///
    /// # Safety
    /// I6 lets us write it, and it has between one and [`ROOM`] bytes.
    // Always inlined, since it is most of what it takes to take a free key.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn write(&self, key: &[u8]) -> bool {
        let (from, to) = (key.as_ptr(), self.text.get().cast::<u8>());
        let len = key.len();
        self.slot.set_key_len(len);
        // Word by word, without a loop, which would become calls of `memcpy` and a search: the
        // words overlap where the length is none of theirs.
        let copy = |at: usize| {
            // SAFETY: the callers below stay within the key, and so within the text.
            unsafe {
                let piece = from.add(at).cast::<u64>().read_unaligned();
                to.add(at).cast::<u64>().write_unaligned(piece);
                has_nul(piece)
            }
        };
        let nul = match len {
            0..8 => {
                let mut nul = false;
                for at in 0..len {
                    // SAFETY: as above. Volatile, because of what is said above.
                    unsafe {
                        let byte = from.add(at).read_volatile();
                        to.add(at).write(byte);
                        nul |= byte == 0;
                    }
                }
                nul
            }
            8..=16 => copy(0) | copy(len - 8),
            17..=32 => copy(0) | copy(8) | copy(len - 16) | copy(len - 8),
            _ => {
                let half = copy(0) | copy(8) | copy(16) | copy(24);
                half | copy(len - 32) | copy(len - 24) | copy(len - 16) | copy(len - 8)
            }
        };
        !nul
    }
}

/// Whether one of the eight bytes is zero.
const fn has_nul(piece: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    piece.wrapping_sub(ONES) & !piece & (ONES << 7) != 0
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn c1_every_key_that_has_room_is_read_back_and_a_nul_is_found_wherever_it_is() {
        let inline_slot = InlineSlot::new(0, true);
        inline_slot.expose();
        let floor = AtomicU64::new(0);
        for len in 1..=ROOM {
            let key = (0..len).map(|at| (b'a' + (at % 26) as u8) as char).collect::<String>();
            let token = inline_slot.take_over(&key, &floor, || false).unwrap();
            assert_eq!(inline_slot.slot().key(), key);
            assert!(inline_slot.slot().try_let_go(token));
            for at in 0..len {
                let mut bad = key.clone();
                bad.replace_range(at..=at, "\0");
                assert!(inline_slot.take_over(&bad, &floor, || false).is_none(), "{bad:?}");
            }
        }
        assert!(inline_slot.take_over("", &floor, || false).is_none());
        assert!(inline_slot.take_over(&"x".repeat(ROOM + 1), &floor, || false).is_none());
        assert!(inline_slot.slot().is_idle());
    }

    #[test]
    fn c7_a_slot_is_taken_over_above_the_floor_and_above_its_own_tokens() {
        let inline_slot = InlineSlot::new(0, true);
        let floor = AtomicU64::new(0);
        let mut last = Token::new(0);
        for raised in [0, 5, 3, 9] {
            floor.store(raised, std::sync::atomic::Ordering::Relaxed);
            let token = inline_slot.take_over("k", &floor, || false).unwrap();
            assert!(token > last && token.get() > raised, "{token} after {last}");
            last = token;
            assert!(inline_slot.slot().try_let_go(token));
        }
    }
}
