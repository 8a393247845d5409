//! Which keys there are: a sharded table of slots that is as empty as the keys are idle (C13).

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use hashbrown::HashTable;

use super::slot::{Slot, SlotRef};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, RandomState};
use crate::{Query, Token, check_key};

/// The table of an engine's keys.
///
/// A key that becomes idle is taken out, except that each shard may keep one idle slot until the
/// next key comes: a key used over and over is not made anew each time.
pub(super) struct Registry {
    shards: Box<[Shard]>,
    hasher: RandomState,
}

/// On a cache line of its own, so that threads on different shards do not disturb each other.
#[repr(align(64))]
struct Shard {
    table: Mutex<Table>,
    /// `table.slots.len()`, to be looked at without the mutex.
    len: AtomicUsize,
}

struct Table {
    /// I1: every slot in it is alive; it is freed by whoever takes it out.
    slots: HashTable<SlotRef>,
    /// I2: no less than any token granted for a key of this shard that is not in it (C7).
    floor: Token,
}

/// How many idle slots a shard may keep.
const SPARE: usize = 1;

impl Registry {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = (cores * 8).next_power_of_two().clamp(16, 256);
        let shard = || Shard {
            table: Mutex::new(Table { slots: HashTable::new(), floor: Token::new(0) }),
            len: AtomicUsize::new(0),
        };
        Self { shards: (0..count).map(|_| shard()).collect(), hasher: RandomState::default() }
    }

    /// Calls `use_it` with the slot of `key`, which is made if there is none, under the mutex of
    /// its shard. `None`: it cannot be a key (C1), which is looked at only when a slot is made.
    #[inline]
    pub(super) fn with<R>(&self, key: &str, use_it: impl FnOnce(SlotRef, &Slot) -> R) -> Option<R> {
        let hash = self.hash(key);
        let index = self.index(hash);
        let shard = &self.shards[index];
        let mut table = shard.table.lock();
        // SAFETY: I1 of the table.
        let found = table.slots.find(hash, |slot| unsafe { slot.get() }.key() == key).copied();
        let slot = match found {
            Some(slot) => slot,
            None => self.insert(shard, &mut table, key, hash, index)?,
        };
        // SAFETY: it was found under the shard's mutex (I2 of `Slot`).
        Some(use_it(slot, unsafe { slot.get() }))
    }

    /// The slot of `key`, pinned, if there is one.
    pub(super) fn find(self: &Arc<Self>, key: &str) -> Option<Pinned> {
        let hash = self.hash(key);
        let table = self.shards[self.index(hash)].table.lock();
        // SAFETY: I1 of the table.
        let slot = *table.slots.find(hash, |slot| unsafe { slot.get() }.key() == key)?;
        Some(self.pin(slot))
    }

    /// The slots of the keys that `query` asks for, pinned.
    pub(super) fn select(self: &Arc<Self>, query: &Query) -> Vec<Pinned> {
        if let Query::Key(key) = query {
            return self.find(key).into_iter().collect();
        }
        let mut chosen = Vec::new();
        for shard in &self.shards {
            let table = shard.table.lock();
            let wanted = table.slots.iter().filter(|slot| {
                // SAFETY: I1 of the table.
                let slot = unsafe { slot.get() };
                !slot.is_idle() && query.matches(slot.key())
            });
            chosen.extend(wanted.map(|slot| self.pin(*slot)));
        }
        chosen
    }

    /// How many keys are held, waited for, reserved, or have a lost guard.
    pub(super) fn live_keys(&self) -> usize {
        let live = |shard: &Shard| {
            let table = shard.table.lock();
            // SAFETY: I1 of the table.
            table.slots.iter().filter(|slot| !unsafe { slot.get() }.is_idle()).count()
        };
        self.shards.iter().map(live).sum()
    }

    /// How many slots there are, idle ones included.
    pub(super) fn slots(&self) -> usize {
        self.shards.iter().map(|shard| shard.table.lock().slots.len()).sum()
    }

    /// A pin for whoever has a hold of the slot. `None`: the slot is another engine's.
    pub(super) fn pin_held(self: &Arc<Self>, slot: SlotRef) -> Option<Pinned> {
        // SAFETY: the caller has a hold (I2 of `Slot`).
        let hash = self.hash(unsafe { slot.get() }.key());
        // I1 of `Slot`: under the mutex of its own table.
        let table = self.shards[self.index(hash)].table.lock();
        let found = table.slots.find(hash, |found| *found == slot)?;
        Some(self.pin(*found))
    }

    /// A pin on a slot that the caller may look at, by the shard's mutex or a pin.
    pub(super) fn pin(self: &Arc<Self>, slot: SlotRef) -> Pinned {
        // SAFETY: the caller may look at it (I2 of `Slot`).
        unsafe { slot.get() }.pin();
        Pinned { slot, registry: self.clone() }
    }

    /// Lets a plainly held key go, and takes it out if it is one idle slot too many. Says whether
    /// the hold was plain.
    #[inline]
    pub(super) fn let_go(&self, slot: SlotRef, token: Token) -> bool {
        // SAFETY: the caller has the hold (I2 of `Slot`), until `try_let_go` has succeeded.
        let alive = unsafe { slot.get() };
        let shard = &self.shards[alive.shard() & (self.shards.len() - 1)];
        if alive.is_kept() || shard.len.load(Ordering::Relaxed) <= SPARE {
            return alive.try_let_go(token);
        }
        let hash = self.hash(alive.key());
        let done = alive.try_let_go(token);
        if done {
            self.remove_if_idle(slot, hash);
        }
        done
    }

    #[cold]
    #[inline(never)]
    fn insert(
        &self,
        shard: &Shard,
        table: &mut Table,
        key: &str,
        hash: u64,
        index: usize,
    ) -> Option<SlotRef> {
        check_key(key).ok()?;
        if table.slots.len() == SPARE {
            // SAFETY: I1 of the table.
            let spare = table.slots.extract_if(|slot| unsafe { slot.get() }.can_be_freed()).next();
            if let Some(spare) = spare {
                table.dispose(spare);
            }
        }
        let slot = SlotRef::allocate(key, index as u8, table.floor);
        // SAFETY: I1 of the table.
        let rehash = |slot: &SlotRef| self.hash(unsafe { slot.get() }.key());
        table.slots.insert_unique(hash, slot, rehash);
        shard.len.store(table.slots.len(), Ordering::Relaxed);
        Some(slot)
    }

    /// Takes the slot out and frees it if nobody has a use for it. The pointer may dangle.
    #[inline(never)]
    fn remove_if_idle(&self, slot: SlotRef, hash: u64) {
        let shard = &self.shards[self.index(hash)];
        let mut table = shard.table.lock();
        let Ok(entry) = table.slots.find_entry(hash, |found| *found == slot) else { return };
        // SAFETY: it is in the table, so it is alive (I1).
        if !unsafe { slot.get() }.can_be_freed() {
            return;
        }
        entry.remove();
        table.dispose(slot);
        let (len, capacity) = (table.slots.len(), table.slots.capacity());
        shard.len.store(len, Ordering::Relaxed);
        if capacity > 16 && len < capacity / 8 {
            // SAFETY: I1 of the table.
            table.slots.shrink_to(len * 2, |slot| self.hash(unsafe { slot.get() }.key()));
        }
    }

    #[inline]
    fn hash(&self, key: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        hasher.finish()
    }

    /// From bits that the table itself makes little use of.
    #[inline]
    fn index(&self, hash: u64) -> usize {
        (hash >> 40) as usize & (self.shards.len() - 1)
    }
}

