use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::engine::Waiting;
use crate::observe::{self, Since};
use crate::{Backend, Granted, Hold, LockError, Op, OwnedGuard};

/// An acquisition that has begun: it has all it needs of its key.
#[doc(hidden)]
#[must_use = "futures do nothing unless polled"]
pub struct Begun {
    stage: Stage,
    backend: Backend,
    asked: Since,
}

pub(crate) enum Stage {
    Granted(Hold),
    Refused(LockError),
    Waiting(Waiting),
    Elsewhere(Op<'static, Granted>),
    Over,
}

impl Begun {
    pub(crate) fn new(stage: Stage, backend: Backend, asked: Since) -> Self {
        let begun = Self { stage, backend, asked };
        if begun.waits() {
            observe::waits(&begun.asked, true);
        }
        begun
    }

    const fn waits(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_) | Stage::Elsewhere(_))
    }

    pub(crate) fn over(asked: Since) -> Self {
        Self::new(Stage::Over, Backend::process(), asked)
    }
}

impl Future for Begun {
    type Output = Result<OwnedGuard, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Where it is: a stage is large, and most polls of a waiting one change nothing.
        let waited = match &mut this.stage {
            Stage::Waiting(waiting) => Some(ready!(Pin::new(waiting).poll(cx))),
            Stage::Elsewhere(granted) => {
                Some(ready!(Pin::new(granted).poll(cx)).map(|granted| granted.hold))
            }
            _ => None,
        };
        if waited.is_some() {
            observe::waits(&this.asked, false);
        }
        let outcome = match (std::mem::replace(&mut this.stage, Stage::Over), waited) {
            (Stage::Granted(hold), _) => Ok(hold),
            (Stage::Refused(error), _) => Err(error),
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

impl Drop for Begun {
    fn drop(&mut self) {
        if self.waits() {
            observe::waits(&self.asked, false);
        }
        // Granted before it was first polled, and never fetched (C5).
        if let Stage::Granted(hold) = std::mem::replace(&mut self.stage, Stage::Over) {
            drop(OwnedGuard::new(hold, std::mem::take(&mut self.backend), &self.asked));
        }
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Waiting(_) | Stage::Elsewhere(_) => "Acquire(waiting)",
            Stage::Granted(_) => "Acquire(granted)",
            Stage::Refused(_) => "Acquire(failed)",
            Stage::Over => "Acquire(done)",
        })
    }
}
