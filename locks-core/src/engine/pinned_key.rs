use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::Engine;
use super::table::{Slot, SlotRef};
use crate::backend::{Hold, HoldRepr};
use crate::clock::SystemClock;
use crate::identity::SmallOwner;
use crate::observe::Since;
use crate::request::FastHolder;
use crate::{Backend, CallSite, Guard, LockError, Options, OwnedGuard, Scope, check_key};

/// A key of the [process's engine](Engine::process) that has been looked up once and for all: for a
/// call site whose key never changes ([A6](crate::contract#a6-cost)).
///
/// The key stays in the engine's table for as long as the process runs.
#[derive(Clone, Copy)]
pub struct PinnedKey {
    slot: SlotRef,
}

impl PinnedKey {
    /// Looks `key` up. Returns `None` if requests by name are using it at the moment: use it by name and
    /// try again later.
    ///
    /// # Errors
    /// [`InvalidKey`](crate::ErrorKind::InvalidKey).
    pub fn new(key: &str) -> Result<Option<Self>, LockError> {
        check_key(key)?;
        Ok(Engine::process().core.registry.pin_forever(key).map(|slot| Self { slot }))
    }

    /// Acquires the key exclusively for the current identity, if it is free and has no waiters. Returns
    /// `None` otherwise: then use the [builder](crate::LockBuilder).
    #[inline]
    pub fn try_acquire(&self, site: CallSite) -> Option<Guard> {
        Some(Guard::new(self.take(SmallOwner::current, site)?))
    }

    /// Acquires the key as [`try_acquire`](Self::try_acquire) does, for an annotated async function that
    /// opens `scope`, or anonymously.
    #[inline]
    pub fn try_acquire_in(&self, scope: Option<&Scope>, site: CallSite) -> Option<OwnedGuard> {
        self.take(|| scope.map_or(SmallOwner::NOBODY, Scope::small), site)
    }

    /// Takes the key if it is free, before those who wait for it too, if no more than a plain lock is asked for.
    #[inline(never)]
    pub(crate) fn barge(
        &self,
        options: &Options,
        owner: impl FnOnce() -> SmallOwner,
        site: CallSite,
    ) -> Option<Hold> {
        if !options.is_plain() {
            return None;
        }
        if options.steal_after.is_some() {
            SystemClock::expect_thieves();
        }
        let holder = FastHolder { owner: owner(), site };
        Engine::process().core.try_acquire_pinned(*self, options.fair == Some(true), holder)
    }

    /// Returns the key.
    pub fn key(&self) -> &'static str {
        // SAFETY: the slot is pinned for ever, and the process's engine is never dropped.
        unsafe { self.slot.get() }.key()
    }

    pub(super) const fn slot_ref(self) -> SlotRef {
        self.slot
    }

    #[inline]
    fn take(&self, owner: impl FnOnce() -> SmallOwner, site: CallSite) -> Option<OwnedGuard> {
        let asked = Since::at(site);
        // SAFETY: the slot is pinned for ever, and the process's engine is never dropped.
        let slot = unsafe { self.slot.get() };
        let token = slot.try_take()?;
        let since = SystemClock::stamp();
        // The owner last, which so has not to be kept across the call of the clock.
        slot.write_record(FastHolder { owner: owner(), site }, since);
        Some(OwnedGuard::new(Hold::plain(self.slot, token), Backend::process(), &asked))
    }
}

/// Where a call site keeps its [`PinnedKey`], once it has one.
///
/// Unlike a `OnceLock`, no thread waits for another here. Threads that set it at the same time set the same slot:
/// it is the key's for ever.
#[derive(Default)]
pub struct PinnedCell(AtomicPtr<Slot>);

impl PinnedCell {
    /// Creates a cell without a key.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Returns the key, if there is one.
    #[inline]
    pub fn get(&self) -> Option<PinnedKey> {
        // Acquire: the slot was made by the thread that set it.
        let slot = NonNull::new(self.0.load(Ordering::Acquire))?;
        Some(PinnedKey { slot: SlotRef::from_ptr(slot) })
    }

    /// Keeps the key.
    pub fn set(&self, key: PinnedKey) {
        self.0.store(key.slot.as_ptr(), Ordering::Release);
    }
}

impl fmt::Debug for PinnedCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PinnedCell").field(&self.get()).finish()
    }
}

impl Hold {
    /// Releases a plain hold whose slot stays behind. `false`: it is not that simple.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn release_in_place(&self) -> bool {
        let HoldRepr::Slot(hold) = &self.0 else { return false };
        hold.slot().try_let_go_in_place(hold.token)
    }

    /// Whether it is a plain hold whose slot stays behind. Its engine has the fast path, and so no upstream that
    /// would have to be waited for.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_plain(&self) -> bool {
        let HoldRepr::Slot(hold) = &self.0 else { return false };
        let slot = hold.slot();
        slot.stays() && slot.is_plainly_held(hold.token) == Some(true)
    }
}

impl fmt::Debug for PinnedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedKey({:?})", self.key())
    }
}
