//! Which keys there are: a sharded table of slots that is as empty as the keys are idle (C13).

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

use super::inline_slot::InlineSlot;
use super::slot::{Slot, SlotRef};
use super::slot_hold::SlotHold;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RandomState};
use crate::{Query, Token, check_key};

/// The keys of an engine that are in use.
///
/// A key is looked after by the inline slot of its shard if that is free, and else by a slot of its
/// own in the shard's table, which goes when the key is idle.
pub(in crate::engine) struct Registry {
    shards: Box<[Shard]>,
    hasher: RandomState,
    barges: bool,
}

/// On cache lines of its own, so that threads on different shards do not disturb each other; what
/// the fast path needs comes first, so that the text of the inline slot begins with the second
/// line: a write that crosses two lines, or two pages, takes longer.
#[repr(C, align(64))]
struct Shard {
    /// The [bits](bit) of all keys in the table, and maybe others: whoever takes the inline slot
    /// over has found the bit of the key unset.
    maybe_present: AtomicU64,
    inline_slot: InlineSlot,
    /// No less than any token granted for a key of this shard by a slot that is gone (C7).
    floor: AtomicU64,
    /// I1: every slot in it is alive; it is freed by whoever takes it out.
    table: Mutex<SlotTable>,
}

type SlotTable = HashTable<SlotRef>;

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(any(loom, shuttle))))]
const _: () = {
    assert!(size_of::<Shard>() <= 192);
    assert!(std::mem::offset_of!(Shard, inline_slot) + size_of::<Slot>() == 64);
};

impl Registry {
    /// Whose grants have tokens above `floor`; with a fast path, which may go on beside waiters.
    pub(in crate::engine) fn new(floor: Token, barges: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // The explorers have all keys meet.
        let explored = cfg!(any(loom, shuttle));
        let count = if explored { 1 } else { (cores * 32).clamp(FEWEST, MOST) };
        let shard = |index| Shard {
            maybe_present: AtomicU64::new(0),
            inline_slot: InlineSlot::new(index as u8, barges),
            floor: AtomicU64::new(floor.get()),
            table: Mutex::new(SlotTable::new()),
        };
        let shards = (0..count).map(shard).collect::<Box<[Shard]>>();
        shards.iter().for_each(|shard| shard.inline_slot.expose());
        Self { shards, hasher: RandomState::default(), barges }
    }

    /// Takes a key that nobody else is at, if it is one (C1). `None` says nothing about the key.
    #[inline]
    pub(in crate::engine) fn take_over(&self, key: &str) -> Option<(SlotRef, Token)> {
        let hash = self.hash(key);
        let shard = &self.shards[self.index(hash)];
        let maybe_present = || shard.maybe_present.load(Ordering::Relaxed) & bit(hash) != 0;
        let token = shard.inline_slot.take_over(key, &shard.floor, maybe_present)?;
        Some((shard.inline_slot.slot_ref(), token))
    }

    /// Calls `use_it` with the slot of `key`, which gets one if it has none, under the mutex of its
    /// shard. `None`: it cannot be a key (C1), which is looked at only when there is none.
    pub(in crate::engine) fn with<R>(
        &self,
        key: &str,
        use_it: impl FnOnce(SlotRef, &Slot) -> R,
    ) -> Option<R> {
        let hash = self.hash(key);
        let shard = &self.shards[self.index(hash)];
        let mut table = shard.table.lock();
        if let Some(slot) = find(&table, hash, key) {
            // SAFETY: it was found under the shard's mutex (I2 of `Slot`).
            return Some(use_it(slot, unsafe { slot.get() }));
        }
        check_key(key).ok()?;
        let maybe_present = shard.maybe_present.load(Ordering::Relaxed);
        // R1: before the inline slot is looked at.
        shard.maybe_present.store(maybe_present | bit(hash), Ordering::Relaxed);
        let fixed = Fixed::new(&shard.inline_slot);
        let lives_here = match fixed.key() {
            Some(found) => found == key,
            None => shard.inline_slot.assign(key, shard.floor()),
        };
        if lives_here {
            shard.maybe_present.store(maybe_present, Ordering::Relaxed);
            return Some(use_it(shard.inline_slot.slot_ref(), shard.inline_slot.slot()));
        }
        let slot = self.insert(shard, &mut table, key, hash);
        // SAFETY: as above.
        Some(use_it(slot, unsafe { slot.get() }))
    }

