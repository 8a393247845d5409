use crate::{LockError, Mode, Request};

/// What a backend is and what it can do; see [`LockBackend::about`](crate::LockBackend::about).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// What errors and logs call it, as in `memory`, `file:///var/lock/app`. Never a secret.
    pub name: String,
    /// What it can do and promise.
    pub capabilities: Capabilities,
}

impl About {
    /// A backend called `name` that can do this.
    pub fn new(name: impl Into<String>, capabilities: Capabilities) -> Self {
        Self { name: name.into(), capabilities }
    }

    /// Refuses what the backend says it cannot do, naming the option (C15), and what no backend
    /// can (C1, C16). The first thing an `acquire` does.
    ///
    /// # Errors
    /// `InvalidKey`, `PermitsMismatch`, `Unsupported`.
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
            ("steal_after", options.steal_after.is_some() && !can.steal),
            ("reentrant", options.reentrant && !can.reentrant),
            ("hold_at_least", options.hold_at_least.is_some() && !can.bounds),
            ("hold_at_most", options.hold_at_most.is_some() && !can.bounds),
            ("several keys", request.keys.single().is_none() && !can.several_keys),
        ];
        if let Some((option, _)) = refused.iter().find(|(_, refused)| *refused) {
            let why = "leave it out, or choose a backend that can, such as `net:`";
            return Err(LockError::unsupported(&self.name, option, why));
        }
        if options.reentrant && request.caller.owner.is_none() {
            let why = "an asynchronous hold taken by hand belongs to nobody who could take it \
                       again: name an `owner`, or use the attribute";
            return Err(LockError::unsupported(&self.name, "reentrant", why));
        }
        Ok(())
    }
}

/// What upholds exclusion, and so what it takes to break it (C15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Exclusion {
    /// A lease in a store that can lose what it acknowledged.
    LeaseUnlessDataIsLost,
    /// A lease: a holder that stops for longer than it is no longer protected.
    Lease,
    /// An arbiter that knows when a holder is gone.
    Arbiter,
    /// The operating system's kernel.
    Kernel,
    /// The memory of one process.
    Process,
}

/// For how long tokens of a key only grow (C7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TokenScope {
    /// As long as the process lives.
    Process,
    /// As long as a directory is kept.
    Directory,
    /// As long as the arbiter's data is kept; beyond its loss by the arbiter's clock alone.
    WhileDataIsKept,
    /// For ever.
    Durable,
}

/// Whom waiters are ordered among (C3).
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

/// What a backend can do and promise (C15).
///
/// A request for what a backend cannot do fails with
/// [`Unsupported`](crate::ErrorKind::Unsupported); the conformance kit picks its cases by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What upholds exclusion.
    pub exclusion: Exclusion,
    /// For how long tokens only grow.
    pub tokens: TokenScope,
    /// Whom waiters are ordered among.
    pub order: WaiterOrder,
    /// Whether a wait that closes a cycle is found and refused (C10).
    pub deadlock_detection: bool,
    /// Shared holds.
    pub shared: bool,
    /// Permits (C16).
    pub permits: bool,
    /// Stealing (C6).
    pub steal: bool,
    /// Re-entry (C9).
    pub reentrant: bool,
    /// Re-entry of a shared hold as exclusive, and holds that grow weaker when the stronger
    /// guards of a nest go (C9).
    pub upgrade: bool,
    /// `hold_at_least` and `hold_at_most` (C14).
    pub bounds: bool,
    /// Several keys in one request (C11).
    pub several_keys: bool,
    /// Listing of holders (C12).
    pub listing: bool,
    /// Listing of waiters as well (C12).
    pub listing_waiters: bool,
    /// Ages of holds, in lists and errors (C12).
    pub ages: bool,
    /// Administrative release ([`evict`](crate::LockBackend::evict)).
    pub evict: bool,
}

impl Capabilities {
    /// Everything, within one process: what the engine can do.
    pub const fn process() -> Self {
        Self {
            exclusion: Exclusion::Process,
            tokens: TokenScope::Process,
            order: WaiterOrder::All,
            deadlock_detection: true,
            shared: true,
            permits: true,
            steal: true,
            reentrant: true,
            upgrade: true,
            bounds: true,
            several_keys: true,
            listing: true,
            listing_waiters: true,
            ages: true,
            evict: true,
        }
    }

    /// Exclusion and nothing else: where a new backend starts from.
    pub const fn plain(exclusion: Exclusion, tokens: TokenScope) -> Self {
        Self {
            exclusion,
            tokens,
            order: WaiterOrder::None,
            deadlock_detection: false,
            shared: false,
            permits: false,
            steal: false,
            reentrant: false,
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
