//! Calls: what is asked of the server beside acquisitions, and their answers.

use std::task::{Poll, Waker};

use locks_core::{LockError, LockInfo, Query, Token, check_key};

use super::ClientSession;
use super::ask::RequestOutcome;
use crate::wire::{Call, Publish, Published, Status};

/// An answer to a call.
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    Listed(Vec<LockInfo>),
    Evicted(bool),
    Status(Status),
    Published(Published),
}

impl ClientSession {
    /// Asks for the hold's age to be renewed (C6); fetched by [`poll_call`](Self::poll_call).
    ///
    /// # Errors
    /// `LimitExceeded`, `Lost`.
    pub(crate) fn refresh(&mut self, request: u64) -> Result<u64, LockError> {
        let call = self.next_number()?;
        self.check_hold(request)?;
        self.begin(call, Call::Refresh { call, request }, None, self.now());
        Ok(call)
    }

    /// Asks for the hold to be a shared one from now on (C9); fetched by
    /// [`poll_call`](Self::poll_call).
    ///
    /// # Errors
    /// `LimitExceeded`, `Lost`.
    pub(crate) fn share(&mut self, request: u64) -> Result<u64, LockError> {
        let call = self.next_number()?;
        self.check_hold(request)?;
        self.begin(call, Call::Share { call, request }, None, self.now());
        Ok(call)
    }

    /// Asks who holds and waits.
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub(crate) fn inspect(&mut self, query: Query) -> Result<u64, LockError> {
        let call = self.next_number()?;
        self.begin(call, Call::Inspect { call, query }, None, self.now());
        Ok(call)
    }

    /// Asks for an administrative release.
    ///
    /// # Errors
    /// `InvalidKey`, `LimitExceeded`.
    pub(crate) fn evict(&mut self, key: String, token: Token) -> Result<u64, LockError> {
        check_key(&key)?;
        let call = self.next_number()?;
        self.begin(call, Call::Evict { call, key, token }, None, self.now());
        Ok(call)
    }

    /// Asks who serves.
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub(crate) fn status(&mut self) -> Result<u64, LockError> {
        let call = self.next_number()?;
        self.begin(call, Call::Status { call }, None, self.now());
        Ok(call)
    }

    /// Wants others to have a message.
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub(crate) fn publish(&mut self, publish: Publish) -> Result<u64, LockError> {
        let call = self.next_number()?;
        let publish = Box::new(publish);
        self.begin(call, Call::Publish { call, publish }, None, self.now());
        Ok(call)
    }

    /// What has come of a call.
    pub(crate) fn poll_call(
        &mut self,
        call: u64,
        waker: Option<&mut Waker>,
    ) -> Poll<Result<Answer, LockError>> {
        let now = self.now();
        self.expire_asks(now);
        match self.unanswered.get(&call) {
            None => Poll::Ready(Err(self.unavailable("it was asked in another session"))),
            Some(asked) if asked.is_open() => {
                self.leave_waker(call, waker);
                Poll::Pending
            }
            Some(_) => match self.forget(call) {
                Some(RequestOutcome::Answered(answer)) => Poll::Ready(Ok(answer)),
                Some(RequestOutcome::Failed(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Err(self.unavailable("the server has not answered"))),
            },
        }
    }

    /// The caller does not wait for an answer any more.
    pub(crate) fn forget_call(&mut self, call: u64) {
        self.forget(call);
    }
}
