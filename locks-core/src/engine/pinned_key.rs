//! How the call site of a key that never changes acquires it (A6).

use super::Engine;
use super::table::PinnedKey;
use crate::clock::SystemClock;
use crate::identity::SmallOwner;
use crate::observe::Since;
use crate::request::FastHolder;
use crate::{Backend, CallSite, Guard, Hold, LockError, Options, OwnedGuard, Scope, check_key};

impl PinnedKey {
    /// Looks `key` up. Returns `None` if requests by name are using it at the moment: use it by
    /// name and try again later.
    ///
    /// # Errors
    /// [`InvalidKey`](crate::ErrorKind::InvalidKey).
    pub fn new(key: &str) -> Result<Option<Self>, LockError> {
        check_key(key)?;
        let slot = Engine::process().core.registry.pin_forever(key);
        // SAFETY: it has just been pinned, in the process's engine.
        Ok(slot.map(|slot| unsafe { Self::new_unchecked(slot) }))
    }

    /// Acquires the key exclusively for the current identity, if it is free and has no waiters.
    /// Returns `None` otherwise: then use the [builder](crate::LockBuilder).
    #[inline]
    pub fn try_acquire(&self, site: CallSite) -> Option<Guard> {
        Some(Guard::new(self.take(SmallOwner::current, site)?))
    }

    /// Acquires the key as [`try_acquire`](Self::try_acquire) does, for an annotated async function
    /// that opens `scope`, or anonymously.
    #[inline]
    pub fn try_acquire_in(&self, scope: Option<&Scope>, site: CallSite) -> Option<OwnedGuard> {
        self.take(|| scope.map_or(SmallOwner::NOBODY, Scope::small), site)
    }

    /// Takes the key if it is free, before those who wait for it too, if no more than a plain lock
    /// is asked for.
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

    #[inline]
    fn take(&self, owner: impl FnOnce() -> SmallOwner, site: CallSite) -> Option<OwnedGuard> {
        let asked = Since::at(site);
        // SAFETY: the slot is pinned for ever, and the process's engine is never dropped.
        let slot = unsafe { self.slot_ref().get() };
        let token = slot.try_take()?;
        let since = SystemClock::stamp();
        // The owner last, which so has not to be kept across the call of the clock.
        slot.write_record(FastHolder { owner: owner(), site }, since);
        Some(OwnedGuard::new(Hold::plain(self.slot_ref(), token), Backend::process(), &asked))
    }
}
