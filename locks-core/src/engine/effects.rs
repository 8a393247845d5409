use std::sync::Arc;
use std::task::Waker;

use smallvec::SmallVec;

use super::upstream::Turn;
use crate::{KeySet, LostCause, Token};

/// What is left to do once the slot's mutex is free: calls that may run anybody's code.
#[derive(Default)]
#[must_use = "effects take place when they are applied"]
pub(super) struct Effects {
    /// Grants of the upstream that have ended here.
    pub(super) ended: SmallVec<[Turn; 1]>,
    pub(super) wakers: SmallVec<[Waker; 2]>,
    /// Holds that were ended from outside.
    pub(super) lost: SmallVec<[(Token, LostCause); 1]>,
    /// Sets of keys that have lost a member, their token, and why: the others go with it (C11).
    pub(super) broken: Vec<(Arc<KeySet>, Token, LostCause)>,
    /// Wakers that nobody needs any more. Dropping one can drop a whole task, and with it a guard.
    pub(super) discarded: SmallVec<[Waker; 1]>,
}

impl Effects {
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    pub(super) fn discard(&mut self, waker: Option<Waker>) {
        self.discarded.extend(waker);
    }

    pub(super) fn end(&mut self, turn: Option<Turn>) {
        self.ended.extend(turn);
    }
}
