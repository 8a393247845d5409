//! One key's slot: a word for the fast path, a record of its holder, and the state behind it.

mod beside;
mod frozen;
mod steps;

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

pub(in crate::engine) use self::frozen::Frozen;
use crate::clock::{Moment, Stamp};
use crate::engine::state::{BARGE_WINDOW, SlotRecord, State};
use crate::identity::SmallOwner;
use crate::request::FastHolder;
use crate::sync::atomic::{AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, Witness};
use crate::{CallSite, Token};

/// Somebody holds the key.
const HELD: u64 = 1;
/// The state decides: nothing is acquired or released without the mutex.
const SLOW: u64 = 2;
/// A shard's [`InlineSlot`](super::inline_slot::InlineSlot) keeps its key. No other slot needs it,
/// and none has it.
const FIXED: u64 = 4;
/// Above these bits: the greatest token granted so far.
const TOKEN_SHIFT: u32 = 3;
/// Somebody waits, and newcomers may barge: a free key may be taken without the mutex, and is not
/// released without it (C3). Only in engines that count their tokens up, which do not get that far.
const WAITED: u64 = 1 << 63;

/// The slot is never freed: some call site keeps it for ever, by one of its `pins`.
const KEPT: u8 = 1;
/// The slot is never freed, and has another key each time it is taken.
const RESIDENT: u8 = 2;
/// The slot is one of an engine with a fast path, whose `word` may be [`WAITED`].
const BARGES: u8 = 4;
/// Any of those for which it is never freed.
const STAYS: u8 = KEPT | RESIDENT;
/// There is a state, or there was one that has written the record of the present holder.
const STATED: u8 = 8;

/// Marks an `owner` that is none, but the `word` as the last holder has left it: no [`SmallOwner`]
/// has all of these bits.
const LEFT: u64 = 0b111 << 61;

/// A key of the engine. The key's text follows it in memory.
///
/// A free or plainly held key is nothing but its `word`. Everything else (waiters, shared holds,
/// permits, nests, bounds, lost guards) lives in the [`State`].
///
/// | `SLOW` | `WAITED` | state | takes a free key | releases a plain hold |
/// |---|---|---|---|---|
/// | – | – | none | an exchange | an exchange |
/// | – | set | waiters, who let others barge, or a grant to be taken | an exchange | the state |
/// | set | | anything | the state | the state |
///
/// * I1 (freeing): a slot is freed only under its shard's mutex, when `pins` is 0 and `word` has
///   neither `HELD` nor `SLOW`. Who waits has a pin. `pins` is raised from 0 only under that mutex,
///   even by a holder.
/// * I2 (looking): whoever dereferences a slot has found it under the shard's mutex and still has
///   that, or has a pin, or has a hold that is not released: that keeps `HELD` or `SLOW` set.
/// * I3 (mutex): `SLOW` and `WAITED` are set and cleared only with the mutex; while `SLOW` is set,
///   `word` changes only with the mutex, but for `FIXED`; while `WAITED` is, `HELD` is cleared only
///   with it. `state` is `Some` exactly while one of them is set; without `SLOW` it knows of no
///   hold but whom it was [handed](State::pass_on) to.
/// * I4 (record): while `HELD` and not `SLOW`, the record is its holder's, except that `stamp` is
///   0, or `UNDATED`, until the holder has written all of it. A holder sets `stamp` to 0 before it
///   lets go. So a record is that of the present holder if `stamp` is one, read once `SLOW` is set,
///   or with the mutex while `WAITED` is and the key is held: it cannot become another's then. Of a
///   free key that is `WAITED` for, it tells when its first waiter was woken, which is no stamp.
/// * I5 (late writes): a hold that was ended from outside keeps `SLOW` set until its guard is gone,
///   so that whatever its holder still writes into the record is over before it counts again. A
///   hold whose record a state may write has found `STATED` set, and is not released without the
///   mutex.
/// * I6 (key): a slot of the table has one key for all its life. That of an inline slot is part of
///   the record: whoever takes it writes the key before any stamp, `UNDATED` at once. It is read by
///   the holder, or with `SLOW` or a pin, or under the shard's mutex with `FIXED` set and the stamp
///   seen.
pub(crate) struct Slot {
    word: AtomicU64,
    stamp: AtomicU64,
    owner: AtomicU64,
    site: AtomicPtr<u8>,
    state: Mutex<Option<Box<State>>>,
    pins: AtomicU32,
    key_len: AtomicU16,
    shard: u8,
    /// `KEPT`, `RESIDENT`, `BARGES`, `STATED`.
    flags: AtomicU8,
    /// Of the key's text (I6).
    text: Witness,
}

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(any(loom, shuttle))))]
const _: () = assert!(size_of::<Slot>() == 56);

