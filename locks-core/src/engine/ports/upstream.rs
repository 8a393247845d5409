use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::{Caller, HolderInfo, LockError, LockInfo, LostCause, Op, Options, Query, Token};

/// An arbiter behind an engine that confirms its grants: an operating system's lock, a store with
/// leases. For such a store implement `LeaseStore` instead (feature `leases`): `Leased` makes an
/// upstream of it.
///
/// With an upstream the engine orders the waiters of this process and nothing more: a provisional
/// hold becomes a grant only when [`claim`](Self::claim) says so, and until then the lock is not
/// held.
///
/// # Contract
/// 1. Of grants that were made and have not ended, no two conflict, in this process or
///    elsewhere. The engine itself lets conflicting claims come at the same time only where one
///    of them may steal.
/// 2. [`claim`](Self::claim) waits as its options say, and [`Contended`](crate::ErrorKind),
///    `Timeout` name the holders in the way. Dropping it withdraws it; a grant that races is given
///    back by the upstream itself.
/// 3. Tokens of a key only grow, and are below 2^61.
/// 4. [`end`](Self::end) is idempotent and has begun when it returns. It is called with the key's
///    mutex held: it does not call the engine.
/// 5. When it takes a grant away it tells the engine by [`Engine::lose`](crate::Engine::lose), so
///    that local waiters are granted the key.
/// 6. A grant that is [part](Claim::part_of_set) of a request for several keys neither ages nor has
///    bounds until it is [complete](Self::complete): it is not stolen for its age, and leaves no
///    reservation behind. An upstream that cannot promise that says so in its
///    [capabilities](crate::Capabilities::several_keys).
pub trait Upstream: Send + Sync + 'static {
    /// Asks for a provisional hold to become a grant.
    ///
    /// # Errors
    /// Those of [`LockBackend::acquire`](crate::LockBackend::acquire).
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Op<'a, UpstreamGrant>;

    /// Returns `true` if several keys are [claimed in one step](Self::claim_set), `false` if they
    /// are claimed one by one and then [completed](Self::complete). The answer never changes.
    fn claims_sets(&self) -> bool;

    /// Asks for the provisional holds of several keys to become one grant: all of them or none,
    /// with one token and one age, from the answer on ([C11](crate::contract#c11-several-keys)).
    /// The grant has one [`UpstreamGrant`] for all of its keys; [`end`](Self::end) and the others
    /// name it with each of the keys, which may end apart.
    ///
    /// Asked only where [`claims_sets`](Self::claims_sets) says so.
    ///
    /// # Errors
    /// As [`claim`](Self::claim), about the key that is in the way.
    fn claim_set<'a>(&'a self, claim: ClaimSet<'a>) -> Op<'a, UpstreamGrant>;

    /// Completes a grant that is [part](Claim::part_of_set) of a set, once all its keys are
    /// granted: its token becomes the set's, the greatest, and age and bounds count from now
    /// ([C11](crate::contract#c11-several-keys)).
    ///
    /// All later tokens of the key are above that one. The grant keeps its `id` and is called by
    /// the new token from the answer on; while there is none it can be ended by the name it had. A
    /// request that has to take one of its keys again completes the others once more, with a token
    /// that is no smaller; one with `hold_at_least` does so too, with that bound, when all of them
    /// stand: a set that comes to nothing reserves nothing.
    ///
    /// # Errors
    /// `Lost` if it is not there any more; also, for one that has [bounds](Completion::bounds) from
    /// now on, if the key has meanwhile granted a sharer a token that is not below the new one. The
    /// key and those behind it are then given back and taken again. Whatever else keeps the
    /// upstream from it fails the whole request.
    ///
    /// # Cancel safety
    /// Where the operation is dropped, [`end`](Self::end) follows.
    fn complete(&self, key: &str, grant: UpstreamGrant, completion: Completion) -> Op<'static, ()>;

    /// Ends a grant that was released, stolen by a local thief, evicted or given up. It does not
    /// wait for a thread that calls the engine: requests for the key wait until it returns.
    ///
    /// # Errors
    /// `Lost` if it had been taken away before, and whatever keeps the upstream from confirming.
    fn end(&self, key: &str, grant: UpstreamGrant, how: UpstreamEnd) -> Op<'static, ()>;

    /// Returns the cause if the upstream has revoked the grant; otherwise, given a context,
    /// arranges for its task to be woken when it does.
    fn poll_lost(
        &self,
        key: &str,
        grant: UpstreamGrant,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<LostCause>;

    /// Removes a waker that [`poll_lost`](Self::poll_lost) registered for the grant.
    fn unwatch(&self, key: &str, grant: UpstreamGrant, waker: &Waker);

    /// Returns the lease of the grant, and the time from now for which it is certain to last; see
    /// [`LockBackend::validity`](crate::LockBackend::validity). `None` if no lease keeps it.
    fn validity(&self, key: &str, grant: UpstreamGrant) -> Option<(Duration, Duration)> {
        let _ = (key, grant);
        None
    }

    /// Returns the holds from which the upstream has taken the key for this grant
    /// ([C6](crate::contract#c6-stealing)).
    fn stolen_from(&self, key: &str, grant: UpstreamGrant) -> Vec<HolderInfo>;

    /// Resets the age of the grant to zero ([C6](crate::contract#c6-stealing)).
    ///
    /// # Errors
    /// `Lost` if it has been revoked, `Unavailable` if the upstream does not answer.
    fn refresh(&self, key: &str, grant: UpstreamGrant) -> Op<'static, ()>;

    /// Returns the holders and waiters, in this process and elsewhere.
    ///
    /// # Errors
    /// `Unsupported` if the upstream cannot list, `Unavailable` if it does not answer.
    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>>;

    /// Revokes the grant with this token, in this process or elsewhere. Returns `true` if it
    /// existed.
    ///
    /// # Errors
    /// `Unsupported` if the upstream cannot evict, `Unavailable` if it does not answer.
    fn evict(&self, key: &str, token: Token) -> Op<'static, bool>;

    /// Returns a description of the server at the other end, for people; `None` if there is no
    /// server.
    fn served_by(&self) -> Option<String> {
        None
    }
}

