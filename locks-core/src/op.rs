use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::LockError;
use crate::clock::attend;

/// An operation of a backend, complete or pending.
///
/// Backends return [`Op::Now`] where they can, so that an uncontended lock needs neither a future
/// nor an allocation. It is itself a future, on any executor; [`block`](Self::block) waits for it
/// on this thread.
///
/// # Cancel safety
/// Dropping a pending acquisition withdraws it ([C5](crate::contract#c5-cancellation)). Dropping a
/// pending release discards its outcome only.
pub enum Op<'a, T> {
    /// The operation is complete.
    Now(Result<T, LockError>),
    /// The operation is pending.
    Later(Pin<Box<dyn Future<Output = Result<T, LockError>> + Send + 'a>>),
}

// SAFETY: a shared `Op` shows that there is a future, which cannot be reached but by `&mut`: as
// `dyn Future` it has no method that takes `&self`.
unsafe impl<T: Sync> Sync for Op<'_, T> {}

impl<'a, T> Op<'a, T> {
    /// Creates an operation that has succeeded with `value`.
    pub fn ready(value: T) -> Self {
        Op::Now(Ok(value))
    }

    /// Creates an operation that has failed.
    pub fn failed(error: LockError) -> Self {
        Op::Now(Err(error))
    }

    /// Creates an operation that completes when `future` does.
    pub fn later(future: impl Future<Output = Result<T, LockError>> + Send + 'a) -> Self {
        Op::Later(Box::pin(future))
    }

    /// Blocks this thread until the operation completes, and returns its outcome.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn block(self) -> Result<T, LockError> {
        match self {
            Op::Now(outcome) => outcome,
            Op::Later(future) => crate::park::block_on(future),
        }
    }
}

impl Op<'static, ()> {
    /// Ends when all of `ops` have, which are begun before the first is waited for; fails as the
    /// first of them to be known to.
    pub(crate) fn all(ops: impl IntoIterator<Item = Self>) -> Self {
        let mut outcome = Ok(());
        let mut unknown = Vec::new();
        for op in ops {
            match op {
                Op::Now(known) => outcome = outcome.and(known),
                Op::Later(op) => unknown.push(op),
            }
        }
        if unknown.is_empty() {
            return Op::Now(outcome);
        }
        Op::later(async move {
            for op in unknown {
                outcome = outcome.and(op.await);
            }
            outcome
        })
    }
}

impl<'a, T> Future for Op<'a, T>
where
    T: Unpin + 'a,
{
    type Output = Result<T, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Op::Later(future) => {
                let polled = future.as_mut().poll(cx);
                if polled.is_pending() {
                    attend(cx.waker());
                }
                polled
            }
            Op::Now(_) => match std::mem::replace(&mut *self, Op::Later(Box::pin(Polled::new()))) {
                Op::Now(outcome) => Poll::Ready(outcome),
                Op::Later(_) => unreachable!("matched as `Now` above"),
            },
        }
    }
}

impl<T> fmt::Debug for Op<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Now(Ok(_)) => f.write_str("Op::Now(Ok(..))"),
            Op::Now(Err(error)) => write!(f, "Op::Now(Err({error}))"),
            Op::Later(_) => f.write_str("Op::Later(..)"),
        }
    }
}

/// What a finished operation turns into: polling it again is a mistake of the caller.
struct Polled<T>(std::marker::PhantomData<fn() -> T>);

impl<T> Polled<T> {
    fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T> Future for Polled<T> {
    type Output = Result<T, LockError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        panic!("`Op` polled after it had completed")
    }
}
