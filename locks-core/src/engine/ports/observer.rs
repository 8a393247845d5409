//! Who is told of holds that end from outside.

use crate::{HolderInfo, LostCause, OwnerId, Token};

/// An observer of an [`Engine`](crate::Engine): it receives a callback for each hold that ends
/// without being released by its guard.
///
/// # Contract
/// [`lost`](Self::lost) is called once for each hold that is stolen, held for too long, evicted or
/// [lost](crate::Engine::lose) otherwise, and for each that goes with it, as a member of the same
/// set ([C11](crate::contract#c11-several-keys)); also for a key of a set that was not complete
/// yet, and for a grant that its waiter has not fetched.
///
/// The call is made by the thread that ended the hold, without any mutex of the engine, right after
/// the end and
///
/// 1. before the request that stole the key completes;
/// 2. before the waiters of the key and the watchers of the hold are woken.
///
/// A newcomer that was not woken can be granted the key a moment before the call; its token is
/// greater ([C7](crate::contract#c7-fencing-tokens)).
///
/// The observer may call the engine. It must not wait for a thread that does.
pub trait Observer: Send + Sync + 'static {
    /// Handles the loss of a hold.
    fn lost(&self, loss: &Loss<'_>);
}

/// A hold that ended without being released by its guard.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Loss<'a> {
    /// The key.
    pub key: &'a str,
    /// The cause of the loss.
    pub cause: LostCause,
    /// The token of its outermost guard.
    pub token: Token,
    /// The owner of its outermost guard.
    pub owner: Option<OwnerId>,
    /// The tokens of the guards of its nest that had not been released, outermost first. All of
    /// them are lost; those that have no token of their own have that of the guard around them.
    pub guards: &'a [Token],
    /// Their owners, in the same order: those of a [shared](crate::SharedOwner) one may be of
    /// several [realms](OwnerId::realm).
    pub owners: &'a [Option<OwnerId>],
    /// The holder that lost it.
    pub holder: &'a HolderInfo,
    /// The new holder, if it was stolen by a request to this engine.
    pub thief: Option<&'a HolderInfo>,
}