/// A request of the engine to its [`Upstream`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claim<'a> {
    /// The key.
    pub key: &'a str,
    /// The options of the request; `wait` is what is left of it. The engine enforces `hold_at_most`
    /// itself; an upstream may record it, so that others know when the hold is overdue.
    pub options: Options,
    /// The identity and call site of the request.
    pub caller: &'a Caller,
    /// One of several keys: the grant must not age, nor be stolen for its age, until it is
    /// [complete](Upstream::complete).
    pub part_of_set: bool,
    /// The time for which the request has waited for its provisional hold. An upstream that orders
    /// the waiters of several processes serves the longest wait first.
    pub waited: Duration,
}

/// A request of the engine to its [`Upstream`] for several keys in
/// [one step](Upstream::claim_set).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimSet<'a> {
    /// The keys, in ascending order and each once.
    pub keys: &'a [&'a str],
    /// As [`Claim::options`].
    pub options: Options,
    /// The identity and call site of the request.
    pub caller: &'a Caller,
    /// As [`Claim::waited`].
    pub waited: Duration,
}

/// The completion of a grant that was [part](Claim::part_of_set) of a request for several keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completion {
    /// The token of the whole: no smaller than the grant's own.
    pub token: Token,
    /// The bounds that count from now, like the age. `None`: the member is nested in a hold of its
    /// own caller, which keeps its token, its age and its bounds; only later tokens have to be
    /// above this one.
    pub bounds: Option<Bounds>,
}

/// The bounds of a hold ([C14](crate::contract#c14-bounds-of-a-hold)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// The time from the grant for which the key stays reserved.
    pub hold_at_least: Option<Duration>,
    /// The time from the grant at which the engine ends the hold.
    pub hold_at_most: Option<Duration>,
}

/// A grant of an [`Upstream`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamGrant {
    /// The id that the upstream gave it.
    pub id: u64,
    /// Its fencing token.
    pub token: Token,
}

impl UpstreamGrant {
    /// Creates a grant.
    pub const fn new(id: u64, token: Token) -> Self {
        Self { id, token }
    }
}

/// The circumstances in which a grant of an [`Upstream`] [ends](Upstream::end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamEnd {
    /// The time for which the first local waiter for the key has waited, if there is one. An
    /// upstream may then keep what it has for the next claim, for a short time of its own choosing,
    /// but must not rely on that claim to come (the waiter may give up).
    pub next: Option<Duration>,
    /// `true` if what the grant reserves by `hold_at_least` stays
    /// ([C14](crate::contract#c14-bounds-of-a-hold)); `false` if it was reserved [only if
    /// done](crate::Reserve::IfDone) and was not done.
    pub reserves: bool,
}

impl UpstreamEnd {
    /// Marks the end of a grant that no one has held.
    pub(in crate::engine) const UNHELD: Self = Self { next: None, reserves: false };
}

/// The error of an operation that concerns a hold that is not there any more.
#[cold]
pub(in crate::engine) fn lost_error(key: &str, token: Token, cause: LostCause) -> LockError {
    LockError::new(crate::ErrorKind::Lost { cause }, key).with_token(token)
}
