use std::sync::Arc;
use std::task::Waker;

use super::observer::Revoked;
use super::upstream::Turn;
use crate::{KeySet, LostCause, Token};

/// What is left to do once the slot's mutex is free: calls that may run anybody's code.
///
/// Mostly there is one waiter to wake, or none, and nothing else.
#[derive(Default)]
#[must_use = "effects take place when they are applied"]
pub(super) struct Effects {
    pub(super) waker: Option<Waker>,
    /// A waker that nobody needs any more. Dropping one can drop a whole task, and with it a guard.
    pub(super) discarded: Option<Waker>,
    pub(super) more: Option<Box<More>>,
}

/// The keys of a grant that has lost one of them, its token, and why: the others go with it (C11).
pub(super) type Broken = (Arc<KeySet>, Token, LostCause);

/// What does not happen all the time.
#[derive(Default)]
pub(super) struct More {
    /// Grants of the upstream that have ended here.
    pub(super) ended: Vec<Turn>,
    pub(super) wakers: Vec<Waker>,
    /// Holds that were ended from outside.
    pub(super) lost: Vec<Revoked>,
    pub(super) broken: Vec<Broken>,
    pub(super) discarded: Vec<Waker>,
}

impl Effects {
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        if self.waker.is_none() {
            self.waker = waker;
        } else if waker.is_some() {
            self.more().wakers.extend(waker);
        }
    }

    pub(super) fn discard(&mut self, waker: Option<Waker>) {
        if self.discarded.is_none() {
            self.discarded = waker;
        } else if waker.is_some() {
            self.more().discarded.extend(waker);
        }
    }

    pub(super) fn end(&mut self, turn: Option<Turn>) {
        if turn.is_some() {
            self.more().ended.extend(turn);
        }
    }

    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}
