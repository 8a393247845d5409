//! Operations under way, as futures (C5).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use locks_core::{Granted, Hold, LockError};

use super::link::Link;
use super::session::Answer;

/// An acquisition under way; dropping it withdraws it.
#[derive(Debug)]
pub(super) struct Acquiring {
    link: Arc<Link>,
    request: u64,
    done: bool,
}

/// A release that was begun.
#[derive(Debug)]
pub(super) struct Releasing {
    link: Arc<Link>,
    request: u64,
    done: bool,
}

/// A call whose answer is still to come.
#[derive(Debug)]
pub(super) struct Calling {
    link: Arc<Link>,
    call: u64,
    done: bool,
}

impl Acquiring {
    pub(super) fn new(link: Arc<Link>, request: u64) -> Self {
        Self { link, request, done: false }
    }
}

impl Releasing {
    pub(super) fn new(link: Arc<Link>, request: u64) -> Self {
        Self { link, request, done: false }
    }
}

impl Calling {
    pub(super) fn new(link: Arc<Link>, call: u64) -> Self {
        Self { link, call, done: false }
    }
}

impl Future for Acquiring {
    type Output = Result<Granted, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let request = self.request;
        let polled = self.link.with(|session| session.poll_acquire(request, Some(cx)));
        self.done = polled.is_ready();
        if polled.is_pending() {
            self.link.wait_here();
        }
        polled.map_ok(|token| Granted::new(Hold::new(request, token)))
    }
}

impl Drop for Acquiring {
    fn drop(&mut self) {
        if !self.done {
            self.link.with(|session| session.withdraw(self.request));
        }
    }
}

impl Future for Releasing {
    type Output = Result<(), LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let request = self.request;
        let polled = self.link.with(|session| session.poll_ended(request, Some(cx)));
        self.done = polled.is_ready();
        if polled.is_pending() {
            self.link.wait_here();
        }
        polled
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        if !self.done {
            self.link.look(|session| session.forget_ending(self.request));
        }
    }
}

impl Future for Calling {
    type Output = Result<Answer, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.call;
        let polled = self.link.with(|session| session.poll_call(call, Some(cx)));
        self.done = polled.is_ready();
        if polled.is_pending() {
            self.link.wait_here();
        }
        polled
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if !self.done {
            self.link.look(|session| session.forget_call(self.call));
        }
    }
}
