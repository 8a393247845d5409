//! Who is told of holds that end from outside.

use smallvec::SmallVec;

use crate::{LostCause, OwnerId, Token};

/// Somebody who keeps account of the holds of an [`Engine`](crate::Engine), and so has to hear of
/// those that end without being released.
///
/// # Contract
/// [`lost`](Self::lost) is called once for each hold that is stolen, held for too long, evicted or
/// [lost](crate::Engine::lose) otherwise, and for each that goes with it, as a member of the same set
/// (C11). Also for a key of a set that was not complete yet, and for a grant that its waiter has not
/// fetched: nobody has been told of those.
///
/// It is called by whoever ended the hold, without any mutex of the engine, right after the end and
///
/// 1. before the request that stole the key is answered;
/// 2. before those are woken who waited for the key, or who watch the hold.
///
/// So what is woken by the end of a hold comes after the word of it. Somebody who comes by itself can
/// be granted the key a moment before; by the token, which is greater, one can tell (C7).
///
/// It may call the engine, and is not to wait for anybody who does.
pub trait Observer: Send + Sync + 'static {
    /// A hold was ended from outside.
    fn lost(&self, loss: &Loss<'_>);
}

/// A hold that was ended from outside.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Loss<'a> {
    /// Its key.
    pub key: &'a str,
    /// How it came to be lost.
    pub cause: LostCause,
    /// Its token: that of its outermost guard.
    pub token: Token,
    /// The owner of its outermost guard.
    pub owner: Option<OwnerId>,
    /// The tokens of the guards of its nest that had not been released, outermost first. All of them
    /// are lost; those that have no token of their own have that of the guard around them.
    pub guards: &'a [Token],
}

/// A hold that has been revoked, until it can be told.
pub(super) struct Revoked {
    pub(super) token: Token,
    pub(super) cause: LostCause,
    pub(super) owner: Option<OwnerId>,
    pub(super) guards: SmallVec<[Token; 1]>,
}

impl Revoked {
    pub(super) fn loss<'a>(&'a self, key: &'a str) -> Loss<'a> {
        Loss { key, cause: self.cause, token: self.token, owner: self.owner, guards: &self.guards }
    }
}