pub(in crate::engine) type StateGuard<'a> = MutexGuard<'a, Option<Box<State>>>;

/// A pointer to a slot; who may follow it is I2's matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SlotRef(NonNull<Slot>);

// SAFETY: a slot is shared by design; all of its fields are `Sync`.
unsafe impl Send for SlotRef {}
// SAFETY: as above.
unsafe impl Sync for SlotRef {}

impl SlotRef {
    /// A new slot for `key`, free, whose grants have tokens above `floor`.
    pub(in crate::engine) fn allocate(key: &str, shard: u8, floor: Token, barges: bool) -> Self {
        let layout = layout(key.len());
        let slot = Slot::new(shard, floor, if barges { BARGES } else { 0 });
        let key_len = u16::try_from(key.len()).expect("keys have at most 1,024 bytes");
        slot.key_len.store(key_len, Ordering::Relaxed);
        // SAFETY: the layout has a size; the memory is large enough for the slot and, behind it,
        // the key, and nobody else has it.
        unsafe {
            let Some(memory) = NonNull::new(alloc(layout)) else { handle_alloc_error(layout) };
            let this = memory.cast::<Slot>();
            this.write(slot);
            let text = memory.add(size_of::<Slot>());
            text.copy_from_nonoverlapping(NonNull::from(key).cast::<u8>(), key.len());
            // For `Slot::key`.
            text.as_ptr().expose_provenance();
            Self(this)
        }
    }

    pub(in crate::engine) fn of_inline(slot: &Slot) -> Self {
        Self(NonNull::from(slot))
    }

    /// One that [`as_ptr`](Self::as_ptr) was called for.
    #[inline]
    pub(in crate::engine) const fn from_ptr(slot: NonNull<Slot>) -> Self {
        Self(slot)
    }

    pub(in crate::engine) const fn as_ptr(self) -> *mut Slot {
        self.0.as_ptr()
    }

    /// Frees the slot.
    ///
    /// # Safety
    /// I1 holds, and the slot is in no table any more.
    pub(in crate::engine) unsafe fn free(self) {
        // SAFETY: nobody else can reach it (I1, I2); it came from `allocate`.
        unsafe {
            let layout = layout(self.get().key_len().into());
            self.0.drop_in_place();
            dealloc(self.0.as_ptr().cast(), layout);
        }
    }

    /// # Safety
    /// I2, for as long as the reference is used.
    #[inline]
    pub(crate) unsafe fn get<'a>(self) -> &'a Slot {
        // SAFETY: by I2 it is alive.
        unsafe { self.0.as_ref() }
    }
}

fn layout(key_len: usize) -> Layout {
    let size = size_of::<Slot>() + key_len;
    Layout::from_size_align(size, align_of::<Slot>()).expect("keys have at most 1,024 bytes")
}

impl Slot {
    fn new(shard: u8, floor: Token, flags: u8) -> Self {
        Self {
            word: AtomicU64::new(floor.get() << TOKEN_SHIFT),
            stamp: AtomicU64::new(0),
            owner: AtomicU64::new(0),
            site: AtomicPtr::new(std::ptr::null_mut()),
            state: Mutex::new(None),
            pins: AtomicU32::new(0),
            key_len: AtomicU16::new(0),
            shard,
            flags: AtomicU8::new(flags),
            text: Witness::new(),
        }
    }

    /// That of an [`InlineSlot`](super::inline_slot::InlineSlot).
    pub(in crate::engine) fn inline(shard: u8, barges: bool) -> Self {
        Self::new(shard, Token::new(0), if barges { RESIDENT | BARGES } else { RESIDENT })
    }

    fn key_len(&self) -> u16 {
        self.key_len.load(Ordering::Relaxed)
    }

    /// I6.
    #[inline]
    pub(crate) fn key(&self) -> &str {
        self.text.looked_at();
        let text = std::ptr::from_ref(self).addr() + size_of::<Self>();
        // SAFETY: there are `key_len` bytes of a `str` right behind the slot, in the same
        // allocation, whose provenance has been exposed; nobody changes them while they may be
        // looked at (I6). Not by way of `self`, which reaches to the end of the slot only; a
        // pointer of its own would make every key eight bytes larger.
        unsafe {
            let text = std::ptr::with_exposed_provenance::<u8>(text);
            let bytes = std::slice::from_raw_parts(text, self.key_len().into());
            std::str::from_utf8_unchecked(bytes)
        }
    }

    pub(in crate::engine) fn shard(&self) -> usize {
        self.shard.into()
    }

