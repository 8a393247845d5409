//! What is left to do once a slot's mutex is free: calls that may run anybody's code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::thread;

use super::ports::{Revoked, UpstreamGrant};
use crate::{KeySet, LostCause, Token};

/// Mostly there is one waiter to wake, or none, and nothing else.
#[derive(Default)]
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
    /// Grants of the upstream that have ended here, and whether their keys stay reserved: an errand each.
    pub(super) ended: Vec<(UpstreamGrant, bool)>,
    /// Whether a token is to be drawn: an errand.
    pub(super) draws: bool,
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

    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// Makes calls one after the other, each caught on its own, and lets the first panic go on when all
/// are made: unless another one is under way already.
#[derive(Default)]
pub(crate) struct Calls {
    panic: Option<Box<dyn Any + Send>>,
}

impl Calls {
    pub(crate) fn make<R>(&mut self, call: impl FnOnce() -> R) -> Option<R> {
        let outcome = catch_unwind(AssertUnwindSafe(call));
        match outcome {
            Ok(outcome) => Some(outcome),
            Err(panic) => {
                self.panic.get_or_insert(panic);
                None
            }
        }
    }

    pub(crate) fn wake(&mut self, waker: Waker) {
        self.make(|| waker.wake());
    }

    pub(crate) fn discard(&mut self, waker: Waker) {
        self.make(|| drop(waker));
    }

    pub(crate) fn end(self) {
        if let Some(panic) = self.panic
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
