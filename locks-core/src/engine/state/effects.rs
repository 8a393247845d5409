//! The calls that are left once a slot's mutex is free, because they may run code of others.

use std::sync::Arc;
use std::task::Waker;

use smallvec::SmallVec;

use crate::engine::ports::{Loss, UpstreamGrant};
use crate::{HolderInfo, KeySet, LostCause, OwnerId, Token};

/// Mostly there is one waiter to wake, or none, and nothing else.
#[derive(Default)]
pub(in crate::engine) struct Effects {
    pub(in crate::engine) waker: Option<Waker>,
    /// A waker of no further use. Dropping it can drop a whole task, and with it a guard.
    pub(in crate::engine) discarded: Option<Waker>,
    pub(in crate::engine) more: Option<Box<More>>,
}

/// The keys of a grant that has lost one of them, its token, and why: the others go with it (C11).
pub(in crate::engine) type Broken = (Arc<KeySet>, Token, LostCause);

/// What does not happen all the time.
#[derive(Default)]
pub(in crate::engine) struct More {
    /// Grants of the upstream that have ended here, and whether their keys stay reserved: an errand
    /// each.
    pub(in crate::engine) ended: Vec<(UpstreamGrant, bool)>,
    /// Whether a token is to be drawn: an errand.
    pub(in crate::engine) draws: bool,
    pub(in crate::engine) wakers: Vec<Waker>,
    /// Holds that were ended from outside.
    pub(in crate::engine) lost: Vec<Revoked>,
    pub(in crate::engine) broken: Vec<Broken>,
    pub(in crate::engine) discarded: Vec<Waker>,
}

impl Effects {
    pub(in crate::engine) fn wake(&mut self, waker: Option<Waker>) {
        if self.waker.is_none() {
            self.waker = waker;
        } else if waker.is_some() {
            self.more().wakers.extend(waker);
        }
    }

    pub(in crate::engine) fn discard(&mut self, waker: Option<Waker>) {
        if self.discarded.is_none() {
            self.discarded = waker;
        } else if waker.is_some() {
            self.more().discarded.extend(waker);
        }
    }

    pub(in crate::engine) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// A hold that has been revoked, until it can be told.
pub(in crate::engine) struct Revoked {
    pub(in crate::engine) token: Token,
    pub(in crate::engine) cause: LostCause,
    pub(in crate::engine) owner: Option<OwnerId>,
    pub(in crate::engine) guards: SmallVec<[Token; 1]>,
    pub(in crate::engine) owners: SmallVec<[Option<OwnerId>; 1]>,
    pub(in crate::engine) holder: HolderInfo,
    pub(in crate::engine) thief: Option<HolderInfo>,
}

impl Revoked {
    pub(in crate::engine) fn loss<'a>(&'a self, key: &'a str) -> Loss<'a> {
        let Self { token, cause, owner, guards, owners, holder, thief } = self;
        Loss {
            key,
            cause: *cause,
            token: *token,
            owner: *owner,
            guards,
            owners,
            holder,
            thief: thief.as_ref(),
        }
    }
}
