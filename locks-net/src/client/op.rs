//! Operations under way, as futures (C5).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use locks_core::{CallSite, ErrorKind, Granted, Hold, LockError, LostCause, Moment};

use super::link::Link;
use super::session::{Answer, ClientSession};
use crate::wire::Acquire;

/// An acquisition under way; dropping it withdraws it.
#[derive(Debug)]
pub(super) struct Acquiring {
    link: Arc<Link>,
    stage: OpStage,
}

#[derive(Debug)]
enum OpStage {
    /// It was wanted at that moment, and is asked when it is polled first.
    Wanted(Box<Acquire>, Option<CallSite>, Moment),
    /// Under this number.
    Asked(u64),
    Done,
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
    pub(super) fn new(link: Arc<Link>, acquire: Box<Acquire>, site: Option<CallSite>) -> Self {
        let stage = OpStage::Wanted(acquire, site, link.now());
        Self { link, stage }
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
        let Self { link, stage } = &mut *self;
        if !link.is_own() {
            let keys = match stage {
                OpStage::Wanted(acquire, ..) => acquire.keys.clone(),
                OpStage::Asked(request) => link.keys(*request),
                OpStage::Done => Vec::new(),
            };
            return Poll::Ready(Err(parents(&keys)));
        }
        let mut waker = cx.waker().clone();
        let polled = match std::mem::replace(stage, OpStage::Done) {
            OpStage::Wanted(acquire, site, at) => link.begin_polling(|session| {
                let request = session.acquire(acquire, site, at)?;
                *stage = OpStage::Asked(request);
                poll_acquire(session, request, &mut waker)
            }),
            OpStage::Asked(request) => {
                *stage = OpStage::Asked(request);
                link.poll(|session| poll_acquire(session, request, &mut waker))
            }
            OpStage::Done => unreachable!("a future is not polled again that has answered"),
        };
        if polled.is_ready() {
            *stage = OpStage::Done;
        }
        polled
    }
}

impl Drop for Acquiring {
    fn drop(&mut self) {
        if let OpStage::Asked(request) = self.stage
            && self.link.is_own()
        {
            self.link.with(|session| session.withdraw(request));
        }
    }
}

/// What is under way in a process goes on there, and not in a child that it forks: nobody reads for
/// that (C4).
#[cold]
fn parents(keys: &[String]) -> LockError {
    let of = if keys.is_empty() { String::new() } else { format!("`{}`: ", keys.join("`, `")) };
    let why = "this was asked for by the process that this one was forked from: ask for it here";
    LockError::new(ErrorKind::Lost { cause: LostCause::Forked }, keys.join("`, `"))
        .with_message(format!("{of}{why}"))
}

fn poll_acquire(
    session: &mut ClientSession,
    request: u64,
    waker: &mut Waker,
) -> Poll<Result<Granted, LockError>> {
    let polled = session.poll_acquire(request, Some(waker));
    polled.map_ok(|token| Granted::new(Hold::new(request, token)))
}

impl Future for Releasing {
    type Output = Result<(), LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.link.is_own() {
            return Poll::Ready(Err(parents(&self.link.keys(self.request))));
        }
        let request = self.request;
        let mut waker = cx.waker().clone();
        let polled = self.link.poll(|session| session.poll_ended(request, Some(&mut waker)));
        self.done = polled.is_ready();
        polled
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        if !self.done && self.link.is_own() {
            self.link.look(|session| session.forget_ending(self.request));
        }
    }
}

impl Future for Calling {
    type Output = Result<Answer, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.link.is_own() {
            return Poll::Ready(Err(parents(&[])));
        }
        let call = self.call;
        let mut waker = cx.waker().clone();
        let polled = self.link.poll(|session| session.poll_call(call, Some(&mut waker)));
        self.done = polled.is_ready();
        polled
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if !self.done && self.link.is_own() {
            self.link.look(|session| session.forget_call(self.call));
        }
    }
}
