use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use locks_core::{Enters, Leaves, LockError, Op, OwnedGuard, Scope};
use pin_project_lite::pin_project;

use super::Acquisition;
use super::loss::lost;

/// What an asynchronous function has asked for before anything else: its lock, in a scope of its
/// own (C9).
#[derive(Debug)]
pub struct Asked {
    /// Of the function's body.
    pub scope: Scope,
    /// The acquisition.
    pub begun: Acquisition,
}

/// Runs `body` once what was `asked` for is there.
///
/// One future for the acquisition, the body and the release: an `.await` for each would cost the
/// user's crate three times the compiler's work, and each function that awaits the next would be
/// nested deeper.
pub fn locked<F: Future>(asked: Asked, body: Body<F>) -> Locked<F> {
    let Body::Ready(shallow, body) = body else { return super::unreached() };
    let stage = match asked.begun {
        Acquisition::Granted(guard) => Stage::Granted { guard },
        Acquisition::Asked(acquire) => Stage::Asked { acquire },
    };
    let (enters, leaves) = (Enters::new(Some(asked.scope)), Leaves::new());
    Locked { shallow, enters, body, leaves, output: None, stage }
}

/// A body on its way to [`locked`]; always [`Ready`](Self::Ready).
///
/// Where one of these is matched on, the compiler looks at its layout while it optimizes the
/// function, which is before it looks at that of the function: so the layouts of functions that
/// await each other are not looked at within each other, and a chain of them gets half as deep.
#[derive(Debug)]
pub enum Body<F> {
    /// The body.
    Ready(Shallow, F),
    /// Never.
    Nothing,
}

/// First of all, so that the compiler has found out how these are laid out, and whether they are
/// `Send`, before it gets to the bodies of functions that await each other, where it would find out
/// at the bottom of all that.
type Shallow = [(Stage, Enters); 0];

/// The body, as it is to be matched on.
pub const fn body<F: Future>(body: F) -> Body<F> {
    Body::Ready([], body)
}

pin_project! {
    /// A body under its lock; made by [`locked`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Locked<F: Future> {
        shallow: Shallow,
        enters: Enters,
        // I1: before the guard, so that what a cancelled body holds is dropped under the lock; and
        // within its scope.
        #[pin]
        body: F,
        leaves: Leaves,
        output: Option<F::Output>,
        stage: Stage,
    }
}

// After a panic it is polled no more, and what is ours has then seen to the release: only the body
// counts.
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

/// The output of the body, or why it did not run.
impl<F: Future> Future for Locked<F> {
    type Output = Result<F::Output, LockError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (output, stage) = (this.output, this.stage);
        if let Stage::Asked { acquire } = stage {
            let acquired = ready!(Pin::new(acquire).poll(cx));
            *stage = Stage::Over;
            *stage = Stage::Granted { guard: acquired? };
        }
        if let Stage::Granted { guard } = stage {
            let value = ready!(this.enters.poll(this.leaves, this.body, cx));
            if guard.is_plain() {
                // Dropped where it is: moving what was written a moment ago takes longer than the
                // release.
                *stage = Stage::Over;
                return Poll::Ready(Ok(value));
            }
            if let Stage::Granted { guard } = std::mem::replace(stage, Stage::Over) {
                *output = Some(value);
                *stage = Stage::Releasing { release: guard.begin_release() };
            }
        }
        if let Stage::Releasing { release } = stage {
            // The value stands, so a failure is only reported.
            let _ = lost(ready!(Pin::new(release).poll(cx)));
            *stage = Stage::Over;
        }
        match output.take() {
            Some(output) => Poll::Ready(Ok(output)),
            None => panic!("an annotated function polled after it had completed"),
        }
    }
}
