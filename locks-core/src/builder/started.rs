use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::engine::PendingHold;
use crate::observe::{self, Since};
use crate::{Backend, Granted, Hold, LockError, Op, OwnedGuard};

/// An acquisition that has begun: it has all it needs of its key.
#[doc(hidden)]
#[must_use = "futures do nothing unless polled"]
pub struct StartedAcquire {
    stage: StartedStage,
    backend: Backend,
    asked: Since,
}

pub(crate) enum StartedStage {
    Granted(Hold),
    Refused(LockError),
    Waiting(PendingHold),
    Elsewhere(Op<'static, Granted>),
    Over,
}

impl StartedAcquire {
    pub(crate) fn new(stage: StartedStage, backend: Backend, asked: Since) -> Self {
        let begun = Self { stage, backend, asked };
        if begun.waits() {
            observe::waits(&begun.asked, true);
        }
        begun
    }

    const fn waits(&self) -> bool {
        matches!(self.stage, StartedStage::Waiting(_) | StartedStage::Elsewhere(_))
    }

    pub(crate) fn over(asked: Since) -> Self {
        Self::new(StartedStage::Over, Backend::process(), asked)
    }
}

impl Future for StartedAcquire {
    type Output = Result<OwnedGuard, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Where it is: a stage is large, and most polls of a waiting one change nothing.
        let waited = match &mut this.stage {
            StartedStage::Waiting(waiting) => Some(ready!(Pin::new(waiting).poll(cx))),
            StartedStage::Elsewhere(granted) => {
                Some(ready!(Pin::new(granted).poll(cx)).map(|granted| granted.hold))
            }
            _ => None,
        };
        if waited.is_some() {
            observe::waits(&this.asked, false);
        }
        let outcome = match (std::mem::replace(&mut this.stage, StartedStage::Over), waited) {
            (StartedStage::Granted(hold), _) => Ok(hold),
            (StartedStage::Refused(error), _) => Err(error),
            (_, Some(waited)) => waited,
            (_, None) => panic!("`Acquire` polled after it had completed"),
        };
        let backend = std::mem::take(&mut this.backend);
        Poll::Ready(match outcome {
            Ok(hold) => Ok(OwnedGuard::new(hold, backend, &this.asked)),
            Err(error) => {
                observe::refused(&error, &this.asked);
                Err(error)
            }
        })
    }
}

impl Drop for StartedAcquire {
    fn drop(&mut self) {
        if self.waits() {
            observe::waits(&self.asked, false);
        }
        // Granted before it was first polled, and never fetched (C5).
        if let StartedStage::Granted(hold) = std::mem::replace(&mut self.stage, StartedStage::Over)
        {
            drop(OwnedGuard::new(hold, std::mem::take(&mut self.backend), &self.asked));
        }
    }
}

impl fmt::Debug for StartedAcquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            StartedStage::Waiting(_) | StartedStage::Elsewhere(_) => "Acquire(waiting)",
            StartedStage::Granted(_) => "Acquire(granted)",
            StartedStage::Refused(_) => "Acquire(failed)",
            StartedStage::Over => "Acquire(done)",
        })
    }
}
