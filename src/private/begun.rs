use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use locks_core::{Acquire, LockError, OwnedGuard};

/// An acquisition that has begun: everything that needs the key has been done.
#[must_use = "futures do nothing unless polled"]
pub struct Begun(Stage);

enum Stage {
    /// The fast path got it.
    Granted(OwnedGuard),
    Asked(Acquire<'static>),
    Done,
}

impl Begun {
    #[inline]
    pub(super) fn granted(guard: OwnedGuard) -> Self {
        Self(Stage::Granted(guard))
    }

    #[inline]
    pub(super) fn asked(acquire: Acquire<'static>) -> Self {
        Self(Stage::Asked(acquire))
    }
}

impl Future for Begun {
    type Output = Result<OwnedGuard, LockError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Asked(acquire) = &mut self.0 {
            return Pin::new(acquire).poll(cx);
        }
        match mem::replace(&mut self.0, Stage::Done) {
            Stage::Granted(guard) => Poll::Ready(Ok(guard)),
            _ => panic!("`Begun` polled after it had completed"),
        }
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Stage::Granted(guard) => guard.fmt(f),
            Stage::Asked(acquire) => acquire.fmt(f),
            Stage::Done => f.write_str("Begun(done)"),
        }
    }
}