    /// The slot of a key that has been checked, for a call site that keeps it: always one of the
    /// table, since the inline slot would be lost to all other keys. `None`: not now, the key has
    /// the inline slot.
    pub(in crate::engine) fn pin_forever(&self, key: &str) -> Option<SlotRef> {
        let hash = self.hash(key);
        let shard = &self.shards[self.index(hash)];
        let mut table = shard.table.lock();
        let slot = match find(&table, hash, key) {
            Some(slot) => slot,
            None => {
                let maybe_present = shard.maybe_present.load(Ordering::Relaxed);
                // R1: before the inline slot is looked at.
                shard.maybe_present.store(maybe_present | bit(hash), Ordering::Relaxed);
                if Fixed::new(&shard.inline_slot).key() == Some(key) {
                    shard.maybe_present.store(maybe_present, Ordering::Relaxed);
                    return None;
                }
                self.insert(shard, &mut table, key, hash)
            }
        };
        // SAFETY: it was found under the shard's mutex (I2 of `Slot`).
        unsafe { slot.get() }.pin_forever();
        Some(slot)
    }

    /// Calls `use_it` with the slot of `key`, if there is one, under the mutex of its shard.
    pub(in crate::engine) fn find<R>(
        &self,
        key: &str,
        use_it: impl FnOnce(SlotRef) -> R,
    ) -> Option<R> {
        let hash = self.hash(key);
        let shard = &self.shards[self.index(hash)];
        let table = shard.table.lock();
        if let Some(slot) = find(&table, hash, key) {
            return Some(use_it(slot));
        }
        let fixed = Fixed::new(&shard.inline_slot);
        (fixed.key() == Some(key)).then(|| use_it(shard.inline_slot.slot_ref()))
    }

    /// Calls `use_it` with each slot whose key `query` asks for, under the mutex of its shard.
    pub(in crate::engine) fn select(&self, query: &Query, mut use_it: impl FnMut(SlotRef)) {
        if let Query::Key(key) = query {
            self.find(key, use_it);
            return;
        }
        for shard in &self.shards {
            let table = shard.table.lock();
            let fixed = Fixed::new(&shard.inline_slot);
            if fixed.key().is_some_and(|key| query.matches(key)) {
                use_it(shard.inline_slot.slot_ref());
            }
            let wanted = table.iter().filter(|slot| {
                // SAFETY: I1.
                let slot = unsafe { slot.get() };
                slot.is_live() && query.matches(slot.key())
            });
            wanted.for_each(|slot| use_it(*slot));
        }
    }

    /// Counts the keys that are held, waited for, reserved, or have a lost guard.
    pub(in crate::engine) fn live_keys(&self) -> usize {
        let live = |shard: &Shard| {
            let table = shard.table.lock();
            // SAFETY: I1.
            let live = table.iter().filter(|slot| unsafe { slot.get() }.is_live()).count();
            live + usize::from(shard.inline_slot.slot().is_live())
        };
        self.shards.iter().map(live).sum()
    }

    /// Counts the keys that have a slot.
    pub(in crate::engine) fn slots(&self) -> usize {
        let slots = |shard: &Shard| {
            let table = shard.table.lock();
            table.len() + usize::from(Fixed::new(&shard.inline_slot).key().is_some())
        };
        self.shards.iter().map(slots).sum()
    }

    /// Calls `use_it` for whoever has a hold of the slot, under the mutex of its shard: where a pin
    /// may be had. `None`: the slot is another engine's.
    pub(in crate::engine) fn with_held<R>(
        &self,
        hold: &SlotHold,
        use_it: impl FnOnce(SlotRef) -> R,
    ) -> Option<R> {
        let (slot, alive) = (hold.slot, hold.slot());
        let hash = self.hash(alive.key());
        // I1 of `Slot`: under the mutex of its own table.
        let shard = &self.shards[self.index(hash)];
        let table = shard.table.lock();
        let _fixed;
        if alive.is_resident() {
            _fixed =
                (shard.inline_slot.slot_ref() == slot).then(|| Fixed::new(&shard.inline_slot))?;
        } else {
            table.find(hash, |found| *found == slot)?;
        }
        Some(use_it(slot))
    }

