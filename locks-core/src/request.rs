use std::sync::Arc;
use std::time::Duration;

use crate::identity::{SmallOwner, Within, current_within};
use crate::{CallSite, Keys, Mode, Moment, Options, OwnerId, Party, Wait};

/// What a [`LockBackend`](crate::LockBackend) is asked to grant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The keys, in ascending order; granted all or none (C11).
    pub keys: Keys<'a>,
    /// How to wait and how to hold.
    pub options: Options,
    /// Who asks, and from where.
    pub caller: Caller,
    /// For a request that is made once more, to an engine that has taken over from the one that was
    /// asked first: when that was, on the engine's clock. It stands in the queue where it would have
    /// stood, and has waited since then; `wait` counts from now all the same.
    pub asked: Option<Moment>,
}

/// Who asks for a lock, and from where.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Caller {
    /// The identity that will hold the lock; `None` for anonymous holds (C9).
    pub owner: Option<OwnerId>,
    /// The identities that this request blocks while it waits, innermost first: a conflicting
    /// hold of a scope among them is one's own (C9), and deadlocks are found along them (C10). They
    /// are threads and scopes, and last, if it is none of them, the owner that the request names.
    pub within: Within,
    /// Whether the request opens a scope of its own, and so holds nothing yet.
    pub opens_scope: bool,
    /// Where in this program it was asked for.
    pub site: Option<CallSite>,
    /// Who it is, if not this process.
    pub party: Option<Arc<Party>>,
}

impl<'a> Request<'a> {
    /// A request for `keys`.
    pub const fn new(keys: Keys<'a>, options: Options, caller: Caller) -> Self {
        Self { keys, options, caller, asked: None }
    }

    /// How long to queue, where the backend has no default of its own (C2).
    pub fn wait(&self) -> Wait {
        self.options.wait.unwrap_or_default()
    }
}

impl Caller {
    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { owner: None, within: Within::new(), opens_scope: false, site: None, party: None }
    }

    /// An owner that is known by name and blocks nobody else.
    pub fn named(owner: OwnerId) -> Self {
        Self { owner: Some(owner), within: Within::from_iter([owner]), ..Self::anonymous() }
    }

    /// Whoever makes a blocking call now: the innermost scope, else the thread.
    pub fn blocking(explicit: Option<OwnerId>) -> Self {
        let within = current_within(true);
        let owner = within.first().copied();
        Self { owner, within, ..Self::anonymous() }.with_explicit(explicit)
    }

    /// Whoever polls now: anonymous, but a wait blocks the scopes around it, and the thread if that is
    /// [blocked](crate::Op::block) on it. A runtime's `block_on` cannot be told from its other threads.
    pub fn polling(explicit: Option<OwnerId>) -> Self {
        let within = current_within(crate::park::is_blocked());
        Self { within, ..Self::anonymous() }.with_explicit(explicit)
    }

    /// An annotated asynchronous function: a scope that opens with this very request.
    pub fn opening(scope: &crate::Scope, explicit: Option<OwnerId>) -> Self {
        Self {
            owner: Some(scope.owner()),
            within: scope.within(),
            opens_scope: true,
            ..Self::anonymous()
        }
        .with_explicit(explicit)
    }

    /// The same caller at this place.
    #[must_use]
    pub fn at(self, site: CallSite) -> Self {
        Self { site: Some(site), ..self }
    }

    /// The same caller as part of another process.
    #[must_use]
    pub fn of(self, party: Arc<Party>) -> Self {
        Self { party: Some(party), ..self }
    }

    fn with_explicit(mut self, explicit: Option<OwnerId>) -> Self {
        if let Some(owner) = explicit {
            self.owner = Some(owner);
            if !self.within.contains(&owner) {
                self.within.push(owner);
            }
            self.opens_scope = false;
        }
        self
    }

    /// Returns the identity that has to go on for a hold of this caller to be released: the innermost
    /// thread or scope, or the owner where neither is known (C10). `None` for anonymous holds.
    pub fn runs_as(&self) -> Option<OwnerId> {
        let owner = self.owner?;
        Some(self.within.first().copied().unwrap_or(owner))
    }

    /// In whose names something may be held while this caller waits (C10): who opens a scope holds
    /// nothing yet, and who has no name cannot be waited for.
    pub(crate) fn blocks(&self) -> Within {
        let opens = self.opens_scope && self.within.len() == 1;
        if opens { Within::new() } else { self.within.clone() }
    }

    /// Whether a hold of `owner` is this caller's own (C9).
    pub(crate) fn counts_as(&self, owner: Option<OwnerId>) -> bool {
        match (owner, self.owner) {
            (None, _) => false,
            (Some(owner), Some(me)) if owner == me => true,
            (Some(owner), _) => owner.is_scope() && self.within.contains(&owner),
        }
    }
}

/// What the fast path needs to know of a caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swift {
    pub(crate) owner: SmallOwner,
    pub(crate) site: CallSite,
}

impl Options {
    /// Whether a free key can be granted by the fast path: exclusive, no bounds, and no owner
    /// beyond what a slot's record has room for.
    #[inline]
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self.mode, Mode::Exclusive)
            && self.hold_at_least.is_none()
            && self.hold_at_most.is_none()
            && self.owner.is_none()
    }

    /// Whether it is plain, and asks for nothing that a backend might not have.
    #[inline]
    pub(crate) const fn is_simple(&self) -> bool {
        self.is_plain() && self.steal_after.is_none() && !self.reentrant && !self.mixed
    }

    /// The reservation and the end that a grant brings with it (C14).
    pub(crate) const fn bounds(&self) -> (Option<Duration>, Option<Duration>) {
        (self.hold_at_least, self.hold_at_most)
    }
}