    /// Takes the key if it is free and nothing is going on around it; by whoever may look at the
    /// key.
    #[inline]
    pub(in crate::engine) fn try_take(&self) -> Option<Token> {
        if let Some(token) = self.try_take_as_left() {
            return Some(token);
        }
        let word = self.word.load(Ordering::Relaxed);
        if word & (HELD | SLOW | WAITED) != 0 { None } else { self.take(word) }
    }

    /// Takes the key if the slot is as its last holder left it. Does not read the word first: the
    /// exchange would have to wait for that read.
    #[inline]
    fn try_take_as_left(&self) -> Option<Token> {
        let left = self.owner.load(Ordering::Relaxed);
        if left & LEFT == LEFT { self.take(left & !LEFT) } else { None }
    }

    /// Takes the key if it is free, also before somebody who waits for it, unless that one was
    /// woken so long ago that it is to be handed the key (C3).
    pub(in crate::engine) fn try_barge(&self, now: impl FnOnce() -> Moment) -> Option<Token> {
        let word = self.word.load(Ordering::Acquire);
        if word & (HELD | SLOW) != 0 {
            return None;
        }
        // If it is not of this moment, the exchange fails.
        let woken = Stamp::woken(self.stamp.load(Ordering::Relaxed));
        if word & WAITED != 0 && woken.is_none_or(|at| now().since(at) >= BARGE_WINDOW) {
            return None;
        }
        self.take(word)
    }

    #[inline]
    fn take(&self, word: u64) -> Option<Token> {
        let taken = (word + (1 << TOKEN_SHIFT)) | HELD;
        self.word.compare_exchange(word, taken, Ordering::Acquire, Ordering::Relaxed).is_ok().then(
            || {
                self.has_no_stamp();
                Token::new((taken & !WAITED) >> TOKEN_SHIFT)
            },
        )
    }

    /// Asserts I4 right after the key was taken: no stamp of an earlier holder is left.
    #[inline]
    fn has_no_stamp(&self) {
        #[cfg(any(loom, shuttle))]
        assert!(Stamp::from_raw(self.stamp.load(Ordering::Relaxed)).is_none(), "I4");
    }

    /// Writes the record; by the holder, right after [`try_take`](Self::try_take).
    #[inline]
    pub(in crate::engine) fn write_record(&self, holder: FastHolder, since: Stamp) {
        self.owner.store(holder.owner.to_raw(), Ordering::Relaxed);
        self.site.store(holder.site.to_raw(), Ordering::Relaxed);
        // I4: last.
        self.stamp.store(since.to_raw(), Ordering::Release);
    }

    /// Lets the key go if that is all there is to do: the hold is this one, and plain.
    pub(in crate::engine) fn try_let_go(&self, token: Token) -> bool {
        // Acquire: what a state has written into the record is there before the flag is off.
        self.flags.load(Ordering::Acquire) & STATED == 0
            // An inline slot may be looked at meanwhile.
            && (self.let_go(token, HELD) || self.let_go(token, HELD | FIXED))
    }

    /// Lets the key go as [`try_let_go`](Self::try_let_go) does, but only of a slot that is never
    /// freed and has no state, so that no other thread looks at it.
    #[inline]
    pub(in crate::engine) fn try_let_go_in_place(&self, token: Token) -> bool {
        // Acquire: as above.
        let flags = self.flags.load(Ordering::Acquire) & (STATED | STAYS);
        (1..=STAYS).contains(&flags) && self.let_go(token, HELD)
    }

    /// Lets the key go if its word is this token and these bits.
    #[inline]
    fn let_go(&self, token: Token, bits: u64) -> bool {
        let unheld = token.get() << TOKEN_SHIFT;
        let (held, free) = (unheld | bits, unheld | bits & !HELD);
        // I4: before letting go. If that fails, the state has read the record already or takes
        // the hold for one granted just now, which ends in a moment.
        let (owner, stamp) =
            (self.owner.load(Ordering::Relaxed), self.stamp.load(Ordering::Relaxed));
        self.stamp.store(0, Ordering::Relaxed);
        // Without `FIXED`: nobody takes it as it was left while it is looked at.
        self.owner.store(unheld | LEFT, Ordering::Relaxed);
        if self.word.compare_exchange(held, free, Ordering::Release, Ordering::Relaxed).is_ok() {
            return true;
        }
        self.owner.store(owner, Ordering::Relaxed);
        self.stamp.store(stamp, Ordering::Release);
        false
    }

    /// Whether the hold with this token is the only one, exclusive and not ended. `None`: only
    /// the state can tell.
    #[inline]
    pub(in crate::engine) fn is_plainly_held(&self, token: Token) -> Option<bool> {
        let word = self.word.load(Ordering::Acquire);
        let held = (token.get() << TOKEN_SHIFT) | HELD;
        (word & SLOW == 0).then_some([held, held | WAITED].contains(&(word & !FIXED)))
    }