    /// Returns `true` if the slot of a hold is one of these.
    pub(in crate::engine) fn has(&self, hold: &SlotHold) -> bool {
        let (slot, alive) = (hold.slot, hold.slot());
        let hash = self.hash(alive.key());
        let shard = &self.shards[self.index(hash)];
        if alive.is_resident() {
            return shard.inline_slot.slot_ref() == slot;
        }
        shard.table.lock().find(hash, |found| *found == slot).is_some()
    }

    /// Gives a pin back; the slot may be gone after that, if it was the last one.
    ///
    /// # Safety
    /// The caller has a pin of the slot, which this uses up.
    pub(in crate::engine) unsafe fn unpin(&self, slot: SlotRef) {
        // SAFETY: by the caller, there is a pin (I2 of `Slot`), until `Slot::unpin` below.
        let alive = unsafe { slot.get() };
        if alive.is_resident() {
            if alive.unpin() {
                let _table = self.shards[alive.shard()].table.lock();
                // R3, unless somebody has pinned it in between.
                if !alive.is_pinned() {
                    alive.unfix();
                }
            }
            return;
        }
        let hash = if alive.stays() { 0 } else { self.hash(alive.key()) };
        // One that stays has a pin more.
        if alive.unpin() {
            self.remove_if_idle(slot, hash);
        }
    }

    /// Lets a plainly held key go, and takes its slot out. `Err`: the hold is not plain.
    #[inline]
    pub(in crate::engine) fn let_go(&self, hold: SlotHold) -> Result<(), SlotHold> {
        let (slot, alive) = (hold.slot, hold.slot());
        if alive.stays() {
            return if alive.try_let_go(hold.token) { Ok(()) } else { Err(hold) };
        }
        let hash = self.hash(alive.key());
        if !alive.try_let_go(hold.token) {
            return Err(hold);
        }
        self.remove_if_idle(slot, hash);
        Ok(())
    }

    /// Gives `key` a slot of its own, R1 having been seen to.
    #[cold]
    #[inline(never)]
    fn insert(&self, shard: &Shard, table: &mut SlotTable, key: &str, hash: u64) -> SlotRef {
        let index = self.index(hash) as u8;
        let floor = shard.floor().max(shard.inline_slot.slot().last_token());
        let slot = SlotRef::allocate(key, index, floor, self.barges);
        // SAFETY: I1.
        table.insert_unique(hash, slot, |slot| self.hash(unsafe { slot.get() }.key()));
        slot
    }

    /// Takes the slot out and frees it if nobody has a use for it. The pointer may dangle: it is
    /// followed only once it was found in the table.
    #[inline(never)]
    fn remove_if_idle(&self, slot: SlotRef, hash: u64) {
        let shard = &self.shards[self.index(hash)];
        let mut table = shard.table.lock();
        let Ok(entry) = table.find_entry(hash, |found| *found == slot) else { return };
        // SAFETY: it is in the table, so it is alive (I1).
        let alive = unsafe { slot.get() };
        if !alive.can_be_freed() {
            return;
        }
        entry.remove();
        // R2: before the inline slot can have the key.
        shard.raise_floor(alive.last_token());
        // SAFETY: I1 of `Slot` holds, and the slot is in no table any more.
        unsafe { slot.free() };
        self.tidy(shard, &mut table);
    }

    /// Something was taken out of the table.
    fn tidy(&self, shard: &Shard, table: &mut SlotTable) {
        let (len, capacity) = (table.len(), table.capacity());
        if len == 0 {
            *table = SlotTable::new();
        } else if capacity > 16 && len < capacity / 8 {
            // SAFETY: I1.
            table.shrink_to(len * 2, |slot| self.hash(unsafe { slot.get() }.key()));
        }
        let maybe_present = shard.maybe_present.load(Ordering::Relaxed);
        if len <= FEW || len <= SOME && maybe_present.count_ones() > 48 {
            // SAFETY: I1.
            let keys = table.iter().map(|slot| unsafe { slot.get() }.key());
            let maybe_present =
                keys.fold(0, |maybe_present, key| maybe_present | bit(self.hash(key)));
            shard.maybe_present.store(maybe_present, Ordering::Relaxed);
        }
    }