impl Table {
    /// Frees a slot that has just been taken out, with I1 of `Slot` established.
    fn dispose(&mut self, slot: SlotRef) {
        // SAFETY: it was in the table until now, under the mutex that we have.
        self.floor = self.floor.max(unsafe { slot.get() }.last_token());
        // SAFETY: I1 of `Slot` holds, and the slot is in no table any more.
        unsafe { slot.free() };
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        for shard in &self.shards {
            for slot in shard.table.lock().slots.drain() {
                // A hold whose guard outlives everything else keeps its slot for ever.
                // SAFETY: it was in the table, so it is alive (I1).
                if unsafe { slot.get() }.can_be_freed() {
                    // SAFETY: I1 of `Slot` holds, and the slot is in no table any more.
                    unsafe { slot.free() };
                }
            }
        }
    }
}

/// A slot that stays while this lives.
pub(super) struct Pinned {
    slot: SlotRef,
    registry: Arc<Registry>,
}

impl Pinned {
    pub(super) fn slot_ref(&self) -> SlotRef {
        self.slot
    }
}

impl std::ops::Deref for Pinned {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        // SAFETY: this is a pin (I2 of `Slot`).
        unsafe { self.slot.get() }
    }
}

impl Clone for Pinned {
    fn clone(&self) -> Self {
        self.registry.pin(self.slot)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let crowded = {
            let shard = &self.registry.shards[self.shard()];
            shard.len.load(Ordering::Relaxed) > SPARE && !self.is_kept()
        };
        let hash = if crowded { self.registry.hash(self.key()) } else { 0 };
        // From here on the slot may be gone.
        if self.unpin() && crowded {
            self.registry.remove_if_idle(self.slot, hash);
        }
    }
}
