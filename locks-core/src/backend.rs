use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::engine::{Nesting, SlotHold, SlotRef};
use crate::{BackendInfo, HolderInfo, LockInfo, LostCause, Op, Query, Request, Token};

/// A lock backend: grants named locks and takes them back.
///
/// Implement it for a backend of your own; programs use guards instead. A store with leases (a
/// database table, a key-value service) implements the smaller `LeaseStore` and gets all of this
/// from `Leased` (feature `leases`). The conformance kit (crate `locks-conformance`) tests an
/// implementation clause by clause.
///
/// # Contract
/// An implementation keeps these clauses of the [contract](crate::contract):
/// 1. **Exclusion ([C1](crate::contract#c1-exclusion)).** Until a hold is released, lost or
///    evicted, no conflicting one is granted. Keys are compared byte for byte.
/// 2. **Waiting ([C2](crate::contract#c2-waiting)).** [`acquire`](Self::acquire) fails with
///    `Contended` at once for [`Wait::Try`](crate::Wait::Try), with `Timeout` at the deadline for
///    `AtMost`, and otherwise waits. One deadline covers all keys and begins at the call.
/// 3. **Cancellation ([C5](crate::contract#c5-cancellation)).** Dropping the pending operation
///    leaves no hold and no place in a queue, and wakes the next waiter. Once it has completed, the
///    caller owns the hold.
/// 4. **Several keys ([C11](crate::contract#c11-several-keys))** are granted all or none, with one
///    token.
/// 5. **Tokens ([C7](crate::contract#c7-fencing-tokens))** of a key only grow.
/// 6. **Release ([C4](crate::contract#c4-release))** ends the given hold and no other, lost or not:
///    a late release never touches a successor. It has begun when [`release`](Self::release)
///    returns, whether or not the operation is polled.
/// 7. **Refusals ([C15](crate::contract#c15-capabilities)).** What the [capabilities](Self::about)
///    do not declare is refused with [`Unsupported`](crate::ErrorKind::Unsupported), never ignored.
/// 8. **No runtime.** Operations wake their waker and assume no executor.
///
/// A caller gives every [`Hold`] to [`release`](Self::release) of the same backend in the end, lost
/// or not.
pub trait LockBackend: Send + Sync + 'static {
    /// Returns the name and the capabilities of the backend.
    fn about(&self) -> &BackendInfo;

    /// Grants the request's keys, all or none.
    ///
    /// # Errors
    /// `Contended`, `Timeout`, `Deadlock`, `InvalidKey`, `Unsupported`, `PermitsMismatch`, and
    /// `Unavailable` or another kind if the backend cannot answer.
    ///
    /// # Cancel safety
    /// Dropping the operation withdraws the request ([C5](crate::contract#c5-cancellation)).
    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted>;

    /// Ends the hold. The operation completes when the backend has confirmed that.
    ///
    /// # Errors
    /// `Lost` if the hold was lost before; then nothing is touched.
    ///
    /// # Cancel safety
    /// Dropping the operation discards its outcome; the hold ends all the same.
    fn release(&self, hold: Hold) -> Op<'static, ()>;

    /// Returns the cause if the hold is known to be lost; otherwise, given a context, arranges for
    /// its task to be woken on the loss ([C8](crate::contract#c8-loss)). Never blocks.
    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause>;

    /// Removes a waker that [`poll_lost`](Self::poll_lost) registered for the hold.
    fn unwatch(&self, hold: &Hold, waker: &Waker);

    /// Returns the lease of a hold, and the time from now for which the hold is certain to last,
    /// but for `hold_at_most`, even if the backend cannot be reached
    /// ([C8](crate::contract#c8-loss)). Each renewal extends the time. `None` where no end is
    /// known, as where the process itself keeps its locks, and for a hold that is lost.
    ///
    /// For programs that have to finish or undo their work before another holder can be granted the
    /// lock.
    fn validity(&self, hold: &Hold) -> Option<(Duration, Duration)> {
        let _ = hold;
        None
    }

    /// Resets the age of the hold to zero, so that `steal_after` counts from now
    /// ([C6](crate::contract#c6-stealing)).
    ///
    /// # Errors
    /// `Lost` if the hold is lost, `Unavailable` if the backend does not answer.
    fn refresh(&self, hold: &Hold) -> Op<'static, ()>;

    /// Detaches the hold from its owner, because its guard may leave the thread that it was granted
    /// to ([C9](crate::contract#c9-re-entry)). A backend that does not track owners does nothing;
    /// one that wraps another forwards the call.
    fn detach_owner(&self, hold: &Hold);

    /// Marks the work under the hold as done: a reservation that depends on it
    /// ([`Reserve::IfDone`](crate::Reserve::IfDone)) stays once the hold is released
    /// ([C14](crate::contract#c14-bounds-of-a-hold)). Of nested guards, only the mark of the one
    /// that is the outermost when it is released counts. Has no effect on other holds, nor on a
    /// lost one.
    fn mark_done(&self, hold: &Hold);

    /// Returns the holds from which this one was [stolen](crate::LockBuilder::steal_after), as they
    /// were then ([C6](crate::contract#c6-stealing)); empty if it was granted otherwise, or if the
    /// backend no longer knows them.
    fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo>;

    /// Downgrades an exclusive hold to a shared one without releasing the key in between: shared
    /// waiters are granted, exclusive ones keep waiting. Token, age and bounds are unchanged. Has
    /// no effect on a shared hold.
    ///
    /// # Errors
    /// `Lost`; `Unsupported` for permits, and where holds cannot [change their
    /// mode](crate::Capabilities::upgrade); `Unavailable` or another kind if the backend cannot
    /// answer.
    fn share(&self, hold: &Hold) -> Op<'static, ()>;

    /// Returns the keys of a hold that was not released, in ascending order; empty if they are no
    /// longer known. The keys of an engine's hold are in the [hold](Hold::keys) itself.
    fn keys(&self, hold: &Hold) -> Vec<String>;

    /// Returns the holders and waiters of the keys of `query`, as far as the backend knows them
    /// ([C12](crate::contract#c12-holder-information)).
    ///
    /// # Errors
    /// `Unsupported` if the backend cannot list, `Unavailable` if it does not answer.
    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>>;

    /// Revokes the hold of `key` with this token, or the reservation that it left. Returns `true`
    /// if there was one.
    ///
    /// # Errors
    /// `Unsupported` if the backend cannot evict, `Unauthorized` if this client may not,
    /// `Unavailable` if the backend does not answer.
    fn evict(&self, key: &str, token: Token) -> Op<'static, bool>;

    /// Returns a description of the server behind the backend, for people: its kind and version,
    /// and how it was found. `None` before the first answer, and where there is no server.
    fn served_by(&self) -> Option<String> {
        None
    }
}