    #[inline]
    fn hash(&self, key: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        hasher.finish()
    }

    /// From the bits that neither the table nor [`bit`] makes use of: they are taken for a
    /// fraction.
    #[inline]
    fn index(&self, hash: u64) -> usize {
        ((((hash >> 16) & 0xffff_ffff) * self.shards.len() as u64) >> 32) as usize
    }
}

/// How many shards there are at least: that many, so that threads with keys of their own rarely
/// meet at one, take 29 KiB.
const FEWEST: usize = 156;
/// And at most, however many processors there are.
const MOST: usize = 256;

/// With how many keys in a table it is still worth while to tell them apart by their bits.
const FEW: usize = 8;
/// And with how many once nearly all bits are set.
const SOME: usize = 32;

/// The bit of a key in `maybe_present`.
#[inline]
const fn bit(hash: u64) -> u64 {
    1 << ((hash >> 48) & 63)
}

fn find(table: &SlotTable, hash: u64, key: &str) -> Option<SlotRef> {
    // SAFETY: I1, and the caller has the mutex.
    table.find(hash, |slot| unsafe { slot.get() }.key() == key).copied()
}

impl Shard {
    fn floor(&self) -> Token {
        Token::new(self.floor.load(Ordering::Relaxed))
    }

    /// R2; under the mutex.
    fn raise_floor(&self, token: Token) {
        if token <= self.floor() {
            return;
        }
        self.floor.store(token.get(), Ordering::Relaxed);
        let fixed = Fixed::new(&self.inline_slot);
        if fixed.key().is_none() {
            self.inline_slot.slot().raise_to(token);
        }
    }
}

/// An inline slot that keeps the key it has, if any, while this lives and while there are pins
/// after that; under the shard's mutex (R3).
struct Fixed<'a> {
    slot: &'a Slot,
    in_use: bool,
}

impl<'a> Fixed<'a> {
    fn new(inline_slot: &'a InlineSlot) -> Self {
        let slot = inline_slot.slot();
        Self { slot, in_use: slot.fix() }
    }

    /// The key that the inline slot had when it was fixed.
    fn key(&self) -> Option<&'a str> {
        self.in_use.then(|| self.slot.key())
    }
}

impl Drop for Fixed<'_> {
    fn drop(&mut self) {
        if !self.slot.is_pinned() {
            self.slot.unfix();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A hold whose guard outlives everything else keeps its slot for ever.
        let mut outlived = false;
        for shard in &self.shards {
            outlived |= !shard.inline_slot.slot().can_be_freed();
            for slot in shard.table.lock().drain() {
                // SAFETY: it was in the table, so it is alive (I1).
                if unsafe { slot.get() }.can_be_freed() {
                    // SAFETY: I1 of `Slot` holds, and the slot is in no table any more.
                    unsafe { slot.free() };
                }
            }
        }
        if outlived {
            Box::leak(std::mem::take(&mut self.shards));
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn c13_a_call_site_that_runs_while_its_key_is_held_by_name_does_not_keep_the_resident() {
        let registry = Registry::new(Token::new(0), true);
        let take = || {
            let (slot, token) = registry.take_over("k")?;
            Some(SlotHold { slot, token, level: 0, nesting: crate::engine::Nesting::Outermost })
        };
        let hold = take().unwrap();
        assert!(registry.pin_forever("k").is_none(), "not while the key has the inline slot");
        assert!(registry.let_go(hold).is_ok());
        let hold = take().expect("the inline slot is there for all keys");
        let slot = hold.slot;
        assert!(registry.let_go(hold).is_ok());
        let kept = registry.pin_forever("k").expect("the key is free");
        assert_ne!(kept, slot);
        assert!(registry.take_over("k").is_none(), "R1: it is in the table");
        assert_eq!(registry.pin_forever("k"), Some(kept));
    }
}
