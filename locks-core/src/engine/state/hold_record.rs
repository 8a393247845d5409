use std::sync::Arc;

use crate::clock::Moment;
use crate::{CallSite, Mode, OwnerId, Token};

/// A record of one guard's hold of one key, to [restore](crate::Engine::restore) it in another
/// engine with the same clock.
#[derive(Clone, Debug)]
pub struct HoldRecord {
    /// The key.
    pub key: String,
    /// The guard's token. One that is nested has that of the guard around it, unless it is a member
    /// of a set or has made a shared hold exclusive.
    pub token: Token,
    /// The token of the hold that the guard is in: its own, or that of the outermost guard of its
    /// nest, which may have been released since.
    pub outer: Token,
    /// `true` if it is nested in another guard that has not been released.
    pub nested: bool,
    /// The mode in which this guard holds the key.
    pub mode: Mode,
    /// The identity of the holder.
    pub owner: Option<OwnerId>,
    /// The thread or scope that must keep running for the guard to be released, or the owner where
    /// neither is known ([C10](crate::contract#c10-deadlocks)).
    pub runs_as: Option<OwnerId>,
    /// The call site of the acquisition.
    pub site: Option<CallSite>,
    /// The label of the request.
    pub label: Option<Arc<str>>,
    /// The time from which the hold ages ([C6](crate::contract#c6-stealing)); where the clock is
    /// coarse, the later one.
    pub since: Option<Moment>,
    /// The end of the reservation: until then the hold is not stolen, and the key stays reserved
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub reserved_until: Option<Moment>,
    /// `true` if it stays reserved only if the hold is [marked as
    /// done](crate::LockBackend::mark_done) and then released
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub if_done: bool,
    /// `true` if it was marked as done.
    pub is_done: bool,
    /// The time at which the hold ends by itself ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub ends_at: Option<Moment>,
}