/// The result of a successful acquisition.
#[derive(Debug)]
#[must_use = "a grant that is not released is held for ever"]
pub struct Granted {
    /// The hold, to be given back to [`release`](LockBackend::release).
    pub hold: Hold,
}

impl Granted {
    /// Creates the grant of `hold`.
    pub const fn new(hold: Hold) -> Self {
        Self { hold }
    }
}

/// A hold: one grant of the keys of one request.
///
/// There is exactly one for each grant: it can be neither copied nor cloned, and
/// [`release`](LockBackend::release) consumes it.
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

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Hold>() == 24 && size_of::<Option<Hold>>() == 24);

impl Hold {
    /// Creates a hold with an id of the backend's choice.
    ///
    /// Two holds that exist at the same time need different ids.
    pub const fn new(id: u64, token: Token) -> Self {
        Self(HoldRepr::Id { id, token })
    }

    /// Returns the id that the backend gave the hold; `None` for a hold of the engine.
    pub const fn id(&self) -> Option<u64> {
        match self.0 {
            HoldRepr::Id { id, .. } => Some(id),
            HoldRepr::Slot(_) | HoldRepr::Set(_) => None,
        }
    }

    /// Returns the fencing token of the grant.
    pub fn token(&self) -> Token {
        match &self.0 {
            HoldRepr::Id { token, .. } => *token,
            HoldRepr::Slot(hold) => hold.token,
            HoldRepr::Set(holds) => holds.first().map_or(Token::new(0), |hold| hold.token),
        }
    }

    /// Returns the keys of a hold of the engine, in ascending order; empty for other holds.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.slots().iter().map(|hold| hold.slot().key())
    }

    /// One key, held exclusively, by a single guard.
    #[inline]
    pub(crate) const fn plain(slot: SlotRef, token: Token) -> Self {
        Self::slot(SlotHold { slot, token, level: 0, nesting: Nesting::Outermost })
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