    /// The record of the hold with this token, by whoever has it, if it is plain. Without the
    /// mutex: while the hold is not released nobody else writes there (I4, I5).
    pub(in crate::engine) fn plain_record(&self, token: Token) -> Option<SlotRecord> {
        if self.is_plainly_held(token)? { self.read_record() } else { None }
    }

    /// Whether there is more to it than a plain holder; may be out of date at once.
    pub(in crate::engine) fn is_frozen(&self) -> bool {
        self.word.load(Ordering::Relaxed) & SLOW != 0
    }

    /// Whether somebody holds the key; may be out of date at once.
    pub(in crate::engine) fn is_held(&self) -> bool {
        self.word.load(Ordering::Relaxed) & HELD != 0
    }

    /// Whether the record names this owner; may be out of date, or be that of the holder before.
    pub(in crate::engine) fn is_recorded_of(&self, owner: SmallOwner) -> bool {
        self.owner.load(Ordering::Relaxed) == owner.to_raw()
    }

    /// Whether nobody holds the key, and nobody waits for it but with a pin.
    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.word.load(Ordering::Acquire) & (HELD | SLOW) == 0
    }

    /// Whether somebody holds the key, waits for it, or is about to.
    pub(in crate::engine) fn is_live(&self) -> bool {
        self.pins.load(Ordering::Acquire) > u32::from(self.is_kept()) || !self.is_idle()
    }

    /// I1, but for the shard's mutex, which the caller has.
    pub(in crate::engine) fn can_be_freed(&self) -> bool {
        // In this order: a hold can end meanwhile, but no pin can come from it.
        self.pins.load(Ordering::Acquire) == 0 && self.is_idle()
    }

    /// By whoever has the shard's mutex or a pin already.
    pub(in crate::engine) fn pin(&self) {
        self.pins.fetch_add(1, Ordering::Relaxed);
    }

    /// Pins the slot for ever; by whoever has a pin already.
    pub(in crate::engine) fn pin_forever(&self) {
        if self.flags.fetch_or(KEPT, Ordering::Relaxed) & KEPT == 0 {
            self.pin();
        }
    }

    /// Whether the slot is never freed.
    #[inline]
    pub(in crate::engine) fn stays(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & STAYS != 0
    }

    /// Whether a call site keeps the slot for ever.
    pub(in crate::engine) fn is_kept(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & KEPT != 0
    }

    pub(in crate::engine) fn is_resident(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & RESIDENT != 0
    }

    pub(in crate::engine) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) != 0
    }

    /// Whether that was the last pin. The slot may be gone right after.
    pub(in crate::engine) fn unpin(&self) -> bool {
        self.pins.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// The token of the latest grant; as a floor, under the shard's mutex, once I1 holds.
    pub(in crate::engine) fn last_token(&self) -> Token {
        self.token_in(self.word.load(Ordering::Relaxed))
    }

    fn token_in(&self, word: u64) -> Token {
        let barges = self.flags.load(Ordering::Relaxed) & BARGES != 0;
        Token::new((if barges { word & !WAITED } else { word }) >> TOKEN_SHIFT)
    }

    /// The state as it is, with the word frozen, if there is one: as there is where somebody waits.
    pub(in crate::engine) fn look(&self, now: Moment) -> StateGuard<'_> {
        let mut guard = self.state.lock();
        if let Some(state) = &mut *guard {
            self.catch_up(state, now);
        }
        guard
    }

    /// Freezes the word, and has the state know what was done without it.
    fn catch_up(&self, state: &mut State, now: Moment) {
        if self.is_frozen() {
            return state.complete(|| self.read_record());
        }
        // I5: before anybody is granted the key here.
        self.flags.fetch_or(STATED, Ordering::Relaxed);
        let word = self.word.fetch_or(SLOW, Ordering::AcqRel);
        state.raise_token(self.token_in(word));
        if word & HELD != 0 {
            state.adopt(self.read_record(), now);
        }
    }

    /// The present holder's record (I4); with `SLOW` set, or by that holder.
    fn read_record(&self) -> Option<SlotRecord> {
        let since = Stamp::from_raw(self.stamp.load(Ordering::Acquire))?;
        let site = self.site.load(Ordering::Relaxed);
        let owner = self.owner.load(Ordering::Relaxed);
        if owner & LEFT == LEFT {
            // The holder was about to let go in between.
            return None;
        }
        Some(SlotRecord {
            owner: SmallOwner::from_raw(owner),
            // SAFETY: only `write_record` writes it.
            site: unsafe { CallSite::from_raw(site) },
            since,
        })
    }
}
