use crate::{LockError, Mode, OwnerId, Request, Reserve};

/// The name and the capabilities of a backend; see
/// [`LockBackend::about`](crate::LockBackend::about).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendInfo {
    /// The name in errors and logs, such as `memory:` or `file:///var/lock/app`. Never a secret.
    pub name: String,
    /// The capabilities.
    pub capabilities: Capabilities,
}

impl BackendInfo {
    /// Creates the description of a backend.
    pub fn new(name: impl Into<String>, capabilities: Capabilities) -> Self {
        Self { name: name.into(), capabilities }
    }

    /// Checks a request against the capabilities, and for what no backend can grant. An
    /// implementation of `acquire` calls it first ([C15](crate::contract#c15-capabilities)).
    ///
    /// # Errors
    /// `InvalidKey`, `PermitsMismatch`, or `Unsupported`, which names the option.
    pub fn check(&self, request: &Request<'_>) -> Result<(), LockError> {
        request.keys.check()?;
        let (options, can) = (&request.options, &self.capabilities);
        options.check().map_err(|error| match request.keys.iter().next() {
            Some(key) => error.with_key(key),
            None => error,
        })?;
        let refused = [
            ("shared", options.mode == Mode::Shared && !can.shared),
            ("permits", matches!(options.mode, Mode::Permit { .. }) && !can.permits),
            ("take", options.takes_several() && !can.several_permits),
            ("steal_after", options.steal_after.is_some() && !can.steal),
            ("reentrant", options.reentrant && !can.reentrant),
            ("shared_owner", request.caller.shared.is_some() && !can.shared_owner),
            ("hold_at_least", options.hold_at_least.is_some() && !can.bounds),
            ("hold_at_most", options.hold_at_most.is_some() && !can.bounds),
            ("several keys", request.keys.single().is_none() && !can.several_keys),
        ];
        if let Some((option, _)) = refused.iter().find(|(_, refused)| *refused) {
            let why = "leave it out, or choose a backend that can, such as `net:`";
            return Err(LockError::unsupported(&self.name, option, why));
        }
        if request.caller.shared.is_none() && request.caller.owner.is_some_and(OwnerId::is_shared) {
            let why = "the identity by which lists show a shared owner is not that owner: name it by \
                       `shared_owner`";
            return Err(LockError::unsupported(&self.name, "owner", why));
        }
        if options.reserve == Reserve::IfDone && options.mode == Mode::Shared {
            let why = "that one of those who share the key has succeeded says nothing of the others: \
                       leave out `shared`";
            return Err(LockError::unsupported(&self.name, "once_per", why));
        }
        if options.reentrant && request.caller.owner.is_none() {
            let why = "an asynchronous hold taken by hand belongs to nobody who could take it \
                       again: name an `owner`, or use the attribute";
            return Err(LockError::unsupported(&self.name, "reentrant", why));
        }
        Ok(())
    }
}

/// The mechanism that upholds exclusion, and so what can break it
/// ([C15](crate::contract#c15-capabilities)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Exclusion {
    /// A lease in a store that can lose what it acknowledged.
    LeaseUnlessDataIsLost,
    /// A lease: a holder that stops for longer than it is no longer protected.
    Lease,
    /// A server that notices the end of a holder's process.
    Arbiter,
    /// The operating system's kernel.
    Kernel,
    /// The memory of one process.
    Process,
}

/// For how long tokens of a key only grow ([C7](crate::contract#c7-fencing-tokens)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TokenScope {
    /// For as long as the process lives.
    Process,
    /// For as long as a directory is kept.
    Directory,
    /// For as long as the server's data is kept; after its loss they go on from the server's clock.
    WhileDataIsKept,
    /// For ever.
    Durable,
}

/// The waiters among which requests are served in order ([C3](crate::contract#c3-fairness)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WaiterOrder {
    /// No order is promised.
    None,
    /// First come, first served among the waiters of one process; between processes by chance.
    WithinProcess,
    /// First come, first served among all.
    All,
}

/// The capabilities of a backend ([C15](crate::contract#c15-capabilities)).
///
/// A request for what a backend cannot do fails with
/// [`Unsupported`](crate::ErrorKind::Unsupported); the conformance kit picks its cases by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The mechanism that upholds exclusion.
    pub exclusion: Exclusion,
    /// For how long tokens only grow.
    pub tokens: TokenScope,
    /// The waiters among which requests are served in order.
    pub order: WaiterOrder,
    /// A wait that closes a cycle is detected and refused ([C10](crate::contract#c10-deadlocks)).
    pub deadlock_detection: bool,
    /// Shared holds.
    pub shared: bool,
    /// Permits ([C16](crate::contract#c16-permits)).
    pub permits: bool,
    /// Several permits for one hold ([`take`](crate::LockBuilder::take)); never behind an
    /// [`Upstream`](crate::Upstream), and so never with a store that grants leases.
    pub several_permits: bool,
    /// Stealing ([C6](crate::contract#c6-stealing)).
    pub steal: bool,
    /// Re-entry ([C9](crate::contract#c9-re-entry)).
    pub reentrant: bool,
    /// Re-entry by other processes that have been given a [`SharedOwner`](crate::SharedOwner)
    /// ([C9](crate::contract#c9-re-entry)).
    pub shared_owner: bool,
    /// Upgrade of a shared hold by exclusive re-entry, downgrade when the exclusive guard of a nest
    /// is dropped ([C9](crate::contract#c9-re-entry)), and
    /// [`Guard::downgrade`](crate::Guard::downgrade).
    pub upgrade: bool,
    /// `hold_at_least` and `hold_at_most` ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub bounds: bool,
    /// Several keys in one request ([C11](crate::contract#c11-several-keys)).
    pub several_keys: bool,
    /// Listing of holders ([C12](crate::contract#c12-holder-information)).
    pub listing: bool,
    /// Listing of waiters as well.
    pub listing_waiters: bool,
    /// Ages of holds, in lists and errors.
    pub ages: bool,
    /// Administrative release ([`evict`](crate::LockBackend::evict)).
    pub evict: bool,
}

impl Capabilities {
    /// Returns the capabilities of the engine: everything, within one process.
    pub const fn process() -> Self {
        Self {
            exclusion: Exclusion::Process,
            tokens: TokenScope::Process,
            order: WaiterOrder::All,
            deadlock_detection: true,
            shared: true,
            permits: true,
            several_permits: true,
            steal: true,
            reentrant: true,
            shared_owner: true,
            upgrade: true,
            bounds: true,
            several_keys: true,
            listing: true,
            listing_waiters: true,
            ages: true,
            evict: true,
        }
    }

    /// Returns the capabilities of a backend that has exclusion and no more, to start from.
    pub const fn plain(exclusion: Exclusion, tokens: TokenScope) -> Self {
        Self {
            exclusion,
            tokens,
            order: WaiterOrder::None,
            deadlock_detection: false,
            shared: false,
            permits: false,
            several_permits: false,
            steal: false,
            reentrant: false,
            shared_owner: false,
            upgrade: false,
            bounds: false,
            several_keys: false,
            listing: false,
            listing_waiters: false,
            ages: false,
            evict: false,
        }
    }
}
