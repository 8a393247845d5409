use std::fmt;
use std::task::{Context, Poll, Waker};

use crate::engine::{Slot, SlotRef};
use crate::{About, LockInfo, LostCause, Op, Query, Request, Token};

/// Whoever arbitrates: grants named locks and takes them back.
///
/// Users never call this; they use guards. It is for those who bring a backend of their own.
/// A store with leases (a database table, a key-value service) implements the smaller
/// `LeaseStore` instead and gets all of this from `Leased` (feature `leases`). The conformance kit (crate `locks-conformance`) tests an
/// implementation clause by clause.
///
/// # Contract
/// What the implementor promises; the numbers are those of the design's clauses.
/// 1. **Exclusion (C1).** Until a hold is released, lost or evicted, no conflicting one is
///    granted. Keys are compared byte for byte.
/// 2. **Waiting (C2).** [`acquire`](Self::acquire) fails with `Contended` at once for
///    [`Wait::No`](crate::Wait::No), with `Timeout` at the deadline for `AtMost`, and otherwise
///    waits. One deadline covers all keys and begins at the call.
/// 3. **Withdrawal (C5).** Dropping the returned operation while it is pending leaves nothing
///    behind: no hold, no place in a queue; whoever is next is woken. Once it has answered, the
///    hold is the caller's to release.
/// 4. **Several keys (C11)** are granted all or none, with one token.
/// 5. **Tokens (C7)** of a key only grow.
/// 6. **Release (C4)** concerns the hold given and no other, lost or not: a late release never
///    touches a successor. It has begun when [`release`](Self::release) returns, whether or not
///    the operation is polled.
/// 7. **Refusals (C15).** What [`about`](Self::about) says it cannot do is refused with
///    [`Unsupported`](crate::ErrorKind::Unsupported), never ignored.
/// 8. **No runtime.** Operations wake their waker and assume no executor.
///
/// What callers promise: every [`Hold`] is given to [`release`](Self::release) of the same
/// backend in the end, lost or not.
pub trait LockBackend: Send + Sync + 'static {
    /// What it is called and what it can do.
    fn about(&self) -> &About;

    /// Grants the request's keys, all or none.
    ///
    /// # Errors
    /// `Contended`, `Timeout`, `Deadlock`, `InvalidKey`, `Unsupported`, `PermitsMismatch`, and
    /// whatever keeps the arbiter from answering.
    ///
    /// # Cancel safety
    /// Dropping the operation withdraws the request (C5).
    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted>;

    /// Ends the hold; the operation says how it went.
    ///
    /// # Errors
    /// `Lost` if the hold was lost before; then nothing is touched.
    ///
    /// # Cancel safety
    /// Dropping the operation means not to hear of it; the hold ends all the same.
    fn release(&self, hold: Hold) -> Op<'static, ()>;

    /// Whether the hold is lost, by what is known here and now; with a context, the task is
    /// woken when it becomes so (C8).
    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause>;

    /// Forgets `waker`, which a [`poll_lost`](Self::poll_lost) of the hold has left: nobody waits for
    /// its loss with that any more (C8).
    fn unwatch(&self, hold: &Hold, waker: &Waker);

    /// Renews the hold's age, so that `steal_after` counts from now (C6).
    ///
    /// # Errors
    /// `Lost`, and whatever keeps the arbiter from answering.
    fn refresh(&self, hold: &Hold) -> Op<'static, ()>;

    /// The hold belongs to nobody in particular any more: its guard may leave the thread that it
    /// was granted to (C9, C10). For backends that keep no account of owners there is nothing to
    /// do; one that wraps another passes it on.
    fn disown(&self, hold: &Hold);

    /// Returns the keys of a hold that was not released, for errors; none once they are not known any
    /// more. Those of an engine's hold are in the [hold](Hold::keys).
    fn keys(&self, hold: &Hold) -> Vec<String>;

    /// Who holds and waits, as far as the backend can tell (C12).
    ///
    /// # Errors
    /// `Unsupported`, and whatever keeps the arbiter from answering.
    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>>;

    /// Ends the hold of `key` with this token, whoever has it; with the token of a reservation,
    /// ends that. Says whether there was one.
    ///
    /// # Errors
    /// `Unsupported`, and whatever keeps the arbiter from answering.
    fn evict(&self, key: &str, token: Token) -> Op<'static, bool>;
}

