//! The lock, while it is held.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use locks::backend::{Caller, Exclusion, Granted, Hold, KeySet, Keys, Op, Request};
use locks::{
    Backend, ErrorKind, LockError, LostCause, Options, ProcessInfo, SharedOwner, Token, Wait,
};

use crate::backend_choice::Opened;

/// A hold that is released when it is dropped. Unlike a guard of the library it can say that the
/// holder is the command, and not a line of this program.
pub(crate) struct CommandHold {
    at: Opened,
    /// I1: there until it is released.
    hold: Option<Hold>,
    keys: String,
    owner: Option<SharedOwner>,
}

/// What is asked for; it lives as long as the operation does.
pub(crate) struct AcquireRequest {
    keys: KeySet,
    pub(super) options: Options,
    party: Arc<ProcessInfo>,
    /// In whose name, if other processes can be the same.
    pub(super) owner: Option<SharedOwner>,
}

impl AcquireRequest {
    pub(crate) fn new(keys: &[String], options: Options, party: ProcessInfo) -> Self {
        Self { keys: KeySet::new(keys), options, party: Arc::new(party), owner: None }
    }

    /// The question whether `owner` holds the key already: it is entered then, as it is held.
    pub(super) fn within(&self, key: &str, owner: SharedOwner) -> Self {
        let mut options = Options::default();
        (options.reentrant, options.only_nests) = (true, true);
        options.wait = Some(Wait::Try);
        Self { keys: KeySet::new([key]), options, party: self.party.clone(), owner: Some(owner) }
    }

    /// Asks for it. Dropping the operation withdraws it (C5).
    pub(crate) fn of<'a>(&'a self, backend: &'a Backend) -> Op<'a, Granted> {
        let mut caller = Caller::polling(None).of(self.party.clone());
        if let Some(owner) = self.owner {
            caller = caller.sharing(owner);
        }
        let keys = match self.keys.as_slice() {
            [key] => Keys::one(key),
            _ => Keys::all(&self.keys),
        };
        backend.acquire(Request::new(keys, self.options, caller))
    }

    pub(crate) fn held(&self, at: &Opened, granted: Granted) -> CommandHold {
        let keys = self.keys.as_slice().join("`, `");
        CommandHold { at: at.clone(), hold: Some(granted.hold), keys, owner: self.owner }
    }
}

impl CommandHold {
    pub(crate) fn token(&self) -> Token {
        self.hold.as_ref().map_or(Token::new(0), Hold::token)
    }

    /// The owner that others have to be given to enter it.
    pub(crate) fn owner(&self) -> Option<SharedOwner> {
        self.owner
    }

    /// Whether it is lost; with a context, its task is woken when it becomes so (C8).
    pub(crate) fn poll_lost(&self, cx: Option<&mut Context<'_>>) -> Poll<LockError> {
        let Some(hold) = &self.hold else { return Poll::Pending };
        self.at.backend.poll_lost(hold, cx).map(|cause| self.lost(cause))
    }

    /// The lease that it is kept by, and for how long it is known to be there; `None` without one.
    pub(crate) fn validity(&self) -> Option<(Duration, Duration)> {
        self.at.backend.validity(self.hold.as_ref()?)
    }

    /// Whether a lease may come to be what keeps it.
    pub(crate) fn may_have_lease(&self) -> bool {
        self.at.backend.about().capabilities.exclusion != Exclusion::Kernel
    }

    /// # Errors
    /// `Lost`, if it is.
    pub(crate) fn check(&self) -> Result<(), LockError> {
        match self.poll_lost(None) {
            Poll::Ready(error) => Err(error),
            Poll::Pending => Ok(()),
        }
    }

    /// Releases it.
    ///
    /// # Errors
    /// `Lost` if it was lost before, and whatever keeps the arbiter from confirming.
    pub(crate) fn release(mut self) -> Result<(), LockError> {
        let Some(hold) = self.hold.take() else { return Ok(()) };
        let token = hold.token();
        self.at.backend.release(hold).block().map_err(|error| match error.kind() {
            ErrorKind::Lost { cause } => self.lost_with(cause, token),
            _ => error,
        })
    }

    fn lost(&self, cause: LostCause) -> LockError {
        self.lost_with(cause, self.token())
    }

    fn lost_with(&self, cause: LostCause, token: Token) -> LockError {
        LockError::new(ErrorKind::Lost { cause }, self.keys.clone()).with_token(token)
    }
}

impl Drop for CommandHold {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            // Nobody is left to be told how it went.
            let _ = self.at.backend.release(hold).block();
        }
    }
}
