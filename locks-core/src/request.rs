use std::sync::Arc;
use std::time::Duration;

use crate::identity::{OwnerChain, SmallOwner, current_within};
use crate::{CallSite, Keys, Mode, Moment, Options, OwnerId, ProcessInfo, SharedOwner, Wait};

/// A request for a lock, as a [`LockBackend`](crate::LockBackend) gets it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The keys, in ascending order; granted all or none
    /// ([C11](crate::contract#c11-several-keys)).
    pub keys: Keys<'a>,
    /// The options of the request.
    pub options: Options,
    /// The identity and the call site of the request.
    pub caller: Caller,
    /// The time of the first request, on the engine's clock, if this one repeats it to an engine
    /// that took over from another. The request keeps its place in the queue and its time waited;
    /// `wait` counts from now.
    pub requested_at: Option<Moment>,
}

/// The identity and the call site of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Caller {
    /// The identity that will hold the lock; `None` for anonymous holds
    /// ([C9](crate::contract#c9-re-entry)).
    pub owner: Option<OwnerId>,
    /// The owner itself, where [`owner`](Self::owner) is the id of one that other processes can
    /// name as well. A backend that reaches them sends this, and never takes an id for it.
    pub shared: Option<SharedOwner>,
    /// The identities that this request blocks while it waits, innermost first: threads and scopes,
    /// and last the explicit owner, if it is none of them. A [shared](SharedOwner) one is not among
    /// them: a request that waits for it blocks none of its others.
    ///
    /// A conflicting hold of a scope among them counts as the request's own
    /// ([C9](crate::contract#c9-re-entry)), and deadlocks are detected along them
    /// ([C10](crate::contract#c10-deadlocks)).
    pub within: OwnerChain,
    /// `true` if the request opens a new scope, which therefore holds nothing yet.
    pub opens_scope: bool,
    /// The position in this program.
    pub site: Option<CallSite>,
    /// The process that asks, if it is not this one.
    pub party: Option<Arc<ProcessInfo>>,
    /// The label of the request, for lists, errors and events
    /// ([C12](crate::contract#c12-holder-information)).
    pub label: Option<Arc<str>>,
}

impl<'a> Request<'a> {
    /// Creates a request for `keys`.
    pub const fn new(keys: Keys<'a>, options: Options, caller: Caller) -> Self {
        Self { keys, options, caller, requested_at: None }
    }

    /// Returns the time for which to wait, for a backend that has no default of its own
    /// ([C2](crate::contract#c2-waiting)).
    pub fn wait(&self) -> Wait {
        self.options.wait.unwrap_or_default()
    }
}

impl Caller {
    /// Creates a caller without an identity.
    pub fn anonymous() -> Self {
        Self {
            owner: None,
            shared: None,
            within: OwnerChain::new(),
            opens_scope: false,
            site: None,
            party: None,
            label: None,
        }
    }

    /// Creates a caller with the identity `owner`, which blocks no other one.
    pub fn named(owner: OwnerId) -> Self {
        Self { owner: Some(owner), within: OwnerChain::from_iter([owner]), ..Self::anonymous() }
    }

    /// Creates the caller of a blocking call: the innermost scope that is being polled, else this
    /// thread.
    pub fn blocking(explicit: Option<OwnerId>) -> Self {
        let within = current_within(true);
        let owner = within.first().copied();
        Self { owner, within, ..Self::anonymous() }.with_explicit(explicit)
    }

    /// Creates the caller of an asynchronous call: anonymous, but its wait blocks the scopes around
    /// it, and the thread if that is [blocked](crate::Op::block) on it.
    ///
    /// A thread in a runtime's `block_on` is not recognised as blocked.
    pub fn polling(explicit: Option<OwnerId>) -> Self {
        let within = current_within(crate::park::is_blocked());
        Self { within, ..Self::anonymous() }.with_explicit(explicit)
    }

    /// Creates the caller of an annotated async function, whose scope opens with this request.
    #[inline]
    pub fn opening(scope: &crate::Scope, explicit: Option<OwnerId>) -> Self {
        Self {
            owner: Some(scope.owner()),
            within: scope.within(),
            opens_scope: true,
            ..Self::anonymous()
        }
        .with_explicit(explicit)
    }

    /// Returns the caller with this call site.
    #[must_use]
    #[inline]
    pub fn at(self, site: CallSite) -> Self {
        Self { site: Some(site), ..self }
    }

    /// Returns the caller with this label of its request.
    #[must_use]
    pub fn labelled(self, label: Option<Arc<str>>) -> Self {
        Self { label, ..self }
    }

    /// Returns the caller with this owner in place of its own.
    #[must_use]
    pub fn sharing(mut self, owner: SharedOwner) -> Self {
        self.name(owner.id());
        self.shared = Some(owner);
        self
    }

    /// Returns the caller with `party` as its process.
    #[must_use]
    pub fn of(self, party: Arc<ProcessInfo>) -> Self {
        Self { party: Some(party), ..self }
    }

    #[inline]
    fn with_explicit(mut self, explicit: Option<OwnerId>) -> Self {
        explicit.into_iter().for_each(|owner| self.name(owner));
        self
    }

    fn name(&mut self, owner: OwnerId) {
        self.owner = Some(owner);
        // A thread or scope that somebody else acts for goes on meanwhile.
        let goes_on = owner.is_thread() || owner.is_scope();
        let blocks = !owner.is_shared() && (!goes_on || self.within.is_empty());
        if blocks && !self.within.contains(&owner) {
            self.within.push(owner);
        }
        self.opens_scope = false;
    }

    /// Returns the identity that must keep running for this caller to release a hold: the innermost
    /// thread or scope, or the owner where neither is known
    /// ([C10](crate::contract#c10-deadlocks)). `None` for anonymous holds, and for those of a
    /// [shared](SharedOwner) owner of which no more is known.
    pub fn runs_as(&self) -> Option<OwnerId> {
        let owner = self.owner?;
        self.within.first().copied().or_else(|| owner.runs())
    }

    /// What the fast path has room for, if that is all there is to know of this caller.
    pub(crate) fn as_fast_holder(&self) -> Option<FastHolder> {
        let plain = self.party.is_none() && self.label.is_none() && self.runs_as() == self.owner;
        let site = self.site.filter(|_| plain)?;
        let owner = match self.owner {
            None => SmallOwner::NOBODY,
            Some(owner) => owner.small()?,
        };
        Some(FastHolder { owner, site })
    }

    /// Returns the identities that may hold something while this caller waits (C10): a scope that
    /// opens holds nothing yet, and an anonymous caller cannot be waited for.
    pub(crate) fn blocks(&self) -> OwnerChain {
        let opens = self.opens_scope && self.within.len() == 1;
        if opens { OwnerChain::new() } else { self.within.clone() }
    }

    /// Returns `true` if a hold of `owner` is this caller's own
    /// ([C9](crate::contract#c9-re-entry)).
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
pub(crate) struct FastHolder {
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
            && !self.only_nests
    }

    /// Whether it is plain, and asks for nothing that a backend might not have.
    #[inline]
    pub(crate) const fn is_simple(&self) -> bool {
        self.is_plain() && self.steal_after.is_none() && !self.reentrant && !self.mixed
    }

    /// The reservation and the end that a grant brings with it
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub(crate) const fn bounds(&self) -> (Option<Duration>, Option<Duration>) {
        (self.hold_at_least, self.hold_at_most)
    }
}