/// A grant: what an acquisition ends in.
#[derive(Debug)]
#[must_use = "a grant that is not released is held for ever"]
pub struct Granted {
    /// The hold, to be given back to [`release`](LockBackend::release).
    pub hold: Hold,
}

impl Granted {
    /// A grant of `hold`.
    pub const fn new(hold: Hold) -> Self {
        Self { hold }
    }
}

/// One hold of one request's keys, as the backend that granted it knows it.
///
/// There is exactly one of it for each grant: it can be neither copied nor cloned, and
/// [releasing](LockBackend::release) it uses it up.
#[must_use = "a hold that is not released is held for ever"]
pub struct Hold(pub(crate) HoldRepr);

pub(crate) enum HoldRepr {
    /// One key of the engine.
    Slot(SlotHold),
    /// Several keys of the engine, in ascending order.
    Set(Box<[SlotHold]>),
    /// Whatever another backend calls it.
    Id { id: u64, token: Token },
}

/// A hold of one slot of the engine.
///
/// I1: the slot lives while this does; the engine frees no slot that has a hold which has not
/// been released.
pub(crate) struct SlotHold {
    pub(crate) slot: SlotRef,
    pub(crate) token: Token,
    /// Which guard of a nest it is; see `engine::state`.
    pub(crate) level: u32,
    pub(crate) nested: Nested,
}

/// Whether a hold is nested in another guard's. A whole word, so that a guard is moved in words.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Nested {
    No,
    Yes,
}

const _: () = assert!(size_of::<Hold>() == 24 && size_of::<Option<Hold>>() == 24);

impl Hold {
    /// A hold that the backend calls `id`, granted with `token`.
    ///
    /// Two holds that live at the same time need different ids.
    pub const fn new(id: u64, token: Token) -> Self {
        Self(HoldRepr::Id { id, token })
    }

    /// What the backend calls it; `None` for a hold of the engine.
    pub const fn id(&self) -> Option<u64> {
        match self.0 {
            HoldRepr::Id { id, .. } => Some(id),
            HoldRepr::Slot(_) | HoldRepr::Set(_) => None,
        }
    }

    /// The fencing token of the grant.
    pub fn token(&self) -> Token {
        match &self.0 {
            HoldRepr::Id { token, .. } => *token,
            HoldRepr::Slot(hold) => hold.token,
            HoldRepr::Set(holds) => holds.first().map_or(Token::new(0), |hold| hold.token),
        }
    }

    /// The keys that are held, in ascending order, for holds of the engine, which know them; none for
    /// others.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.slots().iter().map(|hold| hold.slot().key())
    }

    /// One key, held exclusively, by a single guard.
    #[inline]
    pub(crate) const fn plain(slot: SlotRef, token: Token) -> Self {
        Self::slot(SlotHold { slot, token, level: 0, nested: Nested::No })
    }

    #[inline]
    pub(crate) const fn slot(hold: SlotHold) -> Self {
        Self(HoldRepr::Slot(hold))
    }

    /// The holds of the single keys, for holds of the engine.
    pub(crate) fn slots(&self) -> &[SlotHold] {
        match &self.0 {
            HoldRepr::Slot(hold) => std::slice::from_ref(hold),
            HoldRepr::Set(holds) => holds,
            HoldRepr::Id { .. } => &[],
        }
    }
}

impl SlotHold {
    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: I1.
        unsafe { self.slot.get() }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Hold");
        if let Some(id) = self.id() {
            shown.field("id", &id);
        }
        shown.field("keys", &self.keys().collect::<Vec<_>>()).field("token", &self.token());
        shown.finish()
    }
}
