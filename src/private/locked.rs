use std::future::Future;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use locks_core::{LockError, Op, OwnedGuard, Scope};
use pin_project_lite::pin_project;

use super::Acquisition;
use super::loss::lost;

/// What an asynchronous function has asked for before anything else: its lock, in a scope of its own (C9).
#[derive(Debug)]
pub struct Asked {
    /// Of the function's body.
    pub scope: Scope,
    /// The acquisition.
    pub begun: Acquisition,
}

/// Runs `body` once what was `asked` for is there; `early` is what the function returns if it is not to be had.
///
/// One future for the acquisition, the body and the release: an `.await` for each would cost the user's
/// crate three times the compiler's work, and each function that awaits the next would be nested deeper.
pub fn locked<F: Future>(asked: Asked, body: F, early: fn(LockError) -> F::Output) -> Locked<F> {
    let stage = match asked.begun {
        Acquisition::Granted(guard) => Stage::Granted { guard },
        Acquisition::Asked(acquire) => Stage::Asked { acquire },
    };
    Locked { shallow: PhantomData, body, scope: asked.scope, early, output: None, stage }
}

/// A body on its way to [`locked`]; always [`Ready`](Self::Ready).
///
/// Where one of these is matched on, the compiler looks at its layout while it optimizes the function, which
/// is before it looks at that of the function: so the layouts of functions that await each other are not
/// looked at within each other, and a chain of them gets half as deep. That of a stage comes first of all.
#[derive(Debug)]
pub enum Body<F> {
    /// The body.
    Ready([Stage; 0], F),
    /// Never.
    Nothing,
}

/// The body, as it is to be passed through a `match`.
pub const fn body<F: Future>(body: F) -> Body<F> {
    Body::Ready([], body)
}

pin_project! {
    /// A body under its lock; made by [`locked`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Locked<F: Future> {
        // First, so that the compiler has found out whether a stage is `Send` before it gets to the bodies of
        // functions that await each other, where it would find out at the bottom of all that.
        shallow: PhantomData<Stage>,
        // I1: before the guard, so that what a cancelled body holds is dropped under the lock.
        #[pin]
        body: F,
        scope: Scope,
        early: fn(LockError) -> F::Output,
        output: Option<F::Output>,
        stage: Stage,
    }
}

// After a panic it is polled no more, and what is ours has then seen to the release: only the body counts.
impl<F: Future + UnwindSafe> UnwindSafe for Locked<F> {}
impl<F: Future + RefUnwindSafe> RefUnwindSafe for Locked<F> {}

/// How far it is.
#[derive(Debug)]
#[expect(missing_docs, reason = "nobody makes one")]
pub enum Stage {
    Asked { acquire: locks_core::StartedAcquire },
    Granted { guard: OwnedGuard },
    Releasing { release: Op<'static, ()> },
    Over,
}

impl<F: Future> Future for Locked<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Stage::Asked { acquire } = this.stage {
            let acquired = ready!(Pin::new(acquire).poll(cx));
            *this.stage = Stage::Over;
            match acquired {
                Ok(guard) => *this.stage = Stage::Granted { guard },
                Err(error) => return Poll::Ready((this.early)(error)),
            }
        }
        if let Stage::Granted { guard } = this.stage {
            let output = ready!(this.scope.poll(this.body, cx));
            if guard.is_plain() {
                // Dropped where it is: moving what was written a moment ago takes longer than the release.
                *this.stage = Stage::Over;
                return Poll::Ready(output);
            }
            if let Stage::Granted { guard } = std::mem::replace(this.stage, Stage::Over) {
                *this.output = Some(output);
                *this.stage = Stage::Releasing { release: guard.begin_release() };
            }
        }
        if let Stage::Releasing { release } = this.stage {
            // The value stands, so a failure is only reported.
            let _ = lost(ready!(Pin::new(release).poll(cx)));
            *this.stage = Stage::Over;
        }
        match this.output.take() {
            Some(output) => Poll::Ready(output),
            None => panic!("an annotated function polled after it had completed"),
        }
    }
}
